"""Parquet files in Hugging Face's layout: encoded images, integer labels, class names in the metadata."""

import re
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dwray.core.config import DataConfig
from dwray.core.data_images import ImageData, Images, Part, Rows, check_labels, choose_rows
from dwray.core.sources_decode import Encoded, decode
from dwray.errors import DataError, parse_json

TEST_NAMES = ("test", "validation", "valid")
"""What the test set's files are called; the first of these that is there is taken."""
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class _Columns:
    image: str
    label: str
    classes: tuple[str, ...]


def load_parquet(config: DataConfig) -> ImageData:
    """Load ``train-*.parquet`` and ``test-*.parquet`` from the folder ``root`` or ``root/data``.

    Without files for ``test``, those for ``validation`` or ``valid`` are the test set. Images become RGB. The
    labels are read first; only the images of the rows that are kept are decoded.

    Args:
        config: ``root``; ``image_column`` and ``label_column`` where the types leave a choice; ``image_size``
            to resize; the limits on the number of images.

    Returns:
        The images that the limits keep, in the files' order.

    Raises:
        DataError: missing or broken files, no such columns, labels out of range, images that cannot be
            decoded.
    """
    if config.root is None:
        raise DataError("data.root must be the folder of the Parquet files (train-*.parquet, test-*.parquet)")
    root = Path(config.root).expanduser()
    if not root.is_dir():
        raise DataError(f"data.root: there is no folder {root}")
    train, test = _shards(root, ("train",)), _shards(root, TEST_NAMES)
    columns = _columns(train[0], config)
    for path in (*train[1:], *test):
        classes = _columns(path, config, columns).classes
        if classes != columns.classes:
            raise DataError(
                f"{path}: the class names of column {columns.label!r} are not those of {train[0]}: "
                "the files are of different datasets"
            )
    return ImageData(
        root.resolve().name,
        columns.classes,
        _read(train, "train", columns, config),
        _read(test, "test", columns, config),
    )


def _shards(root: Path, names: tuple[str, ...]) -> list[Path]:
    """The files of a set, in order and complete."""
    for name in names:
        for folder in (root, root / "data"):
            paths = sorted(folder.glob(f"{name}-*.parquet"))
            if paths:
                _check_complete(paths)
                return paths
    wanted = " or ".join(f"{name}-*.parquet" for name in names)
    raise DataError(f"{root}: there is no {wanted}, here or in its subfolder data: data.root must be their folder")


def _check_complete(paths: list[Path]) -> None:
    numbers = [re.search(r"-(\d+)-of-(\d+)\.parquet$", path.name) for path in paths]
    of = [int(match[2]) for match in numbers if match]
    if len(of) == len(paths) and (len(set(of)) > 1 or len(paths) != of[0]):
        raise DataError(
            f"{paths[0].parent}: {len(paths)} files {paths[0].name}, ... are there, but their names say that "
            f"there are {max(of)}: copy or download all of them, of one version"
        )


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """An open file; what Arrow has against it, then or as it is read, is a DataError."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # ValueError: names of columns that are no text
        raise DataError(
            f"{path}: the Parquet file cannot be read ({' '.join(str(error).split())}): it is "
            "truncated or damaged, copy or download it again"
        ) from error


def _columns(path: Path, config: DataConfig, found: _Columns | None = None) -> _Columns:
    """Find the columns by their types; in further files those of the first must be there."""
    from pyarrow.types import is_integer

    with _open(path) as file:
        schema = file.schema_arrow
    features = _features(schema.metadata)
    images = list(dict.fromkeys(f.name for f in schema if _is_image(f.type)))
    labels = [name for name in dict.fromkeys(schema.names) if features.get(name, {}).get("_type") == "ClassLabel"]
    image = _pick(path, "image", found.image if found else config.image_column, images, schema.names)
    label = _pick(path, "label", found.label if found else config.label_column, labels, schema.names)
    for name in (image, label):
        if schema.names.count(name) > 1:
            raise DataError(f"{path}: there is more than one column {name!r}: rename or take out all but one")
    names: Any = features[label].get("names")
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not is_integer(schema.field(label).type) or not is_list:
        raise DataError(
            f"{path}: column {label!r} is called a ClassLabel, but its type is {schema.field(label).type} "
            f"and its names are {reprlib.repr(names)}: integers and a list of names are expected"
        )
    return _Columns(image, label, tuple(names))


def _features(metadata: dict[bytes, bytes] | None) -> dict[str, dict[str, Any]]:
    """What Hugging Face's ``datasets`` writes about the columns into the schema, if it did."""
    try:
        features = parse_json((metadata or {})[b"huggingface"])["info"]["features"].items()
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {name: feature for name, feature in features if isinstance(feature, dict)}


def _is_image(kind: Any) -> bool:
    from pyarrow.types import is_binary, is_large_binary, is_struct

    if not is_struct(kind):
        return False
    return any(f.name == "bytes" and (is_binary(f.type) or is_large_binary(f.type)) for f in kind)


EXPECTED = {
    "image": "a column of type struct<bytes: binary, path: string> with encoded images (PNG, JPEG, ...)",
    "label": "an integer column whose class names stand in the schema's metadata as Hugging Face's datasets "
    "writes them (key 'huggingface': info.features.<column> with _type 'ClassLabel' and names)",
}


def _pick(path: Path, what: str, wanted: str | None, candidates: list[str], names: list[str]) -> str:
    option = f"data.{what}_column"
    if wanted is None and len(candidates) == 1:
        return candidates[0]
    if wanted is None and candidates:
        raise DataError(
            f"{path}: {' and '.join(candidates)} could each be the {what} column: set {option} to one of them"
        )
    if wanted is not None and wanted in candidates:
        return wanted
    problem = f"there is no {what} column"
    if wanted is not None:
        problem = f"column {wanted!r} " + ("is not such a column" if wanted in names else "is not there")
    found = f"such are {', '.join(candidates)}; " if candidates else ""
    raise DataError(
        f"{path}: {problem}; {found}expected is {EXPECTED[what]}; the columns are {', '.join(names)}: "
        f"mend the file, or set {option}"
    )


def _read(paths: list[Path], part: Part, columns: _Columns, config: DataConfig) -> Images:
    labels_of = [_labels(path, columns.label) for path in paths]
    labels = np.concatenate(labels_of)
    starts = np.cumsum([0, *map(len, labels_of)])

    def place(row: int) -> str:
        shard = int(np.searchsorted(starts, row, side="right")) - 1
        return _where(paths[shard], row - int(starts[shard]))

    check_labels(labels, columns.classes, f"{paths[0].parent}: {part}", place)
    rows = choose_rows(labels, part, config)

    def encoded() -> Iterator[Encoded]:
        for path, start, end in zip(paths, starts[:-1], starts[1:], strict=True):
            yield from _images(path, columns.image, rows[(rows >= start) & (rows < end)] - start)

    return Images(decode(encoded(), len(rows), config.image_size), labels[rows])


def _where(path: Path, row: int) -> str:
    return f"{path}, row {row} (counted from 0)"


def _labels(path: Path, column: str) -> Rows:
    with _open(path) as file:
        values = file.read(columns=[column]).column(column)
    if values.null_count:
        row = int(np.flatnonzero(values.is_null().to_numpy())[0])
        raise DataError(f"{_where(path, row)}: there is no label in column {column!r}: mend the row or take it out")
    labels: Rows = values.to_numpy().astype(np.int64)
    return labels


def _images(path: Path, column: str, rows: Rows) -> Iterator[Encoded]:
    """The encoded images of these ascending rows of one file; row groups without any are not read."""
    import pyarrow
    from pyarrow.compute import struct_field

    with _open(path) as file:
        start = 0
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            if len(_within(rows, start, end)):
                for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=[column]):
                    wanted = _within(rows, start, start + len(batch))
                    contents = struct_field(batch.column(0), "bytes").take(pyarrow.array(wanted - start))
                    for row, content in zip(wanted.tolist(), contents.to_pylist(), strict=True):
                        if content is None:
                            raise DataError(f"{_where(path, row)}: no bytes in column {column!r}: mend the row")
                        yield Encoded(content, _where(path, row))
                    start += len(batch)
            start = end


def _within(rows: Rows, start: int, end: int) -> Rows:
    return rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
