"""What a case is, and what it may expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .engine import Engine, Failed
from .images import Images


@dataclass(frozen=True)
class Setting:
    """What every case gets."""

    engine: Engine
    images: Images


class Skipped(Exception):
    """A case that cannot be tried here. Its text is why."""


Run = Callable[[Setting], str | None]

CASES: dict[str, Run] = {}


def case(name: str) -> Callable[[Run], Run]:
    """Registers a case under a name that states a fact. What it returns is shown beside it."""

    def register(run: Run) -> Run:
        CASES[name] = run
        return run

    return register


def expect(condition: object, found: Any) -> None:
    """Fails the case with what was found instead."""
    if not condition:
        raise Failed(str(found))


def result(response: dict[str, Any]) -> Any:
    """The JSON result of a call that must have succeeded."""
    expect(response["success"], response)
    return response["json_result"]


def error(response: dict[str, Any]) -> str:
    """The error of a call that must have failed."""
    expect(not response["success"], response)
    return str(response["error"])
