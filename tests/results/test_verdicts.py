"""The paper's claims, judged: by the rule, and against runs that were made so that the truth is known."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import NETWORKS, make_records, rows

from dwray import paper
from dwray.core.config import PROTOCOLS
from dwray.results.claims import CLAIMS
from dwray.results.curves import epochs_to_reach, target_accuracy
from dwray.results.records import Records
from dwray.results.statistics import Estimate, mean_interval
from dwray.results.table import Table
from dwray.results.verdicts import RULE, Verdict, judge, verdicts

# The rule

ends = st.floats(-10, 10)
estimates = st.builds(lambda a, b, n: Estimate((a + b) / 2, min(a, b), max(a, b), n), ends, ends, st.integers(1, 12))
ranges = st.one_of(
    st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair))),
    ends.map(lambda low: (low, math.inf)),
)


@given(estimates, ranges, st.integers(2, 6))
def test_the_rule_is_exhaustive_and_consistent(estimate: Estimate, limits: tuple[float, float], fewest: int) -> None:
    low, high = limits
    verdict = judge(estimate, low, high, fewest)
    assert estimate.low is not None
    assert estimate.high is not None
    inside = low < estimate.low and estimate.high < high
    outside = estimate.high <= low or estimate.low >= high
    assert not (inside and outside)
    if estimate.n < fewest:
        assert verdict is Verdict.UNDECIDED
    else:
        assert verdict is (Verdict.HOLDS if inside else Verdict.FAILS if outside else Verdict.UNDECIDED)
    if verdict is Verdict.HOLDS:
        assert low < estimate.value < high
        assert judge(estimate, low - 1, high + 1, fewest) is Verdict.HOLDS, "a wider range cannot undo it"
        assert judge(estimate, high, math.inf, fewest) is Verdict.FAILS, "nor can both of two ranges apart hold"


@given(ends, ends, ranges, st.integers(0, 9))
def test_from_one_unit_there_is_never_a_verdict(a: float, b: float, limits: tuple[float, float], fewest: int) -> None:
    """Not even if somebody asks for fewer than two, or an interval were there."""
    assert judge(Estimate(a, min(a, b), max(a, b), 1), *limits, fewest) is Verdict.UNDECIDED
    assert judge(mean_interval([a]), *limits, fewest) is Verdict.UNDECIDED
    assert judge(mean_interval([a, a]), *limits, fewest) is Verdict.UNDECIDED, "two equal units show no spread"
    assert judge(None, *limits, fewest) is Verdict.UNDECIDED


def test_exactly_zero_is_not_above_zero() -> None:
    assert judge(Estimate(0, 0, 0, 5), 0, math.inf, 2) is Verdict.FAILS


# The run

positive = st.floats(0.01, 1e3)


@given(positive, positive, st.floats(0, 100), st.floats(0, 100))
@settings(max_examples=30, deadline=None)
def test_no_claim_is_judged_from_one_seed_or_one_pass(a: float, b: float, x: float, y: float) -> None:
    for protocol in PROTOCOLS:
        records = make_records(
            accuracy={"ordinary": [x], "depthwise": [y]},
            seconds={"ordinary": [a], "depthwise": [b]},
            passes={"ordinary": [a], "depthwise": [b]},
            protocol=protocol,
        )
        for row in verdicts(records).rows:
            assert row["n"] == 1
            assert row["verdict"] == "not enough evidence"
            assert (row["low"], row["high"]) == (None, None)
            assert row["needed"] in ("at least 2 seeds", "at least 5 passes")


def test_seeds_that_only_one_network_has_do_not_count() -> None:
    records = make_records(accuracy={"ordinary": [90.0], "depthwise": [91.0, 92.0, 93.0]})
    assert rows(records)["accuracies_equal"]["n"] == 1


@pytest.mark.parametrize(("passes", "verdict"), [(4, "not enough evidence"), (5, "holds")])
def test_fewer_than_five_pairs_of_passes_decide_nothing(passes: int, verdict: str) -> None:
    slow = [1.20, 1.21, 1.22, 1.23, 1.24][:passes]
    records = make_records(passes={"ordinary": slow, "depthwise": [1.0] * passes})
    found = rows(records)["longer_test_256"]
    assert (found["verdict"], found["n"]) == (verdict, passes)
    assert found["needed"] == (None if passes == 5 else "at least 5 passes")


def test_a_run_like_the_papers_bears_out_its_claims() -> None:
    jitter = [0.99, 1.0, 1.01, 1.0, 0.995, 1.005]
    wobble = [-0.1, 0.0, 0.1, 0.05, -0.05, 0.02]
    records = make_records(
        accuracy={"ordinary": [67.23 + x for x in wobble], "depthwise": [68.99 - x for x in wobble]},
        seconds={"ordinary": [33.2 * x for x in jitter], "depthwise": [17.7] * 6},
        curves={"ordinary": [[40, 60, 60]] * 6, "depthwise": [[40, 41, 60 + x] for x in wobble]},
        passes={"ordinary": [2.17 * x for x in jitter], "depthwise": [1.98] * 6},
        compare_with="cifar100",
    )
    found = rows(records)
    assert {key: row["verdict"] for key, row in found.items()} == {
        "accuracies_equal": "holds",
        "depthwise_more_accurate": "holds",
        "half_the_time_per_epoch": "holds",
        "more_time_to_train": "does not hold",
        "more_epochs": "holds",
        "longer_test_256": "holds",
        "longer_by_test_256": "holds",
        "longer_train_256": "holds",
        "longer_by_train_256": "holds",
        "longer_test_4": "does not hold",
        "longer_by_test_4": "does not hold",
        "longer_train_4": "does not hold",
        "longer_by_train_4": "does not hold",
    }
    assert found["accuracies_equal"]["measured"] == pytest.approx(1.76 - 2 * np.mean(wobble))
    assert found["half_the_time_per_epoch"]["measured"] == pytest.approx(17.7 / 33.2, abs=1e-4)
    assert found["longer_test_256"]["measured"] == pytest.approx(100 * (2.17 / 1.98 - 1), abs=1e-6)
    assert found["longer_by_test_256"]["range"] == "4.5 to 14.5"
    assert found["depthwise_more_accurate"]["range"] == "above 0"


def test_the_papers_and_the_notebooks_figures_stand_beside_the_run() -> None:
    measured = {"accuracy": {"ordinary": [90.0, 91.0], "depthwise": [90.0, 91.5]}}
    found = rows(make_records(**measured, compare_with="cifar10"))  # type: ignore[arg-type]
    assert found["accuracies_equal"]["paper"] == pytest.approx(1.86)
    assert found["accuracies_equal"]["notebook"] == pytest.approx(89.86 - 88.34)
    assert found["half_the_time_per_epoch"]["paper"] == pytest.approx(17.7 / 33.2)
    assert found["more_time_to_train"]["paper"] is None, "the paper gives totals of CIFAR-100 alone"
    assert found["more_time_to_train"]["notebook"] == pytest.approx(1979.88 / 1769.63)
    assert found["longer_by_train_4"]["paper"] == 17.8
    found = rows(make_records(**measured, compare_with="cifar100"))  # type: ignore[arg-type]
    assert found["more_time_to_train"]["paper"] == pytest.approx(5322.46 / 1770.90)
    assert found["more_epochs"]["paper"] == 270 - 80
    assert found["longer_by_train_4"]["paper"] == 17.8, "timed on CIFAR-10, whose images are as many and as large"
    for row in verdicts(make_records(**measured)).rows:  # type: ignore[arg-type]
        assert (row["paper"], row["notebook"]) == (None, None), "the paper did nothing with digits"


def test_the_claims_name_the_papers_own_percentages() -> None:
    for claim in CLAIMS:
        if claim.key.startswith("longer_by"):
            _, _, images, batch_size = claim.key.split("_")
            longer = paper.longer_percent(images, int(batch_size))
            assert claim.words == f"{longer.percent.paper:g}% longer"
            assert longer.network is not None
            assert claim.topic.endswith(f"{longer.network} takes")
            assert claim.measured.endswith(f"how much longer {longer.network} takes")
            assert longer.percent.paper == pytest.approx((claim.low + claim.high) / 2)
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS) == 13
    assert all(claim.low < claim.high and claim.reason and claim.section and claim.quote for claim in CLAIMS)


def test_the_protocol_decides_which_accuracy_and_which_passes_count() -> None:
    measured: Any = {
        "accuracy": {"ordinary": [60.0, 61.0], "depthwise": [70.0, 71.5]},
        "passes": {"ordinary": [2.0, 2.1], "depthwise": [1.0, 1.0]},
    }
    for protocol, sign in (("corrected", 1), ("paper", -1)):
        found = rows(make_records(**measured, protocol=protocol))
        assert found["accuracies_equal"]["measured"] == pytest.approx(sign * 10.25)
        assert found["longer_test_256"]["measured"] == pytest.approx(105)


@pytest.mark.parametrize("networks", [{"ordinary": "ConvNet"}, {"a": "ConvNet", "b": "Other"}, {}])
def test_without_both_networks_there_is_nothing_to_judge(networks: dict[str, str]) -> None:
    table = verdicts(make_records(networks=networks, accuracy={name: [1.0, 2.0] for name in networks}))
    assert (table.rows, table.notes) == ((), ())


def test_what_was_not_measured_has_no_verdict() -> None:
    for row in verdicts(make_records()).rows:
        assert (row["measured"], row["n"], row["needed"]) == (None, 0, None)
        assert row["verdict"] == "not enough evidence"


def test_the_table_says_its_rule_its_ranges_and_the_papers_footnotes() -> None:
    table = verdicts(make_records(accuracy={"ordinary": [90.0], "depthwise": [91.0]}, compare_with="cifar100"))
    assert table.notes[0] == RULE
    text = " ".join(table.notes)
    for key in ("batch_statistics", "cifar100_epochs", "timed_on_cifar10", "time_to_train", "epochs_trained"):
        assert paper.footnote(key) in table.notes
    for claim in CLAIMS:
        assert not math.isfinite(claim.high) or claim.reason in text
    assert "Epochs to reach 50% validation accuracy." in text
    assert paper.footnote("batch_statistics") not in verdicts(make_records()).notes


def test_the_table_fits_a_terminal_and_is_typed() -> None:
    table = verdicts(make_records(passes={"ordinary": [123.456], "depthwise": [1.0]}, compare_with="cifar10"))
    narrow = [column for column in table.shown if not (column.wide or column.section)]
    indices = [table.shown.index(column) for column in narrow]
    lines = [[column.heading for column in narrow], *([cells[i] for i in indices] for cells in table.cells())]
    assert sum(max(len(line[i]) for line in lines) + 1 for i in range(len(narrow))) <= 80
    assert table.to_arrow({}).num_rows == len(CLAIMS)


def test_each_number_has_its_unit_beside_it() -> None:
    table = verdicts(make_records())
    at = [column.heading for column in table.shown].index("unit")
    assert not table.shown[at].wide, "a terminal shows it too"
    assert list(dict.fromkeys(cells[at] for cells in table.cells())) == ["points", "ratio", "epochs", "%"]
    assert any(note.startswith("unit: ") for note in table.notes)


def test_an_undecided_claim_says_what_would_decide_it() -> None:
    records = make_records(accuracy={"ordinary": [90.0, 90.0, 90.0], "depthwise": [90.5, 91.5, 89.8]})
    found = rows(records)["depthwise_more_accurate"]
    assert found["verdict"] == "not enough evidence"
    number, unit = found["needed"].split()
    assert unit == "seeds"
    assert int(number) > 3
    hopeless = make_records(accuracy={"ordinary": [90.0, 90.0], "depthwise": [95.0, 85.001]})
    assert rows(hopeless)["depthwise_more_accurate"]["needed"] == "more than 1000 seeds"


# Epochs to an accuracy

curves = st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=12)


@given(curves, st.floats(0, 100))
def test_epochs_to_reach_is_the_first_that_did(accuracies: list[float | None], target: float) -> None:
    lines = [{"epoch": n, "validation_accuracy_percent": each} for n, each in enumerate(accuracies, start=1)]
    first = epochs_to_reach(lines, target)
    reached = [n for n, each in enumerate(accuracies, start=1) if each is not None and each >= target]
    assert first == (reached[0] if reached else None)


def test_the_target_is_the_highest_whole_percent_that_every_training_reached() -> None:
    curves = {"ordinary": [[10, 67.9, 60], [20, 80, 81]], "depthwise": [[5, 6, 70], [5, 66.5, 66.4]]}
    records = make_records(curves=curves)
    assert target_accuracy(records) == 66
    assert target_accuracy(make_records(curves=curves, target_accuracy_percent="33.5")) == 33.5
    assert target_accuracy(make_records(curves=curves, target_accuracy_percent="")) == 66
    assert target_accuracy(make_records()) is None
    assert rows(records)["more_epochs"]["measured"] == 0.5, "epochs 3 and 2 less 2 and 2"


def test_a_training_that_never_reached_the_target_is_not_left_out_in_silence() -> None:
    curves = {"ordinary": [[10, 60], [20, 80]], "depthwise": [[5, 70], [5, 71]]}
    table = verdicts(make_records(curves=curves, target_accuracy_percent="65"))
    found = {row["key"]: row for row in table.rows}["more_epochs"]
    assert (found["measured"], found["verdict"]) == (None, "not enough evidence")
    assert any("Never reached by 1 of 4 trainings" in note for note in table.notes)


def test_the_total_counts_every_epoch_and_the_validation_passes() -> None:
    found = rows(
        make_records(
            seconds={"ordinary": [2.0, 2.0], "depthwise": [1.0, 1.0]},
            curves={"ordinary": [[50, 50]] * 2, "depthwise": [[50, 50, 50, 50, 50]] * 2},
        )
    )
    assert found["half_the_time_per_epoch"]["measured"] == pytest.approx(0.5)
    assert found["more_time_to_train"]["measured"] == pytest.approx(5 * (1 + 0.25) / (2 * (2 + 0.25)))


# Runs with a known truth

Simulate = Callable[[np.random.Generator], Records]


def _accuracies(difference: float, n: int) -> Simulate:
    def simulate(rng: np.random.Generator) -> Records:
        shared, noise = rng.normal(90, 1, n), rng.normal(0, 0.5, (2, n))
        a, b = np.round(shared + noise[0], 2), np.round(shared + difference + noise[1], 2)
        return make_records(accuracy={"ordinary": a.tolist(), "depthwise": b.tolist()})

    return simulate


def _epoch_seconds(ratio: float, n: int) -> Simulate:
    def simulate(rng: np.random.Generator) -> Records:
        a, b = rng.lognormal(0, 0.05, (2, n))
        return make_records(seconds={"ordinary": a.tolist(), "depthwise": (ratio * b).tolist()})

    return simulate


def _epoch_counts(n: int, spread: float) -> Simulate:
    """Both networks need the same number of epochs, on average; epochs are whole, so that equal seeds abound."""

    def simulate(rng: np.random.Generator) -> Records:
        counts = np.maximum(1, np.round(rng.normal(5, spread, (2, n)))).astype(int)
        curves = [[[10.0] * (count - 1) + [50.0] for count in each] for each in counts.tolist()]
        return make_records(curves=dict(zip(NETWORKS, curves, strict=True)))

    return simulate


def _timed(ratio: float, n: int) -> Simulate:
    def simulate(rng: np.random.Generator) -> Records:
        a, b = 1 + 0.1 * rng.exponential(size=(2, n))
        return make_records(passes={"ordinary": (ratio * a).tolist(), "depthwise": b.tolist()})

    return simulate


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize(
    ("key", "simulate", "wrong"),
    [
        ("accuracies_equal", lambda n: _accuracies(2.0, n), "either"),
        ("accuracies_equal", lambda n: _accuracies(1.5, n), "does not hold"),
        ("depthwise_more_accurate", lambda n: _accuracies(0.0, n), "either"),
        ("half_the_time_per_epoch", lambda n: _epoch_seconds(0.55, n), "either"),
        ("half_the_time_per_epoch", lambda n: _epoch_seconds(0.6, n), "holds"),
        ("more_epochs", lambda n: _epoch_counts(n, 0.3), "either"),
        ("more_epochs", lambda n: _epoch_counts(n, 1.0), "either"),
        ("longer_test_256", lambda n: _timed(1.0, 2 * n + 4), "either"),
        ("longer_by_train_256", lambda n: _timed(1.153, 2 * n + 4), "either"),
    ],
)
def test_the_wrong_verdict_is_given_no_more_than_5_times_in_100(
    key: str, simulate: Callable[[int], Simulate], wrong: str, n: int
) -> None:
    """At the edge of a range every verdict counts as wrong: the worst case. 1000 runs: a standard error of 0.7%."""
    claim = next(claim for claim in CLAIMS if claim.key == key)
    rng, runs = np.random.default_rng(n), 1000
    mistakes = 0
    for _ in range(runs):
        verdict = judge(claim.measure(simulate(n)(rng)), claim.low, claim.high, claim.units.fewest)
        mistakes += verdict is not Verdict.UNDECIDED if wrong == "either" else verdict == wrong
    assert mistakes / runs <= 0.065


@pytest.mark.parametrize(
    ("key", "simulate", "right"),
    [
        ("accuracies_equal", _accuracies(0.0, 5), "holds"),
        ("accuracies_equal", _accuracies(5.0, 5), "does not hold"),
        ("depthwise_more_accurate", _accuracies(2.0, 5), "holds"),
        ("half_the_time_per_epoch", _epoch_seconds(0.5, 10), "holds"),
        ("half_the_time_per_epoch", _epoch_seconds(0.7, 5), "does not hold"),
        ("longer_test_256", _timed(1.5, 10), "holds"),
        ("longer_test_4", _timed(1.5, 10), "does not hold"),
    ],
)
def test_a_clear_case_is_decided_nearly_always(key: str, simulate: Simulate, right: str) -> None:
    rng = np.random.default_rng(0)
    found = [rows(simulate(rng))[key]["verdict"] for _ in range(40)]
    assert found.count(right) >= 34


def test_the_table_is_named_for_the_report() -> None:
    table: Table = verdicts(make_records())
    assert table.name == "verdicts"
