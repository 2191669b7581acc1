"""The frames of a remote exception as real ones: Python prints them, and their lines, like others."""

from __future__ import annotations

import linecache
import os
import re
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, TypeVar

from ._files import FRAMES
from ._source import Shipment

_MARK = "[remote] "
_PACKAGE = str(Path(__file__).parent) + os.sep
_POSITION = ("lineno", "col_offset", "end_lineno", "end_col_offset")
E = TypeVar("E", bound=BaseException)


def seen_from_outside(error: E) -> E:
    """An error without the frames of this package that it came through: those of the call are left."""
    return error.with_traceback(_behind_ours(error.__traceback__))


def _behind_ours(traceback: TracebackType | None) -> TracebackType | None:
    behind = traceback
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        ours = file.startswith(_PACKAGE) or "/cloudpickle/" in file
        traceback = traceback.tb_next
        if ours:
            behind = traceback
    return behind


def rebuilt(frames: list[list[Any]], shipment: Shipment | None) -> TracebackType | None:
    """A traceback of `[file, line, function, source line]` frames, outermost first."""
    traceback = None
    for file, line, function, text in reversed(frames):
        if function in FRAMES:
            continue
        frame = _frame(_here(str(file), int(line), str(text), shipment), int(line), str(function))
        if frame is not None:
            traceback = TracebackType(traceback, frame.tb_frame, frame.tb_lasti, int(line))
    return traceback


def _here(file: str, line: int, text: str, shipment: Shipment | None) -> str:
    """The file as it is called here: the function's own, else a name that says where it is."""
    if shipment and "/source/" in file and file.endswith(f"/{shipment.name}.py") and shipment.path:
        return shipment.path
    if linecache.getline(file, line).strip() == text:
        return file  # the same here: a notebook's cell
    name = f"{_MARK}{file}"
    _, _, lines, _ = linecache.cache.get(name, (0, None, [], name))  # type: ignore[misc]
    lines = list(lines) + ["\n"] * (line - len(lines))
    lines[line - 1] = f"{text}\n"
    linecache.cache[name] = (sum(map(len, lines)), None, lines, name)
    return name


def with_local_paths(text: str, shipment: Shipment | None) -> str:
    """A stack as the worker prints it, with the name that the function's file has here."""
    if shipment is None or shipment.path is None:
        return text
    own = re.compile(rf'File "[^"\n]*/source/[0-9a-f]+/{re.escape(shipment.name)}\.py"')
    lines = [line for line in text.splitlines() if not line.endswith(" in __farcall_call__")]
    return "\n".join(own.sub(lambda _: f'File "{shipment.path}"', line) for line in lines)


def _frame(file: str, line: int, function: str) -> TracebackType | None:
    """A frame of a function that raises at `line` of `file`."""
    import ast  # noqa: PLC0415  (when something has failed)

    raising = ast.Raise(exc=ast.Name("_Marker", ast.Load()))
    text = linecache.getline(file, line).rstrip()
    # All of the line: Python does not underline what is no part of one.
    start, end = len(text) - len(text.lstrip()), len(text.encode())
    for node in (raising, raising.exc):
        for name, value in zip(_POSITION, (line, start, line, end), strict=True):
            setattr(node, name, value)
    code: CodeType = compile(ast.Module([raising], []), file, "exec")
    names: dict[str, Any] = {"co_name": function}
    if hasattr(code, "co_qualname"):
        names["co_qualname"] = function
    code = code.replace(**names)
    try:
        exec(code, {"_Marker": _Marker, "__name__": file})  # noqa: S102  (our own text)
    except _Marker as marker:
        return marker.__traceback__.tb_next if marker.__traceback__ else None
    return None


class _Marker(Exception):
    pass
