"""What was found: figures by contender, tables and goals, as one document."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """Figures of one contender, in one unit."""

    name: str
    samples: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def percentile(self, percent: int) -> float:
        if len(self.samples) == 1:
            return self.samples[0]
        return statistics.quantiles(self.samples, n=100, method="inclusive")[percent - 1]

    def spread(self, digits: int) -> str:
        """The 10th and the 90th percentile."""
        return f"{self.percentile(10):.{digits}f} - {self.percentile(90):.{digits}f}"

    def summary(self) -> dict[str, float]:
        """What is kept of the samples."""
        figures = {"median": self.median, **{f"p{part}": self.percentile(part) for part in (10, 90, 99)}}
        return {name: round(figure, 5) for name, figure in figures.items()} | {"count": len(self.samples)}


@dataclass(frozen=True)
class Goal:
    """A figure that was asked for: `actual`, to be at most or at least `bound`."""

    text: str
    actual: float
    bound: float
    at_most: bool = True
    digits: int = 2


# By metric: what each contender came to. A metric that ends in "/s" is the better the larger it is.
Figures = Mapping[str, Sequence[Measurement]]


@dataclass(frozen=True)
class Section:
    """What one kind of measurement found. The first row of the table is its head, the next is Farcall's."""

    title: str
    explanation: str
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal]
    figures: Figures = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As plain data."""
        figures = {
            metric: {found.name: found.summary() for found in measured if found.samples}
            for metric, measured in self.figures.items()
        }
        return {
            "title": self.title,
            "explanation": self.explanation,
            "rows": [list(row) for row in self.rows],
            "goals": [asdict(goal) for goal in self.goals],
            "figures": figures,
        }


def ratio(one: Measurement, other: Measurement) -> str:
    return f"{one.median / other.median:.2f}"


def measurements(names: Sequence[str], samples: Sequence[Sequence[float]]) -> list[Measurement]:
    """One for each contender."""
    return [Measurement(name, own) for name, own in zip(names, samples, strict=True)]


def table_of(figures: Figures, digits: Mapping[str, int]) -> list[tuple[str, ...]]:
    """A table of medians: a row for each contender, a column for each metric of `digits`."""
    columns = {metric: {found.name: found for found in figures[metric]} for metric in digits}
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows: list[tuple[str, ...]] = [("", *digits)]
    for name in names:
        found = [columns[metric].get(name) for metric in digits]
        cells = [
            f"{one.median:.{places}f}" if one and one.samples else ""
            for one, places in zip(found, digits.values(), strict=True)
        ]
        rows.append((name, *cells))
    return rows
