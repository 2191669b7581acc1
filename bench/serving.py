"""Workers that answer by HTTP: how soon, how fast, how many at once."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.connection import Connection
from bench.options import Options, progress
from bench.report import Goal, Measurement, Section, ratio
from bench.servers import Running, Server, as_base64, cpu_ms, servers

ADD = "def add(a, b):\n    return a + b\n"
SUM = as_base64(3).encode()

# How many rounds the warm calls come in: enough that a disturbance meets everybody.
ROUNDS = 20

# Where a load generator stands: the figure is for as many.
CLIENTS = 8


@contextmanager
def all_running(contenders: Sequence[Server]) -> Iterator[list[Running]]:
    running = [Running(server) for server in contenders]
    try:
        for one in running:
            one.wait_healthy()
            one.wait(one.server.request(ADD, "add", [1, 2]), SUM if one.server.runs_code else b"")
        yield running
    finally:
        for one in running:
            one.stop()


def start(options: Options) -> Section:
    """From before the process exists until it answers."""
    contenders = servers(options)
    pings: list[list[float]] = [[] for _ in contenders]
    firsts: list[list[float]] = [[] for _ in contenders]
    runs = max(options.runs // 2, 3)
    for run in range(-1, runs):
        progress(f"start {run + 1} of {runs}")
        for index, server in enumerate(contenders):
            running = Running(server)
            ping_ms = running.wait_healthy()
            first_ms = running.wait(server.request(ADD, "add", [1, 2]), SUM if server.runs_code else b"")
            running.stop()
            if run >= 0:
                pings[index].append(ping_ms)
                firsts[index].append(first_ms)
    progress("")
    ping = [Measurement(server.name, times) for server, times in zip(contenders, pings, strict=True)]
    first = [Measurement(server.name, times) for server, times in zip(contenders, firsts, strict=True)]
    head = ("", "`/ping` 200, ms", "p10 - p90", "first result, ms", "p10 - p90", "times farcall")
    return Section(
        title="HTTP: start",
        explanation="""\
From before the process exists until its health check says that it is ready, and until `add(1, 2)` has its
result. Asked every 0.2 ms.""",
        rows=[
            head,
            *(
                (
                    one.name,
                    f"{one.median:.1f}",
                    one.spread(1),
                    f"{two.median:.1f}",
                    two.spread(1),
                    ratio(two, first[0]),
                )
                for one, two in zip(ping, first, strict=True)
            ),
        ],
        goals=[
            Goal("start to `/ping` 200, ms", ping[0].median, 40, digits=1),
            Goal("start to first result, ms", first[0].median, 40, digits=1),
        ],
    )


def warm(options: Options) -> Section:
    """One client, one connection, one call after another."""
    contenders = servers(options)
    calls = options.calls // ROUNDS
    times: list[list[float]] = [[] for _ in contenders]
    cpu = [0.0 for _ in contenders]
    refused = [0 for _ in contenders]
    with all_running(contenders) as running:
        requests = [one.server.request(ADD, "add", [1, 2]) for one in running]
        connections = [Connection(one.port) for one in running]
        for round_number in range(-1, ROUNDS):
            progress(f"warm calls, round {round_number + 1} of {ROUNDS}")
            for index, one in enumerate(running):
                before = sum(map(cpu_ms, one.tree()))
                spent, refusals = call(connections[index], requests[index], calls)
                if round_number >= 0:
                    times[index] += spent
                    refused[index] += refusals
                    cpu[index] += (sum(map(cpu_ms, one.tree())) - before) / (calls * ROUNDS)
    progress("")
    found = [Measurement(server.name, samples) for server, samples in zip(contenders, times, strict=True)]
    head = ("", "p50 ms", "p99 ms", "times farcall", "CPU ms a call", "refused")
    rows = [
        (
            one.name,
            f"{one.median:.3f}",
            f"{one.percentile(99):.3f}",
            ratio(one, found[0]),
            f"{used:.3f}",
            str(no),
        )
        for one, used, no in zip(found, cpu, refused, strict=True)
    ]
    return Section(
        title="HTTP: warm calls",
        explanation=f"""\
`add(1, 2)`, {calls * ROUNDS:,} calls of each, one after another over one connection, interleaved in {ROUNDS}
rounds. The client is a raw socket with the request built beforehand: what it and the kernel cost is in the
hello rows, which answer with a constant. Refused: answers other than 200, asked again at once.""",
        rows=[head, *rows],
        goals=[
            Goal("p50, ms", found[0].median, 0.20, digits=3),
            Goal("refused", refused[0], 0, digits=0),
        ],
    )


def call(connection: Connection, request: bytes, count: int) -> tuple[list[float], int]:
    """Times of `count` calls in milliseconds, and how many were refused meanwhile."""
    times: list[float] = []
    refused = 0
    while len(times) < count:
        begun = time.perf_counter_ns()
        answer = connection.exchange(request)
        elapsed = time.perf_counter_ns() - begun
        if answer.status == 200:
            times.append(elapsed / 1e6)
        else:
            refused += 1
    return times, refused


def throughput(options: Options) -> Section:
    """Several clients at once, by wrk."""
    contenders = [server for server in servers(options) if "coglet" not in server.name]
    rates: list[list[float]] = [[] for _ in contenders]
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("bench: wrk is missing\nhint: apt-get install wrk")
    with all_running(contenders) as running:
        for one in running:
            script(options, one)
        for run in range(5):
            progress(f"throughput, run {run + 1} of 5")
            for index, one in enumerate(running):
                rates[index].append(load(wrk, options, one))
    progress("")
    found = [Measurement(server.name, samples) for server, samples in zip(contenders, rates, strict=True)]
    rows = [(one.name, f"{one.median:.0f}", one.spread(0), ratio(one, found[0])) for one in found]
    return Section(
        title=f"HTTP: {CLIENTS} clients",
        explanation=f"""\
`add(1, 2)` from {CLIENTS} connections of wrk (one thread, 5 runs of 2 s), at the default concurrency of 1.
wrk shares the cores with the worker. coglet is left out: it refuses all clients but one (409).""",
        rows=[("", "requests/s", "p10 - p90", "times farcall"), *rows],
        goals=[Goal("requests/s", found[0].median, 6000, at_most=False, digits=0)],
    )


def script(options: Options, running: Running) -> None:
    """What wrk is to send: a request's body as a Lua string."""
    body = running.server.request(ADD, "add", [1, 2]).partition(b"\r\n\r\n")[2].decode()
    lines = [
        'wrk.method = "POST"',
        f"wrk.body = [==[{body}]==]",
        'wrk.headers["Content-Type"] = "application/json"',
    ]
    (options.directory / f"{running.port}.lua").write_text("\n".join(lines), encoding="utf-8")


def load(wrk: str, options: Options, running: Running) -> float:
    """Requests a second."""
    command = [wrk, "-t1", f"-c{CLIENTS}", "-d2s", "-s", f"{options.directory}/{running.port}.lua"]
    url = f"http://127.0.0.1:{running.port}/execute"
    said = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"bench: {running.server.name} failed under load:\n{said}")
    found = re.search(r"Requests/sec: *([\d.]+)", said)
    return float(found[1]) if found else 0.0
