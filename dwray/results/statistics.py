"""Statistics over what was measured: a value that is missing is left out, and of too few there is none."""

import statistics
from collections.abc import Iterable


def mean(values: Iterable[float | None]) -> float | None:
    """Arithmetic mean of what there is; None of nothing."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def deviation(values: Iterable[float | None]) -> float | None:
    """Sample standard deviation (n - 1); None of fewer than two values."""
    known = [value for value in values if value is not None]
    return statistics.stdev(known) if len(known) > 1 else None


def total(values: Iterable[float | None]) -> float | None:
    """Sum of what there is; None of nothing."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
