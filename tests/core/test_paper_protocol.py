"""The paper's protocol against the notebooks' loop, written out here; and each switch for itself."""

import copy
import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from dwray.core.batches import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Normalize,
    ResidentImages,
    batch_bounds,
    epoch_generator,
    normalisation,
)
from dwray.core.config import (
    PROTOCOLS,
    SWITCHES,
    TRAINING_SWITCHES,
    DataConfig,
    FieldError,
    ProtocolConfig,
    TrainingConfig,
)
from dwray.core.data import Images, Splits, load, split
from dwray.core.evaluation import evaluate, mode_for_inference
from dwray.core.inference import batches_of, time_passes
from dwray.core.networks import build
from dwray.core.notebook_loader import NotebookImages
from dwray.core.training import EpochRecord, fit, start

CPU = torch.device("cpu")
PAPER = PROTOCOLS["paper"]
CONFIG = TrainingConfig(epochs=2, batch_size=32, initial_lr=0.0125, lr_decay=0.9, weight_decay=0.025)
SEED = 3

names = pytest.mark.parametrize("name", ["ConvNet", "DepthwiseConvNet"])


@pytest.fixture(scope="module")
def colour() -> Splits:
    """112 training and 70 test images in colour, under the paper's protocol: nothing is held out."""
    config = DataConfig(source="synthetic", image_size=16, classes=10, max_train_images=112, max_test_images=70)
    return split(load(config), config, tune_on_test_set=True)


class Double:
    """A set of images whose batches are float64, so that only the arithmetic's order can differ, and by nothing."""

    def __init__(self, images: NotebookImages) -> None:
        self._images, self.device = images, images.device

    def __len__(self) -> int:
        return len(self._images)

    def ordered(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return ((inputs.double(), labels) for inputs, labels in self._images.ordered(batch_size))

    def shuffled(
        self, batch_size: int, generator: torch.Generator, *, crop_padding: int = 0, flip: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        batches = self._images.shuffled(batch_size, generator, crop_padding=crop_padding, flip=flip)
        return ((inputs.double(), labels) for inputs, labels in batches)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def dwray_steps(network: nn.Module, splits: Splits) -> tuple[list[float], list[dict[str, Tensor]], list[EpochRecord]]:
    """What dwray does: the loss of each training step, the weights after it, and the records."""
    losses: list[float] = []
    after: list[dict[str, Tensor]] = []
    sets = {
        part: Double(NotebookImages(getattr(splits, part), *normalisation(splits, PAPER.normalisation), CPU))
        for part in ("train", "validation")
    }
    state = start(network, CONFIG)
    optimize = state.optimizer.step
    cross_entropy = nn.functional.cross_entropy

    def watched_loss(logits: Tensor, labels: Tensor, **options: str) -> Tensor:
        loss = cross_entropy(logits, labels, **options)
        if network.training:
            losses.append(loss.item())
        return loss

    def watched_step() -> None:
        optimize()
        after.append(weights(network))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.functional, "cross_entropy", watched_loss)
        patch.setattr(state.optimizer, "step", watched_step)
        records = list(fit(state, sets["train"], sets["validation"], CONFIG, seed=SEED, protocol=PAPER))
    return losses, after, records


def notebook_steps(
    net: nn.Module, train: Images, test: Images
) -> tuple[list[float], list[dict[str, Tensor]], list[tuple[float, float]]]:
    """The notebooks' loop in a straight line: losses, weights after each step, (loss, accuracy) of each validation."""
    transform = transforms.Compose(
        [
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    trainset = [
        (transform(Image.fromarray(pixels)).double(), int(label))
        for pixels, label in zip(train.pixels, train.labels, strict=True)
    ]
    testset = [
        (transform(Image.fromarray(pixels)).double(), int(label))
        for pixels, label in zip(test.pixels, test.labels, strict=True)
    ]
    testloader = torch.utils.data.DataLoader(testset, batch_size=32)
    criterion = nn.CrossEntropyLoss()
    losses, after, validations = [], [], []
    for epoch in range(2):
        optimizer = torch.optim.SGD(
            net.parameters(), lr=0.0125 * 0.9**epoch, momentum=0.9, nesterov=True, weight_decay=0.025
        )
        net.train()
        order = torch.randperm(len(trainset), generator=epoch_generator(SEED, epoch))
        for images, labels in torch.utils.data.DataLoader(trainset, batch_size=32, sampler=order.tolist()):
            optimizer.zero_grad()
            outputs = net(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            after.append(weights(net))
        net.eval()
        val_loss, correct = 0.0, 0
        with torch.no_grad():
            for images, labels in testloader:
                outputs = net(images)
                val_loss += criterion(outputs, labels).item()
                correct += int((outputs.max(1)[1] == labels).sum())
        net.train()
        validations.append((val_loss / (len(testloader) - 1), 100 * correct / len(testset)))
    return losses, after, validations


@names
def test_two_epochs_are_step_by_step_those_of_the_notebooks_loop(name: str, colour: Splits) -> None:
    network = build(name, classes=10, width=0.1, seed=SEED).double()
    theirs = copy.deepcopy(network)
    losses, after, records = dwray_steps(network, colour)
    expected_losses, expected_after, expected_validations = notebook_steps(theirs, colour.train, colour.test)
    assert len(losses) == len(after) == 8
    assert losses == pytest.approx(expected_losses, rel=1e-9)
    for found, expected in zip(after, expected_after, strict=True):
        for key, value in expected.items():
            torch.testing.assert_close(
                found[key], value, rtol=1e-7, atol=1e-9, msg=lambda text, key=key: f"{key}: {text}"
            )
    for record, (loss, accuracy) in zip(records, expected_validations, strict=True):
        assert record.validation_loss == pytest.approx(loss, rel=1e-7)
        assert record.validation_accuracy_percent == pytest.approx(accuracy)


# Each switch


def resident(splits: Splits) -> tuple[ResidentImages, ResidentImages]:
    normalize = Normalize(*normalisation(splits, "dataset"), CPU)
    return ResidentImages(splits.train, normalize, CPU), ResidentImages(splits.validation, normalize, CPU)


def test_the_momentum_is_reset_at_the_beginning_of_each_epoch_and_only_by_its_switch(colour: Splits) -> None:
    ends = {}
    for reset in (False, True):
        protocol = ProtocolConfig(momentum_reset_each_epoch=reset)
        network = build("ConvNet", classes=10, width=0.05, seed=0)
        state = start(network, CONFIG)
        records = fit(state, *resident(colour), CONFIG, seed=0, protocol=protocol)
        next(records)
        first = weights(network)
        next(records)
        ends[reset] = (first, weights(network))
    kept, reset_ = ends[False], ends[True]
    assert all(torch.equal(kept[0][key], reset_[0][key]) for key in kept[0])
    assert any(not torch.equal(kept[1][key], reset_[1][key]) for key in kept[1])


def test_tuning_on_the_test_set_holds_nothing_out() -> None:
    config = DataConfig(max_train_images=200, max_test_images=60)
    data = load(config)
    paper, corrected = (split(data, config, tune_on_test_set=tuning) for tuning in (True, False))
    assert len(paper.train) == 200
    assert np.array_equal(paper.validation.pixels, data.test.pixels)
    assert np.array_equal(paper.test.pixels, data.test.pixels)
    assert len(corrected.train) + len(corrected.validation) == 200
    assert paper.mean != corrected.mean  # of what is trained on


def test_imagenets_statistics_are_for_colour_and_grey(colour: Splits) -> None:
    assert normalisation(colour, "imagenet") == (IMAGENET_MEAN, IMAGENET_STD)
    assert normalisation(colour, "dataset") == (colour.mean, colour.std)
    grey = split(load(DataConfig()), DataConfig())
    (mean,), (std,) = normalisation(grey, "imagenet")
    assert mean == pytest.approx(0.449)
    assert std == pytest.approx(0.226, abs=1e-3)
    two = dataclasses.replace(colour, train=Images(colour.train.pixels[..., :2], colour.train.labels))
    with pytest.raises(ValueError, match="not 2"):
        normalisation(two, "imagenet")


@pytest.mark.parametrize("channels", [1, 3])
def test_the_notebooks_loader_makes_the_same_batches(channels: int, colour: Splits) -> None:
    images = Images(np.ascontiguousarray(colour.train.pixels[:65, ..., :channels]), colour.train.labels[:65])
    mean, std = (0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.25)[:channels]
    slow = NotebookImages(images, mean, std, CPU)
    fast = ResidentImages(images, Normalize(mean, std, CPU), CPU)
    pairs = [
        (slow.ordered(32), fast.ordered(32)),
        (slow.shuffled(16, epoch_generator(1, 2)), fast.shuffled(16, epoch_generator(1, 2))),
    ]
    for theirs, ours in pairs:
        sizes = []
        for (inputs, labels), (expected, expected_labels) in zip(theirs, ours, strict=True):
            torch.testing.assert_close(inputs, expected, rtol=1e-5, atol=1e-6)
            assert torch.equal(labels, expected_labels)
            sizes.append(len(labels))
        assert sizes in ([32, 33], [16, 16, 16, 17])


def test_the_notebooks_loader_augments(colour: Splits) -> None:
    slow = NotebookImages(colour.train, IMAGENET_MEAN, IMAGENET_STD, CPU)
    plain, cropped, flipped = (
        next(iter(slow.shuffled(112, epoch_generator(0, 0), crop_padding=padding, flip=flip)))[0]
        for padding, flip in ((0, False), (4, False), (0, True))
    )
    assert plain.shape == cropped.shape == flipped.shape
    assert not torch.equal(plain, cropped)
    mirrored = [torch.equal(a.flip(2), b) for a, b in zip(plain, flipped, strict=True)]
    same = [torch.equal(a, b) for a, b in zip(plain, flipped, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 30 < sum(mirrored) < 82


def test_the_validation_loss_over_batches_minus_one(colour: Splits) -> None:
    network = build("ConvNet", classes=10, width=0.05, seed=0)
    images = resident(colour)[1]
    each = []
    network.eval()
    with torch.no_grad():
        for inputs, labels in images.ordered(32):
            each.append(nn.functional.cross_entropy(network(inputs), labels).item())
    assert len(each) == 3
    found = evaluate(network, images, 32, over_batches_minus_one=True)
    assert found.loss == pytest.approx(sum(each) / 2, rel=1e-6)
    assert found.accuracy_percent == evaluate(network, images, 32).accuracy_percent
    assert math.isinf(evaluate(network, images, 70, over_batches_minus_one=True).loss)


def test_batch_statistics_score_as_training_mode_does_and_leave_no_trace(colour: Splits) -> None:
    network = build("DepthwiseConvNet", classes=10, width=0.05, seed=0)
    images = resident(colour)[1]
    before = weights(network)
    found = evaluate(network.eval(), images, 32, batch_statistics=True)
    assert not network.training
    assert all(torch.equal(value, before[key]) for key, value in weights(network).items())
    reference = copy.deepcopy(network).train()
    with torch.no_grad():
        losses = [
            nn.functional.cross_entropy(reference(inputs), labels, reduction="sum").item()
            for inputs, labels in images.shuffled(32, epoch_generator(0, 0))
        ]
    assert found.loss == pytest.approx(sum(losses) / len(images), rel=1e-5)
    assert found.loss != pytest.approx(evaluate(network, images, 32).loss, rel=1e-3)


def test_batch_statistics_do_not_depend_on_how_a_dataset_is_sorted(colour: Splits) -> None:
    network = build("ConvNet", classes=10, width=0.05, seed=0)
    images = resident(colour)[1]
    order = torch.argsort(images.labels, stable=True)
    by_class = resident(colour)[1]
    by_class.pixels, by_class.labels = images.pixels[order], images.labels[order]
    seen: list[int] = []
    shuffled = by_class.shuffled

    def watched(*arguments: object, **options: object) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, labels in shuffled(*arguments, **options):  # type: ignore[arg-type]
            seen.append(len(labels.unique()))
            yield inputs, labels

    by_class.shuffled = watched  # type: ignore[method-assign, assignment]
    evaluate(network, by_class, 10, batch_statistics=True)
    assert len(seen) == 7
    assert min(seen) > 3, "no batch of one class"


def test_timed_passes_run_in_the_mode_of_the_switch(colour: Splits) -> None:
    modes: list[bool] = []
    network = build("ConvNet", classes=10, width=0.05, seed=0).eval()
    network.register_forward_hook(lambda module, *_: modes.append(module.training))
    before = weights(network)
    images = resident(colour)[1]
    for statistics in (True, False):
        modes.clear()
        records = list(
            time_passes(
                {"a": network},
                batches_of(images, 32),
                device=CPU,
                passes=2,
                warmup_batches=1,
                batch_statistics=statistics,
            )
        )
        assert [record.images for record in records] == [70, 70]
        assert set(modes) == {statistics}
    assert not network.training
    assert all(torch.equal(value, before[key]) for key, value in weights(network).items())


def test_a_pass_reads_the_answer_to_each_batch_if_it_is_told_to(
    colour: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    item = Tensor.item
    monkeypatch.setattr(Tensor, "item", lambda self: read.append(self.shape) or item(self))
    network = build("ConvNet", classes=10, width=0.05, seed=0)
    for each, expected in ((True, 6), (False, 0)):
        read.clear()
        passes = time_passes(
            {"a": network},
            batches_of(resident(colour)[1], 32),
            device=CPU,
            passes=2,
            warmup_batches=0,
            read_each_batch=each,
        )
        assert len(list(passes)) == 2
        assert len(read) == expected


def test_an_error_in_mid_pass_leaves_the_network_as_it_was() -> None:
    network = build("ConvNet", classes=10, width=0.05, seed=0).train()
    with pytest.raises(RuntimeError), mode_for_inference(network):
        raise RuntimeError
    assert network.training


def test_a_last_single_image_joins_the_batch_before() -> None:
    assert batch_bounds(9, 4) == [(0, 4), (4, 9)]
    assert batch_bounds(10, 4) == [(0, 4), (4, 8), (8, 10)]
    assert batch_bounds(3, 1) == [(0, 1), (1, 2), (2, 3)]
    assert batch_bounds(1, 4) == [(0, 1)]


# The protocols themselves


def test_the_paper_has_every_flaw_and_corrected_none() -> None:
    paper, corrected = PROTOCOLS["paper"], PROTOCOLS["corrected"]
    assert all(getattr(paper, switch) != getattr(corrected, switch) for switch in SWITCHES)
    assert set(TRAINING_SWITCHES) < set(SWITCHES)


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("base", ["paper", "corrected"])
def test_turning_a_switch_changes_it_alone_and_turning_it_back_restores(base: str, switch: str) -> None:
    protocol = PROTOCOLS[base]
    turned = protocol.turn(switch)
    assert turned.turned == (switch,)
    assert str(turned).startswith(f"{base} with {switch}: ")
    assert turned.turn(switch) == protocol
    assert str(protocol) == base


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(FieldError, match="dataset and imagenet"):
        ProtocolConfig(normalisation="none")
