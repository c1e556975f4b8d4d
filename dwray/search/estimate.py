"""What a sweep will take, as ranges: the arithmetic from measured costs to time, device-hours and money."""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median, stdev

from dwray.core.calibration import PassCost, TimedPass, TrainingCost
from dwray.core.config import MODE_NAMES, ProtocolConfig
from dwray.errors import SpecError, counted
from dwray.search.linear import LinearSearch
from dwray.search.plan import PassKind, line, pass_kinds, search_epochs, training_protocols
from dwray.spec import AxisValue, ResourcesSpec, SweepSpec

COST_AXES = frozenset({"batch_size", "crop_padding", "flip", "precision", "memory_format", "compile"})
"""Axes whose values differ in what a step takes."""
FINAL_PASSES = {"test": 2, "train": 1}
"""Over which sets a training is scored at its end, and how often."""


@dataclass(frozen=True)
class Range:
    """An uncertain amount: no less than ``low``, no more than ``high``, and most likely ``likely``."""

    low: float
    likely: float
    high: float

    @classmethod
    def of(cls, samples: Iterable[float]) -> "Range":
        """From the quickest sample, the least disturbed one, to the mean and two standard errors: the median is likely.

        A busy neighbour makes samples longer, some of them by far, and none shorter.
        """
        samples = list(samples)
        error = stdev(samples) / math.sqrt(len(samples)) if len(samples) > 1 else 0.0
        likely = median(samples)
        return cls(min(samples), likely, max(likely, min(max(samples), fmean(samples) + 2 * error)))

    @classmethod
    def any_of(cls, ranges: Iterable["Range"]) -> "Range":
        """What may be any of these."""
        ranges = list(ranges)
        low, high = min(each.low for each in ranges), max(each.high for each in ranges)
        return cls(low, fmean(each.likely for each in ranges), high)

    def __add__(self, other: "Range | float") -> "Range":
        if not isinstance(other, Range):
            other = Range(other, other, other)
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, factor: float) -> "Range":
        return Range(self.low * factor, self.likely * factor, self.high * factor)

    def widened(self, below: float, above: float) -> "Range":
        """At least so far below and above the likely amount, as shares of it."""
        return replace(
            self, low=min(self.low, self.likely * (1 - below)), high=max(self.high, self.likely * (1 + above))
        )


NOTHING = Range(0.0, 0.0, 0.0)


def total(ranges: Iterable[Range]) -> Range:
    """Their sum."""
    whole = NOTHING
    for each in ranges:
        whole += each
    return whole


@dataclass(frozen=True)
class SetSizes:
    """Images of each set, as a protocol splits them."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Slots:
    """How many trials of a stage run side by side."""

    search: int
    train: int


def slots_of(asked: ResourcesSpec, cpus: float, gpus: float) -> Slots:
    """How many trials Ray runs side by side on a machine.

    Args:
        asked: Of a trial, by the sweep file.
        cpus: That the machine has.
        gpus: Likewise.

    Raises:
        SpecError: Not even one fits.
    """
    wanted = gpus_per_trial(asked, gpus)

    def fit(gpus_each: float) -> int:
        by_gpus = math.inf
        if gpus_each >= 1:
            by_gpus = gpus // gpus_each
        elif gpus_each > 0:
            by_gpus = gpus * math.floor(1 / gpus_each + 1e-9)  # a fraction lies on one GPU
        return int(min(cpus // asked.cpus_per_trial, by_gpus))

    found = Slots(fit(wanted), fit(math.ceil(wanted)))
    if found.train < 1:
        one = f"{counted(asked.cpus_per_trial, 'CPU')} and {counted(math.ceil(wanted), 'GPU')}"
        raise SpecError(
            f"resources: a training wants {one}, and there are "
            f"{cpus:g} and {gpus:g} here; lower resources.cpus_per_trial or gpus_per_trial, or give --slots"
        )
    return found


def gpus_per_trial(asked: ResourcesSpec, gpus: float) -> float:
    """GPUs of a search trial: as asked for, or one where there is one."""
    if asked.gpus_per_trial is None:
        return 1.0 if gpus >= 1 else 0.0
    return asked.gpus_per_trial


def makespan(seconds: Iterable[float], slots: int) -> float:
    """When the last trial ends, if each starts in its order as soon as a slot is free."""
    return makespan_of_lines([[list(seconds)]], slots)


def makespan_of_lines(lines: Sequence[Sequence[Sequence[float]]], slots: int) -> float:
    """When the last trial of all lines ends; a line's next round waits until its last one has ended.

    Args:
        lines: For each contender its rounds (axes), and for each round the seconds of its trials.
        slots: Trials that run side by side.

    Returns:
        Seconds.
    """
    lines = [[list(round_) for round_ in rounds if len(round_)] for rounds in lines]
    # Ray asks all lines in turn for their next trial.
    waiting: list[tuple[int, float]] = []
    left = [0] * len(lines)
    next_round = [0] * len(lines)

    def open_round(index: int) -> list[tuple[int, float]]:
        if next_round[index] == len(lines[index]):
            return []
        trials = lines[index][next_round[index]]
        next_round[index] += 1
        left[index] = len(trials)
        return [(index, seconds) for seconds in trials]

    opened = [open_round(index) for index in range(len(lines))]
    for place in range(max(map(len, opened), default=0)):
        waiting += [trials[place] for trials in opened if place < len(trials)]
    running: list[tuple[float, int]] = []
    now = 0.0
    while waiting or running:
        while waiting and len(running) < slots:
            index, seconds = waiting.pop(0)
            heapq.heappush(running, (now + seconds, index))
        now, index = heapq.heappop(running)
        left[index] -= 1
        if not left[index]:
            waiting += open_round(index)
    return now


def rounds(search: LinearSearch, *, fewest: bool) -> list[int]:
    """Trials of each axis, in the order in which they are taken.

    Args:
        search: Its axes and passes. The incumbent is never run again, so that each axis but the first has one trial
            less than values.
        fewest: If no axis moves the incumbent, which ends the search after one pass; otherwise every pass is gone
            through (of no limit on them, the first).
    """
    sizes = [len(values) for values in search.axes.values()]
    again = [size - 1 for size in sizes]
    passes = 1 if fewest else (search.passes or 1)
    return [sizes[0], *again[1:], *again * (passes - 1)]


@dataclass(frozen=True)
class Overheads:
    """What surrounds the work, in seconds."""

    start: float
    """From the command to the first trial: Python, Ray, the images, the first workers."""
    stage: float
    """Of a further stage: its workers."""
    trial: float
    """Of a trial, in a worker that is there: its network, its records, its saved state."""
    end: float
    """The report."""


@dataclass(frozen=True)
class StageEstimate:
    """What one stage will take. The stages' names are those of the plan, and ``start and report``."""

    stage: str
    fewest_trials: int
    most_trials: int | None
    fewest_epochs: int
    most_epochs: int | None
    wall_seconds: Range


CostOf = Callable[[str, Mapping[str, AxisValue], int, ProtocolConfig], TrainingCost]
"""(contender, changed settings, epochs, protocol) -> what was measured of such a training."""


@dataclass(frozen=True)
class Measured:
    """What an estimate is made of, beside the sweep file."""

    search_cost: CostOf
    """Of a search trial, beside as many others as its stage has slots."""
    train_cost: CostOf
    """Of a training, likewise."""
    passes: Mapping[TimedPass, Mapping[str, PassCost]]
    """By kind and contender; none of a mode that the device lacks."""
    sizes: Callable[[ProtocolConfig], SetSizes]
    overheads: Overheads


def estimate(
    spec: SweepSpec, measured: Measured, slots: Slots, *, spread: float = 0.0, others_share: float = 0.0
) -> list[StageEstimate]:
    """What each stage will take, in their order.

    Args:
        spec: The sweep.
        measured: What its trainings and passes were measured to take.
        slots: How many trials run side by side.
        spread: Time is uncertain by this share at least: a machine's speed drifts.
        others_share: Of the device that others had while it was measured: alone, a sweep may take so much less.
    """
    found = []
    if spec.search.axes:
        found.append(_search(spec, measured, slots.search))
    found.append(_train(spec, measured, slots.train, first=not spec.search.axes))
    if spec.timing:
        found.append(_time(spec, measured))
    around = measured.overheads.start + measured.overheads.end
    found.append(StageEstimate("start and report", 0, 0, 0, 0, Range(around, around, around)))
    below = max(spread, others_share)
    return [replace(stage, wall_seconds=stage.wall_seconds.widened(below, spread)) for stage in found]


def trial_seconds(
    cost: TrainingCost, epochs: int, batch_size: int, sizes: SetSizes, *, final_scores: bool, overhead: float
) -> Range:
    """What a trial takes: epochs with their validation and, of a training, the scores at its end.

    Args:
        cost: Measured.
        epochs: Of the trial.
        batch_size: Images a step.
        sizes: Images of each set.
        final_scores: The test images are scored in both ways, and the training images, at the end.
        overhead: Seconds around it.
    """
    step, score = Range.of(cost.step_seconds), Range.of(cost.score_seconds)
    steps = math.ceil(sizes.train / batch_size)
    epoch = step * steps + score * sizes.validation + 2 * cost.loader_start_seconds
    trial = epoch * epochs + overhead
    if final_scores:
        scored = sum(times * getattr(sizes, name) for name, times in FINAL_PASSES.items())
        trial += score * scored + sum(FINAL_PASSES.values()) * cost.loader_start_seconds
    return trial


def _options(spec: SweepSpec, contender: str) -> list[dict[str, AxisValue]]:
    """Settings that a contender's trials may have, as far as their cost goes: its start, and each other value."""
    options: list[dict[str, AxisValue]] = [{}]
    for axis in COST_AXES.intersection(spec.search.axes):
        options += [{axis: value} for value in spec.search.axes[axis]]
    return options


def trial_options(spec: SweepSpec) -> list[tuple[str, dict[str, AxisValue], int, ProtocolConfig]]:
    """All (contender, changed settings, epochs, protocol) whose cost an estimate asks for."""
    found = []
    for contender in spec.networks:
        for changes in _options(spec, contender):
            if spec.search.axes:
                found.append((contender, changes, search_epochs(spec, contender), spec.protocol))
            epochs = spec.training_of(contender).epochs
            found += [(contender, changes, epochs, protocol) for protocol in training_protocols(spec)]
    return found


def timed_passes(spec: SweepSpec) -> list[TimedPass]:
    """The passes to be measured: every kind once, whatever the set. Compiling is not tried: it takes minutes."""
    return list(dict.fromkeys(map(timed_pass, pass_kinds(spec))))


def timed_pass(kind: PassKind) -> TimedPass:
    """What is measured for a kind of timed pass; a compiled one is taken to be as fast as the folded one."""
    precision, variant = kind.mode.split("-", 1)
    mode = f"{precision}-folded" if variant == "compiled" else kind.mode
    assert mode in MODE_NAMES
    return TimedPass(kind.batch_size, kind.loader, kind.batch_statistics, kind.notebook_loader, mode)


def _trial(
    spec: SweepSpec,
    measured: Measured,
    cost: CostOf,
    contender: str,
    epochs: int,
    protocol: ProtocolConfig,
    *,
    final: bool,
) -> tuple[Range, float]:
    """A trial of a contender, whatever its search finds, and the seconds of compiling its network."""
    options = _options(spec, contender)
    sizes, overhead = measured.sizes(protocol), measured.overheads.trial
    ranges, compiling = [], 0.0
    for changes in options:
        found = cost(contender, changes, epochs, protocol)
        compiling = max(compiling, found.compile_seconds)
        batch_size = spec.training_of(contender, **changes).batch_size
        ranges.append(trial_seconds(found, epochs, batch_size, sizes, final_scores=final, overhead=overhead))
    return Range.any_of(ranges), compiling


def _search(spec: SweepSpec, measured: Measured, slots: int) -> StageEstimate:
    few: list[list[tuple[Range, int]]] = []
    many: list[list[tuple[Range, int]]] = []
    counts = {True: [0, 0], False: [0, 0]}
    compiling = 0.0
    for contender in spec.networks:
        epochs = search_epochs(spec, contender)
        trial, compiles = _trial(spec, measured, measured.search_cost, contender, epochs, spec.protocol, final=False)
        compiling += compiles
        search = line(spec, contender)
        for lines, fewest in ((few, True), (many, False)):
            sizes = rounds(search, fewest=fewest)
            lines.append([(trial, size) for size in sizes])
            counts[fewest][0] += sum(sizes)
            counts[fewest][1] += sum(sizes) * epochs

    def wall(lines: list[list[tuple[Range, int]]], end: str) -> float:
        return makespan_of_lines([[[getattr(t, end)] * size for t, size in rounds_] for rounds_ in lines], slots)

    endless = spec.search.passes is None
    likely = (wall(few, "likely") + wall(many, "likely")) / 2
    seconds = Range(wall(few, "low"), likely, math.inf if endless else wall(many, "high")) + compiling
    most = (None, None) if endless else tuple(counts[False])
    return StageEstimate("search", counts[True][0], most[0], counts[True][1], most[1], seconds)


def _train(spec: SweepSpec, measured: Measured, slots: int, *, first: bool) -> StageEstimate:
    trials: list[Range] = []
    epochs, compiling = 0, 0.0
    for protocol in training_protocols(spec):
        for _ in spec.seeds:
            for contender in spec.networks:
                each = spec.training_of(contender).epochs
                trial, compiles = _trial(spec, measured, measured.train_cost, contender, each, protocol, final=True)
                trials.append(trial)
                epochs += each
                compiling = max(compiling, compiles)
    wall = Range(*(makespan([getattr(trial, end) for trial in trials], slots) for end in ("low", "likely", "high")))
    # A worker compiles each network that it meets.
    wall += compiling * len(spec.networks) + (0.0 if first else measured.overheads.stage)
    return StageEstimate("train", len(trials), len(trials), epochs, epochs, wall)


COMPILING = Range(6.0, 20.0, 43.0)
"""Seconds in which a network was compiled for a timing, from torch's own cache and without (``core.modes.prepare``)."""


def _time(spec: SweepSpec, measured: Measured) -> StageEstimate:
    timing = spec.timing
    assert timing
    sizes = measured.sizes(spec.protocol)
    kinds = pass_kinds(spec)
    parts = []
    for kind in kinds:
        costs = measured.passes.get(timed_pass(kind), {})
        images = getattr(sizes, kind.set)
        for cost in costs.values():
            one = Range.of(cost.image_seconds)
            warm_up = one * (kind.batch_size * (timing.warmup_batches + 1)) + 2 * cost.loader_start_seconds
            parts.append((one * images + cost.loader_start_seconds) * timing.passes + warm_up)
            if kind.mode.endswith("-compiled"):
                parts.append(COMPILING)
        parts.append(NOTHING + measured.overheads.trial)
    wall = total(parts) + measured.overheads.stage
    return StageEstimate("time", len(kinds), len(kinds), 0, 0, wall)
