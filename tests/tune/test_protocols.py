"""The protocols on real Ray: what each switch changes in a sweep, and what it leaves alone."""

from pathlib import Path

import pytest
from tiny import tiny

from dwray.core.config import PROTOCOLS, SWITCHES, TRAINING_SWITCHES
from dwray.errors import DataError
from dwray.paths import RunPaths
from dwray.results.records import Records
from dwray.results.tables import make_tables
from dwray.search.plan import pass_kinds, plan, training_protocols
from dwray.spec import SweepSpec
from dwray.tune.sweep import run_sweep


def sweep(spec: SweepSpec, folder: Path) -> tuple[Records, RunPaths]:
    paths = RunPaths.create(folder, spec.name)
    assert run_sweep(spec, paths, lambda _: None) == []
    return Records.read(paths), paths


def short(**changes: object) -> SweepSpec:
    """One network, one epoch, no search."""
    return tiny(
        **{
            "networks": ["ConvNet"],
            "training": {"epochs": 1, "batch_size": 32, "initial_lr": 0.05},
            "search": {},
            **changes,
        }
    )


@pytest.mark.slow
def test_every_erratum_is_trained_and_timed_beside_the_protocol(ray_cluster: None, tmp_path: Path) -> None:
    training = {"epochs": 1, "batch_size": 16, "initial_lr": 0.05}  # two batches of the 20 validation images
    spec = short(errata=list(SWITCHES), seeds=[0, 1], training=training)
    records, paths = sweep(spec, tmp_path)
    corrected = PROTOCOLS["corrected"]
    images = {}
    for protocol in [corrected, *map(corrected.turn, TRAINING_SWITCHES)]:
        trainings = records.trainings("ConvNet", protocol)
        assert sorted(row["seed"] for row in trainings) == [0, 1], str(protocol)
        (epoch,) = records.epochs_of(trainings[0])
        images[protocol.turned] = round(epoch["images_per_second"] * epoch["train_seconds"])
        seed = trainings[0]["seed"]
        assert paths.weights("ConvNet", seed, ", ".join(protocol.turned)).is_file()
    assert images.pop(("tune_on_test_set",)) == 200, "nothing is held out"
    assert set(images.values()) == {180}
    assert len(records.of_stage("train")) == 12

    def losses(switch: str | None) -> list[float]:
        protocol = corrected.turn(switch) if switch else corrected
        return [
            row["train_loss"] for row in sorted(records.trainings("ConvNet", protocol), key=lambda row: row["seed"])
        ]

    base = losses(None)
    # The first epoch's momentum starts from zero in any case, and the last two switches change no training step.
    assert losses("momentum_reset_each_epoch") == base
    assert losses("validation_loss_over_batches_minus_one") == base
    assert losses("notebook_loader") == pytest.approx(base, rel=0.02), "the same images in the same order"
    assert losses("tune_on_test_set") != base
    assert losses("normalisation") != base

    kinds = {(row["loader"], row["batch_statistics"], row["notebook_loader"]) for row in records.timings}
    assert kinds == {(a, b, False) for a in (False, True) for b in (False, True)} | {(True, False, True)}
    assert all(row["load_average"] is not None and row["exclusive"] in (True, False) for row in records.timings)
    assert all(row["owned_node"] for row in records.timings)
    (table,) = [table for table in make_tables(records) if table.name == "errata"]
    assert [row["switch"].partition(":")[0] for row in table.rows] == list(SWITCHES)
    assert all(row["accuracy_points"] is not None for row in table.rows)
    assert {row["switch"].partition(":")[0] for row in table.rows if "test_time_percent" in row} == {
        "batch_statistics_at_test",
        "loader_in_test_time",
    }


@pytest.mark.slow
def test_the_papers_protocol_validates_and_times_as_the_notebooks_did(ray_cluster: None, tmp_path: Path) -> None:
    records, _ = sweep(short(protocol="paper"), tmp_path)
    for row in records.trainings("ConvNet"):
        assert row["validation_accuracy_percent"] == row["test_accuracy_percent"], "the same images"
        assert records.test_accuracy(row) == row["batch_statistics_test_accuracy_percent"]
        assert row["validation_loss"] == pytest.approx(2 * row["test_loss"], rel=0.2), "two batches, less one"
        assert row["train_images"] == 200
        assert 0 <= row["train_set_accuracy_percent"] <= 100
    assert {(row["loader"], row["notebook_loader"], row["batch_statistics"]) for row in records.timings} == {
        (True, True, True),
        (False, False, True),
    }
    assert len(records.passes("test", 32, True)["ConvNet"]) == 2
    assert {(row["precision"], row["memory_format"], row["compile"]) for row in records.of_stage("train")} == {
        ("float32", "contiguous", False)
    }


@pytest.mark.slow
def test_other_modes_are_timed_beside_the_papers_and_one_that_is_not_there_says_why(
    ray_cluster: None, tmp_path: Path
) -> None:
    modes = ["float32-eager", "float32-folded", "float32-cuda-graph", "bfloat16-cuda-graph"]
    timing = {"batch_sizes": [32], "sets": ["test"], "loader": [True, False], "passes": 2, "modes": modes}
    spec = short(protocol={"base": "corrected", "batch_statistics_at_test": True}, timing=timing)
    records, _ = sweep(spec, tmp_path)
    assert {(row["mode"], row["loader"], row["batch_statistics"]) for row in records.timings} == {
        ("float32-eager", True, True),
        ("float32-eager", False, True),
        ("float32-eager", False, False),
        ("float32-folded", False, False),
    }
    by_trial = {row["trial"]: row for row in records.of_stage("time")}
    without = by_trial["test set, batch 32, network alone, float32-cuda-graph"]
    assert (without["status"], without["unavailable"]) == ("completed", "CUDA graphs need a GPU")
    (table,) = [table for table in make_tables(records) if table.name == "test_time_by_mode"]
    assert {row["mode"] for row in table.rows} == set(modes[:2])
    for mode in modes[2:]:
        assert f"Not available: {mode} (CUDA graphs need a GPU)." in table.notes
    (limits,) = [table for table in make_tables(records) if table.name == "roofline"]
    assert [row["contender"] for row in limits.rows] == records.contenders
    assert all(0 < row["percent_of_floor"] < 100 for row in limits.rows)
    assert {(row["precision"], row["memory_format"], row["compile"]) for row in records.of_stage("train")} == {
        ("float32", "channels_last", False)
    }


def test_a_timed_batch_larger_than_its_set_is_refused(ray_cluster: None, tmp_path: Path) -> None:
    spec = short(timing={"batch_sizes": [64], "sets": ["test"]})
    with pytest.raises(DataError, match="a batch of 64 is more than the 60 images of the test set"):
        run_sweep(spec, RunPaths.create(tmp_path, "x"), lambda _: None)


def test_a_loss_over_no_batch_is_refused_before_anything_starts(ray_cluster: None, tmp_path: Path) -> None:
    paths = RunPaths.create(tmp_path, "x")
    spec = short(
        protocol={"base": "corrected", "validation_loss_over_batches_minus_one": True},
        training={"batch_size": 64},
    )
    with pytest.raises(DataError, match="one batch of 64"):
        run_sweep(spec, paths, lambda _: None)
    assert Records.read(paths).trials == []


# What the sweep file asks for


def test_a_protocol_is_a_name_or_a_base_with_switches() -> None:
    assert tiny(protocol="paper").protocol == PROTOCOLS["paper"]
    assert tiny(protocol={"base": "paper", "tune_on_test_set": False}).protocol == PROTOCOLS["paper"].turn(
        "tune_on_test_set"
    )
    assert tiny(protocol={"normalisation": "imagenet"}).protocol == PROTOCOLS["corrected"].turn("normalisation")
    assert tiny().protocol == PROTOCOLS["corrected"]


def test_an_erratum_may_turn_two_switches_at_once() -> None:
    spec = tiny(errata=["notebook_loader + loader_in_test_time"])
    assert spec.protocols[1].turned == ("notebook_loader", "loader_in_test_time")
    assert [(kind.loader, kind.notebook_loader) for kind in pass_kinds(spec)] == [
        (True, False),
        (False, False),
        (True, True),
    ]
    with pytest.raises(ValueError, match="there is no switch 'b'"):
        tiny(errata=["notebook_loader + b"])
    with pytest.raises(ValueError, match="twice"):
        tiny(errata=["notebook_loader + tune_on_test_set", "tune_on_test_set+notebook_loader"])


def test_only_what_differs_is_trained_and_timed_anew() -> None:
    spec = tiny(errata=["batch_statistics_at_test", "loader_in_test_time", "normalisation"])
    assert [protocol.turned for protocol in training_protocols(spec)] == [(), ("normalisation",)], "its own first"
    assert [(kind.loader, kind.batch_statistics) for kind in pass_kinds(spec)] == [
        (True, False),
        (False, False),
        (True, True),
        (False, True),
    ]
    stages = {stage.stage: stage for stage in plan(spec)}
    assert stages["train"].trials == 2 * 2 * 2
    assert stages["time"].trials == 4
    assert pass_kinds(tiny(timing=None)) == []
