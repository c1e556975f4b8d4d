"""What a sweep will do, counted before anything starts."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from dwray.core.config import PLAIN_MODE, TRAINING_SWITCHES, ProtocolConfig
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


def training_protocols(spec: SweepSpec) -> list[ProtocolConfig]:
    """The protocols to train under: the sweep's, and those of its errata that train otherwise than any before."""
    distinct: dict[tuple[Any, ...], ProtocolConfig] = {}
    for protocol in spec.protocols:
        distinct.setdefault(tuple(getattr(protocol, name) for name in TRAINING_SWITCHES), protocol)
    return list(distinct.values())


@dataclass(frozen=True)
class PassKind:
    """What the timed passes of one trial have in common."""

    batch_size: int
    set: str
    loader: bool
    batch_statistics: bool
    notebook_loader: bool
    mode: str = PLAIN_MODE


def pass_kinds(spec: SweepSpec) -> list[PassKind]:
    """Every kind of timed pass: the protocol's, those that only an erratum asks for, and those in other modes.

    Other modes are of the network alone, with batch norm in evaluation mode, and so is what they are compared with; the
    paper's protocol has none.
    """
    timing = spec.timing
    if timing is None:
        return []
    sizes_and_sets = [(batch_size, images) for batch_size in timing.batch_sizes for images in timing.sets]
    kinds = [
        PassKind(batch_size, images, loader, protocol.batch_statistics_at_test, loader and protocol.notebook_loader)
        for protocol in spec.protocols
        for batch_size, images in sizes_and_sets
        for loader in timing.loader
    ]
    if len(timing.modes) > 1 and spec.protocol.base != "paper":
        kinds += [
            PassKind(batch_size, images, False, False, False, mode)
            for mode in timing.modes
            for batch_size, images in sizes_and_sets
        ]
    return list(dict.fromkeys(kinds))


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
    repeats = len(spec.seeds) * len(training_protocols(spec))
    epochs = sum(spec.training_of(contender).epochs for contender in contenders) * repeats
    stages.append(StagePlan("train", len(contenders) * repeats, epochs))
    if spec.timing:
        trials_ = len(pass_kinds(spec))
        stages.append(StagePlan("time", trials_, 0, trials_ * spec.timing.passes * len(contenders)))
    return stages
