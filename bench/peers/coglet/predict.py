"""A predictor that runs the function it is sent, as Farcall does; for `make bench`."""

import base64
from typing import Any

import cloudpickle
from cog import BasePredictor


class Predictor(BasePredictor):
    """Executes the source at every call: coglet keeps nothing between them."""

    def predict(self, code: str, name: str, args: list[str]) -> str:
        """Runs `code`'s `name` on base64 cloudpickles; returns the same of its result."""
        namespace: dict[str, Any] = {}
        exec(code, namespace)  # noqa: S102 - running code that was sent is the job
        values = [cloudpickle.loads(base64.b64decode(arg)) for arg in args]
        return base64.b64encode(cloudpickle.dumps(namespace[name](*values), protocol=5)).decode("ascii")
