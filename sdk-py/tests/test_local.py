"""The worker on this machine: started when needed, shared, gone when nobody needs it."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest
from farcall import Endpoint, EndpointError, Local, remote
from farcall._process import executable, is_running, listens


def pid() -> int:
    import os

    return os.getppid()


def state_of(worker: Local) -> dict[str, Any]:
    directory = worker._directory(executable())
    state: dict[str, Any] = json.loads((directory / "state.json").read_text())
    return state


def test_processes_share_a_worker(program: Any) -> None:
    text = """\
from farcall import remote, Local
@remote(Local(idle_timeout=30))
def worker():
    import os
    return os.environ["HOME"] and os.getppid()
print(worker.remote())
"""
    first, second = program(text), program(text)
    assert first[0] == second[0] == 0, first
    assert first[1] == second[1]
    os.kill(int(first[1]), signal.SIGTERM)


def test_only_its_user_can_call_it(worker: Local) -> None:
    assert remote(worker)(pid).remote() == state_of(worker)["pid"]
    directory = worker._directory(executable())
    assert (directory / "state.json").stat().st_mode & 0o077 == 0
    assert directory.stat().st_mode & 0o077 == 0


def test_it_is_started_again_after_its_end(worker: Local) -> None:
    ask = remote(worker)(pid)
    first = ask.remote()
    port = state_of(worker)["port"]
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while listens(port):  # until its last thread has ended
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert ask.remote() != first


def test_a_job_survives_its_end(worker: Local) -> None:
    ask = remote(worker)(pid)
    job = ask.spawn()
    first = job.result()
    worker.stop()
    assert not is_running(first)
    assert ask.job(job.id).result() == first, "it is in the queue that the next one opens"


def test_it_ends_when_nobody_needs_it() -> None:
    worker = Local(idle_timeout=1, concurrency=1)
    first = remote(worker)(pid).remote()
    deadline = time.monotonic() + 30
    while is_running(first):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_forked_processes_call_side_by_side(program: Any) -> None:
    text = """\
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads
from farcall import remote
@remote
def same(x): return x
assert same.remote(0) == 0
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        ok = all(same.remote(x * 10 + number) == x * 10 + number for x in range(20))
        os._exit(0 if ok else 1)
    children.append(pid)
assert all(same.remote(x) == x for x in range(20))
print([os.waitpid(pid, 0)[1] for pid in children])
"""
    assert program(text)[:2] == (0, "[0, 0, 0]\n")


def test_its_environment_can_be_set() -> None:
    worker = Local(env={"MODEL": "small"}, concurrency=1)

    @remote(worker)
    def model() -> str:
        import os

        return os.environ["MODEL"]

    try:
        assert model.remote() == "small"
    finally:
        worker.stop()


def test_a_missing_program_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARCALL_EXECUTABLE", "/nowhere/farcall")
    with pytest.raises(EndpointError, match="is not installed\nhint:"):
        remote(Local())(pid).remote()


def test_what_keeps_it_from_starting_is_told() -> None:
    with pytest.raises(EndpointError, match="FARCALL_TIMEOUT_S"):
        remote(Local(env={"FARCALL_TIMEOUT_S": "soon"}))(pid).remote()


def test_the_same_function_runs_on_an_endpoint_by_its_address(worker: Local) -> None:
    expected = remote(worker)(pid).remote()
    state = state_of(worker)
    endpoint = Endpoint(url=f"http://127.0.0.1:{state['port']}", api_key=state["key"])
    assert remote(endpoint)(pid).remote() == expected
    assert endpoint(pid).remote() == expected, "as a decorator"
    request = {"function_name": "f", "function_code": "def f(): return 5", "serialization_format": "json"}
    assert endpoint.runsync(request) == 5
    assert endpoint.job(endpoint.run(request).id).result() == 5
