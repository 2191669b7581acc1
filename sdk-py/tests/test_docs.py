"""What the documents say is so: every snippet runs, and prints what stands below it.

`FARCALL_UPDATE_DOCS=1` writes the reference anew.
"""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any

import farcall
import pytest
from fake_runpod import FakeRunPod

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs/sdk"
REFERENCE = DOCS / "reference.md"
BLOCKS = re.compile(r"```python\n(.*?)```(?:\n\n(?:and run it:\n\n)?```text\n(.*?)```)?", re.DOTALL)


def snippets() -> list[Any]:
    found = []
    for page in [*sorted(DOCS.glob("*.md")), ROOT / "sdk-py/README.md"]:
        for number, block in enumerate(BLOCKS.finditer(page.read_text()), start=1):
            found.append(pytest.param(block[1], block[2], id=f"{page.stem}-{number}"))
    return found


@pytest.mark.parametrize(("code", "output"), snippets())
def test_a_snippet_runs(code: str, output: str | None, program: Any, runpod: FakeRunPod) -> None:
    ended, printed, errors = program(code)
    assert ended == 0, errors
    assert errors == ""
    if output is not None:
        assert printed == output


# What resources and handles say to each other.
INTERNAL = {"begin", "brings", "check_python", "client", "files", "forget", "submit", "version"}


def reference() -> str:
    lines = [
        "# Reference",
        "",
        "<!-- Made from docstrings: FARCALL_UPDATE_DOCS=1 make test-sdk. Do not edit. -->",
    ]
    for name in farcall.__all__:
        value = getattr(farcall, name)
        lines += ["", f"## {name}", "", *_described(name, value)]
        if (
            not inspect.isclass(value)
            or issubclass(value, (BaseException, tuple))
            or hasattr(value, "__members__")
        ):
            continue
        for member, function in _methods(value):
            lines += ["", f"### {name}.{member}", "", *_described(member, function)]
    return "\n".join(lines) + "\n"


def _described(name: str, value: Any) -> list[str]:
    if isinstance(value, property):
        return [inspect.getdoc(value) or ""]
    bases = [base.__name__ for base in getattr(value, "__bases__", ()) if base.__module__ == "farcall"]
    if hasattr(value, "__members__"):
        head = [f"One of {', '.join(f'`{member}`' for member in value.__members__)}.", ""]
    elif bases:
        head = [f"A `{'`, `'.join(bases)}`.", ""]
    elif inspect.isclass(value) and issubclass(value, BaseException):
        head = []
    else:
        signature = str(inspect.signature(value)).replace("self, ", "").replace("(self)", "()")
        head = ["```text", f"{name}{_readable(signature)}", "```", ""]
    return [*head, inspect.getdoc(value) or ""]


def _readable(signature: str) -> str:
    return signature.replace("'", "").replace("farcall._", "")


def _methods(cls: type) -> list[tuple[str, Any]]:
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("farcall"):
            members.update(vars(base))
    kinds = (property, type(lambda: None))
    shown = {name: value for name, value in members.items() if name[0] != "_" and name not in INTERNAL}
    return [(name, value) for name, value in shown.items() if isinstance(value, kinds) and value.__doc__]


def test_the_reference_is_up_to_date() -> None:
    text = reference()
    if os.environ.get("FARCALL_UPDATE_DOCS"):
        REFERENCE.write_text(text)
    assert REFERENCE.read_text() == text, "FARCALL_UPDATE_DOCS=1 writes it anew"
