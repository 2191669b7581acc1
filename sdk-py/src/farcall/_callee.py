"""A call from its arguments to its job: the request, submitted as often as its options allow."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ._errors import CallCancelled, CallRejected, EndpointError, ModulesMissing, ResultNotSendable
from ._files import DIRECTORY, Files, takes_files, with_files
from ._job import Job
from ._options import Options
from ._pickle import Parcel, encode
from ._resource import Resource
from ._source import Shipment, is_current, ship

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from ._client import Client

# Positional and keyword arguments.
Values = tuple[tuple[Any, ...], dict[str, Any]]

# Calls that an event loop waits for at once; each has a thread that does nothing else.
_MOST_WAITING = 128
# HTTP's answer to a job that names modules which the worker does not have.
_MODULES_MISSING = 409
# Failing again is certain: they are not retried.
_CERTAIN = (CallCancelled, CallRejected, ResultNotSendable)


@lru_cache(maxsize=1)
def threads() -> ThreadPoolExecutor:
    """What waits for calls in place of an event loop."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (event loops only)

    return ThreadPoolExecutor(_MOST_WAITING, "farcall")


class Callee:
    """What can be called on a resource: a function, or a method of an instance."""

    def __init__(self, name: str, target: Any, resource: Resource, options: Options) -> None:
        self.name, self.target = name, target
        self.resource, self.options = resource, options
        self._shipment: Shipment | None = None

    def shipment(self) -> Shipment:
        """What is sent of the source; anew where what it refers to has changed."""
        if self._shipment is None or not is_current(self._shipment):
            shipment = ship(self.target)
            self.resource.check_python(shipment.python, self.name)
            if self.resource.files() is not None:
                shipment = replace(shipment, code=with_files(shipment.code, shipment.name, self.target))
            self._shipment = shipment
        return self._shipment

    def request(self, values: Values, parcel: Parcel) -> dict[str, Any]:
        """The fields of a request that say what is called, and with what."""
        return {
            "function_name": parcel.shipment.name,
            "function_code": parcel.shipment.code,
            "execution_type": "function",
            **encoded("", values, parcel),
        }

    def spawn(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, stream: bool = False) -> Job[Any]:
        """Submits a call."""
        return self._submit((args, kwargs), None, stream=stream)

    def _submit(
        self, values: Values, files: Files | None, *, stream: bool = False, again: bool = False
    ) -> Job[Any]:
        """`again`: whoever waits for it submits it again if the worker misses its modules."""
        shipment = self.shipment()
        parcel = Parcel(shipment, dict(shipment.modules), files)
        payload = self.request(values, parcel)
        payload.update(self.options.needs(), serialization_format="cloudpickle")
        payload["farcall"] = {"failure": True, "stream": stream}
        client, job = self._send(payload, parcel, again)
        submitted: Job[Any] = Job(client, job, shipment, self.name, output=self.options.output)
        if parcel.modules:
            submitted.brings(payload["farcall"]["modules"])
        return submitted

    def _send(self, payload: dict[str, Any], parcel: Parcel, again: bool) -> tuple[Client, str]:
        """Local modules are named by their content, and go along where the worker may not have them."""
        if parcel.modules:
            client, digest = self.resource.client(), parcel.digest()
            payload["farcall"]["modules"] = digest
            if digest in client.modules and (again or client.refuses_early):
                try:
                    return self.resource.submit(self.options.envelope(payload))
                except EndpointError as error:
                    if error.status != _MODULES_MISSING:
                        raise
            payload["modules"] = parcel.modules
        return self.resource.submit(self.options.envelope(payload))

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Submits a call and waits for it."""
        jobs: list[Job[Any]] = []
        try:
            return self.attempt(args, kwargs, jobs)
        except KeyboardInterrupt:
            if jobs:
                jobs[-1].cancel()
            raise

    async def call_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The same, for an event loop. Cancelling it cancels the job."""
        import asyncio  # noqa: PLC0415  (50 ms that others need not pay)

        jobs: list[Job[Any]] = []
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(threads(), self.attempt, args, kwargs, jobs)
        except asyncio.CancelledError:
            if jobs:
                await loop.run_in_executor(threads(), jobs[-1].cancel)
            raise

    def attempt(self, args: tuple[Any, ...], kwargs: dict[str, Any], jobs: list[Job[Any]]) -> Any:
        """Calls as often as the options allow; `jobs` gets each."""
        for attempt in range(self.options.retries + 1):
            try:
                return self._once(args, kwargs, jobs)
            except _CERTAIN:
                raise
            except Exception:
                if attempt == self.options.retries:
                    raise
            time.sleep(min(0.5 * 2**attempt, 30.0) * random.uniform(0.5, 1.0))  # noqa: S311
        raise AssertionError("the last attempt returns or raises")

    def _once(self, args: tuple[Any, ...], kwargs: dict[str, Any], jobs: list[Job[Any]]) -> Any:
        directory = self.resource.files()
        if directory is None:
            return self._result((args, kwargs), None, jobs)
        self.resource.client()  # the worker finds its interpreter while the source is made here
        shipment, files = self.shipment(), Files(directory)
        if takes_files(shipment):
            kwargs = {**kwargs, DIRECTORY: str(directory)}
        try:
            return self._result((args, kwargs), files, jobs)
        finally:
            files.remove()

    def _result(self, values: Values, files: Files | None, jobs: list[Job[Any]]) -> Any:
        jobs.append(self._submit(values, files, again=True))
        try:
            return jobs[-1].result()
        except ModulesMissing:  # another worker, which has not seen them
            self.resource.client().modules.clear()
        jobs.append(self._submit(values, files))
        return jobs[-1].result()


def encoded(what: str, values: Values, parcel: Parcel) -> dict[str, Any]:
    """Arguments as a request has them: `what` is `""`, or `"constructor"`."""
    prefix, text = (f"{what}_", f"{what} argument") if what else ("", "argument")
    args, kwargs = values
    return {
        f"{prefix}args": [encode(v, parcel, f"{text} {i}") for i, v in enumerate(args)],
        f"{prefix}kwargs": {k: encode(v, parcel, f"{text} `{k}`") for k, v in kwargs.items()},
    }


class MethodCallee(Callee):
    """A method of an instance, which lives on the worker under its id."""

    def __init__(self, maker: Callee, instance: Instance, method: str) -> None:
        super().__init__(f"{maker.name}.{method}", maker.target, maker.resource, maker.options)
        self._maker, self._instance, self._method = maker, instance, method

    def shipment(self) -> Shipment:
        """The class's, which all its methods share."""
        return self._maker.shipment()

    def request(self, values: Values, parcel: Parcel) -> dict[str, Any]:
        """A call of the method, with the constructor's arguments: the instance may have to be made."""
        made = self._instance
        return {
            "class_name": parcel.shipment.name,
            "class_code": parcel.shipment.code,
            "method_name": self._method,
            "execution_type": "class",
            "instance_id": made.id,
            "create_new_instance": False,
            **encoded("constructor", (made.args, made.kwargs), parcel._replace(files=None)),
            **encoded("", values, parcel),
        }


class Instance(NamedTuple):
    """An instance on the worker: its id, and what it is made from."""

    id: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
