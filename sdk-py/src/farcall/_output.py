"""What calls print, as it arrives: plain in pipes, behind the function's name on a terminal."""

from __future__ import annotations

import sys
import threading
import time

_lock = threading.Lock()

# How long a call waits before that is said, in seconds: workers that are up take less.
_PATIENCE_S = 1.0


class Printer:
    """Shows one call's output."""

    def __init__(self, name: str, *, is_on: bool) -> None:
        self._name, self._is_on = name, is_on
        self._unfinished = ""
        self.has_shown = False
        self._began, self._has_waited = time.monotonic(), False

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

    def state(self, status: str) -> None:
        """Says on a terminal that the call waits, when it has for a while, and when it begins."""
        if not self._is_on or not _is_terminal():
            return
        waited_s = time.monotonic() - self._began
        if status == "IN_QUEUE" and not self._has_waited and waited_s > _PATIENCE_S:
            self._has_waited = True
            self._say("waiting for a worker")
        elif status == "IN_PROGRESS" and self._has_waited:
            self._has_waited = False
            self._say(f"began after {waited_s:.1f} s")

    def _say(self, text: str) -> None:
        from rich.console import Console  # noqa: PLC0415

        with _lock:
            Console(stderr=True, highlight=False).print(f"{self._name} │ {text}", style="dim", markup=False)

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
