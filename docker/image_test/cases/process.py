"""The worker as process 1 of its container: signals, orphans, exit codes."""

from __future__ import annotations

import threading
import time
from typing import Any

from ..case import Setting, case, expect, result
from ..container import Container, function, on_load_balancer, until

# Leaves processes behind whose parent is gone: they become children of process 1.
_ORPHANS = """
import os, subprocess
def leave(count):
    for _ in range(count):
        subprocess.run(["sh", "-c", "setsid sleep 0.2 &"])
    return os.getpid()
"""

_STATES = "for f in /proc/[0-9]*/stat; do cut -d' ' -f3 $f; done 2>/dev/null | grep -c Z || true"


@case("SIGTERM lets a running call end, and then the container")
def terminate(setting: Setting) -> str:
    code = "import time\ndef work():\n    print('begun', flush=True)\n    time.sleep(1)\n    return 'done'\n"
    answers: list[dict[str, Any]] = []
    with Container(setting.engine, setting.images.worker, on_load_balancer()) as worker:
        worker.await_ready()
        call = threading.Thread(target=lambda: answers.append(worker.call(function("work", code))))
        call.start()
        until(lambda: "begun" in worker.log(), "the call to begin")
        started = time.monotonic()
        code_of_end = worker.stop()
        seconds = time.monotonic() - started
        call.join(timeout=30)
        expect(code_of_end == 0, worker.log())
        expect(answers and result(answers[0]) == "done", answers)
        expect(seconds < 5, f"it took {seconds:.1f} s")
    return f"{seconds:.1f} s, of which the call had 1 s"


@case("an idle worker ends at once")
def idle(setting: Setting) -> str:
    with Container(setting.engine, setting.images.worker, on_load_balancer()) as worker:
        worker.await_ready()
        started = time.monotonic()
        expect(worker.stop() == 0, worker.log())
        seconds = time.monotonic() - started
        expect(seconds < 5, f"it took {seconds:.1f} s")
        return f"{seconds:.2f} s"


@case("other commands end on SIGTERM, too")
def command(setting: Setting) -> None:
    request = '{"input": {"function_name": "f", "function_code": "import time\\ndef f(): time.sleep(60)\\n"}}'
    arguments = ("test-handler", "--test_input", request)
    with Container(setting.engine, setting.images.worker, (), arguments) as tests:
        until(lambda: "farcall" in tests.run("sh", "-c", "cat /proc/*/cmdline | tr '\\0' ' '"), "a runner")
        time.sleep(0.5)  # somewhere in the call
        expect(tests.stop() == 143, tests.inspect("State.ExitCode"))


@case("orphans are reaped")
def orphans(setting: Setting) -> None:
    with Container(setting.engine, setting.images.worker, on_load_balancer()) as worker:
        worker.await_ready()
        result(worker.call(function("leave", _ORPHANS, args=[20])))
        until(lambda: "sleep" not in worker.run("sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null"), "their end")
        expect(worker.run("sh", "-c", _STATES) == "0", "there are zombies")
