"""The cost of the networks on paper: parameters, MACs, and the paper's connections."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dwray.core.complexity import Complexity, Work, complexity
from dwray.core.networks import build

names = pytest.mark.parametrize("name", ["ConvNet", "DepthwiseConvNet"])
shapes = pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (3, 13, 30), (2, 9, 64)])

MOBILENET = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)
"""(output channels, stride) of the 13 blocks."""


def connections_by_hand(name: str, shape: tuple[int, int, int], classes: int) -> list[int]:
    """The paper's formula, layer by layer, at width 1."""
    channels, height, width = shape
    kernel = 3 * 3
    found = [kernel * channels * 32 * height * width]  # the stem: each input pixel spreads over 3x3 outputs
    inputs, height, width = 32, 2 * height, 2 * width
    for outputs, stride in MOBILENET:
        height, width = math.ceil(height / stride), math.ceil(width / stride)
        if name == "ConvNet":
            found.append(kernel * inputs * outputs * height * width)
        else:
            found.append(kernel * inputs * height * width)
            found.append(inputs * outputs * height * width)
        inputs = outputs
    return [*found, inputs * classes]


@pytest.mark.parametrize(
    ("name", "classes", "macs", "parameters"),
    [
        ("ConvNet", 100, 1_586_434_048, 28_377_572),
        ("DepthwiseConvNet", 100, 182_824_960, 3_320_420),
        ("ConvNet", 10, 1_586_434_048 - 90 * 1024, 28_285_322),
        ("DepthwiseConvNet", 10, 182_824_960 - 90 * 1024, 3_228_170),
    ],
)
def test_the_totals_at_32x32(name: str, classes: int, macs: int, parameters: int) -> None:
    found = complexity(name, classes=classes)
    assert (found.network, found.classes, found.width, found.image_shape) == (
        name,
        classes,
        1.0,
        (3, 32, 32),
    )
    assert found.macs == macs
    assert found.parameters == parameters


@names
def test_the_defaults_are_the_papers_setting(name: str) -> None:
    assert complexity(name) == complexity(name, classes=100, width=1.0, image_shape=(3, 32, 32))


@names
@shapes
def test_the_connections_are_the_papers_formula(name: str, shape: tuple[int, int, int]) -> None:
    found = complexity(name, classes=7, image_shape=shape)
    with_formula = [layer for layer in found.layers if layer.formula]
    assert [layer.connections for layer in with_formula] == connections_by_hand(name, shape, 7)
    assert all(layer.connections == 0 for layer in found.layers if not layer.formula)
    assert found.connections == sum(connections_by_hand(name, shape, 7))


@names
def test_the_formulas_numbers_multiply_to_the_connections(name: str) -> None:
    layers = [layer for layer in complexity(name, width=0.5).layers if layer.formula]
    assert all(math.prod(map(int, layer.formula.split("x"))) == layer.connections for layer in layers)


@pytest.mark.parametrize(
    ("name", "layer", "kind", "formula"),
    [
        ("ConvNet", "stem.0", "transposed conv", "3x3x3x32x32x32"),
        ("ConvNet", "blocks.1.0", "conv", "3x3x64x128x32x32"),
        ("DepthwiseConvNet", "blocks.1.0", "depthwise conv", "3x3x64x32x32"),
        ("DepthwiseConvNet", "blocks.1.3", "pointwise conv", "64x128x32x32"),
        ("DepthwiseConvNet", "blocks.1.4", "batch norm", ""),
        ("DepthwiseConvNet", "classifier", "linear", "1024x100"),
    ],
)
def test_a_layer_has_its_kind_and_its_formula(name: str, layer: str, kind: str, formula: str) -> None:
    found = {each.name: each for each in complexity(name).layers}[layer]
    assert (found.kind, found.formula) == (kind, formula)


@names
@shapes
def test_a_multiply_accumulate_is_a_connection(name: str, shape: tuple[int, int, int]) -> None:
    layers = complexity(name, width=0.25, image_shape=shape).layers
    assert [layer.macs for layer in layers] == [layer.connections for layer in layers]
    assert all((layer.macs > 0) == (layer.kind != "batch norm") for layer in layers)


@names
@shapes
@pytest.mark.parametrize("width", [0.1, 0.25])
def test_the_macs_are_what_torch_counts_on_the_real_network(
    name: str, shape: tuple[int, int, int], width: float
) -> None:
    network = build(name, classes=5, width=width, channels=shape[0], seed=0).eval()
    images = 3
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(images, *shape))
    found = complexity(name, classes=5, width=width, image_shape=shape)
    assert found.macs == counter.get_total_flops() / 2 / images


@names
@pytest.mark.parametrize("width", [0.1, 1.0])
def test_the_parameters_are_the_built_networks(name: str, width: float) -> None:
    network = build(name, classes=5, width=width, channels=2, seed=0)
    found = complexity(name, classes=5, width=width, image_shape=(2, 16, 16))
    assert found.parameters == sum(p.numel() for p in network.parameters())
    for layer in found.layers:
        assert layer.parameters == sum(p.numel() for p in network.get_submodule(layer.name).parameters())


@names
def test_the_totals_are_sums(name: str) -> None:
    found = complexity(name, width=0.3)
    for total in ("parameters", "macs", "connections"):
        assert getattr(found, total) == sum(getattr(layer, total) for layer in found.layers) > 0


@pytest.mark.parametrize(("name", "layers_a_block"), [("ConvNet", (0, 1)), ("DepthwiseConvNet", (0, 1, 3, 4))])
def test_the_layers_are_in_running_order(name: str, layers_a_block: tuple[int, ...]) -> None:
    layers = complexity(name).layers
    blocks = [f"blocks.{block}.{layer}" for block in range(13) for layer in layers_a_block]
    assert [layer.name for layer in layers] == ["stem.0", "stem.1", *blocks, "classifier"]
    assert layers[0].input_shape == (3, 32, 32)
    for before, after in itertools.pairwise(layers[:-1]):
        assert after.input_shape == before.output_shape
    assert layers[-2].output_shape == (1024, 4, 4)
    assert (layers[-1].input_shape, layers[-1].output_shape) == ((1024,), (100,))


def test_depthwise_separable_convolution_saves_what_the_paper_says() -> None:
    ordinary, separable = (complexity(name).layers for name in ("ConvNet", "DepthwiseConvNet"))
    for block, (outputs, _) in enumerate(MOBILENET):
        of_block = [
            sum(layer.connections for layer in layers if layer.name.startswith(f"blocks.{block}."))
            for layers in (ordinary, separable)
        ]
        assert of_block[1] / of_block[0] == pytest.approx(1 / outputs + 1 / 9)  # 1/N + 1/Dk^2


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8x8"):
        complexity("ConvNet", image_shape=(3, 7, 32))
    with pytest.raises(KeyError, match="LeNet"):
        complexity("LeNet")


def test_counting_leaves_the_global_generator_and_the_default_device_alone() -> None:
    before = torch.get_rng_state()
    complexity("DepthwiseConvNet")
    assert torch.equal(torch.get_rng_state(), before)
    assert nn.Linear(1, 1).weight.device.type == "cpu"


# Work: arithmetic and traffic


@pytest.mark.parametrize(
    ("name", "training", "inference", "saved"),
    [("ConvNet", 57e6, 8.1e6, 8.1e6), ("DepthwiseConvNet", 92e6, 13.1e6, 13.2e6)],
)
def test_the_bytes_of_an_image_are_those_that_were_counted_by_hand(
    name: str, training: float, inference: float, saved: float
) -> None:
    found = complexity(name)
    assert 4 * found.training_elements == pytest.approx(training, rel=0.02)
    assert 4 * found.inference_elements == pytest.approx(inference, rel=0.01)
    assert 4 * found.saved_elements == pytest.approx(saved, rel=0.01)


def test_each_operation_reads_its_tensors_and_writes_its_results() -> None:
    convolution, norm, linear = (complexity("ConvNet").layers[index] for index in (2, 3, -1))
    one = Complexity("one block", 100, 1.0, (3, 32, 32), (convolution, norm, linear))
    inputs, outputs = 32 * 64 * 64, 64 * 64 * 64
    assert (convolution.inputs, convolution.outputs, norm.inputs) == (inputs, outputs, outputs)
    forward = inputs + outputs
    data_gradient = outputs + inputs
    weight_gradient = outputs + inputs
    statistics, normalise, sums, norm_gradient = outputs, 2 * outputs, 2 * outputs, 3 * outputs
    of_linear = 1024 + 100
    expected = forward + statistics + normalise + sums + norm_gradient + data_gradient + weight_gradient + 3 * of_linear
    assert one.training_elements == expected
    assert one.inference_elements == forward + of_linear
    assert one.saved_elements == inputs + outputs + 1024


@names
def test_what_is_saved_for_the_backward_pass_is_what_torch_saves(name: str) -> None:
    network = build(name, classes=10, width=0.25, seed=0)
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = 4
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = network(torch.randn(images, 3, 32, 32).contiguous(memory_format=torch.channels_last)).sum()
    loss.backward()
    expected = images * 4 * complexity(name, classes=10, width=0.25).saved_elements
    assert sum(saved.values()) == pytest.approx(expected, rel=0.02)


@names
def test_a_batchs_work_is_its_images_and_once_the_weights(name: str) -> None:
    found = complexity(name)
    one, two = found.training_step(1), found.training_step(2)
    assert one.flops == two.flops / 2 == 6 * found.macs
    assert two.bytes - one.bytes == 4 * found.training_elements
    assert 2 * one.bytes - two.bytes == 8 * 4 * found.parameters
    assert found.inference(3) == Work(6 * found.macs, 4 * (3 * found.inference_elements + found.parameters))


@names
def test_half_the_width_of_an_element_is_half_the_traffic_but_for_the_optimizers(name: str) -> None:
    found = complexity(name)
    full, half = found.training_step(256), found.training_step(256, 2)
    assert half.flops == full.flops
    assert full.bytes - half.bytes == 2 * (256 * found.training_elements + 3 * found.parameters)
    assert found.inference(256, 2).bytes == found.inference(256).bytes / 2
