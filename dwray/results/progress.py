"""How a running sweep is told of: the events that its driver emits, and that the displays and `dwray status` draw."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Metric = Literal["validation_accuracy_percent", "validation_loss"]
"""What a search compares."""


@dataclass(frozen=True)
class TrialProgress:
    """Where a trial stands. Everything but the first three is unknown (None) until it is."""

    trial_id: str
    name: str
    status: str
    """One of ``schema.STATUSES``, or ``retrying``."""
    contender: str = ""
    """Which network; empty for a trial that is about several or none."""
    varies: str = ""
    """What distinguishes the trial among its neighbours."""
    settings: str = ""
    """Of a search trial: its value on every axis."""
    iteration: int = 0
    """Results reported so far; epochs, for a training."""
    iterations: int | None = None
    """Results that are expected in all."""
    seconds_per_iteration: float | None = None
    """Median over the iterations so far: the first one is often slow."""
    seconds_left: float | None = None
    seconds: float | None = None
    """Time spent so far."""
    loss: float | None = None
    accuracy_percent: float | None = None
    """On the validation set, at the last iteration."""
    validation_loss: float | None = None
    images_per_second: float | None = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Nothing more will come of it."""
        return self.status in ("completed", "diverged", "failed")


@dataclass(frozen=True)
class Work:
    """What a stage plans for one contender; for all of them together where a trial is about several."""

    contender: str
    trials: int | None
    """At most; None is no limit."""
    epochs: int
    """Of each trial; 1 for a timing, which reports once."""


@dataclass(frozen=True)
class StageProgress:
    """A stage began (with the trials that it plans, at most) or ended."""

    stage: str
    planned_trials: int | None = None
    """Those that ended earlier included; None is no limit."""
    ended: bool = False
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    """What the stage found: the winners of a search, say."""
    work: tuple[Work, ...] = ()
    """The planned trials by contender; empty if that is not known."""
    earlier: tuple[TrialProgress, ...] = ()
    """Trials that ended before this driver: they are not run again."""
    metric: Metric = "validation_accuracy_percent"
    """What a search compares."""


@dataclass(frozen=True)
class Capacity:
    """What a cluster has for the trials of a stage; told when a stage begins, and when nodes come or go."""

    kind: Literal["GPU", "CPU"]
    """What a trial computes on."""
    total: float
    """GPUs, or CPU cores, of the cluster."""
    per_trial: float
    """So many a trial is given."""
    slots: int
    """So many trials have room side by side."""


@dataclass(frozen=True)
class Notice:
    """Something that the user should know, and that stops nothing."""

    text: str


Event = TrialProgress | StageProgress | Capacity | Notice
Listener = Callable[[Event], None]
