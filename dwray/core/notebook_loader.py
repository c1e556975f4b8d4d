"""The notebooks' data path: torchvision transforms image by image, in a DataLoader with two worker processes.

Beside ``batches.ResidentImages`` it is slow; it is here because the paper's times have it inside.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dwray.core.batches import batch_bounds
from dwray.core.data import Images

WORKERS = 2
"""``num_workers`` of the notebooks."""


class _Dataset(Dataset[tuple[Tensor, int]]):
    """As torchvision's CIFAR classes: an image is made of its pixels each time that it is asked for."""

    def __init__(self, images: Images, transform: Callable[[Image.Image], Tensor]) -> None:
        self._images, self._transform = images, transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = self._images.pixels[index]
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        return self._transform(image), int(self._images.labels[index])


class NotebookImages:
    """A set of images as :class:`~dwray.core.batches.ImageSet`, by way of the notebooks' loader.

    Args:
        images: Pixels (N, H, W, C) uint8 and labels (N,) int64.
        mean: Mean of each channel, in units of 0..1.
        std: Standard deviation of each channel, in units of 0..1.
        device: Where the batches go, one blocking copy each.
    """

    def __init__(self, images: Images, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        from torchvision import transforms  # seconds, and only here: nothing else of training needs torchvision

        self._images = images
        self._transforms = transforms
        self._to_input = [transforms.ToTensor(), transforms.Normalize(mean, std)]
        self.device = device

    def __len__(self) -> int:
        return len(self._images)

    def ordered(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (inputs (n, C, H, W) float32, labels (n,) int64) in the stored order."""
        return self._batches(torch.arange(len(self)), batch_size, [])

    def shuffled(
        self, batch_size: int, generator: torch.Generator, *, crop_padding: int = 0, flip: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch in the same random order as ``ResidentImages``; augmented by torchvision, at random of its own."""
        augment: list[torch.nn.Module] = []
        if crop_padding:
            height, width = self._images.pixels.shape[1:3]
            augment.append(self._transforms.RandomCrop((height, width), padding=crop_padding))
        if flip:
            augment.append(self._transforms.RandomHorizontalFlip())
        order = torch.randperm(len(self), generator=generator)
        return self._batches(order, batch_size, augment, generator)

    def _batches(
        self, order: Tensor, batch_size: int, augment: list[torch.nn.Module], generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        loader = DataLoader(
            _Dataset(self._images, self._transforms.Compose([*augment, *self._to_input])),
            batch_sampler=[order[start:end].tolist() for start, end in batch_bounds(len(self), batch_size)],
            num_workers=WORKERS,
            generator=generator,  # seeds the workers
        )
        for inputs, labels in loader:
            yield inputs.to(self.device), labels.to(self.device)
