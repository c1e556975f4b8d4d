"""The training loop of the notebooks that the paper cites, line by line: what dwray's speed is measured against.

It is not what dwray trains with: ``training.fit`` under ``protocol: paper`` computes the same. Here is how the
notebooks got there: images in torch's default layout (NCHW), made one by one in two worker processes
(``notebook_loader``), float32, eager, an optimizer made anew for each epoch with torch's default choice of kernels, and
two answers waited for in every step.
"""

from dataclasses import dataclass

import torch
from torch import nn

from dwray.core.batches import ImageSet, epoch_generator
from dwray.core.config import TrainingConfig
from dwray.core.execution import lay_out_network


@dataclass(frozen=True)
class NotebookEpoch:
    """What the notebooks printed of a training pass."""

    loss: float
    """Mean over the batches of their mean cross-entropies, in nats."""
    accuracy_percent: float


def in_nchw(network: nn.Module) -> nn.Module:
    """A network with its weights in torch's default layout, changed in place."""
    return lay_out_network(network, "contiguous")


def notebook_epoch(
    network: nn.Module, train: ImageSet, config: TrainingConfig, *, epoch: int, seed: int
) -> NotebookEpoch:
    """Train for one epoch.

    Args:
        network: In torch's default layout (:func:`in_nchw`), on the images' device; changed in place.
        train: The images, as :class:`~dwray.core.notebook_loader.NotebookImages` makes batches of them.
        config: The hyperparameters; how it is computed is not asked.
        epoch: From 0; decides the learning rate, and with ``seed`` the order.
        seed: Of the order.
    """
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=config.initial_lr * config.lr_decay**epoch,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )
    network.train()
    running_loss, correct, total, batches = 0.0, 0, 0, 0
    for images, labels in train.shuffled(config.batch_size, epoch_generator(seed, epoch)):
        optimizer.zero_grad()
        outputs = network(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        predicted = outputs.max(1)[1]
        correct += (predicted == labels).sum().item()
        total += len(labels)
        batches += 1
    return NotebookEpoch(running_loss / batches, 100 * correct / total)
