"""The top-level statements of a file: which names each binds, and which it reads."""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

_READS = {"LOAD_GLOBAL", "LOAD_NAME"}
_BINDS = {"STORE_NAME", "STORE_GLOBAL", "DELETE_NAME"}


@dataclass(frozen=True)
class Statement:
    """A top-level statement; lines count from 1, the last one is included."""

    node: ast.stmt
    first: int
    last: int
    binds: frozenset[str]
    reads: frozenset[str]
    # Runs only in a program of its own: `if __name__ == "__main__":`
    is_main_guard: bool

    @property
    def is_import(self) -> bool:
        """Whether all it does is to import."""
        return isinstance(self.node, (ast.Import, ast.ImportFrom))


def statements(text: str, path: str, is_farcall: object = None) -> list[Statement]:
    """The statements of a module. Decorators for which `is_farcall` is true count as absent."""
    return [_statement(node, path, is_farcall) for node in ast.parse(text, path).body]


def _statement(node: ast.stmt, path: str, is_farcall: object) -> Statement:
    first = node.lineno
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        first = min([first, *(decorator.lineno for decorator in node.decorator_list)])
        if callable(is_farcall):
            node.decorator_list = [d for d in node.decorator_list if not is_farcall(d)]
    code = compile(ast.Module([node], []), path, "exec", dont_inherit=True)
    return Statement(
        node=node,
        first=first,
        last=node.end_lineno or node.lineno,
        binds=frozenset(names(code, _BINDS, deep=False)),
        reads=frozenset(names(code, _READS, deep=True)),
        is_main_guard=_is_main_guard(node),
    )


def names(code: CodeType, operations: set[str], *, deep: bool) -> Iterator[str]:
    """The names that `code` has such operations on; with those inside it if `deep`."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in operations:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if deep:
                yield from names(constant, operations, deep=True)
            else:  # `global` inside a function binds, too
                yield from names(constant, {"STORE_GLOBAL"} & operations, deep=False)


def _is_main_guard(node: ast.stmt) -> bool:
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    sides = [node.test.left, *node.test.comparators]
    return any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides)
