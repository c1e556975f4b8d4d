"""The searcher under a real Tune, with trainables that are not dwray's."""

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.search import Searcher

from dwray.tune.callbacks import TimingReporter
from dwray.tune.searcher import FixedTrials, LinearSearch

AXES = {"lr": [0.01, 0.1, 1.0], "depth": [1, 2, 3]}


def fit(search: Searcher, trainable: Any, folder: Path, samples: int, **run: Any) -> tune.ResultGrid:
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(search_alg=search, num_samples=samples, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder), name="search", verbose=0, **run),
    ).fit()


@pytest.mark.slow
def test_it_works_with_anybodys_function_and_counts_every_trial_once(ray_cluster: None, tmp_path: Path) -> None:
    def loss(config: dict[str, Any]) -> None:
        if config["depth"] == 2:
            raise RuntimeError("no such depth")
        value = math.nan if config["lr"] == 1.0 else abs(config["lr"] - 0.1) + config["depth"]
        tune.report({"loss": value})

    told = []
    search = LinearSearch(axes=AXES, start={"lr": 0.01, "depth": 3}, metric="loss", mode="min")
    assert search.max_trials == 5
    results = fit(search, loss, tmp_path, search.max_trials, callbacks=[TimingReporter(told.append)])
    assert len(results) == 5
    assert results.num_errors == 1
    assert search.finished
    assert search.best() == ({"lr": 0.1, "depth": 1}, 1.0)
    ends = [progress for progress in told if progress.ended]
    assert sorted(progress.status for progress in ends) == ["completed"] * 4 + ["failed"]
    assert [progress.error for progress in ends if progress.error] == ["RuntimeError: no such depth"]
    assert all(progress.seconds_per_iteration is not None for progress in ends if progress.status == "completed"), (
        "time per iteration comes from Tune, for every trainable"
    )


@pytest.mark.slow
def test_several_lines_advance_in_one_experiment(ray_cluster: None, tmp_path: Path) -> None:
    def score(config: dict[str, Any]) -> None:
        tune.report({"score": -abs(config["lr"] - config["best_lr"]) - config["depth"]})

    search = LinearSearch(
        AXES,
        metric="score",
        mode="max",
        lines={"slow": {"best_lr": 0.01}, "fast": {"best_lr": 1.0, "depth": 2}},
        passes=2,
    )
    fit(search, score, tmp_path, search.max_trials)
    assert search.best("slow") == ({"best_lr": 0.01, "lr": 0.01, "depth": 1}, -1.0)
    assert search.best("fast") == ({"best_lr": 1.0, "lr": 1.0, "depth": 1}, -1.0)


@pytest.mark.slow
def test_its_state_goes_into_tunes_checkpoints_and_a_restored_experiment_goes_on(
    ray_cluster: None, tmp_path: Path
) -> None:
    gate = tmp_path / "open"

    class Gate(tune.Callback):  # type: ignore[misc]
        """Ends the experiment as Ctrl-C does."""

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            if len([each for each in trials if each.status == "TERMINATED"]) >= 2 and not gate.exists():
                os.kill(os.getpid(), signal.SIGINT)

    def score(config: dict[str, Any]) -> None:
        tune.report({"score": config["lr"] + config["depth"]})

    search = LinearSearch(AXES, metric="score", mode="max")
    fit(search, score, tmp_path / "runs", search.max_trials, callbacks=[Gate()])
    assert not search.finished
    gate.touch()
    restored = tune.Tuner.restore(str(tmp_path / "runs" / "search"), score, restart_errored=True)
    results = restored.fit()
    configs = [(result.config["lr"], result.config["depth"]) for result in results]
    assert len(configs) == len(set(configs)) == 5, "no configuration was lost, none was evaluated twice"
    assert results.get_best_result("score", "max").config == {"lr": 1.0, "depth": 3}


def drive(search: LinearSearch, trial: str, value: float | None, error: bool = False) -> None:
    search.on_trial_complete(trial, None if value is None else {"score": value}, error=error)


def test_save_and_restore_keep_the_trials_that_run(tmp_path: Path) -> None:
    def fresh() -> LinearSearch:
        return LinearSearch(AXES, metric="score", mode="max", lines={"a": {}, "b": {}})

    search = fresh()
    configs = {trial: search.suggest(trial) for trial in ("t1", "t2", "t3", "t4")}
    drive(search, "t1", 1.0)
    search.save(str(tmp_path / "state.pkl"))
    again = fresh()
    again.restore(str(tmp_path / "state.pkl"))
    assert again.candidate("t3").config == configs["t3"]
    for each in (search, again):
        drive(each, "t2", 5.0)
        drive(each, "t3", 2.0)
        drive(each, "t4", None, error=True)
        assert each.suggest("t5") == {"lr": 1.0, "depth": 1}
        drive(each, "t5", 1.5)
        assert each.best("a") == ({"lr": 0.1, "depth": 1}, 2.0)


def test_a_barrier_suggests_nothing_and_the_end_says_so() -> None:
    search = LinearSearch({"lr": [1, 2]}, metric="score", mode="max")
    assert search.suggest("t1") == {"lr": 1}
    assert search.suggest("t2") == {"lr": 2}
    assert search.suggest("t3") is None
    drive(search, "t1", 1.0)
    drive(search, "t1", 9.0)  # told twice, as after Tuner.restore(restart_errored=True): the first counts
    drive(search, "t2", 0.0)
    assert search.suggest("t3") == Searcher.FINISHED
    assert search.best() == ({"lr": 1}, 1.0)


def test_the_lines_take_turns() -> None:
    search = LinearSearch({"lr": [1, 2]}, metric="score", mode="max", lines={"a": {"n": 1}, "b": {"n": 2}})
    suggested = [search.suggest(f"t{index}") for index in range(4)]
    assert suggested == [{"n": 1, "lr": 1}, {"n": 2, "lr": 1}, {"n": 1, "lr": 2}, {"n": 2, "lr": 2}]


def test_metric_and_mode_are_asked_for_and_may_come_from_tune() -> None:
    search = LinearSearch({"lr": [1, 2]})
    with pytest.raises(ValueError, match="needs a metric and a mode"):
        search.suggest("t1")
    assert search.set_search_properties("score", "min", {})
    search.suggest("t1")
    search.suggest("t2")
    drive(search, "t1", 1.0)
    drive(search, "t2", 0.0)
    assert search.best() == ({"lr": 2}, 0.0)
    with pytest.raises(ValueError, match="'min' or 'max'"):
        LinearSearch({"lr": [1]}, metric="score", mode="best")  # type: ignore[arg-type]


def test_max_trials_is_what_tune_calls_no_limit_without_a_limit_on_passes() -> None:
    assert LinearSearch(AXES, metric="score", mode="max", passes=None).max_trials == -1


def test_fixed_trials_are_given_once_each_also_after_a_restore(tmp_path: Path) -> None:
    fixed = FixedTrials([{"a": 1}, {"a": 2}])
    assert fixed.suggest("t1") == {"a": 1}
    fixed.save(str(tmp_path / "state.pkl"))
    again = FixedTrials([{"a": 1}, {"a": 2}])
    again.restore(str(tmp_path / "state.pkl"))
    assert again.suggest("t2") == {"a": 2}
    assert again.suggest("t3") == Searcher.FINISHED
    again.on_trial_complete("t1")
    assert not again.finished, "given out is not ended"
    again.on_trial_complete("t2", error=True)
    assert again.finished


def test_too_few_samples_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    search = LinearSearch({"lr": [1, 2, 3]}, metric="score", mode="max")
    search.set_search_properties("loss", "min", {"width": 1}, num_samples=3)
    assert (search.metric, search.mode) == ("score", "max"), "what the constructor was told stays"
    assert caplog.text == ""
    search.set_search_properties(None, None, {"width": 1}, num_samples=1)
    assert "num_samples=1 ends the search early: it takes up to 3 trials" in caplog.text
    search.suggest("t1")
    assert search.best() is None
    assert "not finished after 1 trials: TuneConfig(num_samples=3)" in caplog.text
