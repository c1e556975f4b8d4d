"""The batch sizes at which the faster of two networks changes.

Pure search over a function that compares the two at one batch size: a coarse scan, then bisection wherever neighbours
differ. A comparison repeats until the sign of the difference is sure, or gives up: then the two are tied.
"""

import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

MIN_ROUNDS = 5
"""Rounds of a comparison before its first verdict."""
T_QUANTILES = (
    *(8.6103, 6.8688, 5.9588, 5.4079, 5.0413, 4.7809, 4.5869, 4.4370, 4.3178, 4.2208, 4.1405),
    *(4.0728, 4.0150, 3.9651, 3.9216, 3.8834, 3.8495, 3.8193, 3.7921, 3.7676, 3.7454),
)
"""Student's t at 0.9995 after 5, 6, ... 25 rounds: two-sided intervals of 99.9%. Looking after every round makes
mistakes more likely than one look: with these, 0.76% of 200,000 simulated comparisons of equal networks (normal noise)
called one the faster."""
MAX_ROUNDS = MIN_ROUNDS + len(T_QUANTILES) - 1
"""Rounds after which two networks that cannot be told apart are called tied."""
COARSE_FACTOR = 4
"""Ratio of neighbouring batch sizes in the coarse scan."""
RESOLUTION = 1.05
"""Bisection ends where neighbours are adjacent or within this ratio."""


@dataclass(frozen=True)
class Comparison:
    """Two networks at one batch size."""

    batch_size: int
    seconds: tuple[float, float]
    """Of the first and the second network, per image: medians over the rounds."""
    log_ratio: float
    """Mean over the rounds of ln(seconds of the first / seconds of the second)."""
    low: float
    """Lower end of its interval (99.9% at the round at which the comparison ended)."""
    high: float
    rounds: int

    @property
    def sure(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0

    @property
    def sign(self) -> int:
        """-1: the first is faster; 1: the second is; 0: not sure."""
        return (self.low > 0) - (self.high < 0)


@dataclass(frozen=True)
class Crossing:
    """Where the faster network changes: one is surely faster at ``low``, the other at ``high``."""

    low: int
    high: int
    faster_below: str
    faster_above: str
    tied: tuple[int, int] | None
    """Smallest and largest batch size between them at which the two were tied; None if at none."""


@dataclass(frozen=True)
class Crossover:
    """What a search found between batch sizes 1 and ``largest``."""

    networks: tuple[str, str]
    largest: int
    curve: tuple[Comparison, ...]
    """Every comparison, by batch size."""
    crossings: tuple[Crossing, ...]
    """By batch size; none if the faster network never changes."""

    @property
    def always_faster(self) -> str | None:
        """The network that is surely faster at every batch size compared; None if there is none."""
        fastest = {self.faster(comparison) for comparison in self.curve}
        return fastest.pop() if len(fastest) == 1 else None

    @property
    def tied(self) -> tuple[int, ...]:
        """The batch sizes at which neither was surely faster."""
        return tuple(comparison.batch_size for comparison in self.curve if not comparison.sure)

    def faster(self, comparison: Comparison) -> str | None:
        """The network that is surely faster in a comparison; None if they are tied."""
        return self.networks[0 if comparison.sign < 0 else 1] if comparison.sure else None


def compare_rounds(batch_size: int, rounds: Iterable[tuple[float, float]]) -> Comparison:
    """Take rounds until the sign of the mean log ratio is sure, and at most MAX_ROUNDS.

    Args:
        batch_size: Whose rounds they are.
        rounds: Seconds per image of the first and the second network, measured side by side. No more are taken than
            are needed.

    Raises:
        ValueError: Fewer than MIN_ROUNDS rounds.
    """
    taken: list[tuple[float, float]] = []
    comparison = None
    for pair in rounds:
        taken.append(pair)
        if len(taken) >= MIN_ROUNDS:
            comparison = _comparison(batch_size, taken)
            if comparison.sure or len(taken) == MAX_ROUNDS:
                break
    if comparison is None:
        raise ValueError(f"a comparison takes at least {MIN_ROUNDS} rounds, not {len(taken)}")
    return comparison


def _comparison(batch_size: int, rounds: list[tuple[float, float]]) -> Comparison:
    ratios = [math.log(first / second) for first, second in rounds]
    mean = statistics.fmean(ratios)
    half = T_QUANTILES[len(ratios) - MIN_ROUNDS] * statistics.stdev(ratios) / math.sqrt(len(ratios))
    first, second = (statistics.median(column) for column in zip(*rounds, strict=True))
    return Comparison(batch_size, (first, second), mean, mean - half, mean + half, len(ratios))


def find_crossover(measure: Callable[[int], Comparison], networks: tuple[str, str], largest: int) -> Crossover:
    """Search the batch sizes from 1 to ``largest`` for those at which the faster network changes.

    Each batch size is compared at most once. Neighbours of different verdicts (one faster, the other faster, tied) are
    bisected, so that the edges of a stretch of ties are found as well as a sharp crossing. Two crossings between
    neighbours of the coarse scan that agree are not seen.

    Args:
        measure: Compares the two networks at a batch size.
        networks: Names of the first and the second.
        largest: The largest batch size, at least 1.

    Returns:
        Every comparison by batch size (seconds per image), and where the faster network changes.

    Raises:
        ValueError: ``largest`` is below 1.

    Source: section 4.3 of the paper finds one network faster at batch size 256 and the other at 4; this looks between.

    Example:
        >>> import dwray
        >>> def measure(batch_size: int) -> Comparison:
        ...     rounds = [(2.0, 1.0 + 8.0 / batch_size)] * 5  # seconds per image: the second has an overhead
        ...     return compare_rounds(batch_size, rounds)
        >>> crossover = dwray.find_crossover(measure, ("first", "second"), largest=256)
        >>> [(crossing.low, crossing.high, crossing.faster_above) for crossing in crossover.crossings]
        [(7, 9, 'second')]
    """
    curve = {size: measure(size) for size in coarse_sizes(largest)}
    while middles := [_between(low, high) for low, high in _unsettled(curve)]:
        for size in middles:
            curve[size] = measure(size)
    ordered = tuple(curve[size] for size in sorted(curve))
    return Crossover(networks, largest, ordered, tuple(_crossings(ordered, networks)))


def coarse_sizes(largest: int) -> list[int]:
    """Batch sizes of the coarse scan: 1, 4, 16, ... and the largest itself.

    Raises:
        ValueError: ``largest`` is below 1.
    """
    if largest < 1:
        raise ValueError(f"the largest batch size must be at least 1, not {largest}")
    sizes = [1]
    while sizes[-1] * COARSE_FACTOR < largest:
        sizes.append(sizes[-1] * COARSE_FACTOR)
    return sizes if largest == 1 else [*sizes, largest]


def _unsettled(curve: dict[int, Comparison]) -> list[tuple[int, int]]:
    """Neighbouring batch sizes of different verdicts that are still far apart."""
    return [
        (low, high)
        for low, high in pairwise(sorted(curve))
        if curve[low].sign != curve[high].sign and high - low > 1 and high > low * RESOLUTION
    ]


def _between(low: int, high: int) -> int:
    """The middle in log space, strictly between."""
    return min(max(round(math.sqrt(low * high)), low + 1), high - 1)


def _crossings(curve: tuple[Comparison, ...], networks: tuple[str, str]) -> Iterable[Crossing]:
    sure = [comparison for comparison in curve if comparison.sure]
    for below, above in pairwise(sure):
        if below.sign != above.sign:
            tied = [each.batch_size for each in curve if below.batch_size < each.batch_size < above.batch_size]
            faster = networks if below.sign < 0 else networks[::-1]
            yield Crossing(below.batch_size, above.batch_size, *faster, (tied[0], tied[-1]) if tied else None)
