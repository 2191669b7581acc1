"""The images under test: built for real, on a base that is made here where no registry can be reached."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .engine import Engine, Failed, NoEngine

REPOSITORY = Path(__file__).resolve().parents[2]
# Debian 12, whose Python is 3.11. Its tag has a number, to be raised when it is made in another way.
_BASE = "farcall-test-base:bookworm-1"
_BASE_PYTHON = "3.11"
_SUITE = "bookworm"
_PACKAGES = "python3,python3-pip,ca-certificates"


@dataclass(frozen=True)
class Images:
    """The names of what was built, and of what it was built on."""

    worker: str
    base: str
    python: str


def prepare(engine: Engine) -> Images:
    """Makes the base if it is not there, and builds the worker's image on it."""
    base = os.environ.get("BASE") or _BASE
    python = os.environ.get("IMAGE_PYTHON") or _BASE_PYTHON
    if engine.attempt("image", "inspect", base).returncode != 0:
        if base != _BASE:
            raise Failed(f"the base `{base}` is not here\nhint: docker pull {base}")
        _make_base(engine)
    images = Images(build(engine, "farcall-test", base, python), base, python)
    # Those that were called so before.
    engine.attempt("image", "prune", "--force", "--filter", "label=farcall.kind")
    return images


def build(engine: Engine, name: str, base: str, python: str, *arguments: str) -> str:
    """Builds the CPU image by `make`, as everybody does. Returns its name."""
    done = subprocess.run(
        [
            "make",
            "image-cpu",
            f"IMAGE={name}",
            f"PYTHON={python}",
            f"BASE={base}",
            f"IMAGE_ARGS={' '.join(arguments)}",
        ],
        cwd=REPOSITORY,
        env=engine.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"make image-cpu: {(done.stdout + done.stderr)[-3000:]}")
    return f"{name}:py{python}"


def binary() -> Path:
    """The binary that is in the image."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    return REPOSITORY / "docker/bin" / machine / "farcall"


def certificates() -> Path | None:
    """What this machine trusts, where downloads go through a proxy of its own."""
    path = os.environ.get("SSL_CERT_FILE")
    return Path(path).resolve() if path and Path(path).is_file() else None


def _make_base(engine: Engine) -> None:
    debootstrap = shutil.which("debootstrap") or shutil.which("debootstrap", path="/usr/sbin")
    if debootstrap is None or os.geteuid() != 0:
        raise NoEngine(
            f"there is no base to build on: `{_BASE}` is made by debootstrap, as root\n"
            "hint: apt-get install debootstrap, or give one: BASE=python:3.12-slim-bookworm PYTHON=3.12"
        )
    print(f"making {_BASE} by debootstrap; it is kept", flush=True)
    with tempfile.TemporaryDirectory(prefix="farcall-base-") as directory:
        subprocess.run(
            [debootstrap, "--variant=minbase", f"--include={_PACKAGES}", _SUITE, directory],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        shutil.rmtree(Path(directory) / "var/cache/apt/archives")
        with subprocess.Popen(["tar", "-C", directory, "-c", "."], stdout=subprocess.PIPE) as packed:
            subprocess.run(
                [engine.client, "import", "-", _BASE],
                stdin=packed.stdout,
                env=engine.environment(),
                check=True,
                stdout=subprocess.DEVNULL,
            )
