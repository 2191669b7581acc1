"""What a decorated function or class is here."""

from __future__ import annotations

import abc
import copy
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from ._options import Options
from ._resource import Resource

if TYPE_CHECKING:
    from ._callee import Callee
    from ._job import Job

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")


def _seen_from_outside(error: Exception) -> Exception:
    from ._traceback import seen_from_outside  # noqa: PLC0415  (when something has failed)

    return seen_from_outside(error)


class Remote(Generic[P, R]):
    """`f.remote`: called, it waits; `f.remote.aio` is for event loops."""

    def __init__(self, owner: _Callable[P, R]) -> None:
        self._owner = owner

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls it there and waits: returns what it returns, raises what it raises, shows what it prints."""
        __tracebackhide__ = True
        try:
            result: R = self._owner._callee.call(args, kwargs)
        except Exception as error:
            raise _seen_from_outside(error)
        return result

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same without blocking the event loop. Cancelling the task cancels the call."""
        __tracebackhide__ = True
        return await self._owner(*args, **kwargs)


class _Target:
    """What was decorated, and how. What calls need is imported for the first one."""

    __farcall_handle__ = True

    def __init__(self, target: Any, resource: Resource | None, options: Options) -> None:
        self._plain, self._resource, self._options = target, resource, options

    @cached_property
    def _callee(self) -> Callee:
        if self._resource is None:
            from ._local import default  # noqa: PLC0415

            self._resource = default()
        self._resource.begin()
        from ._callee import Callee  # noqa: PLC0415

        return Callee(self._plain.__name__, self._plain, self._resource, self._options)

    def __reduce__(self) -> Any:
        return copy.copy, (self._plain,)  # where it arrives it is the plain function or class


class _Callable(abc.ABC, Generic[P, R]):
    """Everything that can be called there."""

    @property
    @abc.abstractmethod
    def _callee(self) -> Callee: ...

    @property
    def remote(self) -> Remote[P, R]:
        """Calls it there and waits."""
        return Remote(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """`await f(...)` is `await f.remote.aio(...)`, as in runpod-flash."""
        call = self._awaited(args, kwargs)
        call.__qualname__ = self._callee.name  # type: ignore[attr-defined]  # what Python says was never awaited
        return call

    async def _awaited(self, args: Any, kwargs: Any) -> R:
        __tracebackhide__ = True
        try:
            result: R = await self._callee.call_async(args, kwargs)
        except Exception as error:
            raise _seen_from_outside(error)
        return result

    def spawn(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Submits a call without waiting for it."""
        return self._callee.spawn(args, kwargs)

    def stream(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
        """Calls a generator there; what it yields arrives as it does. Leaving the loop cancels the call."""
        job = self._callee.spawn(args, kwargs, stream=True)
        is_over = False
        try:
            yield from job.stream()
            is_over = True
        except Exception as error:
            raise _seen_from_outside(error)
        finally:
            if not is_over:
                job.cancel()

    async def astream(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Any]:
        """`stream` for event loops."""
        import asyncio  # noqa: PLC0415

        from ._callee import threads  # noqa: PLC0415

        loop, end = asyncio.get_running_loop(), object()
        items = self.stream(*args, **kwargs)
        try:
            while (item := await loop.run_in_executor(threads(), next, items, end)) is not end:
                yield item
        finally:
            await loop.run_in_executor(threads(), items.close)  # type: ignore[attr-defined]  # a generator

    def map(
        self,
        items: Iterable[Any],
        *,
        concurrency: int = 16,
        return_exceptions: bool = False,
        order: bool = True,
    ) -> Iterator[R]:
        """Calls it with each item, up to `concurrency` at once.

        Results come in the order of the items, or as they are ready if `order` is false. The first
        exception ends it and cancels the rest, unless `return_exceptions` puts exceptions among the
        results. On a terminal a bar shows how far it is.
        """
        from ._map import map_calls  # noqa: PLC0415  (what few programs need)

        return map_calls(self._callee, items, concurrency, keep=return_exceptions, in_order=order)

    def job(self, job: str) -> Job[R]:
        """A job of this function that was submitted earlier, perhaps by another process."""
        from ._job import Job  # noqa: PLC0415

        callee = self._callee
        return Job(
            callee.resource.client(), job, callee.shipment(), callee.name, output=callee.options.output
        )


class RemoteFunction(_Target, _Callable[P, R]):
    """A function that runs elsewhere. Its signature and types are the function's own."""

    def __init__(self, function: Any, resource: Resource | None, options: Options) -> None:
        super().__init__(function, resource, options)
        update_wrapper(self, function)

    def __repr__(self) -> str:
        return f"<remote function {self._plain.__qualname__}>"

    def local(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Calls the function here, as if it were not decorated."""
        return self._plain(*args, **kwargs)

    def with_options(self, **changes: Any) -> RemoteFunction[P, R]:
        """The same function, called differently: see `Options`."""
        return RemoteFunction(self._plain, self._resource, self._options._replace(**changes))


class RemoteMethod(_Callable[P, R]):
    """A method of an instance that lives elsewhere."""

    def __init__(self, callee: Callee) -> None:
        self._method = callee

    @property
    def _callee(self) -> Callee:
        return self._method

    def __repr__(self) -> str:
        return f"<remote method {self._method.name}>"


class RemoteInstance(Generic[C]):
    """An instance that lives on a worker: made at its first call there, and again where it is forgotten."""

    def __init__(self, maker: Callee, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        import secrets  # noqa: PLC0415

        from ._callee import Instance  # noqa: PLC0415

        self._maker = maker
        self._instance = Instance(f"{maker.target.__name__}_{secrets.token_hex(4)}", args, kwargs)

    def __repr__(self) -> str:
        return f"<remote instance {self._instance.id}>"

    def __getattr__(self, name: str) -> RemoteMethod[..., Any]:
        if not callable(getattr(self._maker.target, name, None)):
            known = [n for n, v in vars(self._maker.target).items() if callable(v) and not n.startswith("_")]
            raise AttributeError(
                f"`{self._maker.name}` has no method `{name}`: "
                "attributes of a remote instance cannot be read from here\n"
                f"hint: it has: {', '.join(known) or 'no methods'}"
            )
        from ._callee import MethodCallee  # noqa: PLC0415

        return RemoteMethod(MethodCallee(self._maker, self._instance, name))

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the instance."""
        return await self.__getattr__("__call__").remote.aio(*args, **kwargs)

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the instance and waits."""
        return self.__getattr__("__call__").remote(*args, **kwargs)


class RemoteClass(_Target, Generic[C]):
    """A class whose instances live on workers: called, it describes one; its methods are called there."""

    def __init__(self, cls: type[C], resource: Resource | None, options: Options) -> None:
        super().__init__(cls, resource, options)
        self._class = cls
        update_wrapper(self, cls, updated=())

    def __repr__(self) -> str:
        return f"<remote class {self._class.__qualname__}>"

    def __call__(self, *args: Any, **kwargs: Any) -> RemoteInstance[C]:
        """An instance of it, there. What the constructor does not accept is said here."""
        import inspect  # noqa: PLC0415  (10 ms that functions do not need)

        inspect.signature(self._class).bind(*args, **kwargs)
        return RemoteInstance(self._callee, args, kwargs)

    @property
    def local(self) -> type[C]:
        """The class itself, for instances here."""
        return self._class

    def with_options(self, **changes: Any) -> RemoteClass[C]:
        """The same class, called differently: see `Options`."""
        return RemoteClass(self._class, self._resource, self._options._replace(**changes))

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._class)
