"""What worker-flash's load-balancer worker does for a request, no more; for `make bench`.

worker-flash itself is not on PyPI. Like it: FastAPI and uvicorn in one process with user code, source
executed at every call, arguments and result through cloudpickle, `sys.stdout` redirected, instances kept by
id.
"""

import base64
import contextlib
import io
import traceback
from typing import Any

import cloudpickle
from fastapi import FastAPI
from pydantic import BaseModel


class FunctionRequest(BaseModel):
    """The fields the bench sends."""

    function_name: str = ""
    function_code: str = ""
    args: list[str] = []
    kwargs: dict[str, str] = {}
    execution_type: str = "function"
    class_name: str = ""
    class_code: str = ""
    constructor_args: list[str] = []
    method_name: str = "__call__"
    instance_id: str = ""


class FunctionResponse(BaseModel):
    """The fields of every answer."""

    success: bool
    result: str | None = None
    error: str | None = None
    stdout: str | None = None


app = FastAPI()
instances: dict[str, Any] = {}


@app.get("/ping")
async def ping() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/execute")
async def execute(request: FunctionRequest) -> FunctionResponse:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            args = [cloudpickle.loads(base64.b64decode(arg)) for arg in request.args]
            kwargs = {key: cloudpickle.loads(base64.b64decode(arg)) for key, arg in request.kwargs.items()}
            value = target(request)(*args, **kwargs)
        result = base64.b64encode(cloudpickle.dumps(value, protocol=5)).decode("ascii")
    except Exception:
        return FunctionResponse(success=False, error=traceback.format_exc(), stdout=printed.getvalue())
    return FunctionResponse(success=True, result=result, stdout=printed.getvalue())


def target(request: FunctionRequest) -> Any:
    """The function, or the method of an instance that is made with its first call."""
    namespace: dict[str, Any] = {}
    if request.execution_type == "class":
        if request.instance_id not in instances:
            exec(request.class_code, namespace)  # noqa: S102 - running code that was sent is the job
            args = [cloudpickle.loads(base64.b64decode(arg)) for arg in request.constructor_args]
            instances[request.instance_id] = namespace[request.class_name](*args)
        return getattr(instances[request.instance_id], request.method_name)
    exec(request.function_code, namespace)  # noqa: S102 - the same
    return namespace[request.function_name]
