"""The first result of a start in each mode, with the byte code of all modules there, and with none."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from bench.options import Options, environment, progress
from bench.processes import Contender, one_request
from bench.queue import Worker, queue_workers, serve_jobs
from bench.report import Goal, Measurement, Section, ratio
from bench.servers import Running, Server, servers
from bench.serving import ADD, SUM

# Runs of each contender in each state: one of the slowest takes four seconds.
RUNS = 3

# Milliseconds of a start with more variables.
Start = Callable[[Mapping[str, str]], float]


def bytecode(options: Options) -> Section:
    """Starts of everybody, with and without byte code."""
    starts = contenders(options)
    times: dict[tuple[str, bool], list[float]] = {}
    numbers = itertools.count()
    for run in range(-1, RUNS):
        for name, start in starts.items():
            progress(f"byte code: run {run + 1} of {RUNS}, {name}")
            # A directory that nothing was ever written to: every module is compiled.
            empty = {"PYTHONPYCACHEPREFIX": str(options.directory / f"bytecode-{next(numbers)}")}
            for is_compiled, variables in ((True, {}), (False, empty)):
                elapsed_ms = start(variables)
                if run >= 0:
                    times.setdefault((name, is_compiled), []).append(elapsed_ms)
    progress("")
    compiled = [Measurement(name, times[name, True]) for name in starts]
    not_compiled = [Measurement(name, times[name, False]) for name in starts]
    rows = [
        (one.name, f"{one.median:.1f}", f"{two.median:.1f}", ratio(two, one))
        for one, two in zip(compiled, not_compiled, strict=True)
    ]
    return Section(
        title="Start without byte code",
        explanation=f"""\
From before the process exists to the first result of `add(1, 2)`: by HTTP, as a queue's job, and from the
command line. Without: `PYTHONPYCACHEPREFIX` is an empty directory, as in a new container whose image holds
no `.pyc`. {RUNS} interleaved runs.""",
        rows=[("", "with `.pyc`, ms", "without, ms", "times"), *rows],
        goals=[Goal("farcall's queue worker without `.pyc`, ms", not_compiled[1].median, 150, digits=1)],
        figures={"with, ms": compiled, "without, ms": not_compiled},
    )


def contenders(options: Options) -> dict[str, Start]:
    """How each is started, by name; Farcall's first."""
    http = [server for server in servers(options) if server.runs_code]
    jobs = [worker for worker in queue_workers(options) if worker.slots == 1]
    processes = [it for it in one_request(options) if it.answer]
    starts: dict[str, Start] = {}
    for server, worker, process in itertools.zip_longest(http, jobs, processes):
        if server:
            starts[f"{server.name}, HTTP".replace(", local API", "")] = http_start(server)
        if worker:
            starts[f"{worker.name}, queue".replace(", exec handler", "")] = queue_start(options, worker)
        if process:
            starts[f"{process.name}, process"] = process_start(options, process)
    return starts


def http_start(server: Server) -> Start:
    def start(variables: Mapping[str, str]) -> float:
        running = Running(replace(server, environment={**server.environment, **variables}))
        try:
            return running.wait(server.request(ADD, "add", [1, 2]), SUM)
        finally:
            running.stop()

    return start


def queue_start(options: Options, worker: Worker) -> Start:
    def start(variables: Mapping[str, str]) -> float:
        with_them = replace(worker, environment={**worker.environment, **variables})
        return serve_jobs(options, with_them, 1).answered_ms

    return start


def process_start(options: Options, contender: Contender) -> Start:
    def start(variables: Mapping[str, str]) -> float:
        begun = time.perf_counter()
        subprocess.run(
            contender.command,
            env=environment({**contender.environment, **variables}),
            cwd=options.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        return (time.perf_counter() - begun) * 1e3

    return start
