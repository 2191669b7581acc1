"""Farcall: functions that run elsewhere.

    from farcall import remote

    @remote(dependencies=["numpy"])
    def norm(xs):
        import numpy as np
        return float(np.linalg.norm(xs))

    print(norm.remote([3, 4]))

Names are imported when they are first used: `import farcall` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._endpoint import Endpoint as Endpoint
    from ._errors import CallCancelled as CallCancelled
    from ._errors import CallFailed as CallFailed
    from ._errors import CallRejected as CallRejected
    from ._errors import CallTimedOut as CallTimedOut
    from ._errors import EndpointError as EndpointError
    from ._errors import FarcallError as FarcallError
    from ._errors import InstallFailed as InstallFailed
    from ._errors import ModulesMissing as ModulesMissing
    from ._errors import PythonMismatch as PythonMismatch
    from ._errors import RemoteError as RemoteError
    from ._errors import ResourceError as ResourceError
    from ._errors import ResultNotSendable as ResultNotSendable
    from ._errors import RunnerDied as RunnerDied
    from ._errors import SourceError as SourceError
    from ._errors import WorkerFailed as WorkerFailed
    from ._handles import RemoteClass as RemoteClass
    from ._handles import RemoteFunction as RemoteFunction
    from ._job import Job as Job
    from ._local import Local as Local
    from ._options import Options as Options
    from ._remote import remote as remote
    from ._resource import Resource as Resource
    from ._runpod._hardware import CpuInstanceType as CpuInstanceType
    from ._runpod._hardware import DataCenter as DataCenter
    from ._runpod._hardware import GpuGroup as GpuGroup
    from ._runpod._hardware import GpuType as GpuType
    from ._runpod._live import CpuLiveServerless as CpuLiveServerless
    from ._runpod._live import LiveServerless as LiveServerless
    from ._runpod._live import Plan as Plan
    from ._runpod._volume import NetworkVolume as NetworkVolume

_HOMES = {
    "_endpoint": ["Endpoint"],
    "_errors": [
        "CallCancelled",
        "CallFailed",
        "CallRejected",
        "CallTimedOut",
        "EndpointError",
        "FarcallError",
        "InstallFailed",
        "ModulesMissing",
        "PythonMismatch",
        "RemoteError",
        "ResourceError",
        "ResultNotSendable",
        "RunnerDied",
        "SourceError",
        "WorkerFailed",
    ],
    "_handles": ["RemoteClass", "RemoteFunction"],
    "_job": ["Job"],
    "_local": ["Local"],
    "_options": ["Options"],
    "_remote": ["remote"],
    "_resource": ["Resource"],
    "_runpod._hardware": ["CpuInstanceType", "DataCenter", "GpuGroup", "GpuType"],
    "_runpod._live": ["CpuLiveServerless", "LiveServerless", "Plan"],
    "_runpod._volume": ["NetworkVolume"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605  (one list, not two)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module `farcall` has no attribute `{name}`")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
