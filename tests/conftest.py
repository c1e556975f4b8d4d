"""What the tests share: one Ray for the session, and a sweep that takes seconds."""

from collections.abc import Iterator
from typing import Any

import pytest

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
"""A whole sweep on 200 digits: search, train, time and report within seconds."""


def tiny(**changes: Any) -> SweepSpec:
    """The tiny sweep, with whole sections changed."""
    return SweepSpec.model_validate({**TINY, **changes})


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray on this machine, as a sweep starts it, for the whole session."""
    from dwray.tune.cluster import cluster

    with cluster("local", verbose=False):
        yield
