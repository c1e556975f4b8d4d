"""How a sweep stands: its stage, its trials, the best so far and the time left, from what its driver tells.

A live display is told of each event; for a run that goes on elsewhere :mod:`dwray.results.run_standing` replays them
from the records. Both come to the same :class:`StageStanding`.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dwray.results.progress import Capacity, Event, Metric, StageProgress, TrialProgress


@dataclass(frozen=True)
class Best:
    """The best of a contender so far."""

    contender: str
    score: float
    """On the validation set after the last epoch: in percent, or in nats where a search compares losses."""
    settings: str
    """Which settings gave it, or which training."""


@dataclass(frozen=True)
class TimeLeft:
    """An estimate of the seconds that a stage still takes."""

    seconds: float
    at_least: bool
    """Trials are left of a network that has no measured epoch yet: they are not counted."""


@dataclass(frozen=True)
class StageStanding:
    """Where a stage stands."""

    stage: str
    done: int
    """Trials that have ended; those that failed or diverged are among them."""
    failed: int
    diverged: int
    planned: int | None
    """Trials in all; None is no limit, or not known."""
    running: tuple[TrialProgress, ...]
    """In the order in which they began; those that wait to be tried again stand among them."""
    ended: tuple[TrialProgress, ...]
    """In the order in which they were told of first."""
    best: tuple[Best, ...]
    metric: Metric
    """Of the best."""
    capacity: Capacity | None
    time_left: TimeLeft | None

    @property
    def busy(self) -> int:
        """Trials that hold their resources: one that waits to be tried again does not."""
        return sum(trial.status == "running" for trial in self.running)

    @property
    def left(self) -> int | None:
        """Trials that neither run nor have ended; None is no limit, or not known."""
        return None if self.planned is None else max(0, self.planned - self.done - self.busy)

    @property
    def at_most(self) -> bool:
        """The planned trials are the most there can be: a search never runs a configuration twice."""
        return self.stage == "search"


def parallel_seconds(trials: Sequence[float], slots: int) -> float:
    """Seconds until trials are done that share some slots: what no schedule goes below.

    The greedy schedule that Ray runs takes at most 2 - 1/slots times as long (Graham, 1966), and close to this where
    trials are many and alike.

    Args:
        trials: Seconds that each trial still takes.
        slots: So many run side by side.
    """
    return max(sum(trials) / slots, *trials) if trials else 0.0


class Tracker:
    """Takes note of a sweep's events, and says how its stage stands."""

    def __init__(self) -> None:
        self._stage: StageProgress | None = None
        self._trials: dict[str, TrialProgress] = {}
        self._capacity: Capacity | None = None
        self._slots = 0
        """Of the stage before: what a stage has until its own are told."""
        self._paces: dict[str, float] = {}
        """Seconds per epoch of each contender, of the stages that have ended: what a later one begins with."""

    def tell(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, TrialProgress):
            self._trials[event.trial_id] = event
        elif isinstance(event, Capacity):
            self._capacity = event
        elif isinstance(event, StageProgress):
            # A timing's pace is of another kind than a training's.
            self._paces |= {name: pace for name, pace in paces(self._trials.values()).items() if name}
            self._stage = None if event.ended else event
            self._trials = {trial.trial_id: trial for trial in event.earlier}
            self._slots = self._capacity.slots if self._capacity else self._slots
            self._capacity = None

    def standing(self) -> StageStanding | None:
        """How the stage stands; None between stages."""
        if self._stage is None:
            return None
        return stage_standing(self._stage, list(self._trials.values()), self._paces, self._capacity, self._slots)


def stage_standing(
    stage: StageProgress,
    trials: Sequence[TrialProgress],
    earlier_paces: Mapping[str, float],
    capacity: Capacity | None = None,
    slots: int = 0,
) -> StageStanding:
    """How a stage stands.

    Args:
        stage: What is planned.
        trials: Those that have begun, in that order.
        earlier_paces: Seconds per epoch of each contender in earlier stages, for those that this one has none of yet.
        capacity: Of the cluster.
        slots: So many trials are known to fit side by side, where the capacity is not known; those that run fit, too.
    """
    ended = tuple(trial for trial in trials if trial.ended)
    running = tuple(trial for trial in trials if trial.status in ("running", "retrying"))
    slots = capacity.slots if capacity else max(slots, len(running))
    return StageStanding(
        stage=stage.stage,
        done=len(ended),
        failed=sum(trial.status == "failed" for trial in ended),
        diverged=sum(trial.status == "diverged" for trial in ended),
        planned=stage.planned_trials,
        running=running,
        ended=ended,
        best=best_so_far(stage, trials),
        metric=metric_of(stage),
        capacity=capacity,
        time_left=time_left(stage, trials, {**earlier_paces, **paces(trials)}, max(1, slots)),
    )


def metric_of(stage: StageProgress) -> Metric:
    """What the trials of a stage are compared by: a search has a metric of its own."""
    return stage.metric if stage.stage == "search" else "validation_accuracy_percent"


def score_text(score: float, metric: str) -> str:
    """A score in words: ``validation 93.12%``, ``validation loss 0.4321``."""
    return f"validation loss {score:.4f}" if metric == "validation_loss" else f"validation {score:.2f}%"


def best_so_far(stage: StageProgress, trials: Iterable[TrialProgress]) -> tuple[Best, ...]:
    """The best of each contender after its last epoch: of a search only trials that completed are compared."""
    by_loss = metric_of(stage) == "validation_loss"
    sign = -1 if by_loss else 1
    best: dict[str, Best] = {}
    for trial in trials:
        if stage.stage == "search" and trial.status != "completed":
            continue
        score = trial.validation_loss if by_loss else trial.accuracy_percent
        if score is None or not math.isfinite(score) or not trial.contender:
            continue
        before = best.get(trial.contender)
        if before is None or sign * score > sign * before.score:
            best[trial.contender] = Best(trial.contender, score, trial.settings or trial.varies)
    planned = [work.contender for work in stage.work]
    return tuple(sorted(best.values(), key=lambda each: _place(each.contender, planned)))


def time_left(
    stage: StageProgress, trials: Sequence[TrialProgress], pace_of: Mapping[str, float], slots: int
) -> TimeLeft | None:
    """How long a stage still takes; None before an epoch was measured, or where nothing limits its trials.

    Args:
        stage: What is planned.
        trials: Those that there are.
        pace_of: Measured seconds per epoch, by contender.
        slots: So many trials run side by side.
    """
    if not stage.work or any(work.trials is None for work in stage.work):
        return None
    epochs = {work.contender: work.epochs for work in stage.work}
    open_trials = [trial for trial in trials if not trial.ended]
    jobs: list[tuple[str, float | None, int]] = [
        (trial.contender, trial.seconds_per_iteration, _epochs_left(trial, epochs)) for trial in open_trials
    ]
    begun = Counter(trial.contender for trial in trials)
    for work in stage.work:
        jobs += [(work.contender, None, work.epochs)] * max(0, (work.trials or 0) - begun[work.contender])
    seconds = [(pace or pace_of.get(contender), left) for contender, pace, left in jobs if left]
    measured = [pace * left for pace, left in seconds if pace is not None]
    if seconds and not measured:
        return None
    return TimeLeft(parallel_seconds(measured, slots), at_least=len(measured) < len(seconds))


def _epochs_left(trial: TrialProgress, planned: Mapping[str, int]) -> int:
    return max(0, (trial.iterations or planned.get(trial.contender, 1)) - trial.iteration)


def paces(trials: Iterable[TrialProgress]) -> dict[str, float]:
    """Seconds per epoch of each contender: the median over its trials."""
    found: dict[str, list[float]] = {}
    for trial in trials:
        if trial.seconds_per_iteration is not None:
            found.setdefault(trial.contender, []).append(trial.seconds_per_iteration)
    return {contender: statistics.median(seconds) for contender, seconds in found.items()}


def _place(contender: str, planned: Sequence[str]) -> int:
    """In the sweep file's order, where that is known."""
    return planned.index(contender) if contender in planned else len(planned)
