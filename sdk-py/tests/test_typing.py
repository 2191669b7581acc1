"""What mypy says about programs that use the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = str(Path(__file__).parent.parent / "src")
FUNCTIONS = """\
from collections.abc import AsyncIterator, Iterator
from farcall import Local, remote

@remote
def plain(x: int) -> str: return str(x)
@remote(Local(), dependencies=["numpy"])
async def later(x: int) -> bytes: return bytes(x)
@remote
def items(x: int) -> Iterator[float]: yield 1.0

reveal_type(plain.remote(1))           # str
reveal_type(later.remote(1))           # bytes
reveal_type(items.remote(1))           # list[float]
reveal_type(plain.spawn(1).result())   # str
reveal_type(list(plain.map([1, 2])))   # list[str]
plain.remote("x")                      # error: Argument 1
plain.remote()                         # error: Missing positional argument
async def main() -> None:
    reveal_type(await plain(1))             # str
    reveal_type(await later.remote.aio(1))  # bytes
"""
CLASSES = """\
from collections.abc import Iterator
from farcall import Endpoint, remote

@remote(dependencies=["torch"])
class Model:
    def __init__(self, name: str) -> None: self.name = name
    def predict(self, x: int, *, scale: float = 1.0) -> float: return self.half(x) * scale
    def half(self, x: int) -> float: return x / 2
    async def later(self, x: int) -> str: return str(x)
    def items(self) -> Iterator[int]: yield 1
    @classmethod
    def small(cls) -> "Model": return cls("small")

@Endpoint(name="other", cpu="cpu3c-1-2")
class Other:
    def go(self) -> int: return 1

class Plain:
    def __init__(self, a: int) -> None: ...
    def go(self, b: bytes) -> int: return 1

RemotePlain = remote(Plain)
model = Model("small")
reveal_type(model.predict.remote(1, scale=2.0))  # float
reveal_type(model.later.remote(1))               # str
reveal_type(model.items.remote())                # list[int]
reveal_type(Model.local("x").predict(1))         # float
reveal_type(Other().go.remote())                 # int
reveal_type(RemotePlain(1).go.remote(b""))       # int
Model(1)                                         # error: Argument 1 to "Model"
model.predict.remote("x")                        # error: Argument 1
model.predict.remote(1, scal=2.0)                # error: Unexpected keyword argument "scal"
model.nothing                                    # error: "Model" has no attribute "nothing"
RemotePlain("x")                                 # error: Argument 1 to "Plain"
RemotePlain(1).go.remote(1)                      # error: Argument 1
async def main() -> None:
    reveal_type(await model.predict(1))          # float
"""


CASES = [
    pytest.param(FUNCTIONS, "", id="functions"),
    pytest.param(CLASSES, "farcall.mypy_plugin", id="classes"),
]


@pytest.mark.parametrize(("program", "plugins"), CASES)
def test_types_are_those_of_what_is_decorated(program: str, plugins: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = True\nplugins = {plugins}\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "program.py"]
    paths = {"PYTHONPATH": SOURCE, "MYPYPATH": SOURCE}
    ended = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **paths}, capture_output=True, text=True, check=False
    )
    assert ended.stderr == ""
    said: dict[int, str] = {}
    for number, text in re.findall(r"^program.py:(\d+): (.*)$", ended.stdout, re.MULTILINE):
        said.setdefault(int(number), text)  # the first: notes come behind
    for number, line in enumerate(program.splitlines(), start=1):
        wanted, text = line.partition("  # ")[2], said.pop(number, "")
        if wanted.startswith("error"):
            assert wanted in text, ended.stdout
        else:
            assert text == (f'note: Revealed type is "{wanted}"' if wanted else ""), ended.stdout
    assert said == {}, ended.stdout
