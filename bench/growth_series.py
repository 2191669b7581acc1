"""The quantities of `make bench-growth`: each function raises one, and measures at each step."""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from collections.abc import Sequence

from bench.classes import request as method
from bench.connection import Connection, get, post
from bench.dependencies import TINY, wheel_house
from bench.dependencies import request as with_dependencies
from bench.extremes import PRINT, check
from bench.options import Options, progress
from bench.payloads import IN, OUT
from bench.servers import Running, Server, execute, farcall, pss_mb
from bench.serving import ADD, worker

# What was measured, by line of the chart and step.
Found = dict[str, dict[float, float]]

SLEEP = "import time\n\ndef rest(seconds):\n    time.sleep(seconds)\n"

# Calls of which the median is taken.
CALLS = 300

# How long each of the calls sleeps that keep all runners busy at the same time.
BUSY_S = 0.2


def median_ms(connection: Connection, messages: Sequence[bytes], calls: int = CALLS) -> float:
    """Of so many exchanges of these messages in turn, after a few that do not count."""
    times = []
    for number in range(-max(calls // 10, 1), calls):
        message = messages[number % len(messages)]
        begun = time.perf_counter_ns()
        answer = connection.exchange(message)
        elapsed = time.perf_counter_ns() - begun
        if answer.status != 200:
            raise SystemExit(f"bench: {answer.body[:500]!r}")
        times += [elapsed / 1e6] if number >= 0 else []
    return statistics.median(times)


def environments(options: Options) -> Found:
    """Calls in one of several environments."""
    steps = [1, 10, 100]
    house = wheel_house(options.directory / "growth-house", range(1, steps[-1] + 1))
    settings = {
        "PIP_FIND_LINKS": str(house),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": "/dev/null",
        "UV_CACHE_DIR": str(options.directory / "growth-uv"),
        "FARCALL_CACHE_DIR": str(options.directory / "growth-cache"),
        "FARCALL_IDLE_RUNNERS": str(steps[-1] + 1),
    }
    found: Found = {"warm, in one": {}, "warm, in any of them": {}, "first of a new worker": {}}
    for step in steps:
        messages = [with_dependencies(TINY, "version", [], [f"tiny=={number + 1}"]) for number in range(step)]
        with worker(options, settings) as running:
            connection = Connection(running.port)
            for number, message in enumerate(messages):
                progress(f"environments: {number + 1} of {step}")
                check(running, connection.exchange(message))
            found["warm, in one"][step] = median_ms(connection, messages[:1])
            found["warm, in any of them"][step] = median_ms(connection, messages)
        firsts = []
        for _ in range(5):
            with worker(options, settings) as running:
                time.sleep(0.3)
                connection = Connection(running.port)
                begun = time.perf_counter()
                check(running, connection.exchange(messages[0]))
                firsts.append((time.perf_counter() - begun) * 1e3)
        found["first of a new worker"][step] = statistics.median(firsts)
    return found


def instances(options: Options) -> Found:
    """Calls of one of several instances."""
    steps = [1, 10, 100, 1_000, 10_000]
    found: Found = {"method of any of them": {}, "function": {}}
    chosen = random.Random(1)  # noqa: S311 - the same order each time
    with worker(options, {"FARCALL_MAX_INSTANCES": str(steps[-1])}) as running:
        connection, made = Connection(running.port), 0
        for step in steps:
            progress(f"instances: {step}")
            while made < step:
                check(running, connection.exchange(method(f"instance-{made}")))
                made += 1
            methods = [method(f"instance-{chosen.randrange(step)}") for _ in range(CALLS)]
            found["method of any of them"][step] = median_ms(connection, methods)
            found["function"][step] = median_ms(connection, [execute(ADD, "add", [1, 2])])
        last = connection.exchange(method(f"instance-{steps[-1] - 1}")).json()
        if last["instance_info"]["method_calls"] < 2:
            raise SystemExit("bench: an instance was not kept")
    return found


def output(options: Options) -> Found:
    """A call that prints."""
    found: Found = {"the whole call": {}}
    with worker(options, {"FARCALL_MAX_OUTPUT_KB": "65536"}) as running:
        connection = Connection(running.port)
        for count in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000):
            progress(f"output: {count} lines")
            message = execute(PRINT, "lines", [count])
            calls = max(min(CALLS, 500_000 // count), 4)
            found["the whole call"][count] = median_ms(connection, [message], calls)
    return found


def payload(options: Options) -> Found:
    """A call that gets, or gives, bytes."""
    found: Found = {"in": {}, "out": {}}
    with worker(options, {"FARCALL_MAX_BODY_MB": "256"}) as running:
        connection = Connection(running.port)
        for count in (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000):
            progress(f"payload: {count} bytes")
            calls = max(min(CALLS, 100_000_000 // count), 3)
            given = execute(IN, "size", [bytes(range(250)) * (count // 250) + bytes(count % 250)])
            found["in"][count] = median_ms(connection, [given], calls)
            taken = execute(OUT, "make", [count])
            found["out"][count] = median_ms(connection, [taken], calls)
    return found


def runners(options: Options) -> Found:
    """A worker with so many runners at work."""
    found: Found = {"warm call, ms": {}, "all at once, ms": {}, "memory, MiB": {}}
    rest, add = execute(SLEEP, "rest", [BUSY_S]), execute(ADD, "add", [1, 2])
    for count in (1, 2, 4, 8, 16, 32, 64):
        progress(f"runners: {count}")
        with worker(options, {"FARCALL_CONCURRENCY": str(count)}) as running:
            connections = [Connection(running.port) for _ in range(count)]
            times = []
            for _ in range(6):
                begun = time.perf_counter()
                for connection in connections:
                    connection.socket.sendall(rest)
                for connection in connections:
                    check(running, connection.exchange(b""))
                times.append((time.perf_counter() - begun - BUSY_S) * 1e3)
            # The first one forked them.
            found["all at once, ms"][count] = statistics.median(times[1:])
            found["warm call, ms"][count] = median_ms(connections[0], [add])
            found["memory, MiB"][count] = sum(map(pss_mb, running.tree()))
    return found


def queue(options: Options) -> Found:
    """The local endpoint with so many jobs that wait behind one that runs."""
    found: Found = {"run": {}, "status": {}, "health": {}, "start": {}}
    settings = {
        "FARCALL_DATA_DIR": str(options.directory / "growth-data"),
        "FARCALL_MAX_QUEUED_JOBS": "2000000",
        "FARCALL_MAX_ATTEMPTS": "100",
    }
    ours = farcall(options)
    server = Server(
        ours.name,
        [str(options.farcall), "serve", "--mode", "local"],
        local_job,
        environment={**ours.environment, **settings},
    )
    running = Running(server)
    running.wait_healthy()
    Connection(running.port).exchange(local_job(SLEEP, "rest", [36_000]))
    for step in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000):
        progress(f"queue: {step}")
        fill(options, running, step)
        connection = Connection(running.port)
        add = local_job(ADD, "add", [1, 2])
        # As many as would make the first steps another quantity do not count.
        found["run"][step] = median_ms(connection, [add], min(CALLS, max(step // 2, 10)))
        identity = connection.exchange(add).json()["id"]
        status = get(f"/v2/bench/status/{identity}")
        found["status"][step] = median_ms(connection, [status])
        found["health"][step] = median_ms(connection, [get("/v2/bench/health")])
        running.process.kill()
        running.process.wait()
        running = Running(server)
        found["start"][step] = running.wait_healthy()
    running.process.kill()
    running.process.wait()
    return found


def local_job(source: str, name: str, arguments: object) -> bytes:
    """A job for the local endpoint, its arguments as JSON."""
    asked = {
        "function_name": name,
        "function_code": source,
        "args": arguments,
        "serialization_format": "json",
    }
    return post("/v2/bench/run", {"input": asked})


def fill(options: Options, running: Running, jobs: int) -> None:
    """Has so many jobs wait, or a few more."""
    connection, add = Connection(running.port), local_job(ADD, "add", [1, 2])
    while (missing := jobs - waiting(connection)) > 0:
        if missing > 20_000:
            progress(f"queue: {missing} jobs to go")
            load_once(options, running, add)
            continue
        for _ in range(missing):
            connection.exchange(add)
    connection.close()


def waiting(connection: Connection) -> int:
    return int(connection.exchange(get("/v2/bench/health")).json()["jobs"]["inQueue"])


def load_once(options: Options, running: Running, message: bytes) -> None:
    """Has many clients submit a job for a second."""
    file = options.directory / "job.http"
    file.write_bytes(message)
    command = [str(options.load), str(running.port), "32", "1", str(file)]
    subprocess.run(command, capture_output=True, check=True)
