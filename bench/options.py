"""What a benchmark run is given, and the environment its contenders see."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent

# Runs of each contender before any that counts: they write byte code and fill the page cache.
WARM_UP_RUNS = 2

# A contender that takes longer hangs. Seconds.
DEADLINE_S = 60


# A program that was not given: whoever starts it says so.
MISSING = Path("/nonexistent")


@dataclass(frozen=True)
class Options:
    """What is measured with what. Paths are absolute; those that a program does not need may be missing."""

    farcall: Path
    python: Path
    load: Path
    """The program that plays many clients at once."""
    directory: Path
    """A scratch directory for request files and caches, gone afterwards."""
    peers: Path = MISSING
    """An interpreter that has the runpod package."""
    coglet: Path = MISSING
    fastapi: Path = MISSING
    axum_hello: Path = MISSING
    fake_platform: Path = MISSING
    sdk: Path = MISSING
    """An interpreter that has what the Python package needs, and numpy."""
    runs: int = 2
    calls: int = 100
    """Warm calls of each contender over one connection."""


def environment(additions: Mapping[str, str]) -> dict[str, str]:
    """The inherited environment, without what would keep Python from using byte code or slow its output."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "FARCALL_", "RUNPOD_", "VIRTUAL_ENV"))
    }
    return inherited | dict(additions)


def ask(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=DIRECTORY).stdout.strip()


def version(python: Path, package: str) -> str:
    return ask(str(python), "-c", f"from importlib.metadata import version; print(version({package!r}))")


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
