"""What a sweep will do, counted before anything starts."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from dwray.search.linear import LinearSearch
from dwray.spec import SweepSpec


@dataclass(frozen=True)
class StagePlan:
    """One stage: how many trials, and how many epochs in all of them (timed passes, for the stage ``time``).

    The search's numbers are the most that it can take: it never runs a configuration twice. None is no limit.
    """

    stage: str
    trials: int | None
    epochs: int | None
    passes: int | None = None


def line(spec: SweepSpec, contender: str) -> LinearSearch:
    """The linear search of one contender, from its own training settings as the start."""
    return LinearSearch(spec.search.axes, start_of(spec, contender), mode=spec.search.mode, passes=spec.search.passes)


def start_of(spec: SweepSpec, contender: str) -> dict[str, Any]:
    """Where a contender's search starts: its training settings on the axes."""
    training = dataclasses.asdict(spec.training_of(contender))
    return {axis: training[axis] for axis in spec.search.axes}


def search_epochs(spec: SweepSpec, contender: str) -> int:
    """Epochs of a contender's search trials."""
    return spec.search.epochs or spec.training_of(contender).epochs


def plan(spec: SweepSpec) -> list[StagePlan]:
    """The stages that a sweep runs, in their order."""
    stages = []
    contenders = list(spec.networks)
    if spec.search.axes:
        trials = {contender: line(spec, contender).max_evaluations for contender in contenders}
        if None in trials.values():
            stages.append(StagePlan("search", None, None))
        else:
            counts = {contender: count for contender, count in trials.items() if count is not None}
            epochs = sum(count * search_epochs(spec, contender) for contender, count in counts.items())
            stages.append(StagePlan("search", sum(counts.values()), epochs))
    epochs = sum(spec.training_of(contender).epochs for contender in contenders) * len(spec.seeds)
    stages.append(StagePlan("train", len(contenders) * len(spec.seeds), epochs))
    if spec.timing:
        trials_ = len(spec.timing.batch_sizes) * len(spec.timing.sets) * len(spec.timing.loader)
        stages.append(StagePlan("time", trials_, 0, trials_ * spec.timing.passes * len(contenders)))
    return stages
