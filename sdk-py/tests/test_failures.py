"""Ten ways to fail, and what is said."""

from __future__ import annotations

import os
import threading
import traceback

import pytest
from farcall import (
    CallFailed,
    CallRejected,
    Endpoint,
    EndpointError,
    InstallFailed,
    RemoteError,
    ResultNotSendable,
    RunnerDied,
    SourceError,
    remote,
)


class OutOfBounds(ValueError):
    """Whose constructor takes other arguments than it passes on: it does not pickle."""

    def __init__(self, index: int, size: int) -> None:
        super().__init__(f"{index} of {size}")
        self.index = index


def look(index: int) -> None:
    raise OutOfBounds(index, 5)  # the line that tracebacks show


@remote
def find(index: int) -> None:
    look(index)


def test_an_exception_is_the_real_one_with_its_frames() -> None:
    with pytest.raises(OutOfBounds, match="7 of 5") as caught:
        find.remote(7)
    assert type(caught.value) is OutOfBounds
    assert caught.value.index == 7
    frames = traceback.extract_tb(caught.value.__traceback__)[-2:]
    assert [(frame.name, frame.filename) for frame in frames] == [("find", __file__), ("look", __file__)]
    assert frames[-1].line == "raise OutOfBounds(index, 5)  # the line that tracebacks show"


def test_causes_notes_and_builtin_types_arrive() -> None:
    @remote
    def fail() -> None:
        try:
            {"a": 1}["missing"]
        except KeyError as error:
            problem = RuntimeError("no model")
            vars(problem)["__notes__"] = ["try another one"]
            raise problem from error

    with pytest.raises(RuntimeError, match="no model") as caught:
        fail.remote()
    assert isinstance(caught.value.__cause__, KeyError)
    text = "".join(traceback.format_exception(caught.value))
    assert "try another one" in text or not hasattr(BaseException, "add_note")
    assert '{"a": 1}["missing"]' in text
    assert "the direct cause" in text


def test_a_class_that_is_not_here_is_made_of_its_nearest_base() -> None:
    @remote
    def fail() -> None:
        class OnlyThere(LookupError):
            pass

        raise OnlyThere("nothing")

    with pytest.raises(LookupError, match="nothing") as caught:
        fail.remote()
    assert isinstance(caught.value, RemoteError)
    assert type(caught.value).__name__ == "OnlyThere"


def test_exit_and_interrupt_are_exceptions_there() -> None:
    @remote
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit) as caught:
        leave.remote()
    assert caught.value.code == 3


def test_a_crash_tells_its_signal_and_the_last_output() -> None:
    @remote(output=False)
    def crash() -> None:
        import ctypes

        print("before")
        ctypes.string_at(0)

    with pytest.raises(RunnerDied, match="SIGSEGV") as caught:
        crash.remote()
    assert caught.value.signal == 11
    assert caught.value.exit_code is None
    assert caught.value.output == "before\n"
    assert caught.value.job


def test_what_cannot_be_returned_is_named() -> None:
    @remote
    def lock() -> object:
        import threading

        return {"model": threading.Lock()}

    with pytest.raises(ResultNotSendable, match=r"result\['model'\]"):
        lock.remote()


def test_what_cannot_be_passed_is_named() -> None:
    with pytest.raises(SourceError, match=r"argument 0 cannot be sent: .*lock") as caught:
        find.remote(threading.Lock())  # type: ignore[arg-type]
    assert "hint:" in str(caught.value)


def test_what_cannot_be_installed_is_told() -> None:
    @remote(dependencies=["--index-url=elsewhere"])
    def needy() -> None: ...

    with pytest.raises(InstallFailed, match="`--index-url=elsewhere` is an option, not a package") as caught:
        needy.remote()
    assert caught.value.job


def test_wrong_arguments_are_told_as_python_tells_them() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'index'"):
        find.remote()  # type: ignore[call-arg]


def test_an_endpoint_that_is_not_there_is_told() -> None:
    with pytest.raises(EndpointError, match="cannot be reached"):
        remote(Endpoint(url="http://127.0.0.1:1"))(look).remote(1)
    with pytest.raises(EndpointError, match="no http or https URL"):
        remote(Endpoint(url="ftp://host"))(look).remote(1)


def test_a_wrong_key_is_told(worker: object) -> None:
    from farcall import Local

    assert isinstance(worker, Local)
    client = worker.client()
    stranger = Endpoint(url=client._transport.name, api_key="wrong")
    with pytest.raises(EndpointError, match="API key") as caught:
        remote(stranger)(look).remote(1)
    assert caught.value.status == 401


def test_all_of_them_are_failures_of_ours() -> None:
    for kind in (CallRejected, InstallFailed, RunnerDied, RemoteError, ResultNotSendable):
        assert issubclass(kind, CallFailed)
        assert kind.__module__ == "farcall"
    assert os.environ["FARCALL_EXECUTABLE"]
