"""The limits of a container are the limits of its calls: one that crosses them fails, the worker goes on."""

from __future__ import annotations

from ..case import Setting, case, error, expect, result
from ..container import Container, function, on_load_balancer

_HUNGRY = "def f():\n    return len(bytearray(600 << 20))\n"


@case("a call that needs more memory than the container has is told so, and the next one runs")
def memory(setting: Setting) -> str:
    options = ("--memory", "256m", "--memory-swap", "256m", *on_load_balancer())
    with Container(setting.engine, setting.images.worker, options) as worker:
        worker.await_ready()
        text = error(worker.call(function("f", _HUNGRY)))
        expect("out of memory" in text or "ran out of memory" in text, text)
        answer = worker.call(function("f", "def f():\n    return 1\n"))
        expect(result(answer) == 1, answer)
        expect(worker.inspect("State.Running") is True, "the container has ended")
        return text.splitlines()[0]
