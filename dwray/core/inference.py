"""The test-time protocol (paper, section 4.3): whole passes over a set of images, timed after a warm-up."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import nn

from dwray.core.batches import ImageSet, Normalize, as_tensor, batch_bounds
from dwray.core.clock import Stopwatch
from dwray.core.data import Images
from dwray.core.evaluation import mode_for_inference


@dataclass(frozen=True)
class PassRecord:
    """One timed pass of one network over one set of images.

    Example:
        >>> PassRecord("ConvNet", number=1, images=1000, seconds=0.5, images_per_second=2000.0).seconds
        0.5
    """

    network: str
    number: int
    """From 1, in the order in which the passes ran."""
    images: int
    seconds: float
    images_per_second: float


Batches = Callable[[], Iterator[torch.Tensor]]
"""Starts a pass: yields network inputs (n, C, H, W) on the device."""


def with_loader(images: Images, normalize: Normalize, batch_size: int, device: torch.device) -> Batches:
    """Batches whose making is part of the pass: uint8 from host memory, copied to the device and normalised there.

    Source: section 4.3 of the paper, whose test times have a loader in them.

    Example:
        >>> import numpy as np
        >>> images = Images(np.zeros((5, 8, 8, 3), np.uint8), np.zeros(5, np.int64))
        >>> normalize = Normalize([0.5] * 3, [0.5] * 3, torch.device("cpu"))
        >>> [tuple(batch.shape) for batch in with_loader(images, normalize, 3, torch.device("cpu"))()]
        [(3, 3, 8, 8), (2, 3, 8, 8)]
    """
    pixels = as_tensor(images.pixels)

    def batches() -> Iterator[torch.Tensor]:
        for start, end in batch_bounds(len(pixels), batch_size):
            yield normalize(pixels[start:end].to(device))

    return batches


def network_alone(
    images: Images,
    normalize: Normalize,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Batches:
    """Batches of a type, normalised on the device beforehand, so that a pass is the network and nothing else.

    Example:
        >>> import numpy as np
        >>> images = Images(np.zeros((5, 8, 8, 3), np.uint8), np.zeros(5, np.int64))
        >>> normalize = Normalize([0.5] * 3, [0.5] * 3, torch.device("cpu"))
        >>> [batch.dtype for batch in network_alone(images, normalize, 3, torch.device("cpu"), torch.bfloat16)()]
        [torch.bfloat16, torch.bfloat16]
    """
    inputs = normalize(as_tensor(images.pixels).to(device)).to(dtype)

    def batches() -> Iterator[torch.Tensor]:
        for start, end in batch_bounds(len(inputs), batch_size):
            yield inputs[start:end]

    return batches


def batches_of(images: ImageSet, batch_size: int) -> Batches:
    """Batches that a set of images makes by its own ways, as part of the pass.

    Example:
        >>> import dwray
        >>> import numpy as np
        >>> images = Images(np.zeros((5, 8, 8, 3), np.uint8), np.zeros(5, np.int64))
        >>> normalize = Normalize([0.5] * 3, [0.5] * 3, torch.device("cpu"))
        >>> resident = dwray.ResidentImages(images, normalize, torch.device("cpu"))
        >>> [len(batch) for batch in batches_of(resident, 3)()]
        [3, 2]
    """

    def batches() -> Iterator[torch.Tensor]:
        for inputs, _ in images.ordered(batch_size):
            yield inputs

    return batches


def time_passes(
    networks: Mapping[str, nn.Module],
    batches: Batches,
    *,
    device: torch.device,
    passes: int,
    warmup_batches: int,
    batch_statistics: bool = False,
    read_each_batch: bool = False,
) -> Iterator[PassRecord]:
    """Time every network over the same batches, without gradients.

    The networks take turns, and who goes first alternates, so that a drift of the machine's speed hits all alike.
    The clock starts and stops with an idle device; a first few batches of each network are run and not counted.

    Source: section 4.3 of the paper, which gives the mean of 10 passes.

    Args:
        networks: By name, already on the device; they are left as they were.
        batches: Starts a pass: yields the networks' inputs (n, C, H, W), on the device. Making them is part of the
            pass.
        device: Where the networks are.
        passes: Timed passes of each network.
        warmup_batches: Batches of each network before the first timed pass.
        batch_statistics: Batch norm in training mode, as in the notebooks; otherwise everything is in evaluation mode.
        read_each_batch: Wait for the answer to each batch before the next (the notebooks' ``.item()``); otherwise a GPU
            works through a queue of batches.

    Yields:
        A record a pass, in the order in which they ran: its seconds, and images a second.

    Raises:
        RuntimeError: A network cannot take a batch: its shape, its device, or the memory that it needs.

    Example:
        >>> import torch, dwray
        >>> names, images = ("ConvNet", "DepthwiseConvNet"), torch.randn(64, 3, 32, 32)
        >>> networks = {name: dwray.build(name, classes=10, width=0.05) for name in names}
        >>> batches = lambda: iter(images.split(32))
        >>> passes = dwray.time_passes(networks, batches, device=images.device, passes=2, warmup_batches=1)
        >>> [(record.network, record.images) for record in passes if record.seconds > 0]
        [('ConvNet', 64), ('DepthwiseConvNet', 64), ('DepthwiseConvNet', 64), ('ConvNet', 64)]
    """
    with ExitStack() as stack:
        for network in networks.values():
            stack.enter_context(mode_for_inference(network, batch_statistics=batch_statistics))
            _run(network, itertools.islice(batches(), warmup_batches), read_each_batch)
            if warmup_batches:  # the last batch may be smaller, and kernels are chosen by shape
                _run(network, deque(batches(), maxlen=1), read_each_batch)
        names = list(networks)
        for number in range(1, passes + 1):
            for name in names if number % 2 else reversed(names):
                watch = Stopwatch(device)
                images = _run(networks[name], batches(), read_each_batch)
                seconds, _ = watch.stop()
                yield PassRecord(name, number, images, seconds, images / seconds)


def _run(network: nn.Module, batches: Iterable[torch.Tensor], read_each_batch: bool) -> int:
    """Run a network over batches without gradients; the number of images."""
    images = 0
    with torch.no_grad():
        for inputs in batches:
            answers = network(inputs)
            if read_each_batch:
                answers.argmax(1).sum().item()
            images += len(inputs)
    return images
