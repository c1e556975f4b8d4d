"""A Tune experiment as dwray runs them: actors used again, no loggers, failures retried, nothing printed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher


class _Names:
    """Makes trials' names, in this process alone.

    Tune pickles what names a trial with every trial, and with it whatever the function refers to: a searcher, say, with
    all its configurations. A name once made is saved with its trial, so that the function itself can stay behind.
    """

    def __init__(self, name: Callable[[Trial], str] | None = None) -> None:
        self._name = name

    def __call__(self, trial: Trial) -> str:
        return self._name(trial) if self._name else str(trial.trial_id)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Names, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _dirname(trial: Trial) -> str:
    return str(trial.trial_id)


class _Forget(tune.Callback):  # type: ignore[misc]
    """Lets go of what Tune keeps of a trial that has ended, and nobody asks for.

    Above all the statistics over its results: they take 2 KB for every number in a result, in memory and in every
    snapshot of the experiment.
    """

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial ends."""
        trial.metric_analysis.clear()
        trial.metric_n_steps.clear()
        if trial.last_result:
            trial.last_result["config"] = trial.config  # which is equal, and there in any case


def make_tuner(
    trainable: Any,
    searcher: Searcher,
    *,
    name: str,
    folder: Path,
    trials: int,
    resources: Mapping[str, float],
    callbacks: Sequence[tune.Callback] = (),
    retries: int = 0,
    exclusive: bool = False,
    verbose: bool = False,
    trial_name: Callable[[Trial], str] | None = None,
    stop: tune.Stopper | None = None,
) -> tune.Tuner:
    """An experiment that is ready to ``fit()``.

    Args:
        trainable: A function, or a class whose ``reset_config`` returns True, so that its actors can be used again.
        searcher: Suggests the trials.
        name: Names the experiment's folder.
        folder: Where that folder is made; absolute.
        trials: The most trials that the searcher may suggest; -1 is no limit.
        resources: Of each trial: ``cpu`` and ``gpu``.
        callbacks: Told of every event, in the driver.
        retries: How often a failed trial is started again; what it goes on from is its own matter.
        exclusive: One trial at a time.
        verbose: Let Tune print its own tables.
        trial_name: Makes a trial's name.
        stop: Ends the experiment early.
    """
    return tune.Tuner(
        tune.with_resources(trainable, dict(resources)),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=trials,
            max_concurrent_trials=1 if exclusive else None,
            reuse_actors=True,
            trial_name_creator=_Names(trial_name) if trial_name else None,
            trial_dirname_creator=_dirname,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(folder),
            callbacks=[*callbacks, _Forget()],
            failure_config=tune.FailureConfig(max_failures=retries),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            stop=stop,
            verbose=1 if verbose else 0,
        ),
    )
