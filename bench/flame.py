"""A flame graph as SVG: how often a program was seen in each function, by who called it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

WIDTH, ROW, MARGIN = 1200, 17, 34

# What perf calls a function that has no symbol.
UNKNOWN = "[unknown]"

# Narrower than this, in pixels, is not drawn: it could not be seen.
NARROWEST = 0.4

# About so wide is a character of the text, in pixels.
CHARACTER = 6.6


@dataclass
class Frame:
    """A function, called by those above it."""

    count: int = 0
    callees: dict[str, Frame] = field(default_factory=dict)

    def add(self, stack: Iterable[str]) -> None:
        """Counts a stack, its outermost function first."""
        frame = self
        frame.count += 1
        for name in stack:
            frame = frame.callees.setdefault(name, Frame())
            frame.count += 1


def stacks(script: Iterable[str], names: Mapping[str, str]) -> Iterator[list[str]]:
    """The stacks that `perf script -F comm,tid,ip,sym` prints, outermost first.

    Each begins with what `names` calls its thread, by id, or else with the name of its program.
    """
    name, frames = "", list[str]()
    for line in script:
        text = line.strip()
        if not text:
            if frames:
                # The outermost function is not known where the stack was longer than what was kept of it.
                yield [name, *reversed(frames[:-1] if frames[-1] == UNKNOWN else frames)]
            name, frames = "", []
        elif not name:
            program, _, thread = text.rpartition(" ")
            name = names.get(thread, program.strip())
        else:
            symbol = text.partition(" ")[2]
            frames.append(short(symbol))


def short(symbol: str) -> str:
    """A symbol without what says little."""
    return symbol.replace("{{closure}}", "{}").replace("farcall::", "")


def draw(root: Frame, title: str) -> str:
    """The whole graph: the outermost functions at the top."""
    pieces: list[str] = []
    depth = place(root, 0.0, 0, root.count, pieces)
    height = MARGIN + (depth + 1) * ROW + 6
    body = "\n".join(pieces)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">
<style>
svg {{ background: #fff }}
text {{ font: 11px ui-monospace, monospace; fill: #1f2328; pointer-events: none }}
.title {{ font: 600 14px system-ui, sans-serif }}
rect {{ stroke: #fff; stroke-width: 0.5 }}
rect:hover {{ stroke: #000 }}
</style>
<text class="title" x="10" y="20">{escape(title)}</text>
{body}
</svg>
"""


def place(frame: Frame, left: float, depth: int, total: int, pieces: list[str]) -> int:
    """Draws what a function calls, in a row under it, and that in turn. Returns the deepest row."""
    deepest = depth
    for name, callee in sorted(frame.callees.items()):
        width = WIDTH * callee.count / total
        if width >= NARROWEST:
            top, share = MARGIN + depth * ROW, 100 * callee.count / total
            label = escape(name)
            pieces += [
                f'<g><title>{label}: {share:.1f} %</title><rect x="{left:.2f}" y="{top}" '
                f'width="{width:.2f}" height="{ROW}" fill="{colour(name)}"/>',
                f"{text_in(name, left, top, width)}</g>",
            ]
            deepest = max(deepest, place(callee, left, depth + 1, total, pieces))
        left += width
    return deepest


def text_in(name: str, left: float, top: int, width: float) -> str:
    fitting = int((width - 6) / CHARACTER)
    if fitting < 3:
        return ""
    shown = name if len(name) <= fitting else name[: fitting - 1] + "…"
    return f'<text x="{left + 3:.2f}" y="{top + 12}">{escape(shown)}</text>'


def colour(name: str) -> str:
    """The same for a name each time; functions of the kernel, of Python and of ours are told apart."""
    shade = zlib.crc32(name.encode()) % 40
    if name.startswith(("Py", "_Py", "py", "builtin_")):
        return f"hsl(210 70% {60 + shade // 4}%)"
    if "::" in name:
        return f"hsl({15 + shade} 85% {62 + shade // 8}%)"
    return f"hsl(100 20% {70 + shade // 4}%)"
