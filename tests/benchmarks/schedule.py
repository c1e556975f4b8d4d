"""When each trial of a sweep begins and ends on so many GPUs: a simulation by events, driven by dwray's own searchers.

Nothing trains here. The searchers are those that a sweep runs (``dwray.tune.searcher``), so that the barriers between
axes and the turns that the lines take are the real ones; a trial takes as long as its epochs were recorded to take.
"""

import dataclasses
import heapq
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from dwray.paper import facts
from dwray.search.plan import search_epochs, start_of, training_protocols
from dwray.spec import SweepSpec
from dwray.tune.searcher import FixedTrials, LinearSearch

Config = Mapping[str, Any]
METRIC = "validation_accuracy_percent"


class Source(Protocol):
    """What trials come from: the part of ``ray.tune.search.Searcher`` that a scheduler needs."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial; None while it waits for results, a string when there is nothing more."""
        ...

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """A trial has ended."""
        ...


@dataclass(frozen=True)
class Costs:
    """How long trials take. Seconds throughout."""

    epochs: Mapping[str, Sequence[float]]
    """Recorded seconds of each epoch, by contender: training and validation pass."""
    startup: float = 0.0
    """From a trial's turn to its first epoch."""
    spread: float = 0.0
    """Deviation of trials of a kind from each other, relative to their mean: log-normal."""
    draw: int = 0
    """Which draw of the spread."""
    stretch: float = 1.0
    """So many times as long as recorded: below 1 on a faster GPU, above it where trials share one."""

    def work(self, config: Config) -> float:
        """Seconds of a trial's epochs.

        Raises:
            ValueError: It has more epochs than were recorded.
        """
        recorded = self.epochs[config["contender"]]
        if config["epochs"] > len(recorded):
            raise ValueError(f"{config['contender']}: {len(recorded)} epochs were recorded, not {config['epochs']}")
        return sum(recorded[: config["epochs"]]) * self.stretch * self._luck(config)

    def _luck(self, config: Config) -> float:
        """A factor of mean 1 that belongs to the trial, whenever and wherever it runs."""
        if not self.spread:
            return 1.0
        normal = random.Random(f"{self.draw} {sorted(config.items())}").gauss(0.0, self.spread)
        return math.exp(normal - self.spread**2 / 2)


@dataclass(frozen=True)
class Run:
    """One trial in a schedule; seconds since the schedule's beginning."""

    contender: str
    begin: float
    end: float
    work: float
    """Of these, its epochs."""


@dataclass(frozen=True)
class Schedule:
    """All trials of one or more stages on so many GPUs (or fractions of a GPU)."""

    gpus: int
    runs: tuple[Run, ...]

    @cached_property
    def makespan(self) -> float:
        """Seconds until the last trial's end."""
        return max((run.end for run in self.runs), default=0.0)

    @cached_property
    def work(self) -> float:
        """GPU-seconds of epochs."""
        return sum(run.work for run in self.runs)

    @property
    def utilisation(self) -> float:
        """Share of all GPUs' time that trials train in, from 0 to 1."""
        return self.work / (self.gpus * self.makespan)

    @cached_property
    def widest(self) -> int:
        """The most trials that run at one time."""
        # An end comes before a beginning at the same time.
        changes = sorted([(run.end, -1) for run in self.runs] + [(run.begin, 1) for run in self.runs])
        running = most = 0
        for _, change in changes:
            running += change
            most = max(most, running)
        return most

    @property
    def surplus(self) -> float:
        """GPU-seconds of GPUs that had no trial at any time: more of them than trials run side by side."""
        return (self.gpus - self.widest) * self.makespan

    @property
    def waiting(self) -> float:
        """GPU-seconds without a trial of GPUs that had one at some time: at an axis's barrier, or at the end."""
        return self.widest * self.makespan - sum(run.end - run.begin for run in self.runs)


def simulate(phases: Iterable[Source], gpus: int, costs: Costs) -> Schedule:
    """Run phases one after the other; within a phase a free GPU takes the next trial at once.

    Every candidate scores the same, so that incumbents stay; in a single pass over the axes another winner changes
    which trials follow, but neither how many nor how long they take.
    """
    runs: list[Run] = []
    now = 0.0
    for phase in phases:
        running: list[tuple[float, str]] = []
        while True:
            while len(running) < gpus and isinstance(config := phase.suggest(str(len(runs))), dict):
                work = costs.work(config)
                end = now + costs.startup + work
                heapq.heappush(running, (end, str(len(runs))))
                runs.append(Run(config["contender"], now, end, work))
            if not running:
                break
            now, ended = heapq.heappop(running)
            phase.on_trial_complete(ended, {METRIC: 0.0})
    return Schedule(gpus, tuple(runs))


def recorded_epochs(dataset: str, contenders: Iterable[str]) -> dict[str, tuple[float, ...]]:
    """Seconds of each epoch, training and validation pass, as the paper's notebooks printed them."""
    return {
        contender: tuple(row["train_seconds"] + row["validation_seconds"] for row in facts.curve(dataset, contender))
        for contender in contenders
    }


def search(spec: SweepSpec, contenders: Iterable[str]) -> LinearSearch:
    """The search of a sweep, over the lines of these contenders."""
    return LinearSearch(
        spec.search.axes,
        lines={
            contender: {
                "contender": contender,
                "epochs": search_epochs(spec, contender),
                "seed": spec.search.seed,
                **start_of(spec, contender),
            }
            for contender in contenders
        },
        metric=METRIC,
        mode="max",
        passes=spec.search.passes,
    )


def trainings(spec: SweepSpec, contenders: Iterable[str], seeds: Iterable[int]) -> list[dict[str, Any]]:
    """The trainings of these contenders with these seeds, in the order in which a sweep gives them out."""
    contenders = list(contenders)
    return [
        {"contender": contender, "epochs": spec.training_of(contender).epochs, "seed": seed, "protocol": number}
        for number in range(len(training_protocols(spec)))
        for seed in seeds
        for contender in contenders
    ]


class Overlapping:
    """What dwray does not do: each contender's trainings begin as soon as its own line has its winner.

    Args:
        lines: A search of one line for each contender.
        trainings: Of each contender, once that search is finished.
    """

    def __init__(self, lines: Mapping[str, LinearSearch], trainings: Mapping[str, FixedTrials]) -> None:
        self._lines, self._trainings = lines, trainings
        self._owner: dict[str, Source] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial of any contender that has one, those of the lines before the trainings."""
        released = [self._trainings[contender] for contender, line in self._lines.items() if line.finished]
        sources: list[Source] = [*self._lines.values(), *released]
        for source in sources:
            config = source.suggest(trial_id)
            if isinstance(config, dict):
                self._owner[trial_id] = source
                return config
        return None

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Tell the trial's own source."""
        self._owner.pop(trial_id).on_trial_complete(trial_id, result, error)


def longest_first(configs: Sequence[dict[str, Any]], costs: Costs) -> list[dict[str, Any]]:
    """The same trainings, the longest first: what dwray does not do either."""
    plain = dataclasses.replace(costs, spread=0.0)  # nobody knows a trial's luck before it runs
    return sorted(configs, key=plain.work, reverse=True)
