"""Timed passes: their order, their counts, and what they leave behind."""

import copy
import gc

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dwray.core.batches import Normalize, batch_bounds
from dwray.core.data import Images
from dwray.core.inference import PassRecord, network_alone, time_passes, with_loader
from dwray.core.networks import build

CPU = torch.device("cpu")
NORMALIZE = Normalize([0.4, 0.5], [0.2, 0.3], CPU)


def some_images(count: int = 10) -> Images:
    random = np.random.default_rng(0)
    return Images(random.integers(0, 256, (count, 8, 9, 2), np.uint8), np.zeros(count, np.int64))


def pair() -> dict[str, nn.Module]:
    return {name: build(name, classes=3, width=0.1, channels=2, seed=0) for name in ("ConvNet", "DepthwiseConvNet")}


def timed(
    networks: dict[str, nn.Module], *, passes: int = 3, warmup_batches: int = 0, batch_size: int = 4
) -> list[PassRecord]:
    batches = network_alone(some_images(), NORMALIZE, batch_size, CPU)
    return list(time_passes(networks, batches, device=CPU, passes=passes, warmup_batches=warmup_batches))


class Watch:
    """Notes every forward pass of the networks: (network, images, in training mode, gradients wanted)."""

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        self.seen: list[tuple[str, int, bool, bool]] = []
        for name, network in networks.items():
            network.register_forward_hook(self._hook(name))

    def _hook(self, name: str) -> object:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.seen.append((name, len(inputs[0]), module.training, output.requires_grad))

        return hook


# Passes


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_every_network_has_its_passes_and_who_goes_first_alternates(passes: int) -> None:
    records = timed(pair(), passes=passes)
    expected = []
    for number in range(1, passes + 1):
        turn = ["ConvNet", "DepthwiseConvNet"] if number % 2 else ["DepthwiseConvNet", "ConvNet"]
        expected += [(name, number) for name in turn]
    assert [(record.network, record.number) for record in records] == expected


@pytest.mark.parametrize("batch_size", [1, 4, 10, 64])
def test_a_pass_counts_all_images(batch_size: int) -> None:
    for record in timed(pair(), batch_size=batch_size):
        assert record.images == 10
        assert record.seconds > 0
        assert record.images_per_second == pytest.approx(10 / record.seconds)


def test_a_single_network_can_be_timed() -> None:
    networks = {"mine": pair()["ConvNet"]}
    assert [(record.network, record.number) for record in timed(networks)] == [("mine", n) for n in (1, 2, 3)]


@pytest.mark.parametrize(("warmup_batches", "warmed"), [(0, 0), (2, 3), (3, 4), (50, 4)])
def test_warm_up_batches_are_run_and_not_recorded(warmup_batches: int, warmed: int) -> None:
    networks = pair()
    watch = Watch(networks)
    records = timed(networks, passes=2, warmup_batches=warmup_batches)  # three batches a pass
    assert len(records) == 4
    assert all(record.images == 10 for record in records)
    order = [name for name, _, _, _ in watch.seen]
    turns = ["ConvNet", "DepthwiseConvNet", "DepthwiseConvNet", "ConvNet"]
    expected = ["ConvNet"] * warmed + ["DepthwiseConvNet"] * warmed
    assert order == expected + [name for name in turns for _ in range(3)]
    if warmed:
        assert watch.seen[warmed - 1][1] == 2, "the last batch is smaller, and was warmed up for"


def test_all_is_run_in_evaluation_mode_without_gradients() -> None:
    networks = pair()
    watch = Watch(networks)
    timed(networks, warmup_batches=1)
    assert len(watch.seen) == 2 * (1 + 1 + 3 * 3)
    assert not any(training or gradients for _, _, training, gradients in watch.seen)


# What is left behind


@pytest.mark.parametrize("modes", [(True, False), (False, True), (True, True)])
def test_the_training_mode_is_restored(modes: tuple[bool, bool]) -> None:
    networks = pair()
    for network, mode in zip(networks.values(), modes, strict=True):
        network.train(mode)
    timed(networks)
    for network, mode in zip(networks.values(), modes, strict=True):
        assert all(module.training is mode for module in network.modules())


def test_the_training_mode_is_restored_when_the_caller_stops_early() -> None:
    networks = pair()
    batches = network_alone(some_images(), NORMALIZE, 4, CPU)
    records = time_passes(networks, batches, device=CPU, passes=5, warmup_batches=0)
    next(records)
    records.close()  # type: ignore[attr-defined]
    assert all(network.training for network in networks.values())
    assert torch.is_grad_enabled()


def test_the_training_mode_is_restored_after_an_error() -> None:
    networks = pair()
    too_small = Images(np.zeros((4, 5, 5, 2), np.uint8), np.zeros(4, np.int64))
    batches = network_alone(too_small, NORMALIZE, 4, CPU)
    with pytest.raises(ValueError, match="at least 8x8"):
        list(time_passes(networks, batches, device=CPU, passes=1, warmup_batches=1))
    assert all(network.training for network in networks.values())
    assert torch.is_grad_enabled()


def test_weights_and_running_statistics_are_unchanged() -> None:
    networks = pair()
    before = {name: copy.deepcopy(network.state_dict()) for name, network in networks.items()}
    timed(networks, warmup_batches=2)
    for name, network in networks.items():
        assert all(torch.equal(before[name][key], value) for key, value in network.state_dict().items())
        assert all(p.grad is None for p in network.parameters())


def test_the_caller_has_gradients_between_two_records() -> None:
    batches = network_alone(some_images(), NORMALIZE, 4, CPU)
    records = time_passes(pair(), batches, device=CPU, passes=2, warmup_batches=0)
    try:
        enabled = [torch.is_grad_enabled() for _ in records]
    finally:
        del records
        gc.collect()
    assert enabled == [True] * 4


# Batches


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 64])
def test_with_and_without_the_loader_the_inputs_are_the_same(batch_size: int) -> None:
    images = some_images()
    loaded, prepared = (list(make(images, NORMALIZE, batch_size, CPU)()) for make in (with_loader, network_alone))
    assert [len(inputs) for inputs in loaded] == [end - start for start, end in batch_bounds(10, batch_size)]
    for a, b in zip(loaded, prepared, strict=True):
        assert torch.equal(a, b)
        assert a.stride() == b.stride()
    expected = (images.pixels.astype(np.float64) / 255 - [0.4, 0.5]) / [0.2, 0.3]
    assert np.allclose(torch.cat(loaded).permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("make", [with_loader, network_alone])
def test_every_pass_starts_anew_and_leaves_the_images_alone(make: object) -> None:
    assert callable(make)
    images = some_images()
    images.pixels.flags.writeable = False
    batches = make(images, NORMALIZE, 4, CPU)
    first, second = (torch.cat(list(batches())) for _ in range(2))
    assert torch.equal(first, second)
    assert np.array_equal(images.pixels, some_images().pixels)


def test_without_the_loader_nothing_is_computed_during_a_pass() -> None:
    batches = network_alone(some_images(), NORMALIZE, 4, CPU)
    addresses = [[inputs.data_ptr() for inputs in batches()] for _ in range(2)]
    assert addresses[0] == addresses[1]  # views of one tensor
    storages = {inputs.untyped_storage().data_ptr() for inputs in batches()}
    assert len(storages) == 1
