"""Builds the package: maturin's backend, once the runner library is there that the binary carries inside."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import maturin
from maturin import (
    build_sdist as build_sdist,
)
from maturin import (
    get_requires_for_build_sdist as get_requires_for_build_sdist,
)
from maturin import (
    get_requires_for_build_wheel as get_requires_for_build_wheel,
)
from maturin import (
    prepare_metadata_for_build_editable as prepare_metadata_for_build_editable,
)
from maturin import (
    prepare_metadata_for_build_wheel as prepare_metadata_for_build_wheel,
)

get_requires_for_build_editable = get_requires_for_build_wheel


def build_wheel(directory: str, settings: Any = None, metadata: str | None = None) -> str:
    """The wheel, with the program `farcall`."""
    _build_runner()
    name: str = maturin.build_wheel(directory, settings, metadata)
    return name


def build_editable(directory: str, settings: Any = None, metadata: str | None = None) -> str:
    """The same, with the Python code where it is."""
    _build_runner()
    name: str = maturin.build_editable(directory, settings, metadata)
    return name


def _build_runner() -> None:
    target = Path(os.environ.get("CARGO_TARGET_DIR") or "target")
    # Apart from the binary: cargo would unify their features, and the runner's link against Python would be
    # the supervisor's, too.
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--package", "farcall-runner"],
        check=True,
    )
    os.environ["FARCALL_RUNNER_LIBRARY"] = str((target / "release/libfarcall_runner.so").resolve())
