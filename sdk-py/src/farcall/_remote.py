"""The decorator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from ._handles import RemoteClass, RemoteFunction
from ._options import Options
from ._resource import Resource

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")


class Decorator(Protocol):
    """Makes a function or class a remote one."""

    @overload
    def __call__(self, target: type[C], /) -> RemoteClass[C]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, target: Callable[P, Coroutine[Any, Any, R]], /) -> RemoteFunction[P, R]: ...
    @overload
    def __call__(self, target: Callable[P, Iterator[R]], /) -> RemoteFunction[P, list[R]]: ...
    @overload
    def __call__(self, target: Callable[P, AsyncIterator[R]], /) -> RemoteFunction[P, list[R]]: ...
    @overload
    def __call__(self, target: Callable[P, R], /) -> RemoteFunction[P, R]: ...


@overload
def remote(
    resource_config: Resource | None = None,
    dependencies: Sequence[str] | None = None,
    system_dependencies: Sequence[str] | None = None,
    accelerate_downloads: bool = True,
    local: bool = False,
    **options: Any,
) -> Decorator: ...
@overload
def remote(target: type[C], /) -> RemoteClass[C]: ...  # type: ignore[overload-overlap]
@overload
def remote(target: Callable[P, Coroutine[Any, Any, R]], /) -> RemoteFunction[P, R]: ...
@overload
def remote(target: Callable[P, Iterator[R]], /) -> RemoteFunction[P, list[R]]: ...
@overload
def remote(target: Callable[P, AsyncIterator[R]], /) -> RemoteFunction[P, list[R]]: ...
@overload
def remote(target: Callable[P, R], /) -> RemoteFunction[P, R]: ...


def remote(
    resource_config: Any = None,
    dependencies: Sequence[str] | None = None,
    system_dependencies: Sequence[str] | None = None,
    accelerate_downloads: bool = True,
    local: bool = False,
    **options: Any,
) -> Any:
    """Makes a function or class run elsewhere: `@remote`, or `@remote(resource, dependencies=[...])`.

    Without a resource it runs in a worker on this machine, started when it is first needed. `dependencies`
    are Python requirements, `system_dependencies` Debian packages that the worker installs. `local=True`
    leaves the function as it is. Other options are those of `Options`: `timeout`, `retries`, `webhook` ...
    """
    target = None
    if callable(resource_config) and not isinstance(resource_config, Resource):
        target, resource_config = resource_config, None
    if resource_config is not None and not isinstance(resource_config, Resource):
        raise TypeError(
            f"remote() takes a resource, such as Local() or LiveServerless(...), not `{resource_config!r}`"
        )
    chosen = Options(
        dependencies=_list("dependencies", dependencies),
        system_dependencies=_list("system_dependencies", system_dependencies),
        accelerate_downloads=accelerate_downloads,
        **options,
    )

    def decorate(target: Any) -> Any:
        if local:
            return target
        target = getattr(target, "__wrapped__", target) if hasattr(target, "__farcall_handle__") else target
        if isinstance(target, type):
            return RemoteClass(target, resource_config, chosen)
        if not callable(target) or not hasattr(target, "__code__"):
            raise TypeError(f"remote() decorates functions and classes, not `{target!r}`")
        return RemoteFunction(target, resource_config, chosen)

    return decorate if target is None else decorate(target)


# By this it is recognised in a source.
remote.__farcall_decorator__ = True  # type: ignore[attr-defined]


def _list(name: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, str):
        raise TypeError(f"{name} is a list of requirements, not one string: [{value!r}]")
    return list(value)
