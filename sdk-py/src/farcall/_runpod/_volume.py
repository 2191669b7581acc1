"""Network volumes: storage that an endpoint's workers share, mounted at `/runpod-volume`."""

from __future__ import annotations

from dataclasses import dataclass

from .._errors import ResourceError
from ._api import Api
from ._hardware import DataCenter


@dataclass
class NetworkVolume:
    """A volume, known by its `id` or its `name`; `size` is in GB. One that is not there is made."""

    name: str | None = None
    size: int = 100
    datacenter: DataCenter | str = DataCenter.EU_RO_1
    id: str | None = None

    def __post_init__(self) -> None:
        if self.id is None and not (self.name or "").strip():
            raise ResourceError("a NetworkVolume has an id or a name")
        if not 10 <= self.size <= 4096:  # RunPod's limits
            raise ResourceError(f"a NetworkVolume has 10 to 4096 GB, not {self.size}")

    def found(self, api: Api) -> str | None:
        """Its id, if it is there."""
        if self.id is None:
            same = [v for v in api.list("networkvolumes") if v.get("name") == self.name]
            self.id = same[0]["id"] if same else None
        return self.id

    def made(self, api: Api) -> str:
        """Its id; made if it is not there."""
        known = self.found(api)
        if known is not None:
            return known
        place = DataCenter(self.datacenter).value
        created = api.create("networkvolumes", {"name": self.name, "size": self.size, "dataCenterId": place})
        self.id = str(created["id"])
        return self.id
