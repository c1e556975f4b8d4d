"""Tune callbacks: one tells how each trial gets on and how long it takes, one writes the records."""

import re
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.result import TIME_THIS_ITER_S, TRAINING_ITERATION

from dwray.results.one_device import MOVED
from dwray.results.progress import Capacity, Event, Listener, Notice, TrialProgress
from dwray.results.schema import EPOCHS
from dwray.results.store import PASS_KIND, RunStore
from dwray.tune.trainables import KEY

FLUSH_SECONDS = 2.0
"""The least time between two writes of the Parquet files while trials run."""

FLUSH_SHARE = 0.05
"""The most of the driver's time that they may take: each file is written whole, which takes longer as a run grows."""

CAPACITY_SECONDS = 10.0
"""So often the cluster is asked what it has: nodes come and go."""

PACE_ITERATIONS = 1000
"""A trial's pace is the median over its last so many results."""


def print_line(progress: Event) -> None:
    """The listener of those who have none: a plain line on standard output."""
    if isinstance(progress, Notice):
        print(progress.text, flush=True)
    if isinstance(progress, TrialProgress):
        seconds = progress.seconds_per_iteration
        rate = "" if seconds is None else f", {seconds:.2f} s each"
        of = "" if progress.iterations is None else f"/{progress.iterations}"
        print(f"{progress.name}: {progress.status}, iteration {progress.iteration}{of}{rate}", flush=True)


def planned_iterations(trial: Trial) -> int | None:
    """How many results a trial will report: its stopping criterion, or ``epochs`` in its config."""
    planned = trial.stopping_criterion.get(TRAINING_ITERATION) or trial.config.get("epochs")
    return int(planned) if isinstance(planned, int | float) else None


def last_error(trial: Trial) -> str:
    """A trial's last failure in a line: the exception that ended it, or all that Ray says of an actor's death."""
    if trial.error_file is None or not Path(trial.error_file).exists():
        return "failed without a message"
    text = Path(trial.error_file).read_text(errors="replace")
    return summary_of_failure(text)


def summary_of_failure(text: str) -> str:
    """The last failure in the text of Tune's error file, in a line."""
    lines = [line for line in text.splitlines() if line.strip()]
    header = max((index for index, line in enumerate(lines) if line.startswith("Failure # ")), default=-1)
    lines = lines[header + 1 :]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    return raised[-1].strip() if raised else " ".join(line.strip() for line in lines)[:400]


@dataclass
class _Clock:
    started: float
    iteration_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=PACE_ITERATIONS))


class TimingReporter(Callback):  # type: ignore[misc]
    """Tells a listener of every trial's state, pace and time left, for every trainable.

    Works as ``RunConfig(callbacks=[TimingReporter()])`` with anybody's trainable: time comes from what Tune itself
    adds to each result, loss, accuracy and throughput from the result's keys that are named here, if it has them.

    Args:
        listener: Called in the driver with a :class:`~dwray.results.progress.TrialProgress` at a trial's start, at each
            result and at its end; by default it prints a line.
        varies: What distinguishes a trial among its neighbours, as text; by default its name says it all.
        settings: What a search has chosen for a trial, as text.
        loss: Key of the loss in a result.
        accuracy: Key of the accuracy in a result, in percent.
        validation_loss: Key of the validation loss in a result.
        images_per_second: Key of the throughput in a result.
        iteration: Key of how far a trial is; where a result lacks it, Tune's count of results since the trial's (last)
            start is taken.

    Raises:
        ValueError: A result's ``iteration`` is no number; this, or what the listener raises, ends the experiment.

    Source: Ray Tune's ``Callback`` and the keys that it fills in (``ray.tune.result``).

    Example:
        >>> from ray import tune
        >>> import dwray
        >>> told = []
        >>> callbacks = [dwray.TimingReporter(told.append, accuracy="top1_percent")]
        >>> config = tune.RunConfig(callbacks=callbacks)

        After ``tune.Tuner(trainable, run_config=config).fit()`` each element of ``told`` has a trial's ``name``,
        ``status``, ``seconds`` since its start, ``seconds_per_iteration`` and ``seconds_left``.
    """

    def __init__(
        self,
        listener: Listener = print_line,
        *,
        varies: Callable[[Trial], str] = lambda _: "",
        settings: Callable[[Trial], str] = lambda _: "",
        loss: str = "train_loss",
        accuracy: str = "validation_accuracy_percent",
        validation_loss: str = "validation_loss",
        images_per_second: str = "images_per_second",
        iteration: str = TRAINING_ITERATION,
    ) -> None:
        self._listener = listener
        self._iteration = iteration
        self._varies, self._settings = varies, settings
        self._keys = {
            "loss": loss,
            "accuracy_percent": accuracy,
            "validation_loss": validation_loss,
            "images_per_second": images_per_second,
        }
        self._clocks: dict[str, _Clock] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks for ``Tuner.restore``: without the listener, which belongs to this process."""
        return {**self.__dict__, "_listener": print_line, "_clocks": {}}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial starts, or starts again."""
        self._clocks.setdefault(trial.trial_id, _Clock(time.monotonic()))
        self._tell(trial, "running", trial.last_result or {})

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reports."""
        clock = self._clocks.setdefault(trial.trial_id, _Clock(time.monotonic()))
        clock.iteration_seconds.append(result[TIME_THIS_ITER_S])
        self._tell(trial, "running", result)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial ends well, or diverged."""
        result = trial.last_result or {}
        self._tell(trial, "diverged" if result.get("diverged") else "completed", result)
        self._clocks.pop(trial.trial_id, None)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial failed and will be tried again."""
        self._tell(trial, "retrying", trial.last_result or {}, error=last_error(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial failed for good."""
        self._tell(trial, "failed", trial.last_result or {}, error=last_error(trial))
        self._clocks.pop(trial.trial_id, None)

    def _tell(self, trial: Trial, status: str, result: Mapping[str, Any], error: str | None = None) -> None:
        clock = self._clocks.get(trial.trial_id)
        pace = statistics.median(clock.iteration_seconds) if clock and clock.iteration_seconds else None
        done = int(result.get(self._iteration, result.get(TRAINING_ITERATION, 0)))
        planned = planned_iterations(trial)
        left = None if pace is None or planned is None else pace * max(0, planned - done)
        self._listener(
            TrialProgress(
                trial_id=trial.trial_id,
                name=str(trial),
                status=status,
                contender=str(trial.config.get("contender", "")),
                varies=self._varies(trial),
                settings=self._settings(trial),
                iteration=done,
                iterations=planned,
                seconds_per_iteration=pace,
                seconds_left=left,
                seconds=time.monotonic() - clock.started if clock else None,
                error=error,
                **{name: result.get(key) for name, key in self._keys.items()},
            )
        )


class CapacityReporter(Callback):  # type: ignore[misc]
    """Tells a listener what the cluster has for the trials of a stage: as it begins, and when that has changed.

    Args:
        listen: Is told.
        measure: Asks the cluster.
    """

    def __init__(self, listen: Callable[[Capacity], None], measure: Callable[[], Capacity]) -> None:
        self._listen, self._measure = listen, measure
        self._told: Capacity | None = None
        self._next = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks: all of this belongs to the driver and stays behind."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune goes round once more."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + CAPACITY_SECONDS
        found = self._measure()
        if found != self._told:
            self._told = found
            self._listen(found)


def key_of(trial: Trial) -> str:
    """A trial's name in its run."""
    return str(trial.config.get(KEY, trial.trial_id))


def _all_devices(before: str | None, now: str | None) -> str | None:
    """The kinds of devices of a trial that went on, perhaps on another kind: its times are of all of them."""
    names = [*(before.split(MOVED) if before else ()), now]
    return MOVED.join(dict.fromkeys(filter(None, names))) or None


class RecordWriter(Callback):  # type: ignore[misc]
    """Writes what the trials of a stage report into the run's store.

    Args:
        store: Where to.
        describe: The columns of a trial's row that are known when it starts.
    """

    EPOCH_COLUMNS = tuple(name for name in EPOCHS.names if name not in ("trial_id", "reported_at"))
    TRIAL_COLUMNS = (
        "train_loss",
        "train_accuracy_percent",
        "validation_loss",
        "validation_accuracy_percent",
        "test_loss",
        "train_images",
        "train_set_accuracy_percent",
        "test_accuracy_percent",
        "batch_statistics_test_accuracy_percent",
        "precision",
        "memory_format",
        "compile",
        "step_flops",
        "step_bytes",
        "matrix_flops_per_second",
        "copy_bytes_per_second",
        "unavailable",
        "device",
        "threads",
        "host",
    )

    def __init__(
        self, store: RunStore, describe: Callable[[Trial], Mapping[str, Any]], listen: Listener = print_line
    ) -> None:
        self._store = store
        self._describe = describe
        self._listen = listen
        self._started: dict[str, tuple[float, float]] = {}
        """When this driver heard first of a trial, and the seconds that it had run before that."""
        self._failures: dict[str, int] = {}
        """Of each trial, in this driver, by Tune's count."""
        self._next_flush = 0.0
        self.storage_error: str | None = None
        """A trial's state could not be saved: the experiment is to stop."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks for ``Tuner.restore``: the store belongs to this process and stays behind."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Begin the trial's row."""
        self._begin(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Add an epoch (and those before it that a saved state brought along), or the timed passes."""
        key = key_of(trial)
        row = self._store.trial(key)
        known = {name: result[name] for name in self.TRIAL_COLUMNS if name in result}
        known["device"] = _all_devices(row.get("device"), known.get("device"))
        self._store.update_trial(key, epochs_done=result.get("epoch"), seconds=self._seconds(key), **known)
        for warning in result.get("warnings", ()):
            self._listen(Notice(f"{trial}: {warning}"))
        for record in [*result.get("earlier", ()), *([result] if "epoch" in result else ())]:
            values = {name: record.get(name, row.get(name)) for name in self.EPOCH_COLUMNS}
            if record is result or not self._store.has_epoch(key, record["epoch"]):
                self._store.add_epoch({**values, "trial_id": key, "reported_at": datetime.now(UTC)})
        self.storage_error = self.storage_error or result.get("storage_error")
        for timed in result.get("passes", ()):
            self._store.add_timing(
                {
                    "trial_id": key,
                    "contender": timed["network"],
                    "pass_number": timed["number"],
                    **{name: timed[name] for name in ("images", "seconds", "images_per_second")},
                    **{name: trial.config[name] for name in PASS_KIND},
                    **{name: result[name] for name in ("device", "threads")},
                    **result["witnessed"],
                    "synthetic": row["synthetic"],
                }
            )

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close the trial's row."""
        diverged = (trial.last_result or {}).get("diverged")
        self._end(trial, "diverged" if diverged else "completed")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note a failure that is tried again, or that a trial's node was drained, which is none."""
        self._begin(trial)  # it may have failed before it started
        self._note_failure(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close the row of a trial that failed; it may never have started."""
        self._begin(trial)
        self._note_failure(trial)
        self._end(trial, "failed")

    def _begin(self, trial: Trial) -> None:
        key = key_of(trial)
        if key not in self._started:
            row = self._store.trial(key)
            self._started[key] = time.monotonic(), row.get("seconds") or 0.0
            started_at = row.get("started_at") or datetime.now(UTC)
            self._store.update_trial(key, trial=str(trial), started_at=started_at, **self._describe(trial))
        self._store.update_trial(key, status="running")

    def _note_failure(self, trial: Trial) -> None:
        key = key_of(trial)
        new = trial.num_failures - self._failures.get(key, 0)
        self._failures[key] = trial.num_failures
        if new:  # the loss of a node that was drained (a spot notice) is none to Tune, nor to who reads the records
            failures = (self._store.trial(key).get("failures") or 0) + new
            self._store.update_trial(key, failures=failures, error=last_error(trial))

    def _seconds(self, key: str) -> float:
        began, before = self._started[key]
        return before + time.monotonic() - began

    def _end(self, trial: Trial, status: str) -> None:
        key = key_of(trial)
        if self.storage_error and status == "completed":
            status = "interrupted"
        self._store.update_trial(key, status=status, ended_at=datetime.now(UTC), seconds=self._seconds(key))

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Write the tables now and then."""
        began = time.monotonic()
        if began >= self._next_flush:
            self._store.flush()
            ended = time.monotonic()
            self._next_flush = ended + max(FLUSH_SECONDS, (ended - began) * (1 / FLUSH_SHARE - 1))
