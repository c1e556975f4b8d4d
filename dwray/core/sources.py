"""Sources of images: folders of image files, scikit-learn's digits, and images made up for timing."""

from pathlib import Path

import numpy as np

from dwray.core.config import DataConfig
from dwray.core.data_images import (
    ImageData,
    Images,
    Part,
    Rows,
    apportion,
    check_labels,
    choose_rows,
    draw,
    generator,
)
from dwray.core.sources_decode import Encoded, decode
from dwray.errors import DataError

TEST_NAMES = ("test", "val", "valid")
"""What the test set's folder is called; the first of these that is there is taken."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
"""Files with another suffix are left out."""


def load_image_folder(config: DataConfig) -> ImageData:
    """Load ``root/train/<class>/*`` and ``root/test/<class>/*`` (or ``val``, or ``valid``).

    A class's images may lie in subfolders; hidden files are left out. Images become RGB, and only those that
    the limits keep are decoded.

    Args:
        config: ``root``; ``image_size`` to resize; the limits on the number of images.

    Returns:
        The images in the order of their classes' names, then of their paths.

    Raises:
        DataError: missing folders, sets of different classes, images that cannot be decoded.
    """
    if config.root is None:
        raise DataError("data.root must be a folder with train/<class>/* and test/<class>/*")
    root = Path(config.root).expanduser()
    if not root.is_dir():
        raise DataError(f"data.root: there is no folder {root}")
    train = _part_folder(root, ("train",))
    test = _part_folder(root, TEST_NAMES)
    classes, others = _class_names(train), _class_names(test)
    if classes != others:
        only = [f"{train / name}" for name in classes if name not in others]
        only += [f"{test / name}" for name in others if name not in classes]
        raise DataError(
            f"{root}: {train.name} and {test.name} must have the same class folders; without a counterpart: "
            f"{', '.join(only[:5])}{', ...' if len(only) > 5 else ''}"
        )
    return ImageData(
        root.resolve().name,
        tuple(classes),
        _read_folder(train, classes, "train", config),
        _read_folder(test, classes, "test", config),
    )


def _part_folder(root: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise DataError(f"{root}: there is no folder {' or '.join(names)} with a folder of images for each class")


def _class_names(part: Path) -> list[str]:
    return sorted(entry.name for entry in part.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _read_folder(folder: Path, classes: list[str], part: Part, config: DataConfig) -> Images:
    files = [
        sorted(p for p in (folder / name).rglob("[!.]*") if p.suffix.lower() in SUFFIXES and p.is_file())
        for name in classes
    ]
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in files])
    check_labels(labels, tuple(classes), str(folder))
    paths = [path for of_class in files for path in of_class]
    rows = choose_rows(labels, part, config)
    encoded = (Encoded(paths[row], str(paths[row])) for row in rows)
    return Images(decode(encoded, len(rows), config.image_size), labels[rows])


DIGITS_TEST_SHARE = 0.2
DIGITS_SEED = 0


def load_digits(_config: DataConfig) -> ImageData:
    """scikit-learn's 1,797 scanned digits, 8x8 pixels, one channel; they come with it, without a download.

    scikit-learn does not divide them. The division here, 1,438 to train on and 359 to test on by class, is
    ours, and is the same whatever the settings. A scan's values 0 to 16 become ``round(value * 255 / 16)``.
    """
    from sklearn.datasets import load_digits as read

    digits = read()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    everything = Images(pixels, digits.target.astype(np.int64))
    shares = apportion(np.bincount(everything.labels), round(len(everything) * DIGITS_TEST_SHARE))
    test = draw(everything.labels, shares, generator(DIGITS_SEED, "digits"))
    train: Rows = np.setdiff1d(np.arange(len(everything)), test, assume_unique=True)
    return ImageData("digits", tuple("0123456789"), everything.rows(train), everything.rows(test))


def load_synthetic(config: DataConfig) -> ImageData:
    """Random RGB images and labels, every class equally often: good for timing only.

    Args:
        config: ``image_size`` (default 32), ``classes`` (10), ``max_train_images`` (50,000),
            ``max_test_images`` (10,000) and ``split_seed``.
    """
    size, classes = config.image_size or 32, config.classes or 10

    def made_up(part: Part, count: int) -> Images:
        if count < classes:
            raise DataError(
                f"synthetic: max_{part}_images is {count}, but each of the {classes} classes needs an image"
            )
        random = generator(config.split_seed, f"synthetic {part}")
        pixels = random.integers(0, 256, (count, size, size, 3), np.uint8)
        return Images(pixels, random.permutation(np.arange(count) % classes))

    return ImageData(
        "synthetic",
        tuple(f"class {c}" for c in range(classes)),
        made_up("train", config.max_train_images or 50_000),
        made_up("test", config.max_test_images or 10_000),
        synthetic=True,
    )
