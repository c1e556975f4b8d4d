"""A whole sweep that takes seconds: search, train, time and report on 200 digits."""

from typing import Any

from dwray.spec import SweepSpec

TINY: dict[str, Any] = {
    "name": "tiny",
    "networks": ["ConvNet", "DepthwiseConvNet"],
    "width": 0.05,
    "data": {"source": "digits", "max_train_images": 200, "max_test_images": 60},
    "training": {"epochs": 2, "batch_size": 32, "initial_lr": 0.05},
    "search": {"epochs": 1, "axes": {"initial_lr": [0.01, 0.05], "lr_decay": [0.9, 0.95]}},
    "seeds": [0, 1],
    "timing": {"batch_sizes": [32], "sets": ["test"], "passes": 2},
    "resources": {"gpus_per_trial": 0},
}

DISTURBED: dict[str, Any] = {
    **TINY,
    "data": {"source": "digits", "max_train_images": 1000, "max_test_images": 60},
    "training": {"epochs": 6, "batch_size": 32, "initial_lr": 0.05},
    "search": {"epochs": 3, "axes": {"initial_lr": [0.01, 0.05], "lr_decay": [0.9, 0.95]}},
    "timing": {"batch_sizes": [32, 16], "sets": ["test"], "passes": 2},
    "resources": {"gpus_per_trial": 0, "save_minutes": 0},
}
"""The same with epochs enough, and long enough, to be disturbed in, each of them saved."""


def tiny(**changes: Any) -> SweepSpec:
    """The tiny sweep, with whole sections changed."""
    return SweepSpec.model_validate({**TINY, **changes})
