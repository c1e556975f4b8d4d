"""What else than GPUs bounds a sweep, in figures: driver, images, storage, stragglers. Pure arithmetic.

Each input is measured (the command stands beside it), documented by whoever runs the service, or assumed and said so.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from dwray.core.savepoints import SHARE
from dwray.spec import ResourcesSpec

DRIVER_TRIAL_SECONDS = 0.018
"""Of the driver for a trial: measured, ``growth.py`` with 5,000 trials."""
DRIVER_RESULT_SECONDS = 0.0017
"""Of the driver for an epoch's result: measured, 1.64 ms (``growth.py --counts 200 --searcher fixed``: what a trial
takes with ``--epochs 21`` less what it takes with 1, over 20)."""
S3_WRITES_PER_SECOND = 3500
"""PUT, COPY, POST and DELETE requests that Amazon S3 documents for a partitioned prefix, at the least."""
HEAD_BYTES_PER_SECOND = 125e6
"""Of the network of a cluster's head: assumed, 1 Gbit/s, which any machine has."""
STORE_BYTES_PER_SECOND = 100e6
"""Of one node into the object store: assumed. A faster one is written to more often, a slower one less often."""


@dataclass(frozen=True)
class Trial:
    """What a kind of trial asks of everything around it."""

    epoch_seconds: float
    epochs: int
    state_bytes: int
    """Of a saved state: measured, ``saving.py``."""
    requests_per_save: int
    """Writing ones, of one save: measured, ``saving.py``."""

    @property
    def save_interval(self) -> float:
        """Seconds between two saves, by the rule of ``savepoints.Pace``: whole epochs, one at least."""
        worth = min(60 * ResourcesSpec().save_minutes, self.state_bytes / STORE_BYTES_PER_SECOND / SHARE)
        return max(1, math.ceil(worth / self.epoch_seconds)) * self.epoch_seconds


@dataclass(frozen=True)
class Load:
    """What so many GPUs ask for, when each of them trains."""

    gpus: int
    results_per_second: float
    driver_share: float
    """Of the driver's one thread."""
    broadcast_seconds: float
    """For the images on every node, if the head alone sends them."""
    state_requests_per_second: float
    """Writing ones, of saved states."""
    state_bytes_per_second: float


def load(gpus: int, trial: Trial, *, image_bytes: int, gpus_per_node: int) -> Load:
    """The load of so many trials of a kind, one a GPU."""
    results = gpus / trial.epoch_seconds
    trials = results / trial.epochs
    nodes = math.ceil(gpus / gpus_per_node)
    return Load(
        gpus=gpus,
        results_per_second=results,
        driver_share=results * DRIVER_RESULT_SECONDS + trials * DRIVER_TRIAL_SECONDS,
        broadcast_seconds=nodes * image_bytes / HEAD_BYTES_PER_SECOND,
        state_requests_per_second=gpus / trial.save_interval * trial.requests_per_save,
        state_bytes_per_second=gpus / trial.save_interval * trial.state_bytes,
    )


def most_gpus_of_a_driver(trial: Trial) -> int:
    """So many trials of a kind keep the driver's thread busy all the time."""
    return math.floor(1 / load(1, trial, image_bytes=0, gpus_per_node=1).driver_share)


def most_gpus_of_a_prefix(trial: Trial) -> int:
    """So many trials of a kind save their states as often as S3 lets a prefix be written."""
    return math.floor(S3_WRITES_PER_SECOND * trial.save_interval / trial.requests_per_save)


def expected_longest(trials: int, spread: float, steps: int = 4000) -> float:
    """How long the longest of some trials takes, in the mean, over what one takes in the mean.

    Args:
        trials: Side by side, alike but for chance: an axis's values.
        spread: Deviation over mean of their log-normal times.
        steps: Of the integral (midpoints, over the probability).
    """
    # E[max] is the integral of the quantile function over u = F ** trials, because F(max) ** trials is uniform.
    quantile = NormalDist(-(spread**2) / 2, spread).inv_cdf if spread else lambda _: 0.0
    middles = ((step + 0.5) / steps for step in range(steps))
    return sum(math.exp(quantile(middle ** (1 / trials))) for middle in middles) / steps
