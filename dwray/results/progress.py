"""How a running trial is told of: the one shape that the Tune callback emits and that the displays draw."""

from collections.abc import Callable
from dataclasses import dataclass, field


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
    images_per_second: float | None = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Nothing more will come of it."""
        return self.status in ("completed", "diverged", "failed")


@dataclass(frozen=True)
class StageProgress:
    """A stage began (with the trials that it plans, at most) or ended."""

    stage: str
    planned_trials: int | None = None
    ended: bool = False
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())
    """What the stage found: the winners of a search, say."""


@dataclass(frozen=True)
class Notice:
    """Something that the user should know, and that stops nothing."""

    text: str


Listener = Callable[[TrialProgress | StageProgress | Notice], None]
