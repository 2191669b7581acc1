"""One request as a whole process: Farcall's `test-handler`, a bare interpreter, the runpod package."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.options import DEADLINE_S, DIRECTORY, WARM_UP_RUNS, Options, environment, progress, version
from bench.report import Goal, Measurement, Section, ratio
from bench.servers import as_base64


@dataclass(frozen=True)
class Contender:
    """A command to time as a whole process; it has done its work when it prints `answer`."""

    name: str
    command: Sequence[str]
    answer: str
    environment: Mapping[str, str] = field(default_factory=dict)


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


def one_request(options: Options) -> list[Contender]:
    """The programs that run one request, Farcall first."""
    argument, answer = as_base64(ARGUMENT), as_base64(ARGUMENT * 2)
    request = {"function_name": "double", "function_code": FUNCTION_CODE, "args": [argument]}
    file = options.directory / "double.json"
    file.write_text(json.dumps(request), encoding="utf-8")
    python = str(options.python)
    return [
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
    ]


def whole_process(options: Options) -> Section:
    """One request, from starting a program to its end."""
    farcall, bare, empty, runpod = found = time_processes(one_request(options), options)
    return Section(
        title="One request, whole process",
        explanation="""\
A function that doubles a number, its argument and result base64 of a pickle, from the start of the program to
its end. Every contender runs the same interpreter. The bare one gets source and argument on its command line
and imports `base64` and `pickle`; the runpod package runs a handler of ours
([runpod_handler.py](peers/runpod_handler.py)) as its local test (`--test_input`).""",
        rows=[
            ("", "median ms", "p10 - p90 ms", "times farcall"),
            *(
                (one.name, f"{one.median:.1f}", one.spread(1), ratio(one, farcall))
                for one in (farcall, bare, empty, runpod)
            ),
        ],
        goals=[
            Goal("farcall / bare python", farcall.median / bare.median, 1.3),
            Goal("runpod / farcall", runpod.median / farcall.median, 40, at_most=False),
        ],
        figures={"process, ms": found},
    )


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
        env=environment(contender.environment),
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
    prepared = environment(contender.environment)
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
