#!/usr/bin/env python3
"""Writes the request files of this directory from the sources in `src`.

A request holds Python source and base64 in JSON, which nobody wants to edit. `make.py` writes the files,
`make.py --check` says which of them are not what it would write (a part of `make check`).
"""

from __future__ import annotations

import abc
import base64
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle

DIRECTORY = Path(__file__).parent

# The protocol every Python since 3.8 reads, and one whose bytes do not depend on the version that writes.
PICKLE_PROTOCOL = 5

TEXT = "the quick brown fox jumps over the lazy dog while the quick cat sleeps"


@dataclass(frozen=True, kw_only=True)
class Example(abc.ABC):
    """One request file. `name` orders the run; `encoding` is the wire's `serialization_format`."""

    name: str
    source: str
    args: Sequence[object] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    encoding: str = "cloudpickle"
    expect: Mapping[str, object]

    @abc.abstractmethod
    def target(self, code: str) -> dict[str, object]:
        """The fields that say what to call."""

    def encode(self, value: object) -> object:
        """An argument as it travels: itself in JSON, else base64 of its cloudpickle."""
        if self.encoding == "json":
            return value
        return base64.b64encode(cloudpickle.dumps(value, protocol=PICKLE_PROTOCOL)).decode("ascii")

    def request(self) -> str:
        """The file's text."""
        document = {
            **self.target((DIRECTORY / "src" / self.source).read_text(encoding="utf-8")),
            "args": [self.encode(value) for value in self.args],
            "kwargs": {name: self.encode(value) for name, value in self.kwargs.items()},
            "serialization_format": self.encoding,
            "expect": self.expect,
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, kw_only=True)
class FunctionExample(Example):
    """Calls a function."""

    function: str
    dependencies: Sequence[str] = ()

    def target(self, code: str) -> dict[str, object]:
        target: dict[str, object] = {"function_name": self.function, "function_code": code}
        return target | ({"dependencies": list(self.dependencies)} if self.dependencies else {})


@dataclass(frozen=True, kw_only=True)
class MethodExample(Example):
    """Calls a method of an instance that is made by the first request that names it."""

    class_name: str
    constructor_args: Sequence[object] = ()
    instance: str
    method: str

    def target(self, code: str) -> dict[str, object]:
        return {
            "execution_type": "class",
            "class_name": self.class_name,
            "class_code": code,
            "constructor_args": [self.encode(value) for value in self.constructor_args],
            "instance_id": self.instance,
            "create_new_instance": False,
            "method_name": self.method,
        }


def running_mean(
    *, name: str, method: str, args: Sequence[object] = (), expect: Mapping[str, object]
) -> Example:
    """A call of the one instance that three of the examples share."""
    return MethodExample(
        name=name,
        source="running_mean.py",
        class_name="RunningMean",
        constructor_args=["latency"],
        instance="latency-mean",
        method=method,
        args=args,
        expect=expect,
    )


EXAMPLES: list[Example] = [
    FunctionExample(
        name="01-function",
        source="word_count.py",
        function="most_common_words",
        encoding="json",
        args=[TEXT],
        kwargs={"limit": 2},
        expect={"result": {"the": 3, "quick": 2}},
    ),
    FunctionExample(
        name="02-output",
        source="progress.py",
        function="resize",
        args=[["cat.png", "notes.txt", "dog.jpg"]],
        kwargs={"width": 640},
        expect={
            "result": {"width": 640, "resized": 2},
            "stdout": "resizing 3 images to 640 px\n  1/3 cat.png\nWARNING notes.txt is no image, left out\n"
            "  3/3 dog.jpg\ndone\n",
        },
    ),
    FunctionExample(
        name="03-async-function",
        source="fan_out.py",
        function="ask_all",
        encoding="json",
        args=[["llama", "whisper", "flux"]],
        expect={"result": ["llama is ready", "whisper is ready", "flux is ready"]},
    ),
    running_mean(
        name="04-class-first-call",
        method="add",
        args=[12.0, 18.0],
        expect={"result": 15.0, "stdout": "making latency\n", "instance_info": {"method_calls": 1}},
    ),
    running_mean(
        name="05-class-second-call",
        method="add",
        args=[30.0],
        expect={"result": 20.0, "stdout": "", "instance_info": {"method_calls": 2}},
    ),
    running_mean(
        name="06-class-report",
        method="report",
        expect={
            "result": {"name": "latency", "count": 3, "mean": 20.0},
            "instance_info": {"class_name": "RunningMean", "method_calls": 3},
        },
    ),
    FunctionExample(
        name="07-generator",
        source="chunks.py",
        function="chunks",
        args=[TEXT],
        kwargs={"size": 24},
        expect={
            "result": ["the quick brown fox", "jumps over the lazy dog", "while the quick cat", "sleeps"]
        },
    ),
    FunctionExample(
        name="08-exception",
        source="checkout.py",
        function="reserve",
        args=["sofa", 1],
        expect={
            "success": False,
            "error_contains": ["there is no 'sofa' here", "left = STOCK[item] - amount", "direct cause"],
            "stdout_contains": "reserving 1 x sofa",
        },
    ),
    FunctionExample(
        name="09-dependencies",
        source="humane.py",
        function="describe",
        dependencies=["cloudpickle", "humanize==4.12.3"],
        encoding="json",
        args=[{"model.safetensors": 4_900_000_000, "tokenizer.json": 17_000}],
        expect={"result": ["model.safetensors: 4.9 GB", "tokenizer.json: 17.0 kB"]},
    ),
]


def main(arguments: Sequence[str]) -> int:
    """Writes or checks the files; returns the exit code."""
    wanted = {f"{example.name}.json": example.request() for example in EXAMPLES}
    present = {path.name: path.read_text(encoding="utf-8") for path in DIRECTORY.glob("*.json")}
    stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if list(arguments) == ["--check"]:
        for name in stale:
            print(f"examples/{name} is not what examples/make.py writes", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        if name in wanted:
            (DIRECTORY / name).write_text(wanted[name], encoding="utf-8")
        else:
            (DIRECTORY / name).unlink()
        print(f"{'wrote' if name in wanted else 'removed'} examples/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
