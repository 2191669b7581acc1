"""The HTTP servers that are compared: how each is started, called, and looked at from outside."""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.connection import get, poll, post
from bench.options import DEADLINE_S, DIRECTORY, Options, environment, version

# Goes to a server of its own: (source, name, arguments) to request bytes.
Request = Callable[[str, str, Sequence[object]], bytes]


# Below those the system hands out: a client that polls one of these can end up connected to itself.
PORTS = iter(range(20_000 + os.getpid() % 5_000, 32_000))


@dataclass(frozen=True)
class Server:
    """A program that answers function calls by HTTP, or pretends to."""

    name: str
    command: Sequence[str]
    request: Request
    ping: bytes = field(default=get("/ping"))
    healthy: bytes = b"healthy"
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = DIRECTORY
    runs_code: bool = True
    """Whether it runs what it is sent; a floor answers every call with a constant."""


class Running:
    """A started server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = free_port()
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            [part.replace("{port}", str(self.port)) for part in server.command],
            env=environment({"PORT": str(self.port), **server.environment}),
            cwd=server.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_healthy(self) -> float:
        """Milliseconds from the start until the health check said yes."""
        return self.wait(self.server.ping, self.server.healthy)

    def wait(self, request: bytes, accepted: bytes) -> float:
        """Milliseconds from the start until an answer held `accepted`."""
        try:
            return (poll(self.port, request, [accepted], DEADLINE_S) - self.begun) * 1e3
        except TimeoutError as error:
            self.stop()
            raise SystemExit(f"bench: {self.server.name}: {error}") from None

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def tree(self) -> list[int]:
        """Its process and all that descend from it."""
        return tree(self.process.pid)


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    everybody = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    parents = {pid: parent(pid) for pid in everybody}
    found = [root]
    for known in found:
        found += [pid for pid, its_parent in parents.items() if its_parent == known]
    return found


def parent(pid: int) -> int:
    fields = stat(pid)
    return int(fields[1]) if fields else 0


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; none if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def pss_mb(pid: int) -> float:
    """Its share of memory in MiB: pages that several processes map count in part. None if it is gone."""
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8")
        found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0
    return 0.0


def cpu_ms(pid: int) -> float:
    """User and system time used so far, to the nanosecond: /proc/PID/stat counts ticks of 10 ms."""
    total = 0
    with contextlib.suppress(OSError):  # one that ends
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text("utf-8").split()[0])
    return total / 1e6


def cpu_used(processes: Sequence[int], seconds: float) -> float:
    """Milliseconds of CPU time that these use in so many seconds from now on; one that ends is left out."""
    before = {pid: cpu_ms(pid) for pid in processes}
    time.sleep(seconds)
    return sum(max(cpu_ms(pid) - used, 0.0) for pid, used in before.items())


def free_port() -> int:
    """A port that was not used before: connections that linger would keep some servers from taking it."""
    for port in PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise SystemExit("bench: no free port")


def as_base64(value: object) -> str:
    return base64.b64encode(pickle.dumps(value, protocol=5)).decode("ascii")


def execute(source: str, name: str, arguments: Sequence[object]) -> bytes:
    """A `FunctionRequest` for `/execute`."""
    args = [as_base64(argument) for argument in arguments]
    return post("/execute", {"function_name": name, "function_code": source, "args": args, "kwargs": {}})


def predict(source: str, name: str, arguments: Sequence[object]) -> bytes:
    """The same for our predictor in coglet."""
    args = [as_base64(argument) for argument in arguments]
    return post("/predictions", {"input": {"code": source, "name": name, "args": args}})


def runsync(source: str, name: str, arguments: Sequence[object]) -> bytes:
    """The same for our handler behind the runpod package's local API."""
    args = [as_base64(argument) for argument in arguments]
    return post("/runsync", {"input": {"function_name": name, "function_code": source, "args": args}})


def farcall(options: Options) -> Server:
    return Server(
        "farcall serve",
        [str(options.farcall), "serve", "--mode", "http"],
        execute,
        environment={
            "HOST": "127.0.0.1",
            "FARCALL_PYTHON": str(options.python),
            "FARCALL_CACHE_DIR": str(options.directory / "cache"),
        },
        # Not here: code that is run could import what is beside this file.
        directory=options.directory,
    )


def servers(options: Options) -> list[Server]:
    """All of them, Farcall first."""
    fastapi = str(options.fastapi)
    uvicorn = [fastapi, "-m", "uvicorn", "--port", "{port}", "--no-access-log", "--log-level", "warning"]
    peers = DIRECTORY / "peers"
    return [
        farcall(options),
        Server(
            f"coglet {version(options.coglet, 'coglet')}",
            [str(options.coglet), "-m", "cog.server.http", "--host", "127.0.0.1"],
            predict,
            ping=get("/health-check"),
            healthy=b'"READY"',
            # It starts its worker as the `python` on PATH.
            environment={
                "COG_PREDICT_TYPE_STUB": "predict.py:Predictor",
                "COG_LOG_LEVEL": "warning",
                "PATH": f"{options.coglet.parent}:{os.environ['PATH']}",
            },
            directory=peers / "coglet",
        ),
        Server(
            "FastAPI stand-in for worker-flash",
            [*uvicorn, "--timeout-keep-alive", "600", "fastapi_worker:app"],
            execute,
            directory=peers,
        ),
        Server(
            f"runpod {version(options.peers, 'runpod')}, local API",
            [
                str(options.peers),
                "runpod_handler.py",
                *("--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", "{port}"),
            ],
            runsync,
            ping=get("/openapi.json"),
            healthy=b"runsync",
            environment={"UVICORN_LOG_LEVEL": "warning"},
            directory=peers,
        ),
        Server(
            "uvicorn hello",
            [*uvicorn, "uvicorn_hello:app"],
            execute,
            directory=peers,
            healthy=b"true",
            runs_code=False,
        ),
        Server("axum hello", [str(options.axum_hello)], execute, runs_code=False),
    ]
