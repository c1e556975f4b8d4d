"""Intervals against simulated data whose truth is known, and against the symmetries that they must have."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from dwray.results.statistics import (
    POWER,
    Estimate,
    mean_interval,
    paired_difference,
    paired_ratio,
    ratio_interval,
    ratio_of_means,
    ratio_of_pairs,
    three_digits,
    units_needed,
    unpaired_difference,
    unpaired_ratio,
)

Draw = Callable[[np.random.Generator, int], tuple[NDArray[np.float64], NDArray[np.float64]]]

RATIO = 1.25
"""True ratio of the means of the simulated passes."""


def covers(estimate: Estimate | None, truth: float) -> bool:
    assert estimate is not None
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low <= truth <= estimate.high


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_intervals_over_seeds_cover_the_truth_95_times_in_100(n: int) -> None:
    """Seeds share much of what happens to them, so a and b are correlated; 4000 sets: a standard error of 0.35%."""
    rng, sets = np.random.default_rng(n), 4000
    shared, noise = rng.normal(size=(sets, n)), rng.normal(size=(2, sets, n))
    a, b = 2.0 + shared + 0.3 * noise[0], 0.5 + shared + 0.5 * noise[1]

    def by_seed(values: NDArray[np.float64]) -> dict[int, float]:
        return dict(enumerate(values.tolist()))

    of_mean = np.mean([covers(mean_interval(row), 2.0) for row in a])
    of_difference = np.mean([covers(paired_difference(by_seed(x), by_seed(y)), 1.5) for x, y in zip(a, b, strict=True)])
    of_ratio = np.mean(
        [
            covers(paired_ratio(by_seed(np.exp(0.1 * x)), by_seed(np.exp(0.1 * y))), math.exp(0.15))
            for x, y in zip(a, b, strict=True)
        ]
    )
    for coverage in (of_mean, of_difference, of_ratio):
        assert 0.935 < coverage < 0.965


def _noisy(noise: Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]], spread: float) -> Draw:
    """Passes of both networks, with noise of mean 1 that they do not share."""

    def draw(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        a, b = 1 + spread * (noise(rng, (2, n)) - 1)
        return RATIO * a, b

    return draw


def _one_skewed(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return RATIO * (1 + 0.005 * rng.normal(size=n)), 0.9 + 0.1 * rng.exponential(size=n)


def _slow_spells(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The machine is slow now and then, and both passes of the pair are."""
    spell = 1 + 0.2 * rng.gamma(2, 0.5, n)
    noise = rng.lognormal(0, 0.05, (2, n))
    return RATIO * spell * noise[0], spell * noise[1]


PASSES: dict[str, Draw] = {
    "normal": _noisy(lambda rng, shape: 1 + rng.normal(size=shape), 0.02),
    "lognormal": _noisy(lambda rng, shape: rng.lognormal(-0.125, 0.5, shape), 0.5),
    "exponential": _noisy(lambda rng, shape: rng.exponential(size=shape), 0.1),
    "one skewed": _one_skewed,
    "slow spells": _slow_spells,
}


@pytest.mark.parametrize("kind", PASSES)
def test_the_interval_over_ten_passes_covers_the_true_ratio_95_times_in_100(kind: str) -> None:
    rng, sets = np.random.default_rng(100), 2000
    coverage = np.mean([covers(ratio_of_means(*PASSES[kind](rng, 10)), RATIO) for _ in range(sets)])
    assert 0.93 <= coverage <= 0.97


def test_scipys_bootstrap_covers_too_seldom_at_ten_passes() -> None:
    """Why there is an interval of our own: if this fails, scipy's may do."""
    rng, sets = np.random.default_rng(2), 400

    def log_ratio(a: NDArray[np.float64], b: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        ratio: NDArray[np.float64] = np.log(a.mean(axis) / b.mean(axis))
        return ratio

    found = 0
    for _ in range(sets):
        passes = PASSES["exponential"](rng, 10)
        interval = stats.bootstrap(
            passes, log_ratio, paired=True, vectorized=True, n_resamples=1000, method="BCa", rng=rng
        ).confidence_interval
        found += interval.low <= math.log(RATIO) <= interval.high
    assert found / sets < 0.92


numbers = st.floats(-1e3, 1e3, allow_subnormal=False)
seconds = st.floats(1e-3, 1e3)
pairs = st.lists(st.tuples(seconds, seconds), min_size=2, max_size=12)
by_seed = st.dictionaries(st.integers(0, 9), numbers, min_size=1)


def close(x: float | None, y: float | None) -> bool:
    return x == y if x is None or y is None else math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-6)


@given(by_seed, by_seed)
@settings(deadline=None)
def test_swapping_negates_a_difference(a: dict[int, float], b: dict[int, float]) -> None:
    there, back = paired_difference(a, b), paired_difference(b, a)
    if there is None or back is None:
        assert there is back
        assert not a.keys() & b.keys()
        return
    assert there.n == back.n == len(a.keys() & b.keys())
    assert close(there.value, -back.value)
    if there.low is not None and there.high is not None:
        assert close(there.low, -(back.high or 0))
        assert close(there.high, -(back.low or 0))
        assert there.low <= there.value <= there.high


@given(pairs)
@settings(max_examples=30, deadline=None)
def test_swapping_inverts_a_ratio_and_the_unit_of_time_does_not_matter(both: list[tuple[float, float]]) -> None:
    a, b = zip(*both, strict=True)
    seeds = [dict(enumerate(values)) for values in (a, b)]
    for there, back, in_milliseconds in (
        (ratio_of_means(a, b), ratio_of_means(b, a), ratio_of_means([1e3 * x for x in a], [1e3 * x for x in b])),
        (
            paired_ratio(seeds[0], seeds[1]),
            paired_ratio(seeds[1], seeds[0]),
            paired_ratio(*({seed: 1e3 * x for seed, x in values.items()} for values in seeds)),
        ),
    ):
        assert there is not None
        assert back is not None
        assert in_milliseconds is not None
        assert math.isclose(there.value * back.value, 1, rel_tol=1e-9)
        assert close(there.value, in_milliseconds.value)
        if there.low is None or there.high is None or back.high is None:
            continue
        assert there.low <= there.value <= there.high
        if there.low > 0 and there.high < math.inf and back.high < math.inf:  # the inverse of the smallest is none
            assert math.isclose(there.low * back.high, 1, rel_tol=1e-6)
        assert there.deviation is not None
        assume(there.deviation > 1e-6)
        assert math.isclose(there.low, in_milliseconds.low or 0, rel_tol=1e-6, abs_tol=1e-300)


@given(st.lists(numbers, min_size=2, max_size=9), st.floats(0.1, 10), numbers)
def test_an_interval_moves_and_stretches_with_its_values(values: list[float], factor: float, shift: float) -> None:
    plain, moved = mean_interval(values), mean_interval([factor * value + shift for value in values])
    assume(plain.deviation is not None and plain.deviation > 1e-3)
    assert plain.low is not None
    assert moved.low is not None
    assert math.isclose(moved.low, factor * plain.low + shift, rel_tol=1e-6, abs_tol=1e-5)
    assert math.isclose(moved.value, factor * plain.value + shift, rel_tol=1e-6, abs_tol=1e-6)


def test_figures_worked_out_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, deviation 1, t(0.975, 2) = 4.302653."""
    found = paired_difference({0: 2, 1: 4, 2: 6, 7: 99}, {0: 1, 1: 2, 2: 3, 8: 99})
    assert found is not None
    assert (found.value, found.n, found.deviation, found.effect_size) == (2, 3, 1, 2)
    assert found.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-6)
    ratio = paired_ratio({0: 2, 1: 8}, {0: 1, 1: 1})
    assert ratio is not None
    assert ratio.value == pytest.approx(4), "the geometric mean of 2 and 8"
    assert ratio_of_means([1, 3], [1, 1]).value == 2


def test_one_unit_gives_no_interval_and_none_no_estimate() -> None:
    for single in (mean_interval([3]), paired_difference({1: 4}, {1: 1}), paired_ratio({1: 6}, {1: 2})):
        assert single == Estimate(pytest.approx(3), None, None, 1)  # type: ignore[arg-type]
    assert ratio_of_means([6], [2]) == Estimate(pytest.approx(3), None, None, 1)  # type: ignore[arg-type]
    assert paired_difference({1: 4}, {2: 1}) is paired_ratio({1: 4}, {2: 1}) is None


@pytest.mark.parametrize("n", [2, 3, 10])
def test_units_without_spread_give_no_interval(n: int) -> None:
    equal = dict.fromkeys(range(n), 0.1 + 0.2)
    other = dict.fromkeys(range(n), 0.1)
    for found in (
        mean_interval(equal.values()),
        paired_difference(equal, other),
        paired_ratio(equal, other),
        ratio_of_means(list(equal.values()), list(other.values())),
    ):
        assert found is not None
        assert (found.low, found.high, found.deviation, found.n) == (None, None, 0, n)


def test_the_rounding_of_the_arithmetic_is_no_spread() -> None:
    a, b = {0: 90.3, 1: 5.3}, {0: 90.1, 1: 5.1}
    assert a[0] - b[0] != a[1] - b[1]
    found = paired_difference(a, b)
    assert found is not None
    assert (found.low, found.deviation) == (None, 0)


def test_equal_counts_are_as_uncertain_as_their_rounding() -> None:
    found = paired_difference({0: 5, 1: 6}, {0: 4, 1: 5}, resolution=1)
    assert found is not None
    assert found.deviation == pytest.approx((2 / 12) ** 0.5)
    assert found.low is not None
    assert found.value == 1
    assert found.low < 0


def test_what_makes_no_sense_is_an_error() -> None:
    with pytest.raises(ValueError, match="of no values"):
        mean_interval([])
    with pytest.raises(ValueError, match="needs pairs, and at least one, not 2 and 1 values"):
        ratio_of_means([1, 2], [1])
    with pytest.raises(ValueError, match="not 0 and 0"):
        ratio_of_means([], [])
    for a, b in (([1, 0], [1, 1]), ([1, 1], [-1, 1])):
        with pytest.raises(ValueError, match="above zero"):
            ratio_of_means(a, b)
        with pytest.raises(ValueError, match="above zero"):
            paired_ratio(dict(enumerate(a)), dict(enumerate(b)))


def test_welchs_interval_is_that_of_scipy() -> None:
    a, b = [90.0, 91.5, 92.0, 90.5], [80.0, 86.0, 83.0]
    found = unpaired_difference(a, b)
    theirs = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert (found.value, found.low, found.high) == pytest.approx((8.0, theirs.low, theirs.high))
    assert found.n == 7


def test_the_unpaired_intervals_cover_the_truth() -> None:
    """Of unequal spreads and numbers, as accuracies of two runs and as skewed passes; 4000 sets."""
    rng, sets = np.random.default_rng(0), 4000
    of_difference = np.mean(
        [
            covers(unpaired_difference(a.tolist(), b.tolist()), 1.5)
            for a, b in zip(rng.normal(2.0, 1.0, (sets, 3)), rng.normal(0.5, 0.3, (sets, 5)), strict=True)
        ]
    )
    of_ratio = np.mean(
        [
            covers(unpaired_ratio(a.tolist(), b.tolist()), RATIO)
            for a, b in zip(
                RATIO * (1 + 0.1 * rng.normal(size=(sets, 10))),
                1 + 0.02 * (rng.exponential(size=(sets, 10)) - 1),
                strict=True,
            )
        ]
    )
    assert 0.935 < of_difference < 0.97
    assert 0.935 < of_ratio < 0.97


def test_unpaired_units_without_a_spread_or_of_one_run_give_no_interval() -> None:
    for found in (unpaired_difference([90.0], [80.0, 81.0]), unpaired_difference([90.0, 90.0], [80.0, 80.0])):
        assert found.value == pytest.approx(10.0, abs=0.6)
        assert found.low is None
    assert unpaired_difference([90.0, 90.0], [80.0, 80.0], resolution=1.0).low is not None
    assert unpaired_ratio([2.0], [1.0]).value == 2.0
    with pytest.raises(ValueError, match="above zero"):
        unpaired_ratio([1.0, 0.0], [1.0])


def test_passes_are_paired_by_their_numbers() -> None:
    a, b = {1: 1.0, 2: 1.2, 3: 1.1, 5: 9.0}, {3: 0.5, 2: 0.7, 1: 0.6, 4: 9.0}
    assert ratio_of_pairs(a, b) == ratio_of_means([1.0, 1.2, 1.1], [0.6, 0.7, 0.5])
    assert ratio_of_pairs(a, {4: 1.0}) is None


def test_the_same_passes_give_the_same_interval() -> None:
    a, b = PASSES["lognormal"](np.random.default_rng(3), 10)
    assert ratio_of_means(a.tolist(), b.tolist()) == ratio_of_means(a.tolist(), b.tolist())


@pytest.mark.parametrize(("standardised", "units"), [(40, 2), (10, 3), (1.0, 10), (0.5, 34), (0.2, 199), (0.1, 787)])
def test_the_units_needed_are_those_of_the_textbook(standardised: float, units: int) -> None:
    """One-sample t test, two-sided 5%, power 80%: the sizes that G*Power and R's power.t.test give."""
    estimate = Estimate(3.0, 0.0, 6.0, 4, None, 2.0)
    assert units_needed(estimate, 2.0 * standardised) == units


def test_the_units_needed_do_have_the_power() -> None:
    needed = units_needed(Estimate(0.0, -1.0, 1.0, 3, None, 1.0), 0.8)
    assert needed is not None
    rng, sets = np.random.default_rng(4), 20_000

    def power(n: int) -> float:
        values = rng.normal(0.8, 1, (sets, n))
        return float((values.mean(1) - stats.t.ppf(0.975, n - 1) * values.std(1, ddof=1) / n**0.5 > 0).mean())

    assert power(needed) > POWER - 0.01
    assert power(needed - 1) < POWER


@given(st.floats(1e-9, 1e9), st.floats(0, 1e9), st.floats(1, 10))
@settings(deadline=None)
def test_a_farther_boundary_never_needs_more_units(deviation: float, distance: float, factor: float) -> None:
    estimate = Estimate(0.0, None, None, 3, None, deviation)
    near, far = units_needed(estimate, distance), units_needed(estimate, distance * factor)
    if near is not None:
        assert 2 <= near <= 1000
        assert far is not None
        assert far <= near
    if distance == 0:
        assert near is None


def test_without_a_spread_no_number_of_units_is_known() -> None:
    assert units_needed(Estimate(1.0, None, None, 1), 1.0) is None
    assert units_needed(Estimate(1.0, None, None, 2, None, 0.0), 1.0) is None
    assert units_needed(Estimate(1.0, 0.0, 2.0, 2, None, 1.0), 0.01) is None, "more than 1000"


def test_an_estimate_excludes_what_lies_outside_of_its_interval_alone() -> None:
    estimate = Estimate(3.0, 1.0, 5.0, 4)
    assert estimate.half_width == 2.0
    assert [tie for tie in (0.0, 1.0, 3.0, 5.0, 6.0) if estimate.excludes(tie)] == [0.0, 6.0]


def test_an_interval_is_cut_where_its_quantity_cannot_lie_and_its_half_width_is_not() -> None:
    estimate = Estimate(97.5, 83.34, 111.66, 2)
    assert estimate.within(0.0, 100.0) == (83.34, 100.0)
    assert estimate.within(90.0) == (90.0, 111.66)
    assert estimate.half_width == pytest.approx(14.16)
    assert Estimate(97.5, None, None, 1).within(0.0) == (None, None)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (Estimate(3.3214, 0.5, 1900.36, 5), "5 passes, too few to say how far off"),
        (Estimate(3.3214, 0.5, math.inf, 5), "5 passes, too few to say how far off"),
        (Estimate(3.3214, 0.0, 4.0, 5), "5 passes, too few to say how far off"),
        (Estimate(1.5, 0.5, 5.0, 5), "0.500 to 5.00"),
        (Estimate(150.0, 123.45, 1234.4, 9), "123 to 1,234"),
        (Estimate(2.0, None, None, 1), "one pass"),
        (Estimate(2.0, None, None, 5), None),
    ],
)
def test_an_interval_of_a_ratio_is_told_only_where_it_says_something(ratio: Estimate, said: str | None) -> None:
    assert ratio_interval(ratio, "pass", "passes") == said


@given(st.floats(1e-6, 1e6))
def test_a_ratio_is_told_to_three_digits_and_as_no_power_of_ten(ratio: float) -> None:
    told = three_digits(ratio)
    assert "e" not in told or ratio < 1e-4
    assert math.isclose(float(told.replace(",", "")), ratio, rel_tol=0.0051)
    assert not told.endswith(".")


def test_without_an_interval_nothing_is_excluded() -> None:
    assert Estimate(3.0, None, None, 1).half_width is None
    assert not Estimate(3.0, None, None, 1).excludes(0.0)
