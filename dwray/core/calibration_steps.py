"""A few steps and passes by the code that trials run, timed: what a process of a calibration does."""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import fmean

import torch
from torch import nn

from dwray.core.batches import ImageSet, Normalize, ResidentImages, as_tensor
from dwray.core.calibration import Network, PassCost, TimedPass, TrainingCost, TrainingKind
from dwray.core.config import MEMORY_FORMATS, PLAIN_MODE
from dwray.core.data import Images, Splits
from dwray.core.environment import device_name
from dwray.core.execution import lay_out_network
from dwray.core.inference import Batches, PassRecord, batches_of, network_alone, time_passes, with_loader
from dwray.core.modes import MODES, prepare, unavailable
from dwray.core.networks import build
from dwray.core.notebook_loader import NotebookImages
from dwray.core.precision import full_float32
from dwray.core.testtime import untrained
from dwray.core.training import EpochRecord, fit, start

STRETCHES = 4
"""A training is measured in so many stretches after the warm-up."""
LEAST_PASSES = 2
"""Timed passes of each network; :func:`~dwray.core.inference.time_passes` warms up by itself."""
PASS_SECONDS = 0.01
"""A timed pass is about so long: of many short ones some are quick even on a device that others use, too."""
LEAST_BATCHES, MOST_BATCHES = 2, 200
"""Of a stretch."""
SMALL_BATCH = 8
"""Images of a first try."""
LEARNING_RATE = 0.001
"""Nothing must diverge while it is timed."""
CHECK_IMAGES = 32
"""Images on which a mode's outputs are held against float32's, and from which batch norm has its statistics."""


class Measurer:
    """Measures on one device.

    Args:
        device: As torch names it.
    """

    def __init__(self, device: str) -> None:
        full_float32()
        self.device = torch.device(device)
        torch.zeros(1, device=self.device)

    def name(self) -> str:
        """Which device it is."""
        return device_name(self.device)

    def gpu_uuid(self) -> str | None:
        """Of the GPU, without NVML's prefix; None of a processor."""
        return str(torch.cuda.get_device_properties(self.device).uuid) if self.device.type == "cuda" else None

    def begin(self, splits: Splits) -> str:
        """Take the images."""
        self.splits = splits
        self.untrained: dict[str, nn.Module] = {}
        return self.name()

    def _network(self, network: str, width: float) -> nn.Module:
        splits = self.splits
        channels = splits.train.pixels.shape[3]
        return build(network, classes=len(splits.classes), width=width, channels=channels, seed=0).to(self.device)

    def _images(self, images: Images, count: int, *, notebook_loader: bool) -> ImageSet:
        """The first so many images of a set, or as many as there are."""
        mean, std = self.splits.mean, self.splits.std
        first = Images(images.pixels[:count], images.labels[:count])
        if notebook_loader:
            return NotebookImages(first, mean, std, self.device)
        return ResidentImages(first, Normalize(mean, std, self.device), self.device)

    def train(self, kinds: tuple[TrainingKind, ...], threads: int, seconds: float) -> dict[TrainingKind, TrainingCost]:
        """Measure trainings, one after the other.

        Args:
            kinds: In this order.
            threads: CPU threads of each.
            seconds: To be spent on each, about; a stretch is two steps at least.
        """
        torch.set_num_threads(threads)
        return {kind: self._train(kind, seconds / (STRETCHES + 1)) for kind in kinds}

    def _train(self, kind: TrainingKind, stretch_seconds: float) -> TrainingCost:
        training, splits = kind.training, self.splits
        state = start(self._network(kind.network, kind.width), training)
        config = replace(training, epochs=10**9, initial_lr=LEARNING_RATE, lr_decay=1.0)

        def epoch(batches: int) -> EpochRecord:
            """An epoch of so many batches, and the scoring of as many images."""
            count = batches * config.batch_size
            train = self._images(splits.train, count, notebook_loader=kind.notebook_loader)
            validation = self._images(splits.validation, count, notebook_loader=kind.notebook_loader)
            return next(fit(state, train, validation, config, seed=0))

        def try_out(batch_size: int) -> float:
            nonlocal config
            config = replace(config, batch_size=batch_size)
            record = epoch(1)
            return record.train_seconds + record.validation_seconds

        config = replace(config, compile=False)
        batch_size = fitting_batch(training.batch_size, stretch_seconds / LEAST_BATCHES, try_out)
        config, state.execution = replace(config, batch_size=batch_size, compile=training.compile), None
        first = epoch(1)  # compiles, and chooses kernels
        single = epoch(1)
        most = max(1, min(MOST_BATCHES, len(splits.train) // config.batch_size))
        fitting = int(stretch_seconds / (single.train_seconds + single.validation_seconds))
        batches = min(most, max(LEAST_BATCHES, fitting))
        records = [epoch(batches) for _ in range(STRETCHES)]
        loader = 0.0
        if kind.notebook_loader and batches > 1:
            # A stretch is the loader's start and its batches; a single batch is the start and one batch.
            each = (fmean(record.train_seconds for record in records) - single.train_seconds) / (batches - 1)
            loader = max(0.0, single.train_seconds - each)
        scored = min(len(splits.validation), batches * config.batch_size)
        scale = training.batch_size / config.batch_size
        step_seconds = tuple(scale * _rest(record.train_seconds, loader) / batches for record in records)
        return TrainingCost(
            step_seconds,
            tuple(_rest(record.validation_seconds, loader) / scored for record in records),
            loader,
            max(0.0, first.train_seconds - single.train_seconds) if training.compile is True else 0.0,
        )

    def time(
        self, kind: TimedPass, contenders: Mapping[str, Network], threads: int, seconds: float
    ) -> dict[str, PassCost]:
        """Measure the timed passes of a kind.

        Args:
            kind: Which; nothing is measured where the device lacks its mode.
            contenders: The networks, untrained, by their names.
            threads: CPU threads.
            seconds: To be spent on each network, about; a pass is a batch at least, and there are two at least.
        """
        torch.set_num_threads(threads)
        mode = MODES[kind.mode]
        if unavailable(mode, self.device):
            return {}
        images, classes = self.splits.train, len(self.splits.classes)
        normalize = Normalize(self.splits.mean, self.splits.std, self.device)
        check = normalize(as_tensor(images.pixels[:CHECK_IMAGES]).to(self.device))
        for name, each in contenders.items():
            if name not in self.untrained:
                network = untrained(each.network, classes=classes, width=each.width, images=check)
                self.untrained[name] = lay_out_network(network, MEMORY_FORMATS[0])
        networks = dict(self.untrained)
        if str(mode) != PLAIN_MODE:
            networks = prepare(networks, mode, check)

        def passes(batch_size: int, batches: int, least: int, seconds: float) -> dict[str, list[PassRecord]]:
            """As many passes as fit into so many seconds, at least so many of each network."""
            few = Images(images.pixels[: batches * batch_size], images.labels[: batches * batch_size])
            records = time_passes(
                networks,
                self._batches(replace(kind, batch_size=batch_size), few, normalize, mode.dtype),
                device=self.device,
                passes=sys.maxsize,
                warmup_batches=1,
                batch_statistics=kind.batch_statistics,
                read_each_batch=kind.notebook_loader,
            )
            by_network: dict[str, list[PassRecord]] = {name: [] for name in networks}
            while min(map(len, by_network.values())) < least or seconds > 0:
                record = next(records)
                by_network[record.network].append(record)
                seconds -= record.seconds
            return by_network

        def slowest(of: Mapping[str, list[PassRecord]]) -> float:
            return max(records[-1].seconds for records in of.values())

        share = seconds / 4  # for a batch that fits, for a single one, and twice for what is measured
        batch_size = fitting_batch(kind.batch_size, share, lambda size: slowest(passes(size, 1, 1, 0)))
        single = passes(batch_size, 1, 1, 0)
        most = max(1, min(MOST_BATCHES, len(images) // batch_size))
        pass_seconds = share if kind.notebook_loader else PASS_SECONDS  # a loader's start must not outweigh its batches
        batches = min(most, max(1, math.ceil(pass_seconds / slowest(single))))
        costs = {}
        for name, records in passes(batch_size, batches, LEAST_PASSES, 2 * share * len(networks)).items():
            loader = 0.0
            if kind.notebook_loader and batches > 1:
                one = single[name][0].seconds
                batch_seconds = (fmean(record.seconds for record in records) - one) / (batches - 1)
                loader = max(0.0, one - batch_seconds)
            costs[name] = PassCost(tuple(_rest(record.seconds, loader) / record.images for record in records), loader)
        return costs

    def _batches(self, kind: TimedPass, images: Images, normalize: Normalize, dtype: torch.dtype) -> Batches:
        if kind.notebook_loader:
            loader = self._images(images, len(images), notebook_loader=True)
            return batches_of(loader, kind.batch_size)
        if kind.loader:
            return with_loader(images, normalize, kind.batch_size, self.device)
        return network_alone(images, normalize, kind.batch_size, self.device, dtype)


def fitting_batch(wanted: int, seconds: float, try_out: Callable[[int], float]) -> int:
    """The batch size to measure with: the one that is wanted, or a smaller one where a batch takes too long.

    What is measured then is taken to cost as much an image: in full width, a processor may take minutes for a step.

    Args:
        wanted: Images a batch.
        seconds: That a batch may take.
        try_out: Runs a batch of so many images, and returns its seconds.
    """
    size = min(wanted, SMALL_BATCH)
    an_image = try_out(size) / size  # to warm up
    while size < wanted:
        # The least of an image that was seen: one try may fall into a moment at which the device is another's.
        an_image = min(an_image, try_out(size) / size)
        if 2 * size * an_image > seconds:
            break
        size = min(wanted, 2 * size)
    return size


def _rest(seconds: float, loader: float) -> float:
    """What is left of a stretch without the loader's start: some of it always."""
    return max(seconds - loader, 0.1 * seconds)
