"""Packages that requests ask for: there already, known, new, and in conflict; beside what uv and pip take."""

from __future__ import annotations

import shutil
import subprocess
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from bench.connection import Connection, post
from bench.extremes import check
from bench.options import DEADLINE_S, Options, environment, progress
from bench.report import Goal, Measurement, Section
from bench.servers import Running, as_base64
from bench.serving import ADD, worker

# Rounds of warm calls, and calls of each kind in one: alternating, so that a disturbance meets all.
ROUNDS = 20
CALLS = 50

# New packages, each installed once by each contender.
NEW = 12

# pip takes most of a second.
PIP_RUNS = 5

WHEEL = "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
TINY = "def version():\n    import tiny\n    return tiny.VERSION\n"
PRESENT = "cloudpickle"


def dependencies(options: Options) -> Section:
    """What a request's `dependencies` cost."""
    house = wheel_house(options.directory / "house", range(1, 4 * NEW))
    settings = {
        "PIP_FIND_LINKS": str(house),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": "/dev/null",
        "UV_CACHE_DIR": str(options.directory / "uv-cache"),
    }
    warm_uv(options, settings)
    none, there, one, switched = warm_calls(options, settings)
    known = first_calls(options, settings, [1] * NEW, clear=False)
    new = first_calls(options, settings, range(NEW, 2 * NEW), clear=True)
    plain = first_calls(options, settings, [0] * NEW, clear=False)
    uv_new = tool_times(options, settings, "uv", range(2 * NEW, 3 * NEW))
    pip_new = tool_times(options, settings, "pip", range(3 * NEW, 3 * NEW + PIP_RUNS))
    uv_nothing = times_of(
        options, settings, [uv(options), "pip", "install", "--python", options.python, PRESENT], NEW
    )
    pip_nothing = times_of(options, settings, [options.python, "-m", "pip", "install", PRESENT], PIP_RUNS)
    progress("")
    rows = [
        ("warm call without dependencies", none),
        (f"warm call, `{PRESENT}` is there already", there),
        ("warm call in one environment", one),
        ("warm calls that switch between two environments in conflict", switched),
        ("first call of a new worker, without dependencies", plain),
        ("first call of a new worker, environment known", known),
        ("first call of a new worker, a new small package, uv's cache warm", new),
        ("`uv pip install` of what is there", uv_nothing),
        ("`pip install` of what is there", pip_nothing),
        ("`uv pip install --target` of a new small package", uv_new),
        ("`pip install --target` of a new small package", pip_new),
    ]
    return Section(
        title="Dependencies",
        explanation=f"""\
Calls by HTTP. Warm: {ROUNDS * CALLS} of each kind, alternating. First calls: {NEW} workers that have
been ready for a moment. The small package is a wheel of one module in a directory; no network. The last four
rows are whole processes with the same directory and cache.""",
        rows=[("", "median ms", "p10 - p90"), *((name, f"{m.median:.3f}", m.spread(3)) for name, m in rows)],
        goals=[
            Goal("satisfied dependencies, ms more than none", there.median - none.median, 0.2, digits=3),
            Goal("known environment, ms to the first result", known.median, 60, digits=1),
            Goal("new small package, ms to the first result", new.median, 150, digits=1),
            Goal("switching environments, ms more than not", switched.median - one.median, 0.05, digits=3),
        ],
        figures={"time, ms": [Measurement(name, found.samples) for name, found in rows]},
    )


def wheel_house(directory: Path, versions: Sequence[int]) -> Path:
    """A directory with a wheel `tiny` for each version."""
    directory.mkdir()
    for version in versions:
        stem = f"tiny-{version}"
        files = {
            "tiny.py": f"VERSION = {version}\n",
            f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
            f"{stem}.dist-info/WHEEL": WHEEL,
        }
        record = "".join(f"{path},,\n" for path in [*files, f"{stem}.dist-info/RECORD"])
        with zipfile.ZipFile(directory / f"{stem}-py3-none-any.whl", "w") as wheel:
            for path, text in {**files, f"{stem}.dist-info/RECORD": record}.items():
                wheel.writestr(path, text)
    return directory


def uv(options: Options) -> Path:
    return options.python.with_name("uv")


def warm_uv(options: Options, settings: dict[str, str]) -> None:
    """Has uv unpack every wheel once."""
    for version in range(1, 4 * NEW):
        progress(f"warming uv's cache, {version} of {4 * NEW - 1}")
        install(options, settings, "uv", version)


def install(options: Options, settings: dict[str, str], tool: str, version: int) -> float:
    """Milliseconds in which a tool installs one version into a directory of its own."""
    target = options.directory / "target"
    shutil.rmtree(target, ignore_errors=True)
    command = {
        "uv": [uv(options), "pip", "install", "--python", options.python, "--no-index"],
        "pip": [options.python, "-m", "pip", "install", "--quiet"],
    }[tool]
    links = ["--find-links", settings["PIP_FIND_LINKS"], "--target", target, f"tiny=={version}"]
    return times_of(options, settings, [*command, *links], 1).samples[0]


def tool_times(options: Options, settings: dict[str, str], tool: str, versions: Sequence[int]) -> Measurement:
    return Measurement(tool, [install(options, settings, tool, version) for version in versions])


def times_of(options: Options, settings: dict[str, str], command: Sequence[object], runs: int) -> Measurement:
    """Milliseconds of a command from its start to its end."""
    times = []
    words = [str(word) for word in command]
    progress(f"{' '.join(words[:4])} ...")
    for _ in range(runs):
        begun = time.perf_counter()
        subprocess.run(
            words,
            env=environment(settings),
            cwd=options.directory,
            capture_output=True,
            check=True,
            timeout=DEADLINE_S,
        )
        times.append((time.perf_counter() - begun) * 1e3)
    return Measurement(words[0], times)


def request(source: str, name: str, arguments: Sequence[object], wanted: Sequence[str]) -> bytes:
    body = {
        "function_name": name,
        "function_code": source,
        "args": [as_base64(argument) for argument in arguments],
        "dependencies": list(wanted),
    }
    return post("/execute", body)


def exchange(running: Running, connection: Connection, message: bytes) -> float:
    begun = time.perf_counter_ns()
    answer = connection.exchange(message)
    elapsed = (time.perf_counter_ns() - begun) / 1e6
    check(running, answer)
    return elapsed


def warm_calls(options: Options, settings: dict[str, str]) -> list[Measurement]:
    """No dependencies, satisfied ones, one environment, and two of them in turn."""
    none, there = request(ADD, "add", [1, 2], []), request(ADD, "add", [1, 2], [PRESENT])
    one, two = (request(TINY, "version", [], [f"tiny=={version}"]) for version in (1, 2))
    times: list[list[float]] = [[], [], [], []]
    with worker(options, settings) as running:
        connection = Connection(running.port)
        for round_number in range(-1, ROUNDS):
            progress(f"calls with dependencies, round {round_number + 1} of {ROUNDS}")
            for call in range(CALLS):
                messages = [none, there, one, two if call % 2 else one]
                spent = [exchange(running, connection, message) for message in messages[:3]]
                # Every other time, the call before it was in the other environment.
                spent.append(exchange(running, connection, messages[3]))
                if round_number >= 0:
                    for samples, elapsed in zip(times, spent, strict=True):
                        samples.append(elapsed)
        connection.close()
    return [Measurement("farcall", samples) for samples in times]


def first_calls(
    options: Options, settings: dict[str, str], versions: Sequence[int], *, clear: bool
) -> Measurement:
    """The first call of a worker that has been ready for a moment; version 0 stands for no dependencies."""
    times = []
    environments = options.directory / "cache/environments"
    for version in versions:
        progress(f"first call of a worker with tiny {version}")
        if clear:
            shutil.rmtree(environments, ignore_errors=True)
        message = (
            request(TINY, "version", [], [f"tiny=={version}"]) if version else request(ADD, "add", [1, 2], [])
        )
        with worker(options, settings) as running:
            time.sleep(0.3)
            connection = Connection(running.port)
            times.append(exchange(running, connection, message))
            connection.close()
    return Measurement("farcall", times)
