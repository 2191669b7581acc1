"""`make image-test`: builds the CPU image and runs it for real.

Prints a line for each case. Exit code 1 if one failed; 0 with the reason where there is no engine. Words on
the command line choose the cases whose names contain one of them: `make image-test CASES="queue memory"`.
"""

from __future__ import annotations

import subprocess
import sys
import time

from .case import CASES, Run, Setting, Skipped
from .cases import anywhere, installs, limits, modes, process, shape, speed
from .engine import Failed, NoEngine, engine
from .images import prepare

_ = (shape, modes, process, installs, limits, anywhere, speed)  # imported for the cases they register


def main(words: list[str]) -> int:
    """Runs the cases. Returns the exit code."""
    chosen = {name: run for name, run in CASES.items() if not words or any(word in name for word in words)}
    if not chosen:
        print(f"no case has {' or '.join(words)} in its name")
        return 64
    try:
        with engine() as found:
            images = prepare(found)
            print(f"{images.worker} is built on {images.base}", flush=True)
            setting = Setting(found, images)
            failed = [name for name, run in chosen.items() if not _passes(name, run, setting)]
    except NoEngine as reason:
        print(f"skipped: {reason}")
        return 0
    except Failed as reason:
        print(f"FAIL  {reason}")
        return 1
    print(f"{len(chosen) - len(failed)} of {len(chosen)} cases did not fail")
    return 1 if failed else 0


def _passes(name: str, run: Run, setting: Setting) -> bool:
    started = time.monotonic()
    try:
        detail = run(setting)
    except Skipped as reason:
        print(f"SKIP  {name}: {reason}", flush=True)
        return True
    except (Failed, OSError, LookupError, ValueError, TypeError, subprocess.SubprocessError) as problem:
        print(f"FAIL  {name}\n    {type(problem).__name__}: {problem}", flush=True)
        return False
    seconds = time.monotonic() - started
    print(f"PASS  {name} [{seconds:.1f} s]{f': {detail}' if detail else ''}", flush=True)
    return True


sys.exit(main(sys.argv[1:]))
