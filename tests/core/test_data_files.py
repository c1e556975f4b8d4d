"""Images from Parquet files and from folders of image files, both written here."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dwray.core.config import DataConfig
from dwray.core.data import Images, load
from dwray.core.data_images import choose_rows
from dwray.errors import DataError

CLASSES = ("bee", "cat", "dog")


def png(value: int, width: int = 8, height: int = 8) -> bytes:
    """One colour that names the image, all over."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (value % 256, value // 256, 7)).save(stream, "PNG")
    return stream.getvalue()


def values(images: Images) -> list[int]:
    """The numbers that :func:`png` was given."""
    corner = images.pixels[:, 0, 0].astype(int)
    return (corner[:, 0] + 256 * corner[:, 1]).tolist()


def write_parquet(
    path: Path,
    labels: Sequence[int | None],
    images: Sequence[bytes | None] | None = None,
    *,
    names: Sequence[str] | None = CLASSES,
    more_labels: Sequence[str] = (),
    first: int = 0,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = images or [png(first + i) for i in range(len(labels))]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"img": pa.array([{"bytes": image, "path": None} for image in images], kind)}
    features: dict[str, Any] = {"img": {"_type": "Image"}}
    for name in ("label", *more_labels):
        columns[name] = pa.array(labels, pa.int64())
        features[name] = {"_type": "ClassLabel", "names": list(names or ())}
    table = pa.table(columns)
    if names is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=7)
    return path


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """30 training images in two files and 9 test images, sorted by class in each."""
    root = tmp_path / "animals"
    write_parquet(root / "train-00000-of-00002.parquet", [0] * 6 + [1] * 6 + [2] * 6)
    write_parquet(root / "train-00001-of-00002.parquet", [0] * 4 + [1] * 4 + [2] * 4, first=18)
    write_parquet(root / "test-00000-of-00001.parquet", [0] * 3 + [1] * 3 + [2] * 3, first=300)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same number of images in folders."""
    root = tmp_path / "animals"
    for part, first, count in (("train", 0, 10), ("test", 300, 3)):
        for c, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                value = first + c * count + i
                (root / part / name / f"{value:04}.png").write_bytes(png(value))
    return root


def at(root: Path, source: str = "parquet", **rest: Any) -> DataConfig:
    return DataConfig(source=source, root=str(root), **rest)


def problem(config: DataConfig) -> str:
    with pytest.raises(DataError) as caught:
        load(config)
    text = str(caught.value)
    assert "\n" not in text
    return text


# Parquet


def test_parquet(parquet: Path) -> None:
    data = load(at(parquet))
    assert (data.name, data.classes) == ("animals", CLASSES)
    assert data.train.pixels.shape == (30, 8, 8, 3)
    assert data.train.pixels.flags.c_contiguous
    assert values(data.train) == list(range(30))
    assert data.train.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [0] * 4 + [1] * 4 + [2] * 4
    assert values(data.test) == list(range(300, 309))


@pytest.mark.parametrize("name", ["validation", "valid"])
def test_parquet_in_data_with_a_validation_set(parquet: Path, name: str) -> None:
    (parquet / "data").mkdir()
    for path in parquet.glob("*.parquet"):
        path.rename(parquet / "data" / path.name.replace("test", name))
    assert len(load(at(parquet)).test) == 9


def test_parquet_decodes_only_the_rows_it_keeps(parquet: Path) -> None:
    whole = load(at(parquet))
    config = at(parquet, max_train_images=9, max_test_images=3, split_seed=2)
    part = load(config)
    kept = choose_rows(whole.train.labels, "train", config)
    assert values(part.train) == np.array(values(whole.train))[kept].tolist()
    assert np.bincount(part.train.labels).tolist() == [3, 3, 3]
    assert len(part.test) == 3
    # all other images are broken now, and nobody notices
    labels = whole.train.labels.tolist()
    contents = [png(row) if row in kept else b"broken" for row in range(30)]
    write_parquet(parquet / "train-00000-of-00002.parquet", labels[:18], contents[:18])
    write_parquet(parquet / "train-00001-of-00002.parquet", labels[18:], contents[18:])
    assert np.array_equal(load(config).train.pixels, part.train.pixels)


def test_parquet_with_two_label_columns(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_parquet(tmp_path / f"{part}-0.parquet", [0, 0, 1, 1, 2, 2], more_labels=["coarse_label"])
    assert "label and coarse_label could each be the label column: set data.label_column" in problem(at(tmp_path))
    assert len(load(at(tmp_path, label_column="coarse_label")).train) == 6
    text = problem(at(tmp_path, label_column="fine"))
    assert "column 'fine' is not there; such are label, coarse_label" in text
    assert "column 'label' is not such a column; such are img" in problem(
        at(tmp_path, label_column="label", image_column="label")
    )


def test_parquet_without_class_names(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", [0, 1], names=None)
    write_parquet(tmp_path / "test-0.parquet", [0, 1], names=None)
    text = problem(at(tmp_path))
    assert "there is no label column" in text
    assert "'ClassLabel'" in text
    assert "the columns are img, label" in text


def test_parquet_of_two_datasets(parquet: Path) -> None:
    write_parquet(parquet / "test-00000-of-00001.parquet", [0, 1, 2], names=("a", "b", "c"))
    assert "are of different datasets" in problem(at(parquet))


def test_parquet_with_a_file_missing(parquet: Path) -> None:
    (parquet / "train-00001-of-00002.parquet").unlink()
    assert "their names say that there are 2" in problem(at(parquet))


def test_parquet_truncated(parquet: Path) -> None:
    path = parquet / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-30])
    assert problem(at(parquet)).startswith(f"{path}: the Parquet file cannot be read (")


def test_parquet_damaged_inside(parquet: Path) -> None:
    path = parquet / "train-00001-of-00002.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(200) + content[204:])
    assert problem(at(parquet)).startswith(f"{path}: the Parquet file cannot be read (")


@pytest.mark.parametrize("source", ["parquet", "image_folder"])
def test_a_root_that_is_not_there(tmp_path: Path, source: str) -> None:
    assert problem(at(tmp_path / "nowhere", source)) == f"data.root: there is no folder {tmp_path / 'nowhere'}"
    assert problem(DataConfig(source=source)).startswith("data.root must be ")


def test_parquet_without_a_test_set(parquet: Path) -> None:
    (parquet / "test-00000-of-00001.parquet").unlink()
    assert "there is no test-*.parquet or validation-*.parquet or valid-*.parquet" in problem(at(parquet))


@pytest.mark.parametrize(
    ("labels", "contents", "message"),
    [
        ([0, 1, 2, -1], None, ", row 3 (counted from 0): label -1 is none of the 3 classes (0 to 2)"),
        ([0, 1, None, 2], None, ", row 2 (counted from 0): there is no label in column 'label'"),
        (
            [0, 1, 2],
            [png(0), b"GIF89a, perhaps", png(2)],
            ", row 1 (counted from 0): the image cannot be decoded",
        ),
        ([0, 1, 2], [png(0), png(1), png(2)[:45]], ", row 2 (counted from 0): the image cannot be decoded"),
        ([0, 1, 2], [png(0), None, png(2)], ", row 1 (counted from 0): no bytes in column 'img'"),
        (
            [0, 1, 2],
            [png(0), png(1, 9, 8), png(2)],
            ", row 1 (counted from 0): the image has 9x8 pixels, but ",
        ),
        ([0, 2, 2], None, ": test: 1 of 3 classes have no image: 'cat'"),
        ([], None, ": test: there are no images"),
    ],
)
def test_parquet_with_bad_rows(
    parquet: Path, labels: list[int | None], contents: list[bytes | None] | None, message: str
) -> None:
    write_parquet(parquet / "test-00000-of-00001.parquet", labels, contents)
    text = problem(at(parquet))
    assert message in text
    assert text.startswith(str(parquet))


def test_parquet_resized(parquet: Path) -> None:
    write_parquet(parquet / "test-00000-of-00001.parquet", [0, 1, 2], [png(5, 20, 10), png(6, 8), png(7, 16)])
    assert "set data.image_size to resize" in problem(at(parquet))
    data = load(at(parquet, image_size=16))
    assert data.train.pixels.shape == (30, 16, 16, 3)
    assert values(data.test) == [5, 6, 7]


def test_parquet_with_grey_images(parquet: Path) -> None:
    stream = io.BytesIO()
    Image.new("L", (8, 8), 40).save(stream, "JPEG")
    write_parquet(parquet / "test-00000-of-00001.parquet", [0, 1, 2], [stream.getvalue()] * 3)
    assert np.all(load(at(parquet)).test.pixels == 40)


# Folders of images


def test_image_folder(folder: Path, parquet: Path) -> None:
    (folder / "train" / "bee" / "notes.txt").write_text("not an image")
    (folder / "train" / ".cache").mkdir()
    data = load(at(folder, "image_folder"))
    assert (data.name, data.classes) == ("animals", CLASSES)
    assert values(data.train) == list(range(30))
    assert data.train.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert values(data.test) == list(range(300, 309))


@pytest.mark.parametrize("name", ["val", "valid"])
def test_image_folder_with_a_validation_set(folder: Path, name: str) -> None:
    (folder / "test").rename(folder / name)
    assert len(load(at(folder, "image_folder")).test) == 9


def test_image_folder_decodes_only_the_images_it_keeps(folder: Path) -> None:
    config = at(folder, "image_folder", max_train_images=9)
    part = load(config)
    assert len(part.train) == 9
    for path in (folder / "train").rglob("*.png"):
        if int(path.stem) not in values(part.train):
            path.write_bytes(b"broken")
    assert np.array_equal(load(config).train.pixels, part.train.pixels)


def test_image_folder_with_many_large_images(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        path.write_bytes(png(int(path.stem), 130, 128))
    data = load(at(folder, "image_folder"))
    assert data.train.pixels.shape == (30, 128, 130, 3)
    assert values(data.train) == list(range(30))


def test_image_folder_with_a_broken_image(folder: Path) -> None:
    path = folder / "test" / "cat" / "0304.png"
    path.write_bytes(path.read_bytes()[:50])
    assert problem(at(folder, "image_folder")).startswith(f"{path}: the image cannot be decoded (")


def test_image_folder_with_other_classes(folder: Path) -> None:
    (folder / "test" / "dog").rename(folder / "test" / "eel")
    text = problem(at(folder, "image_folder"))
    assert f"without a counterpart: {folder / 'train' / 'dog'}, {folder / 'test' / 'eel'}" in text


def test_image_folder_with_an_empty_class(folder: Path) -> None:
    for path in (folder / "train" / "cat").iterdir():
        path.unlink()
    assert f"{folder / 'train'}: 1 of 3 classes have no image: 'cat'" in problem(at(folder, "image_folder"))


def test_image_folder_without_a_test_set(folder: Path) -> None:
    (folder / "test").rename(folder / "elsewhere")
    assert f"{folder}: there is no folder test or val or valid" in problem(at(folder, "image_folder"))


def test_image_folder_without_any_class(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    assert "there are no images" in problem(at(tmp_path, "image_folder"))
