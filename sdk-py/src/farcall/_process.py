"""The worker's program and its process, as the system sees them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

from ._errors import EndpointError

START_TIMEOUT_S = 20.0


def executable() -> str:
    """The `farcall` that came with this package, or the one on PATH."""
    named = os.environ.get("FARCALL_EXECUTABLE")
    found = named or shutil.which("farcall", path=sysconfig.get_path("scripts")) or shutil.which("farcall")
    if not found or not Path(found).is_file():
        raise EndpointError(
            f"the program `{named or 'farcall'}` is not installed\n"
            "hint: `pip install` this package brings it; FARCALL_EXECUTABLE says where it is otherwise"
        )
    return found


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if listens(port):
            return process.poll() is None
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    process.kill()
    return False
