"""A folder to run the documents' commands in."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from documents import BLOCKS, ROOT
from records import make_run
from tiny import TINY

from dwray.core.environment import environment
from dwray.paths import RunPaths
from dwray.results.store import write_json

Fault = Callable[[RunPaths], None]


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.ParquetFile(path).read()), path)


def with_metadata(**values: str) -> Callable[[pa.Table], pa.Table]:
    said = {key.encode(): value.encode() for key, value in values.items()}
    return lambda table: table.replace_schema_metadata({**table.schema.metadata, **said})


def negative(table: pa.Table) -> pa.Table:
    index = table.column_names.index("seconds")
    return table.set_column(index, table.schema.field(index), pa.array([-1.0] * len(table)))


FAULTS: dict[str, Fault] = {
    "cut": lambda paths: paths.trials.write_bytes(paths.trials.read_bytes()[:-100]) and None,
    "older": lambda paths: rewrite(paths.trials, with_metadata(schema_version="1")),
    "foreign": lambda paths: pq.write_table(pa.table({"x": [1]}), paths.trials),
    "absurd": lambda paths: rewrite(paths.timings, negative),
    "unnamed": lambda paths: rewrite(paths.trials, with_metadata(contenders="nobody")),
    "lost": lambda paths: paths.epochs.unlink(),
    "ledger": lambda paths: paths.wandb.write_text("{") and None,
    "garbled": lambda paths: (
        paths.environment.write_text("{") and paths.sweep.write_text(yaml.safe_dump(TINY)) and None
    ),
    "moved": lambda paths: paths.storage.write_text(json.dumps({"place": "somewhere"})) and None,
}
"""Runs with a fault, by what docs/errors.md calls them."""
BROKEN = {
    "broken.yaml": b"networks: [ConvNet]\nwidth: ]\n",
    "twice.yaml": b"width: 1\nwidth: 2\n",
    "bomb.yaml": b"a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
    b"c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n",
    "binary.yaml": b"\xff\xfe\x00",
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the documents' commands name: sweep files, runs that are whole and runs that are not."""
    folder = tmp_path_factory.mktemp("documents")
    for name in ("sweeps", "results", "docs", "dwray", "cluster.yaml", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    (own,) = (block.text for block in BLOCKS if block.file == "docs/sweep-file.md" and block.language == "yaml")
    (folder / "my.yaml").write_text(own)
    for name, content in BROKEN.items():
        (folder / name).write_bytes(content)
    for name in ("tiny", "digits", "cifar10", "cifar100", "errata-digits"):
        write_json(make_run(folder / "runs", name=name).environment, environment())
    for name, fault in FAULTS.items():
        fault(make_run(folder / "runs", name=name))
    return folder


@pytest.fixture
def scratch(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, as the one that commands are run in, by somebody without a key or a cluster."""
    monkeypatch.chdir(runs)
    monkeypatch.setenv("HOME", str(runs))
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("WANDB_API_KEY", "RAY_ADDRESS", "DWRAY_STORAGE", "DWRAY_RUNS_DIR"):
        monkeypatch.delenv(name, raising=False)
    return runs
