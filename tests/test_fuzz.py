"""Bad files, thousands of them: whatever a sweep file or a run's folder holds, an error is one line, no traceback."""

import io
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from records import make_run
from tiny import TINY

from dwray.cli import main
from dwray.errors import EXIT_FAILED, EXIT_USAGE
from dwray.paths import RunPaths
from dwray.results.schema import EPOCHS, TIMINGS, TRIALS

SWEEPS = Path(__file__).parent.parent / "sweeps"


def command(*arguments: str) -> tuple[int, str]:
    """Exit code and standard error of ``dwray ARGUMENTS``, in this process: what it does not catch, the test gets."""
    out, error = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["dwray", *arguments]),
        redirect_stdout(out),
        redirect_stderr(error),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, error.getvalue()


def assert_one_line(code: int, error: str, refused: int) -> None:
    """All well and nothing said, or refused in one line that a terminal can show."""
    if code == 0:
        assert error == ""
        return
    assert code == refused
    assert error.startswith("dwray: ")
    assert error.endswith("\n")
    assert error[:-1].isprintable(), error


# --- sweep files

TEXTS = [path.read_text() for path in sorted(SWEEPS.glob("*.yaml"))] + [yaml.safe_dump(TINY, sort_keys=False)]
SNIPPETS = (
    *(": ", ":", "- ", "[", "]", "{", "}", ",", "#", "\n", "\t", "  ", "&a ", "*a", "<<: *a\n", "---\n", "%YAML 9.9\n"),
    *("!!binary x", "!!int x", "!!float x", "!!bool x", "!!timestamp x", "!!set {a}", "!!python/name:os.system", "? "),
    *(
        ".nan",
        ".inf",
        "-.inf",
        "1e999",
        "9" * 20,
        "9" * 5000,
        "0x" + "f" * 5000,
        "-0",
        "1_0",
        "190:20:30",
        "0o7",
        "010",
    ),
    *("2024-99-99", "2024-01-01", "null", "~", "true", "auto", '"', "'", '"\\ud800"', '"\\UFFFFFFFF"', '"a\\nb"'),
    *("\x00", "\x85", "\ufeff", "\u2028", "\u202e", "é", "🙂", "\x1b[31m", "paper", "corrected", "x" * 300),
)
ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**400]),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["auto", "paper", "ConvNet", "digits", "float32", "momentum_reset_each_epoch", "a + b"]),
        st.dates(),
        st.binary(max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=10), st.integers(), st.booleans()), inner, max_size=4),
    ),
    max_leaves=8,
)


@st.composite
def edited_texts(draw: st.DrawFn) -> str:
    """A valid sweep file with pieces taken out and others put in."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 60, len(text))))
        text = text[:start] + draw(st.one_of(st.just(""), st.sampled_from(SNIPPETS), st.text(max_size=5))) + text[end:]
    return text


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a tree of mappings and lists, as container and key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


@st.composite
def edited_trees(draw: st.DrawFn) -> str:
    """A valid sweep file with other values, keys and types in some of its places."""
    tree = yaml.safe_load(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(places(tree)) or [(tree, "name")]))
        if isinstance(container, dict) and draw(st.booleans()):
            container[draw(st.one_of(st.text(max_size=10), st.sampled_from(["epochs", "network", "base"])))] = (
                container.pop(key)
            )
        else:
            container[key] = draw(ANYTHING)
    return yaml.dump(tree, sort_keys=False, allow_unicode=draw(st.booleans()))


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)
CONTENTS = st.one_of(
    edited_texts().map(lambda text: text.encode("utf-8", "surrogatepass")),
    edited_trees().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=200),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=400, deadline=None)
@given(CONTENTS)
@example(b"")
@example(b"- 1")
@example(BOMB.encode())
@example(b"networks: &a [*a]")
@example(b"networks: &a {ConvNet: *a}")
@example(b"networks: " + b"[" * 20_000)
@example(b"networks: " + b"[" * 300 + b"]" * 300)
@example(b"{a: " * 20_000)
@example(b"networks: [ConvNet]\ntraining: {epochs: " + b"9" * 5000 + b"}")
@example(b"networks: [ConvNet]\ntraining: {epochs: 0x" + b"f" * 5000 + b"}")
@example(b"networks: [ConvNet]\ntraining: {epochs: " + b"9" * 4000 + b"}")
@example(b"networks: [ConvNet]\nseeds: [" + b"0," * 100_000 + b"]")
@example(b'networks: [ConvNet]\n"a\\nb\\e[31m": 1')
@example(b'networks: {"\\ud800": {network: ConvNet}}')
@example(b"networks: [ConvNet]\nname: !!timestamp x")
@example(b"networks: [ConvNet]\nname: 2024-99-99")
@example(b'networks: [ConvNet]\nname: "\\UFFFFFFFF"')
@example(b"networks: [ConvNet]\nname: !!bool perhaps")
def test_a_sweep_file_is_planned_or_refused_in_one_line(folder: Path, content: bytes) -> None:
    path = folder / "mine.yaml"
    path.write_bytes(content)
    assert_one_line(*command("plan", str(path), "--no-calibrate"), refused=EXIT_USAGE)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(max_size=30),
        st.builds(
            "{}={}".format,
            st.sampled_from(
                ["networks", "networks.ConvNet.training", "data.source", "timing", "protocol", "search.axes"]
            ),
            st.one_of(ANYTHING.map(yaml.dump), st.sampled_from(SNIPPETS), st.text(max_size=20)),
        ),
    )
)
@example("a..b=1")
@example("networks.0=1")
@example("seeds.a=1")
@example("search.axes.initial_lr=[0.1, .nan]")
def test_a_setting_is_planned_or_refused_in_one_line(override: str) -> None:
    assert_one_line(*command("plan", "digits", "--no-calibrate", f"--set={override}"), refused=EXIT_USAGE)


# --- the records of a run

TABLES = {"trials": TRIALS, "epochs": EPOCHS, "timings": TIMINGS}
FILES = tuple(f"{name}.parquet" for name in TABLES)
ABSURD: Mapping[pa.DataType, tuple[Any, ...]] = {
    pa.string(): ("", "\x1b[31m\n", "<script>", "🙂", "x" * 500, "search", "train", "completed", "cuda"),
    pa.int64(): (0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)),
    pa.float64(): (0.0, -0.0, -1.0, math.nan, math.inf, -math.inf, 1e-320, 1e308, -1e308),
    pa.bool_(): (True, False),
    pa.timestamp("ms", tz="UTC"): (0, 2**62, -(2**62), 2**63 - 1),
}
IDENTITY = (
    *("contenders", "protocol", "errata", "compare_with", "target_accuracy_percent", "sweep", "run_id"),
    *("dwray_version", "schema_version", "ARROW:schema", "PARQUET:field_id", "\x1b"),
)
Damage = Callable[[RunPaths], None]
METADATA_TEXT = st.one_of(
    st.text(max_size=20),
    ANYTHING.map(lambda value: json.dumps(value, default=str)),
    st.sampled_from(['["A", "A"]', "{}", "[]", "null", '[["A"]]', '{"base": "paper"}', '{"base": 1}', '["nonsense"]']),
    st.sampled_from(["[" * 5000, "9" * 5000, '["A"', "NaN", '"\\ud800"', "cifar10", "paper"]),
).map(lambda text: text.encode("utf-8", "surrogatepass"))


@st.composite
def damaged_bytes(draw: st.DrawFn) -> Damage:
    """A file cut off, with bits turned over, or something else altogether."""
    name = draw(st.sampled_from([*FILES, *FILES, "storage.json", "wandb.json"]))
    kind = draw(st.sampled_from(["cut", "flip", "flip", "other", "folder", "missing"]))
    where, bit = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(0, 7))
    flips = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5))
    other = draw(st.one_of(st.binary(max_size=60), METADATA_TEXT, st.just(b'{"location": 1}')))

    def damage(paths: RunPaths) -> None:
        path = paths.folder / name
        content = bytearray(path.read_bytes() if path.is_file() else b'{"location": "somewhere"}')
        if kind == "cut":
            content = content[: int(where * len(content))]
        elif kind == "flip":
            for place in flips:
                content[int(place * len(content))] ^= 1 << bit
        else:
            content = bytearray(other)
        path.unlink(missing_ok=True)
        if kind == "folder":
            path.mkdir()
        elif kind != "missing":
            path.write_bytes(content)

    return damage


@st.composite
def damaged_columns(draw: st.DrawFn) -> Damage:
    """A table with other values, columns, types or rows than a sweep writes."""
    name = draw(st.sampled_from(list(TABLES)))
    changes = []
    for _ in range(draw(st.integers(1, 3))):
        field = draw(st.sampled_from(list(TABLES[name])))
        kind = draw(st.sampled_from(["null", "value", "value", "value", "drop", "retype", "twice"]))
        rows = draw(st.sampled_from(["all", "first", "last"]))
        changes.append((field, kind, rows, draw(st.sampled_from(ABSURD[field.type]))))
    count = draw(st.sampled_from([None, None, None, 0, 1, -1]))

    def damage(paths: RunPaths) -> None:
        path = paths.folder / f"{name}.parquet"
        table = pq.ParquetFile(path).read()
        for field, kind, rows, value in changes:
            if table.column_names.count(field.name) != 1:
                continue
            index = table.column_names.index(field.name)
            old = table.column(index)
            if kind == "drop":
                table = table.remove_column(index)
            elif kind == "retype":
                table = table.set_column(index, field.name, pa.array([b"\xff"] * len(table), pa.binary()))
            elif kind == "twice":
                table = table.append_column(field.name, old)
            elif len(table) and old.type == field.type:
                new = pa.array([None if kind == "null" else value] * len(table), old.type)
                hit = {"all": range(len(table)), "first": [0], "last": [len(table) - 1]}[rows]
                picked = pa.array([row in hit for row in range(len(table))])
                table = table.set_column(index, field, pa.compute.if_else(picked, new, old.combine_chunks()))
        if count == -1:
            table = pa.concat_tables([table, table])
        pq.write_table(table if count in (None, -1) else table.slice(0, count), path)

    return damage


@st.composite
def damaged_metadata(draw: st.DrawFn) -> Damage:
    """What a file says of its run, replaced or left out."""
    name = draw(st.sampled_from(["trials", "trials", "epochs"]))
    said = draw(
        st.dictionaries(
            st.sampled_from(IDENTITY),
            st.one_of(st.none(), METADATA_TEXT, st.binary(max_size=5)),
            min_size=1,
            max_size=2,
        )
    )

    def damage(paths: RunPaths) -> None:
        path = paths.folder / f"{name}.parquet"
        table = pq.ParquetFile(path).read()
        metadata = {**table.schema.metadata, **{key.encode(): value for key, value in said.items()}}
        table = table.replace_schema_metadata({key: value for key, value in metadata.items() if value is not None})
        pq.write_table(table, path)

    return damage


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """A run whose records are whole."""
    return make_run(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def damaged(run: RunPaths, folder: Path) -> Callable[[Damage], Path]:
    """A copy of the run with a damage."""

    def copy(damage: Damage) -> Path:
        target = RunPaths(folder / "damaged")
        shutil.rmtree(target.folder, ignore_errors=True)
        shutil.copytree(run.folder, target.folder)
        damage(target)
        return target.folder

    return copy


DAMAGES = st.one_of(damaged_bytes(), damaged_columns(), damaged_metadata())
QUIET = [HealthCheck.function_scoped_fixture]


@settings(max_examples=300, deadline=None, suppress_health_check=QUIET)
@given(DAMAGES)
def test_the_status_of_a_damaged_run_is_told_or_refused_in_one_line(
    damaged: Callable[[Damage], Path], damage: Damage
) -> None:
    assert_one_line(*command("status", str(damaged(damage))), refused=EXIT_FAILED)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(DAMAGES)
def test_the_report_of_a_damaged_run_is_made_or_refused_in_one_line(
    damaged: Callable[[Damage], Path], damage: Damage
) -> None:
    assert_one_line(*command("report", str(damaged(damage)), "-q"), refused=EXIT_FAILED)
