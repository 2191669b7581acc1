"""RunPod's job queue on the fake platform: a worker's start, jobs per second, and its end."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.options import DEADLINE_S, DIRECTORY, Options, environment, progress, version
from bench.report import Goal, Measurement, Section, ratio
from bench.servers import as_base64

CODE = "def add(a, b):\n    return a + b\n"

# Rounds of each contender: one of the reference's takes ten seconds.
ROUNDS = 3

# How long an idle worker is given until its long poll is pending.
SETTLE_S = 1.5

# Checks of the machine are no part of a job; the reference's cost seconds, which would flatter us.
NO_CHECKS = {
    "RUNPOD_SKIP_FITNESS_CHECKS": "true",
    "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
    "RUNPOD_SKIP_GPU_CHECK": "true",
}


@dataclass(frozen=True)
class Worker:
    """A queue worker, and how many jobs it is measured with."""

    name: str
    command: Sequence[str]
    jobs: int
    environment: Mapping[str, str] = field(default_factory=dict)
    slots: int = 1


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """What a process prints, a line at a time."""
    return iter(process.stdout or ())


@contextlib.contextmanager
def platform(
    options: Options, arguments: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A fake platform, and the variables of its worker."""
    command = [str(options.fake_platform), *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        variables = {}
        for line in lines(process):
            if line.startswith("# listening"):
                break
            match = re.fullmatch(r"export (RUNPOD_\w+)='(.*)'\n", line)
            if match and not match[1].startswith(("RUNPOD_API", "RUNPOD_ENDPOINT_BASE", "RUNPOD_HAPI")):
                variables[match[1]] = match[2]
        yield process, variables
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def running(worker: Worker, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        worker.command,
        env=environment({**variables, **NO_CHECKS, **worker.environment}),
        cwd=DIRECTORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def serve_jobs(options: Options, worker: Worker, jobs: int) -> tuple[float, float]:
    """Milliseconds from the worker's start to the last answer, and jobs per second from the first take."""
    request = {"function_name": "add", "function_code": CODE, "args": [as_base64(1), as_base64(2)]}
    arguments = ["--preload", str(jobs), "--slots", str(worker.slots), "--input", json.dumps(request)]
    with platform(options, arguments) as (fake, variables):
        began = time.perf_counter()
        with running(worker, variables):
            report = json.loads(next(lines(fake)))
            elapsed = time.perf_counter() - began
    if not report["complete"]:
        raise RuntimeError(f"{worker.name} answered {report['jobs']} of {jobs} jobs")
    return elapsed * 1000, report["jobs_per_s"]


def stop_idle(options: Options, worker: Worker) -> float:
    """Milliseconds from SIGTERM to the end of a worker whose long poll is pending."""
    with platform(options, []) as (_, variables), running(worker, variables) as process:
        time.sleep(SETTLE_S)
        process.terminate()
        began = time.perf_counter()
        process.wait(DEADLINE_S)
        return (time.perf_counter() - began) * 1000


def queue(options: Options) -> Section:
    """Start, throughput and stop of queue workers."""
    cache = {
        "FARCALL_PYTHON": str(options.python),
        "FARCALL_CACHE_DIR": str(options.directory / "queue-cache"),
    }
    farcall = [str(options.farcall), "serve"]
    workers = [
        Worker("farcall serve", farcall, 3000, cache),
        Worker("farcall serve, concurrency 8", farcall, 3000, cache | {"FARCALL_CONCURRENCY": "8"}, 8),
        Worker(
            f"runpod {version(options.peers, 'runpod')}, exec handler",
            [str(options.peers), str(DIRECTORY / "peers/runpod_handler.py")],
            5,
        ),
    ]
    first: dict[str, list[float]] = {worker.name: [] for worker in workers}
    rate: dict[str, list[float]] = {worker.name: [] for worker in workers}
    stop: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for round_ in range(ROUNDS + 1):
        for worker in workers:
            progress(f"queue: round {round_} of {ROUNDS}, {worker.name}")
            started, _ = serve_jobs(options, worker, 1)
            _, jobs_per_s = serve_jobs(options, worker, worker.jobs)
            stopped = stop_idle(options, worker)
            if round_:  # the first one warms up
                first[worker.name].append(started)
                rate[worker.name].append(jobs_per_s)
                stop[worker.name].append(stopped)
    progress("")
    names = [worker.name for worker in workers]
    rates = {name: Measurement(name, rate[name]) for name in names}
    ours = rates[names[0]]
    starts = {name: Measurement(name, first[name]) for name in names}
    stops = {name: Measurement(name, stop[name]) for name in names}
    rows = [["", "start to first answer, ms", "jobs/s", "times farcall", "SIGTERM to exit, ms"]]
    rows += [
        [
            name,
            f"{starts[name].median:.1f}",
            f"{rates[name].median:.2f}",
            ratio(rates[name], ours),
            f"{stops[name].median:.1f}",
        ]
        for name in names
    ]
    return Section(
        title="RunPod's queue",
        explanation=(
            "`add(1, 2)` as jobs of a fake platform on loopback ([fake-platform.rs]"
            "(../tests/src/bin/fake-platform.rs)), from the worker's start to the first answer, jobs per "
            f"second from the first take to the last answer, and the end of an idle worker. {ROUNDS} "
            "interleaved rounds. The reference worker's checks of the machine are off; it sleeps a "
            "second after a job."
        ),
        rows=rows,
        goals=[
            Goal("start to first answer, ms", starts[names[0]].median, 40),
            Goal("jobs/s at concurrency 1", ours.median, 1500, at_most=False, digits=0),
            Goal("jobs/s at concurrency 8", rates[names[1]].median, ours.median, at_most=False, digits=0),
            Goal("SIGTERM to exit, ms", stops[names[0]].median, 100),
        ],
    )
