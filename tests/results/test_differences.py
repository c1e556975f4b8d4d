"""What changed between two runs: by how much, how sure that is, and where nothing may be said."""

from collections.abc import Mapping
from typing import Any

import pytest
from measured import records_of
from scipy import stats

from dwray.core.config import PROTOCOLS
from dwray.results.differences import OTHER_DATA, OTHER_DEVICE, changes_in_words, differences, differences_table
from dwray.results.several import NamedRun
from dwray.results.statistics import paired_difference

SPLIT = {"data.source": "digits", "data.split_seed": "0", "data.root": "here"}
BEFORE, AFTER = [90.0, 91.0, 93.0], [91.1, 92.0, 93.9]
SECONDS = [1.0, 1.1, 1.05]


def run(
    name: str,
    accuracies: list[float],
    factor: float = 1.0,
    settings: Mapping[str, str] = SPLIT,
    protocol: str = "corrected",
    **more: Any,
) -> NamedRun:
    """A run of one network, with six passes of batches of 4."""
    seconds = [factor * each for each in SECONDS[: len(accuracies)]]
    passes = {4: {"A": [factor * (2 + 0.01 * number) for number in range(6)]}}
    records = records_of(
        {"A": accuracies}, {"A": seconds}, passes, protocol=PROTOCOLS[protocol], **{"train_images": 100, **more}
    )
    return NamedRun(name, records, settings)


def test_the_same_seeds_data_and_split_are_pairs() -> None:
    accuracy, epoch, timed = differences(run("old", BEFORE), run("new", AFTER, 2.0, {**SPLIT, "data.root": "there"}))
    pairs = paired_difference(dict(enumerate(AFTER)), dict(enumerate(BEFORE)), 0.01)
    assert accuracy.change == pairs
    assert (accuracy.units, accuracy.is_shown) == ("3 seeds, paired", True)
    assert (epoch.change.value, epoch.units) == (pytest.approx(2.0), "3 + 3 seeds")
    assert (timed.change.value, timed.units) == (pytest.approx(2.0), "6 + 6 passes")
    assert epoch.is_shown
    assert timed.is_shown
    assert (timed.first, timed.value) == (pytest.approx(2.025), pytest.approx(4.05))


@pytest.mark.parametrize(
    "other",
    [
        run("seeds", AFTER[:2]),
        run("split", AFTER, settings={**SPLIT, "data.split_seed": "1"}),
        run("unknown", AFTER, settings={}),
        run("fewer", AFTER, train_images=90),
        run("protocol", AFTER, protocol="paper", batch_statistics_test_accuracy_percent=92.0),
    ],
    ids=lambda each: each.name,
)
def test_else_they_are_two_samples(other: NamedRun) -> None:
    accuracy = differences(run("old", BEFORE), other)[0]
    assert accuracy.units.startswith("3 + ")
    if other.name == "split":
        theirs = stats.ttest_ind(AFTER, BEFORE, equal_var=False).confidence_interval()
        assert (accuracy.change.low, accuracy.change.high) == pytest.approx((theirs.low, theirs.high), rel=1e-3)
        assert not accuracy.is_shown


def test_times_on_another_device_are_told_and_not_compared() -> None:
    found = differences(run("old", BEFORE), run("new", AFTER, 0.1, device="some GPU"))
    accuracy, epoch, _ = found
    assert accuracy.change.low is not None, "an accuracy has no device"
    assert epoch.change.value == pytest.approx(0.1)
    assert (epoch.change.low, epoch.doubts, epoch.is_shown) == (None, (OTHER_DEVICE,), False)


def test_accuracies_of_other_images_are_not_compared() -> None:
    for other in (run("cifar", AFTER, dataset="cifar10"), run("random", AFTER, synthetic=True)):
        epoch, timed = differences(run("old", BEFORE), other)
        assert (epoch.of, epoch.doubts, epoch.change.low) == ("epoch", (OTHER_DATA,), None)
        assert timed.doubts == (OTHER_DATA,)


def test_how_many_images_an_epoch_has_is_said() -> None:
    epoch = differences(run("old", BEFORE), run("new", AFTER, train_images=90))[1]
    assert epoch.doubts == ("90 images, not 100",)


def test_few_passes_show_nothing() -> None:
    def timed(factor: float) -> NamedRun:
        passes = {4: {"A": [factor * each for each in (1.0, 1.01, 1.02)]}}
        return NamedRun("", records_of({"A": [90.0]}, None, passes, train_images=100))

    (found,) = [each for each in differences(timed(1.0), timed(3.0)) if each.of == "pass"]
    assert found.change.excludes(1)
    assert not found.is_shown


def test_the_table_has_the_first_runs_values_beside_each_others() -> None:
    table = differences_table([run("old", BEFORE), run("new", AFTER, 2.0), run("newer", BEFORE)])
    assert [(row["run"], row["quantity"], row["batch_size"]) for row in table.rows] == [
        (name, *each)
        for name in ("new", "newer")
        for each in (("accuracy, %", None), ("epoch, s", None), ("test, s", 4))
    ]
    assert [column.heading for column in table.columns][5:7] == ["old", "run"]
    assert table.cells()[1][5:7] == ["1.05", "2.1"]
    assert differences_table([run("alone", BEFORE)]).rows == ()


def test_a_sentence_says_what_an_interval_shows() -> None:
    (said,) = changes_in_words([run("old", BEFORE), run("new", AFTER, 2.0)])
    assert said.startswith("new against old: test accuracy: A +1.00 points (")
    assert "; the time of an epoch: A 2.00 times (" in said
    assert said.endswith("at batch size 4.")
    (same,) = changes_in_words([run("old", BEFORE), run("again", BEFORE)])
    assert same.count("no change of") == 3
    (other,) = changes_in_words([run("old", BEFORE), run("cifar", AFTER, dataset="cifar10")])
    assert other == "cifar is not compared with old (other images)."


def test_runs_without_a_network_in_common_have_nothing_to_compare() -> None:
    b = NamedRun("b", records_of({"B": BEFORE}))
    assert differences(run("a", BEFORE), b) == []
    assert differences(run("a", BEFORE), run("other", AFTER, network="DepthwiseConvNet")) == []
    assert changes_in_words([run("a", BEFORE), b]) == ["b is not compared with a (no network in common)."]
