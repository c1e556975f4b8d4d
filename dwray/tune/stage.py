"""One stage of a sweep as a Tune experiment: what it runs, and running what is left of it."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from dwray.errors import RunError
from dwray.results.progress import Capacity, Listener, Work
from dwray.results.run_standing import noted_capacity
from dwray.results.store import RunStore
from dwray.results.table import Row
from dwray.tune import signals
from dwray.tune.callbacks import CapacityReporter, RecordWriter, TimingReporter
from dwray.tune.capacity import measure
from dwray.tune.cluster import nodes
from dwray.tune.experiment import make_tuner
from dwray.tune.resuming import Resuming
from dwray.tune.searcher import FixedTrials, LinearSearch
from dwray.tune.waiting import WaitingNotice


@dataclass(frozen=True)
class Stage:
    """One Tune experiment of the sweep."""

    name: str
    trainable: Any
    searcher: LinearSearch | FixedTrials
    ended: Mapping[str, float | None]
    """Trials that are not to be run again, by key, with their scores; see :class:`~dwray.tune.resuming.Resuming`."""
    trials: int
    """At most; -1 is no limit."""
    work: tuple[Work, ...]
    """The same, by contender."""
    resources: Mapping[str, float]
    varies: Callable[[Trial], str]
    describe: Callable[[Trial], Row]
    settings: Callable[[Trial], str] = lambda _: ""
    """Of a search: what it has chosen for a trial."""
    exclusive: bool = False
    """One trial at a time."""


def run_stage(
    stage: Stage,
    store: RunStore,
    listen: Listener,
    *,
    describe: Callable[[Trial], Row],
    retries: int,
    verbose: bool = False,
) -> None:
    """Run the trials of a stage that are left; its searcher knows the results of all of them then.

    Args:
        stage: What to run.
        store: Gets the records.
        listen: Is told how the trials get on.
        describe: The columns of a trial's row that are known when it starts.
        retries: How often a failed trial is started again.
        verbose: Let Tune print its own tables too.

    Raises:
        KeyboardInterrupt: Somebody stopped the experiment.
        RunError: A training's state could not be saved.
    """
    searcher = Resuming(stage.searcher, stage.name, stage.ended)
    if searcher.finished:
        return

    def name(trial: Trial) -> str:
        contender = trial.config.get("contender")
        return f"{contender} {stage.varies(trial)}" if contender else stage.varies(trial)

    def tell_capacity(found: Capacity) -> None:
        # Beside the records, too, for who asks elsewhere how the run stands.
        store.identity = {**store.identity, **noted_capacity(stage.name, found)}
        listen(found)

    records = RecordWriter(store, describe, listen)
    # What Tune writes is needed by nobody: the records are the run's memory, and trials save their states themselves.
    with signals.as_they_are(), tempfile.TemporaryDirectory(prefix="dwray-tune-") as folder:
        make_tuner(
            stage.trainable,
            searcher,
            name=stage.name,
            folder=Path(folder),
            trials=stage.trials,
            resources=stage.resources,
            callbacks=[
                records,
                TimingReporter(listen, varies=stage.varies, settings=stage.settings, iteration="epoch"),
                CapacityReporter(tell_capacity, partial(measure, stage.resources, exclusive=stage.exclusive)),
                WaitingNotice(listen, stage.resources, nodes),
            ],
            retries=retries,
            exclusive=stage.exclusive,
            verbose=verbose,
            trial_name=name,
            stop=_StopIf(lambda: records.storage_error is not None),
        ).fit()
    if records.storage_error:
        raise RunError(f"a training's state could not be saved: {records.storage_error}")
    # Ctrl-C makes Tune save its state, stop the trials and return as if all were well.
    if not searcher.finished or any(row["status"] == "running" for row in store.trials(stage.name)):
        raise KeyboardInterrupt


class _StopIf(tune.Stopper):  # type: ignore[misc]
    """Ends an experiment once something has happened in this process."""

    def __init__(self, happened: Callable[[], bool] = lambda: False) -> None:
        self._happened = happened

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles it with its state; what has happened stays behind."""
        return _StopIf, ()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial by itself."""
        return False

    def stop_all(self) -> bool:
        """All of them, then."""
        return self._happened()
