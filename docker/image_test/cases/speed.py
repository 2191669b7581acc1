"""How soon a container is of use, counted from the start of its process 1."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from pathlib import Path

from ..case import Setting, case, expect, result
from ..container import Container, ask, function, on_load_balancer
from ..engine import Failed

# The kernel counts the start of processes in these.
_TICK_S = 0.01
_RUNS = 7
_READY_MS, _ANSWER_MS = 100.0, 150.0


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _watch(port: int, moments: list[float]) -> None:
    """Notes when the worker is ready, and when it has answered its first call."""
    deadline = _now() + 30
    while _now() < deadline:
        try:
            if ask("127.0.0.1", port, "GET", "/ping")[0] == 200:
                break
        except OSError:
            pass  # nobody listens yet
        time.sleep(0.001)
    moments.append(_now())
    request = function("f", "def f():\n    return 1\n")
    moments.append(_now() if result(ask("127.0.0.1", port, "POST", "/execute", request)[1]) == 1 else 0)


def _run(setting: Setting) -> tuple[float, float]:
    port = _free_port()
    # The machine's own network: whoever asks is refused until the worker listens.
    options = ("--network", "host", "--env", f"PORT={port}", "--env", "HOST=127.0.0.1", "--no-healthcheck")
    moments: list[float] = []
    watcher = threading.Thread(target=_watch, args=(port, moments))
    watcher.start()
    with Container(setting.engine, setting.images.worker, (*options, *on_load_balancer())) as worker:
        watcher.join(timeout=60)
        stat = Path(f"/proc/{worker.inspect('State.Pid')}/stat").read_text()
        if len(moments) < 2:
            raise Failed(f"no answer: {worker.log()}")
    started = int(stat.rsplit(")", 1)[1].split()[19]) * _TICK_S
    return (moments[0] - started) * 1e3, (moments[1] - started) * 1e3


@case("a container is ready within 100 ms of its process's start, and has answered within 150 ms")
def first_answer(setting: Setting) -> str:
    runs = [_run(setting) for _ in range(_RUNS)]
    ready, answered = (statistics.median(times) for times in zip(*runs, strict=True))
    text = f"{ready:.0f} and {answered:.0f} ms, medians of {_RUNS}, each exact to 10 ms"
    expect(ready <= _READY_MS and answered <= _ANSWER_MS, f"{text}: {runs}")
    return text
