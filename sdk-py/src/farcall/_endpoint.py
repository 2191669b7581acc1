"""An endpoint by its address, and runpod-flash's one name for everything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._client import Client
from ._errors import ResourceError
from ._job import Job
from ._options import Options
from ._resource import Resource, minor_version
from ._runpod._api import calls_url, key_or_hint

if TYPE_CHECKING:
    from ._runpod._live import Plan, Serverless


class Endpoint(Resource):
    """An endpoint that is there, by `url` or `id`; or, by `name`, one on RunPod that is made as described.

    `url` is a Farcall endpoint's (`http://host:8000`) or any with RunPod's API, the id included
    (`https://api.runpod.ai/v2/abc`). `python` is the worker's version, such as `"3.12"`; a Farcall
    endpoint says it by itself.

    It decorates functions, too: `@Endpoint(name="gpu", gpu=GpuGroup.ADA_24, dependencies=["torch"])`, with
    the names that runpod-flash has: `gpu` or `cpu`, `workers` (most, or least and most), `idle_timeout`,
    `volume`, `datacenter`, `env`, `gpu_count`, `execution_timeout_ms`, `flashboot`, `image`, `scaler_type`,
    `scaler_value`, `min_cuda_version`.
    """

    # So that it is recognised in a source, where it decorates.
    __farcall_decorator__ = True

    def __init__(
        self,
        name: str | None = None,
        *,
        url: str | None = None,
        id: str | None = None,
        api_key: str | None = None,
        python: str | None = None,
        dependencies: Sequence[str] | None = None,
        system_dependencies: Sequence[str] | None = None,
        accelerate_downloads: bool = True,
        **described: Any,
    ) -> None:
        super().__init__()
        if (name is None) == (url is None and id is None):
            raise ResourceError("an Endpoint has a url, an id or a name")
        if described and name is None:
            raise ResourceError(f"only an Endpoint with a name is described by {', '.join(described)}")
        self._url, self._id, self._api_key = url, id, api_key
        self._version = python
        self._needs = (dependencies, system_dependencies, accelerate_downloads)
        self._made = _described(name, api_key, python, described) if name is not None else None

    def __call__(self, target: Any) -> Any:
        """Decorates a function or class."""
        from ._remote import remote  # noqa: PLC0415  (it knows resources)

        dependencies, system_dependencies, accelerate_downloads = self._needs
        return remote(self, dependencies, system_dependencies, accelerate_downloads)(target)

    if not TYPE_CHECKING:  # where names that are not there are to be found

        def __getattr__(self, name: str) -> Any:
            hint = ""
            if name in _ROUTES:
                hint = (
                    ": it has no routes of its own\n"
                    "hint: decorate with the endpoint itself (`@endpoint`), and call the function"
                )
            raise AttributeError(f"an Endpoint has no attribute `{name}`{hint}")

    def plan(self) -> Plan:
        """What the first call would do to the account, for an endpoint with a name."""
        if self._made is None:
            raise ResourceError("an endpoint with a url or an id is there already: nothing is planned")
        return self._made.plan()

    def run(self, input: dict[str, Any], options: Options | None = None) -> Job[Any]:
        """Submits an input as it is, for endpoints with a handler of their own."""
        client, job = self.submit((options or Options()).envelope(input))
        return Job(client, job)

    def runsync(self, input: dict[str, Any], timeout: float | None = None) -> Any:
        """The same, and waits for its output."""
        return self.run(input).result(timeout)

    def _python(self) -> tuple[int, int] | None:
        if self._made is not None:
            return self._made.version()
        return super()._python() if self._version is None else minor_version(self._version)

    def _connect(self) -> Client:
        if self._made is not None:
            return self._made.client()
        if self._url is None:
            return Client(calls_url(), str(self._id), key_or_hint(self._api_key))
        base, endpoint = _split(self._url)
        key = self._api_key or os.environ.get("FARCALL_API_KEY") or os.environ.get("RUNPOD_API_KEY")
        return Client(base, self._id or endpoint, key)


def _split(url: str) -> tuple[str, str]:
    """Where the API begins, and the endpoint's id."""
    parts = urlsplit(url)
    segments = [segment for segment in parts.path.split("/") if segment]
    if not segments:
        return f"{url.rstrip('/')}/v2", "local"
    if segments[-1] == "v2":
        return url.rstrip("/"), "local"
    base, _, endpoint = url.rstrip("/").rpartition("/")
    return base, endpoint


# How runpod-flash decorates what its load balancer serves.
_ROUTES = {"get", "post", "put", "patch", "delete"}
# runpod-flash's names for an Endpoint's description, and those of the resources it stands for.
_NAMES = {
    "idle_timeout": "idleTimeout",
    "volume": "networkVolume",
    "datacenter": "datacenter",
    "env": "env",
    "execution_timeout_ms": "executionTimeoutMs",
    "flashboot": "flashboot",
    "image": "imageName",
    "scaler_type": "scalerType",
    "scaler_value": "scalerValue",
}


def _described(name: str, api_key: str | None, python: str | None, given: dict[str, Any]) -> Serverless:
    from ._runpod._live import CpuLiveServerless, LiveServerless  # noqa: PLC0415  (most endpoints have none)

    fields = {_NAMES[key]: given.pop(key) for key in list(given) if key in _NAMES}
    workers = given.pop("workers", None)
    if workers is not None:
        least, most = (0, workers) if isinstance(workers, int) else workers
        fields.update(workersMin=least, workersMax=most)
    gpu, cpu = given.pop("gpu", None), given.pop("cpu", None)
    if gpu is not None and cpu is not None:
        raise ResourceError("an endpoint has gpu or cpu, not both")
    fields.update(api_key=api_key, python_version=python)
    if cpu is None:
        given_gpu = {
            "gpuCount": given.pop("gpu_count", 1),
            "minCudaVersion": given.pop("min_cuda_version", None),
        }
    if given:
        raise ResourceError(f"an endpoint is not described by {', '.join(sorted(given))}")
    if cpu is not None:
        return CpuLiveServerless(name, instanceIds=_all(cpu), **fields)
    return LiveServerless(name, gpus=_all(gpu) if gpu is not None else None, **given_gpu, **fields)


def _all(one_or_more: Any) -> list[Any]:
    return list(one_or_more) if isinstance(one_or_more, (list, tuple)) else [one_or_more]
