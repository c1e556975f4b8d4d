"""The training loop: a generator of epoch records. Whoever calls it reports, saves and stops."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dwray.core.batches import ImageSet, epoch_generator
from dwray.core.clock import Stopwatch
from dwray.core.config import PROTOCOLS, ProtocolConfig, TrainingConfig
from dwray.core.evaluation import evaluate
from dwray.core.execution import Execution, lay_out, lay_out_network, resolve, unavailable, widened


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did. Epochs count from 1; losses are mean cross-entropies in nats.

    Source: sections 4.1 (accuracies) and 4.2 (seconds an epoch) of the paper; its notebooks print losses, validation
    accuracy and both times of each epoch, which ``dwray/paper/notebook_curves.csv`` holds.

    Example:
        >>> import dwray
        >>> def seconds_left(record: dwray.EpochRecord, epochs: int) -> float:
        ...     return (epochs - record.epoch) * (record.train_seconds + record.validation_seconds)
    """

    epoch: int
    learning_rate: float
    train_loss: float
    """Mean over the epoch's images, each measured in the step that trained on it."""
    train_accuracy_percent: float
    """Likewise: of the network in training mode while it learns."""
    validation_loss: float
    validation_accuracy_percent: float
    data_seconds: float
    """Gathering, augmenting and normalising batches."""
    step_seconds: float
    """Forward, backward and optimizer."""
    train_seconds: float
    """The training pass as a whole: data, steps, and what little lies between them."""
    validation_seconds: float
    images_per_second: float
    """Training images over ``train_seconds``."""
    diverged: bool
    """A loss became NaN or infinite; this was the last epoch, and its validation figures are NaN if it did not run."""


@dataclass
class TrainingState:
    """All that training changes: with the config and the seed, enough to go on bit for bit (see ``checkpoint``)."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    epochs_done: int = 0
    records: list[EpochRecord] = field(default_factory=list)
    """Of the epochs that are done."""
    execution: Execution | None = None
    """How it trains, once that is settled, so that a resumed training computes as it began."""


def start(network: nn.Module, config: TrainingConfig) -> TrainingState:
    """A fresh state: SGD as the config says, over all of the network's parameters.

    Args:
        network: Any module of images (N, C, H, W) to logits (N, classes), on the device where it is to train.
        config: Its ``initial_lr``, ``momentum``, ``nesterov`` and ``weight_decay`` are taken here.

    Returns:
        What :func:`fit` trains, with no epoch done.

    Raises:
        ValueError: The network has no parameters.

    Source: section 4.1 of the paper (stochastic gradient descent with weight decay); its notebooks for the momentum.

    Example:
        >>> import dwray
        >>> config = dwray.TrainingConfig(initial_lr=0.05)
        >>> state = dwray.start(dwray.build("ConvNet", classes=10, width=0.05), config)
        >>> state.epochs_done, state.optimizer.param_groups[0]["lr"]
        (0, 0.05)
    """
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=config.initial_lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,  # one kernel over all parameters instead of several per parameter
    )
    return TrainingState(network, optimizer)


def settle(state: TrainingState, config: TrainingConfig, device: torch.device, images: int) -> Execution:
    """How a state is trained: as it began, where the device can, or as its config means there.

    Args:
        state: Keeps what was settled.
        config: Its ``precision``, ``memory_format`` and ``compile``.
        device: Where it trains.
        images: Training images; by their number it is decided whether compiling pays.

    Raises:
        ValueError: The device does not have the precision that the config asks for, or cannot compile.

    Example:
        >>> from dwray.core.config import TrainingConfig
        >>> network, config = nn.Linear(2, 2), TrainingConfig(precision="float32")
        >>> str(settle(start(network, config), config, torch.device("cpu"), images=1000))
        'float32-channels_last-eager'
    """
    if state.execution is None or unavailable(state.execution, device):
        state.execution = resolve(config, device, images)
    return state.execution


def fit(
    state: TrainingState,
    train: ImageSet,
    validation: ImageSet,
    config: TrainingConfig,
    *,
    seed: int,
    protocol: ProtocolConfig = PROTOCOLS["corrected"],
) -> Iterator[EpochRecord]:
    """Train from ``state`` to ``config.epochs``, one record an epoch.

    The learning rate is ``initial_lr * lr_decay ** epoch`` with epochs from 0. Order and
    augmentation follow from (seed, epoch) alone. A loss that becomes NaN or infinite ends the training with a record
    marked ``diverged``: a result like any other.

    Source: section 4.1 of the paper; ``protocol`` says what of the notebooks is done otherwise.

    Args:
        state: From :func:`start`. Changed in place; between two records it is consistent and can be saved.
        train: Images to learn from: batches of (n, C, H, W) float32 and labels (n,) int64, on the network's device.
        validation: Images to score after each epoch, likewise.
        config: The hyperparameters.
        seed: Decides the order and the augmentation (the initial weights are the network's own matter).
        protocol: ``momentum_reset_each_epoch`` and ``validation_loss_over_batches_minus_one`` are done here; which
            images and which batches there are was decided by whoever made ``train`` and ``validation``.

    Yields:
        A record for each epoch, in order.

    Raises:
        ValueError: The device does not have the precision that the config asks for, or cannot compile.

    Example:
        >>> import torch, dwray
        >>> splits = dwray.load_splits(dwray.DataConfig(source="digits", max_train_images=200))
        >>> normalize = dwray.Normalize(splits.mean, splits.std, torch.device("cpu"))
        >>> train = dwray.ResidentImages(splits.train, normalize, torch.device("cpu"))
        >>> validation = dwray.ResidentImages(splits.validation, normalize, torch.device("cpu"))
        >>> config = dwray.TrainingConfig(epochs=2, batch_size=32, initial_lr=0.05, lr_decay=0.5)
        >>> state = dwray.start(dwray.build("ConvNet", classes=10, width=0.05, channels=1, seed=0), config)
        >>> for record in dwray.fit(state, train, validation, config, seed=0):
        ...     print(record.epoch, record.learning_rate, record.diverged)
        1 0.05 False
        2 0.025 False
    """
    execution = settle(state, config, train.device, len(train))
    lay_out_network(state.network, execution.memory_format)
    while state.epochs_done < config.epochs:
        record = _epoch(state, train, validation, config, execution, seed, protocol)
        state.epochs_done += 1
        state.records.append(record)
        yield record
        if record.diverged:
            return


def _epoch(
    state: TrainingState,
    train: ImageSet,
    validation: ImageSet,
    config: TrainingConfig,
    execution: Execution,
    seed: int,
    protocol: ProtocolConfig,
) -> EpochRecord:
    network, optimizer = state.network, state.optimizer
    if protocol.momentum_reset_each_epoch:
        optimizer.state.clear()  # as a new one: its first step makes the momentum anew, of that step's gradient
    learning_rate = config.initial_lr * config.lr_decay**state.epochs_done
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    network.train()
    # Sums stay on the device: reading a loss would make a GPU wait for it at every step.
    loss_sum = torch.zeros((), dtype=torch.float64, device=train.device)
    correct = torch.zeros((), dtype=torch.int64, device=train.device)
    watch = Stopwatch(train.device)
    batches = train.shuffled(
        config.batch_size,
        epoch_generator(seed, state.epochs_done),
        crop_padding=config.crop_padding,
        flip=config.flip,
    )
    forward = execution.forward_of(network)
    for inputs, labels in batches:
        laid_out = lay_out(inputs, execution.memory_format)
        watch.lap("data")
        # A last, smaller batch would be compiled for one step an epoch.
        call = forward if len(labels) == config.batch_size else network
        with execution.arithmetic(train.device):
            logits = call(laid_out)
        loss, right = _step(optimizer, logits, labels)
        loss_sum += loss * len(labels)
        correct += right
        watch.lap("step")
    train_seconds, laps = watch.stop()

    train_loss = loss_sum.item() / len(train)
    validation_loss = validation_accuracy = math.nan
    validation_seconds = 0.0
    if math.isfinite(train_loss):
        watch = Stopwatch(train.device)
        score = evaluate(
            network,
            validation,
            config.batch_size,
            execution=execution,
            over_batches_minus_one=protocol.validation_loss_over_batches_minus_one,
        )
        validation_seconds, _ = watch.stop()
        validation_loss, validation_accuracy = score.loss, score.accuracy_percent
    return EpochRecord(
        epoch=state.epochs_done + 1,
        learning_rate=learning_rate,
        train_loss=train_loss,
        train_accuracy_percent=100 * correct.item() / len(train),
        validation_loss=validation_loss,
        validation_accuracy_percent=validation_accuracy,
        data_seconds=laps["data"],
        step_seconds=laps["step"],
        train_seconds=train_seconds,
        validation_seconds=validation_seconds,
        images_per_second=len(train) / train_seconds,
        diverged=not math.isfinite(validation_loss),
    )


def _step(optimizer: torch.optim.Optimizer, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What follows the forward pass of a step: (mean loss, number of right answers), both still on the device."""
    loss = nn.functional.cross_entropy(widened(logits), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach(), (logits.detach().argmax(1) == labels).sum()
