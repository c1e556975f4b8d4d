"""Images on the device: normalisation, order, shuffling, augmentation."""

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dwray.core.batches import Normalize, ResidentImages, as_tensor, batch_bounds, epoch_generator
from dwray.core.data import Images

CPU = torch.device("cpu")


def numbered(count: int, height: int = 5, width: int = 4, channels: int = 1) -> Images:
    """Random images; an image's label is its row, so that a batch tells which images it holds."""
    pixels = np.random.default_rng(count).integers(1, 256, (count, height, width, channels), np.uint8)
    return Images(pixels, np.arange(count, dtype=np.int64))


def raw(images: Images) -> ResidentImages:
    """Images whose batches are the pixels themselves, 0 to 255."""
    channels = images.pixels.shape[-1]
    return ResidentImages(images, Normalize([0.0] * channels, [1 / 255] * channels, CPU), CPU)


def pixels_of(inputs: torch.Tensor) -> np.ndarray:
    """(N, C, H, W) float32 back to (N, H, W, C)."""
    return inputs.permute(0, 2, 3, 1).numpy()


# Normalisation


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    statistics=st.lists(st.tuples(st.integers(0, 1000), st.integers(10, 500)), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
def test_normalising_is_minus_mean_over_deviation(
    shape: tuple[int, int, int], statistics: list[tuple[int, int]], seed: int
) -> None:
    mean, std = (np.array(each) / 1000 for each in zip(*statistics, strict=True))
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, len(mean)), np.uint8)
    found = Normalize(mean.tolist(), std.tolist(), CPU)(torch.from_numpy(pixels))
    assert found.dtype == torch.float32
    assert found.shape == (shape[0], len(mean), *shape[1:])
    expected = (pixels.astype(np.float64) / 255 - mean) / std
    # Near the mean the difference of two large numbers is small: the tolerance is relative to those.
    scale = (pixels.astype(np.float64) / 255 + mean) / std
    assert np.all(np.abs(pixels_of(found) - expected) <= 1e-5 * np.maximum(np.abs(expected), 0.1 * scale))


def test_batches_are_channels_last() -> None:
    normalize = Normalize([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], CPU)
    found = normalize(torch.zeros(2, 6, 5, 3, dtype=torch.uint8))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.stride() == (90, 1, 15, 3)


def test_normalising_leaves_the_images_alone() -> None:
    images = numbered(4)
    before = images.pixels.copy()
    list(ResidentImages(images, Normalize([0.5], [0.1], CPU), CPU).ordered(3))
    assert np.array_equal(images.pixels, before)


# Arrays


def test_a_read_only_array_is_used_in_place_without_a_warning() -> None:
    images = numbered(7)
    images.pixels.flags.writeable = False
    images.labels.flags.writeable = False
    resident = raw(images)
    assert resident.pixels.data_ptr() == images.pixels.ctypes.data
    assert resident.labels.data_ptr() == images.labels.ctypes.data
    batches = list(resident.shuffled(3, epoch_generator(0, 0), crop_padding=1, flip=True))
    assert sum(len(labels) for _, labels in batches) == len(resident) == 7


def test_a_tensor_over_an_array_shares_its_memory() -> None:
    array = np.zeros(3, np.uint8)
    tensor = as_tensor(array)
    array[1] = 7
    assert tensor.tolist() == [0, 7, 0]


# Order


@given(count=st.integers(1, 40), batch_size=st.integers(1, 50))
@settings(deadline=None)
def test_ordered_covers_all_images_in_order(count: int, batch_size: int) -> None:
    images = numbered(count)
    batches = list(raw(images).ordered(batch_size))
    assert np.array_equal(np.concatenate([pixels_of(inputs) for inputs, _ in batches]), images.pixels)
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(count))
    sizes = [len(labels) for _, labels in batches]
    assert [len(inputs) for inputs, _ in batches] == sizes
    assert sizes == [end - start for start, end in batch_bounds(count, batch_size)]


@given(count=st.integers(1, 200), batch_size=st.integers(1, 70))
def test_batches_are_full_but_for_the_last_which_is_never_a_single_image(count: int, batch_size: int) -> None:
    bounds = batch_bounds(count, batch_size)
    sizes = [end - start for start, end in bounds]
    assert sum(sizes) == count
    assert bounds[0][0] == 0
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
    assert all(size == batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size + 1
    if batch_size > 1 and count > 1:
        assert sizes[-1] > 1


@given(count=st.integers(1, 60), batch_size=st.integers(2, 70), seed=st.integers(0, 2**40))
@settings(deadline=None)
def test_shuffled_gives_each_image_once_with_its_label(count: int, batch_size: int, seed: int) -> None:
    images = numbered(count)
    batches = list(raw(images).shuffled(batch_size, epoch_generator(seed, 0)))
    rows = torch.cat([labels for _, labels in batches]).numpy()
    assert sorted(rows) == list(range(count))
    # without augmentation the pixels are unchanged
    assert np.array_equal(np.concatenate([pixels_of(inputs) for inputs, _ in batches]), images.pixels[rows])


@given(count=st.integers(1, 60), batch_size=st.integers(2, 70))
@settings(deadline=None)
def test_a_last_batch_of_one_image_joins_the_one_before(count: int, batch_size: int) -> None:
    sizes = [len(labels) for _, labels in raw(numbered(count)).shuffled(batch_size, epoch_generator(0, 0))]
    whole, rest = divmod(count, batch_size)
    expected = [batch_size] * whole + ([rest] if rest else [])
    if rest == 1 and whole:
        expected = [batch_size] * (whole - 1) + [batch_size + 1]
    assert sizes == expected


def epoch_of(resident: ResidentImages, seed: int, epoch: int, batch_size: int = 8) -> list[np.ndarray]:
    batches = resident.shuffled(batch_size, epoch_generator(seed, epoch), crop_padding=2, flip=True)
    return [each.numpy() for batch in batches for each in batch]


def test_an_epoch_follows_from_its_generator_alone() -> None:
    resident = raw(numbered(50))
    before = torch.get_rng_state()
    first, again = epoch_of(resident, 5, 2), epoch_of(resident, 5, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (epoch_of(resident, 5, 3), epoch_of(resident, 6, 2)):
        assert not np.array_equal(np.concatenate(first[1::2]), np.concatenate(other[1::2]))


def test_the_batch_size_changes_neither_order_nor_augmentation() -> None:
    resident = raw(numbered(50))
    small, large = epoch_of(resident, 0, 0, batch_size=7), epoch_of(resident, 0, 0, batch_size=50)
    assert np.array_equal(np.concatenate(small[::2]), large[0])
    assert np.array_equal(np.concatenate(small[1::2]), large[1])


@given(seed=st.integers(0, 2**64), epoch=st.integers(0, 10_000))
@settings(deadline=None)
def test_an_epochs_generator_is_reproducible(seed: int, epoch: int) -> None:
    first, again = (torch.randint(0, 2**62, (4,), generator=epoch_generator(seed, epoch)) for _ in range(2))
    assert torch.equal(first, again)


def test_epochs_and_seeds_have_generators_of_their_own() -> None:
    states = {epoch_generator(seed, epoch).initial_seed() for seed in range(40) for epoch in range(40)}
    assert len(states) == 1600


def test_the_order_of_seed_0_is_the_recorded_one() -> None:
    orders = [
        torch.cat([labels for _, labels in raw(numbered(10)).shuffled(4, epoch_generator(0, epoch))]).tolist()
        for epoch in range(2)
    ]
    assert orders == [[7, 0, 9, 2, 1, 3, 8, 4, 6, 5], [1, 9, 4, 3, 8, 6, 2, 7, 0, 5]]


# Augmentation


def windows(image: np.ndarray, padding: int) -> dict[tuple[int, int], np.ndarray]:
    """Every crop out of the padded image, by the shift of its corner."""
    height, width, _ = image.shape
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    shifts = range(2 * padding + 1)
    return {(y, x): padded[y : y + height, x : x + width] for y in shifts for x in shifts}


@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)),
    count=st.integers(1, 20),
    padding=st.integers(0, 4),
    flip=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None)
def test_an_augmented_image_is_a_crop_and_perhaps_its_mirror_image(
    size: tuple[int, int, int], count: int, padding: int, flip: bool, seed: int
) -> None:
    images = numbered(count, *size)
    batches = list(raw(images).shuffled(4, epoch_generator(seed, 0), crop_padding=padding, flip=flip))
    seen = 0
    for inputs, labels in batches:
        assert inputs.shape == (len(labels), size[2], size[0], size[1])
        for found, row in zip(pixels_of(inputs), labels.tolist(), strict=True):
            candidates = list(windows(images.pixels[row], padding).values())
            if flip:
                candidates += [each[:, ::-1] for each in candidates]
            assert any(np.array_equal(found, each) for each in candidates)
            seen += 1
    assert seen == count


def test_every_shift_is_as_likely() -> None:
    images = numbered(900)
    counts: dict[tuple[int, int], int] = {}
    for inputs, labels in raw(images).shuffled(900, epoch_generator(0, 0), crop_padding=1):
        for found, row in zip(pixels_of(inputs), labels.tolist(), strict=True):
            shifts = [s for s, each in windows(images.pixels[row], 1).items() if np.array_equal(found, each)]
            assert len(shifts) == 1
            counts[shifts[0]] = counts.get(shifts[0], 0) + 1
    assert len(counts) == 9
    assert all(60 <= each <= 140 for each in counts.values())  # 100 each, four deviations either way


def test_half_of_the_images_are_mirrored() -> None:
    images = numbered(1000)
    mirrored = 0
    for inputs, labels in raw(images).shuffled(64, epoch_generator(0, 0), flip=True):
        originals = images.pixels[labels.numpy()]
        as_is = (pixels_of(inputs) == originals).all((1, 2, 3))
        flipped = (pixels_of(inputs) == originals[:, :, ::-1]).all((1, 2, 3))
        assert np.all(as_is ^ flipped)
        mirrored += int(flipped.sum())
    assert 437 <= mirrored <= 563  # 500, four deviations either way


def test_an_image_is_augmented_otherwise_in_another_epoch() -> None:
    resident = raw(numbered(40))
    by_row = []
    for epoch in range(2):
        inputs, labels = next(resident.shuffled(40, epoch_generator(0, epoch), crop_padding=2, flip=True))
        by_row.append(pixels_of(inputs)[labels.argsort().numpy()])
    same = (by_row[0] == by_row[1]).all((1, 2, 3)).sum()
    assert same < 10  # one in fifty by chance
