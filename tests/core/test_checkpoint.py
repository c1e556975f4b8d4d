"""Saving and resuming, and files that are no checkpoint."""

import copy
import dataclasses
import os
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dwray.core import checkpoint
from dwray.core.batches import Normalize, ResidentImages
from dwray.core.config import DataConfig, TrainingConfig
from dwray.core.data import load_splits
from dwray.core.networks import build
from dwray.core.training import EpochRecord, TrainingState, fit, start
from dwray.errors import RunError

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    epochs=4, batch_size=32, initial_lr=0.02, lr_decay=0.9, weight_decay=0.01, crop_padding=1, flip=True
)


def fresh(
    name: str = "ConvNet",
    *,
    classes: int = 10,
    width: float = 0.1,
    seed: int = 0,
    config: TrainingConfig = CONFIG,
) -> TrainingState:
    return start(build(name, classes=classes, width=width, channels=1, seed=seed), config)


@pytest.fixture(scope="module")
def images() -> tuple[ResidentImages, ResidentImages]:
    splits = load_splits(DataConfig(validation_fraction=0.2, max_train_images=120))
    normalize = Normalize(splits.mean, splits.std, CPU)
    return ResidentImages(splits.train, normalize, CPU), ResidentImages(splits.validation, normalize, CPU)


def timeless(record: EpochRecord) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(record).items() if "second" not in key}


def problem(path: Path, state: TrainingState) -> str:
    with pytest.raises(RunError) as caught:
        checkpoint.load(path, state)
    return str(caught.value)


# Resuming


@pytest.mark.parametrize("name", ["ConvNet", "DepthwiseConvNet"])
def test_a_resumed_training_is_bit_identical(
    name: str, images: tuple[ResidentImages, ResidentImages], tmp_path: Path
) -> None:
    whole = fresh(name)
    records = list(fit(whole, *images, CONFIG, seed=7))

    begun = fresh(name)
    epochs = fit(begun, *images, CONFIG, seed=7)
    first = [next(epochs), next(epochs)]
    checkpoint.save(tmp_path / "state.pt", begun)
    resumed = fresh(name, seed=99)  # other weights, which the checkpoint replaces
    checkpoint.load(tmp_path / "state.pt", resumed)
    assert resumed.epochs_done == 2
    rest = list(fit(resumed, *images, CONFIG, seed=7))

    assert [record.epoch for record in first + rest] == [1, 2, 3, 4]
    assert [timeless(record) for record in first + rest] == [timeless(record) for record in records]
    expected, found = whole.network.state_dict(), resumed.network.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    momenta = [
        [state.optimizer.state[p]["momentum_buffer"] for p in state.network.parameters()] for state in (whole, resumed)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*momenta, strict=True))
    assert all(p.stride() == q.stride() for p, q in zip(*map(_parameters, (whole, resumed)), strict=True))
    assert whole.optimizer.state_dict()["param_groups"] == resumed.optimizer.state_dict()["param_groups"]


def _parameters(state: TrainingState) -> list[torch.Tensor]:
    return list(state.network.parameters())


def test_saving_changes_nothing_in_the_state(images: tuple[ResidentImages, ResidentImages], tmp_path: Path) -> None:
    saved, unsaved = fresh(), fresh()
    for _ in fit(saved, *images, CONFIG, seed=0):
        checkpoint.save(tmp_path / "state.pt", saved)
    list(fit(unsaved, *images, CONFIG, seed=0))
    pairs = zip(saved.network.state_dict().values(), unsaved.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_finished_training_resumes_to_no_further_epoch(
    images: tuple[ResidentImages, ResidentImages], tmp_path: Path
) -> None:
    state = fresh()
    list(fit(state, *images, CONFIG, seed=0))
    checkpoint.save(tmp_path / "state.pt", state)
    resumed = fresh()
    checkpoint.load(tmp_path / "state.pt", resumed)
    assert resumed.epochs_done == 4
    assert list(fit(resumed, *images, CONFIG, seed=0)) == []


# Files that cannot be loaded


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.9999])
def test_a_truncated_file(part: float, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    checkpoint.save(path, fresh())
    contents = path.read_bytes()
    path.write_bytes(contents[: int(part * len(contents))])
    text = problem(path, fresh())
    assert text.startswith(f"{path}: no checkpoint, or damaged (")
    assert "delete it to start over" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "contents",
    [
        pytest.param(b"\0" * 1000, id="zeros"),
        pytest.param(bytes(range(256)) * 20, id="bytes"),
        pytest.param(b'{"epochs_done": 3}', id="json"),
        pytest.param(b"hello world\n", id="text"),
        pytest.param(b".", id="full stop"),
        pytest.param(b"PK\x03\x04 no zip archive", id="zip's first bytes"),
        pytest.param(pickle.dumps({"format": 1}, 2), id="old pickle"),
        pytest.param(pickle.dumps({"format": 1}, 4), id="new pickle"),
    ],
)
def test_garbage(contents: bytes, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(contents)
    text = problem(path, fresh())
    assert text.startswith(f"{path}: no checkpoint, or damaged (")
    assert "\n" not in text


@pytest.mark.parametrize(
    "saved",
    [
        pytest.param([1, 2], id="list"),
        pytest.param({"format": 1}, id="other format"),
        pytest.param({"network": {}, "optimizer": {}}, id="no format"),
        pytest.param({"format": 2}, id="no contents"),
        pytest.param({"format": 2, "network": 3, "optimizer": {}}, id="no network"),
    ],
)
def test_a_torch_file_that_is_no_checkpoint(saved: object, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    torch.save(saved, path)
    text = problem(path, fresh())
    assert text.startswith(f"{path}: ")
    assert "\n" not in text


def test_a_checkpoint_without_its_epochs(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    checkpoint.save(path, fresh())
    saved = torch.load(path, weights_only=True)
    del saved["epochs_done"]
    torch.save(saved, path)
    assert problem(path, fresh()).startswith(f"{path}: ")


@pytest.mark.parametrize("missing", ["nothing.pt", "no/folder/state.pt", "."])
def test_a_missing_file(missing: str, tmp_path: Path) -> None:
    path = tmp_path / missing
    text = problem(path, fresh())
    assert text.startswith(f"{path}: cannot be read (")
    assert "\n" not in text


@pytest.mark.parametrize(
    "other",
    [{"name": "DepthwiseConvNet"}, {"width": 0.5}, {"classes": 11}],
    ids=["network", "width", "classes"],
)
def test_a_checkpoint_of_another_network(other: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    checkpoint.save(path, fresh(**other))
    text = problem(path, fresh())
    assert text.startswith(f"{path}: a checkpoint of another network or optimizer (")
    assert "\n" not in text


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    path, sprung = tmp_path / "state.pt", tmp_path / "sprung"
    torch.save({"format": 2, "network": Trap(sprung)}, path)
    assert problem(path, fresh()).startswith(f"{path}: no checkpoint, or damaged (")
    assert not sprung.exists()


# Failures while saving


def test_saving_leaves_one_file(tmp_path: Path) -> None:
    for _ in range(2):
        checkpoint.save(tmp_path / "state.pt", fresh())
    assert os.listdir(tmp_path) == ["state.pt"]


def assert_good(path: Path, contents: bytes) -> None:
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == contents
    state = fresh(seed=5)
    checkpoint.load(path, state)
    assert torch.equal(state.network.get_parameter("classifier.weight"), _classifier(fresh()))


def _classifier(state: TrainingState) -> torch.Tensor:
    return state.network.get_parameter("classifier.weight")


def test_a_state_that_cannot_be_written_leaves_the_good_file(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    checkpoint.save(path, fresh())
    contents = path.read_bytes()
    state = fresh(seed=1)
    state.optimizer.param_groups[0]["extra"] = lambda: None
    with pytest.raises((pickle.PicklingError, AttributeError), match="Can't pickle"):
        checkpoint.save(path, state)
    assert_good(path, contents)


def test_a_disk_that_is_full_leaves_the_good_file(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    checkpoint.save(path, fresh())
    contents = path.read_bytes()
    state = fresh(seed=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(contents) // 2, limits[1]))  # a write beyond it fails
    try:
        with pytest.raises((RuntimeError, OSError)):
            checkpoint.save(path, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_good(path, contents)


def test_a_folder_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises((RuntimeError, OSError)):
        checkpoint.save(tmp_path / "none" / "state.pt", fresh())
    assert os.listdir(tmp_path) == []


def test_loading_keeps_what_was_saved_apart_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    checkpoint.save(path, fresh())
    state = fresh(seed=5)
    checkpoint.load(path, state)
    before = copy.deepcopy(_classifier(state))
    path.write_bytes(b"")  # a memory-mapped load would change with the file
    assert torch.equal(_classifier(state), before)
