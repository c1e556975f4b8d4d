"""The benchmark: dwray's training, inference and data path against the notebooks' and against the roofline.

Everything is measured in one run, in rounds: each cell once a round, in an order that turns round each time, so that a
drift of the machine's speed hits all alike. The cells are measured in processes of their own (``bench_worker``), since
what they differ in belongs to a process: the allocator of the C library, and what torch has compiled.
"""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import torch

from dwray.core.bench_worker import Workers
from dwray.core.ceilings import ELEMENT_BYTES, Ceilings, highest
from dwray.core.complexity import Complexity, Work, complexity
from dwray.core.environment import device_name
from dwray.core.execution import EXECUTIONS, Execution
from dwray.core.modes import MODES, Mode, modes_of
from dwray.core.precision import lacks
from dwray.core.witness import Witness, Witnessed

Kind = Literal["training", "inference", "data"]
NOTEBOOK, NOTEBOOK_TF32 = "notebook", "notebook-tf32"
"""The baselines: as the notebooks did it, in float32; and with convolutions in TF32, torch's own default where a GPU
has that (the GPUs of the notebooks' time did not)."""
CROP_AND_FLIP = ", crop and flip"
DATA_WAYS = {NOTEBOOK: "resident", f"{NOTEBOOK}{CROP_AND_FLIP}": f"resident{CROP_AND_FLIP}"}
"""Each of the notebooks' data paths, and dwray's."""
EXECUTION_NAMES = {str(execution): execution for execution in EXECUTIONS}
CHANNELS = 3


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    device: torch.device
    networks: tuple[str, ...]
    """Keys of NETWORKS, each once."""
    classes: int
    width: float
    size: int
    """Pixels a side of the RGB images."""
    images: int
    """In a training epoch, about: it has whole batches, and at least one."""
    training_batch_sizes: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    """Of inference."""
    executions: tuple[str, ...]
    """Names of EXECUTIONS; none leaves training out."""
    modes: tuple[str, ...]
    """Names of MODES; none leaves inference out."""
    repeats: int
    """Rounds."""
    threads: int | None
    """CPU threads; None is torch's choice."""
    data_images: int = 5_000
    """The notebooks' loader goes through so many: beside them the start of its processes counts for little."""


@dataclass(frozen=True)
class Cell:
    """One thing to be measured."""

    kind: Kind
    way: str
    """A name of EXECUTIONS (training) or MODES (inference), a baseline, or one of DATA_WAYS."""
    batch_size: int
    network: str | None = None
    """None for the data path."""

    def __str__(self) -> str:
        what = f"{self.kind} of {self.network}" if self.network else "data path"
        return f"{what}, batch size {self.batch_size}, {self.way}"

    @property
    def baseline(self) -> "Cell | None":
        """What its ratio is to: the notebooks' way of the same; None for those themselves."""
        if self.way.startswith(NOTEBOOK):
            return None
        ours = {ours: theirs for theirs, ours in DATA_WAYS.items()}
        return Cell(self.kind, ours.get(self.way, NOTEBOOK), self.batch_size, self.network)

    @property
    def settings(self) -> Execution | Mode | None:
        """What its way means; None for the notebooks' ways and for the data path."""
        known: dict[str, Execution | Mode] = {**EXECUTION_NAMES, **MODES}
        return known.get(self.way)

    @property
    def precision(self) -> str:
        """Of its arithmetic."""
        if self.way == NOTEBOOK_TF32:
            return "tf32"
        return self.settings.precision if self.settings else "float32"

    @property
    def process(self) -> str:
        """Which worker measures it: those of a name share one.

        The baselines have the C library's allocator as it is. What is compiled has a process for each way: torch keeps
        compiled code by the function, whatever the network, and looks through all of it at each call.
        """
        if self.way.startswith(NOTEBOOK):
            return "plain"
        return f"kept {self.way}" if self.settings and self.settings.compiled else "kept"


@dataclass(frozen=True)
class Sample:
    """One measurement of a cell."""

    images: int
    seconds: float
    first_seconds: float | None
    """What came before its first measurement: preparing, compiling, warming up; None afterwards."""


@dataclass(frozen=True)
class Failure:
    """Why a cell cannot be measured, in one line."""

    reason: str


@dataclass(frozen=True)
class Result:
    """All measurements of a cell."""

    cell: Cell
    images: int = 0
    """In one measurement: a training epoch's, a batch's, a pass's over the data."""
    seconds: tuple[float, ...] = ()
    """Of each round; none if it failed."""
    first_seconds: float | None = None
    failure: str | None = None

    @property
    def median_seconds(self) -> float | None:
        """Of a measurement."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def images_per_second(self) -> tuple[float, float, float] | None:
        """(lowest, median, highest) of the rounds."""
        if not self.seconds:
            return None
        return tuple(self.images / pick(self.seconds) for pick in (max, statistics.median, min))  # type: ignore[return-value]


@dataclass(frozen=True)
class Bench:
    """Everything that was measured, and on what."""

    plan: Plan
    environment: dict[str, Any]
    """Versions, machine and commit, as a process knows them that measures."""
    device_name: str
    threads: int
    keeps_freed_memory: bool
    """Whether glibc could be told to keep freed memory: then dwray's cells have that, and the baselines do not."""
    ceilings: Ceilings
    results: tuple[Result, ...]
    witnessed: Witnessed

    @cached_property
    def complexities(self) -> dict[str, Complexity]:
        """Of each network."""
        shape = (CHANNELS, self.plan.size, self.plan.size)
        return {
            name: complexity(name, classes=self.plan.classes, width=self.plan.width, image_shape=shape)
            for name in self.plan.networks
        }

    def result(self, cell: Cell) -> Result | None:
        """A cell's measurements, if it is one of the plan's."""
        return next((result for result in self.results if result.cell == cell), None)

    def ratio(self, result: Result) -> float | None:
        """How many times as fast as the notebooks' way: the median over the rounds, each with its own baseline."""
        baseline = self.result(result.cell.baseline) if result.cell.baseline else None
        if baseline is None or not baseline.seconds or not result.seconds:
            return None
        pairs = zip(baseline.seconds, result.seconds, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs) * result.images / baseline.images

    def work(self, cell: Cell) -> Work | None:
        """What a batch of a cell needs at the least; None for the data path."""
        if cell.network is None:
            return None
        network = self.complexities[cell.network]
        count = network.training_step if cell.kind == "training" else network.inference
        return count(cell.batch_size, ELEMENT_BYTES[cell.precision])

    def floor_seconds(self, cell: Cell) -> float | None:
        """The least time of a batch by the roofline; None for the data path, and where there is no such precision."""
        work = self.work(cell)
        if work is None or cell.precision not in self.ceilings.matrix_flops_per_second:
            return None
        return self.ceilings.floor_seconds(cell.precision, work)

    def roofline_fraction(self, result: Result) -> float | None:
        """The least time over the measured time; above 1 where caches save traffic with the memory."""
        floor, seconds = self.floor_seconds(result.cell), result.median_seconds
        if floor is None or seconds is None:
            return None
        return floor * (result.images / result.cell.batch_size) / seconds

    def training_time_ratios(self) -> list[tuple[Cell, float | None, float | None]]:
        """Time of the second network's training over the first's: (cell of the first, by the roofline, measured).

        Empty unless there are exactly two networks.
        """
        if len(self.plan.networks) != 2:
            return []
        first, second = self.plan.networks
        ratios = []
        for cell in (result.cell for result in self.results if result.cell.kind == "training"):
            if cell.network != first:
                continue
            other = Cell("training", cell.way, cell.batch_size, second)
            floors = [self.floor_seconds(each) for each in (cell, other)]
            predicted = floors[1] / floors[0] if floors[0] and floors[1] else None
            times = [found.seconds if (found := self.result(each)) else () for each in (cell, other)]
            measured = statistics.median(b / a for a, b in zip(*times, strict=True)) if all(times) else None
            ratios.append((cell, predicted, measured))
        return ratios


def ways_of(device: torch.device) -> tuple[str, ...]:
    """The ways to train and to run inference of a kind of device; whether this one has them is found in the run."""
    executions = [each for each in EXECUTIONS if device.type == "cuda" or each.precision != "tf32"]
    return tuple(map(str, (*executions, *modes_of(device))))


def cells(plan: Plan) -> tuple[Cell, ...]:
    """Everything that a plan measures, in the order in which it is shown."""
    baselines = (NOTEBOOK,) if lacks("tf32", plan.device) else (NOTEBOOK, NOTEBOOK_TF32)
    found = []
    sections: tuple[tuple[Kind, tuple[int, ...], tuple[str, ...]], ...] = (
        ("training", plan.training_batch_sizes, plan.executions),
        ("inference", plan.batch_sizes, plan.modes),
    )
    for kind, batch_sizes, ways in sections:
        if ways:
            found += [
                Cell(kind, way, batch_size, network)
                for network in plan.networks
                for batch_size in batch_sizes
                for way in (*baselines, *ways)
            ]
    if plan.executions:
        batch_size = max(plan.training_batch_sizes)
        found += [Cell("data", way, batch_size) for pair in DATA_WAYS.items() for way in pair]
    return tuple(found)


def measure(plan: Plan, *, listen: Callable[[str], None]) -> Bench:
    """Measure every cell of a plan, once a round.

    Args:
        plan: What to measure.
        listen: Is told in a line what comes next.

    Returns:
        What was measured; a cell that cannot be measured says why.

    Raises:
        UserError: A worker ended by itself.
    """
    everything = cells(plan)
    samples: dict[Cell, list[Sample]] = {cell: [] for cell in everything}
    ceilings: list[Ceilings] = []
    with Workers(plan) as workers, Witness(plan.device) as witness:
        kept = workers["kept"]
        environment = kept.ask("environment")
        missing: dict[str, str] = kept.ask("unavailable")
        failures = {cell: missing[cell.way] for cell in everything if cell.way in missing}
        for number in range(plan.repeats):
            listen(f"round {number + 1} of {plan.repeats}: the device's ceilings")
            ceilings.append(kept.ask("ceilings"))
            for cell in everything if number % 2 == 0 else reversed(everything):
                if cell in failures:
                    continue
                listen(f"round {number + 1} of {plan.repeats}: {cell}")
                answer = workers[cell.process].ask("measure", cell)
                if isinstance(answer, Failure):
                    failures[cell] = answer.reason
                else:
                    samples[cell].append(answer)
        if plan.device.type == "cuda":
            workers.close()  # to the witness they would be strangers on the GPU; a processor's time it knows to be ours
    return Bench(
        plan=plan,
        environment=environment,
        device_name=device_name(plan.device),
        threads=kept.threads,
        keeps_freed_memory=kept.keeps_freed_memory,
        ceilings=highest(ceilings),
        results=tuple(_result(cell, samples[cell], failures.get(cell)) for cell in everything),
        witnessed=witness.record,
    )


def _result(cell: Cell, samples: list[Sample], failure: str | None) -> Result:
    if failure is not None:
        return Result(cell, failure=failure)
    first = samples[0]
    return Result(cell, first.images, tuple(sample.seconds for sample in samples), first.first_seconds)


def to_plain(bench: Bench) -> dict[str, Any]:
    """Everything that was measured, with what follows from it, as plain values."""
    return {
        "environment": bench.environment,
        "plan": asdict(bench.plan) | {"device": str(bench.plan.device)},
        "device_name": bench.device_name,
        "threads": bench.threads,
        "keeps_freed_memory": bench.keeps_freed_memory,
        "ceilings": {
            **asdict(bench.ceilings),
            "ridge_flops_per_byte": {
                name: bench.ceilings.ridge(name) for name in bench.ceilings.matrix_flops_per_second
            },
        },
        "results": [_plain_result(bench, result) for result in bench.results],
        "training_time_ratios": [
            {"way": cell.way, "batch_size": cell.batch_size, "roofline": predicted, "measured": measured}
            for cell, predicted, measured in bench.training_time_ratios()
        ],
        "witnessed": asdict(bench.witnessed),
        "exclusive": bench.witnessed.exclusive,
    }


def _plain_result(bench: Bench, result: Result) -> dict[str, Any]:
    lowest, median, highest_ = result.images_per_second or (None, None, None)
    work = bench.work(result.cell)
    return {
        **asdict(result.cell),
        "precision": result.cell.precision,
        "process": result.cell.process,
        "images": result.images,
        "seconds": list(result.seconds),
        "first_seconds": result.first_seconds,
        "images_per_second": median,
        "lowest_images_per_second": lowest,
        "highest_images_per_second": highest_,
        "ratio": bench.ratio(result),
        "batch_flops": work and work.flops,
        "batch_bytes": work and work.bytes,
        "floor_seconds": bench.floor_seconds(result.cell),
        "roofline_fraction": bench.roofline_fraction(result),
        "failure": result.failure,
    }
