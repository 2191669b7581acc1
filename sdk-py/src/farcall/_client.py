"""An endpoint's jobs: RunPod's API, and the events of ours where it has them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any

from ._errors import EndpointError
from ._transport import Transport

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})

# Between two looks at a job of an endpoint without events, in seconds.
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.05, 2.0
# A stream of events that breaks is taken up again where it was.
_MOST_BREAKS = 10


class Client:
    """One endpoint."""

    def __init__(self, base_url: str, endpoint: str, api_key: str | None) -> None:
        self._transport = Transport(base_url, api_key)
        self._root = f"/{endpoint}"
        self.name = f"{self._transport.name}, endpoint {endpoint}"
        self._has_events = True
        # Digests of the local modules that calls have brought there: they need not be sent again.
        self.modules: set[str] = set()

    def run(self, body: dict[str, Any]) -> str:
        """Submits a job. Returns its id."""
        answer = self._transport.call("POST", f"{self._root}/run", body)
        return str(answer["id"])

    @property
    def refuses_early(self) -> bool:
        """Whether a job is refused as it is submitted, and not when it runs, if its modules are not there."""
        return self._has_events

    def status(self, job: str) -> dict[str, Any]:
        """The job's document."""
        answer: dict[str, Any] = self._transport.call("GET", f"{self._root}/status/{job}")
        return answer

    def cancel(self, job: str) -> None:
        """Ends the job."""
        self._transport.call("POST", f"{self._root}/cancel/{job}", repeatable=True)

    def health(self) -> dict[str, Any]:
        """Workers and jobs, counted."""
        answer: dict[str, Any] = self._transport.call("GET", f"{self._root}/health")
        return answer

    def python(self) -> str | None:
        """The version of the Python that runs there; `None` where the endpoint does not say."""
        try:
            answer: dict[str, Any] = self._transport.call("GET", f"{self._root}/worker")
        except EndpointError as error:
            if error.status is None:
                raise
            return None
        return answer.get("python")

    def follow(self, job: str, *, streams: bool = False) -> Iterator[tuple[str, Any]]:
        """What happens to a job, to its end: `output`, `chunk`, `progress`, and `status` with its document.

        An endpoint that is not ours tells its status alone, and chunks if `streams`.
        """
        if self._has_events:
            try:
                yield from self._events(job)
                return
            except EndpointError as error:
                if error.status not in (404, 405):
                    raise
                self._has_events = False
        yield from self._looks(job, streams)

    def _events(self, job: str) -> Iterator[tuple[str, Any]]:
        place: str | None = None
        for attempt in range(_MOST_BREAKS):
            try:
                for event in self._transport.events(f"{self._root}/events/{job}", place):
                    place = event.id or place
                    data = json.loads(event.data)
                    yield event.name, data
                    if event.name == "status" and data["status"] in FINAL:
                        return
            except (OSError, HTTPException) as error:
                if attempt == _MOST_BREAKS - 1:
                    raise EndpointError(f"{self.name} cannot be reached: {error}") from error
            time.sleep(0.1 * attempt)
        raise EndpointError(f"{self.name}: the events of job {job} end before it does")

    def _looks(self, job: str, streams: bool) -> Iterator[tuple[str, Any]]:
        pause = _FIRST_LOOK_S
        while True:
            if streams:
                news = self._transport.call("GET", f"{self._root}/stream/{job}")
                for chunk in news.get("stream") or []:
                    yield "chunk", chunk["output"]
            document = self.status(job)
            yield "status", document
            if document["status"] in FINAL:
                return
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK_S)
