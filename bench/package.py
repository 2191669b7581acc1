"""The Python package: what its users wait for."""

from __future__ import annotations

import json
import subprocess

from bench.options import DIRECTORY, Options, environment, progress
from bench.report import Goal, Measurement, Section

# What each may take, in milliseconds.
BOUNDS = {
    "import": 60,
    "import and first call, worker started": 250,
    "warm call": 2,
    "100 MB there and back": 1000,
}


def package(options: Options) -> Section:
    """Calls from Python to a worker on this machine."""
    progress("the Python package")
    variables = {
        "FARCALL_EXECUTABLE": str(options.farcall),
        "PYTHONPATH": str(DIRECTORY.parent / "sdk-py/src"),
        "XDG_CACHE_HOME": str(options.directory / "sdk-cache"),
        "XDG_DATA_HOME": str(options.directory / "sdk-data"),
    }
    said = subprocess.run(
        [str(options.sdk), str(DIRECTORY / "sdk.py")],
        env=environment(variables),
        cwd=options.directory,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    ).stdout
    progress("")
    found = [Measurement(name, times) for name, times in json.loads(said).items()]
    rows = [(one.name, f"{one.median:.2f}", one.spread(2), str(len(one.samples))) for one in found]
    return Section(
        title="The Python package",
        explanation="""\
Programs that import `farcall` and call a function on a worker on this machine: what importing takes,
importing and the first call with the worker's start, a call of a function that returns its argument, and
one of a function that doubles an array of numpy's.""",
        rows=[("", "median ms", "p10 - p90 ms", "times measured"), *rows],
        goals=[Goal(f"{one.name}, ms", one.median, BOUNDS[one.name]) for one in found],
        figures={"time, ms": found},
    )
