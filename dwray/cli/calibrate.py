"""What a sweep would take: its trainings and timed passes measured on this device, and the arithmetic from there."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from dwray.core.calibration import MOST_AT_ONCE, Calibration, Network, TrainingKind, Work, calibrate
from dwray.core.checks import data_state, stand_in
from dwray.core.config import DataConfig, ProtocolConfig
from dwray.core.data import Images, Splits, load, split
from dwray.core.execution import resolve
from dwray.errors import SpecError
from dwray.search.estimate import (
    Measured,
    Overheads,
    Range,
    SetSizes,
    Slots,
    StageEstimate,
    estimate,
    gpus_per_trial,
    slots_of,
    timed_passes,
    total,
    trial_options,
)
from dwray.spec import AxisValue, SweepSpec

SPREAD = 0.2
"""A sweep's time is told no more narrowly than this to either side: machines drift, and so do their neighbours."""
START_WORKERS, STAGE_WORKERS, END_WORKERS = 6.5, 2.5, 3.5
"""What starting a sweep, starting the workers of a further stage, and writing the report take, as multiples of the
time that a process takes to start and import torch, so that they follow a machine that is slow or busy. In two runs of
digits on two cores they were 7.0, 2.3 to 2.8 and 4.4 (quiet), and 5.2, 4.1 and 3.1 (with much beside)."""
TRIAL_SECONDS = 0.1
"""Around a trial in a worker that is there."""
MOST_IMAGES = 10_000
"""So many images, or two of the largest batches, are enough to measure with."""


@dataclass(frozen=True)
class Planned:
    """A plan with its times."""

    stages: list[StageEstimate]
    slots: Slots
    devices: float
    """That the sweep holds while it runs."""
    device_kind: str
    """GPU or CPU."""
    price: float | None
    """Of a device-hour."""
    calibration: Calibration
    synthetic: bool
    """Random images were measured with."""
    notes: tuple[str, ...]

    @property
    def wall_seconds(self) -> Range:
        """Of the whole sweep."""
        return total(stage.wall_seconds for stage in self.stages)

    def amounts(self, wall_seconds: Range) -> dict[str, float | None]:
        """Time, device-hours and money, each with its unit and its end of the range in the name."""
        found: dict[str, float | None] = {}
        for end in ("low", "likely", "high"):
            seconds = getattr(wall_seconds, end)
            known = math.isfinite(seconds)
            hours = seconds / 3600 * self.devices
            found[f"wall_seconds_{end}"] = seconds if known else None
            found["device_hours_" + end] = hours if known else None
            found[f"money_{end}"] = hours * self.price if known and self.price is not None else None
        return found


def planned(spec: SweepSpec, slots: int | None, gpus: int | None, patience_seconds: float = math.inf) -> Planned:
    """Measure, and estimate.

    Args:
        spec: The sweep.
        slots: Trials side by side, at most; None is as many as fit on this machine.
        gpus: How many GPUs like this machine's there are; None is as many as it has.
        patience_seconds: The longest that measuring may take.

    Raises:
        SlowDeviceError: It takes longer.
        SpecError: A trial does not fit, or there is no GPU to measure on.
        DataError: The images are not there and their shape is not known, or they are not what they should be.
        RunError: Something could not be measured.
    """
    machine = _machine(spec, slots, gpus)
    state = data_state(spec.data)
    kinds = _Kinds(spec, stand_in(spec.data) if state.problem else spec.data, machine.device)
    calibration = calibrate(
        Work(
            _fewer(kinds.splits(spec.protocol), spec),
            str(machine.device),
            max(1, int(spec.resources.cpus_per_trial)),
            max(1, int(spec.resources.timing_cpus or machine.cpus)),
            tuple(dict.fromkeys(kinds.kind(*option) for option in trial_options(spec))),
            frozenset((machine.beside.search, machine.beside.train)),
            tuple(timed_passes(spec)),
            {name: Network(spec.network_of(name), spec.width_of(name)) for name in spec.networks},
        ),
        patience_seconds,
    )
    start = calibration.worker_start_seconds
    measured = Measured(
        lambda *option: calibration.trainings[machine.beside.search][kinds.kind(*option)],
        lambda *option: calibration.trainings[machine.beside.train][kinds.kind(*option)],
        calibration.passes,
        kinds.sizes,
        Overheads(START_WORKERS * start, STAGE_WORKERS * start, TRIAL_SECONDS, END_WORKERS * start),
    )
    on_gpu = machine.device.type == "cuda"
    found = Planned(
        estimate(spec, measured, machine.slots, spread=SPREAD, others_share=calibration.others_share),
        machine.slots,
        machine.devices,
        "GPU" if on_gpu else "CPU",
        spec.resources.price_per_gpu_hour if on_gpu else None,
        calibration,
        synthetic=state.problem is not None,
        notes=(),
    )
    return replace(found, notes=tuple(_notes(spec, found, state.where)))


@dataclass(frozen=True)
class _Machine:
    """What the sweep would run on."""

    device: torch.device
    """Of this machine, that is measured."""
    cpus: float
    """Of this machine."""
    slots: Slots
    beside: Slots
    """How many trials share the measured device."""
    devices: float
    """GPUs, or CPUs, that the sweep holds."""


def _machine(spec: SweepSpec, slots: int | None, gpus: int | None) -> _Machine:
    """This machine, or several like it, as a sweep would use it; see :func:`planned`."""
    here, cpus = float(torch.cuda.device_count()), float(len(os.sched_getaffinity(0)))
    if gpus and not here:
        raise SpecError("--gpus: there is no GPU here to measure on; plan where there is one, or say --no-calibrate")
    each = gpus_per_trial(spec.resources, here)
    if each and not here:
        raise SpecError("resources.gpus_per_trial: there is no GPU here to measure on; --no-calibrate counts without")
    # More GPUs than here are on machines like this one, and so are more slots.
    machines = max(1.0, gpus / here) if gpus else 1.0
    if slots and not gpus:
        found = Slots(slots, slots)
        devices = slots * (math.ceil(each) or spec.resources.cpus_per_trial)
    else:
        found = slots_of(spec.resources, cpus * machines, gpus or here)
        found = Slots(min(slots or found.search, found.search), min(slots or found.train, found.train))
        devices = (gpus or here) if each else cpus
    device = torch.device("cuda" if each else "cpu")
    return _Machine(device, cpus, found, _side_by_side(spec, found, each, cpus), float(devices))


class _Kinds:
    """The images of a sweep, and its trainings as far as their pace goes.

    Args:
        spec: The sweep.
        config: Its images, or random ones in their place.
        device: That trains.
    """

    def __init__(self, spec: SweepSpec, config: DataConfig, device: torch.device) -> None:
        self._spec, self._config, self._device = spec, config, device
        self._data = load(config)
        self._splits: dict[bool, Splits] = {}

    def splits(self, protocol: ProtocolConfig) -> Splits:
        """The sets of a protocol."""
        tuning = protocol.tune_on_test_set
        if tuning not in self._splits:
            self._splits[tuning] = split(self._data, self._config, tune_on_test_set=tuning)
        return self._splits[tuning]

    def sizes(self, protocol: ProtocolConfig) -> SetSizes:
        """How many images they have."""
        of = self.splits(protocol)
        return SetSizes(len(of.train), len(of.validation), len(of.test))

    def kind(
        self, contender: str, changes: Mapping[str, AxisValue], epochs: int, protocol: ProtocolConfig
    ) -> TrainingKind:
        """What is measured for a training: nothing of it is left to the device, and what costs nothing is left out."""
        training = replace(self._spec.training_of(contender, **changes), epochs=epochs)
        execution = resolve(training, self._device, self.sizes(protocol).train)
        settled = replace(
            training,
            epochs=1,
            initial_lr=1.0,
            lr_decay=1.0,
            precision=execution.precision,
            memory_format=execution.memory_format,
            compile=execution.compiled,
        )
        network, width = self._spec.network_of(contender), self._spec.width_of(contender)
        return TrainingKind(network, width, settled, protocol.notebook_loader)


def _side_by_side(spec: SweepSpec, slots: Slots, gpus_each: float, cpus: float) -> Slots:
    """How many trials share the device that is measured: a processor, or one GPU."""
    if gpus_each >= 1:
        return Slots(1, 1)
    if gpus_each > 0:
        return Slots(max(1, min(MOST_AT_ONCE, slots.search, math.floor(1 / gpus_each + 1e-9))), 1)
    fit = max(1, int(cpus // spec.resources.cpus_per_trial))
    return Slots(min(MOST_AT_ONCE, slots.search, fit), min(MOST_AT_ONCE, slots.train, fit))


def _fewer(splits: Splits, spec: SweepSpec) -> Splits:
    """The first images of each set: as many as are measured with."""
    sizes = [spec.training_of(name).batch_size for name in spec.networks]
    sizes += [int(value) for value in spec.search.axes.get("batch_size", [])]
    sizes += spec.timing.batch_sizes if spec.timing else []
    most = max(MOST_IMAGES, 2 * max(sizes))

    def first(images: Images) -> Images:
        return Images(images.pixels[:most], images.labels[:most])

    return replace(splits, train=first(splits.train), validation=first(splits.validation), test=first(splits.test))


def _notes(spec: SweepSpec, found: Planned, where: str) -> list[str]:
    """What a reader must know to make use of the numbers."""
    side = f"{found.slots.train} at a time" if found.slots.train > 1 else "one after the other"
    notes = [
        f"Measured in {found.calibration.seconds:.0f} s on this {found.device_kind}, {found.calibration.device_name}; "
        f"another will differ. Trials run {side}.",
        f"{found.device_kind}-hours: the time, for {found.devices:g} {found.device_kind}"
        f"{'s' if found.devices > 1 else ''} that the sweep holds.",
    ]
    if found.calibration.witnessed.exclusive is False:
        notes.insert(
            0,
            f"Not exclusive: {found.calibration.witnessed.disturbance}. The times follow the moment: alone, this "
            f"{found.device_kind} may take far less; end what else runs, and plan again.",
        )
    if found.synthetic:
        notes.append(f"{where}: not there; measured with random images of the same shape, nothing was downloaded.")
    if spec.search.axes and spec.search.passes is None:
        notes.append("The search goes on until a pass improves nothing: there is no upper end.")
    if spec.timing and any(mode.endswith("-compiled") for mode in spec.timing.modes):
        notes.append("Compiling for the timings was not tried: it is taken to be 6 to 43 s a network and batch size.")
    if spec.resources.price_per_gpu_hour is not None and found.price is None:
        notes.append("resources.price_per_gpu_hour: this sweep uses no GPU, so that it costs nothing by that price.")
    return notes
