"""The local endpoint: jobs by `runsync` and `run`, on disk and in memory, and its page over many jobs."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.connection import Connection, get, poll, post
from bench.options import DEADLINE_S, DIRECTORY, Options, environment, progress
from bench.report import Goal, Measurement, Section, ratio
from tests.page.browser import Browser, find

JOB = {
    "input": {
        "function_name": "add",
        "function_code": "def add(a, b):\n    return a + b\n",
        "args": [1, 2],
        "serialization_format": "json",
    }
}

ROUNDS = 5

# Calls one after another, and jobs of all clients together, in each round.
CALLS = 1000
JOBS = 2000
CLIENTS = 8

# What the page is looked at with, and how often.
STORED_JOBS = 10_000
PAINTS = 5


@dataclass
class Contender:
    """An endpoint, and what was measured of it. Times in milliseconds."""

    name: str
    arguments: Sequence[str]
    calls: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)
    """Jobs per second, until the last client has its ids."""
    done: list[float] = field(default_factory=list)
    """The same, until the last job has ended."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def endpoint(options: Options, arguments: Sequence[str], directory: Path) -> Iterator[int]:
    """An endpoint that is ready; its port."""
    port = free_port()
    variables = {
        "FARCALL_PYTHON": str(options.python),
        "FARCALL_CACHE_DIR": str(directory / "cache"),
        "FARCALL_DATA_DIR": str(directory / "data"),
    }
    process = subprocess.Popen(
        [str(options.farcall), "serve", "--mode", "local", "--port", str(port), *arguments],
        env=environment(variables),
        cwd=DIRECTORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        poll(port, get("/ping"), [b"healthy"], DEADLINE_S)
        yield port
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def run_and_wait(port: int, calls: int) -> list[float]:
    """Milliseconds of each `runsync`, one after another."""
    connection, request, times = Connection(port), post("/v2/bench/runsync", JOB), []
    for _ in range(calls):
        began = time.perf_counter()
        answer = connection.exchange(request)
        times.append((time.perf_counter() - began) * 1000)
        if b'"json_result":3' not in answer.body:
            raise RuntimeError(answer.body.decode())
    connection.close()
    return times


def submit(port: int, jobs: int) -> tuple[float, float]:
    """Seconds until many clients have submitted jobs, and until all of them have ended."""

    def client() -> None:
        connection, request = Connection(port), post("/v2/bench/run", JOB)
        for _ in range(jobs // CLIENTS):
            connection.exchange(request)
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = time.perf_counter() - began
    connection = Connection(port)
    while True:
        open_jobs = connection.exchange(get("/v2/bench/health")).json()["jobs"]
        if open_jobs["inQueue"] + open_jobs["inProgress"] == 0:
            return accepted, time.perf_counter() - began
        time.sleep(0.002)


def paint(options: Options) -> float | None:
    """Milliseconds until the page is first painted, with many jobs stored; None without a browser."""
    program = find()
    if program is None:
        return None
    with endpoint(options, [], options.directory / "local-page") as port:
        submit(port, STORED_JOBS)
        browser = Browser(program)
        try:
            painted = []
            for _ in range(PAINTS):
                browser.open(f"http://127.0.0.1:{port}/")
                entry = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
                browser.wait("document.querySelector('#rows li') !== null")
                painted.append(float(browser.wait(entry)))
                browser.open("about:blank")
        finally:
            browser.close()
    return Measurement("page", painted).median


def local(options: Options) -> Section:
    """Latency and throughput of the queue, and the page."""
    contenders = [Contender("farcall serve", []), Contender("farcall serve --ephemeral", ["--ephemeral"])]
    with contextlib.ExitStack() as stack:
        ports = [
            stack.enter_context(endpoint(options, it.arguments, options.directory / f"local-{number}"))
            for number, it in enumerate(contenders)
        ]
        for port in ports:
            run_and_wait(port, CALLS // 10)
        for round_ in range(ROUNDS):
            for contender, port in zip(contenders, ports, strict=True):
                progress(f"local: round {round_ + 1} of {ROUNDS}, {contender.name}")
                contender.calls += run_and_wait(port, CALLS)
                accepted, done = submit(port, JOBS)
                contender.accepted.append(JOBS / accepted)
                contender.done.append(JOBS / done)
    progress("local: the page")
    painted = paint(options)
    progress("")
    calls = [Measurement(it.name, it.calls) for it in contenders]
    accepted_rates = [Measurement(it.name, it.accepted) for it in contenders]
    done_rates = [Measurement(it.name, it.done) for it in contenders]
    rows = [["", "runsync p50, ms", "p99, ms", "times farcall", "run accepted/s", "run done/s"]]
    rows += [
        [
            call.name,
            f"{call.median:.3f}",
            f"{call.percentile(99):.3f}",
            ratio(call, calls[0]),
            f"{accepted.median:.0f}",
            f"{done.median:.0f}",
        ]
        for call, accepted, done in zip(calls, accepted_rates, done_rates, strict=True)
    ]
    goals = [
        Goal("runsync on disk, p50, ms", calls[0].median, 1.5),
        Goal("runsync in memory, p50, ms", calls[1].median, 0.5),
        Goal("jobs/s by run, on disk", done_rates[0].median, 1000, at_most=False, digits=0),
    ]
    if painted is not None:
        goals.append(Goal(f"first paint of the page with {STORED_JOBS:,} jobs, ms", painted, 200, digits=0))
    return Section(
        title="The local endpoint",
        explanation=(
            f"`add(1, 2)` as jobs: {CALLS * ROUNDS:,} by `runsync`, one after another over one connection, "
            f"and {JOBS:,} by `run` from {CLIENTS} connections, {ROUNDS} interleaved rounds, concurrency 1. "
            "On disk, an answer comes when the job is written; the clients share the cores with the "
            "endpoint. The page is opened in a headless chromium."
        ),
        rows=rows,
        goals=goals,
        figures={"runsync, ms": calls, "accepted/s": accepted_rates, "done/s": done_rates},
    )
