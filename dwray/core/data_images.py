"""What every source of images has in common: the arrays, the checks, the choice of rows, the statistics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dwray.core.config import DataConfig
from dwray.errors import DataError

Pixels = NDArray[np.uint8]
Rows = NDArray[np.int64]
Part = Literal["train", "test"]

PIXELS_AT_ONCE = 2**22
"""How many pixels the statistics look at in one go: numpy copies them to int64, eight times their size."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images and their labels.

    Attributes:
        pixels: (N, H, W, C) uint8, C-contiguous, 0 to 255.
        labels: (N,) int64, 0 to the number of classes - 1.
    """

    pixels: Pixels
    labels: Rows

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: Rows) -> "Images":
        """A copy of these rows, in their order."""
        return Images(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class ImageData:
    """A dataset as its source gives it: a training set and a test set of images of one size.

    Attributes:
        name: what reports call it: the source, or for a folder of images or Parquet files the folder's name.
        classes: the classes' names; a label is an index into them.
        train: the training images, before a validation set is held out.
        test: the test images.
        synthetic: the images are random, and good for timing only.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    test: Images
    synthetic: bool = False


@dataclass(frozen=True, eq=False)
class Splits:
    """A dataset with a validation set held out of its training set.

    Attributes:
        name: as in :class:`ImageData`.
        classes: as in :class:`ImageData`.
        train: the images to train on.
        validation: the images held out of the training set, to choose settings by.
        test: the test images.
        mean: mean of each channel of ``train``, in units of 0 to 1.
        std: standard deviation (of the population) of each channel of ``train``, in units of 0 to 1.
        synthetic: as in :class:`ImageData`.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    validation: Images
    test: Images
    mean: tuple[float, ...]
    std: tuple[float, ...]
    synthetic: bool


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A random stream of its own for each purpose, so that one choice of rows says nothing about another."""
    return np.random.default_rng([seed, *purpose.encode()])


def check_labels(labels: Rows, classes: tuple[str, ...], where: str, place: Callable[[int], str] | None = None) -> None:
    """Raise unless there are labels, every one names a class and every class has one.

    Args:
        labels: (N,) int64.
        classes: the classes' names.
        where: the set, for the message, such as ``cifar10: train``.
        place: from an index into ``labels`` to the text that says where it came from.

    Raises:
        DataError: no images, fewer than two classes, a label out of range, or a class without images.
    """
    if len(labels) == 0:
        raise DataError(f"{where}: there are no images")
    if len(classes) < 2:
        raise DataError(f"{where}: there must be at least two classes, not {len(classes)} ({', '.join(classes)})")
    outside = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(outside):
        first = int(outside[0])
        raise DataError(
            f"{place(first) if place else f'{where}: image {first}'}: label {labels[first]} is none of the "
            f"{len(classes)} classes (0 to {len(classes) - 1}); {len(outside)} of {len(labels)} labels are "
            "out of range: mend the labels, or the list of class names"
        )
    empty = np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
    if len(empty):
        names = ", ".join(repr(classes[c]) for c in empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise DataError(
            f"{where}: {len(empty)} of {len(classes)} classes have no image: {names}; "
            "add images of them, or take them off the list of classes"
        )


def check_images(images: Images, where: str) -> None:
    """Raise unless the arrays are what :class:`Images` says.

    Raises:
        DataError: another type, shape or memory layout.
    """
    pixels, labels = images.pixels, images.labels
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or not pixels.flags.c_contiguous or 0 in pixels.shape[1:]:
        raise DataError(
            f"{where}: pixels must be a contiguous uint8 array (images, height, width, channels), "
            f"not {pixels.dtype} {pixels.shape}"
        )
    if labels.dtype != np.int64 or labels.shape != (len(pixels),):
        raise DataError(
            f"{where}: labels must be an int64 array, one for each of the {len(pixels)} images, "
            f"not {labels.dtype} {labels.shape}"
        )


def apportion(counts: Rows, total: int) -> Rows:
    """Share ``total`` among the classes in proportion to ``counts``, by the largest remainder.

    Args:
        counts: (classes,) images of each class, at least 1 each.
        total: the sum of the shares, at most the sum of the counts.

    Returns:
        (classes,) shares, each less than one image away from its exact proportion. The arithmetic is in
        integers, so that no rounding differs between machines.
    """
    shares, remainders = np.divmod(counts * total, counts.sum())
    shares[np.argsort(-remainders, kind="stable")[: total - shares.sum()]] += 1
    return shares


def draw(labels: Rows, shares: Rows, random: np.random.Generator) -> Rows:
    """Draw ``shares[c]`` rows of each class ``c``; the rows come back in ascending order."""
    drawn = [random.permutation(np.flatnonzero(labels == c))[:share] for c, share in enumerate(shares)]
    return np.sort(np.concatenate(drawn))


def choose_rows(labels: Rows, part: Part, config: DataConfig) -> Rows:
    """Choose the rows that ``max_train_images`` or ``max_test_images`` keeps: stratified and seeded.

    A source that decodes images asks this first and decodes only these rows.

    Args:
        labels: (N,) checked labels: every class from 0 on has an image.
        part: ``train`` or ``test``.
        config: the limits and the seed.

    Returns:
        Ascending row numbers, all of them where no limit is set or it is not reached. Every class keeps an
        image; each class's share is otherwise within one image of its proportion.

    Raises:
        DataError: fewer images are to be kept than there are classes.
    """
    limit = config.max_train_images if part == "train" else config.max_test_images
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    counts = np.bincount(labels)
    if limit < len(counts):
        raise DataError(
            f"max_{part}_images is {limit}, but each of the {len(counts)} classes needs at least one image: "
            f"set it to {len(counts)} or more"
        )
    shares = np.maximum(apportion(counts, limit), 1)
    while shares.sum() > limit:  # rare classes were given an image: the most frequent ones give it up
        shares[np.argmax(shares)] -= 1
    return draw(labels, shares, generator(config.split_seed, part))


def hold_out(labels: Rows, config: DataConfig) -> tuple[Rows, Rows]:
    """Divide the training rows into those to train on and those held out for validation, by class.

    Args:
        labels: (N,) labels, at least two of each class.
        config: ``validation_fraction`` and ``split_seed``.

    Returns:
        Ascending row numbers of the training and of the validation part. Each class's share of the validation
        part is within one image of its proportion; every class has at least one image in both.
    """
    counts = np.bincount(labels)
    shares = apportion(counts, round(len(labels) * config.validation_fraction))
    held = draw(labels, np.clip(shares, 1, counts - 1), generator(config.split_seed, "validation"))
    return np.setdiff1d(np.arange(len(labels)), held, assume_unique=True), held


def channel_statistics(pixels: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in units of 0 to 1.

    They come from integer histograms, so they are exact up to the last rounding and need no float copy of the
    images.

    Args:
        pixels: (N, H, W, C) uint8.

    Returns:
        C means and C standard deviations (of the population).
    """
    count, height, width, channels = pixels.shape
    histograms = np.zeros((channels, 256), np.int64)
    step = max(1, PIXELS_AT_ONCE // (height * width))
    for start in range(0, count, step):
        for channel in range(channels):
            block = pixels[start : start + step, :, :, channel]
            histograms[channel] += np.bincount(block.reshape(-1), minlength=256)
    values = np.arange(256)
    total = count * height * width
    means, deviations = [], []
    for histogram in histograms:
        first, second = int(histogram @ values), int(histogram @ values**2)
        means.append(first / total / 255)
        # n * sum(v^2) - sum(v)^2 in Python's integers: no cancellation, no overflow
        deviations.append((total * second - first**2) ** 0.5 / total / 255)
    return tuple(means), tuple(deviations)
