"""How a call is made: what `with_options` changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Options(NamedTuple):
    """Options of a call. Times are in seconds.

    `timeout` bounds the running of the call, `ttl` its life, waiting included; `None` leaves both to the
    endpoint. `retries` is how often a failed call is made again: leave it at 0 for what must not happen
    twice. `webhook` is a URL that gets the job's document at its end. `output` says whether what it prints
    is shown here.
    """

    dependencies: Sequence[str] | None = None
    system_dependencies: Sequence[str] | None = None
    accelerate_downloads: bool = True
    timeout: float | None = None
    ttl: float | None = None
    retries: int = 0
    webhook: str | None = None
    low_priority: bool = False
    output: bool = True

    def envelope(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The body of `run` for a request."""
        policy: dict[str, Any] = {}
        if self.timeout is not None:
            policy["executionTimeout"] = max(1, round(self.timeout * 1000))
        if self.ttl is not None:
            policy["ttl"] = max(1, round(self.ttl * 1000))
        if self.low_priority:
            policy["lowPriority"] = True
        body: dict[str, Any] = {"input": payload}
        if policy:
            body["policy"] = policy
        if self.webhook:
            body["webhook"] = self.webhook
        return body

    def needs(self) -> dict[str, Any]:
        """The fields of a request that say what it needs."""
        fields: dict[str, Any] = {"accelerate_downloads": self.accelerate_downloads}
        if self.dependencies:
            fields["dependencies"] = list(self.dependencies)
        if self.system_dependencies:
            fields["system_dependencies"] = list(self.system_dependencies)
        return fields
