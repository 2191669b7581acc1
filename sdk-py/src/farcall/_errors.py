"""What can go wrong.

    FarcallError
    ├── SourceError            the function cannot be sent: it refers to something that stays here
    ├── PythonMismatch         the worker's Python could not run what would be sent
    ├── EndpointError          the endpoint cannot be reached, or refuses
    ├── ResourceError          an endpoint cannot be made or changed
    └── CallFailed             the call came to an end that is no result
        ├── RemoteError        the code raised, and the exception's own class is not here
        ├── CallRejected       the worker could not read the request, or found nothing to call
        ├── ResultNotSendable  the code returned something that cannot be sent
        ├── ModulesMissing     the worker has not kept the local modules that an earlier call has sent
        ├── InstallFailed      what the call needs could not be installed
        ├── RunnerDied         the process that ran it died
        ├── CallTimedOut       it ran longer than it might (a TimeoutError, too)
        ├── CallCancelled      it was cancelled
        └── WorkerFailed       no runner could be started

An exception of the called code is none of these where its class can be imported here: it is raised as it is.
"""

from __future__ import annotations


class FarcallError(Exception):
    """Everything that this package raises for reasons of its own."""


class SourceError(FarcallError):
    """The function cannot be sent: it refers to something that cannot leave this process."""


class PythonMismatch(FarcallError):
    """What would be sent is byte code, and the worker runs another minor version of Python."""


class EndpointError(FarcallError):
    """The endpoint cannot be reached, or refuses; `status` is the HTTP status, `None` without an answer.

    `is_refused` says that nobody listens there.
    """

    def __init__(self, message: str, status: int | None = None, *, is_refused: bool = False) -> None:
        super().__init__(message)
        self.status, self.is_refused = status, is_refused


class ResourceError(FarcallError):
    """An endpoint cannot be made or changed as it is described."""


class CallFailed(FarcallError):
    """A call came to an end that is no result.

    `job` is its id, `output` what it printed, as far as that is known.
    """

    def __init__(self, message: str, *, job: str | None = None, output: str = "") -> None:
        super().__init__(message)
        self.job = job
        self.output = output


class RemoteError(CallFailed):
    """The code raised an exception whose class cannot be imported here.

    What is raised is a class of the exception's name, made of this one and of the nearest of its bases that
    can be imported here: `except ValueError` catches a subclass of `ValueError` that only the worker has.
    """


class CallRejected(CallFailed):
    """The worker could not read the request, or found nothing to call in it."""


class ResultNotSendable(CallFailed):
    """The code returned something that cannot be pickled, or is too large."""


class ModulesMissing(CallFailed):
    """The worker has not kept the local modules that an earlier call has sent. Calls send them again."""


class InstallFailed(CallFailed):
    """`dependencies` or `system_dependencies` could not be installed."""


class RunnerDied(CallFailed):
    """The process that ran the call died.

    `signal` and `exit_code` say how (`None` where it was not that), `out_of_memory` whether the kernel
    killed it for lack of memory, `peak_memory_bytes` the most it had.
    """

    signal: int | None = None
    exit_code: int | None = None
    out_of_memory: bool = False
    peak_memory_bytes: int | None = None


class CallTimedOut(CallFailed, TimeoutError):
    """It ran longer than it might, and was ended."""


class CallCancelled(CallFailed):
    """It was cancelled."""


class WorkerFailed(CallFailed):
    """The worker could not start a runner."""


# Where users import them from, and what tracebacks call them.
for _class in [
    value for value in globals().values() if isinstance(value, type) and issubclass(value, FarcallError)
]:
    _class.__module__ = "farcall"
