"""The two networks: their parameters, their structure, their shapes and their initial weights."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dwray.core.networks import NETWORKS, build, scaled

BLOCKS = (
    (32, 64, 1),
    (64, 128, 2),
    (128, 128, 1),
    (128, 256, 2),
    (256, 256, 1),
    (256, 512, 2),
    (512, 512, 1),
    (512, 512, 1),
    (512, 512, 1),
    (512, 512, 1),
    (512, 512, 1),
    (512, 1024, 2),
    (1024, 1024, 1),
)
"""(input channels, output channels, stride) of MobileNet's blocks, as its paper's table has them."""

names = pytest.mark.parametrize("name", ["ConvNet", "DepthwiseConvNet"])


def on_meta(name: str, classes: int = 100) -> nn.Module:
    with torch.device("meta"):
        return build(name, classes=classes)


def described(module: nn.Module) -> tuple[object, ...]:
    """A layer's type and everything that decides what it computes."""
    if isinstance(module, nn.ConvTranspose2d | nn.Conv2d):
        more = (module.output_padding,) if isinstance(module, nn.ConvTranspose2d) else ()
        shape = (module.in_channels, module.out_channels, module.kernel_size, module.stride, module.padding)
        return (type(module).__name__, *shape, *more, module.dilation, module.groups)
    if isinstance(module, nn.BatchNorm2d):
        return ("BatchNorm2d", module.num_features, module.eps, module.momentum, module.affine)
    assert isinstance(module, nn.ReLU)
    return ("ReLU",)


def conv(inputs: int, outputs: int, side: int, stride: int, groups: int = 1) -> tuple[object, ...]:
    return (
        "Conv2d",
        inputs,
        outputs,
        (side, side),
        (stride, stride),
        (side // 2, side // 2),
        (1, 1),
        groups,
    )


def norm_and_relu(channels: int) -> list[tuple[object, ...]]:
    return [("BatchNorm2d", channels, 1e-5, 0.1, True), ("ReLU",)]


# Structure


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("ConvNet", 100, 28_377_572),
        ("ConvNet", 10, 28_285_322),
        ("DepthwiseConvNet", 100, 3_320_420),
        ("DepthwiseConvNet", 10, 3_228_170),
    ],
)
def test_the_parameter_counts_are_the_papers(name: str, classes: int, parameters: int) -> None:
    network = build(name, classes=classes, seed=0)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == parameters


def test_the_registry_has_the_papers_two_networks() -> None:
    assert list(NETWORKS) == ["ConvNet", "DepthwiseConvNet"]
    with pytest.raises(KeyError, match="ConvNte"):
        build("ConvNte", classes=10)


@names
@pytest.mark.parametrize("width", [0.0, -1.0])
def test_a_width_that_is_not_above_0_is_refused(name: str, width: float) -> None:
    with pytest.raises(ValueError, match="width must be above 0"):
        build(name, classes=10, width=width)


@pytest.mark.parametrize(("name", "convolutions"), [("ConvNet", 1 + 13), ("DepthwiseConvNet", 1 + 2 * 13)])
def test_every_convolution_has_a_bias(name: str, convolutions: int) -> None:
    found = [m for m in on_meta(name).modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(found) == convolutions
    assert all(m.bias is not None and m.bias.shape == (m.out_channels,) for m in found)


@names
def test_the_stem_is_a_transposed_convolution_that_doubles_the_side(name: str) -> None:
    stem = on_meta(name).get_submodule("stem")
    transposed = ("ConvTranspose2d", 3, 32, (3, 3), (2, 2), (1, 1), (1, 1), (1, 1), 1)
    assert [described(layer) for layer in stem.children()] == [transposed, *norm_and_relu(32)]


def test_an_ordinary_block_is_conv_norm_relu() -> None:
    blocks = on_meta("ConvNet").get_submodule("blocks")
    for block, (inputs, outputs, stride) in zip(blocks.children(), BLOCKS, strict=True):
        expected = [conv(inputs, outputs, 3, stride), *norm_and_relu(outputs)]
        assert [described(layer) for layer in block.children()] == expected


def test_a_depthwise_separable_block_is_depthwise_norm_relu_pointwise_norm_relu() -> None:
    blocks = on_meta("DepthwiseConvNet").get_submodule("blocks")
    for block, (inputs, outputs, stride) in zip(blocks.children(), BLOCKS, strict=True):
        depthwise = [conv(inputs, inputs, 3, stride, groups=inputs), *norm_and_relu(inputs)]
        pointwise = [conv(inputs, outputs, 1, 1), *norm_and_relu(outputs)]
        assert [described(layer) for layer in block.children()] == depthwise + pointwise


@names
def test_the_maps_of_a_32x32_image_are_mobilenets_sides(name: str) -> None:
    network = on_meta(name)
    shapes: list[tuple[int, ...]] = []

    def record(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shapes.append(tuple(output.shape[1:]))

    for module in (network.get_submodule("stem"), *network.get_submodule("blocks").children()):
        module.register_forward_hook(record)
    network.get_submodule("pool").register_forward_hook(record)
    network(torch.empty(2, 3, 32, 32, device="meta"))
    sides = [64, 64, 32, 32, 16, 16, 8, 8, 8, 8, 8, 8, 4, 4, 1]
    channels = [32, *(outputs for _, outputs, _ in BLOCKS), 1024]
    assert shapes == [(c, side, side) for c, side in zip(channels, sides, strict=True)]


@names
def test_every_parameter_learns(name: str) -> None:
    network = build(name, classes=5, width=0.1, seed=0)
    inputs = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(network(inputs), torch.arange(8) % 5).backward()
    gradients = {key: p.grad for key, p in network.named_parameters()}
    assert all(g is not None and torch.isfinite(g).all() for g in gradients.values())
    assert all(g.abs().max() > 0 for key, g in gradients.items() if g is not None and key.endswith("weight"))


# Shapes


@given(channels=st.integers(1, 2048), width=st.floats(0.001, 4))
def test_scaled_channels_are_the_nearest_multiple_of_8(channels: int, width: float) -> None:
    found = scaled(channels, width)
    assert found % 8 == 0
    assert found == 8 or abs(found - channels * width) <= 4 + 1e-9
    assert found > 8 or channels * width < 12
    assert found >= 8


def test_scaled_channels_at_width_1_are_the_channels() -> None:
    assert [scaled(c, 1.0) for c in (32, 64, 128, 256, 512, 1024)] == [32, 64, 128, 256, 512, 1024]


@given(
    name=st.sampled_from(sorted(NETWORKS)),
    classes=st.integers(2, 20),
    width=st.floats(0.01, 0.15),
    images=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(8, 64), st.integers(8, 64)),
)
@settings(deadline=None, max_examples=40)
def test_images_of_any_size_from_8_give_a_logit_for_each_class(
    name: str, classes: int, width: float, images: tuple[int, int, int, int]
) -> None:
    network = build(name, classes=classes, width=width, channels=images[1], seed=0).eval()
    with torch.no_grad():
        logits = network(torch.ones(images))
    assert logits.shape == (images[0], classes)
    assert logits.isfinite().all()


@given(
    name=st.sampled_from(sorted(NETWORKS)),
    small=st.integers(1, 7),
    other=st.integers(1, 64),
    swap=st.booleans(),
)
@settings(deadline=None, max_examples=20)
def test_an_image_below_8_pixels_is_refused(name: str, small: int, other: int, swap: bool) -> None:
    height, width = (other, small) if swap else (small, other)
    with torch.device("meta"):
        network = build(name, classes=2, width=0.1)
        with pytest.raises(ValueError, match=rf"at least 8x8, not \({height}, {width}\)"):
            network(torch.empty(2, 3, height, width))


@names
def test_the_width_scales_every_layer(name: str) -> None:
    network = build(name, classes=10, width=0.5, seed=0)
    convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convs if m.groups == 1] == [outputs // 2 for _, outputs, _ in BLOCKS]
    assert network.get_submodule("stem.0").out_channels == 16
    assert network.get_submodule("classifier").in_features == 512


# Initial weights and memory format


def states_equal(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


@names
def test_a_seed_decides_the_initial_weights_bit_for_bit(name: str) -> None:
    first, again, other = (build(name, classes=10, width=0.25, seed=seed) for seed in (3, 3, 4))
    assert states_equal(first, again)
    for (key, a), b in zip(first.named_parameters(), other.parameters(), strict=True):
        constant = a.dim() == 1 and bool((a == a[0]).all())  # batch norm starts with ones and zeros
        assert constant or not torch.equal(a, b), key


@names
def test_a_seed_leaves_the_global_generator_alone(name: str) -> None:
    before = torch.get_rng_state()
    build(name, classes=10, width=0.1, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@names
def test_without_a_seed_the_global_generator_decides(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        first = build(name, classes=10, width=0.1)
        second = build(name, classes=10, width=0.1)
    assert states_equal(first, build(name, classes=10, width=0.1, seed=3))
    assert not states_equal(first, second)


@names
def test_weights_and_maps_are_channels_last(name: str) -> None:
    network = build(name, classes=10, width=0.25, seed=0)
    weights = [p for p in network.parameters() if p.dim() == 4]
    assert weights
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    maps: list[Tensor] = []
    for block in network.get_submodule("blocks").children():
        block.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    network(torch.ones(2, 3, 64, 64).contiguous(memory_format=torch.channels_last))
    assert len(maps) == 13
    assert all(each.stride(1) == 1 for each in maps)


@names
def test_channels_last_changes_the_logits_by_rounding_only(name: str) -> None:
    network = build(name, classes=10, width=0.25, seed=0).double().eval()
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    inputs = torch.randn(2, 3, 13, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(inputs), plain(inputs), rtol=1e-9, atol=1e-12)


# In training mode batch norm keeps the signal alive through all layers. In float64 only the last bits of the float32
# initial weights differ between kinds of CPU, and move these by at most 3e-6 (torch's default kernels against AVX-512).
LOGITS = {
    "ConvNet": [-0.09342117, 0.14446840, 0.16663423, 0.07145376],
    "DepthwiseConvNet": [-0.04371039, 0.22147789, 0.13823616, 0.07750438],
}


@names
def test_the_logits_of_seed_0_are_the_recorded_ones(name: str) -> None:
    network = build(name, classes=3, width=0.25, channels=1, seed=0).double()
    images = torch.linspace(-50, 50, 4 * 24 * 20, dtype=torch.float64).reshape(4, 1, 24, 20).sin()
    with torch.no_grad():
        logits = network(images)
    assert logits.shape == (4, 3)
    assert logits[:, 0].tolist() == pytest.approx(LOGITS[name], abs=5e-5)


@names
def test_the_classifier_starts_as_torch_starts_a_linear_layer(name: str) -> None:
    network = build(name, classes=100, width=1.0, seed=0)
    bound = 1 / math.sqrt(1024)
    weight = network.get_parameter("classifier.weight")
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)  # a uniform distribution's
