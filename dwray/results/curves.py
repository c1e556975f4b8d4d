"""What the curve of a training's epochs says."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from dwray.results.epochs import EpochRows
from dwray.results.records import Records
from dwray.results.statistics import mean

_ACCURACY = "validation_accuracy_percent"


def epochs_to_reach(epoch_rows: Iterable[Mapping[str, Any]], accuracy_percent: float) -> int | None:
    """First epoch (from 1) after which the validation accuracy was this high; None if it never was.

    Args:
        epoch_rows: Rows of epochs.parquet, in order.
        accuracy_percent: To be reached or passed.
    """
    return next(
        (row["epoch"] for row in epoch_rows if row[_ACCURACY] is not None and row[_ACCURACY] >= accuracy_percent),
        None,
    )


def train_seconds(records: Records, training: Mapping[str, Any]) -> float | None:
    """Seconds of a training pass, mean over a training's epochs; None of no epoch."""
    return mean(records.epochs_of(training).column("train_seconds"))


def pass_seconds(epochs: EpochRows) -> list[float]:
    """Seconds of each epoch of a training whose training pass and validation pass were timed: of both."""
    passes = zip(epochs.column("train_seconds"), epochs.column("validation_seconds"), strict=True)
    return [train + validation for train, validation in passes if train is not None and validation is not None]


def target_accuracy(records: Records) -> float | None:
    """The validation accuracy in percent whose epoch is compared between the contenders.

    The sweep's own, if it sets one; else the highest whole percent that every completed training reached, which is
    the last one that says something of each of them.

    Returns:
        None where no training has completed.
    """
    given = records.identity.get("target_accuracy_percent")
    if given:
        return float(given)
    trainings = (row for contender in records.contenders for row in records.trainings(contender))
    curves = (records.epochs_of(row).column(_ACCURACY) for row in trainings)
    best = [max((each for each in curve if each is not None), default=0.0) for curve in curves]
    return float(math.floor(min(best))) if best else None
