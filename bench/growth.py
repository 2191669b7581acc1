"""`make bench-growth`: how a call's cost grows with what there is already, and with what it carries.

Each quantity is raised step by step; `GROWTH.md` says for each line of figures whether it is flat or linear,
with a chart of each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.charts import lines
from bench.facts import facts
from bench.growth_series import environments, instances, output, payload, queue, runners
from bench.options import DIRECTORY, Options
from bench.render import read, table

FIGURES = DIRECTORY / "growth.json"
PAGE = DIRECTORY / "GROWTH.md"
CHARTS = DIRECTORY / "charts"

# What may be called flat: so many times the first figure, at the last step.
FLAT = 2.0

# What may be called linear: at each step, so many times growth in proportion. Outgrowing a cache of the
# processor costs as much; what is quadratic grows ten times as much.
LINEAR = 2.0


@dataclass(frozen=True)
class Quantity:
    """What is raised, and what is expected to come of it."""

    title: str
    across: str
    measure: Callable[[Options], dict[str, dict[float, float]]]
    """By line: figures by step."""
    explanation: str


QUANTITIES = {
    "environments": Quantity(
        "Latency by number of environments, ms",
        "environments of installed packages",
        environments,
        "So many environments exist, and each has its runner (`FARCALL_IDLE_RUNNERS`). Calls in one of them, "
        "calls in each in turn, and the first call of a new worker.",
    ),
    "instances": Quantity(
        "Latency by number of instances, ms",
        "instances that are kept",
        instances,
        "So many instances of a class are kept in one runner (`FARCALL_MAX_INSTANCES`). A call of one of "
        "them, taken at random, and a call of a plain function.",
    ),
    "queue": Quantity(
        "Latency by length of the local endpoint's queue, ms",
        "jobs that wait",
        queue,
        "So many jobs wait in the durable queue behind one that runs. Accepting one more by `run`, reading "
        "the status of one, `health`, and the start of an endpoint that finds the queue after `kill -9`.",
    ),
    "output": Quantity(
        "A call by the lines it prints, ms",
        "printed lines",
        output,
        "The whole call. Its fixed part is what a call costs that prints one line.",
    ),
    "payload": Quantity(
        "A call by its payload's size, ms",
        "bytes of the argument, or of the result",
        payload,
        "Bytes as the argument of a function that returns their number, and as the result of one that makes "
        "them. Blocks of memory over 32 MiB are not kept between calls, for a worker to stay small: page "
        "faults make the last step a larger one.",
    ),
    "runners": Quantity(
        "By number of runners",
        "runners, busy at the same time",
        runners,
        "`FARCALL_CONCURRENCY` is so many, and as many runners have been forked. A warm call; what a call in "
        "each at once takes beyond the 200 ms that they sleep; memory of the whole worker as PSS.",
    ),
}


def verdict(points: Sequence[tuple[float, float]]) -> str:
    """What growth looks like, from the first step to the last."""
    (first_x, first_y), (last_x, last_y) = points[0], points[-1]
    grown, in_proportion = last_y / first_y, last_x / first_x
    if grown <= FLAT:
        return "flat"
    # From where it grows at all: what is fixed hides it before.
    worst = max((y2 / y1) / (x2 / x1) for (x1, y1), (x2, y2) in itertools.pairwise(points))
    if grown < in_proportion / 10 and worst <= 1:
        return "less than linear"
    return "linear" if worst <= LINEAR else f"MORE than linear: {worst:.1f} times in one step"


def report(document: dict[str, Any]) -> str:
    """The page."""
    parts = []
    for name, found in document["quantities"].items():
        quantity = QUANTITIES[name]
        steps = sorted({float(step) for line in found.values() for step in line})
        rows = [["", *(f"{step:,.0f}" for step in steps), "growth"]]
        for line, figures in found.items():
            points = sorted((float(step), figure) for step, figure in figures.items())
            by_step = dict(points)
            cells = [f"{by_step[step]:.3g}" if step in by_step else "" for step in steps]
            rows.append([line, *cells, verdict(points)])
        parts.append(
            f"## {quantity.title}\n\n{quantity.explanation}\n\n{table(rows)}\n\n"
            f"![{quantity.title}](charts/growth-{name}.svg)\n"
        )
    said = "\n".join(f"- {name}: {value}" for name, value in document["facts"].items())
    bodies = "\n".join(parts)
    return f"""\
# How cost grows

Written by `make bench-growth`. Medians. Flat: at the last step at most {FLAT:g} times the figure of the
first. Linear: no step grows more than {LINEAR:g} times as much as the quantity does; what a call costs anyway
hides that at the first ones. Both axes of the charts are logarithmic.

{said}

{bodies}"""


def write(document: dict[str, Any]) -> None:
    """Figures, page and charts."""
    CHARTS.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(report(document), encoding="utf-8")
    for name, found in document["quantities"].items():
        series = {
            line: sorted((float(step), figure) for step, figure in figures.items())
            for line, figures in found.items()
        }
        quantity = QUANTITIES[name]
        chart = lines(quantity.title, quantity.across, series)
        (CHARTS / f"growth-{name}.svg").write_text(chart, encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Measures, or writes the page again from the figures that are there."""
    parser = argparse.ArgumentParser(description="Measure how cost grows.")
    parser.add_argument("--farcall", type=Path, required=True, help="the release binary")
    parser.add_argument("--python", type=Path, required=True, help="the interpreter to measure with")
    parser.add_argument("--load", type=Path, required=True, help="the program of that name")
    parser.add_argument("--only", choices=list(QUANTITIES), nargs="+", help="print these, write nothing")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    given = parser.parse_args(arguments)
    if given.render:
        write(read(FIGURES))
        return
    here, load = Path.cwd(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="farcall-bench-") as directory:
        options = Options(
            farcall=here / given.farcall,
            python=here / given.python,
            load=here / given.load,
            directory=Path(directory),
        )
        found = {}
        for name in given.only or list(QUANTITIES):
            begun = time.monotonic()
            found[name] = QUANTITIES[name].measure(options)
            print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    document = {
        "facts": facts(options, "`make bench-growth`", load, [(options.python, "cloudpickle")]),
        "quantities": found,
    }
    if given.only:
        print(report(json.loads(json.dumps(document))))
    else:
        write(json.loads(json.dumps(document)))


if __name__ == "__main__":
    main(sys.argv[1:])
