"""One worker for all tests, with a cache of its own; what it is left with goes with it."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_runpod import FakeRunPod
from farcall import Local
from farcall._local import default
from wheels import make_wheel

# A stand-in for torch on a machine with a GPU: neither is to be had where tests run.
GPU = "NVIDIA GeForce RTX 4090"
TORCH = {
    "torch/__init__.py": "from . import cuda\n",
    "torch/cuda.py": f"def get_device_name(_): return {GPU!r}\n",
}

Program = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session", autouse=True)
def _worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if "FARCALL_EXECUTABLE" not in os.environ:
        pytest.exit("FARCALL_EXECUTABLE names the program to test\nhint: make test-sdk", returncode=4)
    os.environ["FARCALL_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("RUNPOD_API_KEY", None)
    wheels = tmp_path_factory.mktemp("wheels")
    make_wheel(wheels, "torch", "99.0", TORCH)
    os.environ.update(UV_FIND_LINKS=str(wheels), UV_NO_INDEX="1", UV_CACHE_DIR=str(wheels / "cache"))
    yield
    default().stop()


@pytest.fixture
def worker() -> Iterator[Local]:
    """A worker of the test's own."""
    local = Local(concurrency=1, env={"FARCALL_TEST": os.urandom(4).hex()})
    yield local
    local.stop()


@pytest.fixture
def address(worker: Local) -> dict[str, Any]:
    """How `Endpoint` reaches it: `url` and `api_key`."""
    worker.begin()
    state = json.loads((worker.files().parent / "state.json").read_text())
    return {"url": f"http://127.0.0.1:{state['port']}", "api_key": state["key"]}


@pytest.fixture
def runpod(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRunPod]:
    """RunPod's control plane, whose endpoints are the worker on this machine."""
    with FakeRunPod() as fake:
        serving = threading.Thread(target=fake.server.serve_forever, daemon=True)
        serving.start()
        monkeypatch.setenv("RUNPOD_REST_API_URL", f"{fake.url}/v1")
        monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", f"{fake.url}/v2")
        monkeypatch.setenv("RUNPOD_API_KEY", "key-of-the-account")
        yield fake
        fake.server.shutdown()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Runs a program in a process of its own: its exit code, output and errors."""
    import subprocess

    def run(text: str, *, stdin: str | None = None, **env: str) -> tuple[int, str, str]:
        file = tmp_path / "program.py"
        file.write_text(text)
        source = Path(__file__).parent.parent / "src"
        ended = subprocess.run(
            [sys.executable, "-W", "error", *([] if stdin else [str(file)])],
            env={**os.environ, "PYTHONPATH": str(source), **env},
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return ended.returncode, ended.stdout, ended.stderr

    return run
