"""Bad Parquet files of a dataset, hundreds of them: each is loaded, or refused in one line."""

import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bad import ANYTHING, METADATA_TEXT, NESTED
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from dwray.core.config import DataConfig
from dwray.core.sources_parquet import load_parquet
from dwray.errors import DataError

Shard = Callable[[Path], None]
KIND = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_dataset(root: Path) -> None:
    """Six training and two test images of two classes, in Hugging Face's layout."""
    features = {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["bee", "cat"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for part, count in (("train", 6), ("test", 2)):
        images = [{"bytes": png(row), "path": None} for row in range(count)]
        columns = {"img": pa.array(images, KIND), "label": pa.array([row % 2 for row in range(count)], pa.int64())}
        table = pa.table(columns).replace_schema_metadata(metadata)
        pq.write_table(table, root / f"{part}-0.parquet", row_group_size=4)


def png(grey: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (grey, grey, grey)).save(stream, "PNG")
    return stream.getvalue()


@st.composite
def shards_of_bytes(draw: st.DrawFn) -> Shard:
    """A file cut off, with bits turned over, or something else altogether."""
    kind = draw(st.sampled_from(["cut", "flip", "flip", "flip", "other"]))
    where, bit = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(0, 7))
    flips = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5))
    other = draw(st.binary(max_size=60))

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        for place in flips if kind == "flip" else ():
            content[int(place * len(content))] ^= 1 << bit
        cut = content[: int(where * len(content))] if kind == "cut" else content
        path.write_bytes(other if kind == "other" else cut)

    return damage


COLUMNS: Mapping[str, pa.Array] = {
    "labels": pa.array([1, 0], pa.int64()),
    "no labels": pa.array([None, 0], pa.int64()),
    "outside": pa.array([2**63, 1], pa.uint64()),
    "text": pa.array(["a", "b"]),
    "numbers": pa.array([0.0, math.nan]),
    "dictionary": pa.array(["a", "b"]).dictionary_encode(),
    "images": pa.array([{"bytes": png(0), "path": None}] * 2, KIND),
    "no images": pa.array([{"bytes": None, "path": None}, None], KIND),
    "no bytes": pa.array([{"bytes": b"nonsense", "path": None}] * 2, KIND),
    "text as bytes": pa.array([{"bytes": "x"}] * 2),
    "bytes twice": pa.StructArray.from_arrays([pa.array([png(0)] * 2)] * 2, ["bytes", "bytes"]),
    "lists": pa.array([[1], [2]]),
    "null": pa.nulls(2),
}


def shard(columns: Iterable[tuple[str, str]], features: bytes | None = None) -> Shard:
    """A file of other columns, by names that may be the same, and of what is said of them."""
    said = json.dumps({"info": {"features": {"label": {"_type": "ClassLabel", "names": ["bee", "cat"]}}}}).encode()

    def write(path: Path) -> None:
        named = [(name, COLUMNS[kind]) for name, kind in columns]
        table = pa.Table.from_arrays([column for _, column in named], [name for name, _ in named])
        pq.write_table(table.replace_schema_metadata({"huggingface": said if features is None else features}), path)

    return write


FEATURES = st.one_of(
    METADATA_TEXT,
    ANYTHING.map(lambda names: {"_type": "ClassLabel", "names": names}).map(
        lambda label: json.dumps({"info": {"features": {"label": label}}}, default=str).encode()
    ),
)
NAMES = ("img", "label", "label")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["train", "test"]),
    st.one_of(
        shards_of_bytes(),
        st.builds(
            shard,
            st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(list(COLUMNS))), max_size=4),
            st.one_of(st.none(), FEATURES),
        ),
        st.builds(shard, st.just([("img", "images"), ("label", "labels")]), FEATURES),
    ),
)
@example("train", shard([("img", "images"), ("label", "labels"), ("label", "labels")]))
@example("test", shard([("img", "images"), ("img", "images"), ("label", "labels")]))
@example("train", shard([("img", "bytes twice"), ("label", "labels")]))
@example("train", shard([("img", "images"), ("label", "labels")], NESTED))
def test_a_dataset_is_loaded_or_refused_in_one_line(tmp_path: Path, part: str, damage: Shard) -> None:
    write_dataset(tmp_path)
    damage(tmp_path / f"{part}-0.parquet")
    try:
        load_parquet(DataConfig(source="parquet", root=str(tmp_path)))
    except DataError as error:
        assert str(error).isprintable()  # noqa: PT017
