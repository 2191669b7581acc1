"""What the package offers, and that importing it costs next to nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import farcall


def test_these_are_the_names() -> None:
    assert sorted(farcall.__all__) == dir(farcall) == farcall.__all__
    assert farcall.__all__ == [
        "CallCancelled",
        "CallFailed",
        "CallRejected",
        "CallTimedOut",
        "CpuInstanceType",
        "CpuLiveServerless",
        "DataCenter",
        "Endpoint",
        "EndpointError",
        "FarcallError",
        "GpuGroup",
        "GpuType",
        "InstallFailed",
        "Job",
        "LiveServerless",
        "Local",
        "ModulesMissing",
        "NetworkVolume",
        "Options",
        "Plan",
        "PythonMismatch",
        "RemoteClass",
        "RemoteError",
        "RemoteFunction",
        "Resource",
        "ResourceError",
        "ResultNotSendable",
        "RunnerDied",
        "SourceError",
        "WorkerFailed",
        "remote",
    ]
    for name in farcall.__all__:
        assert inspect.getdoc(getattr(farcall, name)), name


def test_importing_and_decorating_imports_little() -> None:
    program = (
        "import sys; from farcall import remote; remote(lambda: 1)\n"
        "slow = {'asyncio', 'ast', 'cloudpickle', 'http', 'inspect', 'rich', 'subprocess'}\n"
        "print(*sorted(slow & set(sys.modules)))"
    )
    source = str(Path(__file__).parent.parent / "src")
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({source!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "\n"
