"""Whole sweeps on real Ray: what is searched, trained, timed and written, and what happens when trials fail."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from tiny import tiny

from dwray.core.data import load_splits
from dwray.errors import DataError, SpecError
from dwray.paths import RunPaths
from dwray.results.progress import StageProgress, TrialProgress
from dwray.results.records import Records
from dwray.spec import SweepSpec
from dwray.tune.sweep import run_sweep

pytestmark = pytest.mark.slow

Told = list[TrialProgress | StageProgress]


def sweep(spec: SweepSpec, folder: Path, told: Told | None = None) -> tuple[Records, list[Any], RunPaths]:
    paths = RunPaths.create(folder, spec.name)
    failed = run_sweep(spec, paths, (told if told is not None else []).append)
    return Records.read(paths), failed, paths


@pytest.fixture(scope="module")
def whole(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, list[Any], RunPaths, Told]:
    told: Told = []
    return *sweep(tiny(), tmp_path_factory.mktemp("runs"), told), told


Whole = tuple[Records, list[Any], RunPaths, Told]


def test_every_stage_runs_every_trial(whole: Whole) -> None:
    records, failed, _, told = whole
    assert failed == []
    assert {stage: len(records.of_stage(stage)) for stage in ("search", "train", "time")} == {
        "search": 6,
        "train": 4,
        "time": 2,
    }
    assert {row["status"] for row in records.trials} == {"completed"}
    assert len({(row["stage"], row["trial"]) for row in records.trials}) == 12, "a trial's name is unique in its stage"
    assert [each.stage for each in told if isinstance(each, StageProgress) and each.ended] == [
        "search",
        "train",
        "time",
    ]


def test_the_winners_of_the_search_are_what_is_trained(whole: Whole) -> None:
    records = whole[0]
    for contender in records.contenders:
        searched = [row for row in records.of_stage("search") if row["contender"] == contender]
        (winner,) = [row for row in searched if row["winner"]]
        assert winner["validation_accuracy_percent"] == max(row["validation_accuracy_percent"] for row in searched)
        for row in records.of_stage("train"):
            if row["contender"] == contender:
                assert (row["initial_lr"], row["lr_decay"]) == (winner["initial_lr"], winner["lr_decay"])
                assert row["test_accuracy_percent"] is not None
        assert {row["seed"] for row in records.of_stage("train")} == {0, 1}
        assert [row["axis"] for row in searched] == ["initial_lr", "initial_lr", "lr_decay"]


def test_every_epoch_has_its_row_with_parts_that_fit_into_the_whole(whole: Whole) -> None:
    records = whole[0]
    assert len(records.epochs) == 6 * 1 + 4 * 2
    for row in records.epochs:
        assert 0 < row["data_seconds"] + row["step_seconds"] <= row["train_seconds"] * 1.01
        assert row["images_per_second"] * row["train_seconds"] == pytest.approx(180)
        assert not row["diverged"]


def test_the_timed_passes_are_all_there_and_the_networks_take_turns(whole: Whole) -> None:
    records = whole[0]
    assert len(records.timings) == 2 * 2 * 2
    for loader in (True, False):
        order = [(row["pass_number"], row["contender"]) for row in records.timings if row["loader"] == loader]
        assert order == [(1, "ConvNet"), (1, "DepthwiseConvNet"), (2, "DepthwiseConvNet"), (2, "ConvNet")]
    assert {row["images"] for row in records.timings} == {60}
    assert {row["threads"] for row in records.timings} == {int(ray.cluster_resources()["CPU"])}, "alone on the machine"


def test_the_trained_weights_are_kept_and_are_what_was_scored(whole: Whole) -> None:
    records, _, paths, _ = whole
    for row in records.of_stage("train"):
        saved = torch.load(paths.weights(row["contender"], row["seed"]), weights_only=True)
        assert saved["epochs_done"] == 2
    from dwray.core.batches import Normalize, ResidentImages
    from dwray.core.evaluation import evaluate
    from dwray.core.networks import build

    row = records.of_stage("train")[0]
    splits = load_splits(tiny().data)
    network = build(row["network"], classes=10, width=row["width"], channels=1)
    network.load_state_dict(torch.load(paths.weights(row["contender"], row["seed"]), weights_only=True)["network"])
    device = torch.device("cpu")
    images = ResidentImages(splits.test, Normalize(splits.mean, splits.std, device), device)
    assert evaluate(network, images, 32).accuracy_percent == pytest.approx(row["test_accuracy_percent"], abs=2)


def test_progress_names_the_network_what_varies_and_the_pace(whole: Whole) -> None:
    told = [each for each in whole[3] if isinstance(each, TrialProgress)]
    last = next(each for each in told if each.status == "running" and each.iteration == 2)
    assert last.contender in ("ConvNet", "DepthwiseConvNet")
    assert last.varies in ("seed=0", "seed=1")
    assert last.seconds_per_iteration is not None
    assert last.seconds_left == 0
    first = next(each for each in told if each.iteration == 1 and each.iterations == 2)
    assert first.seconds_left == pytest.approx(first.seconds_per_iteration)


def test_trials_on_a_node_share_one_read_only_copy_of_the_images(ray_cluster: None) -> None:
    splits = load_splits(tiny().data)
    reference = ray.put(splits)

    @ray.remote
    def look(holder: list[Any]) -> tuple[bool, bool]:
        pixels = ray.get(holder[0]).train.pixels
        base: Any = pixels
        while isinstance(base, np.ndarray) and base.base is not None:
            base = base.base
        return pixels.flags.writeable, pixels.flags.owndata

    assert ray.get(look.remote([reference])) == (False, False), "memory of the object store, not a copy"


def test_a_failing_network_costs_its_trials_and_no_others(ray_cluster: None, tmp_path: Path) -> None:
    networks = {"ConvNet": {"training": {"crop_padding": 10**7}}, "DepthwiseConvNet": {}}  # petabytes
    records, failed, _ = sweep(
        tiny(networks=networks, seeds=[0], resources={"gpus_per_trial": 0, "retries": 0}), tmp_path
    )
    assert {row["contender"] for row in failed} == {"ConvNet"}
    assert len(failed) == 3
    for row in failed:
        assert row["failures"] == 1, "not tried again, as the sweep file says"
        assert "memory" in row["error"] or "Storage size" in row["error"] or "overflow" in row["error"], row["error"]
    assert {row["contender"] for row in records.of_stage("train")} == {"DepthwiseConvNet"}
    assert {row["status"] for row in records.of_stage("train")} == {"completed"}


def test_a_diverged_candidate_is_a_result_that_loses(ray_cluster: None, tmp_path: Path) -> None:
    spec = tiny(
        networks=["DepthwiseConvNet"],
        search={"epochs": 2, "axes": {"initial_lr": [1e30, 0.05]}},
        training={"epochs": 2, "batch_size": 32, "initial_lr": 1e30},
        seeds=[0],
        timing=None,
    )
    records, failed, _ = sweep(spec, tmp_path)
    assert failed == []
    by_rate = {row["initial_lr"]: row for row in records.of_stage("search")}
    assert by_rate[1e30]["status"] == "diverged"
    assert by_rate[1e30]["epochs_done"] == 1
    assert by_rate[0.05]["winner"]
    assert records.of_stage("train")[0]["initial_lr"] == 0.05


def test_bad_data_is_one_error_before_anything_is_trained(ray_cluster: None, tmp_path: Path) -> None:
    spec = tiny(data={"source": "parquet", "root": str(tmp_path / "nowhere")})
    with pytest.raises(DataError, match="nowhere"):
        sweep(spec, tmp_path)
    (paths,) = [RunPaths(folder) for folder in (tmp_path / "tiny").iterdir()]
    assert Records.read(paths).trials == []


def test_a_trial_that_no_node_can_hold_is_refused(ray_cluster: None, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"wants 4096 CPUs .* --set resources.cpus_per_trial"):
        sweep(tiny(resources={"cpus_per_trial": 4096}), tmp_path)


def test_ctrl_c_before_the_first_trial_of_a_stage_starts_is_no_success(ray_cluster: None, tmp_path: Path) -> None:
    class Interrupter(list):  # type: ignore[type-arg]
        def append(self, progress: TrialProgress | StageProgress) -> None:
            super().append(progress)
            if isinstance(progress, TrialProgress) and progress.status == "running" and progress.iteration == 0:
                os.kill(os.getpid(), signal.SIGINT)

    told: Told = Interrupter()
    with pytest.raises(KeyboardInterrupt):
        sweep(tiny(search={}), tmp_path, told)
    assert [each.stage for each in told if isinstance(each, StageProgress)] == ["train"], "no later stage began"


def test_images_that_the_networks_cannot_take_are_bad_data(ray_cluster: None, tmp_path: Path) -> None:
    from PIL import Image

    for part in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for number in range(4):
                colour = (40 * number, 200 if name == "a" else 10, 60 * number)
                Image.new("RGB", (6, 6), colour).save(tmp_path / "data" / part / name / f"{number}.png")
    spec = tiny(data={"source": "image_folder", "root": str(tmp_path / "data"), "validation_fraction": 0.25})
    with pytest.raises(DataError, match=r"images must be at least 8x8.*--set data.image_size"):
        sweep(spec, tmp_path)
