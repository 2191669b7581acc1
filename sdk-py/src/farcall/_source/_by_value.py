"""A function by value: for what has no file of its own, or is defined inside another function.

A short source unpickles it on the worker and hands its lines to `linecache`, so that tracebacks show them.
"""

from __future__ import annotations

import base64
import linecache
import sys
from types import CodeType, FunctionType
from typing import Any

from .._errors import SourceError
from ._modules import Modules, local_file

_SOURCE = '''\
"""{name}, by value."""
import base64, linecache, pickle, sys

if sys.version_info[:2] != {version}:
    raise RuntimeError("`{name}` is byte code of Python {readable}, and this is %d.%d" % sys.version_info[:2])
for path, lines in {lines!r}.items():
    linecache.cache[path] = (sum(map(len, lines)), None, lines, path)
{name} = pickle.loads(base64.b64decode({pickled!r}))
'''


def by_value(target: Any) -> tuple[str, str, dict[str, str]]:
    """A name, the source that makes `target` under it, and the local modules it imports."""
    import cloudpickle  # noqa: PLC0415  (imported for the first function that needs it)

    modules = Modules()
    for name in _roots_of(target):
        modules.add(name)
    try:
        pickled = _dumps(target, cloudpickle)
    except Exception as error:
        raise SourceError(
            f"`{target.__qualname__}` cannot be sent: {error}\n"
            f"hint: it refers to {_culprit(target, cloudpickle)}: make that inside it"
        ) from None
    name = target.__name__ if target.__name__.isidentifier() else "function"  # a lambda
    major, minor = sys.version_info[:2]
    code = _SOURCE.format(
        name=name,
        version=(major, minor),
        readable=f"{major}.{minor}",
        lines={path: linecache.getlines(path) for path in _files_of(target)},
        pickled=base64.b64encode(pickled).decode(),
    )
    return name, code, modules.files


def _dumps(target: Any, cloudpickle: Any) -> bytes:
    """Its own module goes by value, too: what it defines is not shipped as a file."""
    module = sys.modules.get(target.__module__)
    if (
        module is None
        or target.__module__ == "__main__"
        or local_file(target.__module__.partition(".")[0]) is None
    ):
        data: bytes = cloudpickle.dumps(target)
        return data
    cloudpickle.register_pickle_by_value(module)
    try:
        data = cloudpickle.dumps(target)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    return data


def _culprit(target: Any, cloudpickle: Any) -> str:
    """What cannot be pickled of all that the function refers to, by its name."""
    for function in _functions(target):
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        names = {name for code in _codes(function.__code__) for name in code.co_names}
        values = {name: function.__globals__[name] for name in names & set(function.__globals__)}
        for name, value in [*((name, cell.cell_contents) for name, cell in cells), *sorted(values.items())]:
            try:
                cloudpickle.dumps(value)
            except Exception:
                if not isinstance(value, FunctionType):
                    return f"`{name}` (a `{type(value).__name__}`), which cannot be pickled"
    return "something that cannot be pickled"


def _functions(target: Any) -> list[FunctionType]:
    """The functions that go along: its own, and those of the same module that it refers to."""
    found: dict[int, FunctionType] = {}
    waiting = [target]
    while waiting:
        value = waiting.pop()
        value = getattr(value, "__wrapped__", value) if hasattr(value, "__farcall_handle__") else value
        if isinstance(value, type) and value.__module__ == target.__module__:
            waiting.extend(member for member in vars(value).values() if isinstance(member, FunctionType))
        if not isinstance(value, FunctionType) or id(value) in found or value.__module__ != target.__module__:
            continue
        found[id(value)] = value
        names = {name for code in _codes(value.__code__) for name in code.co_names}
        waiting.extend(value.__globals__[name] for name in names if name in value.__globals__)
        waiting.extend(
            cell.cell_contents for cell in value.__closure__ or () if cell.cell_contents is not value
        )
    return list(found.values())


def _codes(code: CodeType) -> list[CodeType]:
    codes = [code]
    for outer in codes:
        codes.extend(constant for constant in outer.co_consts if isinstance(constant, CodeType))
    return codes


def _files_of(target: Any) -> list[str]:
    return sorted({function.__code__.co_filename for function in _functions(target)})


def _roots_of(target: Any) -> list[str]:
    """Top-level names of the local modules it may import: named in its code, or home of a global."""
    found: set[str] = set()
    for function in _functions(target):
        names = {name for code in _codes(function.__code__) for name in code.co_names}
        found.update(name.partition(".")[0] for name in names if local_file(name.partition(".")[0]))
        for name in names & set(function.__globals__):
            value = function.__globals__[name]
            home = getattr(value, "__module__", None) or getattr(value, "__name__", None)
            if isinstance(home, str) and home != "__main__":
                found.add(home.partition(".")[0])
    return sorted(found - {target.__module__})
