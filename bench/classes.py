"""Methods of instances that the worker keeps."""

from __future__ import annotations

from bench.connection import Connection, post
from bench.options import Options, progress
from bench.report import Goal, Section, measurements, ratio
from bench.servers import as_base64, servers
from bench.serving import ROUNDS, all_running, call

COUNTER = """\
class Counter:
    def __init__(self, start):
        self.value = start

    def add(self, number):
        self.value += number
        return self.value
"""


def request(instance: str) -> bytes:
    """A call of `Counter.add`, as clients send it: with class and constructor's arguments each time."""
    body = {
        "execution_type": "class",
        "class_name": "Counter",
        "class_code": COUNTER,
        "constructor_args": [as_base64(0)],
        "method_name": "add",
        "args": [as_base64(1)],
        "instance_id": instance,
        "create_new_instance": False,
    }
    return post("/execute", body)


def classes(options: Options) -> Section:
    """Calls of one instance's method, one after another."""
    contenders = [server for server in servers(options) if server.name.startswith(("farcall", "FastAPI"))]
    calls = max(options.calls // 2 // ROUNDS, 5)
    times: list[list[float]] = [[] for _ in contenders]
    with all_running(contenders) as running:
        connections = [Connection(one.port) for one in running]
        for round_number in range(-1, ROUNDS):
            progress(f"methods, round {round_number + 1} of {ROUNDS}")
            for index, connection in enumerate(connections):
                spent, _ = call(connection, request("bench"), calls)
                times[index] += spent if round_number >= 0 else []
        total = (ROUNDS + 1) * calls + 1
        for one, connection in zip(running, connections, strict=True):
            answer = connection.exchange(request("bench")).body
            if as_base64(total).encode() not in answer:
                raise SystemExit(f"bench: {one.server.name} did not count to {total}: {answer[:500]!r}")
    progress("")
    found = measurements([server.name for server in contenders], times)
    rows = [
        (one.name, f"{one.median:.3f}", f"{one.percentile(99):.3f}", ratio(one, found[0])) for one in found
    ]
    return Section(
        title="HTTP: methods",
        explanation=f"""\
`Counter.add(1)` of one instance that is kept, {calls * ROUNDS:,} calls of each, interleaved; afterwards it
has counted them all. The others keep no instances.""",
        rows=[("", "p50 ms", "p99 ms", "times farcall"), *rows],
        goals=[Goal("p50, ms", found[0].median, 0.20, digits=3)],
        figures={"call, ms": found},
    )
