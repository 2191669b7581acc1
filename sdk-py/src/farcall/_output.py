"""What calls print, as it arrives: plain in pipes, behind the function's name on a terminal."""

from __future__ import annotations

import sys
import threading

_lock = threading.Lock()


class Printer:
    """Shows one call's output."""

    def __init__(self, name: str, *, is_on: bool) -> None:
        self._name, self._is_on = name, is_on
        self._unfinished = ""
        self.has_shown = False

    def show(self, text: str) -> None:
        """Prints what has arrived; on a terminal, whole lines."""
        self.has_shown = self.has_shown or bool(text)
        if not self._is_on or not text:
            return
        if not _is_terminal():
            with _lock:
                sys.stdout.write(text)
                sys.stdout.flush()
            return
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        self._print(lines)

    def end(self) -> None:
        """Prints a last line that has no end."""
        if self._unfinished:
            self._print([self._unfinished])
            self._unfinished = ""

    def _print(self, lines: list[str]) -> None:
        if not lines:
            return
        from rich.console import Console  # noqa: PLC0415  (terminals only: it takes longer to import than we do)
        from rich.text import Text  # noqa: PLC0415

        console = Console(highlight=False, soft_wrap=True)
        with _lock:
            for line in lines:
                console.print(Text.assemble((f"{self._name} │ ", "cyan"), Text.from_ansi(line)))


def _is_terminal() -> bool:
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):
        return False
