"""Arguments and results of 1 KB to 64 MB, one way each."""

from __future__ import annotations

import time

from bench.connection import Connection
from bench.options import Options, progress
from bench.report import Goal, Measurement, Section
from bench.servers import Running, servers
from bench.serving import all_running, with_settings

IN = "def size(data):\n    return len(data)\n"
OUT = "def make(count):\n    return bytes(range(250)) * (count // 250)\n"

# Bytes, and how often each is sent: the largest take seconds with some.
SIZES = {"1 KB": (1_000, 100), "1 MB": (1_000_000, 20), "7 MB": (7_000_000, 8), "64 MB": (64_000_000, 2)}

# What coglet answers to a client whose last answer it has not quite done with. Asked again at once.
REFUSED = 409

# 64 MB are 85 as base64: more than Farcall takes unless told to.
LARGER_BODIES = {"FARCALL_MAX_BODY_MB": "128"}


def payloads(options: Options) -> Section:
    """How long data takes on its way in, and on its way out."""
    ours, *others = [server for server in servers(options) if server.runs_code]
    contenders = [with_settings(ours, ours.name, LARGER_BODIES), *others]
    times: dict[tuple[str, str], list[float]] = {}
    with all_running(contenders) as running:
        for label, (count, runs) in SIZES.items():
            data = bytes(range(250)) * (count // 250)
            for metric, source, name, argument in (
                (f"{label} in, ms", IN, "size", data),
                (f"{label} out, ms", OUT, "make", count),
            ):
                progress(f"payloads: {metric}")
                requests = [one.server.request(source, name, [argument]) for one in running]
                for run in range(-1, runs):
                    for one, request in zip(running, requests, strict=True):
                        elapsed_ms = exchange(one, request)
                        if run >= 0:
                            times.setdefault((metric, one.server.name), []).append(elapsed_ms)
    progress("")
    metrics = list(dict.fromkeys(metric for metric, _ in times))
    names = [server.name for server in contenders]
    figures = {metric: [Measurement(name, times[metric, name]) for name in names] for metric in metrics}
    # Sizes go down the page: contenders are few, and eight columns of figures are hard to read.
    rows = [("", *names)]
    rows += [
        (metric, *(f"{found.median:.{2 if found.median < 10 else 1}f}" for found in figures[metric]))
        for metric in metrics
    ]
    return Section(
        title="HTTP: payloads",
        explanation="""\
Bytes as the argument of a function that returns their number, and as the result of one that makes them, as
base64 of a pickle in JSON. A new connection for each.""",
        rows=rows,
        goals=[
            Goal("7 MB in, ms", figures["7 MB in, ms"][0].median, 30, digits=1),
            Goal("7 MB out, ms", figures["7 MB out, ms"][0].median, 30, digits=1),
        ],
        figures=figures,
    )


def exchange(running: Running, request: bytes) -> float:
    """Milliseconds to the end of a good answer. It is not parsed: that would take the client longer."""
    while True:
        connection = Connection(running.port)
        begun = time.perf_counter()
        answer = connection.exchange(request)
        elapsed_ms = (time.perf_counter() - begun) * 1e3
        connection.close()
        if answer.status != REFUSED:
            break
    end = answer.body[-200:]
    failed = b'"success":false' in answer.body[:20] or b'"failed"' in end or b"FAILED" in answer.body[:100]
    if answer.status != 200 or failed:
        raise SystemExit(f"bench: {running.server.name} failed: {answer.body[:500]!r}")
    return elapsed_ms
