"""The notebooks' loop against what dwray trains with under the paper's protocol: two ways to the same weights."""

import copy

import pytest
import torch
from torch import nn

from dwray.core.batches import IMAGENET_MEAN, IMAGENET_STD
from dwray.core.config import PROTOCOLS, DataConfig, TrainingConfig, as_the_notebooks
from dwray.core.data import Splits, load, split
from dwray.core.networks import build
from dwray.core.notebook_loader import NotebookImages
from dwray.core.notebook_loop import in_nchw, notebook_epoch
from dwray.core.training import fit, start

CPU = torch.device("cpu")
CONFIG = as_the_notebooks(TrainingConfig(epochs=2, batch_size=32, initial_lr=0.0125, lr_decay=0.5, weight_decay=0.025))
SEED = 3


@pytest.fixture(scope="module")
def colour() -> Splits:
    config = DataConfig(source="synthetic", image_size=16, classes=10, max_train_images=96, max_test_images=32)
    return split(load(config), config, tune_on_test_set=True)


@pytest.mark.parametrize("name", ["ConvNet", "DepthwiseConvNet"])
def test_it_trains_as_fit_does_under_the_papers_protocol(name: str, colour: Splits) -> None:
    ours = build(name, classes=10, width=0.1, seed=SEED)
    theirs = in_nchw(copy.deepcopy(ours))
    train, test = (NotebookImages(images, IMAGENET_MEAN, IMAGENET_STD, CPU) for images in (colour.train, colour.test))
    records = fit(start(ours, CONFIG), train, test, CONFIG, seed=SEED, protocol=PROTOCOLS["paper"])
    for epoch, record in enumerate(records):
        found = notebook_epoch(theirs, train, CONFIG, epoch=epoch, seed=SEED)
        # All batches are full, so that the mean over batches is the mean over images.
        assert found.loss == pytest.approx(record.train_loss, rel=1e-4)
        assert found.accuracy_percent == pytest.approx(record.train_accuracy_percent, abs=100 * 1.5 / 96)
        for (key, mine), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}")


def test_its_network_lies_in_memory_as_torch_makes_it() -> None:
    network = build("DepthwiseConvNet", classes=10, width=0.1, seed=0)
    strides = {name: weight.stride() for name, weight in network.state_dict().items()}
    assert in_nchw(network) is network
    assert all(weight.is_contiguous() for weight in network.state_dict().values())
    assert any(weight.stride() != strides[name] for name, weight in network.state_dict().items())


@pytest.mark.parametrize("name", ["ConvNet", "DepthwiseConvNet"])
def test_every_activation_of_the_notebooks_network_is_nchw(name: str) -> None:
    """Weights of one input channel (depthwise) or of 1x1 are in both layouts at once, and would turn the images."""
    network = in_nchw(build(name, classes=5, width=0.125, seed=0))
    layouts = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(lambda _module, _inputs, output: layouts.append(output.is_contiguous()))
    network(torch.rand(2, 3, 32, 32))
    assert len(layouts) in (14, 27)
    assert all(layouts)
