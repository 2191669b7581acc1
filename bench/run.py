#!/usr/bin/env python3
"""`make bench`: Farcall's speed against the floor and against other workers, measured side by side.

Prints a table for each section and writes `bench/RESULTS.md`. The contenders of a section run interleaved, in
turn, so that whatever else the machine does meets all of them; what counts are the ratios. A new section is
a function that returns a `Section`, listed in `SECTIONS`.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import json
import os
import pickle
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent
RESULTS = DIRECTORY / "RESULTS.md"

# Runs of each contender before any that counts: they write byte code and fill the page cache.
WARM_UP_RUNS = 2

# A contender that takes longer hangs. Seconds.
DEADLINE_S = 60


@dataclass(frozen=True)
class Options:
    """What is measured with what. Paths are absolute."""

    farcall: Path
    python: Path
    peers: Path
    runs: int
    directory: Path
    """A scratch directory for request files and caches, gone afterwards."""


@dataclass(frozen=True)
class Contender:
    """A command to time as a whole process; it has done its work when it prints `answer`."""

    name: str
    command: Sequence[str]
    answer: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """Times of one contender, in milliseconds."""

    name: str
    times_ms: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.times_ms)

    @property
    def spread(self) -> tuple[float, float]:
        """The 10th and the 90th percentile."""
        deciles = statistics.quantiles(self.times_ms, n=10, method="inclusive")
        return deciles[0], deciles[-1]


@dataclass(frozen=True)
class Goal:
    """A ratio that was asked for: `actual`, to be at most or over `bound`."""

    text: str
    actual: float
    bound: float
    at_most: bool

    def line(self) -> str:
        met = self.actual <= self.bound if self.at_most else self.actual > self.bound
        wanted = f"{'at most' if self.at_most else 'over'} {self.bound:g}"
        return f"{self.text}: {self.actual:.2f} (goal: {wanted}; {'met' if met else 'MISSED'})"


@dataclass(frozen=True)
class Section:
    """What one kind of measurement found; the first measurement is Farcall's."""

    title: str
    explanation: str
    measurements: Sequence[Measurement]
    goals: Sequence[Goal]

    def table(self) -> str:
        """The measurements as a Markdown table."""
        ours = self.measurements[0].median
        rows = [("", "median ms", "p10 - p90 ms", "times farcall")]
        for measurement in self.measurements:
            low, high = measurement.spread
            ratio = f"{measurement.median / ours:.2f}"
            rows.append((measurement.name, f"{measurement.median:.1f}", f"{low:.1f} - {high:.1f}", ratio))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [" | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
        head, *body = [f"| {line} |" for line in lines]
        return "\n".join([head, f"|{rule}|", *body])

    def text(self) -> str:
        goals = "\n".join(f"- {goal.line()}" for goal in self.goals)
        return f"## {self.title}\n\n{self.explanation}\n\n{self.table()}\n\n{goals}\n"


# --- Whole processes -------------------------------------------------------------------------------------

FUNCTION_CODE = "def double(x):\n    return x * 2\n"
ARGUMENT = 21

# What the worker does for a request, and nothing besides: no JSON, no output captured, no errors reported.
BARE_PROGRAM = """\
import base64, pickle, sys
code, name, argument = sys.argv[1:]
namespace = {}
exec(code, namespace)
result = namespace[name](pickle.loads(base64.b64decode(argument)))
print(base64.b64encode(pickle.dumps(result, 5)).decode())
"""


def whole_process(options: Options) -> Section:
    """One request, from starting a program to its end."""
    argument, answer = as_base64(ARGUMENT), as_base64(ARGUMENT * 2)
    request = {"function_name": "double", "function_code": FUNCTION_CODE, "args": [argument]}
    file = options.directory / "double.json"
    file.write_text(json.dumps(request), encoding="utf-8")
    python = str(options.python)
    farcall, bare, empty, runpod = time_processes(
        [
            Contender(
                "farcall test-handler",
                [str(options.farcall), "test-handler", "--json", str(file)],
                answer,
                {"FARCALL_PYTHON": python, "FARCALL_CACHE_DIR": str(options.directory / "cache")},
            ),
            Contender(
                "bare python: unpickle, exec, pickle",
                [python, "-c", BARE_PROGRAM, FUNCTION_CODE, "double", argument],
                answer,
            ),
            Contender("python -c pass", [python, "-c", "pass"], ""),
            Contender(
                f"runpod {version(options.peers, 'runpod')}, local test",
                [
                    str(options.peers),
                    str(DIRECTORY / "peers/runpod_handler.py"),
                    "--test_input",
                    json.dumps({"input": request}),
                ],
                answer,
            ),
        ],
        options,
    )
    return Section(
        title="One request, whole process",
        explanation="""\
A function that doubles a number, its argument and result base64 of a pickle, from the start of the program to
its end. Every contender runs the same interpreter. The bare one gets source and argument on its command line
and imports `base64` and `pickle`; the runpod package runs a handler of ours
([runpod_handler.py](peers/runpod_handler.py)) as its local test (`--test_input`).""",
        measurements=[farcall, bare, empty, runpod],
        goals=[
            Goal("farcall / bare python", farcall.median / bare.median, 1.3, at_most=True),
            Goal("runpod / farcall", runpod.median / farcall.median, 40, at_most=False),
        ],
    )


SECTIONS: list[Callable[[Options], Section]] = [whole_process]


# --- Measuring -------------------------------------------------------------------------------------------


def time_processes(contenders: Sequence[Contender], options: Options) -> list[Measurement]:
    """Runs the contenders in turn, `options.runs` times each after warming up."""
    times: list[list[float]] = [[] for _ in contenders]
    for contender in contenders:
        for _ in range(WARM_UP_RUNS):
            check_answer(contender, options)
    for run in range(options.runs):
        progress(f"run {run + 1} of {options.runs}")
        # Each goes first as often as the others: what runs after a slow one finds colder caches.
        for step in range(len(contenders)):
            index = (run + step) % len(contenders)
            times[index].append(time_process(contenders[index], options))
    progress("")
    return [
        Measurement(contender.name, samples) for contender, samples in zip(contenders, times, strict=True)
    ]


def check_answer(contender: Contender, options: Options) -> None:
    finished = subprocess.run(
        contender.command,
        env=environment(contender),
        cwd=options.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    output = finished.stdout + finished.stderr
    if finished.returncode != 0 or contender.answer not in output:
        sys.exit(f"bench: {contender.name} does not work (exit code {finished.returncode}):\n{output}")


def time_process(contender: Contender, options: Options) -> float:
    """Milliseconds from before the start of the process until it was reaped."""
    prepared = environment(contender)
    # `subprocess`'s own timeout polls, with pauses of up to 50 ms that would be measured; an alarm ends a
    # contender that hangs by ending all of this.
    signal.alarm(DEADLINE_S)
    begun = time.perf_counter_ns()
    subprocess.run(
        contender.command,
        env=prepared,
        cwd=options.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    elapsed = time.perf_counter_ns() - begun
    signal.alarm(0)
    return elapsed / 1e6


def environment(contender: Contender) -> dict[str, str]:
    """The inherited environment, without what would keep Python from using byte code or slow its output."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "FARCALL_", "RUNPOD_", "VIRTUAL_ENV"))
    }
    return inherited | dict(contender.environment)


def as_base64(value: object) -> str:
    return base64.b64encode(pickle.dumps(value, protocol=5)).decode("ascii")


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


# --- Reporting -------------------------------------------------------------------------------------------


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=DIRECTORY).stdout.strip()


def version(python: Path, package: str) -> str:
    return ask(str(python), "-c", f"from importlib.metadata import version; print(version({package!r}))")


def machine() -> str:
    """Cores, memory and kernel; nothing that tells one machine from its twin."""
    information = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in information if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    processor = models[0] if models else platform.machine()
    return f"{cores} cores ({processor}), {memory:.0f} GiB, Linux {platform.release()}"


def report(options: Options, sections: Sequence[Section]) -> str:
    """The page that is written."""
    python = ask(str(options.python), "-c", "import platform; print(platform.python_version())")
    facts = {
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "machine": machine(),
        "versions": f"{ask(str(options.farcall), '--version')}, CPython {python}, "
        f"runpod {version(options.peers, 'runpod')}, cloudpickle {version(options.peers, 'cloudpickle')}",
        "command": f"`make bench` ({options.runs} runs each, interleaved, after {WARM_UP_RUNS} to warm up)",
    }
    lines = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    bodies = "\n".join(section.text() for section in sections)
    return f"""\
# Speed

Written by `make bench`. Compare ratios, not milliseconds: they change with the machine.
`PYTHONDONTWRITEBYTECODE`, `PYTHONUNBUFFERED` and their like are unset for every contender, so that all of
them run from byte code that the warm-up wrote.

{lines}

{bodies}"""


def parse(arguments: Sequence[str], directory: Path) -> Options:
    parser = argparse.ArgumentParser(description="Measure Farcall against other ways to run a function.")
    parser.add_argument("--farcall", type=Path, required=True, help="the release binary")
    parser.add_argument("--python", type=Path, required=True, help="the interpreter to measure with")
    parser.add_argument("--peers", type=Path, required=True, help="an interpreter that has the other workers")
    parser.add_argument("--runs", type=int, default=30, help="runs of each contender (default: 30)")
    given = parser.parse_args(arguments)
    # Not resolved: an interpreter's path says which virtual environment it belongs to.
    here = Path.cwd()
    return Options(
        farcall=here / given.farcall,
        python=here / given.python,
        peers=here / given.peers,
        runs=max(given.runs, 2),
        directory=directory,
    )


def main(arguments: Sequence[str]) -> None:
    """Runs every section, prints the report and writes it."""
    with tempfile.TemporaryDirectory(prefix="farcall-bench-") as directory:
        options = parse(arguments, Path(directory))
        text = report(options, [section(options) for section in SECTIONS])
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
