"""A function as source: the part of its module that it needs.

Of the module's top-level statements those are kept that the function reads, directly or through others,
each on the line it has in the file. What is plain data is written as it is now; everything else (classes,
functions, imports, a loaded model) is made by its own statement, on the worker.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .._errors import SourceError
from ._modules import Modules
from ._statements import Statement, statements

# Longer data is made by its statement: the source would not be readable any more.
_LONGEST_LITERAL = 10_000
_PLAIN = (int, float, complex, bool, str, bytes, type(None))
_MOST_MEMBERS = 1000
# The module of `from .module import name`, with the `from`.
_RELATIVE = re.compile(r"from\s+\.[.\s]*?(?:(?!import\b)\w[\w.]*)?(?=\s)")


class Unsliceable(Exception):
    """There is no source to take a part of."""


@dataclass(frozen=True)
class Sliced:
    """A part of a module: its text, the local modules it imports, and the data written into it."""

    code: str
    modules: dict[str, str]
    literals: dict[str, str]


def sliced(target: Any, module: ModuleType, path: str) -> Sliced:
    """The source for `target`, a function or class of `module`."""
    lines = linecache.getlines(path, module.__dict__)
    if not lines:
        raise Unsliceable
    part = _Slice(module, path, lines)
    if not any(target.__name__ in statement.binds for statement in part.statements):
        raise Unsliceable
    part.include(target.__name__, target.__name__)
    modules = Modules(module)
    modules.add_imports_of([part.statements[index].node for index in part.kept])
    literals = {name: text for values in part.literals.values() for name, text in values.items()}
    return Sliced(part.text(), modules.files, literals)


class _Slice:
    def __init__(self, module: ModuleType, path: str, lines: list[str]) -> None:
        self.module, self.lines = module, lines
        self.decorators: list[ast.expr] = []
        self.statements = statements("".join(lines), path, self._is_farcall)
        self.kept: dict[int, None] = {}
        self.literals: dict[int, dict[str, str]] = {}
        self.seen: set[str] = set()
        for index, statement in enumerate(self.statements):
            if isinstance(statement.node, ast.ImportFrom) and statement.node.module == "__future__":
                self.kept[index] = None

    def _is_farcall(self, decorator: ast.expr) -> bool:
        """Whether it is our decorator: the worker gets the plain function."""
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        value: Any = self.module
        for name in ast.unparse(called).split("."):
            value = getattr(value, name, None)
        is_ours = getattr(value, "__farcall_decorator__", False) is True
        if is_ours:
            self.decorators.append(decorator)
        return is_ours

    def include(self, name: str, user: str) -> None:
        """Keeps what binds `name`, which `user` reads."""
        if name in self.seen:
            return
        self.seen.add(name)
        found = [i for i, s in enumerate(self.statements) if name in s.binds and not s.is_main_guard]
        namespace = vars(self.module)
        if name not in namespace:
            self._keep(found, name)
            return
        value = namespace[name]
        if name.startswith("__") and name.endswith("__") and not found:
            return  # __name__, __file__ and the like are the module's own there, too
        is_data = not any(self.statements[i].is_import for i in found)
        literal = as_literal(value) if is_data else None
        if literal is not None:
            self.literals.setdefault(found[0] if found else 0, {})[name] = literal
        elif found:
            self._keep(found, name)
        elif isinstance(value, ModuleType):
            self.literals.setdefault(0, {})[name] = (
                f"__import__('importlib').import_module({value.__name__!r})"
            )
        elif getattr(builtins, name, None) is not value:
            raise SourceError(
                f"`{user}` refers to `{name}`, a {type(value).__name__} that no statement of "
                f"`{self.module.__name__}` makes where a worker would run it\n"
                f"hint: make `{name}` at module level, or pass it as an argument"
            )

    def _keep(self, found: list[int], user: str) -> None:
        for index in found:
            if index in self.kept:
                continue
            self.kept[index] = None
            for name in sorted(self.statements[index].reads):
                self.include(name, user)

    def text(self) -> str:
        """The kept statements on their lines."""
        lines = [""] * (len(self.lines) + 1)
        for index in sorted(self.kept):
            statement = self.statements[index]
            for number in range(statement.first, statement.last + 1):
                lines[number - 1] = self.lines[number - 1].rstrip("\n")
            self._absolute(statement, lines)
        for decorator in self.decorators:
            for number in range(decorator.lineno, (decorator.end_lineno or decorator.lineno) + 1):
                lines[number - 1] = ""
        self._write_literals(lines)
        return "\n".join(lines).rstrip() + "\n"

    def _write_literals(self, lines: list[str]) -> None:
        """Each where it is bound in the file, or in the next line that nothing is kept on."""
        kept = [self.statements[index] for index in self.kept]
        taken = {number for statement in kept for number in range(statement.first - 1, statement.last)}
        for index, values in self.literals.items():
            # A statement that is kept for another name binds this one, too.
            bound = self.statements[index].binds if index in self.kept else frozenset()
            assigned = "; ".join(f"{name} = {value}" for name, value in values.items() if name not in bound)
            at = self.statements[index].first - 1
            while at in taken:
                at += 1
            if assigned:
                lines.extend([""] * (at + 1 - len(lines)))
                lines[at] = f"{lines[at]}; {assigned}" if lines[at] else assigned

    def _absolute(self, statement: Statement, lines: list[str]) -> None:
        """Names modules in full: the source is part of no package there."""
        for node in ast.walk(statement.node):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = (self.module.__package__ or "").split(".")
                base = base[: len(base) - node.level + 1]
                full = ".".join([*base, *([node.module] if node.module else [])])
                line = lines[node.lineno - 1]
                lines[node.lineno - 1] = _RELATIVE.sub(f"from {full}", line, count=1)


def as_literal(value: Any) -> str | None:
    """Plain data as Python writes it, or `None`."""
    if not _is_plain(value, [_MOST_MEMBERS]):
        return None
    text = repr(value)
    return text if len(text) <= _LONGEST_LITERAL and "nan" not in text and "inf" not in text else None


def _is_plain(value: Any, budget: list[int]) -> bool:
    budget[0] -= 1
    if budget[0] < 0:
        return False
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind in (list, tuple):
        return all(_is_plain(member, budget) for member in value)
    if kind is set:
        return bool(value) and all(_is_plain(member, budget) for member in value)
    if kind is dict:
        return all(_is_plain(k, budget) and _is_plain(v, budget) for k, v in value.items())
    return False
