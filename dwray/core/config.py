"""The core's settings: plain frozen dataclasses that need neither torch nor pydantic.

The same classes are the sections of a sweep file (``dwray.spec`` validates them with pydantic, which takes the types
from here), so a setting has one name, one default and one description.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from dwray.core.registry import Registry
from dwray.core.seeds import SEEDS

PYDANTIC_CONFIG: Mapping[str, Any] = {"extra": "forbid", "use_attribute_docstrings": True}
"""What pydantic, if it is there, is told: an unknown key is an error, and a docstring describes its field."""


class FieldError(ValueError):
    """A setting outside its range; ``field`` is its name."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def in_yaml(value: object) -> str:
    """A value as a sweep file says it: true, null; a number or a text as it is."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(in_yaml, value))}]"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _require(ok: bool, field: str, problem: str) -> None:
    if not ok:
        raise FieldError(field, problem)


def _require_at_least(lowest: int, **fields: int | None) -> None:
    for name, value in fields.items():
        _require(value is None or value >= lowest, name, f"must be at least {lowest}, not {value}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, and how they are split.

    The section ``data`` of a sweep file, with the same names and defaults.

    Args:
        source: Key of ``DATASETS``; by default ``digits``, which needs no download.
        root: Folder of the data (parquet, image_folder), or where downloads are kept (CIFAR); by default None, for
            CIFAR ``~/.cache/dwray``.
        mirror: Base URL of CIFAR's archive, instead of its home page; by default None.
        image_column: Parquet's column of encoded images; by default None, the only one of its type.
        label_column: Parquet's column of labels; by default None, the only one that its metadata call a ClassLabel.
        image_size: Pixels a side, at least 8, that images are resized to (parquet, image_folder) or made with
            (synthetic); by default None, as they are.
        classes: Number of classes of synthetic data, at least 2; by default None.
        max_train_images: Number of training images that are kept, stratified by class and seeded; by default None, all.
        max_test_images: The same of the test images; by default None.
        validation_fraction: Share of the training images that are held out for validation, between 0 and 1; by default
            0.1.
        split_seed: Seed of the subset and of the validation split, 0 to 4294967295; by default 0.

    Raises:
        FieldError: A value is out of its range.

    Source: section 4.1 of the paper (CIFAR-10 and CIFAR-100). Its notebooks hold nothing out (``tune_on_test_set``).

    Example:
        >>> import dwray
        >>> config = dwray.DataConfig(source="digits", max_train_images=200)
        >>> splits = dwray.load_splits(config)
        >>> len(splits.train) + len(splits.validation)
        200
        >>> dwray.DataConfig(validation_fraction=2)
        Traceback (most recent call last):
        ...
        dwray.core.config.FieldError: validation_fraction: must lie between 0 and 1, not 2
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = PYDANTIC_CONFIG

    source: str = "digits"
    """Entry of the DATASETS registry: cifar10, cifar100, parquet, image_folder, digits or synthetic."""
    root: str | None = None
    """Folder of the data (parquet, image_folder), or where downloads are kept (CIFAR; default ~/.cache/dwray)."""
    mirror: str | None = None
    """Base URL (or file:// URL) to fetch CIFAR's archive from instead of its home page."""
    image_column: str | None = None
    """Parquet: the column of encoded images; found by its type where there is only one."""
    label_column: str | None = None
    """Parquet: the column of labels; found by its ClassLabel metadata where there is only one."""
    image_size: int | None = None
    """Resize to this many pixels a side (parquet, image_folder); the size of synthetic images."""
    classes: int | None = None
    """Number of classes of synthetic data."""
    max_train_images: int | None = None
    """Keep a stratified, seeded subset of the training images; the number of synthetic ones."""
    max_test_images: int | None = None
    """Keep a stratified, seeded subset of the test images; the number of synthetic ones."""
    validation_fraction: float = 0.1
    """Share of the training images held out for validation, stratified by class."""
    split_seed: int = 0
    """Seed of the subset and of the validation split; the same for every trial and seed of a sweep."""

    def __post_init__(self) -> None:
        _require(
            0 < self.validation_fraction < 1,
            "validation_fraction",
            f"must lie between 0 and 1, not {self.validation_fraction}",
        )
        _require(
            self.mirror is None or "@" not in self.mirror.split("://", 1)[-1].split("/", 1)[0],
            "mirror",
            "must not hold a password: it is written into the run's records",
        )
        _require_at_least(8, image_size=self.image_size)
        _require_at_least(2, classes=self.classes)
        _require_at_least(1, max_train_images=self.max_train_images, max_test_images=self.max_test_images)
        _require(
            0 <= self.split_seed < SEEDS, "split_seed", f"must lie between 0 and {SEEDS - 1}, not {self.split_seed}"
        )


PRECISIONS = ("float32", "tf32", "bfloat16")
"""Arithmetic of convolutions and matrix products: full float32; factors rounded to TF32 (NVIDIA GPUs from Ampere on);
bfloat16, with normalisation and loss in float32 where a network is trained."""
MEMORY_FORMATS = ("channels_last", "contiguous")
"""Layout of images and weights: NHWC, or torch's default NCHW."""
VARIANTS = ("eager", "folded", "compiled", "cuda-graph")
"""Ways to run a network at test time; see ``core.modes``."""
MODE_NAMES = tuple(f"{precision}-{variant}" for precision in PRECISIONS for variant in VARIANTS)
"""Every mode of a timed pass; not every device has all of them."""
PLAIN_MODE = "float32-eager"
"""The mode of the paper's test times."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training: SGD with Nesterov momentum, ``lr = initial_lr * lr_decay ** epoch`` (epoch from 0).

    The section ``training`` of a sweep file, with the same names and defaults.

    Args:
        epochs: Passes over the training images; by default 10.
        batch_size: Images per step, at least 2; by default 256.
        initial_lr: Learning rate of the first epoch, above 0; by default 0.0125.
        lr_decay: Factor on the learning rate after each epoch, above 0 and at most 1; by default 0.95.
        weight_decay: L2 coefficient on every parameter, at least 0; by default 0.0.
        momentum: Momentum of SGD, at least 0 and below 1; by default 0.9.
        nesterov: Whether it is Nesterov's form of momentum; by default True.
        crop_padding: Black pixels a side around the image that random crops are taken from; by default 0, no crops.
        flip: Whether half of the images are mirrored left to right; by default False.
        precision: ``float32``, ``tf32`` or ``bfloat16`` (autocast); by default ``auto``, bfloat16 on a GPU that
            computes in it and else float32.
        memory_format: ``channels_last`` or ``contiguous``; by default ``auto``, channels_last.
        compile: Whether torch.compile is used; by default ``auto``, on a GPU if the training is long enough to earn
            its cost back.

    Raises:
        FieldError: A value is out of its range.

    Source: section 4.1 of the paper (stochastic gradient descent with weight decay and learning rate decay); its
    notebooks for the momentum.

    Example:
        >>> import dwray
        >>> config = dwray.TrainingConfig(epochs=3, batch_size=64, initial_lr=0.05, lr_decay=0.5)
        >>> [config.initial_lr * config.lr_decay**epoch for epoch in range(config.epochs)]
        [0.05, 0.025, 0.0125]
        >>> dwray.TrainingConfig(lr_decay=2)
        Traceback (most recent call last):
        ...
        dwray.core.config.FieldError: lr_decay: must be above 0 and at most 1, not 2
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = PYDANTIC_CONFIG

    epochs: int = 10
    """Passes over the training images."""
    batch_size: int = 256
    """Images per step; a last, smaller batch is kept."""
    initial_lr: float = 0.0125
    """Learning rate of the first epoch."""
    lr_decay: float = 0.95
    """Factor on the learning rate after each epoch."""
    weight_decay: float = 0.0
    """L2 coefficient, on every parameter (torch.optim.SGD's weight_decay)."""
    momentum: float = 0.9
    """Momentum of SGD."""
    nesterov: bool = True
    """Nesterov's form of momentum."""
    crop_padding: int = 0
    """Augmentation: random crops out of the image padded with this many black pixels a side; 0 is none."""
    flip: bool = False
    """Augmentation: mirror half of the images left to right."""
    precision: str = "auto"
    """float32, tf32 or bfloat16 (autocast); auto: bfloat16 on a GPU that computes in it, else float32."""
    memory_format: str = "auto"
    """channels_last or contiguous; auto: channels_last."""
    compile: bool | str = "auto"
    """Whether to train by torch.compile; auto: on a GPU, if the training is long enough to earn its cost back."""

    def __post_init__(self) -> None:
        for name, known in (("precision", PRECISIONS), ("memory_format", MEMORY_FORMATS)):
            value = getattr(self, name)
            _require(value in ("auto", *known), name, f"knows {', '.join(('auto', *known))}, not {value!r}")
        known_compile = isinstance(self.compile, bool) or self.compile == "auto"
        _require(known_compile, "compile", f"knows auto, true, false, not {self.compile!r}")
        _require_at_least(1, epochs=self.epochs)
        _require_at_least(2, batch_size=self.batch_size)  # batch norm has no variance over one image
        _require_at_least(0, crop_padding=self.crop_padding)
        _require(
            self.initial_lr > 0 and math.isfinite(self.initial_lr),
            "initial_lr",
            f"must be above 0, not {self.initial_lr}",
        )
        _require(0 < self.lr_decay <= 1, "lr_decay", f"must be above 0 and at most 1, not {self.lr_decay}")
        _require(
            self.weight_decay >= 0 and math.isfinite(self.weight_decay),
            "weight_decay",
            f"must not be negative, not {self.weight_decay}",
        )
        _require(0 <= self.momentum < 1, "momentum", f"must be at least 0 and below 1, not {self.momentum}")
        _require(
            not self.nesterov or self.momentum > 0,
            "nesterov",
            "needs a momentum above 0; set nesterov: false",
        )


NOTEBOOK_EXECUTION: Mapping[str, Any] = {"precision": "float32", "memory_format": "contiguous", "compile": False}
"""How the notebooks computed, as settings of a training."""


def as_the_notebooks(training: TrainingConfig) -> TrainingConfig:
    """A training that computes as the notebooks did, where it left that open.

    Raises:
        FieldError: It asks for something else.
    """
    for name, value in NOTEBOOK_EXECUTION.items():
        asked = getattr(training, name)
        _require(
            asked in ("auto", value), name, f"must be {in_yaml(value)} under protocol: paper, not {in_yaml(asked)}"
        )
    return replace(training, **NOTEBOOK_EXECUTION)


@dataclass(frozen=True, kw_only=True)
class ProtocolConfig:
    """How the experiment is done: every flaw of the paper's notebooks is a switch, mended by default."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = PYDANTIC_CONFIG

    base: str = "corrected"
    """Entry of PROTOCOLS that gives every switch its value, unless it is set beside it."""
    momentum_reset_each_epoch: bool = False
    """The optimizer is made anew every epoch, so that its momentum starts from zero."""
    tune_on_test_set: bool = False
    """The test set is the validation set too, and nothing is held out of the training set."""
    normalisation: str = "dataset"
    """Mean and standard deviation of each channel: the ``dataset``'s own, or those of ``imagenet``."""
    notebook_loader: bool = False
    """Batches are made as the notebooks made them: image by image in two worker processes, laid out NCHW; and a timed
    pass waits for the answer to each (``.item()``)."""
    validation_loss_over_batches_minus_one: bool = False
    """The validation loss is the sum of the batches' means over their number less one."""
    batch_statistics_at_test: bool = False
    """Batch norm stays in training mode for the test accuracy and for the timed passes."""
    loader_in_test_time: bool = False
    """The test time that counts has the making of the batches in it; both kinds are measured (``timing.loader``)."""

    def __post_init__(self) -> None:
        _require(self.base in ("corrected", "paper"), "base", f"knows corrected and paper, not {self.base!r}")
        _require(
            self.normalisation in ("dataset", "imagenet"),
            "normalisation",
            f"knows dataset and imagenet, not {self.normalisation!r}",
        )

    @property
    def turned(self) -> tuple[str, ...]:
        """The switches whose value is not the base's."""
        base = PROTOCOLS[self.base]
        return tuple(name for name in SWITCHES if getattr(self, name) != getattr(base, name))

    def __str__(self) -> str:
        """The base, and what differs from it."""
        settings = [f"{name}: {in_yaml(getattr(self, name))}" for name in self.turned]
        return self.base + (f" with {', '.join(settings)}" if settings else "")

    def turn(self, *switches: str) -> "ProtocolConfig":
        """This protocol with switches at their other values: the paper's, or the corrected one where it has that."""
        values = {switch: {getattr(protocol, switch) for protocol in PROTOCOLS.values()} for switch in switches}
        return replace(self, **{switch: (values[switch] - {getattr(self, switch)}).pop() for switch in switches})


def switches_of(erratum: str) -> tuple[str, ...]:
    """The switches that an erratum turns: its name, or the names that it joins with ``+``."""
    return tuple(name.strip() for name in erratum.split("+"))


SWITCHES = tuple(field.name for field in fields(ProtocolConfig) if field.name != "base")
"""Every flaw that can be switched, in the order of the experiment."""

TRAINING_SWITCHES = SWITCHES[:5]
"""Those that change a training or what is written down of it; the others change the test alone."""

PROTOCOLS: Registry[ProtocolConfig] = Registry(
    """How the experiment can be done, by the names that a sweep file's ``protocol`` and ``fit`` know.

    ``paper`` is what the notebooks that the paper cites really did, with every switch on that they call for;
    ``corrected`` has each flaw mended. ``turn`` gives either with a switch at its other value.

    Source: the notebooks that the paper cites; ``docs/protocols.md`` says of each flaw what it changes.

    Example:
        >>> import dwray
        >>> list(dwray.PROTOCOLS)
        ['corrected', 'paper']
        >>> dwray.PROTOCOLS["paper"].tune_on_test_set
        True
        >>> print(dwray.PROTOCOLS["corrected"].turn("tune_on_test_set"))
        corrected with tune_on_test_set: true
    """,
    {
        "corrected": ProtocolConfig(),
        "paper": ProtocolConfig(
            base="paper",
            momentum_reset_each_epoch=True,
            tune_on_test_set=True,
            normalisation="imagenet",
            notebook_loader=True,
            validation_loss_over_batches_minus_one=True,
            batch_statistics_at_test=True,
            loader_in_test_time=True,
        ),
    },
)
"""``paper``: what the notebooks that the paper cites really did; ``corrected``: each flaw mended."""


@dataclass(frozen=True, kw_only=True)
class TimingConfig:
    """The test-time protocol (paper, section 4.3): whole passes over a set, timed after a warm-up."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = PYDANTIC_CONFIG

    batch_sizes: tuple[int, ...] = (256, 4)
    """Images per forward pass."""
    sets: tuple[str, ...] = ("train", "test")
    """Which images a pass goes through."""
    loader: tuple[bool, ...] = (True, False)
    """With the data path (batching, copy to the device, normalisation) inside the timed pass, and without it."""
    passes: int = 10
    """Timed passes of each kind; the paper gives the mean of 10."""
    warmup_batches: int = 3
    """Batches run before the first timed pass of each kind, and not counted."""
    modes: tuple[str, ...] = (PLAIN_MODE,)
    """Ways to run the network alone, PRECISION-VARIANT: float32, tf32 or bfloat16; eager, folded (batch norm in the
    convolutions), compiled or cuda-graph. float32-eager is always among them, and all that protocol: paper times."""

    def __post_init__(self) -> None:
        for name in ("batch_sizes", "sets", "loader", "modes"):
            values = getattr(self, name)
            _require(len(values) > 0, name, "needs at least one value")
            _require(len(set(values)) == len(values), name, "gives a value twice")
        for size in self.batch_sizes:
            _require(size >= 1, "batch_sizes", f"must be at least 1, not {size}")
        for name in self.sets:
            _require(
                name in ("train", "validation", "test"),
                "sets",
                f"knows train, validation and test, not {name!r}",
            )
        for mode in self.modes:
            _require(mode in MODE_NAMES, "modes", f"knows {', '.join(MODE_NAMES)}, not {mode!r}")
        _require(PLAIN_MODE in self.modes, "modes", f"must have {PLAIN_MODE}, which the others are compared with")
        _require_at_least(1, passes=self.passes)
        _require_at_least(0, warmup_batches=self.warmup_batches)
