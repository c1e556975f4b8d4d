"""The ways in which a network is run at test time: precision, and eager or compiled."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from dwray.core.precision import full_float32

Precision = Literal["float32", "bfloat16"]
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}

BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Processor flags (Linux) of native bfloat16 arithmetic; without one, bfloat16 is emulated and slower than float32."""
TOLERANCES: dict[Precision, float] = {"float32": 1e-3, "bfloat16": 0.8}
"""How far outputs may be from eager float32, as a share of how much they differ between images. Outputs that have
nothing to do with the images are at 1 or more. Measured on random networks at width 0.125 on a CPU: float32 compiled
0.00002 at most; bfloat16 0.08 (ConvNet) and 0.55 (DepthwiseConvNet: 27 random layers amplify each rounding; autocast,
which keeps the normalisation in float32, is at 0.51)."""
COMPILED_SIZES = (8, 1, 32)
"""Batch sizes that a network is compiled with. Of 8 and 32 the batch size is a variable; on a CPU the library of
convolutions makes torch compile once for 2 to 15 images and once for more. A single image always has its own."""


@dataclass(frozen=True)
class Mode:
    """One way to run a network."""

    precision: Precision
    compiled: bool

    def __str__(self) -> str:
        return f"{self.precision}-{'compiled' if self.compiled else 'eager'}"

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's inputs."""
        return DTYPES[self.precision]


MODES: dict[str, Mode] = {
    str(mode): mode for mode in (Mode(precision, compiled) for precision in DTYPES for compiled in (False, True))
}
"""Every mode by its name."""


def unavailable(mode: Mode, device: torch.device) -> str | None:
    """Why a mode cannot be had on a device, in one line; None where it can."""
    if mode.precision == "bfloat16" and not has_bfloat16(device):
        return f"no native bfloat16 on this {'GPU' if device.type == 'cuda' else 'processor'}"
    return compiler_error(device) if mode.compiled else None


def has_bfloat16(device: torch.device, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether a device computes in bfloat16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(line.startswith("flags") and not BFLOAT16_FLAGS.isdisjoint(line.split()) for line in lines)


def compiler_error(device: torch.device) -> str | None:
    """Compile a tiny function; None if that works (torch needs a C++ compiler on a CPU, Triton on a GPU)."""
    inputs = torch.ones(4, device=device)
    try:
        torch.compile(lambda x: x.sin() + 1, fullgraph=True)(inputs)
    except Exception as error:  # whatever a missing or broken compiler makes torch raise: it is the reason
        return f"torch.compile does not work here: {first_line(error)}"
    return None


def first_line(error: Exception) -> str:
    """What an error says, in one line; its class if it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def prepare(networks: Mapping[str, nn.Module], mode: Mode, images: Tensor) -> dict[str, nn.Module]:
    """Make networks ready to run in a mode, and check that they still compute the same.

    bfloat16 converts a copy of the network, weights and normalisation alike; autocast, which converts the weights at
    every call, was no faster beyond the noise on a CPU, and slower at small batches. Compiled networks leave the batch
    size open, so that a search over batch sizes compiles nothing; as torch keeps compiled code by the function and not
    by the network, what was compiled before is forgotten. Compiling a network took 6 s from torch's own cache, and up
    to 43 s without on a busy machine (width 0.125, two CPU cores).

    Args:
        networks: float32, on the device, in evaluation mode; they stay as they are.
        mode: Available on that device.
        images: (N, C, H, W) float32 on the device, N at least 32, not all alike: what outputs are compared on.

    Returns:
        Modules of inputs (N, C, H, W) of ``mode.dtype``, for any N from 1.

    Raises:
        RuntimeError: Outputs are further from float32 than TOLERANCES allow.
    """
    full_float32()
    if mode.compiled:
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
    if mode.precision != "float32":
        network = copy.deepcopy(network).to(mode.dtype)
    if not mode.compiled:
        return network
    # fullgraph: code that cannot be compiled, or not once more, raises instead of running eagerly
    compiled: nn.Module = torch.compile(network, fullgraph=True)  # type: ignore[assignment]
    with torch.no_grad():
        for size in COMPILED_SIZES:
            inputs = images[:size].to(mode.dtype, copy=True)
            if size > 1:
                torch._dynamo.mark_dynamic(inputs, 0)
            compiled(inputs)
    return compiled


@torch.no_grad()
def output_error(network: nn.Module, reference: nn.Module, images: Tensor, dtype: torch.dtype) -> float:
    """Distance of two networks' outputs as a share of the reference's spread over the images (root mean squares).

    What all images have in common is left out of the spread: an untrained network's outputs are mostly that.
    """
    expected = reference(images)
    spread = (expected - expected.mean(0)).norm()
    return float((network(images.to(dtype)).float() - expected).norm() / spread)
