"""From a job's document to its result, or to what is raised for it."""

from __future__ import annotations

import importlib
import pickle
import sys
from typing import Any

from . import _errors as errors
from ._pickle import decode, plain_class
from ._source import Shipment
from ._traceback import rebuilt, with_local_paths

_KINDS: dict[str, type[errors.CallFailed]] = {
    "raised": errors.RemoteError,
    "rejected": errors.CallRejected,
    "unserializable": errors.ResultNotSendable,
    "modules_missing": errors.ModulesMissing,
    "not_installed": errors.InstallFailed,
    "died": errors.RunnerDied,
    "timed_out": errors.CallTimedOut,
    "cancelled": errors.CallCancelled,
    "not_started": errors.WorkerFailed,
}
_BY_STATUS = {"CANCELLED": "cancelled", "TIMED_OUT": "timed_out"}


def result_of(document: dict[str, Any], shipment: Shipment | None) -> Any:
    """The job's result. Raises what it failed with."""
    output = document.get("output")
    if document["status"] == "COMPLETED" and not document.get("error"):
        if isinstance(output, dict) and "success" in output:
            if output["success"]:
                return value_of(output, shipment)
        elif isinstance(output, list):
            return [value_of(envelope, shipment) for envelope in output]
        else:
            return output  # a handler's own
    raise failure_of(document, shipment)


def value_of(envelope: dict[str, Any], shipment: Shipment | None) -> Any:
    """The value of a response, a stream's envelope or a chunk."""
    if envelope.get("result") is not None:
        return decode(envelope["result"], shipment)
    return envelope.get("json_result")


def failure_of(document: dict[str, Any], shipment: Shipment | None) -> BaseException:
    """The exception that a job's document stands for."""
    output = document.get("output")
    described, printed = _described(output)
    kind = described.get("kind") or _BY_STATUS.get(document["status"], "raised")
    said = document.get("error") or (output.get("error") if isinstance(output, dict) else None)
    message = str(said or f"the job ended as {document['status']}")
    if kind == "raised" and isinstance(described.get("exception"), dict):
        error = exception_of(described["exception"], shipment)
        if isinstance(error, errors.CallFailed):
            error.job, error.output = document.get("id"), printed
        hint = message.rpartition("\n")[2]
        if isinstance(error, ModuleNotFoundError) and hint.startswith("hint: "):
            if sys.version_info < (3, 11):  # which shows no notes
                error.msg = f"{error.msg}\n{hint}"
            vars(error)["__notes__"] = [*getattr(error, "__notes__", []), hint]
        return error
    message = with_local_paths(message, shipment)
    failure = _KINDS.get(kind, errors.CallFailed)(message, job=document.get("id"), output=printed)
    if isinstance(failure, errors.RunnerDied):
        for name in ("signal", "exit_code", "out_of_memory", "peak_memory_bytes"):
            setattr(failure, name, described.get(name))
    return failure


def _described(output: Any) -> tuple[dict[str, Any], str]:
    """What the answer says about its failure, and what the call printed."""
    if isinstance(output, list):  # a stream: what ended it is behind its items
        output = output[-1] if output else {}
    if not isinstance(output, dict):
        return {}, ""
    failure = output.get("failure")
    return (failure if isinstance(failure, dict) else {}), str(output.get("stdout") or "")


def exception_of(described: dict[str, Any], shipment: Shipment | None) -> BaseException:
    """The exception as it was raised, with its frames, causes and notes."""
    error = _unpickled(described, shipment) or _made(described, shipment)
    error.__traceback__ = rebuilt(described.get("frames") or [], shipment)
    notes = described.get("notes") or []
    if notes and not getattr(error, "__notes__", None):
        vars(error)["__notes__"] = list(notes)
    if cause := described.get("cause"):
        error.__cause__ = exception_of(cause, shipment)
    elif context := described.get("context"):
        error.__context__ = exception_of(context, shipment)
    return error


def _unpickled(described: dict[str, Any], shipment: Shipment | None) -> BaseException | None:
    try:
        if described.get("pickle"):
            value = decode(described["pickle"], shipment)
        elif described.get("parts"):
            kind, args, members = decode(described["parts"], shipment)
            value = kind.__new__(kind, *args)
            value.args = args
            value.__dict__.update(members)
        else:
            return None
    except (pickle.UnpicklingError, ImportError, AttributeError, TypeError, ValueError, EOFError):
        return None
    return value if isinstance(value, BaseException) else None


def _made(described: dict[str, Any], shipment: Shipment | None) -> BaseException:
    """An exception of the same name, of the nearest class that is here."""
    types = described.get("types") or [["builtins", "Exception"]]
    name, text = types[0][1], str(described.get("text") or "")
    for module, qualname in types:
        base = _class(module, qualname, shipment)
        if base is None:
            continue
        members = {"__module__": "farcall", "__str__": lambda self: str(self.args[0]) if self.args else ""}
        if not issubclass(base, Exception):
            return errors.RemoteError(f"{name}: {text}")
        try:
            made: Any = type(name.rpartition(".")[2], (errors.RemoteError, base), members)
            error: Any = made.__new__(made, text)
        except TypeError:  # two layouts that do not go together
            continue
        error.args, error.job, error.output = (text,), None, ""
        exception: BaseException = error
        return exception
    return errors.RemoteError(f"{name}: {text}")


def _class(module: str, qualname: str, shipment: Shipment | None) -> type[BaseException] | None:
    if module.startswith("__farcall_"):
        module = (shipment.module if shipment else None) or ""
    try:
        value: Any = sys.modules.get(module) or importlib.import_module(module)
        for part in qualname.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError, ValueError):
        return None
    value = plain_class(value)
    return value if isinstance(value, type) and issubclass(value, BaseException) else None
