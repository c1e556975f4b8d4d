"""A set of images that lives on the device as uint8, and the batches made of it.

Nothing is decoded, copied or normalised image by image: a batch is gathered, augmented and normalised as a whole, on
the device that trains (after cifar10-airbench's ``airbench/utils.py``).
"""

import itertools
import statistics
import warnings
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dwray.core.data import Images, Splits


def as_tensor(array: np.ndarray) -> Tensor:
    """A tensor over the same memory. It may be read-only (arrays out of Ray's object store are): never write to it.

    Example:
        >>> array = np.zeros((2, 3), np.uint8)
        >>> as_tensor(array).data_ptr() == array.ctypes.data
        True
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels (torchvision's models are trained with them)."""


def normalisation(splits: Splits, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in units of 0..1.

    Args:
        splits: The images.
        name: ``dataset`` for the training set's own, ``imagenet`` for ImageNet's (grey: the mean of the three).

    Raises:
        ValueError: ImageNet has nothing to say of images with another number of channels.

    Example:
        >>> from dwray.core.config import DataConfig
        >>> from dwray.core.data import load_splits
        >>> mean, std = normalisation(load_splits(DataConfig(source="digits")), "imagenet")
        >>> round(mean[0], 3), round(std[0], 3)
        (0.449, 0.226)
    """
    if name == "dataset":
        return splits.mean, splits.std
    channels = splits.train.pixels.shape[3]
    if channels == 3:
        return IMAGENET_MEAN, IMAGENET_STD
    if channels == 1:
        return (statistics.fmean(IMAGENET_MEAN),), (statistics.fmean(IMAGENET_STD),)
    raise ValueError(f"normalisation: imagenet is for images of 3 channels or 1, not {channels}")


def batch_bounds(count: int, batch_size: int) -> list[tuple[int, int]]:
    """Where batches begin and end; a last batch of a single image joins the one before it.

    Batch norm in training mode has no variance over one value.

    Example:
        >>> batch_bounds(10, 4), batch_bounds(9, 4)
        ([(0, 4), (4, 8), (8, 10)], [(0, 4), (4, 9)])
    """
    starts = list(range(0, count, batch_size))
    if batch_size > 1 and len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return list(itertools.pairwise([*starts, count]))


class Normalize:
    """uint8 (N, H, W, C) -> float32 (N, C, H, W) in channels_last strides: ``(pixels / 255 - mean) / std``.

    Args:
        mean: Mean of each channel, in units of 0..1.
        std: Standard deviation of each channel, in units of 0..1.
        device: Where the batches are.

    Raises:
        RuntimeError: ``mean`` and ``std`` differ in length, or a batch has another number of channels than they.

    Source: torchvision's ``ToTensor`` and ``Normalize``, which the paper's notebooks use; here a whole batch at once.

    Example:
        >>> import torch, dwray
        >>> normalize = dwray.Normalize(mean=[0.5], std=[0.25], device=torch.device("cpu"))
        >>> black_and_white = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 2, 1)
        >>> normalize(black_and_white)
        tensor([[[[-2.,  2.]]]])
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        # One multiplication and one addition instead of two divisions and a subtraction.
        mean_, std_ = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        self._scale = (1 / (255 * std_)).to(device, torch.float32)
        self._shift = (-mean_ / std_).to(device, torch.float32)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalise a batch; see the class for shapes."""
        # Pixel row by pixel row: an innermost loop over a pixel's few channels would take 6 times as long on a CPU.
        width = pixels.shape[2]
        scale, shift = self._scale.repeat(width), self._shift.repeat(width)
        normalized = pixels.to(torch.float32, memory_format=torch.contiguous_format)
        normalized.flatten(2).mul_(scale).add_(shift)  # flatten: a view of contiguous memory
        return normalized.permute(0, 3, 1, 2)


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The generator of an epoch's order and augmentation: it follows from (seed, epoch), so resuming needs no state.

    Example:
        >>> order = [torch.randperm(100, generator=epoch_generator(seed=0, epoch=3)) for _ in range(2)]
        >>> torch.equal(*order)
        True
    """
    state = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state >> 1)  # manual_seed takes a signed 64-bit number


class ImageSet(Protocol):
    """What training and evaluation need of a set of images: its batches, on a device."""

    device: torch.device

    def __len__(self) -> int: ...

    def ordered(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (inputs (n, C, H, W) float32, labels (n,) int64) in the stored order."""

    def shuffled(
        self, batch_size: int, generator: torch.Generator, *, crop_padding: int = 0, flip: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of batches in random order, augmented."""


class ResidentImages:
    """Images on a device, as uint8, with the labels beside them.

    Args:
        images: Pixels (N, H, W, C) uint8 and labels (N,) int64. On a CPU they are used where they are, not copied.
        normalize: Applied to every batch.
        device: Where they are to live.

    Raises:
        RuntimeError: The device is not there, or has too little memory.

    Source: cifar10-airbench's ``airbench/utils.py`` keeps CIFAR so.

    Example:
        >>> import torch, dwray
        >>> splits = dwray.load_splits(dwray.DataConfig(source="digits"))
        >>> normalize = dwray.Normalize(splits.mean, splits.std, torch.device("cpu"))
        >>> images = dwray.ResidentImages(splits.test, normalize, torch.device("cpu"))
        >>> inputs, labels = next(images.ordered(batch_size=256))
        >>> len(images), inputs.shape, inputs.dtype, labels.shape
        (359, torch.Size([256, 1, 8, 8]), torch.float32, torch.Size([256]))
    """

    def __init__(self, images: Images, normalize: Normalize, device: torch.device) -> None:
        self.pixels = as_tensor(images.pixels).to(device)
        self.labels = as_tensor(images.labels).to(device)
        self.normalize = normalize
        self.device = device

    def __len__(self) -> int:
        return len(self.labels)

    def ordered(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (inputs (n, C, H, W) float32, labels (n,) int64) in the stored order, cut by :func:`batch_bounds`.

        Raises:
            ValueError: ``batch_size`` is 0.

        Example:
            >>> import numpy as np
            >>> images = Images(np.zeros((5, 8, 8, 1), np.uint8), np.arange(5))
            >>> cpu = torch.device("cpu")
            >>> resident = ResidentImages(images, Normalize([0.5], [0.5], cpu), cpu)
            >>> [labels.tolist() for _, labels in resident.ordered(batch_size=3)]
            [[0, 1, 2], [3, 4]]
        """
        for start, end in batch_bounds(len(self), batch_size):
            yield self.normalize(self.pixels[start:end]), self.labels[start:end]

    def shuffled(
        self, batch_size: int, generator: torch.Generator, *, crop_padding: int = 0, flip: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of batches in random order, augmented; shapes as :meth:`ordered`.

        Args:
            batch_size: Images a batch, at least 2.
            generator: A CPU generator; it alone decides the order and the augmentation, on every device.
            crop_padding: Crop at random out of the image padded with this many black pixels a side.
            flip: Mirror every image with probability one half.

        Raises:
            ValueError: ``batch_size`` is 0.

        Example:
            >>> import numpy as np
            >>> images = Images(np.zeros((5, 8, 8, 1), np.uint8), np.arange(5))
            >>> cpu = torch.device("cpu")
            >>> resident = ResidentImages(images, Normalize([0.5], [0.5], cpu), cpu)
            >>> batches = resident.shuffled(2, epoch_generator(seed=0, epoch=1), crop_padding=1, flip=True)
            >>> sorted(label for _, labels in batches for label in labels.tolist())
            [0, 1, 2, 3, 4]
        """
        count = len(self)
        order = torch.randperm(count, generator=generator).to(self.device)
        shifts = mirrored = None
        if crop_padding:
            shifts = torch.randint(0, 2 * crop_padding + 1, (2, count), generator=generator).to(self.device)
        if flip:
            mirrored = (torch.rand(count, generator=generator) < 0.5).to(self.device)
        for start, end in batch_bounds(count, batch_size):
            chosen = order[start:end]
            pixels = self.pixels.index_select(0, chosen)
            if shifts is not None or mirrored is not None:
                pixels = _crop_and_mirror(
                    pixels,
                    crop_padding,
                    None if shifts is None else shifts[:, start:end],
                    None if mirrored is None else mirrored[start:end],
                )
            yield self.normalize(pixels), self.labels.index_select(0, chosen)


def _crop_and_mirror(pixels: Tensor, padding: int, shifts: Tensor | None, mirrored: Tensor | None) -> Tensor:
    """Crop and mirror a batch (n, H, W, C); shifts is (2, n) in 0..2*padding, mirrored (n,) bool."""
    count, height, width, channels = pixels.shape
    if shifts is not None:
        # From a crop's first pixel to its last, and on to the end of that padded row, it is one stretch of memory: one
        # copy an image. (The last image's may go on into a row more.)
        pixels = torch.nn.functional.pad(pixels, (0, 0, padding, padding, padding, padding + 1))
        _, rows, columns, _ = pixels.shape
        stretches = pixels.flatten().unfold(0, height * columns * channels, channels)
        image = torch.arange(count, device=pixels.device)
        stretch = (image * rows + shifts[0]) * columns + shifts[1]
        pixels = stretches.index_select(0, stretch).view(count, height, columns, channels)[:, :, :width]
    if mirrored is not None:
        pixels = torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels)
    return pixels
