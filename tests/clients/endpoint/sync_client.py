"""RunPod's blocking endpoint client against an endpoint that is not RunPod's; variables say where it is."""

import os
import sys
import time

import runpod

runpod.api_key = os.environ["RUNPOD_API_KEY"]  # 1.x does not look for it itself

FINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}


def request(name, code, *args):
    """Make a request that answers in JSON."""
    return {
        "function_name": name,
        "function_code": code,
        "args": list(args),
        "serialization_format": "json",
    }


ADD = request("add", "def add(a, b):\n    print('adding')\n    return a + b", 1, 2)
FAIL = request("fail", "def fail():\n    raise ValueError('no luck')")
SLEEP = request("sleep", "import time\ndef sleep():\n    time.sleep(60)")
COUNT = request("count", "def count(n):\n    yield from range(n)", 3)


def await_status(job, statuses):
    """Wait until a job has one of these statuses."""
    deadline = time.monotonic() + 20
    while (status := job.status()) not in statuses:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return status


def main():
    """Use every method of the client."""
    endpoint = runpod.Endpoint("anything")
    output = endpoint.run_sync(ADD, timeout=20)
    assert output["success"] is True and output["json_result"] == 3, output
    assert output["stdout"] == "adding\n", output

    job = endpoint.run({"input": ADD})
    assert job.output(timeout=20)["json_result"] == 3
    assert job.status() == "COMPLETED"

    failed = endpoint.run(FAIL)
    assert await_status(failed, FINAL) == "FAILED"
    assert "no luck" in failed.rp_client.get(f"anything/status/{failed.job_id}")["error"]

    streaming = endpoint.run(COUNT)
    chunks = list(streaming.stream())
    assert [chunk["json_result"] for chunk in chunks] == [0, 1, 2], chunks
    assert list(endpoint.run(ADD).stream()) == []

    running = endpoint.run(SLEEP)
    await_status(running, {"IN_PROGRESS"})
    waiting = [endpoint.run(ADD) for _ in range(2)]
    health = endpoint.health()
    assert health["jobs"]["inQueue"] == 2 and health["jobs"]["inProgress"] == 1, health
    assert health["workers"]["running"] == 1, health
    assert endpoint.purge_queue() == {"removed": 2, "status": "completed"}
    assert [job.status() for job in waiting] == ["CANCELLED", "CANCELLED"]
    assert running.cancel()["status"] == "CANCELLED"
    assert running.status() == "CANCELLED"

    try:
        runpod.Endpoint("anything", api_key="wrong").health()
    except RuntimeError as error:
        assert "401" in str(error), error
    else:
        raise AssertionError("a wrong key was taken")
    print(f"runpod {runpod.__version__} on Python {sys.version_info.major}.{sys.version_info.minor}")
    print("OK")


if __name__ == "__main__":
    main()
