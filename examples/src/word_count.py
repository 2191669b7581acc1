"""A plain function: JSON in, JSON out. Imports may be at the top, as in any module."""

import re
from collections import Counter


def most_common_words(text: str, limit: int = 3) -> dict[str, int]:
    words = re.findall(r"[a-z']+", text.lower())
    return dict(Counter(words).most_common(limit))
