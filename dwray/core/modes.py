"""The ways in which a network is run at test time: precision, and eager, folded, compiled or as a CUDA graph."""

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dwray.core.config import MODE_NAMES
from dwray.core.folding import fold_batch_norm
from dwray.core.graphs import GraphedNetwork
from dwray.core.precision import full_float32, lacks, tf32
from dwray.errors import one_line

TOLERANCES = {"float32": 1e-3, "tf32": 0.1, "bfloat16": 0.8}
"""How far outputs may be from eager float32, as a share of how much they differ between images. Outputs that have
nothing to do with the images are at 1 or more. Measured on random networks at width 0.125 on a CPU: float32 compiled
0.00002 at most; bfloat16 0.08 (ConvNet) and 0.55 (DepthwiseConvNet: 27 random layers amplify each rounding; autocast,
which keeps the normalisation in float32, is at 0.51). TF32, which keeps 8 times as many of a factor's digits as
bfloat16 does and adds in float32, is given an eighth of that."""
COMPILED_SIZES = (8, 1, 32)
"""Batch sizes that a network is compiled with. Of 8 and 32 the batch size is a variable; on a CPU the library of
convolutions makes torch compile once for 2 to 15 images and once for more. A single image always has its own."""


@dataclass(frozen=True)
class Mode:
    """One way to run a network."""

    precision: str
    """One of ``config.PRECISIONS``."""
    variant: str
    """One of ``config.VARIANTS``: ``eager`` is the network as it is built, in channels_last; ``folded`` has its batch
    norm in its convolutions; ``compiled`` and ``cuda-graph`` are made of the folded network."""

    def __str__(self) -> str:
        return f"{self.precision}-{self.variant}"

    @property
    def compiled(self) -> bool:
        """By torch.compile, which takes its time."""
        return self.variant == "compiled"

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's inputs."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32


MODES: dict[str, Mode] = {name: Mode(*name.split("-", 1)) for name in MODE_NAMES}
"""Every mode by its name."""


def modes_of(device: torch.device) -> tuple[Mode, ...]:
    """The modes of a kind of device; whether this very one has them is told by :func:`unavailable`."""
    on_gpu = device.type == "cuda"
    return tuple(
        mode for mode in MODES.values() if on_gpu or (mode.precision != "tf32" and mode.variant != "cuda-graph")
    )


def unavailable(mode: Mode, device: torch.device) -> str | None:
    """Why a mode cannot be had on a device, in one line; None where it can."""
    if mode.variant == "cuda-graph" and device.type != "cuda":
        return "CUDA graphs need a GPU"
    return lacks(mode.precision, device) or (compiler_error(device) if mode.compiled else None)


@functools.cache
def compiler_error(device: torch.device) -> str | None:
    """Compile a tiny function; None if that works (torch needs a C++ compiler on a CPU, Triton on a GPU)."""
    inputs = torch.ones(4, device=device)
    try:
        torch.compile(lambda x: x.sin() + 1, fullgraph=True)(inputs)
    except Exception as error:  # whatever a missing or broken compiler makes torch raise: it is the reason
        return f"torch.compile does not work here: {one_line(error)}"
    return None


def prepare(
    networks: Mapping[str, nn.Module], mode: Mode, images: Tensor, *, forget: bool = True
) -> dict[str, nn.Module]:
    """Make networks ready to run in a mode, and check that they still compute the same.

    bfloat16 converts a copy of the network, weights and normalisation alike; autocast, which converts the weights at
    every call, was no faster beyond the noise on a CPU, and slower at small batches. Compiled networks leave the batch
    size open, so that a search over batch sizes compiles nothing. Compiling a network took 6 s from torch's own cache,
    and up to 43 s without on a busy machine (width 0.125, two CPU cores).

    Args:
        networks: float32, on the device, in evaluation mode; they stay as they are.
        mode: Available on that device.
        images: (N, C, H, W) float32 on the device, N at least 32, not all alike: what outputs are compared on.
        forget: Forget what was compiled before, which torch would look through at each call: it keeps compiled code by
            the function and not by the network. False where networks prepared earlier are still to run.

    Returns:
        Modules of inputs (N, C, H, W) of ``mode.dtype``, for any N from 1.

    Raises:
        RuntimeError: Outputs are further from float32 than TOLERANCES allow.
    """
    full_float32()
    if mode.compiled and forget:
        torch.compiler.reset()
    prepared = {name: _prepare(network, mode, images) for name, network in networks.items()}
    for name, network in networks.items():
        error = output_error(prepared[name], network, images, mode.dtype)
        if not error <= TOLERANCES[mode.precision]:  # so that NaN is an error too
            raise RuntimeError(
                f"{name} computes something else as {mode}: its outputs are off by {error:.2g} of their spread "
                f"(at most {TOLERANCES[mode.precision]:g})"
            )
    return prepared


def _prepare(network: nn.Module, mode: Mode, images: Tensor) -> nn.Module:
    if mode.variant != "eager":
        network = fold_batch_norm(network)  # a copy, before the weights are rounded
    if mode.precision == "bfloat16":
        network = copy.deepcopy(network).to(mode.dtype)
    with tf32(allowed=mode.precision == "tf32"):
        if mode.variant == "cuda-graph":
            network = GraphedNetwork(network)
            for size in COMPILED_SIZES:
                network(images[:size].to(mode.dtype))
        if mode.compiled:
            network = _compile(network, mode, images)
    return _WithTF32(network) if mode.precision == "tf32" else network


@torch.no_grad()
def _compile(network: nn.Module, mode: Mode, images: Tensor) -> nn.Module:
    # fullgraph: code that cannot be compiled, or not once more, raises instead of running eagerly
    compiled: nn.Module = torch.compile(network, fullgraph=True)  # type: ignore[assignment]
    for size in COMPILED_SIZES:
        inputs = images[:size].to(mode.dtype, copy=True)
        if size > 1:
            torch._dynamo.mark_dynamic(inputs, 0)
        compiled(inputs)
    return compiled


class _WithTF32(nn.Module):
    """Lets a network compute in TF32, and nothing else around it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network

    def forward(self, images: Tensor) -> Tensor:
        with tf32():
            outputs: Tensor = self._network(images)
        return outputs


@torch.no_grad()
def output_error(network: nn.Module, reference: nn.Module, images: Tensor, dtype: torch.dtype) -> float:
    """Distance of two networks' outputs as a share of the reference's spread over the images (root mean squares).

    What all images have in common is left out of the spread: an untrained network's outputs are mostly that.
    """
    expected = reference(images)
    spread = (expected - expected.mean(0)).norm()
    return float((network(images.to(dtype)).float() - expected).norm() / spread)
