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
from bench.report import Figures, Goal, Measurement, Section, table_of
from bench.servers import as_base64, cpu_used, pss_mb, tree

CODE = "def add(a, b):\n    return a + b\n"

# Rounds of each contender: one of the reference's takes ten seconds.
ROUNDS = 3

# How long an idle worker is given until its long poll is pending.
SETTLE_S = 1.5

# How long it is watched then.
WATCHED_S = 2.0

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
def running_worker(worker: Worker, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
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


@dataclass(frozen=True)
class Served:
    """What became of some jobs. Milliseconds from the worker's start."""

    taken_ms: float
    """Until the platform had handed out the first."""
    answered_ms: float
    """Until it had the last answer."""
    jobs_per_s: float
    """From the one to the other."""


@dataclass(frozen=True)
class Rested:
    """What an idle worker costs, and how it ends."""

    stopped_ms: float
    cpu_ms_per_s: float
    memory_mb: float


def serve_jobs(options: Options, worker: Worker, jobs: int) -> Served:
    """Starts a worker, and has it do so many jobs."""
    request = {"function_name": "add", "function_code": CODE, "args": [as_base64(1), as_base64(2)]}
    arguments = ["--preload", str(jobs), "--slots", str(worker.slots), "--input", json.dumps(request)]
    with platform(options, arguments) as (fake, variables):
        began, began_unix_s = time.perf_counter(), time.time()
        with running_worker(worker, variables):
            report = json.loads(next(lines(fake)))
            elapsed = time.perf_counter() - began
    if not report["complete"]:
        raise RuntimeError(f"{worker.name} answered {report['jobs']} of {jobs} jobs")
    taken = report["first_take_unix_s"] - began_unix_s
    return Served(taken * 1e3, elapsed * 1e3, report["jobs_per_s"])


def rest(options: Options, worker: Worker) -> Rested:
    """Watches a worker whose long poll is pending, then sends it SIGTERM."""
    with platform(options, []) as (_, variables), running_worker(worker, variables) as process:
        time.sleep(SETTLE_S)
        its = tree(process.pid)
        used = cpu_used(its, WATCHED_S)
        memory = sum(map(pss_mb, its))
        process.terminate()
        began = time.perf_counter()
        process.wait(DEADLINE_S)
        return Rested((time.perf_counter() - began) * 1e3, used / WATCHED_S, memory)


def queue_workers(options: Options) -> list[Worker]:
    """All of them, Farcall first."""
    cache = {
        "FARCALL_PYTHON": str(options.python),
        "FARCALL_CACHE_DIR": str(options.directory / "queue-cache"),
    }
    farcall = [str(options.farcall), "serve"]
    return [
        Worker("farcall serve", farcall, 3000, cache),
        Worker("farcall serve, concurrency 8", farcall, 3000, cache | {"FARCALL_CONCURRENCY": "8"}, 8),
        Worker(
            f"runpod {version(options.peers, 'runpod')}, exec handler",
            [str(options.peers), str(DIRECTORY / "peers/runpod_handler.py")],
            3,
        ),
    ]


def measure(options: Options) -> Figures:
    """Everything of everybody, interleaved."""
    workers = queue_workers(options)
    found: dict[str, dict[str, list[float]]] = {}
    for round_ in range(ROUNDS + 1):
        for worker in workers:
            progress(f"queue: round {round_} of {ROUNDS}, {worker.name}")
            one, many = serve_jobs(options, worker, 1), serve_jobs(options, worker, worker.jobs)
            rested = rest(options, worker)
            figures = {
                "first take, ms": one.taken_ms,
                "first answer, ms": one.answered_ms,
                "jobs/s": many.jobs_per_s,
                "SIGTERM to exit, ms": rested.stopped_ms,
                "idle CPU, ms a second": rested.cpu_ms_per_s,
                "idle PSS, MiB": rested.memory_mb,
            }
            if round_:  # the first one warms up
                for metric, figure in figures.items():
                    found.setdefault(metric, {}).setdefault(worker.name, []).append(figure)
    progress("")
    return {
        metric: [Measurement(name, samples) for name, samples in by_name.items()]
        for metric, by_name in found.items()
    }


def queue(options: Options) -> Section:
    """Start, throughput, rest and stop of queue workers."""
    figures = measure(options)
    digits = dict.fromkeys(figures, 1) | {"jobs/s": 2, "idle CPU, ms a second": 2}
    ours, eight = figures["jobs/s"][:2]
    return Section(
        title="RunPod's queue",
        explanation=f"""\
`add(1, 2)` as jobs of a fake platform on loopback ([fake-platform.rs](../tests/src/bin/fake-platform.rs)):
from the worker's start until the platform has handed out a job and until it has its answer, jobs per second
from the first take to the last answer, an idle worker, and its end. {ROUNDS} interleaved rounds. The
reference worker's checks of the machine are off; it sleeps a second after a job.""",
        rows=table_of(figures, digits),
        goals=[
            Goal("start to first answer, ms", figures["first answer, ms"][0].median, 40),
            Goal("jobs/s at concurrency 1", ours.median, 1500, at_most=False, digits=0),
            Goal("jobs/s at concurrency 8", eight.median, ours.median, at_most=False, digits=0),
            Goal("SIGTERM to exit, ms", figures["SIGTERM to exit, ms"][0].median, 100),
        ],
        figures=figures,
    )
