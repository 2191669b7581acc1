"""What a call costs with the Python SDK: milliseconds by what was done, as JSON.

Run by `bench.package` in an environment of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from farcall import Local, remote

COLD_RUNS, WARM_CALLS, LARGE_RUNS = 5, 2000, 5
LARGE_BYTES = 100_000_000

IMPORT = """
import time
began = time.perf_counter()
from farcall import remote
print(time.perf_counter() - began)
"""
COLD = """
import time
began = time.perf_counter()
from farcall import remote
@remote
def same(x): return x
same.remote(1)
print(time.perf_counter() - began)
from farcall._local import default
default().stop()
"""


def same(x: int) -> int:
    """The least that can be called."""
    return x


def double(array: Any) -> Any:
    """Reads and writes all of its argument."""
    return array * 2


def of_programs(text: str, runs: int) -> list[float]:
    """What each of several runs of a program prints: seconds. Each has a directory, so a worker, its own."""
    times = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as directory:
            file = f"{directory}/program.py"
            with open(file, "w") as program:  # noqa: PTH123
                program.write(text)
            ended = subprocess.run(
                [sys.executable, file], cwd=directory, capture_output=True, text=True, check=True
            )
            times.append(float(ended.stdout))
    return times


def of_calls(call: Callable[[], Any], runs: int) -> list[float]:
    """Seconds of each of several calls."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def measure() -> dict[str, list[float]]:
    """Milliseconds of everything, by what it is."""
    import numpy as np  # noqa: PLC0415

    found = {
        "import": of_programs(IMPORT, COLD_RUNS * 2),
        "import and first call, worker started": of_programs(COLD, COLD_RUNS),
    }
    worker = Local()
    try:
        call, large = remote(worker)(same), remote(worker)(double)
        call.remote(1)
        found["warm call"] = of_calls(lambda: call.remote(1), WARM_CALLS)
        array = np.random.default_rng(1).random(LARGE_BYTES // 8)
        large.remote(array[:10])
        found["100 MB there and back"] = of_calls(lambda: large.remote(array), LARGE_RUNS)
    finally:
        worker.stop()
    return {name: [seconds * 1e3 for seconds in times] for name, times in found.items()}


if __name__ == "__main__":
    print(json.dumps(measure()))
