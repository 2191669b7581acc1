"""From a function to what a worker needs to run it.

Two ways, the first where it can be gone:

- **As source** (`_slice`): the statements of its file that it needs, each on the line it has there. The
worker may
  run another Python version, tracebacks name the lines of the file, and what is at module level is made once.
- **By value** (`_by_value`): what has no file, or is defined inside another function: notebooks, the REPL,
  closures, lambdas. cloudpickle takes it with all it refers to; the worker needs the same minor version.

Local modules that the code imports are shipped along (`_modules`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .._errors import SourceError
from ._by_value import by_value
from ._modules import digest_of
from ._slice import Unsliceable, as_literal, sliced


@dataclass(frozen=True)
class Shipment:
    """What is sent for a function or class."""

    name: str
    code: str
    modules: dict[str, str] = field(default_factory=dict)
    # Where its lines are in this process's files; `None` if it was sent by value, under its own file names.
    path: str | None = None
    # The module that its classes live in here.
    module: str | None = None
    # Plain data of the module as it was written into the source.
    literals: dict[str, str] = field(default_factory=dict)
    # `(3, 11)` if only that version can run it.
    python: tuple[int, int] | None = None

    @cached_property
    def digest(self) -> str:
        """What a worker knows `modules` by."""
        return digest_of(self.modules)


def ship(target: Any) -> Shipment:
    """Everything a worker needs to run `target`, a plain function or class.

    Raises `SourceError` if it refers to something that cannot be sent.
    """
    refusal: SourceError | None = None
    try:
        return _as_source(target)
    except Unsliceable:
        pass
    except SourceError as error:
        refusal = error
    try:
        return _by_value(target)  # what no statement makes, under a main guard or from elsewhere, may pickle
    except SourceError as error:
        raise (refusal or error) from None


def _as_source(target: Any) -> Shipment:
    import inspect  # noqa: PLC0415  (10 ms, for the first call)

    module = sys.modules.get(target.__module__)
    if module is None or "." in target.__qualname__:
        raise Unsliceable
    try:
        path = inspect.getsourcefile(target)
        if path is None or inspect.getsourcefile(module) != path:
            raise Unsliceable
    except (OSError, TypeError) as error:
        raise Unsliceable from error
    part = sliced(target, module, path)
    return Shipment(target.__name__, part.code, part.modules, path, target.__module__, part.literals)


def _by_value(target: Any) -> Shipment:
    name, code, modules = by_value(target)
    return Shipment(name, code, modules, None, target.__module__, python=sys.version_info[:2])


def is_current(shipment: Shipment) -> bool:
    """Whether what was sent is still what there is. What goes by value is looked at anew each time."""
    module = sys.modules.get(shipment.module or "")
    if shipment.path is None or module is None:
        return False
    namespace = vars(module)
    return all(as_literal(namespace.get(name)) == text for name, text in shipment.literals.items())
