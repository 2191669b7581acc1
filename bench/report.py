"""What was found, as Markdown: sections with a table and the goals beside it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """Figures of one contender, in one unit."""

    name: str
    samples: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def percentile(self, percent: int) -> float:
        return statistics.quantiles(self.samples, n=100, method="inclusive")[percent - 1]

    def spread(self, digits: int) -> str:
        """The 10th and the 90th percentile."""
        return f"{self.percentile(10):.{digits}f} - {self.percentile(90):.{digits}f}"


@dataclass(frozen=True)
class Goal:
    """A figure that was asked for: `actual`, to be at most or at least `bound`."""

    text: str
    actual: float
    bound: float
    at_most: bool = True
    digits: int = 2

    def line(self) -> str:
        met = self.actual <= self.bound if self.at_most else self.actual >= self.bound
        wanted = f"{'at most' if self.at_most else 'at least'} {self.bound:g}"
        return f"- {self.text}: {self.actual:.{self.digits}f} (goal: {wanted}; {'met' if met else 'MISSED'})"


@dataclass(frozen=True)
class Section:
    """What one kind of measurement found. The first row of the table is its head, the next is Farcall's."""

    title: str
    explanation: str
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal]

    def table(self) -> str:
        """The rows as a Markdown table."""
        rows = self.rows
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [" | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
        head, *body = [f"| {line} |" for line in lines]
        return "\n".join([head, f"|{rule}|", *body])

    def text(self) -> str:
        goals = "\n".join(goal.line() for goal in self.goals)
        return f"## {self.title}\n\n{self.explanation}\n\n{self.table()}\n\n{goals}\n"


def ratio(one: Measurement, other: Measurement) -> str:
    return f"{one.median / other.median:.2f}"
