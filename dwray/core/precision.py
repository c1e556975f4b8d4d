"""float32 means float32: unless told not to, torch lets a GPU round a convolution's factors to 10 bits (TF32)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

AMPERE = (8, 0)
"""The compute capability from which on NVIDIA GPUs have TF32."""
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Processor flags (Linux) of native bfloat16 arithmetic; without one, bfloat16 is emulated and slower than float32."""


def full_float32() -> None:
    """Compute float32 convolutions and matrix products in float32, on every device."""
    _allow_tf32(allowed=False)


def deterministic_convolutions() -> None:
    """Let cuDNN take only algorithms that add in the same order each time: a training that goes on has the same bits.

    Source: "Reproducibility" in PyTorch's notes.
    """
    torch.backends.cudnn.deterministic = True


def _allow_tf32(*, allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


@contextmanager
def tf32(*, allowed: bool = True) -> Iterator[None]:
    """TF32 within float32 arithmetic for a while, in the whole process; afterwards all is as before."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    _allow_tf32(allowed=allowed)
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def lacks(precision: str, device: torch.device) -> str | None:
    """Why a device does not compute in a precision, in one line; None where it does."""
    if precision == "bfloat16" and not has_bfloat16(device):
        return f"no native bfloat16 on this {'GPU' if device.type == 'cuda' else 'processor'}"
    if precision == "tf32" and not (device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE):
        return "no TF32 on this device: NVIDIA GPUs have it from Ampere on"
    return None


def has_bfloat16(device: torch.device, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether a device computes in bfloat16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(line.startswith("flags") and not BFLOAT16_FLAGS.isdisjoint(line.split()) for line in lines)
