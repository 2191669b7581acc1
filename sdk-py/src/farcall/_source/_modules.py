"""Local modules: what the code imports that no worker can install."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from .._errors import SourceError

# What runpod-flash's workers take, code included.
_MOST_BYTES = 8 << 20
_OURS = "farcall"


class Modules:
    """The files that go along with a source."""

    def __init__(self, home: ModuleType | None = None) -> None:
        self.files: dict[str, str] = {}
        self._package = (home.__package__ or "") if home else ""
        self._seen: set[str] = set()
        self._bytes = 0

    def add_imports_of(self, nodes: Iterable[ast.AST], package: str | None = None) -> None:
        """Ships the local modules that `nodes` import, and what those import."""
        for node in nodes:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import):
                    for alias in inner.names:
                        self._add(alias.name.partition(".")[0])
                elif isinstance(inner, ast.ImportFrom):
                    base = (package if package is not None else self._package).partition(".")[0]
                    self._add(base if inner.level else (inner.module or "").partition(".")[0])

    def add(self, name: str) -> None:
        """Ships the top-level module `name`, if it is a local one."""
        self._add(name)

    def _add(self, name: str) -> None:
        if not name or name in self._seen:
            return
        self._seen.add(name)
        if name == _OURS:
            self.files["farcall/__init__.py"] = _stand_in()
            return
        path = local_file(name)
        if path is None:
            return
        if path.name != "__init__.py":
            self._put(path, f"{name}.py", "")
            return
        for file in sorted(path.parent.rglob("*.py")):
            relative = file.relative_to(path.parent.parent)
            if not any(part.startswith(".") or part == "__pycache__" for part in relative.parts):
                self._put(file, relative.as_posix(), name)

    def _put(self, file: Path, name: str, package: str) -> None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"the local module `{file}` cannot be read: {error}") from error
        self._bytes += len(text)
        if self._bytes > _MOST_BYTES:
            raise SourceError(
                f"the local modules that the code imports are over {_MOST_BYTES >> 20} MiB, with `{file}`\n"
                "hint: install what is large as a package, by `dependencies`"
            )
        self.files[name] = text
        try:
            self.add_imports_of([ast.parse(text, str(file))], package)
        except SyntaxError:
            return  # the worker says so when it is imported


def digest_of(files: dict[str, str]) -> str:
    """The name that a worker knows these files by (docs/requests.md)."""
    digest = hashlib.sha256()
    for path in sorted(files):
        for text in (path, files[path]):
            data = text.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
    return digest.hexdigest()


def local_file(name: str) -> Path | None:
    """The file of a top-level module that is part of neither Python nor an installed package."""
    if name in sys.stdlib_module_names:
        return None
    known = sys.modules.get(name)
    origin = getattr(known, "__file__", None)
    if known is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
        origin = spec.origin if spec else None
    if not origin or not origin.endswith(".py"):
        return None
    path = Path(origin).resolve()
    installed = {"site-packages", "dist-packages"}
    if installed.intersection(path.parts) or any(path.is_relative_to(root) for root in _roots()):
        return None
    return path


@lru_cache(maxsize=1)
def _roots() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple(Path(paths[kind]).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib"))


def _stand_in() -> str:
    return Path(__file__).with_name("_stand_in.py").read_text(encoding="utf-8")
