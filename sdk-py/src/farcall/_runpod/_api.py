"""RunPod's REST API, as far as endpoints need it."""

from __future__ import annotations

import os
from typing import Any

from .._errors import EndpointError, ResourceError
from .._transport import Transport

_API, _CALLS = "https://rest.runpod.io/v1", "https://api.runpod.ai/v2"


def calls_url() -> str:
    """Where endpoints are called: `RUNPOD_ENDPOINT_BASE_URL`, else RunPod's."""
    return os.environ.get("RUNPOD_ENDPOINT_BASE_URL") or _CALLS


def key_or_hint(given: str | None) -> str:
    """The API key: the one given, else `RUNPOD_API_KEY`."""
    key = given or os.environ.get("RUNPOD_API_KEY")
    if not key:
        raise ResourceError("there is no API key for RunPod\nhint: set RUNPOD_API_KEY, or give api_key")
    return key


class Api:
    """The account that a key belongs to."""

    def __init__(self, api_key: str | None) -> None:
        self._transport = Transport(os.environ.get("RUNPOD_REST_API_URL") or _API, key_or_hint(api_key))

    def list(self, kind: str) -> list[dict[str, Any]]:
        """All `endpoints`, `templates` or `networkvolumes`."""
        found = self._call("GET", f"/{kind}")
        items: list[dict[str, Any]] = found if isinstance(found, list) else found.get(kind, [])
        return items

    def create(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Makes one. Not tried again where it might have been made."""
        created: dict[str, Any] = self._call("POST", f"/{kind}", fields)
        return created

    def update(self, kind: str, identity: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Changes one."""
        updated: dict[str, Any] = self._call("PATCH", f"/{kind}/{identity}", fields)
        return updated

    def delete(self, kind: str, identity: str) -> None:
        """Removes one."""
        self._call("DELETE", f"/{kind}/{identity}")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            return self._transport.call(method, path, body, repeatable=method != "POST")
        except EndpointError as error:
            raise ResourceError(f"RunPod: {method} {path}: {error}") from error
