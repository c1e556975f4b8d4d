"""What a network costs on paper: parameters, multiply-accumulates (MACs), the paper's connection formula, and bytes.

Bytes are what must pass between the device's memory and its arithmetic, whatever the code: one who knows a device's
two rates can tell from them how fast a network can be at best (the roofline: Williams, Waterman and Patterson,
"Roofline: an insightful visual performance model for multicore architectures", 2009).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dwray.core.networks import build

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class Layer:
    """One layer with weights. Its batch norm, if any, is a layer of its own, without MACs."""

    name: str
    kind: str
    input_shape: tuple[int, ...]
    """(channels, height, width), or (features,) for a linear layer."""
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    """Multiply-accumulates for one image, counted by torch (``torch.utils.flop_counter``, whose FLOPs are 2 x MACs)."""
    connections: int
    """Connections by the paper's formula (section 3.1), 0 for a layer that it does not speak of."""
    formula: str
    """The formula with its numbers, empty where it does not apply."""

    @property
    def inputs(self) -> int:
        """Elements that it reads for one image."""
        return math.prod(self.input_shape)

    @property
    def outputs(self) -> int:
        """Elements that it writes for one image."""
        return math.prod(self.output_shape)


@dataclass(frozen=True)
class Work:
    """What one batch needs at the least.

    Example:
        >>> work = Work(flops=200, bytes=50)
        >>> work.flops / work.bytes  # its arithmetic intensity, in FLOP/byte
        4.0
    """

    flops: int
    """Floating-point operations of convolutions and matrix products: 2 for a multiply-accumulate."""
    bytes: int
    """Read from and written to the device's memory."""


@dataclass(frozen=True)
class Complexity:
    """A network's layers in the order in which they run, and their totals.

    The elements that are moved are counted under one rule: *each operation reads its whole tensors from memory and
    writes its results there*, and these are the operations.

    - Inference, batch norm folded into the convolution before it and ReLU done on the way out: a convolution or linear
      layer reads its input and writes its output.
    - A training step, batch norm and ReLU fused with each other: a convolution or linear layer reads its input and
      writes its output; for the gradient of its input it reads that of its output and writes; for the gradient of its
      weights it reads both the gradient of its output and its input. Batch norm must know the batch's statistics
      before it can normalise, and likewise two sums of its gradient before it can pass that on: it reads its input
      (statistics), reads it again and writes (normalise, ReLU), reads its input and its gradient (the sums), and reads
      both again and writes (the gradient of its input). With ReLU on its own there would be 5 elements more to each
      output of batch norm.

    Pooling and the loss are left out (under 1% in the networks of the registry).

    Example:
        >>> cost = complexity("DepthwiseConvNet", classes=10)
        >>> [layer.kind for layer in cost.layers[:5]]
        ['transposed conv', 'batch norm', 'depthwise conv', 'batch norm', 'pointwise conv']
        >>> cost.parameters == sum(layer.parameters for layer in cost.layers)
        True
    """

    network: str
    classes: int
    width: float
    image_shape: tuple[int, int, int]
    """(channels, height, width)."""
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """Trainable parameters of the whole network."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a forward pass over one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def connections(self) -> int:
        """Connections of the whole network."""
        return sum(layer.connections for layer in self.layers)

    @property
    def saved_elements(self) -> int:
        """Activations of one image that are kept for the backward pass: the input of each layer with weights.

        ReLU in place keeps its output, which is the next layer's input.
        """
        return sum(layer.inputs for layer in self.layers)

    @property
    def inference_elements(self) -> int:
        """Elements of activations read and written for one image at test time; see the class for the rule."""
        return sum(layer.inputs + layer.outputs for layer in self.layers if layer.macs)

    @property
    def training_elements(self) -> int:
        """Elements of activations and their gradients read and written for one image in a training step."""
        return sum(3 * (layer.inputs + layer.outputs) if layer.macs else 8 * layer.outputs for layer in self.layers)

    def inference(self, batch_size: int, element_bytes: int = 4) -> Work:
        """A forward pass at test time; the weights are read once.

        Args:
            batch_size: Images.
            element_bytes: Of a weight and of an activation.

        Example:
            >>> cost = complexity("ConvNet", width=0.25)
            >>> cost.inference(2).flops == 2 * 2 * cost.macs
            True
        """
        elements = batch_size * self.inference_elements + self.parameters
        return Work(2 * self.macs * batch_size, element_bytes * elements)

    def training_step(self, batch_size: int, element_bytes: int = 4) -> Work:
        """A training step with momentum: three times the forward pass's arithmetic.

        The forward and the backward pass read the weights, and the latter writes their gradients; the optimizer reads
        weights, gradients and momentum, and writes weights and momentum.

        Args:
            batch_size: Images.
            element_bytes: Of an activation, and of a weight and its gradient in the two passes; the optimizer's are
                always float32.

        Example:
            >>> cost = complexity("ConvNet", width=0.25)
            >>> cost.training_step(2).flops == 3 * cost.inference(2).flops
            True
        """
        passes = batch_size * self.training_elements + 3 * self.parameters
        return Work(6 * self.macs * batch_size, element_bytes * passes + FLOAT32_BYTES * 5 * self.parameters)


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.ConvTranspose2d):
        return "transposed conv"
    if isinstance(module, nn.Conv2d):
        if module.groups > 1 and module.groups == module.in_channels:
            return "depthwise conv"
        return "pointwise conv" if module.kernel_size == (1, 1) else "conv"
    return {"BatchNorm2d": "batch norm", "Linear": "linear"}.get(type(module).__name__, type(module).__name__)


def _connections(module: nn.Module, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> tuple[str, int]:
    """The paper's formula (section 3.1) for one layer, as (factors, value).

    Dk x Dk x M x N x Df x Df for an ordinary convolution, Dk x Dk x M x Df x Df for a depthwise and
    M x N x Df x Df for a pointwise one, with Df the side of the *output* map. A transposed convolution is the same
    with the *input* map (each of whose pixels spreads over Dk x Dk outputs), a linear layer is M x N.
    """
    if isinstance(module, nn.Linear):
        factors: tuple[int, ...] = (module.in_features, module.out_features)
    elif isinstance(module, nn.ConvTranspose2d):
        factors = (
            *module.kernel_size,
            module.in_channels,
            module.out_channels // module.groups,
            *inputs[-2:],
        )
    elif isinstance(module, nn.Conv2d):
        # M x N over all groups: a depthwise layer (groups = M = N) keeps M alone, a pointwise one loses Dk x Dk = 1.
        kernel = () if module.kernel_size == (1, 1) else module.kernel_size
        per_group = module.out_channels // module.groups
        channels = (module.in_channels,) if per_group == 1 else (module.in_channels, per_group)
        factors = (*kernel, *channels, *outputs[-2:])
    else:
        return "", 0
    return "x".join(map(str, factors)), math.prod(factors)


def complexity(
    network: str, *, classes: int = 100, width: float = 1.0, image_shape: tuple[int, int, int] = (3, 32, 32)
) -> Complexity:
    """Count a network of the registry, layer by layer, without allocating its weights (on torch's meta device).

    Args:
        network: Key of ``NETWORKS``.
        classes: Number of outputs.
        width: Width multiplier.
        image_shape: (channels, height, width) of one image; height and width at least 8.

    Returns:
        Every layer's parameters, multiply-accumulates and connections, their totals, and with these the operations and
        bytes of a training step or of a pass at test time.

    Raises:
        KeyError: No such network.
        ValueError: The image is too small, or the width not above 0.

    Source: section 3.1 of the paper (connections). Section 4.1 states the parameters of both networks for 100 classes.

    Example:
        >>> import dwray
        >>> ordinary, depthwise = dwray.complexity("ConvNet"), dwray.complexity("DepthwiseConvNet")
        >>> f"{ordinary.parameters:,} and {depthwise.parameters:,} parameters"
        '28,377,572 and 3,320,420 parameters'
        >>> round(ordinary.macs / depthwise.macs, 1)
        8.7
        >>> step = depthwise.training_step(batch_size=256, element_bytes=2)
        >>> round(step.flops / step.bytes)  # FLOP/byte
        24
    """
    with torch.device("meta"):
        module = build(network, classes=classes, width=width, channels=image_shape[0])
        images = torch.empty(1, *image_shape)
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def record(name: str) -> object:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            shapes[name] = tuple(inputs[0].shape[1:]), tuple(output.shape[1:])

        return hook

    leaves = {name: leaf for name, leaf in module.named_modules() if any(True for _ in leaf.parameters(recurse=False))}
    for name, leaf in leaves.items():
        leaf.register_forward_hook(record(name))
    module.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(images)
    flops = counter.get_flop_counts()

    layers = []
    for name, (inputs, outputs) in shapes.items():
        leaf = leaves[name]
        formula, connections = _connections(leaf, inputs, outputs)
        counted = flops.get(f"{type(module).__name__}.{name}", {})
        layers.append(
            Layer(
                name=name,
                kind=_kind(leaf),
                input_shape=inputs,
                output_shape=outputs,
                parameters=sum(p.numel() for p in leaf.parameters(recurse=False)),
                macs=sum(counted.values()) // 2,
                connections=connections,
                formula=formula,
            )
        )
    return Complexity(network, classes, width, image_shape, tuple(layers))
