"""The networks of the paper, and the one registry that names them.

Both are MobileNet (Howard et al. 2017, table 1) with another first and last layer (paper, section 3.3, figures 2 and
3): a transposed convolution doubles the side of the small image instead of halving it, and a linear layer ends in the
dataset's classes. They differ in one thing: the block. The number of blocks and the biases follow from the parameter
counts that the paper states, which figure 2 contradicts (it leaves out five 512 -> 512 blocks).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dwray.core.registry import Registry

STEM_CHANNELS = 32
STAGES: tuple[tuple[int, int], ...] = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
"""(output channels, stride) of MobileNet's 13 blocks."""

SMALLEST_IMAGE = 8
"""The stem doubles the side and four blocks halve it: 8 pixels are the least that MobileNet's strides are meant for."""

Block = Callable[[int, int, int], nn.Module]
"""(input channels, output channels, stride) -> module."""


def scaled(channels: int, width: float) -> int:
    """Channels times the width multiplier, to the nearest multiple of 8 and at least 8.

    Source: so MobileNetV2's authors round in their implementation (Sandler et al. 2018).

    Example:
        >>> scaled(32, 1.0), scaled(1024, 0.125), scaled(32, 0.05)
        (32, 128, 8)
    """
    return max(8, int(channels * width + 4) // 8 * 8)


def ordinary_block(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Convolution 3x3, batch norm, ReLU. (N, inputs, H, W) -> (N, outputs, ceil(H/stride), ceil(W/stride)).

    Source: section 3.3 and figure 2 of the paper.

    Example:
        >>> ordinary_block(8, 16, 2)(torch.zeros(4, 8, 7, 7)).shape
        torch.Size([4, 16, 4, 4])
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def depthwise_separable_block(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Depthwise 3x3, batch norm, ReLU, pointwise 1x1, batch norm, ReLU. Shapes as :func:`ordinary_block`.

    Source: section 3.3 and figure 3 of the paper, after Howard et al. 2017, figure 3.

    Example:
        >>> depthwise_separable_block(8, 16, 2)(torch.zeros(4, 8, 7, 7)).shape
        torch.Size([4, 16, 4, 4])
    """
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs),
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, 1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class MobileNetLike(nn.Module):
    """Transposed-convolution stem, 13 blocks, global average pool, linear.

    Args:
        block: Makes each of the 13 blocks.
        classes: Number of outputs.
        width: Width multiplier on every layer's channels (MobileNet's alpha).
        channels: Channels of the input image.

    Raises:
        ValueError: The width is not above 0; or, when it is called, images under 8x8.

    Example:
        >>> network = MobileNetLike(ordinary_block, classes=10, width=0.05)
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, block: Block, *, classes: int, width: float = 1.0, channels: int = 3) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f"width must be above 0, not {width}")
        inputs = scaled(STEM_CHANNELS, width)
        self.stem = nn.Sequential(
            nn.ConvTranspose2d(channels, inputs, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
        )
        blocks = []
        for outputs, stride in STAGES:
            blocks.append(block(inputs, scaled(outputs, width), stride))
            inputs = scaled(outputs, width)
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, channels, H, W), H and W at least 8 -> logits (N, classes)."""
        if min(images.shape[-2:]) < SMALLEST_IMAGE:
            raise ValueError(
                f"images must be at least {SMALLEST_IMAGE}x{SMALLEST_IMAGE}, not {tuple(images.shape[-2:])}"
            )
        features: Tensor = self.pool(self.blocks(self.stem(images)))
        logits: Tensor = self.classifier(features.flatten(1))
        return logits


@dataclass(frozen=True)
class Network:
    """An entry of the registry: ``make(classes=, width=, channels=)`` returns the module."""

    make: Callable[..., nn.Module]
    description: str


def _mobilenet_like(block: Block) -> Callable[..., nn.Module]:
    def make(*, classes: int, width: float = 1.0, channels: int = 3) -> nn.Module:
        return MobileNetLike(block, classes=classes, width=width, channels=channels)

    return make


NETWORKS: Registry[Network] = Registry(
    """Every network that a sweep file, ``build`` and ``complexity`` can name: name to ``Network``.

    ``NETWORKS[name].description`` is one line, and ``NETWORKS[name].make(classes=, width=, channels=)`` returns the
    module, for images (N, channels, H, W) of at least 8 pixels a side. A new entry is known in this process; for sweeps
    it belongs in ``dwray/core/networks.py``.

    Source: figures 2 and 3 of the paper.

    Example:
        >>> import dwray
        >>> list(dwray.NETWORKS)
        ['ConvNet', 'DepthwiseConvNet']
        >>> dwray.NETWORKS["ConvNet"].description
        "MobileNet's shape with ordinary 3x3 convolutions (paper, figure 2)"
    """,
    {
        "ConvNet": Network(
            _mobilenet_like(ordinary_block), "MobileNet's shape with ordinary 3x3 convolutions (paper, figure 2)"
        ),
        "DepthwiseConvNet": Network(
            _mobilenet_like(depthwise_separable_block),
            "MobileNet's shape with depthwise separable convolutions (paper, figure 3)",
        ),
    },
)
"""Every network that a sweep can name. A new one is one entry."""


def build(name: str, *, classes: int, width: float = 1.0, channels: int = 3, seed: int | None = None) -> nn.Module:
    """Make a network of the registry, in channels_last memory format, initialised from ``seed``.

    Channels-last changes no result beyond rounding; on a CPU it makes the depthwise network's training about 1.3 times
    as fast and its inference 1.5 times, on a GPU with tensor cores it is cuDNN's native layout.

    Source: section 3.3 and figures 2 and 3 of the paper; Howard et al. 2017, table 1.

    Args:
        name: Key of :data:`NETWORKS`.
        classes: Number of outputs.
        width: Width multiplier.
        channels: Channels of the input image.
        seed: Seed of the initial weights; the global generator is left as it was. None draws from the global generator.

    Returns:
        A module in training mode, on torch's default device: normalised images (N, channels, H, W) float32, H and W at
        least 8, to logits (N, classes).

    Raises:
        KeyError: No such network.
        ValueError: The width is not above 0.

    Example:
        >>> import torch, dwray
        >>> network = dwray.build("DepthwiseConvNet", classes=10, width=0.25, seed=0)
        >>> network(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    make = NETWORKS[name].make
    if seed is None:
        module = make(classes=classes, width=width, channels=channels)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # the CPU's alone: torch.manual_seed would seed every GPU too
            module = make(classes=classes, width=width, channels=channels)
    return module.to(memory_format=torch.channels_last)
