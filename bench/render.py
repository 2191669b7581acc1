"""Writes everything that shows figures from `bench/results.json`: the page, the README's table, the charts.

`python -m bench.render` does so again, without measuring.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.charts import bars
from bench.options import DIRECTORY

FIGURES = DIRECTORY / "results.json"
PAGE = DIRECTORY / "RESULTS.md"
CHARTS = DIRECTORY / "charts"
README = DIRECTORY.parent / "README.md"

BEGIN, END = "<!-- by `make bench` -->", "<!-- to here -->"

# Columns of the README's table: how the names of their contenders begin.
COLUMNS = {
    "farcall": "farcall",
    "coglet": "coglet",
    "FastAPI stand-in": "FastAPI",
    "runpod": "runpod",
}

# Its rows: what, section, metric, digits.
ROWS = [
    ("start to `/ping` 200, ms", "start", "ping, ms", 1),
    ("start to first result, ms", "start", "first result, ms", 1),
    ("warm `add(a, b)` by HTTP, p50, ms", "warm", "call, ms", 3),
    ("answers other than 200 meanwhile", "warm", "refused", 0),
    ("8 clients, requests/s", "throughput", "8 clients, requests/s", 0),
    ("7 MB there and back, ms", "large", "7 MB echo, ms", 1),
    ("100,000 printed lines, ms", "large", "100k lines, ms", 1),
    ("method of a kept instance, p50, ms", "classes", "call, ms", 3),
    ("worst `/ping` while a call holds the GIL, ms", "held", "ping worst, ms", 1),
    ("crash to the next result, ms", "large", "crash to next result, ms", 1),
    ("memory of the whole worker, PSS MiB", "idle", "all, PSS MiB", 1),
    ("RunPod's queue, start to first answer, ms", "queue", "first answer, ms", 1),
    ("RunPod's queue, jobs/s at concurrency 1", "queue", "jobs/s", 2),
    ("one request from the command line, ms", "process", "process, ms", 1),
    ("local endpoint on disk, `runsync` p50, ms", "local", "runsync, ms", 2),
    ("local endpoint on disk, jobs/s by `run`", "local", "done/s", 0),
]

# The second table's rows: what, and how the names of the figures begin for Farcall, uv and pip.
PACKAGE_ROWS = [
    (
        "what is there already",
        "warm call, `cloudpickle`",
        "`uv pip install` of what",
        "`pip install` of what",
    ),
    (
        "a new small package",
        "first call of a new worker, a new",
        "`uv pip install --target`",
        "`pip install --t",
    ),
    ("a known environment, first call of a new worker", "first call of a new worker, environment", "", ""),
]

# What takes longer did not happen: a crash that nothing came after. Milliseconds.
NEVER = {"crash to next result, ms": 3000.0}

CHARTED = [
    ("start", "start", "first result, ms", "From start to the first result, ms"),
    ("warm", "warm", "call, ms", "A warm call by HTTP, p50, ms"),
    ("throughput", "throughput", "8 clients, requests/s", "8 clients, requests/s"),
    ("queue", "queue", "first answer, ms", "RunPod's queue: from start to the first answer, ms"),
]

# Those that are no workers: what a figure would be without the work.
FLOORS = ("uvicorn", "axum", "bare python", "python -c", "uv", "pip", "warm call", "first call", "`")

# Where a peer is ahead, why. A pair that is not here is shown without a reason.
REASONS = {
    (
        "100k lines, ms",
        "FastAPI",
    ): "it only collects prints in memory: nothing of what C code or a subprocess "
    "prints, and nothing goes to a log; here each line passes through a pipe and keeps its order",
    ("100k lines, ms", "runpod"): "it catches no output at all",
    (
        "processes",
        "",
    ): "one process for each of supervisor, runner, spare one and template is what keeps a crash "
    "from ending the worker",
    ("all, PSS MiB", ""): "the spare runner and the template are what make the next call after a crash quick",
    ("8 clients, PSS MiB", ""): "the same",
    ("p99 of 8, ms", ""): "at concurrency 1, calls wait for one runner",
}

Document = Mapping[str, Any]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table; the first one is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [" | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    head, *body = [f"| {line} |" for line in lines]
    return "\n".join([head, f"|{rule}|", *body])


def goal_line(goal: Document) -> str:
    actual, bound = goal["actual"], goal["bound"]
    met = actual <= bound if goal["at_most"] else actual >= bound
    wanted = f"{'at most' if goal['at_most'] else 'at least'} {bound:g}"
    return f"- {goal['text']}: {actual:.{goal['digits']}f} (goal: {wanted}; {'met' if met else 'MISSED'})"


def section_text(section: Document) -> str:
    goals = "\n".join(map(goal_line, section["goals"]))
    return f"## {section['title']}\n\n{section['explanation']}\n\n{table(section['rows'])}\n\n{goals}\n"


def page(document: Document) -> str:
    """The whole of `RESULTS.md`."""
    facts = "\n".join(f"- {name}: {value}" for name, value in document["facts"].items())
    bodies = "\n".join(map(section_text, document["sections"].values()))
    return f"""\
# Speed

Written by `make bench`. Compare ratios, not milliseconds: they change with the machine.
`PYTHONDONTWRITEBYTECODE`, `PYTHONUNBUFFERED` and their like are unset for every contender, so that all of
them run from byte code that the warm-up wrote.

{facts}

{bodies}
## Where a peer is ahead

{behind(document)}
"""


def behind(document: Document) -> str:
    """Every figure in which a worker beats Farcall, with the reason, if one is known."""
    lines = []
    for section in document["sections"].values():
        for metric, by_name in section["figures"].items():
            ours = next(
                (found["median"] for name, found in by_name.items() if name.startswith("farcall")), None
            )
            for name, found in by_name.items():
                if ours is None or name.startswith(("farcall", *FLOORS)):
                    continue
                theirs = found["median"]
                if theirs > ours * 1.02 if metric.endswith("/s") else theirs < ours * 0.98:
                    reason = reason_for(metric, name)
                    lines.append(
                        f"- {section['title']}, {metric}: {name} {theirs:g}, farcall {ours:g}{reason}"
                    )
    return "\n".join(lines) or "Nowhere."


def reason_for(metric: str, name: str) -> str:
    for (of_metric, beginning), reason in REASONS.items():
        if of_metric == metric and name.startswith(beginning):
            return f": {reason}"
    return ""


def readme_table(document: Document) -> str:
    """Farcall and the other workers, in a few rows."""
    rows: list[list[str]] = [["", *COLUMNS]]
    for text, key, metric, digits in ROWS:
        by_name = document["sections"].get(key, {}).get("figures", {}).get(metric, {})
        cells = []
        for beginning in COLUMNS.values():
            found = next((found for name, found in by_name.items() if name.startswith(beginning)), None)
            cells.append("" if found is None else figure(found["median"], digits, NEVER.get(metric)))
        rows.append([text, *cells])
    facts = document["facts"]
    return (
        f"{table(rows)}\n\n{packages_table(document)}\n\n{from_python(document)}\n\n"
        f"Medians of {facts['date']} on {facts['machine']}; {facts['versions']}."
    )


def packages_table(document: Document) -> str:
    """What dependencies cost, beside the tools: milliseconds of a whole call, and of a whole process."""
    by_name = document["sections"]["dependencies"]["figures"]["time, ms"]
    rows = [["packages, ms", "farcall: the whole call", "uv", "pip"]]
    for text, *beginnings in PACKAGE_ROWS:
        found = [
            next((it["median"] for name, it in by_name.items() if start and name.startswith(start)), None)
            for start in beginnings
        ]
        rows.append([text, *("" if one is None else f"{one:.{1 if one >= 1 else 2}f}" for one in found)])
    return table(rows)


def from_python(document: Document) -> str:
    """A sentence about the Python package."""
    found = document["sections"]["package"]["figures"]["time, ms"]
    said = ", ".join(
        f"{name} {it['median']:.{1 if it['median'] < 10 else 0}f} ms" for name, it in found.items()
    )
    return f"With the Python package: {said} (an array of numpy's)."


def figure(value: float, digits: int, never: float | None) -> str:
    return "never" if never is not None and value >= never else f"{value:,.{digits}f}"


def replace_between(text: str, new: str) -> str:
    """`text` with what is between the two markers replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"bench: README.md has no `{BEGIN}` and `{END}`")
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def draw(document: Document) -> None:
    """The charts."""
    CHARTS.mkdir(exist_ok=True)
    for name, key, metric, title in CHARTED:
        by_name = document["sections"][key]["figures"][metric]
        medians = {contender: found["median"] for contender, found in by_name.items()}
        (CHARTS / f"{name}.svg").write_text(bars(title, medians), encoding="utf-8")


def write(document: Document) -> None:
    """Everything, and the figures themselves."""
    FIGURES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(document), encoding="utf-8")
    README.write_text(replace_between(README.read_text("utf-8"), readme_table(document)), encoding="utf-8")
    draw(document)


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


if __name__ == "__main__":
    write(read(FIGURES))
