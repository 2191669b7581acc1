"""The Python SDK against a worker on this machine: `make run` ends with it.

Nothing has to be started before: the first call starts the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from farcall import Local, remote

# One of its own, which this program can end: other programs of yours may share the one without a name.
WORKER = Local(concurrency=2)
RATES = {"EUR": 1.0, "USD": 0.92}


class UnknownCurrencyError(ValueError):
    """Raised there, caught here."""


@dataclass
class Invoice:
    """Sent there and back: it is the same class on both sides."""

    amount: float
    currency: str


def rate(currency: str) -> float:
    """A function that the remote one calls: it goes along."""
    if currency not in RATES:
        raise UnknownCurrencyError(f"no rate for {currency}")
    return RATES[currency]


@remote(WORKER)
def convert(invoice: Invoice) -> Invoice:
    print(f"converting {invoice.amount} {invoice.currency}")
    return Invoice(round(invoice.amount * rate(invoice.currency), 2), "EUR")


@remote(WORKER)
def countdown(start: int) -> Iterator[int]:
    yield from range(start, 0, -1)


@remote(WORKER, dependencies=["numpy"])
def norm(values: list[float]) -> float:
    """Numpy is installed where this runs, unless it is there, and not here."""
    import numpy as np  # noqa: PLC0415

    return float(np.linalg.norm(values))


class Account:
    """An instance lives on the worker, and keeps its state between calls."""

    def __init__(self, owner: str) -> None:
        self.owner, self.balance = owner, 0.0

    def book(self, invoice: Invoice) -> str:
        self.balance += invoice.amount
        return f"{self.owner} has {self.balance} {invoice.currency}"


async def side_by_side() -> list[Invoice]:
    return list(await asyncio.gather(convert(Invoice(10, "USD")), convert(Invoice(20, "EUR"))))


def main() -> None:
    """Calls each of them."""
    print(convert.remote(Invoice(100, "USD")))
    try:
        convert.remote(Invoice(1, "DKK"))
    except UnknownCurrencyError as error:
        print("as it was raised there:", error)
    print("streamed:", *countdown.stream(3))
    print("side by side:", asyncio.run(side_by_side()))
    print("with a package:", norm.remote([3, 4]))
    account = remote(WORKER)(Account)("Ada")
    for invoice in convert.map([Invoice(1, "EUR"), Invoice(2, "USD")]):
        print(account.book.remote(invoice))
    WORKER.stop()


if __name__ == "__main__":
    main()
