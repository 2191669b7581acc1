"""`make bench`: Farcall's speed against the floor and against other workers, measured side by side.

Prints a table for each section and writes `bench/results.json`, and from it what shows figures. The
contenders of a section run interleaved, in turn, so that whatever else the machine does meets all of them;
what counts are the ratios. A new section is a function that returns a `Section`, listed in `SECTIONS`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.bytecode import bytecode
from bench.classes import classes
from bench.dependencies import dependencies
from bench.extremes import idle, large_and_rough
from bench.facts import facts
from bench.held import held
from bench.local import local
from bench.options import WARM_UP_RUNS, Options
from bench.package import package
from bench.payloads import payloads
from bench.processes import whole_process
from bench.queue import queue
from bench.render import page, write
from bench.report import Section
from bench.serving import start, throughput, warm

SECTIONS: dict[str, Callable[[Options], Section]] = {
    "process": whole_process,
    "start": start,
    "bytecode": bytecode,
    "warm": warm,
    "throughput": throughput,
    "classes": classes,
    "payloads": payloads,
    "large": large_and_rough,
    "held": held,
    "idle": idle,
    "queue": queue,
    "dependencies": dependencies,
    "local": local,
    "package": package,
}


def measure(options: Options, wanted: Sequence[str]) -> dict[str, Any]:
    """Runs sections; says on standard error how long each took."""
    found = {}
    for name in wanted:
        begun = time.monotonic()
        found[name] = SECTIONS[name](options).document()
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return found


def peers(options: Options) -> list[tuple[Path, str]]:
    """Interpreters, and what is measured of theirs."""
    return [
        (options.peers, "runpod"),
        (options.python, "cloudpickle"),
        (options.coglet, "coglet"),
        (options.fastapi, "fastapi"),
        (options.fastapi, "uvicorn"),
    ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Farcall against other ways to run a function.")
    parser.add_argument("--farcall", type=Path, required=True, help="the release binary")
    parser.add_argument("--python", type=Path, required=True, help="the interpreter to measure with")
    parser.add_argument("--peers", type=Path, required=True, help="an interpreter that has runpod")
    parser.add_argument("--coglet", type=Path, required=True, help="an interpreter that has cog")
    parser.add_argument("--fastapi", type=Path, required=True, help="an interpreter that has FastAPI")
    parser.add_argument("--axum-hello", type=Path, required=True, help="the program of that name")
    parser.add_argument("--fake-platform", type=Path, required=True, help="the program of that name")
    parser.add_argument("--load", type=Path, required=True, help="the program of that name")
    parser.add_argument("--sdk", type=Path, required=True, help="an interpreter that has numpy")
    parser.add_argument("--runs", type=int, default=16, help="runs of each contender (default: 16)")
    parser.add_argument("--calls", type=int, default=6_000, help="warm calls of each (default: 6000)")
    parser.add_argument(
        "--only", choices=list(SECTIONS), nargs="+", help="print these sections, write nothing"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Runs every section, prints what was found and writes it."""
    given = parse(arguments)
    load = os.getloadavg()[0]
    # Not resolved: an interpreter's path says which virtual environment it belongs to.
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="farcall-bench-") as directory:
        options = Options(
            farcall=here / given.farcall,
            python=here / given.python,
            peers=here / given.peers,
            coglet=here / given.coglet,
            fastapi=here / given.fastapi,
            axum_hello=here / given.axum_hello,
            fake_platform=here / given.fake_platform,
            load=here / given.load,
            sdk=here / given.sdk,
            runs=max(given.runs, 2),
            calls=max(given.calls, 100),
            directory=Path(directory),
        )
        sections = measure(options, given.only or list(SECTIONS))
        command = f"`make bench` ({options.runs} runs each, interleaved, after {WARM_UP_RUNS} to warm up)"
        said = facts(options, command, load, peers(options))
        document = {"facts": said, "sections": sections}
    if not given.only:
        write(document)
    print(page(document))


if __name__ == "__main__":
    main(sys.argv[1:])
