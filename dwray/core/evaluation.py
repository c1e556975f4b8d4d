"""Loss and accuracy of a network on a set of images."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from dwray.core.batches import ImageSet, epoch_generator
from dwray.core.execution import PLAIN, Execution, lay_out, widened


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy (nats) and accuracy (percent) over a set.

    Source: section 4.1 of the paper, which gives the accuracy on the test set; the loss is its notebooks'.

    Example:
        >>> import math, dwray
        >>> guessing = dwray.Score(loss=math.log(10), accuracy_percent=10.0)
    """

    loss: float
    accuracy_percent: float


@contextmanager
def mode_for_inference(network: nn.Module, *, batch_statistics: bool = False) -> Iterator[None]:
    """Put a network into evaluation mode, and leave it as it was.

    Args:
        network: Its mode and its buffers (batch norm's running statistics) are restored at the end.
        batch_statistics: Batch norm stays in training mode, as in the notebooks: it normalises by each batch's own
            statistics, and goes on to average them.

    Example:
        >>> network = nn.BatchNorm2d(3)
        >>> with mode_for_inference(network):
        ...     network.training
        False
        >>> network.training
        True
    """
    was_training = network.training
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()} if batch_statistics else {}
    network.train(batch_statistics)
    try:
        yield
    finally:
        network.train(was_training)
        for name, buffer in network.named_buffers():
            if name in buffers:
                buffer.copy_(buffers[name])


def evaluate(
    network: nn.Module,
    images: ImageSet,
    batch_size: int,
    *,
    execution: Execution = PLAIN,
    batch_statistics: bool = False,
    over_batches_minus_one: bool = False,
) -> Score:
    """Score a network, and leave it as it was.

    Args:
        network: On the images' device.
        images: What to score it on: batches of (n, C, H, W) float32 and labels (n,) int64.
        batch_size: Images a batch.
        execution: Its precision and layout; what it says of compiling is of training alone.
        batch_statistics: Batch norm in training mode; see :func:`mode_for_inference`. The batches are then drawn in a
            random order, always the same.
        over_batches_minus_one: The loss is the sum of the batches' mean losses over their number less one, as in the
            notebooks (infinite for a single batch). Otherwise it is the mean over images.

    Returns:
        Mean cross-entropy in nats, and accuracy in percent.

    Raises:
        IndexError: A label is none of the network's outputs (on a CPU; a GPU ends in an error of its own).
        ValueError: ``batch_size`` is 0.
        ZeroDivisionError: There are no images.

    Source: section 4.1 of the paper; its notebooks score with ``batch_statistics``, and ``over_batches_minus_one``.

    Example:
        >>> import torch, dwray
        >>> splits = dwray.load_splits(dwray.DataConfig(source="digits"))
        >>> normalize = dwray.Normalize(splits.mean, splits.std, torch.device("cpu"))
        >>> test = dwray.ResidentImages(splits.test, normalize, torch.device("cpu"))
        >>> score = dwray.evaluate(dwray.build("ConvNet", classes=10, width=0.05, channels=1), test, batch_size=128)
        >>> 0 <= score.accuracy_percent <= 100
        True
    """
    loss = torch.zeros((), dtype=torch.float64, device=images.device)
    means = torch.zeros((), dtype=torch.float64, device=images.device)
    correct = torch.zeros((), dtype=torch.int64, device=images.device)
    count = 0
    # Images sorted by class, as some datasets are, would make each batch's statistics those of one class.
    batches = images.shuffled(batch_size, epoch_generator(0, 0)) if batch_statistics else images.ordered(batch_size)
    with mode_for_inference(network, batch_statistics=batch_statistics), torch.no_grad():
        for inputs, labels in batches:
            with execution.arithmetic(images.device):
                logits = widened(network(lay_out(inputs, execution.memory_format)))
            batch_loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
            loss += batch_loss
            means += batch_loss / len(labels)
            correct += (logits.argmax(1) == labels).sum()
            count += 1
    mean = loss.item() / len(images)
    if over_batches_minus_one:
        mean = means.item() / (count - 1) if count > 1 else math.inf
    return Score(mean, 100 * correct.item() / len(images))
