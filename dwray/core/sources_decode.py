"""Encoded images to arrays, on several threads."""

import io
import itertools
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dwray.core.data_images import Pixels
from dwray.errors import DataError

IMAGES_PER_TASK = 64
TASKS_AT_ONCE = 32
"""Bounds how many encoded images are held in memory: IMAGES_PER_TASK * TASKS_AT_ONCE."""
PIXELS_FOR_THREADS = 128 * 128
"""Decoding a smaller image is mostly Python's work, and threads that wait for one another make it slower."""


class Encoded(NamedTuple):
    """An image as it is stored.

    Attributes:
        content: its file, or the file's bytes.
        where: what an error calls it: the file's path, or the file and the row.
    """

    content: Path | bytes
    where: str


def decode(encoded: Iterable[Encoded], count: int, image_size: int | None) -> Pixels:
    """Decode images with Pillow, as RGB.

    Args:
        encoded: the images.
        count: how many there are, at least 1.
        image_size: resize (bilinear) to this many pixels a side, whatever the image's proportions; None keeps
            the size, which must then be the same for all.

    Returns:
        (count, H, W, 3) uint8.

    Raises:
        DataError: an image that cannot be decoded, or of another size than the first.
    """
    stream = iter(encoded)
    first = next(stream)
    start = _decode_one(first, image_size)
    pixels = np.empty((count, *start.shape), np.uint8)
    pixels[0] = start

    def decode_task(first_row: int, task: Sequence[Encoded]) -> None:
        for row, item in enumerate(task, first_row):
            image = _decode_one(item, image_size)
            if image.shape != start.shape:
                raise DataError(
                    f"{item.where}: the image has {image.shape[1]}x{image.shape[0]} pixels, but "
                    f"{first.where} has {start.shape[1]}x{start.shape[0]}: "
                    "set data.image_size to resize all of them"
                )
            pixels[row] = image

    large = image_size is not None or start.shape[0] * start.shape[1] >= PIXELS_FOR_THREADS
    done = 1
    with ThreadPoolExecutor(None if large else 1) as pool:
        while batch := list(itertools.islice(stream, IMAGES_PER_TASK * TASKS_AT_ONCE)):
            starts = range(0, len(batch), IMAGES_PER_TASK)
            tasks = [batch[s : s + IMAGES_PER_TASK] for s in starts]
            # map gives results in order, so of several bad images the first one is reported, whatever the
            # threads do
            list(pool.map(decode_task, [done + s for s in starts], tasks))
            done += len(batch)
    return pixels


def _decode_one(item: Encoded, image_size: int | None) -> Pixels:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(item.content) if isinstance(item.content, bytes) else item.content) as opened:
            image = opened.convert("RGB")
    except Exception as error:  # Pillow's format readers raise OSError, SyntaxError, ValueError, struct.error and more
        reason = "not an image that Pillow knows" if type(error).__name__ == "UnidentifiedImageError" else str(error)
        raise DataError(f"{item.where}: the image cannot be decoded ({reason}): replace it or take it out") from error
    if image_size is not None and image.size != (image_size, image_size):
        image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image)
