"""How a run stands from its records: its state, its stage, and what a live display would show of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from records import NOW, make_run

from dwray.results import lease
from dwray.results.lease import Lease
from dwray.results.progress import Capacity, TrialProgress, Work
from dwray.results.records import Records
from dwray.results.run_standing import (
    CAPACITY,
    Driver,
    Planned,
    capacity_of,
    driver_of,
    most_at_once,
    noted_capacity,
    run_standing,
    trial_progress,
)
from dwray.results.standing import Best, TimeLeft
from dwray.storage import Storage

MINUTE = timedelta(minutes=1)
PLANNED = Planned(
    {
        "search": (Work("A", 4, 2), Work("B", 4, 2)),
        "train": (Work("A", 2, 2), Work("B", 2, 2)),
        "time": (Work("", 1, 1),),
    },
    ("initial_lr", "lr_decay"),
)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records.read(make_run(tmp_path))


def but(records: Records, without: Iterable[str] = (), **changed: dict[str, Any]) -> Records:
    """Records without the trials of some stages, and with columns of some trials changed."""
    rows = [{**row, **changed.get(row["trial_id"], {})} for row in records.trials if row["stage"] not in without]
    return replace(records, trials=rows)


def test_a_trial_is_told_of_as_its_driver_does(records: Records) -> None:
    row = next(row for row in records.trials if row["trial_id"] == "t0")
    assert trial_progress(records, row) == TrialProgress(
        "t0",
        "A seed=0",
        "completed",
        contender="A",
        varies="seed=0",
        iteration=2,
        iterations=2,
        seconds_per_iteration=2.5,  # median of 1 + 0.5 and 3 + 0.5
        seconds_left=0,
        images_per_second=100 / 3,
        accuracy_percent=90,
    )
    searched = next(row for row in records.trials if row["trial_id"] == "s1")
    found = trial_progress(records, searched, PLANNED.axes)
    assert (found.settings, found.accuracy_percent, found.varies) == (
        "initial_lr 0.2, lr_decay 0.9",
        70,
        "initial_lr=0.2",
    )


def test_a_run_of_which_nothing_is_left_is_completed_or_failed(records: Records) -> None:
    standing = run_standing(records, None, driven=False)
    assert (standing.state, standing.stage, standing.done, standing.failed) == ("failed", None, 6, 1)
    well = but(records, t2={"status": "completed"})
    assert run_standing(well, None, driven=False).state == "completed"
    # B has no winner, so it is not trained: nothing is left of what was planned either.
    assert run_standing(well, PLANNED, driven=False).state == "completed"


def test_a_run_of_which_something_is_left_runs_or_was_interrupted(records: Records) -> None:
    untimed = but(records, ["time"], t1={"status": "running", "epochs_done": 1})
    running = run_standing(untimed, PLANNED, driven=True)
    assert (running.state, running.stage) == ("running", "train")
    assert running.current
    assert [trial.trial_id for trial in running.current.running] == ["t1"]
    interrupted = run_standing(untimed, PLANNED, driven=False)
    assert (interrupted.state, interrupted.stage) == ("interrupted", "train")
    assert interrupted.current
    assert (interrupted.current.running, interrupted.current.busy) == ((), 0), "nothing runs without a driver"


def test_a_stage_that_has_not_begun_is_the_next(records: Records) -> None:
    standing = run_standing(but(records, ["time"], t2={"status": "completed"}), PLANNED, driven=False)
    assert (standing.state, standing.stage) == ("interrupted", "time")
    assert standing.current
    assert (standing.current.done, standing.current.left) == (0, 1)
    searched = run_standing(but(records, ["time", "train"]), PLANNED, driven=False)
    assert (searched.stage, [each.stage for each in searched.stages]) == ("train", ["search", "train"])


def test_a_search_has_ended_when_it_has_winners_or_a_training_began(records: Records) -> None:
    searching = but(records, ["time", "train"], s0={"winner": False}, s1={"winner": False})
    standing = run_standing(searching, PLANNED, driven=True)
    assert standing.stage == "search"
    assert standing.current
    assert (standing.current.done, standing.current.left, standing.current.at_most) == (2, 6, True)
    assert standing.current.best == (Best("A", 80, "initial_lr 0.1, lr_decay 0.9"),)
    begun = but(records, ["time"], s0={"winner": False})
    assert run_standing(begun, PLANNED, driven=True).stages[0].stage != run_standing(begun, PLANNED, driven=True).stage


def test_the_time_left_is_from_the_epochs_of_the_records(records: Records) -> None:
    half = but(records, ["time"], t1={"status": "running", "epochs_done": 1}, t2={"status": "completed"})
    current = run_standing(half, PLANNED, driven=True).current
    assert current
    assert current.time_left == TimeLeft(2.5, at_least=False), "an epoch of t1, whose two take 2.5 s each"


def test_the_capacity_that_a_driver_noted_is_that_of_its_stage(records: Records) -> None:
    capacity = Capacity("GPU", 8, 0.5, 16)
    noted = replace(records, identity={**records.identity, **noted_capacity("train", capacity)})
    assert capacity_of(noted, "train") == capacity
    assert capacity_of(noted, "search") is None
    assert capacity_of(records, "train") is None
    no_slots = noted_capacity("train", capacity)[CAPACITY].replace("16", '"16"')
    for other in ("[]", "{", '{"stage": "train"}', '{"stage": "train", "gpus": 1}', no_slots):
        assert capacity_of(replace(records, identity={**records.identity, CAPACITY: other}), "train") is None
    running = but(noted, ["time"], t1={"status": "running"})
    current = run_standing(running, PLANNED, driven=True).current
    assert current
    assert current.capacity == capacity
    interrupted = run_standing(running, PLANNED, driven=False).current
    assert interrupted
    assert interrupted.capacity is None, "nothing is busy"


def test_before_a_stage_has_begun_as_many_trials_fit_as_ran_at_once_before(records: Records) -> None:
    work = replace(PLANNED, work={**PLANNED.work, "train": (Work("A", 4, 2),)})  # 20 s at 2.5 s an epoch

    def seconds_left(searched: Records, *, driven: bool = False) -> float:
        current = run_standing(searched, work, driven=driven).current
        assert current
        assert current.stage == "train"
        assert current.time_left
        return current.time_left.seconds

    first = {"stage": "search", "started_at": NOW, "ended_at": NOW + MINUTE}
    behind = {"stage": "search", "started_at": NOW + MINUTE, "ended_at": NOW + 2 * MINUTE}
    one_by_one = but(records, ["time"], t0=first, t1=behind, t2={"stage": "search"})
    at_once = but(records, ["time"], t0=first, t1=first, t2={"stage": "search"})
    for driven in (True, False):
        assert (seconds_left(one_by_one, driven=driven), seconds_left(at_once, driven=driven)) == (20, 10)
    noted = noted_capacity("train", Capacity("GPU", 8, 1, 4))
    assert seconds_left(replace(at_once, identity={**records.identity, **noted})) == 5, "as its last driver knew"


@pytest.mark.parametrize(
    ("spans", "most"), [([], 0), ([(0, None)], 0), ([(0, 1), (1, 2), (2, 3)], 1), ([(0, 5), (1, 2), (1, 3), (3, 9)], 3)]
)
def test_the_trials_that_ran_at_once_are_counted_by_their_times(spans: list[tuple[int, int | None]], most: int) -> None:
    times = [[None if each is None else NOW + timedelta(seconds=each) for each in span] for span in spans]
    assert most_at_once([{"started_at": began, "ended_at": ended} for began, ended in times]) == most


def test_the_driver_of_a_run_is_who_holds_its_lease(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    assert driver_of(storage) is None
    with Lease(storage):
        found = driver_of(storage)
        assert found == Driver(os.uname().nodename, os.getpid())
        assert str(found) == f"{os.uname().nodename} (process {os.getpid()})"
    assert driver_of(storage) is None
    (tmp_path / lease.NAME).write_text("[]")
    assert driver_of(storage) is None


def test_a_killed_driver_is_none(tmp_path: Path) -> None:
    script = (
        f"import os; from dwray.results.lease import Lease; from dwray.storage import Storage\n"
        f"with Lease(Storage({str(tmp_path)!r})): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert json.loads((tmp_path / lease.NAME).read_text())["host"] == os.uname().nodename
    assert driver_of(Storage(tmp_path)) is None
