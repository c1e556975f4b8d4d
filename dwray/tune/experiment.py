"""A Tune experiment as dwray runs them: actors used again, no loggers, failures retried, nothing printed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher


def make_tuner(
    trainable: Any,
    searcher: Searcher,
    *,
    name: str,
    folder: Path,
    trials: int,
    resources: Mapping[str, float],
    callbacks: Sequence[tune.Callback] = (),
    checkpoints: tune.CheckpointConfig | None = None,
    retries: int = 0,
    exclusive: bool = False,
    verbose: bool = False,
    trial_name: Callable[[Trial], str] | None = None,
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
        checkpoints: When a trial is saved; never, unless given.
        retries: How often a failed trial is started again, from its last checkpoint.
        exclusive: One trial at a time.
        verbose: Let Tune print its own tables.
        trial_name: Makes a trial's name.
    """
    return tune.Tuner(
        tune.with_resources(trainable, dict(resources)),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=trials,
            max_concurrent_trials=1 if exclusive else None,
            reuse_actors=True,
            trial_name_creator=trial_name,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(folder),
            callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=retries),
            checkpoint_config=checkpoints or tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=1 if verbose else 0,
        ),
    )
