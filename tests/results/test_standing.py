"""How a stage stands: counted, the best so far, and the time left by hand-made arithmetic."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwray.results.progress import Capacity, StageProgress, TrialProgress, Work
from dwray.results.standing import (
    Best,
    TimeLeft,
    Tracker,
    best_so_far,
    parallel_seconds,
    score_text,
    stage_standing,
    time_left,
)

TRAIN = StageProgress("train", 5, work=(Work("A", 3, 10), Work("B", 2, 4)))


def trial(
    number: int, contender: str, status: str = "running", done: int = 0, pace: float | None = None
) -> TrialProgress:
    return TrialProgress(
        str(number),
        f"{contender} {number}",
        status,
        contender=contender,
        varies=f"seed={number}",
        iteration=done,
        iterations=10 if contender == "A" else 4,
        seconds_per_iteration=pace,
    )


def left(*trials: TrialProgress, paces: dict[str, float] | None = None, slots: int = 1) -> TimeLeft | None:
    capacity = Capacity("CPU", slots, 1, slots)
    return stage_standing(TRAIN, trials, paces or {}, capacity).time_left


def test_before_an_epoch_is_measured_nothing_is_said_of_the_time() -> None:
    assert left() is None
    assert left(trial(0, "A"), trial(1, "B")) is None


def test_the_time_left_is_measured_epochs_times_those_that_are_left() -> None:
    # A: 7 epochs of this trial at 2 s, 2 trials of 10 at the median, 2 s; B: 2 trials of 4 epochs at 1 s.
    trials = [trial(0, "A", done=3, pace=2.0), trial(1, "B", "completed", done=4, pace=1.0)]
    assert left(*trials) == TimeLeft(7 * 2 + 20 * 2 + 4 * 1, at_least=False)
    assert left(*trials, slots=2) == TimeLeft(29, at_least=False)
    assert left(*trials, slots=50) == TimeLeft(20, at_least=False), "a whole training of A, however many run"


def test_a_network_without_a_measured_epoch_is_not_counted_and_that_is_said() -> None:
    assert left(trial(0, "A", done=3, pace=2.0)) == TimeLeft(54, at_least=True)
    assert left(trial(0, "A", done=3, pace=2.0), paces={"B": 1.0}) == TimeLeft(62, at_least=False), "of the search"
    assert left(trial(0, "A", done=3, pace=2.0), paces={"A": 9.0, "B": 1.0}) == TimeLeft(62, at_least=False)


def test_a_trial_that_waits_or_was_interrupted_is_counted_once() -> None:
    done = [trial(number, "A", "completed", 10, 2.0) for number in range(2)]
    others = [trial(number, "B", "completed", 4, 1.0) for number in (5, 6)]
    for status in ("retrying", "interrupted", "running"):
        assert left(*done, *others, trial(2, "A", status, 4)) == TimeLeft(12, at_least=False)
    assert left(*done, *others, trial(2, "A", "failed", 4)) == TimeLeft(0, at_least=False)


def test_a_search_without_a_limit_and_unknown_work_have_no_time_left() -> None:
    running = [trial(0, "A", done=3, pace=2.0)]
    assert time_left(StageProgress("search", work=(Work("A", None, 10),)), running, {"A": 2.0}, 1) is None
    assert time_left(StageProgress("search", 3), running, {"A": 2.0}, 1) is None


@given(st.lists(st.floats(0.01, 1e6), max_size=30), st.integers(1, 100))
def test_no_schedule_takes_less_and_a_greedy_one_less_than_twice_as_long(trials: list[float], slots: int) -> None:
    least = parallel_seconds(trials, slots)
    ends = [0.0] * slots
    for seconds in trials:
        first = ends.index(min(ends))
        ends[first] += seconds
    assert least * (1 - 1e-9) <= max(ends) <= least * (2 - 1 / slots) * (1 + 1e-9)


def test_trials_are_counted_by_what_became_of_them() -> None:
    trials = [
        trial(0, "A", "completed"),
        trial(1, "A", "failed"),
        trial(2, "A", "diverged"),
        trial(3, "B", "running"),
        trial(4, "B", "retrying"),
    ]
    standing = stage_standing(TRAIN, trials, {}, Capacity("GPU", 4, 0.5, 8))
    assert (standing.done, standing.failed, standing.busy, standing.left) == (3, 1, 1, 1)
    assert [each.trial_id for each in standing.running] == ["3", "4"]
    assert stage_standing(StageProgress("search"), trials, {}).left is None


def scored(number: int, contender: str, status: str, accuracy: float, loss: float) -> TrialProgress:
    return replace(
        trial(number, contender, status),
        accuracy_percent=accuracy,
        validation_loss=loss,
        settings=f"lr {number}",
    )


def test_the_best_is_by_the_last_epoch_of_a_search_by_that_of_whole_trials() -> None:
    trials = [
        scored(0, "B", "completed", 70, 0.9),
        scored(1, "A", "completed", 80, 0.5),
        scored(2, "A", "completed", 80, 0.4),
        scored(3, "A", "running", 99, 0.1),
        scored(4, "B", "diverged", 99, float("nan")),
    ]
    search = StageProgress("search", 9, work=(Work("A", 5, 1), Work("B", 4, 1)))
    assert best_so_far(search, trials) == (Best("A", 80, "lr 1"), Best("B", 70, "lr 0")), "a tie goes to the first"
    by_loss = replace(search, metric="validation_loss")
    assert best_so_far(by_loss, trials) == (Best("A", 0.4, "lr 2"), Best("B", 0.9, "lr 0"))
    trainings = [replace(each, settings="") for each in trials[:4]]
    best = Best("A", 99, "seed=3"), Best("B", 70, "seed=0")
    assert best_so_far(TRAIN, trainings) == best
    after_a_search_by_loss = stage_standing(replace(TRAIN, metric="validation_loss"), trainings, {})
    assert (after_a_search_by_loss.best, after_a_search_by_loss.metric) == (best, "validation_accuracy_percent")
    assert best_so_far(TRAIN, [replace(trials[0], accuracy_percent=None)]) == ()


def test_a_score_says_what_it_is_of() -> None:
    assert score_text(91.2, "validation_accuracy_percent") == "validation 91.20%"
    assert score_text(0.4, "validation_loss") == "validation loss 0.4000"


def test_a_tracker_forgets_a_stages_trials_and_keeps_its_paces() -> None:
    tracker = Tracker()
    assert tracker.standing() is None
    tracker.tell(StageProgress("search", 1, work=(Work("A", 1, 10),)))
    tracker.tell(Capacity("CPU", 2, 1, 2))
    tracker.tell(trial(0, "A", "completed", 10, 3.0))
    standing = tracker.standing()
    assert standing
    assert (standing.done, standing.capacity) == (1, Capacity("CPU", 2, 1, 2))
    tracker.tell(StageProgress("search", ended=True))
    assert tracker.standing() is None
    tracker.tell(StageProgress("train", 2, work=(Work("A", 2, 10),)))
    standing = tracker.standing()
    assert standing
    assert (standing.done, standing.capacity) == (0, None)
    assert standing.time_left == TimeLeft(30, at_least=False), "until it is told, as many fit as did before"


@pytest.mark.parametrize("status", ["completed", "failed", "diverged"])
def test_what_ended_under_an_earlier_driver_counts(status: str) -> None:
    tracker = Tracker()
    tracker.tell(replace(TRAIN, earlier=(trial(0, "A", status, 10),)))
    standing = tracker.standing()
    assert standing
    assert (standing.done, standing.left) == (1, 4)
