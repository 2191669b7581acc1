"""Workers that answer by HTTP: how soon, how fast, how many at once."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from bench.connection import Connection
from bench.options import Options, progress
from bench.report import Goal, Section, measurements, ratio, table_of
from bench.servers import Running, Server, as_base64, cpu_ms, farcall, servers

ADD = "def add(a, b):\n    return a + b\n"
SUM = as_base64(3).encode()

# How many rounds the warm calls come in: enough that a disturbance meets everybody.
ROUNDS = 20

# Where a load generator stands: the goal's figure is for as many.
CLIENTS = 8

# Runs of the load generator, and the seconds of each.
LOAD_RUNS, LOAD_S = 3, 1


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


def with_settings(server: Server, name: str, settings: Mapping[str, str]) -> Server:
    """The same server under another name, with more variables."""
    return replace(server, name=name, environment={**server.environment, **settings})


@contextmanager
def worker(options: Options, settings: Mapping[str, str]) -> Iterator[Running]:
    """Farcall, with some variables set, from its being healthy to its end."""
    ours = farcall(options)
    running = Running(with_settings(ours, ours.name, settings))
    try:
        running.wait_healthy()
        yield running
    finally:
        running.stop()


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
    names = [server.name for server in contenders]
    ping, first = measurements(names, pings), measurements(names, firsts)
    head = ("", "`/ping` 200, ms", "p10 - p90", "first result, ms", "p10 - p90", "times farcall")
    rows = [
        (
            one.name,
            f"{one.median:.1f}",
            one.spread(1),
            f"{two.median:.1f}",
            two.spread(1),
            ratio(two, first[0]),
        )
        for one, two in zip(ping, first, strict=True)
    ]
    return Section(
        title="HTTP: start",
        explanation="""\
From before the process exists until its health check says that it is ready, and until `add(1, 2)` has its
result. Asked every 0.2 ms. The runpod package's local API has no health check: its list of routes stands
in.""",
        rows=[head, *rows],
        goals=[
            Goal("start to `/ping` 200, ms", ping[0].median, 40, digits=1),
            Goal("start to first result, ms", first[0].median, 40, digits=1),
        ],
        figures={"ping, ms": ping, "first result, ms": first},
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
    names = [server.name for server in contenders]
    found = measurements(names, times)
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
        figures={
            "call, ms": found,
            "CPU, ms": measurements(names, [[used] for used in cpu]),
            "refused": measurements(names, [[float(no)] for no in refused]),
        },
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
    """Several clients at once."""
    ours, *others = servers(options)
    many = f"farcall serve, concurrency {CLIENTS}"
    contenders = [ours, with_settings(ours, many, {"FARCALL_CONCURRENCY": str(CLIENTS)}), *others]
    single: list[list[float]] = [[] for _ in contenders]
    several: list[list[float]] = [[] for _ in contenders]
    slowest: list[list[float]] = [[] for _ in contenders]
    with all_running(contenders) as running:
        for run in range(-1, LOAD_RUNS):
            progress(f"throughput, run {run + 1} of {LOAD_RUNS}")
            for index, one in enumerate(running):
                alone = load(options, one, 1)
                together = load(options, one, CLIENTS) if "coglet" not in one.server.name else None
                if run >= 0:
                    single[index].append(alone["requests_per_s"])
                if run >= 0 and together:
                    several[index].append(together["requests_per_s"])
                    slowest[index].append(together["p99_ms"])
    progress("")
    names = [server.name for server in contenders]
    eight = f"{CLIENTS} clients, requests/s"
    figures = {
        "1 client, requests/s": measurements(names, single),
        eight: measurements(names, several),
        f"p99 of {CLIENTS}, ms": measurements(names, slowest),
    }
    return Section(
        title=f"HTTP: {CLIENTS} clients",
        explanation=f"""\
`add(1, 2)` from 1 and from {CLIENTS} connections of a load generator ([load.rs](../tests/src/bin/load.rs),
one thread, {LOAD_RUNS} runs of {LOAD_S} s), at the default concurrency of 1 and at {CLIENTS}. It shares the
cores with the worker. coglet has one client only: it refuses all others (409).""",
        rows=table_of(figures, {"1 client, requests/s": 0, eight: 0, f"p99 of {CLIENTS}, ms": 3}),
        goals=[Goal("requests/s", figures[eight][0].median, 6000, at_most=False, digits=0)],
        figures=figures,
    )


def load(options: Options, running: Running, clients: int, seconds: int = LOAD_S) -> dict[str, Any]:
    """What so many clients at once saw."""
    file = options.directory / f"{running.port}.http"
    file.write_bytes(running.server.request(ADD, "add", [1, 2]))
    command = [str(options.load), str(running.port), str(clients), str(seconds), str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(said)
    if found["refused"] and "coglet" not in running.server.name:
        raise SystemExit(f"bench: {running.server.name} failed under load:\n{said}")
    return found
