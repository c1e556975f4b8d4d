"""The registry, its checks, the choice of rows, the digits and made-up images."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwray.core.config import DataConfig
from dwray.core.data import DATASETS, ImageData, Images, Source, load, load_splits, split
from dwray.core.data_images import channel_statistics, choose_rows
from dwray.errors import DataError


def problem(config: DataConfig) -> str:
    with pytest.raises(DataError) as caught:
        load_splits(config)
    text = str(caught.value)
    assert "\n" not in text
    return text


# The registry and its checks


def test_the_registry_describes_its_sources() -> None:
    assert list(DATASETS) == ["cifar10", "cifar100", "parquet", "image_folder", "digits", "synthetic"]
    assert all(source.description and "\n" not in source.description for source in DATASETS.values())


@pytest.mark.parametrize(("name", "hint"), [("cifar00", "did you mean 'cifar100'?"), ("?", "there are cifar10,")])
def test_an_unknown_source(name: str, hint: str) -> None:
    assert hint in problem(DataConfig(source=name))


@pytest.mark.parametrize(
    ("source", "option", "value"),
    [
        ("digits", "image_size", 16),
        ("cifar10", "image_size", 16),
        ("parquet", "classes", 3),
        ("image_folder", "label_column", "label"),
    ],
)
def test_a_setting_without_a_meaning(source: str, option: str, value: Any) -> None:
    text = problem(DataConfig(source=source, **{option: value}))
    assert text.startswith(f"data.{option} has no meaning for {source} (only for ")


def test_importing_is_light() -> None:
    heavy = {"torch", "torchvision", "ray", "wandb", "click", "rich", "pydantic", "sklearn", "pyarrow", "PIL"}
    code = f"import sys, dwray.core.data; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def images(labels: Sequence[int], size: int = 8, pixels: np.ndarray | None = None) -> Images:
    random = np.random.default_rng(0)
    made = random.integers(0, 256, (len(labels), size, size, 1), np.uint8) if pixels is None else pixels
    return Images(made, np.array(labels, np.int64))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (images([0, 0, 1, 1]), images([0, 1, -1]), r"mine: test: image 2: label -1 is none of the 2 classes"),
        (images([0, 0, 1, 2]), images([0, 1]), r"mine: train: image 3: label 2 is none of the 2 classes"),
        (images([0, 0]), images([0, 1]), r"mine: train: 1 of 2 classes have no image: 'yes'"),
        (images([0, 1]), images([0, 0]), r"mine: test: 1 of 2 classes have no image: 'yes'"),
        (images([]), images([0, 1]), r"mine: train: there are no images"),
        (images([0, 1]), images([0, 1], size=16), r"the training images are 8x8 .* the test images 16x16"),
        (images([0, 1], pixels=np.zeros((2, 8, 8, 1))), images([0, 1]), r"uint8 array .*, not float64"),
        (
            images([0, 1], pixels=np.zeros((1, 8, 8, 1), np.uint8)),
            images([0, 1]),
            r"one for each of the 1 im",
        ),
        (images([0, 1]), images([0, 1]), r"class 'no' has fewer than 2 training images \(2 such classes\)"),
        (
            images([0, 1] * 3, pixels=np.zeros((6, 8, 8, 1), np.uint8)),
            images([0, 1]),
            r"channel 0 has the same",
        ),
    ],
)
def test_a_source_is_checked(train: Images, test: Images, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source("mine", lambda _: ImageData("mine", ("no", "yes"), train, test))
    monkeypatch.setitem(DATASETS, "mine", source)
    with pytest.raises(DataError, match=message):
        load_splits(DataConfig(source="mine"))


# The choice of rows


def labels_of(counts: Sequence[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


COUNTS = st.lists(st.integers(2, 40), min_size=2, max_size=12)


@given(COUNTS, st.floats(0.01, 0.99), st.integers(0, 2**31))
@settings(deadline=None)
def test_a_split_is_stratified_and_seeded(counts: list[int], fraction: float, seed: int) -> None:
    labels = labels_of(counts)
    rows = np.arange(len(labels))
    pixels = np.zeros((len(rows), 2, 2, 1), np.uint8)
    pixels.reshape(len(rows), 4)[:, :2] = np.stack([rows % 256, rows // 256], 1)  # each image tells its row
    everything = Images(pixels, labels)
    data = ImageData("mine", tuple(map(str, range(len(counts)))), everything, everything)
    config = DataConfig(validation_fraction=fraction, split_seed=seed)
    splits = split(data, config)

    def rows_of(part: Images) -> list[int]:
        return (part.pixels[:, 0, 0, 0] + 256 * part.pixels[:, 0, 1, 0].astype(int)).tolist()

    train, validation = rows_of(splits.train), rows_of(splits.validation)
    assert train == sorted(train)
    assert validation == sorted(validation)
    assert sorted(train + validation) == rows.tolist()  # disjoint, and the whole
    assert np.array_equal(splits.train.labels, labels[train])
    assert np.array_equal(splits.validation.labels, labels[validation])

    held = np.bincount(splits.validation.labels, minlength=len(counts))
    size = round(len(labels) * fraction)
    assert np.all(np.abs(held - np.array(counts) * size / len(labels)) <= 1)
    assert np.all(held >= 1)
    assert np.all(held < counts)
    if min(counts) * min(fraction, 1 - fraction) > 1.5:  # no class that needs an exception
        assert len(validation) == size

    assert rows_of(split(data, config).validation) == validation


@given(COUNTS, st.integers(1, 500), st.integers(0, 2**31))
@settings(deadline=None)
def test_a_subset_is_stratified_and_seeded(counts: list[int], limit: int, seed: int) -> None:
    labels = labels_of(counts)
    config = DataConfig(max_train_images=limit, split_seed=seed)
    if limit < len(counts):
        with pytest.raises(DataError, match=f"max_train_images is {limit}, but each of the {len(counts)} classes"):
            choose_rows(labels, "train", config)
        return
    rows = choose_rows(labels, "train", config)
    assert len(rows) == min(limit, len(labels))
    assert np.all(np.diff(rows) > 0)
    kept = np.bincount(labels[rows], minlength=len(counts))
    assert np.all(kept >= 1)
    exact = np.array(counts) * len(rows) / len(labels)
    if exact.min() >= 1:
        assert np.all(np.abs(kept - exact) < 1)
    assert np.array_equal(rows, choose_rows(labels, "train", config))
    assert len(choose_rows(labels, "test", config)) == len(labels)


def test_another_seed_is_another_split() -> None:
    first, second = (load_splits(DataConfig(split_seed=seed)) for seed in (0, 1))
    assert not np.array_equal(first.validation.pixels, second.validation.pixels)
    assert np.array_equal(first.test.pixels, second.test.pixels)


def test_the_statistics_are_exact() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (300, 130, 120, 3), np.uint8)  # more than is looked at in one go
    pixels[..., 1] //= 3
    mean, std = channel_statistics(pixels)
    count = 300 * 130 * 120
    sums = pixels.sum((0, 1, 2), dtype=np.int64)
    assert mean == tuple(int(total) / count / 255 for total in sums)
    deviations = [(pixels[..., c] / 255 - mean[c]).std() for c in range(3)]
    assert list(std) == pytest.approx(deviations, rel=1e-9)


# Digits and made-up images


def test_digits() -> None:
    data = load(DataConfig())
    assert (data.name, data.classes, data.synthetic) == ("digits", tuple("0123456789"), False)
    assert data.train.pixels.shape == (1438, 8, 8, 1)
    assert data.test.pixels.shape == (359, 8, 8, 1)
    assert data.train.pixels.max() == 255
    shares = np.bincount(data.test.labels) / (np.bincount(data.train.labels) + np.bincount(data.test.labels))
    assert np.all(np.abs(shares - 0.2) < 0.01)
    assert np.array_equal(load(DataConfig(split_seed=5)).test.pixels, data.test.pixels)
    splits = load_splits(DataConfig())
    assert len(splits.validation) == 144
    assert len(splits.mean) == len(splits.std) == 1


def test_synthetic() -> None:
    config = DataConfig(source="synthetic", image_size=12, classes=7, max_train_images=100, max_test_images=50)
    data = load(config)
    assert data.synthetic
    assert load_splits(config).synthetic
    assert data.train.pixels.shape == (100, 12, 12, 3)
    assert data.test.pixels.shape == (50, 12, 12, 3)
    assert set(np.bincount(data.train.labels)) == {14, 15}
    assert np.array_equal(data.train.pixels, load(config).train.pixels)
    other = load(DataConfig(source="synthetic", max_train_images=10, max_test_images=10, split_seed=1))
    assert other.train.pixels.shape == (10, 32, 32, 3)


def test_synthetic_with_too_few_images() -> None:
    assert "each of the 10 classes needs an image" in problem(DataConfig(source="synthetic", max_train_images=9))
