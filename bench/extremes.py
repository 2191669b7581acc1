"""Workers that answer by HTTP at their extremes: large calls, much output, a crash, and nothing to do."""

from __future__ import annotations

import statistics
import time

from bench.connection import Answer, Connection, poll
from bench.options import Options, progress
from bench.report import Goal, Section
from bench.servers import Running, Server, cpu_ms, pss_mb, servers
from bench.serving import ADD, SUM, all_running

ECHO = "def echo(value):\n    return value\n"
PRINT = (
    "def lines(count):\n    for number in range(count):\n        print('line', number)\n    return count\n"
)
CRASH = "import os\n\ndef crash():\n    os._exit(3)\n"

LARGE_BYTES = 7_000_000
LINES = 100_000

# Idle time that is watched, and time before it and before a crash to come to rest.
WATCHED_S = 5.0
SETTLING_S = 0.5

# A server that has not come back from a crash by then does not. Seconds.
PATIENCE_S = 5.0


def large_and_rough(options: Options) -> Section:
    """Much in and out, much printed, and a crash."""
    contenders = [server for server in servers(options) if server.runs_code]
    kinds: dict[str, tuple[str, str, list[object]]] = {
        "7 MB echo": (ECHO, "echo", [bytes(range(250)) * (LARGE_BYTES // 250)]),
        "100k lines": (PRINT, "lines", [LINES]),
    }
    times: dict[tuple[str, str], list[float]] = {}
    with all_running(contenders) as running:
        for run in range(-1, 10):
            progress(f"large calls, run {run + 1} of 10")
            for kind, (source, name, arguments) in kinds.items():
                for one in running:
                    request = one.server.request(source, name, arguments)
                    connection = Connection(one.port)
                    begun = time.perf_counter()
                    answer = connection.exchange(request)
                    elapsed = time.perf_counter() - begun
                    connection.close()
                    check(one, answer)
                    if run >= 0:
                        times.setdefault((kind, one.server.name), []).append(elapsed * 1e3)
    crash = "crash to next result"
    for run in range(-1, 10):
        progress(f"crashes, run {run + 1} of 10")
        for server in contenders:
            elapsed_ms = crash_time(server)
            if run >= 0:
                times.setdefault((crash, server.name), []).append(elapsed_ms)
    progress("")
    rows = [("", *(f"{kind}, ms" for kind in (*kinds, crash)))]
    for server in contenders:
        figures = [statistics.median(times[kind, server.name]) for kind in (*kinds, crash)]
        rows.append(
            (server.name, *("never" if figure >= PATIENCE_S * 1e3 else f"{figure:.1f}" for figure in figures))
        )
    medians = {kind: statistics.median(times[kind, contenders[0].name]) for kind in (*kinds, crash)}
    return Section(
        title="HTTP: large calls, and a crash",
        explanation="""\
A function that returns its 7 MB of bytes; one that prints 100,000 lines; and the time from sending a call
that ends its process (`os._exit`) to the result of `add(1, 2)`. A server that dies of it is started again at
once.""",
        rows=rows,
        goals=[
            Goal("7 MB echo, ms", medians["7 MB echo"], 30, digits=1),
            Goal("100k lines, ms", medians["100k lines"], 80, digits=1),
            Goal("crash to next result, ms", medians[crash], 20, digits=1),
        ],
    )


def check(running: Running, answer: Answer) -> None:
    document = answer.json()
    if answer.status != 200 or not (document.get("success") or document.get("status") == "succeeded"):
        raise SystemExit(f"bench: {running.server.name} failed: {answer.body[:500]!r}")


def crash_time(server: Server) -> float:
    """Milliseconds from sending a call that ends its process to the next good answer."""
    crash, add = server.request(CRASH, "crash", []), server.request(ADD, "add", [1, 2])
    running = Running(server)
    running.wait(add, SUM)
    time.sleep(SETTLING_S)
    connection = Connection(running.port)
    begun = time.perf_counter()
    try:
        connection.exchange(crash)
        answered = poll(running.port, add, [SUM], PATIENCE_S)
    except TimeoutError:
        return PATIENCE_S * 1e3
    except OSError:
        running.process.wait()
        running = Running(server)
        answered = running.begun + running.wait(add, SUM) / 1e3
    finally:
        connection.close()
        running.stop()
    return (answered - begun) * 1e3


def idle(options: Options) -> Section:
    """Memory and CPU of a worker that has answered once and waits."""
    contenders = [server for server in servers(options) if "axum" not in server.name]
    rows = [("", "processes", "supervisor PSS MiB", "whole PSS MiB", f"CPU ms in {WATCHED_S:g} s")]
    ours = (0.0, 0.0, 0.0)
    for server in contenders:
        with all_running([server]) as [running]:
            time.sleep(SETTLING_S)
            tree = running.tree()
            before = sum(map(cpu_ms, tree))
            time.sleep(WATCHED_S)
            used = sum(map(cpu_ms, tree)) - before
            memory = [pss_mb(pid) for pid in tree]
        own = f"{memory[0]:.1f}"
        rows.append((server.name, str(len(tree)), own, f"{sum(memory):.1f}", f"{used:.2f}"))
        if server is contenders[0]:
            ours = (memory[0], sum(memory), used)
    return Section(
        title="HTTP: at rest",
        explanation="""\
Memory as PSS (pages that processes share count in part) and CPU time, after one call, of one server at a
time. Farcall's processes are the supervisor, a runner, a spare one and their template.""",
        rows=rows,
        goals=[
            Goal("supervisor, MiB", ours[0], 10, digits=1),
            Goal("whole worker, MiB", ours[1], 30, digits=1),
            Goal("CPU, ms in 5 s", ours[2], 1),
        ],
    )
