"""What the report's figures are about, and which of the paper's each of them is: nothing here draws."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dwray.results.records import Records


@dataclass(frozen=True)
class Quantity:
    """What a figure has on its vertical axis."""

    column: str
    """In epochs.parquet, and in the notebook's curve."""
    words: str
    unit: str
    highest: float | None = None
    """End of the axis; without one it is as high as the lines."""


LOSS = Quantity("train_loss", "training loss", "nats")
ACCURACY = Quantity("validation_accuracy_percent", "validation accuracy", "%", highest=100.0)

_NUMBERS: Mapping[tuple[str | None, str | None, str], int] = {
    (dataset, network, quantity.column): first + offset
    for first, dataset, network in (
        (4, "cifar10", "DepthwiseConvNet"),
        (6, "cifar10", "ConvNet"),
        (8, "cifar100", "DepthwiseConvNet"),
        (10, "cifar100", "ConvNet"),
    )
    for offset, quantity in enumerate((LOSS, ACCURACY))
}
_AS_PRINTED = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}


@dataclass(frozen=True)
class Subject:
    """What one figure shows: a quantity of a contender, epoch by epoch."""

    contender: str
    quantity: Quantity
    number: int | None
    """The paper's, where it has this figure."""
    title: str

    @property
    def heading(self) -> str:
        """The title, with the paper's number before it."""
        return self.title if self.number is None else f"Figure {self.number}: {self.title}"


def subjects(records: Records) -> list[Subject]:
    """Training loss and validation accuracy of every contender that has trained: the paper's figures in its order.

    A contender whose trainings have no epoch yet has none.
    """
    trained = [name for name in records.contenders if any(map(records.epochs_of, records.train_trials(name)))]
    found = [_subject(records, name, quantity) for name in trained for quantity in (LOSS, ACCURACY)]
    return sorted(found, key=lambda subject: math.inf if subject.number is None else subject.number)


def printed_name(records: Records) -> str:
    """The images' name, as the paper prints it."""
    return _AS_PRINTED.get(records.dataset, records.dataset)


def _subject(records: Records, contender: str, quantity: Quantity) -> Subject:
    network = records.network(contender)
    own_number = network is not None and contender == records.contender_of(network)
    number = _NUMBERS.get((records.compare_with, network, quantity.column)) if own_number else None
    words, images = quantity.words, printed_name(records)
    title = f"{contender} {words} on {images}" if number else f"{words.capitalize()} of {contender} on {images}"
    return Subject(contender, quantity, number, title)
