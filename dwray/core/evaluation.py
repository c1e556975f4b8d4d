"""Loss and accuracy of a network on a set of images."""

from dataclasses import dataclass

import torch
from torch import nn

from dwray.core.batches import ResidentImages


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy (nats) and accuracy (percent) over a set."""

    loss: float
    accuracy_percent: float


def evaluate(network: nn.Module, images: ResidentImages, batch_size: int) -> Score:
    """Score a network in evaluation mode, and leave its mode as it was.

    The mean is over images: a smaller last batch counts by its size (the notebooks divide by batches - 1 instead).
    """
    was_training = network.training
    network.eval()
    loss = torch.zeros((), dtype=torch.float64, device=images.device)
    correct = torch.zeros((), dtype=torch.int64, device=images.device)
    with torch.no_grad():
        for inputs, labels in images.ordered(batch_size):
            logits = network(inputs)
            loss += nn.functional.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
    network.train(was_training)
    return Score(loss.item() / len(images), 100 * correct.item() / len(images))
