"""Images for the networks: the DATASETS registry, loading with every check, the held-out validation split.

Everything that can be wrong with a dataset is found here, before a training starts, as one
:class:`~dwray.errors.DataError` of one line.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dwray.core.config import DataConfig
from dwray.core.data_images import (
    ImageData,
    Images,
    Part,
    Splits,
    channel_statistics,
    check_images,
    check_labels,
    choose_rows,
    hold_out,
)
from dwray.core.registry import Registry
from dwray.core.sources import load_digits, load_image_folder, load_synthetic
from dwray.core.sources_cifar import CifarArchive
from dwray.core.sources_parquet import load_parquet
from dwray.errors import DataError

__all__ = ["DATASETS", "ImageData", "Images", "Source", "Splits", "load", "load_splits", "split"]


@dataclass(frozen=True)
class Source:
    """Where images come from: one entry of DATASETS.

    Example:
        >>> DATASETS["digits"].description
        "scikit-learn's 1,797 scanned digits, 8x8 grey: no download"

    Attributes:
        description: one line for the command's list of datasets.
        load: reads the images. It may leave out rows that :func:`~dwray.core.data_images.choose_rows` does
            not choose; the checks and the rest of the choice are :func:`load`'s.
        options: which of DataConfig's special settings it uses; a setting that would have no effect is an
            error.
    """

    description: str
    load: Callable[[DataConfig], ImageData]
    options: frozenset[str] = frozenset()


DATASETS: Registry[Source] = Registry(
    """Every source of images that a sweep file's ``data.source`` and ``DataConfig`` can name: name to ``Source``.

    ``DATASETS[name].description`` is one line, ``options`` are the settings of ``DataConfig`` that it alone uses. To
    load the images, take ``load_splits``: it checks all of them.

    Source: section 4.1 of the paper (CIFAR-10 and CIFAR-100, by way of torchvision); scikit-learn's ``load_digits``.

    Example:
        >>> import dwray
        >>> list(dwray.DATASETS)
        ['cifar10', 'cifar100', 'parquet', 'image_folder', 'digits', 'synthetic']
        >>> dwray.DATASETS["digits"].description
        "scikit-learn's 1,797 scanned digits, 8x8 grey: no download"
    """,
    {
        "cifar10": Source(
            "CIFAR-10: 50,000 + 10,000 colour photographs of 10 classes, 32x32 (170 MB download)",
            CifarArchive("CIFAR10").load,
        ),
        "cifar100": Source(
            "CIFAR-100: 50,000 + 10,000 colour photographs of 100 classes, 32x32 (169 MB download)",
            CifarArchive("CIFAR100").load,
        ),
        "parquet": Source(
            "A folder of Parquet files in Hugging Face's layout (train-*.parquet, test-*.parquet)",
            load_parquet,
            frozenset({"image_column", "label_column", "image_size"}),
        ),
        "image_folder": Source(
            "A folder of images: train/<class>/* and test/<class>/*",
            load_image_folder,
            frozenset({"image_size"}),
        ),
        "digits": Source(
            "scikit-learn's 1,797 scanned digits, 8x8 grey: no download",
            load_digits,
        ),
        "synthetic": Source(
            "Random images of any size and number, for timing only: no download",
            load_synthetic,
            frozenset({"image_size", "classes"}),
        ),
    },
)
"""Every source of images by its name in a sweep file; a new one is one entry."""


def load(config: DataConfig) -> ImageData:
    """Load a dataset and check all of it.

    Args:
        config: which images; ``max_train_images`` and ``max_test_images`` keep a stratified subset seeded by
            ``split_seed``, in the source's order.

    Returns:
        Training and test images of one size, with at least one image of every class in each.

    Raises:
        DataError: anything missing, corrupt or contradictory; the line says what, where and how to mend it.

    Example:
        >>> data = load(DataConfig(source="digits", max_train_images=500))
        >>> data.train.pixels.shape, data.train.pixels.dtype, len(data.test)
        ((500, 8, 8, 1), dtype('uint8'), 359)
        >>> load(DataConfig(source="digit"))
        Traceback (most recent call last):
        ...
        dwray.errors.DataError: data.source: no dataset is called 'digit'; did you mean 'digits'?
    """
    source = DATASETS.get(config.source)
    if source is None:
        near = difflib.get_close_matches(config.source, DATASETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(DATASETS)}"
        raise DataError(f"data.source: no dataset is called {config.source!r}; {hint}")
    _check_options(config, source)
    data = source.load(config)
    data = replace(data, train=_checked(data, "train", config), test=_checked(data, "test", config))
    train, test = data.train.pixels.shape[1:], data.test.pixels.shape[1:]
    if train != test:
        mend = "set data.image_size to resize them" if "image_size" in source.options else "they must be of one size"
        raise DataError(f"{data.name}: the training images are {_size(train)}, the test images {_size(test)}: {mend}")
    return data


def split(data: ImageData, config: DataConfig, *, tune_on_test_set: bool = False) -> Splits:
    """Hold a validation set out of the training set, and take the statistics of what is left.

    Args:
        data: a dataset from :func:`load`.
        config: ``validation_fraction`` and ``split_seed``.
        tune_on_test_set: Hold nothing out; the test set is the validation set too, as in the notebooks.

    Returns:
        The three sets, each in the source's order; the same seed gives the same split. Every class has its
        proportion of the validation set within one image, and at least one image in both parts.

    Raises:
        DataError: a class with a single training image, or a channel with a single value.

    Example:
        >>> config = DataConfig(source="digits", validation_fraction=0.25)
        >>> data = load(config)
        >>> splits = split(data, config)
        >>> len(splits.train) + len(splits.validation) == len(data.train)
        True
        >>> split(data, config, tune_on_test_set=True).validation is data.test
        True
    """
    if tune_on_test_set:
        return _splits(data, data.train, data.test)
    few = np.flatnonzero(np.bincount(data.train.labels, minlength=len(data.classes)) < 2)
    if len(few):
        raise DataError(
            f"{data.name}: class {data.classes[few[0]]!r} has fewer than 2 training images "
            f"({len(few)} such classes): one is held out and one trained on; "
            "add images, or raise data.max_train_images"
        )
    train_rows, validation_rows = hold_out(data.train.labels, config)
    return _splits(data, data.train.rows(train_rows), data.train.rows(validation_rows))


def _splits(data: ImageData, train: Images, validation: Images) -> Splits:
    mean, std = channel_statistics(train.pixels)
    if 0 in std:
        raise DataError(
            f"{data.name}: channel {std.index(0)} has the same value in every pixel of all "
            f"{len(train)} training images: it cannot be normalised; look at the images"
        )
    return Splits(
        name=data.name,
        classes=data.classes,
        train=train,
        validation=validation,
        test=data.test,
        mean=mean,
        std=std,
        synthetic=data.synthetic,
    )


def load_splits(config: DataConfig) -> Splits:
    """Load a dataset, check all of it, and hold a validation set out of its training set.

    Args:
        config: which images (an entry of ``DATASETS``, and where they lie), how many of them, and how they are split.

    Returns:
        Training, validation and test images as pixels (N, H, W, C) uint8 and labels (N,) int64; and the mean and
        standard deviation of each of the training images' channels, in units of 0 to 1. The same config gives the same
        images in the same order.

    Raises:
        DataError: anything missing, corrupt or contradictory; the line says what, where and how to mend it.

    Source: section 4.1 of the paper (CIFAR-10 and CIFAR-100). Its notebooks hold nothing out; that a tenth is held out,
    stratified by class, is dwray's.

    Example:
        >>> import dwray
        >>> splits = dwray.load_splits(dwray.DataConfig(source="digits", validation_fraction=0.1))
        >>> len(splits.train), len(splits.validation), len(splits.test), splits.train.pixels.shape[1:]
        (1294, 144, 359, (8, 8, 1))
    """
    return split(load(config), config)


def _check_options(config: DataConfig, source: Source) -> None:
    for option in ("image_column", "label_column", "image_size", "classes"):
        if getattr(config, option) is not None and option not in source.options:
            users = ", ".join(name for name, other in DATASETS.items() if option in other.options)
            raise DataError(
                f"data.{option} has no meaning for {config.source} (only for {users}): "
                f"leave it out, or --set data.{option}=null"
            )


def _checked(data: ImageData, part: Part, config: DataConfig) -> Images:
    images: Images = getattr(data, part)
    where = f"{data.name}: {part}"
    check_images(images, where)
    check_labels(images.labels, data.classes, where)
    rows = choose_rows(images.labels, part, config)
    return images if len(rows) == len(images) else images.rows(rows)


def _size(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} pixels with {channels} channel{'s' if channels > 1 else ''}"
