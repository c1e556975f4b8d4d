"""The arithmetic of a plan, on figures made up here."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny

from dwray.core.calibration import PassCost, TrainingCost
from dwray.core.config import ProtocolConfig
from dwray.errors import SpecError
from dwray.search.estimate import (
    Measured,
    Overheads,
    Range,
    SetSizes,
    Slots,
    estimate,
    makespan,
    makespan_of_lines,
    rounds,
    slots_of,
    timed_passes,
    total,
    trial_options,
    trial_seconds,
)
from dwray.search.linear import LinearSearch
from dwray.search.plan import plan
from dwray.spec import ResourcesSpec, SweepSpec

NO_OVERHEADS = Overheads(start=0, stage=0, trial=0, end=0)
SECONDS = st.lists(st.floats(0.01, 100), min_size=1, max_size=12)
SLOTS = st.integers(1, 6)


# Ranges


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=20))
def test_a_range_lies_around_the_median_and_within_what_was_measured(samples: list[float]) -> None:
    found = Range.of(samples)
    assert min(samples) == found.low <= found.likely
    assert found.likely * 0.999999 <= found.high <= max(samples) * 1.000001


def test_more_of_the_same_is_told_more_narrowly() -> None:
    few, many = Range.of([1, 2, 1, 2]), Range.of([1, 2] * 50)
    assert few.likely == many.likely == 1.5
    assert 1.5 < many.high < few.high
    assert Range.of([3.0]) == Range(3, 3, 3)


def test_a_neighbour_that_comes_and_goes_moves_the_high_end_alone() -> None:
    quiet, disturbed = Range.of([1.0] * 9), Range.of([1.0] * 6 + [30.0] * 3)
    assert (disturbed.low, disturbed.likely) == (quiet.low, quiet.likely) == (1, 1)
    assert disturbed.high > 10


def test_a_range_is_widened_and_never_narrowed() -> None:
    assert Range(9.9, 10, 10.1).widened(0.2, 0.3) == Range(8, 10, 13)
    assert Range(1, 10, 100).widened(0.2, 0.2) == Range(1, 10, 100)


def test_ranges_add_up() -> None:
    assert total([Range(1, 2, 3), Range(10, 20, 30)]) + 1 == Range(12, 23, 34)
    assert Range(1, 2, 3) * 2 == Range(2, 4, 6)
    assert Range.any_of([Range(1, 2, 3), Range(2, 4, 9)]) == Range(1, 3, 9)


# Trials side by side


@given(SECONDS, SLOTS)
def test_side_by_side_takes_no_less_than_the_share_and_no_more_than_one_by_one(
    seconds: list[float], slots: int
) -> None:
    found = makespan(seconds, slots)
    assert found >= max(*seconds, sum(seconds) / slots) * 0.999999
    assert found <= sum(seconds) / slots + max(seconds) * 1.000001  # Graham 1969
    assert makespan(seconds, 1) == pytest.approx(sum(seconds))
    assert makespan(seconds, len(seconds)) == max(seconds)


def test_trials_start_in_their_order_as_soon_as_a_slot_is_free() -> None:
    assert makespan([3, 1, 1, 4], 2) == 6, "3 beside 1 and 1, then 4 behind those"
    assert makespan([], 2) == 0


@given(st.lists(SECONDS, min_size=1, max_size=4), SLOTS)
def test_a_round_waits_for_the_one_before_it(lines_rounds: list[list[float]], slots: int) -> None:
    alone = makespan_of_lines([lines_rounds], slots)
    assert alone == pytest.approx(sum(makespan(each, slots) for each in lines_rounds))


def test_lines_fill_each_others_waits() -> None:
    assert makespan_of_lines([[[2], [2]], [[2], [2]]], 2) == 4
    assert makespan_of_lines([[[2], [2]], [[2], [2]]], 1) == 8
    # The first line's two trials begin beside each other only as far as the other line, whose turn it is, leaves room.
    assert makespan_of_lines([[[1, 3]], [[2]]], 2) == 4


@pytest.mark.parametrize(
    ("asked", "cpus", "gpus", "slots"),
    [
        ({"gpus_per_trial": 0}, 8, 2, Slots(8, 8)),
        ({"gpus_per_trial": 0, "cpus_per_trial": 3}, 8, 2, Slots(2, 2)),
        ({}, 8, 0, Slots(8, 8)),
        ({}, 8, 2, Slots(2, 2)),
        ({"gpus_per_trial": 0.5}, 8, 2, Slots(4, 2)),
        ({"gpus_per_trial": 0.4}, 8, 2, Slots(4, 2)),
        ({"gpus_per_trial": 2}, 8, 4, Slots(2, 2)),
        ({"gpus_per_trial": 0.1}, 8, 1, Slots(8, 1)),
    ],
)
def test_as_many_trials_as_fit_share_a_machine(asked: dict[str, Any], cpus: int, gpus: int, slots: Slots) -> None:
    assert slots_of(ResourcesSpec(**asked), cpus, gpus) == slots


def test_a_trial_that_fits_nowhere_is_an_error_of_one_line() -> None:
    with pytest.raises(SpecError, match="wants 4 CPUs and 0 GPUs, and there are 2 and 0 here"):
        slots_of(ResourcesSpec(cpus_per_trial=4), 2, 0)


# How many trials a search has


AXES = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True), min_size=1
)


def run_search(search: LinearSearch, score: Any) -> int:
    """The trials of a search whose candidates score so."""
    count = 0
    while not search.finished:
        asked = []
        while (candidate := search.ask()) is not None:
            asked.append(candidate)
        count += len(asked)
        for candidate in asked:
            search.tell(candidate.number, score(candidate.config))
    return count


@given(AXES, st.integers(1, 3), st.randoms(use_true_random=False))
def test_a_search_takes_no_fewer_and_no_more_trials_than_its_rounds_say(
    axes: dict[str, list[int]], passes: int, random: Any
) -> None:
    search = LinearSearch(axes, passes=passes)
    fewest, most = sum(rounds(search, fewest=True)), sum(rounds(search, fewest=False))
    assert most == search.max_evaluations
    assert run_search(LinearSearch(axes, passes=passes), lambda config: 0.0) == fewest
    assert fewest <= run_search(search, lambda config: random.random()) <= most


def test_a_search_without_a_limit_has_the_fewest_all_the_same() -> None:
    search = LinearSearch({"a": [1, 2, 3], "b": [1, 2]}, passes=None)
    assert rounds(search, fewest=True) == [3, 1]


# The whole of it

COST = TrainingCost(step_seconds=(1.0,), score_seconds=(0.01,))
SIZES = SetSizes(train=100, validation=20, test=30)


def measured(spec: SweepSpec, cost: TrainingCost = COST, overheads: Overheads = NO_OVERHEADS) -> Measured:
    def of(contender: str, changes: Mapping[str, Any], epochs: int, protocol: ProtocolConfig) -> TrainingCost:
        return cost

    passes = {kind: {name: PassCost((0.1,)) for name in spec.networks} for kind in timed_passes(spec)}
    return Measured(of, of, passes, lambda protocol: SIZES, overheads)


def test_a_trial_is_its_steps_its_validation_and_its_last_scores() -> None:
    found = trial_seconds(COST, 3, 32, SIZES, final_scores=False, overhead=0.5)
    assert found.likely == pytest.approx(3 * (4 + 0.2) + 0.5), "a last, smaller batch is a step, too"
    final = trial_seconds(COST, 3, 32, SIZES, final_scores=True, overhead=0.5)
    assert final.likely - found.likely == pytest.approx(0.01 * (2 * 30 + 100))
    loader = TrainingCost((1.0,), (0.01,), loader_start_seconds=5)
    started = trial_seconds(loader, 3, 32, SIZES, final_scores=True, overhead=0.5)
    assert started.likely - final.likely == pytest.approx(5 * (3 * 2 + 3)), "for each set of each epoch, and each score"


def test_the_counts_are_those_of_the_plan() -> None:
    for spec in (tiny(), tiny(search={}), tiny(timing=None), tiny(errata=["momentum_reset_each_epoch"])):
        counted = {stage.stage: (stage.trials, stage.epochs) for stage in plan(spec)}
        found = {stage.stage: stage for stage in estimate(spec, measured(spec), Slots(1, 1))}
        assert set(found) == {*counted, "start and report"}
        for name, numbers in counted.items():
            assert (found[name].most_trials, found[name].most_epochs) == numbers


def test_one_by_one_a_stage_is_the_sum_of_its_trials() -> None:
    spec = tiny()
    found = {stage.stage: stage.wall_seconds.likely for stage in estimate(spec, measured(spec), Slots(1, 1))}
    epoch = 4 + 0.2
    assert found["search"] == pytest.approx(6 * 1 * epoch)
    assert found["train"] == pytest.approx(4 * (2 * epoch + 1.6))
    passes = 2 * (0.1 * SIZES.test) + 0.1 * 32 * (3 + 1)
    assert found["time"] == pytest.approx(2 * 2 * passes), "2 kinds of 2 networks"
    beside = {stage.stage: stage.wall_seconds.likely for stage in estimate(spec, measured(spec), Slots(2, 2))}
    assert beside["search"] == pytest.approx(3 * epoch)
    assert beside["train"] == pytest.approx(found["train"] / 2)
    assert beside["time"] == found["time"], "timings run alone"


def test_what_others_had_of_the_device_may_be_saved_and_makes_nothing_longer() -> None:
    spec = tiny()
    alone, disturbed = (estimate(spec, measured(spec), Slots(1, 1), spread=0.2, others_share=s) for s in (0.0, 0.5))
    for quiet, busy in zip(alone, disturbed, strict=True):
        likely = quiet.wall_seconds.likely
        assert quiet.wall_seconds.low == pytest.approx(likely * 0.8)
        assert busy.wall_seconds.low == pytest.approx(likely * 0.5)
        assert (busy.wall_seconds.likely, busy.wall_seconds.high) == (likely, quiet.wall_seconds.high)


def test_overheads_and_compiling_come_on_top() -> None:
    spec = tiny()
    plain = {stage.stage: stage.wall_seconds.likely for stage in estimate(spec, measured(spec), Slots(1, 1))}
    over = measured(spec, overheads=Overheads(start=10, stage=3, trial=0.5, end=2))
    found = {stage.stage: stage.wall_seconds.likely for stage in estimate(spec, over, Slots(1, 1))}
    assert found["search"] - plain["search"] == pytest.approx(6 * 0.5)
    assert found["train"] - plain["train"] == pytest.approx(4 * 0.5 + 3)
    assert found["time"] - plain["time"] == pytest.approx(2 * 0.5 + 3)
    assert found["start and report"] == 12
    compiled = measured(spec, TrainingCost((1.0,), (0.01,), compile_seconds=40))
    found = {stage.stage: stage.wall_seconds.likely for stage in estimate(spec, compiled, Slots(1, 1))}
    assert found["search"] - plain["search"] == pytest.approx(2 * 40)
    assert found["train"] - plain["train"] == pytest.approx(2 * 40)


def test_what_passes_over_the_axes_find_makes_a_range() -> None:
    axes = {"initial_lr": [0.01, 0.05], "lr_decay": [0.9, 0.95]}
    spec = tiny(search={"epochs": 1, "axes": axes, "passes": 3})
    search = estimate(spec, measured(spec), Slots(1, 1))[0]
    assert (search.fewest_trials, search.most_trials) == (2 * 3, 2 * 7)
    assert search.wall_seconds.high == pytest.approx(search.wall_seconds.low * 7 / 3)
    assert search.wall_seconds.likely == pytest.approx(search.wall_seconds.low * 5 / 3)
    endless = tiny(search={"epochs": 1, "axes": axes, "passes": None})
    search = estimate(endless, measured(endless), Slots(1, 1))[0]
    assert search.most_trials is None
    assert search.most_epochs is None
    assert search.wall_seconds.high == math.inf


def test_a_searched_batch_size_makes_a_range() -> None:
    spec = tiny(search={"epochs": 1, "axes": {"batch_size": [32, 64]}}, timing=None, networks=["ConvNet"])
    search, train, _ = estimate(spec, measured(spec), Slots(1, 1))
    assert search.wall_seconds.low == pytest.approx(2 * (2 + 0.2)), "steps of 64"
    assert search.wall_seconds.high == pytest.approx(2 * (4 + 0.2)), "steps of 32"
    assert train.wall_seconds.low < train.wall_seconds.high
    assert {option[1].get("batch_size") for option in trial_options(spec)} == {None, 32, 64}


def test_time_is_told_no_more_narrowly_than_the_spread() -> None:
    spec = tiny()
    for stage in estimate(spec, measured(spec), Slots(1, 1), spread=0.2):
        assert stage.wall_seconds.high >= 1.2 * stage.wall_seconds.likely
        assert stage.wall_seconds.low <= 0.8 * stage.wall_seconds.likely


def test_a_kind_of_pass_is_measured_once_for_all_sets_and_compiled_ones_are_not() -> None:
    timing = {"batch_sizes": [32], "sets": ["train", "test"], "modes": ["float32-eager", "float32-compiled"]}
    spec = tiny(timing=timing)
    modes = [(kind.loader, kind.mode) for kind in timed_passes(spec)]
    assert modes == [(True, "float32-eager"), (False, "float32-eager"), (False, "float32-folded")]
    found = {stage.stage: stage.wall_seconds for stage in estimate(spec, measured(spec), Slots(1, 1))}
    assert found["time"].high - found["time"].low == pytest.approx(2 * 2 * (43 - 6)), "2 networks, 2 sets"


def test_a_mode_that_the_device_lacks_takes_no_time() -> None:
    spec = tiny()
    known = measured(spec)
    lacking = Measured(known.search_cost, known.train_cost, {}, known.sizes, NO_OVERHEADS)
    assert estimate(spec, lacking, Slots(1, 1))[2].wall_seconds == Range(0, 0, 0)
