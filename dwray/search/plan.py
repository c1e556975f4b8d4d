"""What a sweep will do, counted before anything starts."""

import dataclasses
from collections.abc import Mapping
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


ALL = ""
"""In the place of a contender: a trial is about all of them."""

Workload = Mapping[str, tuple[int | None, int]]
"""By contender: its trials at most (None is no limit), and the epochs of each."""


def workloads(spec: SweepSpec) -> dict[str, Workload]:
    """The workload of each stage, in the stages' order; a timing counts as one epoch, since it reports once."""
    found: dict[str, Workload] = {}
    if spec.search.axes:
        found["search"] = {
            name: (line(spec, name).max_evaluations, search_epochs(spec, name)) for name in spec.networks
        }
    repeats = len(spec.seeds) * len(training_protocols(spec))
    found["train"] = {name: (repeats, spec.training_of(name).epochs) for name in spec.networks}
    if spec.timing:
        found["time"] = {ALL: (len(pass_kinds(spec)), 1)}
    return found


def plan(spec: SweepSpec) -> list[StagePlan]:
    """The stages that a sweep runs, in their order: the workloads of their contenders, summed."""
    stages = []
    for stage, workload in workloads(spec).items():
        limited = [(trials, epochs) for trials, epochs in workload.values() if trials is not None]
        if len(limited) < len(workload):
            stages.append(StagePlan(stage, None, None))
            continue
        trials = sum(trials for trials, _ in limited)
        if stage == "time" and spec.timing:
            stages.append(StagePlan(stage, trials, 0, trials * spec.timing.passes * len(spec.networks)))
        else:
            stages.append(StagePlan(stage, trials, sum(trials * epochs for trials, epochs in limited)))
    return stages
