"""What was measured, where and how: the lines above the figures."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from bench.options import Options, ask, version


def machine() -> str:
    """Cores, memory and kernel; nothing that tells one machine from its twin."""
    information = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in information if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    processor = models[0] if models else platform.machine()
    return f"{cores} cores ({processor}), {memory:.0f} GiB, Linux {platform.release()}"


def facts(
    options: Options, command: str, load: float, packages: Sequence[tuple[Path, str]]
) -> dict[str, str]:
    """By name. `packages`: interpreters, and what they have that was measured."""
    python = ask(str(options.python), "-c", "import platform; print(platform.python_version())")
    versions = [ask(str(options.farcall), "--version"), f"CPython {python}"]
    versions += [f"{name} {version(interpreter, name)}" for interpreter, name in packages]
    return {
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "machine": f"{machine()}; load when it began: {load:.1f}",
        "versions": ", ".join(versions),
        "command": command,
    }
