"""What is shown on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from farcall import _output
from farcall._output import Printer

COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_a_terminal(program: str, tmp_path: Path) -> str:
    """Everything a program writes to a terminal, without its colours."""
    file = tmp_path / "program.py"
    file.write_text(program)
    ours, theirs = pty.openpty()
    source = str(Path(__file__).parent.parent / "src")
    env = {**os.environ, "PYTHONPATH": source, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, str(file)], env=env, stdout=theirs, stderr=theirs, cwd=tmp_path
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    assert process.wait() == 0, text
    return text.decode()


def test_output_is_prefixed_and_coloured(tmp_path: Path) -> None:
    text = on_a_terminal(
        "from farcall import remote\n"
        "@remote\n"
        "def greet():\n"
        "    print('hello')\n"
        "    print('no end', end='')\n"
        "greet.remote()\n",
        tmp_path,
    )
    assert "\x1b[36m" in text
    assert COLOURS.sub("", text) == "greet │ hello\r\ngreet │ no end\r\n"


def test_map_shows_how_far_it_is(tmp_path: Path) -> None:
    text = on_a_terminal(
        "from farcall import remote\n@remote\ndef half(x): return x / 2\nprint(list(half.map([2, 4])))\n",
        tmp_path,
    )
    assert "100%" in text
    assert "[1.0, 2.0]" in text


def test_waiting_is_told(tmp_path: Path) -> None:
    text = on_a_terminal(
        "from farcall import _output\n"
        "_output._PATIENCE_S = 0\n"
        "printer = _output.Printer('f', is_on=True)\n"
        "for status in ('IN_QUEUE', 'IN_QUEUE', 'IN_PROGRESS', 'IN_PROGRESS'): printer.state(status)\n",
        tmp_path,
    )
    lines = COLOURS.sub("", text).splitlines()
    assert lines[0] == "f │ waiting for a worker"
    assert lines[1].startswith("f │ began after 0.")
    assert len(lines) == 2
    assert Printer("f", is_on=False).has_shown is False
    assert _output._PATIENCE_S == 1.0
