"""The search for the batch size at which the faster network changes, on simulated measurements."""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dwray.core.crossover import (
    MAX_ROUNDS,
    MIN_ROUNDS,
    RESOLUTION,
    T_QUANTILES,
    Comparison,
    Crossover,
    coarse_sizes,
    compare_rounds,
    find_crossover,
)

NAMES = ("A", "B")
LogRatio = Callable[[int], float]


def exact(log_ratio: LogRatio, seen: list[int] | None = None) -> Callable[[int], Comparison]:
    """Comparisons without noise; a log ratio of exactly zero is a tie."""

    def measure(size: int) -> Comparison:
        if seen is not None:
            seen.append(size)
        value = log_ratio(size)
        return Comparison(size, (math.exp(value), 1.0), value, value, value, MIN_ROUNDS)

    return measure


def noisy(log_ratio: LogRatio, noise: float, random: np.random.Generator) -> Callable[[int], Comparison]:
    """Comparisons whose rounds scatter normally in the log."""

    def rounds(size: int) -> Iterator[tuple[float, float]]:
        while True:
            yield math.exp(log_ratio(size) + random.normal(0, noise)), 1.0

    return lambda size: compare_rounds(size, rounds(size))


# A comparison


def test_the_quantiles_are_students() -> None:
    degrees = np.arange(MIN_ROUNDS - 1, MAX_ROUNDS)
    assert np.allclose(T_QUANTILES, stats.t.ppf(0.9995, degrees), atol=1e-4)


def test_a_comparison_is_the_interval_of_the_mean_log_ratio() -> None:
    random = np.random.default_rng(0)
    first, second = np.exp(random.normal(0.02, 0.05, (2, MAX_ROUNDS)))
    found = compare_rounds(7, zip(first.tolist(), second.tolist(), strict=True))
    assert found.rounds == MAX_ROUNDS
    assert not found.sure
    ratios = np.log(first / second)
    low, high = stats.t.interval(0.999, MAX_ROUNDS - 1, ratios.mean(), stats.sem(ratios))
    assert (found.batch_size, found.sign) == (7, 0)
    assert found.log_ratio == pytest.approx(ratios.mean())
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-4)
    assert found.seconds == pytest.approx((np.median(first), np.median(second)))


@pytest.mark.parametrize(("ratio", "sign"), [(2.0, 1), (0.5, -1)])
def test_a_clear_difference_takes_no_more_rounds_than_it_must(ratio: float, sign: int) -> None:
    rounds = ((ratio * noise, 1.0) for noise in itertools.cycle([1.0, 1.01]))
    found = compare_rounds(1, rounds)
    assert (found.rounds, found.sign, found.sure) == (MIN_ROUNDS, sign, True)
    assert next(rounds) == (ratio * 1.01, 1.0)  # the sixth is still there


def test_equal_networks_are_a_tie_after_the_last_round() -> None:
    rounds = itertools.cycle([(1.0, 1.01), (1.01, 1.0)])
    found = compare_rounds(1, rounds)
    assert (found.rounds, found.sign, found.sure) == (MAX_ROUNDS, 0, False)


def test_too_few_rounds_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 5 rounds, not 4"):
        compare_rounds(1, [(1.0, 2.0)] * 4)


def test_equal_networks_are_called_different_in_less_than_two_percent() -> None:
    random = np.random.default_rng(1)
    compare = noisy(lambda _: 0.0, 0.1, random)
    wrong = sum(compare(1).sure for _ in range(2000))
    assert wrong <= 40  # 15 are expected; 40 are six standard deviations away


# The search


def test_the_coarse_scan_is_geometric_and_ends_at_the_largest() -> None:
    assert coarse_sizes(1) == [1]
    assert coarse_sizes(3) == [1, 3]
    assert coarse_sizes(64) == [1, 4, 16, 64]
    assert coarse_sizes(100) == [1, 4, 16, 64, 100]
    with pytest.raises(ValueError, match="at least 1, not 0"):
        coarse_sizes(0)


@given(largest=st.integers(2, 4096), share=st.floats(0.0, 1.0, exclude_max=True), first_wins=st.booleans())
def test_without_noise_the_crossing_is_found_exactly(largest: int, share: float, first_wins: bool) -> None:
    truth = math.floor(largest**share) + 0.5  # between two batch sizes
    flip = -1 if first_wins else 1
    seen: list[int] = []
    found = find_crossover(exact(lambda size: flip * math.log(truth / size), seen), NAMES, largest)
    (crossing,) = found.crossings
    assert crossing.low < truth < crossing.high
    assert crossing.high - crossing.low == 1 or crossing.high <= crossing.low * RESOLUTION
    below, above = ("A", "B") if first_wins else ("B", "A")
    assert (crossing.faster_below, crossing.faster_above, crossing.tied) == (below, above, None)
    assert found.always_faster is None
    assert len(seen) == len(set(seen)), "no batch size twice"
    assert [each.batch_size for each in found.curve] == sorted(seen)
    assert len(seen) <= len(coarse_sizes(largest)) + 8


def test_the_bisection_halves_the_logarithm() -> None:
    seen: list[int] = []
    find_crossover(exact(lambda size: math.log(3.5 / size) * -1, seen), NAMES, 64)
    assert seen == [1, 4, 16, 64, 2, 3]
    seen.clear()
    find_crossover(exact(lambda size: math.log(200.5 / size), seen), NAMES, 256)
    assert seen[:7] == [1, 4, 16, 64, 256, 128, 181]


@given(largest=st.integers(1, 4096), sign=st.sampled_from([-1, 1]))
def test_without_a_crossing_there_is_none_after_the_coarse_scan(largest: int, sign: int) -> None:
    seen: list[int] = []
    found = find_crossover(exact(lambda _: 0.1 * sign, seen), NAMES, largest)
    assert found.crossings == ()
    assert found.always_faster == ("A" if sign < 0 else "B")
    assert seen == coarse_sizes(largest)


def test_several_crossings_are_all_found() -> None:
    found = find_crossover(exact(lambda size: 1.0 if 10 < size <= 200 else -1.0), NAMES, 1024)
    assert next((each.low, each.faster_below, each.faster_above) for each in found.crossings) == (10, "A", "B")
    assert len(found.crossings) == 2
    last = found.crossings[1]
    assert last.low <= 200 < last.high <= last.low * RESOLUTION
    assert (last.faster_below, last.faster_above) == ("B", "A")


@given(start=st.integers(5, 100), length=st.integers(0, 100))
def test_a_stretch_of_ties_is_found_with_both_its_edges(start: int, length: int) -> None:
    end = start + length

    def log_ratio(size: int) -> float:
        return -1.0 if size < start else 1.0 if size > end else 0.0

    found = find_crossover(exact(log_ratio), NAMES, 1024)
    (crossing,) = found.crossings
    assert crossing.low < start <= end < crossing.high
    if crossing.tied:
        low, high = crossing.tied
        assert start <= low <= high <= end
        for outer, inner in ((crossing.low, low), (high, crossing.high)):
            assert inner - outer == 1 or inner <= outer * RESOLUTION
    else:
        assert crossing.high - crossing.low == 1 or crossing.high <= crossing.low * RESOLUTION
    assert found.tied == tuple(each.batch_size for each in found.curve if start <= each.batch_size <= end)


def test_ties_everywhere_have_no_crossing_and_no_winner() -> None:
    found = find_crossover(exact(lambda _: 0.0), NAMES, 256)
    assert found.crossings == ()
    assert found.always_faster is None
    assert found.tied == (1, 4, 16, 64, 256)


def test_a_tie_at_the_end_is_no_crossing() -> None:
    found = find_crossover(exact(lambda size: 0.0 if size > 200 else -1.0), NAMES, 256)
    assert found.crossings == ()
    assert found.always_faster is None
    assert [found.faster(each) for each in found.curve][:2] == ["A", "A"]


@pytest.mark.parametrize("noise", [0.02, 0.1])
@pytest.mark.parametrize("truth", [2.5, 23.5, 400.5])
def test_with_noise_the_interval_contains_the_truth(truth: float, noise: float) -> None:
    random = np.random.default_rng(7)
    runs = 200
    hits = 0
    for _ in range(runs):
        found = find_crossover(noisy(lambda size: 0.3 * math.log(truth / size), noise, random), NAMES, 1024)
        hits += len(found.crossings) == 1 and found.crossings[0].low < truth < found.crossings[0].high
    assert hits >= 0.95 * runs


def test_with_noise_and_no_crossing_none_is_found() -> None:
    random = np.random.default_rng(8)
    found = [find_crossover(noisy(lambda _: 0.1, 0.05, random), NAMES, 1024) for _ in range(200)]
    assert sum(bool(each.crossings) for each in found) <= 2


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), largest=st.integers(1, 300))
def test_pure_noise_ends_and_is_consistent(seed: int, largest: int) -> None:
    random = np.random.default_rng(seed)

    def measure(size: int) -> Comparison:
        value = float(random.choice([-1.0, 0.0, 1.0]))
        return Comparison(size, (1.0, 1.0), value, value, value, MIN_ROUNDS)

    found: Crossover = find_crossover(measure, NAMES, largest)
    sizes = [each.batch_size for each in found.curve]
    assert sizes == sorted(set(sizes))
    assert sizes[0] == 1
    assert sizes[-1] == largest
    for crossing in found.crossings:
        assert crossing.low < crossing.high
        assert crossing.faster_below != crossing.faster_above
