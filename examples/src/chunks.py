"""A generator: what it yields is collected into a list."""

from collections.abc import Iterator


def chunks(text: str, size: int) -> Iterator[str]:
    """Splits a text between words into pieces of at most `size` characters, for a model's context."""
    piece = ""
    for word in text.split():
        longer = f"{piece} {word}".strip()
        if len(longer) > size and piece:
            yield piece
            longer = word
        piece = longer
    yield piece
