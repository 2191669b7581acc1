"""`make profile`: where the time of warm calls goes, in supervisor and runner, as a flame graph."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench.flame import Frame, draw, stacks
from bench.options import DIRECTORY, Options
from bench.servers import Running, farcall
from bench.serving import ADD, SUM, load

OUT = DIRECTORY / "out"

# Samples a second: odd, so that they do not keep step with anything.
FREQUENCY = 1997

# Bytes of each stack that are kept to find out who called: those of tasks in tasks are large.
STACK_BYTES = 16_384

# How long it is called before and while it is watched.
WARM_UP_S, WATCHED_S = 1, 4


def record(perf: str, running: Running, data: Path) -> None:
    """Samples all processes of a worker."""
    command = [perf, "record", "--quiet", "--freq", str(FREQUENCY), "--event", "cpu-clock"]
    command += ["--call-graph", f"dwarf,{STACK_BYTES}", "--output", str(data)]
    command += ["--pid", ",".join(map(str, running.tree())), "--", "sleep", str(WATCHED_S)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise SystemExit(
            f"bench: perf cannot record:\n{finished.stderr.strip()}\n"
            "hint: `sysctl kernel.perf_event_paranoid=1` lets users profile their own programs"
        )


def profile(options: Options, perf: str) -> Frame:
    """How often each function was seen while one client called without pause."""
    running = Running(farcall(options))
    seconds = WARM_UP_S + WATCHED_S + 1
    caller = threading.Thread(target=load, args=(options, running, 1, seconds))
    try:
        running.wait(running.server.request(ADD, "add", [1, 2]), SUM)
        caller.start()
        time.sleep(WARM_UP_S)
        record(perf, running, options.directory / "perf.data")
        caller.join()
    finally:
        running.stop()
    root = Frame()
    command = [perf, "script", "--input", str(options.directory / "perf.data"), "-F", "comm,tid,ip,sym"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as script:
        for stack in stacks(script.stdout or (), {str(running.process.pid): "supervisor"}):
            root.add(stack)
    return root


def heaviest(root: Frame, most: int) -> list[tuple[str, float]]:
    """The functions that were seen most often at the end of a stack, with their share in per cent."""
    own: dict[str, int] = {}

    def walk(frame: Frame) -> None:
        for name, callee in frame.callees.items():
            itself = callee.count - sum(inner.count for inner in callee.callees.values())
            own[name] = own.get(name, 0) + itself
            walk(callee)

    walk(root)
    ordered = sorted(own.items(), key=lambda it: -it[1])[:most]
    return [(name, 100 * count / root.count) for name, count in ordered]


def main(arguments: Sequence[str]) -> None:
    """Profiles, and says where the graph is."""
    parser = argparse.ArgumentParser(description="Draw where the time of warm calls goes.")
    parser.add_argument("--farcall", type=Path, required=True, help="the release binary")
    parser.add_argument("--python", type=Path, required=True, help="the interpreter to serve with")
    parser.add_argument("--load", type=Path, required=True, help="the program of that name")
    given = parser.parse_args(arguments)
    perf, here = shutil.which("perf"), Path.cwd()
    if perf is None:
        raise SystemExit("bench: perf is missing\nhint: apt-get install linux-perf")
    with tempfile.TemporaryDirectory(prefix="farcall-bench-") as directory:
        options = Options(here / given.farcall, here / given.python, here / given.load, Path(directory))
        root = profile(options, perf)
    if not root.count:
        raise SystemExit("bench: perf saw nothing")
    OUT.mkdir(exist_ok=True)
    title = (
        f"Farcall, warm calls by HTTP: {root.count:,} samples of the supervisor and its runner (`farcall`)"
    )
    (OUT / "profile.svg").write_text(draw(root, title), encoding="utf-8")
    for name, share in heaviest(root, 15):
        print(f"{share:5.1f} %  {name}")
    print(f"the flame graph is in {(OUT / 'profile.svg').relative_to(here)}")


if __name__ == "__main__":
    main(sys.argv[1:])
