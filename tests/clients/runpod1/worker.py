"""A worker of the runpod 1.12 package: what the fake platform is checked against."""

import sys
import time

import runpod


def handle(job):
    """Do what the input says."""
    request = job["input"]
    if "raise" in request:
        raise ValueError(request["raise"])
    if "progress" in request:
        runpod.serverless.progress_update(job, request["progress"])
        # The package sends progress from a thread of its own, and does not wait for it.
        time.sleep(0.5)
    return request["return"]


def generate(job):
    """Yield what the input says."""
    yield from job["input"]["yield"]


if sys.argv[1] == "generator":
    runpod.serverless.start({"handler": generate, "return_aggregate_stream": True})
else:
    runpod.serverless.start({"handler": handle})
