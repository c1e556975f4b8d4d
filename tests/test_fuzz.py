"""Bad files, thousands of them: whatever a sweep file or a run's folder holds, an error is one line, no traceback."""

import io
import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
import yaml
from bad import ANYTHING, BOMB, CONTENTS, METADATA_TEXT, NESTED, SNIPPETS, places
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from records import make_run
from tiny import TINY

from dwray.cli import main
from dwray.core.environment import environment
from dwray.errors import EXIT_FAILED, EXIT_USAGE
from dwray.paths import RunPaths
from dwray.results import lease
from dwray.results.lease import Lease
from dwray.results.progress import Capacity
from dwray.results.run_standing import CAPACITY, noted_capacity
from dwray.results.schema import EPOCHS, TIMINGS, TRIALS
from dwray.results.store import write_json
from dwray.spec import to_plain
from dwray.storage import Storage
from dwray.sweepfile import validate


def command(*arguments: str) -> tuple[int, str]:
    """Exit code and standard error of ``dwray ARGUMENTS``, in this process: what it does not catch, the test gets."""
    out, error = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
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
    CAPACITY,
    *("contenders", "protocol", "errata", "compare_with", "target_accuracy_percent", "sweep", "run_id"),
    *("dwray_version", "schema_version", "ARROW:schema", "PARQUET:field_id", "\x1b"),
)
Damage = Callable[[RunPaths], None]


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

    return lambda paths: say(paths.folder / f"{name}.parquet", said)


def say(path: Path, said: Mapping[str, bytes | None]) -> None:
    """Replace what a file says of its run; None leaves it out."""
    table = pq.ParquetFile(path).read()
    metadata = {**table.schema.metadata, **{key.encode(): value for key, value in said.items()}}
    table = table.replace_schema_metadata({key: value for key, value in metadata.items() if value is not None})
    pq.write_table(table, path)


# --- what lies beside the records

SWEEP, ENVIRONMENT, DRIVER = "sweep.yaml", "environment.json", lease.NAME
CAPACITIES = st.fixed_dictionaries(
    {"stage": st.just("time")},
    optional={
        "kind": st.one_of(st.sampled_from(["GPU", "CPU"]), ANYTHING),
        **dict.fromkeys(("total", "per_trial", "slots"), st.one_of(st.integers(-1, 8), ANYTHING)),
    },
).map(lambda value: json.dumps(value, default=str).encode())


def with_file(name: str, content: bytes) -> Damage:
    """One of the files beside the records holds something else."""
    return lambda paths: (paths.folder / name).write_bytes(content) and None


def with_capacity(noted: bytes) -> Damage:
    """The driver noted something else of its cluster."""
    return lambda paths: say(paths.trials, {CAPACITY: noted})


@st.composite
def edited_json(draw: st.DrawFn) -> Damage:
    """A JSON file with another value in one of its places."""
    name = draw(st.sampled_from([ENVIRONMENT, DRIVER]))
    where, value = draw(st.floats(0, 1, exclude_max=True)), draw(ANYTHING)

    def damage(paths: RunPaths) -> None:
        tree = json.loads((paths.folder / name).read_text())
        found = list(places(tree))
        container, key = found[int(where * len(found))]
        container[key] = value
        (paths.folder / name).write_text(json.dumps(tree, default=str))

    return damage


BESIDE = st.one_of(
    st.builds(with_file, st.just(SWEEP), CONTENTS),
    st.builds(with_file, st.sampled_from([ENVIRONMENT, DRIVER, "storage.json", "wandb.json"]), METADATA_TEXT),
    st.builds(with_capacity, st.one_of(CAPACITIES, METADATA_TEXT)),
    edited_json(),
)
BAD_SWEEPS = (
    *(b"name: 2024-99-99", b"seeds: [" + b"9" * 5000 + b"]", b"name: !!int x", b"name: !!timestamp x"),
    *(b"name: !!bool perhaps", b"networks: " + b"[" * 1_000, b"networks: &a [*a]", b"networks: &a {ConvNet: *a}"),
    *(BOMB.encode(), b"\xff\xfe", b'name: "\\ud800"', b"search: {axes: {initial_lr: [{a: 1}, [2]]}}"),
)
BAD_JSON = (
    NESTED,
    b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
    b"[]",
    b"\xff",
    b"9" * 5_000,
    b'{"a": "\\ud800"}',
    b'{"pid": 1e999}',
)
BAD_BESIDE = (
    *(with_file(SWEEP, content) for content in BAD_SWEEPS),
    *(with_file(name, content) for name in (ENVIRONMENT, DRIVER, "storage.json", "wandb.json") for content in BAD_JSON),
    *(
        with_capacity(noted)
        for noted in (NESTED, b'{"stage": "time", "kind": "GPU", "total": "8", "per_trial": 1, "slots": 1}')
    ),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """A run whose files are whole, and which this process works on."""
    paths = make_run(tmp_path_factory.mktemp("whole"))
    networks = {"A": {"network": "ConvNet"}, "B": {"network": "DepthwiseConvNet", "width": 0.5}}
    spec = validate({**TINY, "networks": networks}, SWEEP)
    paths.sweep.write_text(yaml.safe_dump(to_plain(spec), sort_keys=False))
    write_json(paths.environment, environment())
    with Lease(Storage(paths.folder)):
        held = (paths.folder / DRIVER).read_bytes()
    (paths.folder / DRIVER).write_bytes(held)
    noted = noted_capacity("time", Capacity("GPU", 8, 0.5, 16))
    say(paths.trials, {key: value.encode() for key, value in noted.items()})
    return paths


@pytest.fixture
def damaged(run: RunPaths, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Damage], Path]:
    """A copy of the run with a damage."""
    monkeypatch.setattr(lease, "SILENT_SECONDS", 0.0)

    def copy(damage: Damage) -> Path:
        target = RunPaths(folder / "damaged")
        shutil.rmtree(target.folder, ignore_errors=True)
        shutil.copytree(run.folder, target.folder)
        damage(target)
        return target.folder

    return copy


DAMAGES = st.one_of(damaged_bytes(), damaged_columns(), damaged_metadata(), BESIDE)
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


QUICK = (("status",), ("show",), ("show", "A seed=0"), ("report", "--format", "md"))


@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
@given(st.sampled_from(QUICK), BESIDE)
def test_what_lies_beside_the_records_is_told_or_refused_in_one_line(
    damaged: Callable[[Damage], Path], asked: tuple[str, ...], damage: Damage
) -> None:
    name, *options = asked
    assert_one_line(*command(name, str(damaged(damage)), *options), refused=EXIT_FAILED)


@settings(max_examples=30, deadline=None, suppress_health_check=QUIET)
@given(BESIDE)
def test_a_comparison_with_a_damaged_run_is_made_or_refused_in_one_line(
    run: RunPaths, damaged: Callable[[Damage], Path], damage: Damage
) -> None:
    assert_one_line(*command("report", str(run.folder), str(damaged(damage)), "--json"), refused=EXIT_FAILED)


@pytest.mark.parametrize("number", range(len(BAD_BESIDE)))
def test_every_command_takes_or_refuses_the_worst_that_lies_beside_the_records(
    run: RunPaths, damaged: Callable[[Damage], Path], number: int
) -> None:
    broken = str(damaged(BAD_BESIDE[number]))
    for name, *options in (*QUICK, ("report", str(run.folder), "--json")):
        assert_one_line(*command(name, broken, *options), refused=EXIT_FAILED)
