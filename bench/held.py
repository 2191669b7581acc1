"""Who keeps time while a call holds Python's global lock: health checks by HTTP, heartbeats to RunPod."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import replace
from typing import Any

from bench.connection import Connection
from bench.options import Options, progress
from bench.queue import Worker, platform, queue_workers, running_worker
from bench.report import Goal, Measurement, Section, table_of
from bench.servers import Running, as_base64, servers
from bench.serving import all_running

# One sum in C, which gives the lock away at no time; first a short one says how long the long one has to be.
HOLD = """\
import time

def hold(seconds):
    began = time.perf_counter()
    sum(range(5_000_000))
    once = time.perf_counter() - began
    sum(range(int(5_000_000 * seconds / once)))
    return seconds
"""

# How long it is held: thrice for the health check, and for as many heartbeats as say something.
HELD_S, CALLS = 2, 3
HEARTBEATS_S = 8
HEARTBEAT_MS = 1000

# Between two health checks.
PAUSE_S = 0.01


def held(options: Options) -> Section:
    """Health checks and heartbeats meanwhile."""
    contenders = [server for server in servers(options) if server.runs_code]
    names = [server.name for server in contenders]
    answered: dict[str, list[float]] = {name: [] for name in names}
    for server in contenders:
        progress(f"the lock is held: {server.name}")
        with all_running([server]) as [running]:
            for _ in range(CALLS):
                answered[server.name] += pings_meanwhile(running)
    workers = [worker for worker in queue_workers(options) if worker.slots == 1]
    late = {worker.name: heartbeats_meanwhile(options, worker) for worker in workers}
    progress("")
    figures = {
        "ping p50, ms": [Measurement(name, answered[name]) for name in names],
        "ping worst, ms": [Measurement(name, [max(answered[name])]) for name in names],
        "heartbeat off by, worst, ms": [
            Measurement(f"{name}, queue", [max(own)]) for name, own in late.items()
        ],
    }
    digits = {"ping p50, ms": 2, "ping worst, ms": 1, "heartbeat off by, worst, ms": 1}
    return Section(
        title="The lock is held",
        explanation=f"""\
A call computes for {HELD_S} s in one C function, which never gives Python's global lock away, {CALLS}
times. Meanwhile the health check is asked every {PAUSE_S * 1e3:g} ms. As a queue's job of {HEARTBEATS_S} s:
by how much the time between two heartbeats, which are to come every {HEARTBEAT_MS} ms, was off. The runpod
package sends its own from a second Python process.""",
        rows=table_of(figures, digits),
        goals=[
            Goal("health check p50 meanwhile, ms", figures["ping p50, ms"][0].median, 1),
            Goal("heartbeat off by, worst, ms", max(late[workers[0].name]), 50, digits=1),
        ],
        figures=figures,
    )


def pings_meanwhile(running: Running) -> list[float]:
    """Milliseconds that each health check took while a call held the lock."""

    def hold() -> None:
        caller = Connection(running.port)
        caller.exchange(running.server.request(HOLD, "hold", [HELD_S]))
        caller.close()

    connection = Connection(running.port)
    holder = threading.Thread(target=hold)
    holder.start()
    # Until it has begun and measured itself.
    time.sleep(0.3)
    times = []
    while holder.is_alive():
        begun = time.perf_counter()
        connection.exchange(running.server.ping)
        times.append((time.perf_counter() - begun) * 1e3)
        time.sleep(PAUSE_S)
    holder.join()
    connection.close()
    return times


def heartbeats_meanwhile(options: Options, worker: Worker) -> list[float]:
    """By how many milliseconds the time between heartbeats was off."""
    progress(f"heartbeats: {worker.name}")
    file = options.directory / "heartbeats.json"
    request = {"function_name": "hold", "function_code": HOLD, "args": [as_base64(HEARTBEATS_S)]}
    arguments = ["--preload", "1", "--requests", str(file), "--input", json.dumps(request)]
    rhythm = {**worker.environment, "RUNPOD_PING_INTERVAL": str(HEARTBEAT_MS)}
    with platform(options, arguments) as (fake, variables):
        with running_worker(replace(worker, environment=rhythm), variables):
            report = json.loads(next(iter(fake.stdout or ())))
        fake.wait()
    if not report["complete"]:
        raise SystemExit(f"bench: {worker.name} did not answer")
    found: list[dict[str, Any]] = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    times = [entry["at_ms"] for entry in found if entry["route"] == "Ping"]
    if len(times) < 3:
        raise SystemExit(f"bench: {worker.name} sent {len(times)} heartbeats")
    return [abs(later - earlier - HEARTBEAT_MS) for earlier, later in itertools.pairwise(times)]
