"""Endpoints that run whatever function comes: made from a description, changed when that changes.

    described ──plan()──▶ what is there ──▶ Plan: create, update, or nothing ──apply──▶ id

A hash of the description is kept with the endpoint, in its template's environment: whichever process
describes the same endpoint finds it as it should be and changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._client import Client
from .._errors import ResourceError
from .._resource import Resource
from ._api import Api, calls_url, key_or_hint
from ._hardware import CpuInstanceType, DataCenter, GpuGroup, GpuType
from ._volume import NetworkVolume

# Built from `docker/`; `FARCALL_IMAGE` names another one.
_IMAGES = {"CPU": "farcall/worker:py{python}", "GPU": "farcall/worker:py{python}-gpu"}
_HASH = "FARCALL_CONFIG"
# What RunPod adds to the names of endpoints with FlashBoot.
_FLASHBOOT_SUFFIX = " -fb"


@dataclass(frozen=True)
class Plan:
    """What has to be done for an endpoint to be as it is described."""

    action: str
    name: str
    id: str | None = None
    # Field to (as it is, as it will be).
    changes: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        head = f"{self.action} endpoint `{self.name}`" + (f" ({self.id})" if self.id else "")
        return "\n".join([head, *(f"  {k}: {a!r} -> {b!r}" for k, (a, b) in sorted(self.changes.items()))])


class Serverless(Resource):
    """What GPU and CPU endpoints have in common."""

    _compute: str

    def __init__(
        self,
        name: str,
        *,
        workersMin: int = 0,
        workersMax: int = 3,
        idleTimeout: int = 60,
        executionTimeoutMs: int = 0,
        scalerType: str = "QUEUE_DELAY",
        scalerValue: int = 4,
        imageName: str | None = None,
        env: Mapping[str, str] | None = None,
        networkVolume: NetworkVolume | None = None,
        datacenter: DataCenter | str | Sequence[DataCenter | str] | None = None,
        flashboot: bool = True,
        python_version: str | None = None,
        containerDiskInGb: int = 20,
        api_key: str | None = None,
    ) -> None:
        super().__init__()
        if not name.strip():
            raise ResourceError("an endpoint has a name")
        if not 0 <= workersMin <= workersMax:
            raise ResourceError(f"workersMin={workersMin} and workersMax={workersMax} contradict each other")
        here = f"{sys.version_info[0]}.{sys.version_info[1]}"
        self.name, self._api_key, self._volume = name, api_key, networkVolume
        self._python_version = python_version or here
        own = _IMAGES[self._compute].format(python=self._python_version)
        image = imageName or os.environ.get("FARCALL_IMAGE") or own
        self._env = dict(env or {})
        self._template: dict[str, Any] = {
            "imageName": image,
            "containerDiskInGb": containerDiskInGb,
            "isServerless": True,
            "category": "CPU" if self._compute == "CPU" else "NVIDIA",
        }
        places = [datacenter] if isinstance(datacenter, (str, DataCenter)) else list(datacenter or [])
        self._fields: dict[str, Any] = {
            "workersMin": workersMin,
            "workersMax": workersMax,
            "idleTimeout": idleTimeout,
            "executionTimeoutMs": executionTimeoutMs,
            "scalerType": scalerType,
            "scalerValue": scalerValue,
            "flashboot": flashboot,
        }
        if places:
            self._fields["dataCenterIds"] = [DataCenter(place).value for place in places]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"

    def plan(self) -> Plan:
        """What the first call would do to the account. Changes nothing."""
        return self._plan(Api(self._api_key))[0]

    def deploy(self) -> str:
        """Makes or changes the endpoint now, instead of at the first call. Returns its id."""
        api = Api(self._api_key)
        plan, found = self._plan(api)
        if plan.action == "keep":
            return str(plan.id)
        fields = dict(self._fields)
        if self._volume:
            fields["networkVolumeId"] = self._volume.made(api)
        env = {**self._env, _HASH: self._hash()}
        if found is None:
            # A template's name is the account's: one that an attempt before has left is used.
            template = self._make_template(
                api, {**self._template, "name": f"{self.name}-farcall", "env": env}
            )
            created = api.create(
                "endpoints",
                {"name": self.name, "templateId": template, "computeType": self._compute, **fields},
            )
            return str(created["id"])
        # The template last: it bears the mark that says that all is done.
        api.update("endpoints", str(plan.id), fields)
        api.update(
            "templates", str(found["templateId"]), {"imageName": self._template["imageName"], "env": env}
        )
        return str(plan.id)

    def delete(self) -> None:
        """Removes the endpoint, if it is there."""
        api = Api(self._api_key)
        _, found = self._plan(api)
        self.forget()
        if found is not None:
            api.delete("endpoints", str(found["id"]))

    def _make_template(self, api: Api, fields: dict[str, Any]) -> str:
        left = [t for t in api.list("templates") if t.get("name") == fields["name"]]
        if left:
            api.update(
                "templates", str(left[0]["id"]), {"imageName": fields["imageName"], "env": fields["env"]}
            )
            return str(left[0]["id"])
        return str(api.create("templates", fields)["id"])

    def _plan(self, api: Api) -> tuple[Plan, dict[str, Any] | None]:
        names = {self.name, self.name + _FLASHBOOT_SUFFIX}
        same = [e for e in api.list("endpoints") if e.get("name") in names]
        if len(same) > 1:
            ids = ", ".join(str(e["id"]) for e in same)
            raise ResourceError(
                f"there are {len(same)} endpoints `{self.name}`: {ids}\nhint: use Endpoint(id=...)"
            )
        described = {**self._fields, "imageName": self._template["imageName"]}
        if not same:
            return Plan("create", self.name, None, {k: (None, v) for k, v in described.items()}), None
        found = same[0]
        template = next((t for t in api.list("templates") if t["id"] == found.get("templateId")), {})
        if (template.get("env") or {}).get(_HASH) == self._hash():
            return Plan("keep", self.name, str(found["id"])), found
        there = {**found, "imageName": template.get("imageName")}
        changes = {k: (there.get(k), v) for k, v in described.items() if there.get(k) != v}
        old_env = {k: v for k, v in (template.get("env") or {}).items() if k != _HASH}
        if old_env != self._env:  # names only: values are often secrets
            changes["env"] = (sorted(old_env), sorted(self._env))
        return Plan("update", self.name, str(found["id"]), changes), found

    def _hash(self) -> str:
        volume = self._volume and [self._volume.id, self._volume.name]
        described = [self._compute, self._template, self._fields, sorted(self._env.items()), volume]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]

    def _python(self) -> tuple[int, int]:
        return self.version()

    def version(self) -> tuple[int, int]:
        """The minor version of the workers' Python."""
        major, minor = self._python_version.split(".")[:2]
        return int(major), int(minor)

    def _connect(self) -> Client:
        return Client(calls_url(), self.deploy(), key_or_hint(self._api_key))


class LiveServerless(Serverless):
    """A GPU endpoint on RunPod. Names and defaults are runpod-flash's.

    `gpus` are groups or models, `gpuCount` how many of them a worker has, `minCudaVersion` what its driver
    must know. Everything else: `workersMin`, `workersMax`, `idleTimeout` (s), `executionTimeoutMs` (0: no
    limit), `scalerType`, `scalerValue`, `imageName`, `env`, `networkVolume`, `datacenter`, `flashboot`,
    `python_version` (this one's), `containerDiskInGb`, `api_key` (`RUNPOD_API_KEY`).
    """

    _compute = "GPU"

    def __init__(
        self,
        name: str,
        *,
        gpus: Sequence[GpuGroup | GpuType] | None = None,
        gpuCount: int = 1,
        minCudaVersion: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        models: list[GpuType] = []
        for gpu in gpus or [GpuGroup.ANY]:
            models += GpuGroup.ANY.types() if gpu == GpuType.ANY else _models(gpu)
        self._fields["gpuTypeIds"] = list(dict.fromkeys(model.value for model in models))
        self._fields["gpuCount"] = gpuCount
        if minCudaVersion:
            self._fields["minCudaVersion"] = str(getattr(minCudaVersion, "value", minCudaVersion))


class CpuLiveServerless(Serverless):
    """A CPU endpoint on RunPod: `instanceIds` are kinds of machines, the rest is as in `LiveServerless`."""

    _compute = "CPU"

    def __init__(
        self, name: str, *, instanceIds: Sequence[CpuInstanceType | str] | None = None, **options: Any
    ) -> None:
        super().__init__(name, **options)
        kinds = [CpuInstanceType(kind) for kind in instanceIds or [CpuInstanceType.CPU3G_2_8]]
        counts = {kind.processors for kind in kinds}
        if len(counts) > 1:
            raise ResourceError(
                f"instanceIds have {sorted(counts)} processors\nhint: choose kinds with the same number"
            )
        self._fields["cpuFlavorIds"] = list(dict.fromkeys(kind.flavor for kind in kinds))
        self._fields["vcpuCount"] = counts.pop()


def _models(gpu: GpuGroup | GpuType) -> list[GpuType]:
    return gpu.types() if isinstance(gpu, GpuGroup) else [GpuType(gpu)]
