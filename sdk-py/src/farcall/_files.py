"""Large buffers between here and a worker on this machine: they go as files.

A pickle of protocol 5 leaves out buffers, such as an array's numbers. They are written to files (in the page
cache: at the speed of a copy) that the other side maps into memory. Arguments' files are removed after the
call, results' when they are read: only calls that somebody waits for use them.
"""

from __future__ import annotations

import pickle
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from ._source import Shipment

# Less than this is sent as it is: a file costs about as much as 1 MB of base64.
SMALLEST_BYTES = 1 << 20

# The keyword by which a call says where its result's files go; the source's wrapper takes it out.
DIRECTORY = "__farcall_files__"

# An expression, for any side to evaluate: private copies of the files' pages, which can be written to. `mode`
# 1 removes the files.
_LOAD = (
    "__import__('pickle').loads(data, buffers=[(lambda f: ("
    "__import__('mmap').mmap(f.fileno(), 0, access=3), "
    "f.close(), mode and __import__('os').unlink(p))[0])(open(p, 'r+b')) for p in paths])"
)

# What is added to a function's source. Who calls it by name, itself included, gets the plain function; the
# worker calls `_fn`. Only arrays, alone or as members of what is returned, are looked for: to pickle each
# result to find out would double its cost.
_WRAPPER = f"""

class __farcall_large__:
    def __init__(self, plain):
        self._plain, self._fn, self.__wrapped__ = plain, self.__farcall_{{kind}}__, plain

    def __call__(self, *args, **kwargs):
        return self._plain(*args, **kwargs)

    def __farcall_call__(self, *args, {DIRECTORY}=None, **kwargs):
        return self._kept(self._plain(*args, **kwargs), {DIRECTORY})

    async def __farcall_await__(self, *args, {DIRECTORY}=None, **kwargs):
        return self._kept(await self._plain(*args, **kwargs), {DIRECTORY})

    def _kept(self, value, directory):
        import sys

        if directory is None or "numpy" not in sys.modules:
            return value
        members = value.values() if type(value) is dict else value
        members = members if type(value) in (dict, list, tuple) else [value]
        if not any(getattr(member, "nbytes", 0) >= {SMALLEST_BYTES} for member in members):
            return value
        import pickle
        import tempfile

        try:
            import cloudpickle as pickler
        except ImportError:
            pickler = pickle
        buffers = []

        def leave_out(buffer):
            raw = buffer.raw()
            if raw.nbytes < {SMALLEST_BYTES}:
                return True
            buffers.append(raw)

        data, paths = pickler.dumps(value, 5, buffer_callback=leave_out), []
        for raw in buffers:
            with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
                file.write(raw)
            paths.append(file.name)
        return __farcall_reference__(data, paths)


class __farcall_reference__:
    def __init__(self, data, paths):
        self.reference = {{{{"data": data, "paths": paths, "mode": 1}}}}

    def __reduce__(self):
        return eval, ({_LOAD!r}, self.reference)


{{name}} = __farcall_large__({{name}})
"""

# Frames of the wrapper: nobody's code.
FRAMES = frozenset({"__farcall_call__", "__farcall_await__"})


def with_files(code: str, name: str, target: Any) -> str:
    """A function's source, whose results can go as files. Generators' and classes' stay as they are."""
    import inspect  # noqa: PLC0415  (10 ms, for the first call)

    if isinstance(target, type) or inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        return code
    kind = "await" if inspect.iscoroutinefunction(target) else "call"
    return code + _WRAPPER.format(kind=kind, name=name)


def takes_files(shipment: Shipment) -> bool:
    """Whether its source is one of those."""
    return "class __farcall_large__:" in shipment.code


class Files:
    """The files of one call's arguments."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._left_out: list[memoryview] = []
        self._paths: list[Path] = []

    def leave_out(self, buffer: pickle.PickleBuffer) -> bool:
        """Called by a pickler: whether a buffer stays in the pickle."""
        try:
            raw = buffer.raw()
        except BufferError:  # it is in pieces
            return True
        if raw.nbytes < SMALLEST_BYTES:
            return True
        self._left_out.append(raw)
        return False

    def complete(self, data: bytes) -> bytes:
        """The pickle, with what was left out of it in files."""
        if not self._left_out:
            return data
        paths = []
        for raw in self._left_out:
            with tempfile.NamedTemporaryFile(dir=self._directory, delete=False) as file:
                file.write(raw)
            paths.append(file.name)
        self._paths += map(Path, paths)
        self._left_out.clear()
        return pickle.dumps(_Reference({"data": data, "paths": paths, "mode": 0}), pickle.HIGHEST_PROTOCOL)

    def remove(self) -> None:
        """Removes them, after the call."""
        for path in self._paths:
            with suppress(FileNotFoundError):
                path.unlink()


class _Reference:
    def __init__(self, reference: dict[str, Any]) -> None:
        self._reference = reference

    def __reduce__(self) -> Any:
        return eval, (_LOAD, self._reference)
