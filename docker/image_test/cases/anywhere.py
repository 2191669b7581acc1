"""One file into any image: what was not made for a worker becomes one by a shell line.

Images of others are stood in for by what they have in common with them: Debian's interpreter without a shared
library, an interpreter in `/usr/local` with one (python:3.12-slim), one in a prefix of its own (conda).
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import shutil
import tempfile
import threading
from pathlib import Path

from ..case import Setting, Skipped, case, expect, result
from ..container import Container, function, on_load_balancer, trusting
from ..images import REPOSITORY, binary

_WHERE = "import sys\ndef f():\n    return [sys.executable, list(sys.version_info[:2])]\n"


def _scripts() -> tuple[str, ...]:
    return (
        *("--volume", f"{REPOSITORY / 'docker/farcall.sh'}:/farcall/farcall.sh:ro"),
        *("--entrypoint", "sh"),
        *("--env", "HOST=0.0.0.0"),
    )


def _mounted() -> tuple[str, ...]:
    return (*_scripts(), "--volume", f"{binary()}:/farcall/farcall:ro")


def _interpreter() -> Path:
    """A Python of this machine with a shared library that lies in a prefix of its own."""
    for version in ("3.12", "3.13", "3.11", "3.10"):
        for prefix in sorted(Path.home().glob(f".pyenv/versions/{version}.*")):
            if list((prefix / "lib").glob("libpython3.*.so.1.0")):
                return prefix
    raise Skipped("this machine has no Python in a prefix of its own to lend")


@case("a mounted binary runs in an image that has nothing but a Python")
def bare(setting: Setting) -> str:
    own = setting.engine.run(
        "run",
        "--rm",
        "--entrypoint",
        "python3",
        setting.images.base,
        "-c",
        "import sys; print(sys.executable)",
    )
    options = (*_mounted(), *on_load_balancer(), *trusting())
    with Container(setting.engine, setting.images.base, options, ("/farcall/farcall.sh",)) as worker:
        worker.await_ready()
        answer = worker.call(function("f", _WHERE))
        expect(result(answer)[0] == own, answer)
        # The script has seen to uv and cloudpickle, as there is pip.
        code = "def f():\n    import cloudpickle, humanize\n    return humanize.intcomma(1000)\n"
        answer = worker.call(function("f", code, dependencies=["humanize==4.12.3"]))
        expect(result(answer) == "1,000", answer)
        return own


@case("an interpreter in /usr/local with a shared library is found, as in python:3.12-slim")
def slim(setting: Setting) -> str:
    prefix = _interpreter()
    options = (*_mounted(), *on_load_balancer(), "--volume", f"{prefix}:/usr/local")
    # The library's path is the one it was built for; an image's own is in /usr/local/lib from the start.
    options = (*options, "--env", "LD_LIBRARY_PATH=/usr/local/lib", "--env", f"PYTHONHOME={'/usr/local'}")
    with tempfile.TemporaryDirectory() as directory:
        copied = Path(directory) / "local"
        shutil.copytree(prefix, copied, symlinks=True, ignore=shutil.ignore_patterns("test", "*.a"))
        options = tuple(o.replace(f"{prefix}:", f"{copied}:") for o in options)
        with Container(setting.engine, setting.images.base, options, ("/farcall/farcall.sh",)) as worker:
            worker.await_ready()
            answer = worker.call(function("f", _WHERE))
            expect(result(answer)[0].startswith("/usr/local/bin/python3"), answer)
            return str(result(answer))


@case("an interpreter in a prefix of its own is found by PATH, as with conda")
def conda(setting: Setting) -> str:
    prefix = _interpreter()
    options = (
        *_mounted(),
        *on_load_balancer(),
        *("--volume", f"{prefix}:{prefix}:ro"),
        *("--env", f"PATH={prefix}/bin:/usr/bin:/bin"),
    )
    with Container(setting.engine, setting.images.base, options, ("/farcall/farcall.sh",)) as worker:
        worker.await_ready()
        answer = worker.call(function("f", _WHERE))
        expect(result(answer)[0].startswith(f"{prefix}/bin/"), answer)
        return str(result(answer)[1])


@case("a binary that is downloaded is checked, and refused if it is another one")
def downloaded(setting: Setting) -> None:
    with Container(setting.engine, setting.images.base, ("--entrypoint", "sleep"), ("60",)) as idle:
        gateway = str(idle.inspect("NetworkSettings.Gateway"))
    handler = functools.partial(_Quiet, directory=str(binary().parent))
    server = http.server.ThreadingHTTPServer((gateway, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    digest = hashlib.sha256(binary().read_bytes()).hexdigest()
    url = f"http://{gateway}:{server.server_address[1]}/farcall"
    options = (*_scripts(), *on_load_balancer(), *trusting(), "--env", f"FARCALL_URL={url}")
    try:
        good = (*options, "--env", f"FARCALL_SHA256={digest}")
        with Container(setting.engine, setting.images.base, good, ("/farcall/farcall.sh",)) as worker:
            worker.await_ready()
            expect(result(worker.call(function("f", "def f():\n    return 1\n"))) == 1, "no result")
        bad = (*options, "--env", f"FARCALL_SHA256={'0' * 64}")
        with Container(setting.engine, setting.images.base, bad, ("/farcall/farcall.sh",)) as worker:
            expect(worker.wait() == 64 and f"its SHA-256 is {digest}" in worker.log(), worker.log())
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Says nothing."""
