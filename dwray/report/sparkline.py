"""A curve in one line of text."""

import math
from collections.abc import Sequence
from itertools import pairwise

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-~=+*#"
MISSING = " "


def sparkline(values: Sequence[float | None], width: int, *, ascii_only: bool = False) -> str:
    """Values as bars between their least and their greatest; what is missing, NaN or infinite is a gap.

    Args:
        values: In order.
        width: Characters, at most; of more values, neighbours are drawn as their mean.
        ascii_only: The terminal has no other characters.
    """
    bars = ASCII_BARS if ascii_only else BARS
    means = _thinned([value if value is not None and math.isfinite(value) else None for value in values], width)
    known = [value for value in means if value is not None]
    if not known:
        return MISSING * len(means)
    least, span = min(known), max(known) - min(known)
    return "".join(
        MISSING if value is None else bars[int((value - least) / span * (len(bars) - 1) + 0.5) if span else 0]
        for value in means
    )


def _thinned(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most so many values: each the mean of its part of them."""
    count = min(width, len(values))
    edges = [index * len(values) // count for index in range(count + 1)] if count else []
    return [_mean(values[start:stop]) for start, stop in pairwise(edges)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
