"""What is published of a run: all of it, under ids that stay."""

from dataclasses import replace
from pathlib import Path

import pytest
from records import make_run

from dwray import paper
from dwray.publish.runs import METRICS, NO_ERRATUM, PAPER, published_runs, ratio_metric
from dwray.results.records import Records


def test_every_trial_is_a_run_with_its_epochs_as_steps(tmp_path: Path) -> None:
    records = Records.read(make_run(tmp_path))
    runs = {run.name: run for run in published_runs(records)}
    assert list(runs) == [row["trial"] for row in records.trials]
    for row in records.trials:
        run = runs[row["trial"]]
        assert (run.job_type, run.group) == (row["stage"], f"hand {row['contender'] or 'all networks'}")
        assert run.config["run"] == f"hand/{records.identity['run_id']}"
        assert run.failed == (row["status"] == "failed")
        assert run.summary["status"] == row["status"]
    trained = runs["A seed=0"]
    assert [row["epoch"] for row in trained.history] == [1, 2]
    assert [row["seconds/train"] for row in trained.history] == [1.0, 3.0]
    assert (trained.config["initial_lr"], trained.summary["test_accuracy_percent"]) == (0.1, 90.0)
    assert {"digits", "ConvNet", "completed"} == set(trained.tags)
    assert runs["A initial_lr=0.1"].config["winner"] is True


def test_a_timing_has_a_step_for_each_pass_with_every_network(tmp_path: Path) -> None:
    records = Records.read(make_run(tmp_path))
    (run,) = (run for run in published_runs(records) if run.job_type == "time")
    assert run.history == tuple(
        {"pass": number, "test_time/A": a, "test_time/B": b}
        for number, (a, b) in enumerate([(1.0, 2.0), (1.0, 1.0), (4.0, 0.0001)], start=1)
    )
    assert run.summary["test_time/A/mean"] == 2.0
    assert run.summary["test_time/B/median"] == 1.0
    assert run.summary[ratio_metric("B", "A")] == pytest.approx(3.0001 / 6)
    how = {name: run.config[name] for name in ("set", "loader", "batch_size", "batch_statistics", "mode")}
    assert how == {"set": "test", "loader": False, "batch_size": 4, "batch_statistics": False, "mode": "float32-eager"}


def test_a_training_with_a_switch_turned_is_told_from_those_of_the_protocol(tmp_path: Path) -> None:
    records = Records.read(make_run(tmp_path))
    turned = next(row for row in records.trials if row["trial"] == "A seed=1")
    turned["tune_on_test_set"] = not turned["tune_on_test_set"]
    runs = {run.name: run for run in published_runs(records)}
    assert (runs["A seed=0"].config["erratum"], runs["A seed=1"].config["erratum"]) == (NO_ERRATUM, "tune_on_test_set")


def test_runs_that_are_known_are_not_made(tmp_path: Path) -> None:
    records = Records.read(make_run(tmp_path))
    first, *others = published_runs(records)
    assert [run.id for run in published_runs(records, known={first.id})] == [run.id for run in others]


def test_ids_are_the_same_again_and_differ_among_runs_and_trials(tmp_path: Path) -> None:
    one = Records.read(make_run(tmp_path))
    ids = [run.id for run in published_runs(one)]
    assert ids == [run.id for run in published_runs(one)]
    other = Records.read(make_run(tmp_path, name="other"))
    assert not set(ids) & {run.id for run in published_runs(other)}
    assert len(set(ids)) == len(ids)
    assert all(run.id.isalnum() for run in published_runs(one))


def test_the_digest_changes_with_whatever_is_published(tmp_path: Path) -> None:
    records = Records.read(make_run(tmp_path))
    before = {run.id: run.digest for run in published_runs(records)}
    assert before == {run.id: run.digest for run in published_runs(records)}
    records.trials[0]["winner"] = False
    after = {run.id: run.digest for run in published_runs(records)}
    assert [key for key in before if before[key] != after[key]] == [next(iter(before))]


def test_all_of_the_notebooks_epochs_are_published_where_the_paper_stands_beside_a_run(tmp_path: Path) -> None:
    alone = Records.read(make_run(tmp_path))
    records = replace(alone, identity={**alone.identity, "compare_with": "cifar100"})
    runs = [run for run in published_runs(records) if run.job_type == PAPER]
    assert sum(len(run.history) for run in runs) == 470
    (run,) = (run for run in runs if run.name == "ConvNet notebook cifar100")
    curve = paper.curve("cifar100", "ConvNet")
    assert [row["train/loss"] for row in run.history] == [row["train_loss"] for row in curve]
    assert [row["validation/accuracy_percent"] for row in run.history] == [
        row["validation_accuracy_percent"] for row in curve
    ]
    assert run.summary["paper_test_accuracy_percent"] == paper.accuracy("cifar100", "ConvNet", "reported").paper
    measured = set(METRICS.values()) | {"epoch"}
    assert all(set(row) <= measured for row in run.history)
    assert not [run for run in published_runs(alone) if run.job_type == PAPER]
