"""A program that fails, as the person sees it who wrote it: what happened, where, and what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest

# What is written, and the end of what is shown: regular expressions, line by line.
FAILURES = {
    "the function raises": (
        "@remote\ndef f(x):\n    ratio = 1 / x\n    return ratio\nf.remote(0)",
        ['  File ".*program.py", line 4, in f', "    ratio = 1 / x", "ZeroDivisionError: division by zero"],
    ),
    "it refers to what stays here": (
        "import threading\ndef make():\n    lock = threading.Lock()\n    @remote\n"
        "    def f():\n        with lock: return 1\n    return f\nmake().remote()",
        [
            r"farcall.SourceError: `make.<locals>.f` cannot be sent: cannot pickle '_thread.lock' object",
            "hint: it refers to `lock` .*, which cannot be pickled: make that inside it",
        ],
    ),
    "an argument stays here": (
        "import threading\n@remote\ndef f(x): return x\nf.remote([threading.Lock()])",
        [
            "farcall.SourceError: argument 0 cannot be sent: TypeError: cannot pickle '_thread.lock' object",
            "hint: pass what it is made from, and make it in the function",
        ],
    ),
    "its result stays there": (
        "@remote\ndef f():\n    import threading\n    return threading.Lock()\nf.remote()",
        [
            "farcall.ResultNotSendable: the result cannot be sent as pickle: .*lock.*",
            "hint: return plain data, or objects that can be pickled",
        ],
    ),
    "there is no such package": (
        "@remote(dependencies=['no-such-package-anywhere'])\ndef f(): return 1\nf.remote()",
        [
            "farcall.InstallFailed: cannot install `no-such-package-anywhere`:",
            "error: No solution found.*",
            ".*no-such-package-anywhere was not found.*",
            "hint: .*",
        ],
    ),
    "a package was not asked for": (
        "@remote\ndef f():\n    import pandas\nf.remote()",
        [
            '  File ".*program.py", line 4, in f',
            "    import pandas",
            "ModuleNotFoundError: No module named 'pandas'",
            r'hint: `pandas` is not installed; dependencies=\["pandas"\] installs it',
        ],
    ),
    "it crashes": (
        "@remote\ndef f():\n    import ctypes\n    ctypes.string_at(0)\nf.remote()",
        [
            r"farcall.RunnerDied: the process that ran this call died: signal 11 \(SIGSEGV, .*\)",
            "peak memory: .* MiB",
            "Fatal Python error: Segmentation fault",
            "",
            "Current thread .* .most recent call first.:",
            "  File .*",
            '  File ".*program.py", line 5 in f',
        ],
    ),
    "it takes too much memory": (
        "from farcall import Local\n@remote(Local(env={'FARCALL_RUNNER_MEMORY_MB': '300'}, idle_timeout=1))\n"
        "def f(): return len(bytearray(2 << 30))\nf.remote()",
        # Python's own error where no cgroup can be made.
        ["hint: FARCALL_RUNNER_MEMORY_MB raises what it may have|MemoryError"],
    ),
    "it takes too long": (
        "import time\n@remote(timeout=0.3)\ndef f():\n    time.sleep(30)\nf.remote()",
        [
            r"farcall.CallTimedOut: the call timed out after 0\.3 s",
            "Current thread .* .most recent call first.:",
            '  File ".*program.py", line 5 in f',
        ],
    ),
    "nobody is there": (
        "from farcall import Endpoint\n@remote(Endpoint(url='http://127.0.0.1:1'))\n"
        "def f(): return 1\nf.remote()",
        [
            "farcall.EndpointError: http://127.0.0.1:1 cannot be reached: nobody listens there",
            "hint: check the address, and that the endpoint runs",
        ],
    ),
    "there is no key": (
        "from farcall import LiveServerless\n@remote(LiveServerless('gpu'))\ndef f(): return 1\nf.remote()",
        [
            "farcall.ResourceError: there is no API key for RunPod",
            "hint: set RUNPOD_API_KEY, or give api_key",
        ],
    ),
    "the arguments are wrong": (
        "@remote\ndef f(x): return x\nf.remote(1, y=2)",
        [r"TypeError: f\(\) got an unexpected keyword argument 'y'"],
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_it_says_what_happened_and_where(failure: str, program: Any) -> None:
    text, expected = FAILURES[failure]
    ended, _, errors = program(f"from farcall import remote\n{text}\n")
    assert ended == 1, errors
    lines = errors.splitlines()
    for line, wanted in zip(lines[-len(expected) :], expected, strict=True):
        assert re.fullmatch(wanted, line), errors
    # Where it was called, and one line of this package, which Python puts there.
    assert errors.count("Traceback") == 1, errors
    assert re.search(r'File ".*program\.py", line \d+, in <module>', errors), errors
    assert len(re.findall("/farcall/_", errors)) == 1, errors
