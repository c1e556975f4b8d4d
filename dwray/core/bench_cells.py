"""How each cell of a benchmark is prepared and timed, in the process that measures it.

Images are random, uint8 and normalised; what a convolution costs does not depend on them. They are never zero: a GPU
draws less power on zeros, and computes faster for it.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dwray.core.batches import ImageSet, Normalize, ResidentImages, as_tensor, epoch_generator
from dwray.core.bench import (
    CHANNELS,
    CROP_AND_FLIP,
    DATA_WAYS,
    EXECUTION_NAMES,
    NOTEBOOK_TF32,
    Cell,
    Failure,
    Plan,
    Sample,
)
from dwray.core.ceilings import Ceilings, measure_ceilings
from dwray.core.clock import Stopwatch
from dwray.core.complexity import FLOAT32_BYTES, complexity
from dwray.core.config import TrainingConfig
from dwray.core.data import Images
from dwray.core.environment import environment
from dwray.core.execution import Execution
from dwray.core.execution import unavailable as execution_unavailable
from dwray.core.modes import MODES, TOLERANCES, Mode, output_error, prepare, unavailable
from dwray.core.networks import build
from dwray.core.notebook_loop import in_nchw, notebook_epoch
from dwray.core.precision import full_float32, tf32
from dwray.core.testtime import CHECK_IMAGES, activation_bytes, free_bytes, untrained
from dwray.core.training import fit, start
from dwray.errors import one_line

SEED = 0
LEARNING_RATE, WEIGHT_DECAY = 0.001, 0.0005
"""Labels are random: nothing is learned, and nothing must diverge."""
TRAINING_MEMORY = 2
"""A training step takes about this many times the activations that it keeps for its backward pass."""
CEILING_SECONDS = 1.0
STRETCH_SECONDS = 0.2
"""Forward passes are timed in a row that takes this long at least."""
CROP_PADDING = 4
RESIDENT_PASSES = 10
"""The resident images are gone through so often in one measurement: one pass takes too little time."""
UNIFORM_MEAN = (0.5,) * CHANNELS
UNIFORM_STD = (math.sqrt((256**2 - 1) / 12) / 255,) * CHANNELS
"""Of whole numbers that are 0 to 255 equally often, in units of 0 to 1."""


@dataclass(frozen=True)
class Prepared:
    """A cell that is ready to be timed."""

    images: int
    """In one measurement."""
    measure: Callable[[], float]
    """Measures once, in seconds."""
    first_seconds: float | None = None
    """Of preparing, compiling and warming up; None where there is none of it."""


class Cells:
    """Measures the cells of a plan; each is prepared when it is first asked for.

    Args:
        plan: Its device is taken, and its threads.
    """

    def __init__(self, plan: Plan) -> None:
        if plan.threads:
            torch.set_num_threads(plan.threads)
        if plan.device.type == "cuda":
            torch.cuda.set_device(plan.device)  # events and the check for bfloat16 are of the current GPU
        full_float32()
        self.threads = torch.get_num_threads()
        self._plan = plan
        self._prepared: dict[Cell, Prepared] = {}
        self._sets: dict[int, ResidentImages] = {}
        self._references: dict[str, nn.Module] = {}
        self._modules: dict[tuple[str, str], nn.Module] = {}

    def environment(self) -> dict[str, Any]:
        """Versions, machine and commit, and whether float32 is TF32 here."""
        return environment()

    def unavailable(self) -> dict[str, str]:
        """The plan's executions and modes that the device does not have, and why."""
        device = self._plan.device
        reasons = {name: execution_unavailable(EXECUTION_NAMES[name], device) for name in self._plan.executions}
        reasons |= {name: unavailable(MODES[name], device) for name in self._plan.modes}
        return {name: reason for name, reason in reasons.items() if reason}

    def ceilings(self) -> Ceilings:
        """The device's, measured now."""
        return measure_ceilings(self._plan.device, CEILING_SECONDS)

    def measure(self, cell: Cell) -> Sample | Failure:
        """Measure a cell once."""
        first_seconds = None
        try:
            if cell not in self._prepared:
                prepare_kind = {"training": self._training, "inference": self._inference, "data": self._data}
                self._prepared[cell] = prepare_kind[cell.kind](cell)
                first_seconds = self._prepared[cell].first_seconds
            return Sample(self._prepared[cell].images, self._prepared[cell].measure(), first_seconds)
        except torch.OutOfMemoryError:
            self._prepared.pop(cell, None)
            torch.cuda.empty_cache()
            return Failure("the GPU's memory is full")
        except Exception as error:  # torch and its compilers raise all kinds, and the other cells must be measured
            self._prepared.pop(cell, None)
            return Failure(one_line(error))

    # Training

    def _training(self, cell: Cell) -> Prepared:
        plan = self._plan
        shape = (CHANNELS, plan.size, plan.size)
        network = complexity(str(cell.network), classes=plan.classes, width=plan.width, image_shape=shape)
        _must_fit(TRAINING_MEMORY * FLOAT32_BYTES * network.saved_elements * cell.batch_size, plan.device)
        images = max(1, plan.images // cell.batch_size) * cell.batch_size
        how = cell.settings
        return self._dwray(cell, how, images) if isinstance(how, Execution) else self._notebook(cell, images)

    def _dwray(self, cell: Cell, execution: Execution, images: int) -> Prepared:
        config = TrainingConfig(
            epochs=3 if execution.compiled and self._on_gpu else 1,  # CUDA graphs are captured in the second step
            batch_size=cell.batch_size,
            initial_lr=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            precision=execution.precision,
            memory_format=execution.memory_format,
            compile=execution.compiled,
        )
        train, first, validation = (self._resident(count) for count in (images, cell.batch_size, 2))
        state = start(self._network(cell), config)
        watch = Stopwatch(self._plan.device)
        list(fit(state, first, validation, config, seed=SEED))
        first_seconds, _ = watch.stop()
        longer = replace(config, epochs=config.epochs + self._plan.repeats)
        records = fit(state, train, validation, longer, seed=SEED)

        def epoch() -> float:
            record = next(records)
            if record.diverged:
                raise RuntimeError("the training diverged")
            return record.train_seconds

        return Prepared(images, epoch, first_seconds)

    def _notebook(self, cell: Cell, images: int) -> Prepared:
        config = TrainingConfig(batch_size=cell.batch_size, initial_lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        network = in_nchw(self._network(cell))
        epochs = count()

        def epoch(train: ImageSet) -> float:
            with tf32(allowed=cell.way == NOTEBOOK_TF32):
                watch = Stopwatch(self._plan.device)
                notebook_epoch(network, train, config, epoch=next(epochs), seed=SEED)
                return watch.stop()[0]

        first_seconds = epoch(self._by_notebook(cell.batch_size))
        everything = self._by_notebook(images)
        return Prepared(images, lambda: epoch(everything), first_seconds)

    def _network(self, cell: Cell) -> nn.Module:
        plan = self._plan
        network = build(str(cell.network), classes=plan.classes, width=plan.width, channels=CHANNELS, seed=SEED)
        return network.to(plan.device)

    # Inference

    def _inference(self, cell: Cell) -> Prepared:
        mode = cell.settings
        check_images = self._inputs(CHECK_IMAGES)
        reference = self._reference(str(cell.network), check_images)
        _must_fit(activation_bytes(reference, check_images[:1]) * cell.batch_size, self._plan.device)
        inputs = self._inputs(cell.batch_size)
        inputs = inputs.to(mode.dtype) if isinstance(mode, Mode) else inputs.contiguous()
        watch = Stopwatch(self._plan.device)
        module = self._module(cell, reference, check_images)

        def seconds(passes: int) -> float:
            with torch.no_grad(), tf32(allowed=cell.way == NOTEBOOK_TF32):
                watch = Stopwatch(inputs.device)
                for _ in range(passes):
                    module(inputs)
                return watch.stop()[0] / passes

        once = seconds(1)
        first_seconds, _ = watch.stop()
        if once < STRETCH_SECONDS:
            once = seconds(1)  # the first one also warmed up
        passes = math.ceil(STRETCH_SECONDS / once)

        def stretch() -> float:
            if passes > 1:
                seconds(1)  # others have used the device since the last time
            return seconds(passes)

        return Prepared(cell.batch_size, stretch, first_seconds)

    def _reference(self, name: str, check_images: Tensor) -> nn.Module:
        """The network in evaluation mode, float32 and channels_last, that all ways of running it start from."""
        if name not in self._references:
            plan = self._plan
            self._references[name] = untrained(name, classes=plan.classes, width=plan.width, images=check_images)
        return self._references[name]

    def _module(self, cell: Cell, reference: nn.Module, check_images: Tensor) -> nn.Module:
        """The network as a cell runs it; it computes what the reference does."""
        key = (str(cell.network), cell.way)
        if key not in self._modules:
            if isinstance(cell.settings, Mode):
                (module,) = prepare({key[0]: reference}, cell.settings, check_images, forget=False).values()
            else:
                module = in_nchw(copy.deepcopy(reference))
                error = output_error(module, reference, check_images, torch.float32)
                if not error <= TOLERANCES["float32"]:
                    raise RuntimeError(f"its outputs in NCHW are off by {error:.2g} of their spread")
            self._modules[key] = module
        return self._modules[key]

    def _inputs(self, images: int) -> Tensor:
        """Normalised images (images, C, H, W) float32 in channels_last, on the device."""
        pixels = as_tensor(self._random(images).pixels)
        return self._normalize(pixels.to(self._plan.device))

    # The data path

    def _data(self, cell: Cell) -> Prepared:
        images = self._plan.data_images
        by_notebook = cell.way in DATA_WAYS
        made = self._by_notebook(images) if by_notebook else self._resident(images)
        passes = 1 if by_notebook else RESIDENT_PASSES
        augmented = cell.way.endswith(CROP_AND_FLIP)

        def go_through() -> float:
            watch = Stopwatch(self._plan.device)
            for number in range(passes):
                order = epoch_generator(SEED, number)
                padding = CROP_PADDING if augmented else 0
                for _ in made.shuffled(cell.batch_size, order, crop_padding=padding, flip=augmented):
                    pass
            return watch.stop()[0]

        return Prepared(passes * images, go_through)

    @property
    def _on_gpu(self) -> bool:
        return self._plan.device.type == "cuda"

    @property
    def _normalize(self) -> Normalize:
        return Normalize(UNIFORM_MEAN, UNIFORM_STD, self._plan.device)

    def _random(self, images: int) -> Images:
        return random_images(images, self._plan.size, self._plan.classes)

    def _resident(self, images: int) -> ResidentImages:
        if images not in self._sets:
            self._sets[images] = ResidentImages(self._random(images), self._normalize, self._plan.device)
        return self._sets[images]

    def _by_notebook(self, images: int) -> ImageSet:
        try:
            import torchvision  # noqa: F401 (which itself needs PIL)

            from dwray.core.notebook_loader import NotebookImages
        except ImportError as error:
            missing = (error.name or "torchvision").partition(".")[0]
            raise RuntimeError(f"{missing} is not installed") from error
        return NotebookImages(self._random(images), UNIFORM_MEAN, UNIFORM_STD, self._plan.device)


@cache
def random_images(images: int, size: int, classes: int) -> Images:
    """RGB images (images, size, size, 3) of random pixels, with random labels, the same in every call."""
    random = np.random.default_rng(SEED)
    pixels = random.integers(0, 256, (images, size, size, CHANNELS), np.uint8)
    return Images(pixels, random.integers(0, classes, images))


def _must_fit(needed: int, device: torch.device) -> None:
    """Hold what a cell needs by estimate against the memory that is free.

    Raises:
        MemoryError: It is more.
    """
    free = free_bytes(device)
    if free is not None and needed > free:
        raise MemoryError(f"needs about {needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free")
