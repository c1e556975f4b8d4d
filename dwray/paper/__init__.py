"""The paper's and its notebooks' numbers as data, with the places where they contradict each other."""

from dwray.paper.facts import (
    Longer,
    Stated,
    accuracy,
    contradictions,
    curve,
    epochs,
    epochs_to_reach,
    footnote,
    hyperparameters,
    longer_percent,
    macs,
    parameters,
    seconds_per_epoch,
    test_seconds,
    total_seconds,
    validation_seconds_per_epoch,
)

__all__ = [
    "Longer",
    "Stated",
    "accuracy",
    "contradictions",
    "curve",
    "epochs",
    "epochs_to_reach",
    "footnote",
    "hyperparameters",
    "longer_percent",
    "macs",
    "parameters",
    "seconds_per_epoch",
    "test_seconds",
    "total_seconds",
    "validation_seconds_per_epoch",
]
