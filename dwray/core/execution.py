"""How a training computes: its precision, the layout of its memory, eager or compiled."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from dwray.core.config import TrainingConfig
from dwray.core.modes import compiler_error
from dwray.core.precision import has_bfloat16, lacks, tf32

COMPILE_PAYS_AFTER_STEPS = 40_000
"""``compile: auto`` compiles a training of at least this many steps, on a GPU alone. What compiling costs, about a
minute (35 to 57 s were measured for these networks, on a CPU), over what it can save of a step there: fused
normalisation and activation leave out a quarter of the bytes, some 1.5 ms of a step of 256 images. Both are estimates
for a GPU; ``dwray bench`` measures them (the seconds of the first step, and the two rates). On a CPU compiled training
was no faster than eager, so that it never pays."""


def lay_out(tensor: Tensor, memory_format: str) -> Tensor:
    """Images or weights (N, C, H, W) in one of ``config.MEMORY_FORMATS``; themselves where they are in it.

    A single channel is in both layouts at once, and convolutions go by its strides: contiguous ones are spelled out.
    """
    if tensor.dim() != 4:
        return tensor
    if memory_format == "channels_last":
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor.contiguous().flatten().view(tensor.shape)


def lay_out_network(network: nn.Module, memory_format: str) -> nn.Module:
    """The same network, its weights laid out anew in place: parameters stay the optimizer's own."""
    for parameter in network.parameters():
        parameter.data = lay_out(parameter.data, memory_format)
    return network


@dataclass(frozen=True)
class Execution:
    """A way to train, with nothing left open."""

    precision: str = "float32"
    """One of ``config.PRECISIONS``."""
    memory_format: str = "channels_last"
    """One of ``config.MEMORY_FORMATS``."""
    compiled: bool = False

    def __str__(self) -> str:
        return f"{self.precision}-{self.memory_format}-{'compiled' if self.compiled else 'eager'}"

    @contextmanager
    def arithmetic(self, device: torch.device) -> Iterator[None]:
        """The precision of forward passes for a while: TF32 or not, and autocast."""
        with ExitStack() as stack:
            stack.enter_context(tf32(allowed=self.precision == "tf32"))
            if self.precision == "bfloat16":
                stack.enter_context(torch.autocast(device.type, torch.bfloat16))
            yield

    def forward_of(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        """How to call a network in training: itself, or compiled, once in its life however often it is asked for."""
        if not self.compiled:
            return network
        if network not in _compiled:
            on_gpu = next(network.parameters()).is_cuda
            # reduce-overhead replays CUDA graphs; a graph has one shape, and so has the code
            _compiled[network] = torch.compile(
                network, fullgraph=True, dynamic=False, mode="reduce-overhead" if on_gpu else "default"
            )
        return _compiled[network]


PLAIN = Execution()
"""float32, eager, in channels_last."""


def widened(logits: Tensor) -> Tensor:
    """At least float32, for the loss."""
    return logits.float() if logits.dtype.itemsize < torch.float32.itemsize else logits


_compiled: WeakKeyDictionary[nn.Module, Callable[[Tensor], Tensor]] = WeakKeyDictionary()

EXECUTIONS = (
    Execution("float32", "contiguous"),
    Execution("float32", "channels_last"),
    Execution("float32", "channels_last", compiled=True),
    Execution("tf32", "channels_last"),
    Execution("tf32", "channels_last", compiled=True),
    Execution("bfloat16", "channels_last"),
    Execution("bfloat16", "channels_last", compiled=True),
)
"""Those that are worth comparing."""


def resolve(config: TrainingConfig, device: torch.device, images: int) -> Execution:
    """What a training's settings mean on a device; the same for the same settings, images and kind of device.

    Args:
        config: The settings; ``auto`` is decided here.
        device: Where it trains.
        images: Training images.

    Raises:
        ValueError: A setting asks for what the device does not have.
    """
    precision = config.precision
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" and has_bfloat16(device) else "float32"
    compiled = config.compile
    if compiled == "auto":
        steps = config.epochs * -(-images // config.batch_size)
        compiled = device.type == "cuda" and steps >= COMPILE_PAYS_AFTER_STEPS and compiler_error(device) is None
    memory_format = "channels_last" if config.memory_format == "auto" else config.memory_format
    if reason := lacks(precision, device):
        raise ValueError(f"training.precision: {reason}")
    if config.compile is True and (reason := compiler_error(device)):
        raise ValueError(f"training.compile: {reason}")
    return Execution(precision, memory_format, bool(compiled))


def unavailable(execution: Execution, device: torch.device) -> str | None:
    """Why a device cannot train so, in one line; None where it can."""
    return lacks(execution.precision, device) or (compiler_error(device) if execution.compiled else None)
