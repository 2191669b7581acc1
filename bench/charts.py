"""Charts as SVG: bars for contenders, lines for how cost grows. Readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

# Both colours of the text have enough contrast on GitHub's backgrounds.
STYLE = """\
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.grid { stroke: #d1d9e0 }
.other { fill: #afb8c1; stroke: none }
.ours { fill: #1a7f37; stroke: none }
.line { fill: none; stroke-width: 2 }
.s0 { stroke: #1a7f37 } .s1 { stroke: #0969da } .s2 { stroke: #9a6700 } .s3 { stroke: #8250df }
.d0 { fill: #1a7f37 } .d1 { fill: #0969da } .d2 { fill: #9a6700 } .d3 { fill: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.grid { stroke: #3d444d }
.other { fill: #656c76 }
.ours { fill: #3fb950 }
.s0 { stroke: #3fb950 } .s1 { stroke: #4493f8 } .s2 { stroke: #d29922 } .s3 { stroke: #ab7df8 }
.d0 { fill: #3fb950 } .d1 { fill: #4493f8 } .d2 { fill: #d29922 } .d3 { fill: #ab7df8 }
}
</style>"""

WIDTH = 720
BAR_LEFT, BAR_RIGHT, BAR_ROW = 270, 620, 26

# The plane of a line chart: left, top, right, bottom.
LEFT, TOP, RIGHT, BOTTOM = 70, 44, 560, 270
HEIGHT = 316


def bars(title: str, figures: Mapping[str, float]) -> str:
    """A bar for each contender, as long as its figure; Farcall's is coloured."""
    longest = max(figures.values())
    pieces = [f'<text class="title" x="10" y="22">{escape(title)}</text>']
    for row, (name, figure) in enumerate(figures.items()):
        top = 36 + row * BAR_ROW
        # Never too short to be seen.
        length = max((BAR_RIGHT - BAR_LEFT) * figure / longest, 1.5)
        kind = "ours" if name.startswith("farcall") else "other"
        pieces += [
            f'<text x="{BAR_LEFT - 10}" y="{top + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{BAR_LEFT}" y="{top + 3}" width="{length:.1f}" height="16" rx="2"/>',
            f'<text x="{BAR_LEFT + length + 8:.1f}" y="{top + 15}">{short(figure)}</text>',
        ]
    return document(pieces, 44 + len(figures) * BAR_ROW, title)


def lines(title: str, across: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Figures over a quantity, both axes logarithmic: what is flat stays flat, what is linear has slope 1."""
    points = [point for line in series.values() for point in line]
    xs, ys = Axis([x for x, _ in points], LEFT, RIGHT), Axis([y for _, y in points], BOTTOM, TOP)
    pieces = [f'<text class="title" x="10" y="22">{escape(title)}</text>']
    for value in ys.ticks():
        y = ys.at(value)
        pieces += [
            f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>',
        ]
    for value in xs.ticks():
        x = xs.at(value)
        pieces.append(f'<text x="{x:.1f}" y="{BOTTOM + 20}" text-anchor="middle">{short(value)}</text>')
    pieces.append(
        f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 40}" text-anchor="middle">{escape(across)}</text>'
    )
    # Names stand beside the ends of their lines, never on each other.
    lowest = -math.inf
    for index, (name, line) in sorted(enumerate(series.items()), key=lambda it: -it[1][1][-1][1]):
        places = [(xs.at(x), ys.at(y)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        pieces.append(f'<polyline class="line s{index % 4}" points="{path}"/>')
        pieces += [f'<circle class="d{index % 4}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
        lowest = max(places[-1][1] + 4, lowest + 16)
        pieces.append(f'<text x="{places[-1][0] + 8:.1f}" y="{lowest:.1f}">{escape(name)}</text>')
    return document(pieces, HEIGHT, title)


class Axis:
    """A logarithmic axis of whole decades, between two places on the page."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        self.low = math.floor(math.log10(low) + 1e-9)
        self.high = max(math.ceil(math.log10(high) - 1e-9), self.low + 1)
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * part

    def ticks(self) -> list[float]:
        return [10.0**exponent for exponent in range(self.low, self.high + 1)]


def short(value: float) -> str:
    """A figure with about three digits that matter."""
    if value >= 1_000_000 and value % 100_000 == 0:
        return f"{value / 1_000_000:g}M"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def document(pieces: Sequence[str], height: int, title: str) -> str:
    body = "\n".join(pieces)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img">\n<title>{escape(title)}</title>\n{STYLE}\n{body}\n</svg>\n'
    )
