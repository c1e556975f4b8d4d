"""Stopping after any epoch and going on: the very bits of a training that was never stopped; and damaged states."""

import copy
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from dwray.core.batches import Normalize, ResidentImages
from dwray.core.config import PROTOCOLS, DataConfig, ProtocolConfig, TrainingConfig
from dwray.core.data import load_splits
from dwray.core.execution import Execution
from dwray.core.modes import compiler_error
from dwray.core.networks import build
from dwray.core.precision import deterministic_convolutions, lacks
from dwray.core.savepoints import KEPT, SHARE, Pace, SavedStates, epoch_of
from dwray.core.training import TrainingState, fit, start
from dwray.errors import RunError
from dwray.storage import Storage

CPU = torch.device("cpu")
EPOCHS = 5
CONFIG = TrainingConfig(epochs=EPOCHS, batch_size=32, initial_lr=0.02, lr_decay=0.9, crop_padding=1, flip=True)
Sets = tuple[ResidentImages, ResidentImages]


@pytest.fixture(scope="module")
def images() -> Sets:
    splits = load_splits(DataConfig(validation_fraction=0.2, max_train_images=100))
    normalize = Normalize(splits.mean, splits.std, CPU)
    return ResidentImages(splits.train, normalize, CPU), ResidentImages(splits.validation, normalize, CPU)


class Dropping(nn.Module):
    """A network that draws at random as it trains."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner(torch.nn.functional.dropout(inputs, 0.2, training=self.training))


def fresh(name: str = "DepthwiseConvNet", *, config: TrainingConfig = CONFIG, dropout: bool = False) -> TrainingState:
    torch.manual_seed(4)
    network = build(name, classes=10, width=0.1, channels=1, seed=4)
    return start(Dropping(network) if dropout else network, config)


def figures(state: TrainingState) -> list[dict[str, Any]]:
    return [{name: value for name, value in vars(record).items() if "second" not in name} for record in state.records]


def assert_same(found: TrainingState, expected: TrainingState) -> None:
    assert figures(found) == figures(expected)
    pairs = zip(found.network.state_dict().items(), expected.network.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
    for mine, other in zip(found.network.parameters(), expected.network.parameters(), strict=True):
        a, b = found.optimizer.state[mine], expected.optimizer.state[other]
        assert torch.equal(a["momentum_buffer"], b["momentum_buffer"])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stops=st.sets(st.integers(1, EPOCHS), min_size=1),
    name=st.sampled_from(["ConvNet", "DepthwiseConvNet"]),
    dropout=st.booleans(),
    precision=st.sampled_from(["float32", "bfloat16"]),
    momentum_reset=st.booleans(),
)
def test_stopped_anywhere_and_resumed_it_has_the_very_bits(
    images: Sets,
    tmp_path_factory: pytest.TempPathFactory,
    stops: set[int],
    name: str,
    dropout: bool,
    precision: str,
    momentum_reset: bool,
) -> None:
    config = TrainingConfig(**{**vars(CONFIG), "precision": precision})
    protocol = ProtocolConfig(**{**vars(PROTOCOLS["corrected"]), "momentum_reset_each_epoch": momentum_reset})
    whole = fresh(name, config=config, dropout=dropout)
    list(fit(whole, *images, config, seed=7, protocol=protocol))

    saved = SavedStates(Storage(tmp_path_factory.mktemp("states")), "a")
    for stop in [*sorted(stops), EPOCHS]:
        torch.manual_seed(99)  # another process has other random states
        state = saved.newest(partial(fresh, name, config=config, dropout=dropout))
        records = fit(state, *images, config, seed=7, protocol=protocol)
        while state.epochs_done < stop:
            next(records)
        saved.save(state)
    assert saved.problems == []
    assert_same(state, whole)


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.slow
@pytest.mark.lab
@pytest.mark.parametrize(
    ("kind", "precision", "compiled"),
    [
        ("cpu", "float32", True),
        pytest.param("cuda", "float32", False, marks=NEEDS_GPU),
        pytest.param("cuda", "bfloat16", False, marks=NEEDS_GPU),
        pytest.param("cuda", "tf32", True, marks=NEEDS_GPU),
    ],
)
def test_compiled_and_on_a_gpu_too(kind: str, precision: str, compiled: bool, tmp_path: Path) -> None:
    device = torch.device(kind)
    if compiled and (reason := compiler_error(device)):
        pytest.skip(reason)
    if kind == "cuda" and (reason := lacks(precision, device)):
        pytest.skip(reason)
    deterministic_convolutions()
    splits = load_splits(DataConfig(validation_fraction=0.2, max_train_images=100))
    normalize = Normalize(splits.mean, splits.std, device)
    sets = tuple(ResidentImages(each, normalize, device) for each in (splits.train, splits.validation))
    config = TrainingConfig(**{**vars(CONFIG), "epochs": 3, "precision": precision, "compile": compiled})

    def begin() -> TrainingState:
        torch.manual_seed(4)
        return start(build("DepthwiseConvNet", classes=10, width=0.1, channels=1, seed=4).to(device), config)

    whole = begin()
    list(fit(whole, *sets, config, seed=7))
    saved = SavedStates(Storage(tmp_path), "a")
    for stop in (1, 2, 3):
        torch.manual_seed(99)
        state = saved.newest(begin)
        next(fit(state, *sets, config, seed=7))
        assert state.epochs_done == stop
        saved.save(state)
    assert_same(state, whole)


@pytest.fixture
def three(images: Sets, tmp_path: Path) -> tuple[SavedStates, TrainingState]:
    """A training that was saved after each of its epochs."""
    saved, state = SavedStates(Storage(tmp_path / "states"), "a"), fresh()
    for _ in fit(state, *images, CONFIG, seed=0):
        saved.save(state)
    return saved, state


def test_the_last_two_and_the_best_are_kept(images: Sets, tmp_path: Path) -> None:
    saved, state = SavedStates(Storage(tmp_path), "a"), fresh()
    for epoch, _ in enumerate(fit(state, *images, CONFIG, seed=0), start=1):
        object.__setattr__(state.records[-1], "validation_accuracy_percent", {2: 90.0, 3: 90.0}.get(epoch, 50.0))
        saved.save(state)
    assert [epoch_of(name) for name in saved.names()] == [5, 4, 2], "of equals the first"
    assert KEPT == 2


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "torn":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "one bit":
        path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])


@pytest.mark.parametrize("how", ["torn", "empty", "one bit"])
def test_a_damaged_state_is_passed_over_with_a_warning(
    three: tuple[SavedStates, TrainingState], how: str, images: Sets
) -> None:
    saved, whole = three
    path = Path(saved.storage.location) / saved.names()[0]
    damage(path, how)
    state = saved.newest(fresh)
    assert state.epochs_done == EPOCHS - 1
    (problem,) = saved.problems
    assert problem == f"{path}: damaged (its checksum is not the one in its name); going on without it"
    list(fit(state, *images, CONFIG, seed=0))
    assert_same(state, whole)


def test_the_state_of_another_training_is_passed_over(three: tuple[SavedStates, TrainingState], tmp_path: Path) -> None:
    foreign = SavedStates(Storage(tmp_path / "states"), "b")
    assert foreign.newest(fresh).epochs_done == 0
    assert len(foreign.problems) == 3
    assert all("a checkpoint of another training" in problem for problem in foreign.problems)


def test_nothing_sound_is_a_fresh_start(three: tuple[SavedStates, TrainingState]) -> None:
    saved, _ = three
    for name in saved.names():
        damage(Path(saved.storage.location) / name, "torn")
    state = saved.newest(fresh)
    assert state.epochs_done == 0
    assert state.records == []
    assert torch.equal(next(state.network.parameters()), next(fresh().network.parameters()))
    with pytest.raises(RunError, match="holds no sound state"):
        saved.last_content()


def test_a_damaged_file_does_not_hide_a_sound_one_of_the_same_epoch(
    three: tuple[SavedStates, TrainingState],
) -> None:
    saved, _ = three
    sound = saved.names()[0]
    for hidden in ("0" * 16, "f" * 16):
        folder = Path(saved.storage.location)
        (folder / f"epoch-{epoch_of(sound):06d}-{hidden}.pt").write_bytes(b"torn")
    assert saved.last_content() == saved.storage.read(sound)


def test_files_that_are_no_states_are_left_alone(three: tuple[SavedStates, TrainingState]) -> None:
    saved, _ = three
    folder = Path(saved.storage.location)
    (folder / "notes.txt").write_text("mine")
    shutil.copy(folder / saved.names()[0], folder / "epoch-9-x.pt")
    assert len(saved.names()) == 3
    saved.clear()
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-9-x.pt", "notes.txt"]
    with pytest.raises(RunError, match="holds no sound state"):
        saved.last_content()


def test_it_goes_on_computing_as_it_began_where_the_device_can(images: Sets, tmp_path: Path) -> None:
    saved, state = SavedStates(Storage(tmp_path), "a"), fresh()
    state.execution = Execution("bfloat16", "contiguous")
    next(fit(state, *images, CONFIG, seed=0))
    saved.save(state)
    resumed = saved.newest(fresh)
    next(fit(resumed, *images, CONFIG, seed=0))
    assert resumed.execution == Execution("bfloat16", "contiguous")
    resumed.execution = Execution("tf32", "channels_last")  # a GPU's, and this is none
    next(fit(resumed, *images, CONFIG, seed=0))
    assert resumed.execution == Execution("float32", "channels_last")


def test_saving_takes_two_percent_of_the_time_or_loses_the_stated_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def after(seconds: float) -> bool:
        now[0] += seconds
        return pace.is_due()

    pace = Pace(minutes=5)
    pace.restart()
    assert not after(49), "a save is taken to cost a second"
    assert after(1)
    now[0] += 0.1
    pace.saved(now[0] - 0.1)
    assert not after(0.1 / SHARE - 0.01)
    assert after(0.02), "it was cheap: again after 5 s"
    pace.saved(now[0] - 60)
    assert not after(100)
    assert not after(99)
    assert after(61), "it was dear, but another epoch would make it more than 5 minutes that a failure loses"
    pace.saved(now[0] - 60)
    assert after(151), "epochs of more than half of that are saved each"
    pace = Pace(minutes=0)
    pace.restart()
    assert after(0.001)


@pytest.mark.parametrize("damaged", [1, 2])
def test_what_was_passed_over_counts_for_nothing_in_what_is_kept(
    three: tuple[SavedStates, TrainingState], images: Sets, damaged: int
) -> None:
    """Or the state of a training that went back would be deleted as soon as it is written, as the oldest."""
    saved, whole = three
    torn = saved.names()[:damaged]
    for name in torn:
        damage(Path(saved.storage.location) / name, "torn")
    state = saved.newest(fresh)
    first = state.epochs_done + 1
    list(zip(range(1), fit(state, *images, CONFIG, seed=0), strict=False))
    saved.save(state)
    assert {first, first - 1} <= {epoch_of(name) for name in set(saved.names()) - set(torn)}
    again = SavedStates(saved.storage, "a").newest(fresh)
    assert again.epochs_done == first
    list(fit(again, *images, CONFIG, seed=0))
    assert_same(again, whole)


def test_a_state_shares_nothing_with_what_was_saved(three: tuple[SavedStates, TrainingState]) -> None:
    saved, _ = three
    state = saved.newest(fresh)
    before = copy.deepcopy(state.network.state_dict())
    saved.clear()
    assert all(torch.equal(before[name], value) for name, value in state.network.state_dict().items())
