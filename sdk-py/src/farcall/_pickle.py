"""Values on their way: arguments out, results and exceptions in.

Classes that the source defines exist twice, here and on the worker. Values refer to them by a name that
each side resolves to its own, so that `isinstance` holds on both.
"""

from __future__ import annotations

import base64
import io
import pickle
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from ._errors import SourceError
from ._files import Files
from ._source import Shipment
from ._source._modules import Modules, digest_of
from ._traceback import seen_from_outside

_PROTOCOL = 5
# What a worker calls the module made from a request's source, for the arguments of the request.
_THERE = "__farcall_source__"
# How the names of such modules begin in what comes from it.
_FROM_THERE = "__farcall_"


class _NotPlain(Exception):
    pass


class _PlainPickler(pickle.Pickler):
    """Builtin data at C's speed; raises at the first value of any other type."""

    def reducer_override(self, value: object) -> Any:
        raise _NotPlain(type(value).__name__)


class _SourceModule:
    """Pickles as the module that the worker makes from the source."""

    def __reduce__(self) -> Any:
        import importlib  # noqa: PLC0415

        return importlib.import_module, (_THERE,)


class Parcel(NamedTuple):
    """What a call is sent with: its source, the local modules that it needs, the files of its arguments."""

    shipment: Shipment
    modules: dict[str, str]
    files: Files | None = None

    def digest(self) -> str:
        """What a worker knows the modules by."""
        is_all = len(self.modules) == len(self.shipment.modules)  # calls only add to them
        return self.shipment.digest if is_all else digest_of(self.modules)


def encode(value: object, parcel: Parcel, name: str) -> str:
    """`value` as base64 of a pickle. Local modules that it refers to are added to the parcel."""
    buffer = _plain(value) or io.BytesIO()
    if not buffer.tell():
        try:
            _by_cloudpickle(buffer, parcel).dump(value)
        except SourceError:
            raise
        except Exception as error:
            cause = seen_from_outside(error)
            raise SourceError(
                f"{name} cannot be sent: {type(error).__name__}: {error}\n"
                "hint: pass what it is made from, and make it in the function"
            ) from (cause if cause.__traceback__ else None)
    data = parcel.files.complete(buffer.getvalue()) if parcel.files else buffer.getbuffer()
    return base64.b64encode(data).decode("ascii")


def _plain(value: object) -> io.BytesIO | None:
    buffer = io.BytesIO()
    try:
        _PlainPickler(buffer, _PROTOCOL).dump(value)
    except _NotPlain:
        return None
    return buffer


def _by_cloudpickle(buffer: io.BytesIO, parcel: Parcel) -> Any:
    import cloudpickle  # noqa: PLC0415  (half of a cold start, and most calls pass plain data)

    shipment, modules = parcel.shipment, parcel.modules
    defined = _top_level_names(shipment.code) if shipment.path else set()

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
        def reducer_override(self, value: object) -> Any:
            if isinstance(value, type | FunctionType):
                if value.__module__ == shipment.module and value.__qualname__ in defined:
                    return getattr, (_SourceModule(), value.__qualname__)
                _ship_home(value.__module__, modules)
            return super().reducer_override(value)

    leave_out = parcel.files.leave_out if parcel.files else None
    return Pickler(buffer, _PROTOCOL, buffer_callback=leave_out)


def _ship_home(module: str | None, modules: dict[str, str]) -> None:
    root = (module or "__main__").partition(".")[0]
    if root != "__main__" and root not in sys.stdlib_module_names and root != "farcall":
        shipped = Modules()
        shipped.add(root)
        for path, text in shipped.files.items():
            modules.setdefault(path, text)


def _top_level_names(code: str) -> set[str]:
    import re  # noqa: PLC0415

    return set(re.findall(r"^(?:class|def|async def)\s+(\w+)", code, re.MULTILINE))


def decode(encoded: str | None, shipment: Shipment | None) -> Any:
    """The value of a result."""
    if encoded is None:
        return None
    data = base64.b64decode(encoded)
    if b"__farcall_" not in data or shipment is None or shipment.module is None:
        return pickle.loads(data)
    return _Unpickler(io.BytesIO(data), shipment.module).load()


class _Unpickler(pickle.Unpickler):
    """Takes the classes of this process for those of the source."""

    def __init__(self, file: io.BytesIO, module: str) -> None:
        super().__init__(file)
        self._home: ModuleType | None = sys.modules.get(module)

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith(_FROM_THERE):
            value: Any = self._home
            for part in name.split("."):
                value = getattr(value, part)
            return plain_class(value)
        found = super().find_class(module, name)
        if module.startswith("cloudpickle") and name == "_make_skeleton_class":
            return self._or_ours(found)
        if module.startswith("cloudpickle") and name == "_class_setstate":
            return lambda cls, state: cls if self._is_ours(cls) else found(cls, state)
        return found

    def _or_ours(self, make: Callable[..., Any]) -> Callable[..., Any]:
        def ours_or_made(kind: Any, name: str, bases: Any, members: Any, *rest: Any) -> Any:
            known = plain_class(getattr(self._home, name, None))
            from_source = str(members.get("__module__", "")).startswith(_FROM_THERE)
            if from_source and isinstance(known, type):
                return known
            return make(kind, name, bases, members, *rest)

        return ours_or_made

    def _is_ours(self, cls: type) -> bool:
        return plain_class(getattr(self._home, cls.__name__, None)) is cls


def plain_class(value: Any) -> Any:
    """A class, also if it is decorated."""
    return getattr(value, "__wrapped__", value) if getattr(value, "__farcall_handle__", False) else value
