"""What a device can do at most, measured here and now: arithmetic in each precision, and traffic with its memory.

A data sheet's figures are not reached by anyone, and say nothing of a share of a machine; what the libraries' own
matrix product and a plain copy reach is what a training can be held against.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from dwray.core.clock import synchronize
from dwray.core.complexity import Work
from dwray.core.config import PRECISIONS
from dwray.core.precision import lacks, tf32

ELEMENT_BYTES: Mapping[str, int] = {"float32": 4, "tf32": 4, "bfloat16": 2}
"""Of an activation in each precision; TF32 rounds factors on their way into the arithmetic, not in memory."""
MATRIX_SIDE = {"cpu": 1024, "cuda": 8192}
"""Of the square matrices: large enough to reach the rate, small enough to be multiplied several times in the time."""
COPY_BYTES = {"cpu": 2**27, "cuda": 2**29}
"""Of the copied buffer: several times the caches."""
STRETCH_SECONDS = 0.01
"""A timed stretch lasts about this long at least, so that waiting for the device at its end costs it nothing."""


@dataclass(frozen=True)
class Ceilings:
    """The highest rates that were reached on a device."""

    matrix_flops_per_second: Mapping[str, float]
    """Of a large matrix product (2 FLOPs for a multiply-accumulate), by precision; only those that the device has."""
    copy_bytes_per_second: float
    """Bytes read and written, over the seconds of a copy from the device's memory to itself."""

    def ridge(self, precision: str) -> float:
        """FLOPs for each byte moved, above which arithmetic is what limits and below which it is memory."""
        return self.matrix_flops_per_second[precision] / self.copy_bytes_per_second

    def floor_seconds(self, precision: str, work: Work) -> float:
        """The time under which no code gets: all arithmetic and all traffic at their ceilings, at the same time."""
        arithmetic = work.flops / self.matrix_flops_per_second[precision]
        return max(arithmetic, work.bytes / self.copy_bytes_per_second)


def measure_ceilings(device: torch.device, seconds: float = 0.3) -> Ceilings:
    """Measure a device's ceilings.

    Args:
        device: A CPU (with as many threads as torch has) or a GPU.
        seconds: To be spent on timing, about; making the matrices and buffers takes a little more. Short of memory or
            of time it is the rate of fewer runs, at least two each.
    """
    precisions = [precision for precision in PRECISIONS if not lacks(precision, device)]
    share = seconds / (len(precisions) + 1)
    rates = {precision: _matrix_rate(precision, device, share) for precision in precisions}
    return Ceilings(rates, _copy_rate(device, share))


def highest(measured: Sequence[Ceilings]) -> Ceilings:
    """The highest rates of several measurements of one device."""
    precisions = measured[0].matrix_flops_per_second
    return Ceilings(
        {precision: max(each.matrix_flops_per_second[precision] for each in measured) for precision in precisions},
        max(each.copy_bytes_per_second for each in measured),
    )


def _matrix_rate(precision: str, device: torch.device, seconds: float) -> float:
    side = MATRIX_SIDE[device.type]
    # Never zeros: a GPU draws less power on them, and computes faster for it.
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(left)
    with tf32(allowed=precision == "tf32"):
        return 2 * side**3 / _fastest(lambda: torch.mm(left, right, out=product), device, seconds)


def _copy_rate(device: torch.device, seconds: float) -> float:
    source = torch.full((COPY_BYTES[device.type] // 4,), 0.1, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _fastest(lambda: target.copy_(source), device, seconds)


def _fastest(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of one run in the fastest of several stretches of runs."""
    _stretch(run, device, 1)  # loads kernels, touches memory, wakes threads
    fastest = spent = _stretch(run, device, 1)
    repeats = max(1, round(STRETCH_SECONDS / fastest))
    while spent < seconds:
        took = _stretch(run, device, repeats)
        spent += took
        fastest = min(fastest, took / repeats)
    return fastest


def _stretch(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronize(device)
    return time.perf_counter() - start
