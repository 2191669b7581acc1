"""`make bench-instructions`: how many instructions the hot paths take, compared with those written down.

Counts hardly depend on what else the machine does, so that a path that got slower shows where times do not.
Valgrind counts a program that goes a path `n` times, and `2 n` times: the difference is the path alone. The
last two are the supervisor itself: what it does for a warm call by HTTP, and for one of 7 MB each way.

Counts are those of one processor's instruction set and one compiler: where all of them differ, `--accept`
writes them down anew.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.connection import Connection
from bench.options import DIRECTORY, Options, environment, progress
from bench.render import read, table
from bench.servers import Running, execute, farcall
from bench.serving import ADD, with_settings

WRITTEN = DIRECTORY / "instructions.json"

# What a count may be over the one written down.
THRESHOLD = 1.03

# How the supervisor's tasks and threads come to run is not the same each time.
SUPERVISOR_THRESHOLD = 1.1

# Paths shorter than so many instructions are gone more often, for the start of the program to count less.
SHORT, OFTEN, SELDOM = 1_000_000, 1000, 3

# Calls in one count of the supervisor.
CALLS = {"supervisor_warm_call": 3000, "supervisor_echo_7mb": 6}

ECHO = "def echo(value):\n    return value\n"


def counted(command: Sequence[str], run: Callable[[list[str]], None]) -> int:
    """The instructions of a program that `run` runs under valgrind; of it alone, not of what it starts."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "callgrind"
        run([valgrind(), "--tool=callgrind", f"--callgrind-out-file={file}", *command])
        found = re.search(r"^(?:summary|totals): (\d+)", file.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"bench: valgrind counted nothing of {command[0]}")
    return int(found[1])


def valgrind() -> str:
    found = shutil.which("valgrind")
    if found is None:
        raise SystemExit("bench: valgrind is missing\nhint: apt-get install valgrind")
    return found


def run_quietly(command: list[str]) -> None:
    subprocess.run(command, env=environment({}), capture_output=True, check=True)


def of_path(micro: Path, name: str) -> int:
    """Instructions of a path."""

    def going(times: int) -> int:
        return counted([str(micro), name, str(times)], run_quietly)

    once = going(2) - going(1)
    times = OFTEN if once < SHORT else SELDOM
    return (going(2 * times) - going(times)) // times


def of_supervisor(options: Options, name: str) -> int:
    """Instructions of the supervisor for a call."""
    value = bytes(range(250)) * 28_000
    message = (
        execute(ADD, "add", [1, 2]) if name == "supervisor_warm_call" else execute(ECHO, "echo", [value])
    )

    def with_calls(calls: int) -> int:
        def run(command: list[str]) -> None:
            ours = farcall(options)
            # It waits for valgrind, not for anything that is wrong.
            server = with_settings(ours, ours.name, {"FARCALL_START_TIMEOUT_S": "300"})
            serve(Running(replace(server, command=command)), message, calls)

        return counted([str(options.farcall), "serve", "--mode", "http"], run)

    calls = CALLS[name]
    return (with_calls(2 * calls) - with_calls(calls)) // calls


def serve(running: Running, message: bytes, calls: int) -> None:
    running.wait_healthy()
    connection = Connection(running.port)
    for _ in range(calls):
        answer = connection.exchange(message)
        if b'"success":true' not in answer.body[:20]:
            raise SystemExit(f"bench: {answer.body[:500]!r}")
    connection.close()
    running.stop()


def compare(counts: dict[str, int], written: dict[str, int]) -> tuple[list[list[str]], list[str]]:
    """A table, and the names of what got longer."""
    rows, longer = [["", "instructions", "written down", "change"]], []
    for name, count in counts.items():
        known = written.get(name)
        if known is None:
            rows.append([name, f"{count:,}", "", "new"])
            continue
        change = count / known
        bound = SUPERVISOR_THRESHOLD if name.startswith("supervisor") else THRESHOLD
        longer += [name] if change > bound else []
        rows.append([name, f"{count:,}", f"{known:,}", f"{(change - 1) * 100:+.1f} %"])
    return rows, longer


def main(arguments: Sequence[str]) -> None:
    """Counts, and says whether anything got longer."""
    parser = argparse.ArgumentParser(description="Count the instructions of the hot paths.")
    parser.add_argument("--micro", type=Path, required=True, help="the program of that name")
    parser.add_argument("--farcall", type=Path, required=True, help="the release binary")
    parser.add_argument("--python", type=Path, required=True, help="the interpreter to serve with")
    parser.add_argument("--accept", action="store_true", help="write the counts down")
    parser.add_argument("--only", nargs="+", help="count these; write nothing")
    given = parser.parse_args(arguments)
    here = Path.cwd()
    paths = subprocess.run([here / given.micro], capture_output=True, text=True, check=True).stdout.split()
    counts = {}
    with tempfile.TemporaryDirectory(prefix="farcall-bench-") as directory:
        options = Options(here / given.farcall, here / given.python, here, Path(directory))
        for name in given.only or [*paths, *CALLS]:
            progress(f"counting {name}")
            counts[name] = (
                of_supervisor(options, name) if name in CALLS else of_path(here / given.micro, name)
            )
    progress("")
    rows, longer = compare(counts, read(WRITTEN) if WRITTEN.exists() else {})
    print(table(rows))
    if given.accept and not given.only:
        WRITTEN.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    elif longer:
        print(f"\nlonger than before: {', '.join(longer)}", file=sys.stderr)
        print("hint: `make bench-instructions BENCH=--accept` if that is meant", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
