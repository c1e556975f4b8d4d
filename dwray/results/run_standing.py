"""How a run stands that goes on elsewhere, or has ended: from its records, and from the lease of its driver."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import Any, Literal

from dwray.core.config import in_yaml
from dwray.errors import RunError, counted, parse_json
from dwray.results import lease
from dwray.results.curves import pass_seconds
from dwray.results.progress import Capacity, Metric, StageProgress, TrialProgress, Work
from dwray.results.records import Records
from dwray.results.schema import STAGES
from dwray.results.sound import MOST
from dwray.results.standing import StageStanding, paces, stage_standing
from dwray.results.table import Row
from dwray.storage import Storage

CAPACITY = "capacity"
"""In the metadata of trials.parquet: what the cluster has for the trials of a stage."""
State = Literal["running", "interrupted", "failed", "completed"]


@dataclass(frozen=True)
class Driver:
    """Who works on a run."""

    host: str
    process: int | None

    def __str__(self) -> str:
        return f"{self.host} (process {self.process})" if self.process else self.host


@dataclass(frozen=True)
class Planned:
    """What a sweep plans."""

    work: Mapping[str, tuple[Work, ...]]
    """Of each stage, in the stages' order."""
    axes: tuple[str, ...] = ()
    """Of the search."""
    metric: Metric = "validation_accuracy_percent"


@dataclass(frozen=True)
class RunStanding:
    """Where a run stands."""

    state: State
    """running: a driver works on it; interrupted: none does, and trials are left; failed: nothing is left, and trials
    failed for good; completed: nothing is left."""
    stage: str | None
    """The first that has not ended; None where all have."""
    stages: tuple[StageStanding, ...]
    """Those that have begun, and the next."""
    disturbed: int = 0
    """Timings that did not have their device to themselves."""

    @property
    def current(self) -> StageStanding | None:
        """The stage that has not ended."""
        return next((each for each in self.stages if each.stage == self.stage), None)

    @property
    def done(self) -> int:
        """Trials that have ended."""
        return sum(each.done for each in self.stages)

    @property
    def failed(self) -> int:
        """Trials that failed for good."""
        return sum(each.failed for each in self.stages)

    @property
    def diverged(self) -> int:
        """Trials whose loss became no number."""
        return sum(each.diverged for each in self.stages)

    @property
    def amiss(self) -> str:
        """What did not go well, in words; empty where all did."""
        parts = (
            (self.failed, "trial", "failed"),
            (self.diverged, "trial", "diverged"),
            (self.disturbed, "timing", "disturbed"),
        )
        return ", ".join(f"{counted(number, what)} {became}" for number, what, became in parts if number)


def trial_progress(records: Records, row: Row, axes: Sequence[str] = ()) -> TrialProgress:
    """A trial as its driver told of it, from its row and its epochs.

    Args:
        records: Those of its run.
        row: Of ``records.trials``.
        axes: Of the search.
    """
    epochs = records.epochs_of(row)
    contender = row["contender"] or ""
    searched = row["stage"] == "search"
    pace = None
    name = row["trial"] or row["trial_id"]
    if passes := pass_seconds(epochs):
        pace = statistics.median(passes)
    elif row["stage"] == "time" and row["status"] == "completed":
        pace = row["seconds"]
    last: Mapping[str, Any] = epochs[-1] if len(epochs) else {}
    done = row["epochs_done"] or len(epochs)
    planned = row["epochs"] if row["stage"] != "time" else None
    settings = [f"{axis} {in_yaml(row[axis])}" for axis in axes if row.get(axis) is not None] if searched else []
    return TrialProgress(
        trial_id=row["trial_id"],
        name=name,
        status=row["status"],
        contender=contender,
        varies=name.removeprefix(f"{contender} "),
        settings=", ".join(settings),
        iteration=done,
        iterations=planned,
        seconds_per_iteration=pace,
        seconds_left=None if pace is None or planned is None else pace * max(0, planned - done),
        seconds=row["seconds"],
        loss=last.get("train_loss"),
        accuracy_percent=row["validation_accuracy_percent"],
        validation_loss=row["validation_loss"],
        images_per_second=last.get("images_per_second"),
        error=row["error"],
    )


def run_standing(records: Records, planned: Planned | None, *, driven: bool) -> RunStanding:
    """How a run stands.

    Args:
        records: What it has measured so far.
        planned: What it is to measure; None if that is not known.
        driven: A driver works on it: its trials run, and otherwise none does.
    """
    stages = [name for name in STAGES if records.of_stage(name) or (planned and name in planned.work)]
    found, current, measured, slots = [], None, dict[str, float](), 0
    for index, name in enumerate(stages):
        trials = _trials(records, name, planned, driven=driven)
        noted = capacity_of(records, name)
        slots = noted.slots if noted else most_at_once(records.of_stage(name)) or slots
        capacity = noted if driven else None  # without a driver nothing is busy
        found.append(stage_standing(_begun(records, name, planned), trials, measured, capacity, slots))
        measured |= paces(trials)
        # A driver goes on to the next stage when nothing is left of one.
        later = any(records.of_stage(after) for after in stages[index + 1 :])
        if not _has_ended(records, found[-1], later=later):
            current = name
            break
    if driven:
        state: State = "running"
    elif current:
        state = "interrupted"
    else:
        state = "failed" if any(each.failed for each in found) else "completed"
    return RunStanding(state, current, tuple(found), len(records.disturbed_timings))


def _begun(records: Records, stage: str, planned: Planned | None) -> StageProgress:
    """What the driver of a stage tells as it begins."""
    work = _work(records, stage, planned)
    limits = [each.trials for each in work if each.trials is not None]
    return StageProgress(
        stage,
        planned_trials=sum(limits) if work and len(limits) == len(work) else None,
        work=work,
        metric=planned.metric if planned else "validation_accuracy_percent",
    )


def _trials(records: Records, stage: str, planned: Planned | None, *, driven: bool) -> list[TrialProgress]:
    """What the driver of a stage tells of its trials; those that ran as it was killed run no more."""
    rows = records.of_stage(stage)
    axes = planned.axes if planned else tuple(dict.fromkeys(row["axis"] for row in rows if row["axis"]))
    trials = [trial_progress(records, row, axes) for row in rows]
    return [
        replace(trial, status="interrupted") if trial.status == "running" and not driven else trial for trial in trials
    ]


def _work(records: Records, stage: str, planned: Planned | None) -> tuple[Work, ...]:
    """What a stage plans: no training of a contender whose search has found nothing."""
    work = planned.work.get(stage, ()) if planned else ()
    if stage != "train" or planned is None or "search" not in planned.work:
        return work
    winners = {row["contender"] for row in records.of_stage("search") if row["winner"]}
    return tuple(each for each in work if each.contender in winners) if winners else work


def _has_ended(records: Records, standing: StageStanding, *, later: bool) -> bool:
    """Nothing of a stage is left.

    Args:
        records: Those of its run.
        standing: Of the stage.
        later: A later stage has begun.
    """
    rows = records.of_stage(standing.stage)
    if any(row["status"] in ("running", "interrupted") for row in rows):
        return False
    if later or (standing.planned is not None and standing.done >= standing.planned):
        return True
    if standing.stage == "search":  # it may end with fewer trials than it may take
        return any(row["winner"] for row in rows)
    return standing.planned is None


def most_at_once(trials: Sequence[Row]) -> int:
    """How many trials ran side by side, at the most: as many as fit, if there were enough of them.

    Args:
        trials: Rows of trials.parquet; one that has no end yet is left out.
    """
    spans = [(row["started_at"], row["ended_at"]) for row in trials if row["started_at"] and row["ended_at"]]
    # Of one moment, ends come first: a trial takes the place of the one before.
    changes = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    return max(accumulate(change for _, change in changes), default=0)


def noted_capacity(stage: str, capacity: Capacity) -> dict[str, str]:
    """Metadata that says what the cluster has for the trials of a stage."""
    return {CAPACITY: json.dumps({"stage": stage, **asdict(capacity)})}


def capacity_of(records: Records, stage: str) -> Capacity | None:
    """What the driver of a run has noted of its cluster for a stage; None if it has not, or another version has."""
    try:
        noted = parse_json(records.identity.get(CAPACITY, "{}"))
        found = Capacity(**noted) if noted.pop("stage", None) == stage else None
    except (ValueError, TypeError, AttributeError):
        return None
    return found if found and _is_sound(found) else None


def _is_sound(capacity: Capacity) -> bool:
    """It is what a driver can have noted: whoever reads it calculates with it."""
    numbers = (capacity.total, capacity.per_trial, capacity.slots)
    return (
        capacity.kind in ("GPU", "CPU")
        and isinstance(capacity.slots, int)
        and all(isinstance(number, int | float) and 0 <= number <= MOST for number in numbers)
    )


def driver_of(storage: Storage) -> Driver | None:
    """The driver that works on a run; None if none does, or if it was killed.

    Of a driver on another machine that takes a while: whether it renews its lease has to be seen.

    Args:
        storage: Where the run is kept.

    Raises:
        OSError: The storage cannot be read.
    """
    held = lease.read(storage)
    if held is None or "host" not in held:
        return None
    try:
        lease.Lease(storage).check()
    except RunError:  # it is held
        return Driver(str(held["host"]), held["pid"])
    return None
