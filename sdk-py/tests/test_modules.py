"""Local modules go along once: later calls name them by their content."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_runpod import FakeRunPod
from farcall import Endpoint, remote
from farcall._client import Client
from farcall._local import default

MAIN = """\
from farcall import remote
from local_prices import price

@remote
def total(count): return count * price()
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    # Its content is this test's own, so that no other one has sent it.
    (tmp_path / "local_prices.py").write_text(f"# {tmp_path}\ndef price(): return 3\n")
    (tmp_path / "local_shop.py").write_text(MAIN)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("local_shop")
    for name in ("local_shop", "local_prices"):
        sys.modules.pop(name, None)


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each job that is submitted brings its modules."""
    seen: list[bool] = []
    run = Client.run

    def noted(self: Client, body: dict[str, Any]) -> str:
        seen.append("modules" in body["input"])
        return run(self, body)

    monkeypatch.setattr(Client, "run", noted)
    return seen


def kept_modules() -> Path:
    return default().files().parent.parent.parent / "modules"


def test_modules_are_sent_once(shop: Any, brought: list[bool]) -> None:
    assert [shop.total.remote(1), shop.total.remote(2), shop.total.spawn(3).result()] == [3, 6, 9]
    assert brought == [True, False, False]


def test_modules_that_the_worker_has_lost_are_sent_again(shop: Any, brought: list[bool]) -> None:
    assert shop.total.remote(1) == 3
    shutil.rmtree(kept_modules())
    assert [shop.total.remote(2), shop.total.remote(3)] == [6, 9]
    assert brought == [True, False, True, False]


def test_a_worker_of_the_platform_that_has_not_seen_them_gets_them(
    shop: Any, brought: list[bool], runpod: FakeRunPod
) -> None:
    total = remote(Endpoint(name="shop", cpu="cpu3c-1-2"))(shop.total)
    assert total.remote(1) == 3
    shutil.rmtree(kept_modules())  # as if another worker took the job
    assert [total.remote(2), total.remote(3)] == [6, 9]
    assert brought == [True, False, True, False]
    # Nobody may be there to submit it again.
    assert total.spawn(4).result() == 12
    assert brought[4:] == [True]
