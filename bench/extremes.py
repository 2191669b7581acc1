"""Workers that answer by HTTP at their extremes: large calls, much output, a crash, and nothing to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from bench.connection import Answer, Connection, poll
from bench.options import Options, progress
from bench.report import Goal, Measurement, Section, table_of
from bench.servers import Running, Server, cpu_used, pss_mb, servers
from bench.serving import ADD, CLIENTS, SUM, all_running, load

ECHO = "def echo(value):\n    return value\n"
PRINT = (
    "def lines(count):\n    for number in range(count):\n        print('line', number)\n    return count\n"
)
CRASH = "import os\n\ndef crash():\n    os._exit(3)\n"

LARGE_BYTES = 7_000_000
LINES = 100_000

# How often each is crashed: some are waited for until they are given up.
CRASHES = 5

# Idle time that is watched, and time before it and before a crash to come to rest.
WATCHED_S = 5.0
SETTLING_S = 0.5

# Between two looks at the memory of a worker at work: each costs it, too.
MEMORY_PAUSE_S = 0.05

# A server that has not come back from a crash by then does not. Seconds.
PATIENCE_S = 3.0


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
    for run in range(-1, CRASHES):
        progress(f"crashes, run {run + 1} of {CRASHES}")
        for server in contenders:
            elapsed_ms = crash_time(server)
            if run >= 0:
                times.setdefault((crash, server.name), []).append(elapsed_ms)
    progress("")
    metrics = [f"{kind}, ms" for kind in (*kinds, crash)]
    figures = {
        metric: [
            Measurement(server.name, times[metric.removesuffix(", ms"), server.name]) for server in contenders
        ]
        for metric in metrics
    }
    rows = [("", *metrics)]
    for index, server in enumerate(contenders):
        medians = [figures[metric][index].median for metric in metrics]
        cells = ["never" if median >= PATIENCE_S * 1e3 else f"{median:.1f}" for median in medians]
        rows.append((server.name, *cells))
    echo_ms, lines_ms, crash_ms = (figures[metric][0].median for metric in metrics)
    return Section(
        title="HTTP: large calls, and a crash",
        explanation="""\
A function that returns its 7 MB of bytes; one that prints 100,000 lines; and the time from sending a call
that ends its process (`os._exit`) to the result of `add(1, 2)`. A server that dies of it is started again at
once.""",
        rows=rows,
        goals=[
            Goal("7 MB echo, ms", echo_ms, 30, digits=1),
            Goal("100k lines, ms", lines_ms, 80, digits=1),
            Goal("crash to next result, ms", crash_ms, 20, digits=1),
        ],
        figures=figures,
    )


def check(running: Running, answer: Answer) -> None:
    document = answer.json()
    succeeded = document.get("success") or document.get("status") in {"succeeded", "COMPLETED"}
    if answer.status != 200 or not succeeded:
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
    """Memory and CPU of a worker that has answered once and waits, and its memory at work."""
    contenders = [server for server in servers(options) if "axum" not in server.name]
    found: dict[str, list[Measurement]] = {}
    for server in contenders:
        progress(f"at rest: {server.name}")
        for metric, figure in at_rest_and_at_work(options, server).items():
            found.setdefault(metric, []).append(Measurement(server.name, [figure]))
    progress("")
    digits = dict.fromkeys(found, 1) | {"processes": 0, "CPU, ms in 5 s": 2}
    return Section(
        title="HTTP: at rest",
        explanation="""\
Memory as PSS (pages that processes share count in part) and CPU time, after one call, of one server at a
time. Farcall's processes are the supervisor, a runner, a spare one and their template. Then the most memory
seen while 8 clients call without pause (coglet: one), and while 7 MB go there and back ten times.""",
        rows=table_of(found, digits),
        goals=[
            Goal("supervisor, MiB", found["first process, PSS MiB"][0].median, 10, digits=1),
            Goal("whole worker, MiB", found["all, PSS MiB"][0].median, 30, digits=1),
            Goal("CPU, ms in 5 s", found["CPU, ms in 5 s"][0].median, 1),
        ],
        figures=found,
    )


def at_rest_and_at_work(options: Options, server: Server) -> dict[str, float]:
    """Figures of one server."""
    with all_running([server]) as [running]:
        time.sleep(SETTLING_S)
        tree = running.tree()
        used = cpu_used(tree, WATCHED_S)
        memory = [pss_mb(pid) for pid in tree]
        figures = {
            "processes": float(len(tree)),
            "first process, PSS MiB": memory[0],
            "all, PSS MiB": sum(memory),
            f"CPU, ms in {WATCHED_S:g} s": used,
        }
        clients = 1 if "coglet" in server.name else CLIENTS
        figures["8 clients, PSS MiB"] = most_memory(running, lambda: load(options, running, clients))
        if server.runs_code:
            large = server.request(ECHO, "echo", [bytes(range(250)) * (LARGE_BYTES // 250)])
            figures["7 MB echo, PSS MiB"] = most_memory(running, lambda: echo(running, large))
    return figures


def echo(running: Running, request: bytes) -> None:
    connection = Connection(running.port)
    for _ in range(10):
        connection.exchange(request)
    connection.close()


def most_memory(running: Running, work: Callable[[], object]) -> float:
    """The most memory seen, in MiB, while something is done."""
    worker = threading.Thread(target=work)
    worker.start()
    most = 0.0
    while worker.is_alive():
        most = max(most, sum(map(pss_mb, running.tree())))
        worker.join(MEMORY_PAUSE_S)
    return most
