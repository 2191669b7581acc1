"""What `import farcall` finds on a worker: shipped modules keep their decorators, which do nothing there."""

from __future__ import annotations

from typing import Any


def remote(*args: Any, **_options: Any) -> Any:
    """Leaves functions and classes as they are."""
    if len(args) == 1 and callable(args[0]) and not isinstance(args[0], _Resource):
        return args[0]
    return lambda target: target


class _Resource:
    """Stands for any resource."""

    def __init__(self, *_args: Any, **_options: Any) -> None: ...


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Anything(name, (_Resource,), {})


class _Anything(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls
