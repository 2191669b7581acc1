"""What is sent of a function: as much of its module as it needs, and nothing that stays here."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from farcall import PythonMismatch, SourceError, remote
from farcall._source import is_current, ship

MODULE = """\
from __future__ import annotations

import json
import os.path as paths

from farcall import remote

from .helper import triple
from . import helper as other

LIMIT = 10
WORDS, UNUSED = ["a", "b"], object()
COMPILED = json.JSONDecoder()


def unused():
    return UNUSED


def inner(x):
    return triple(x) + LIMIT


def uses():
    return secret


@remote(
    dependencies=["numpy"],
)
def outer(x):
    import local_data

    return inner(x), WORDS, COMPILED.decode("1"), other.triple(1), local_data.NAME


if __name__ == "__main__":
    print(outer.remote(1))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    home = tmp_path / "shop"
    home.mkdir()
    (home / "__init__.py").write_text("")
    (home / "helper.py").write_text("import local_data\ndef triple(x): return 3 * x\n")
    (home / "orders.py").write_text(MODULE)
    (tmp_path / "local_data.py").write_text("NAME = 'data'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("shop.orders")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("shop", "local_data")]:
        del sys.modules[name]


def test_a_source_has_what_the_function_needs_on_the_lines_of_its_file(package: Any) -> None:
    shipment = ship(package.outer.__wrapped__)
    lines, original = shipment.code.splitlines(), MODULE.splitlines()
    for number, line in enumerate(lines):
        is_as_it_was = line in ("", original[number])
        assert is_as_it_was or line.startswith(("LIMIT = ", "WORDS = ", "from shop")), (number, line)
    kept = [line for line in lines if line and not line.startswith(" ")]
    assert kept == [
        "from __future__ import annotations",
        "import json",
        "from shop.helper import triple",
        "from shop import helper as other",
        "LIMIT = 10",
        "WORDS = ['a', 'b']",
        "COMPILED = json.JSONDecoder()",
        "def inner(x):",
        "def outer(x):",
    ]
    files = ["farcall/__init__.py", "local_data.py", "shop/__init__.py", "shop/helper.py", "shop/orders.py"]
    assert sorted(shipment.modules) == files
    assert shipment.path == package.__file__


def test_such_a_source_runs(package: Any) -> None:
    assert package.outer.with_options(dependencies=None).remote(2) == (16, ["a", "b"], 1, 3, "data")


def test_data_that_has_changed_is_sent_anew(package: Any) -> None:
    shipment = ship(package.outer.__wrapped__)
    assert is_current(shipment)
    package.LIMIT = 20
    assert not is_current(shipment)
    assert "LIMIT = 20" in ship(package.outer.__wrapped__).code


def test_what_stays_here_is_refused_with_a_sentence(package: Any) -> None:
    package.secret = threading.Lock()
    with pytest.raises(
        SourceError, match="`uses` refers to `secret`, a lock that no statement of `shop"
    ) as caught:
        ship(package.uses)
    assert "hint: make `secret` at module level" in str(caught.value)
    secret = threading.Lock()
    with pytest.raises(SourceError, match=r"<lambda>` cannot be sent: cannot pickle '_thread.lock' object"):
        remote(lambda: secret).remote()


def test_closures_and_lambdas_go_by_value() -> None:
    factor = 3

    def scale(x: int) -> int:
        return x * factor

    assert remote(scale).remote(2) == 6
    factor = 4
    assert remote(scale).remote(2) == 8, "as it is when it is called"
    assert remote(lambda x: x + factor).remote(1) == 5
    assert ship(scale).python == sys.version_info[:2]


def test_byte_code_is_not_sent_to_another_python() -> None:
    from farcall import Endpoint

    other = Endpoint(url="http://127.0.0.1:1", python="3.9")
    with pytest.raises(PythonMismatch, match=r"the worker runs 3.9"):
        remote(other)(lambda: 1).remote()


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


@remote
def move(point: Point) -> Point:
    assert isinstance(point, Point), type(point)
    return Point(point.x + 1)


@remote
def ask(kind: type[Point]) -> bool:
    return kind is Point


def test_classes_of_the_module_are_the_same_on_both_sides() -> None:
    moved = move.remote(Point(1))
    assert type(moved) is Point
    assert moved.x == 2
    assert ask.remote(Point)
