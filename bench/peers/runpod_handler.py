"""What a user of the `runpod` package would write to run functions sent to it; for `make bench`."""

import base64
from typing import Any

import cloudpickle
import runpod


def handler(job: dict[str, Any]) -> str:
    """Runs `function_code`'s `function_name` on base64 cloudpickles; returns the same of its result."""
    request = job["input"]
    namespace: dict[str, Any] = {}
    exec(request["function_code"], namespace)  # noqa: S102 - running code that was sent is the job
    args = [cloudpickle.loads(base64.b64decode(arg)) for arg in request["args"]]
    result = namespace[request["function_name"]](*args)
    return base64.b64encode(cloudpickle.dumps(result, protocol=5)).decode("ascii")


runpod.serverless.start({"handler": handler})
