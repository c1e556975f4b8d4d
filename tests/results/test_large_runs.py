"""Records of large runs: kept as columns, written and read in time and memory that grow with the rows and no faster."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import identity

from dwray.paths import RunPaths
from dwray.results.epochs import Epochs
from dwray.results.records import Records
from dwray.results.schema import EPOCHS, to_table
from dwray.results.store import PACK_ROWS, EpochLog, RunStore

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "postprocess.py"

row_lists = st.lists(
    st.fixed_dictionaries(
        {
            "trial_id": st.sampled_from("abc"),
            "epoch": st.integers(1, 6),
            "train_loss": st.none() | st.floats(allow_nan=False),
            "contender": st.none() | st.sampled_from("AB"),
            "diverged": st.none() | st.booleans(),
        }
    ),
    unique_by=lambda row: (row["trial_id"], row["epoch"]),
)


@given(row_lists)
def test_the_epochs_of_a_trial_are_its_rows_in_order_and_its_columns_say_the_same(rows: list[dict[str, Any]]) -> None:
    epochs = Epochs(to_table(EPOCHS, rows, {}))
    assert len(epochs) == len(rows)
    for trial in "abcd":
        mine = sorted((row for row in rows if row["trial_id"] == trial), key=lambda row: row["epoch"])
        found = epochs.of(trial)
        assert [{name: row[name] for name in rows[0]} for row in found] == mine
        assert [dict(row) for row in found] == [{name: each.get(name) for name in EPOCHS.names} for each in mine]
        for name in ("epoch", "train_loss", "contender", "diverged"):
            assert found.column(name) == [row[name] for row in mine]
        assert found[1:] == list(found)[1:]
        if mine:
            assert found[-1]["epoch"] == mine[-1]["epoch"]
        with pytest.raises(IndexError):
            found[len(mine)]


def test_epochs_of_hand_made_rows_have_their_columns_alone() -> None:
    epochs = Epochs.of_rows([{"trial_id": "t", "epoch": 2, "x": 0.5}, {"trial_id": "t", "epoch": 1, "x": None}])
    assert epochs.of("t").column("x") == [None, 0.5]
    with pytest.raises(KeyError):
        epochs.of("t").column("y")
    assert list(Epochs.of_rows([])) == []


events = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.integers(0, 9)) | st.sets(st.sampled_from("abc")),
    max_size=30,
)


@given(events)
def test_the_log_keeps_the_last_row_of_each_epoch_whatever_was_packed_before(
    history: Sequence[tuple[str, int, int] | set[str]],
) -> None:
    log, expected = EpochLog({}, pack_rows=2), {}
    for event in history:
        if isinstance(event, set):
            log.pack(event)
        else:
            trial, epoch, loss = event
            log.add({"trial_id": trial, "epoch": epoch, "train_loss": float(loss)})
            expected[trial, epoch] = float(loss)
        rows = log.table().select(["trial_id", "epoch", "train_loss"]).to_pylist()
        assert len(rows) == len(expected)
        assert {(row["trial_id"], row["epoch"]): row["train_loss"] for row in rows} == expected


def test_a_store_needs_little_memory_for_the_epochs_of_trials_that_have_ended(tmp_path: Path) -> None:
    store = RunStore(RunPaths.create(tmp_path, "x"), identity("x", ["A"]))
    columns = [field.name for field in EPOCHS if pa.types.is_floating(field.type)]
    rows = 4 * PACK_ROWS
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes()
        for number in range(rows):
            trial, epoch = divmod(number, 64)
            if epoch == 0:
                store.update_trial(f"{trial:08}", stage="train", status="running")
            values = {name: number + len(name) / 7 for name in columns}
            store.add_epoch({"trial_id": f"{trial:08}", "stage": "train", "epoch": epoch + 1, **values})
            if epoch == 63:
                store.update_trial(f"{trial:08}", status="completed")
            if (number + 1) % PACK_ROWS == 0:
                store.flush()
        kept = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - before
    finally:
        tracemalloc.stop()
    assert kept / rows < 300, "bytes a row; as a dict it takes over 1,000"
    read = Records.read(store.paths).epochs
    assert len(read) == rows
    assert read.of("00000001").column("train_loss") == [64 + number + 10 / 7 for number in range(64)]


def processed(*options: str) -> list[dict[str, float]]:
    """What the benchmark measures, a dict for each size."""
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--json", *options], capture_output=True, text=True, check=True, timeout=300
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.slow
def test_the_tables_take_time_and_memory_in_proportion_to_the_rows() -> None:
    small, large = processed("--trials", "100,500", "--epochs", "50")
    assert large["epoch_rows"] == 5 * small["epoch_rows"] == 25_000
    # A quadratic scan would take 25 times as long; noise may take its share.
    assert large["seconds"] < 12 * small["seconds"], (small, large)
    assert large["seconds"] < 20, large
    assert large["peak_rss_mib"] < 1.5 * small["peak_rss_mib"], (small, large)


@pytest.mark.slow
def test_the_page_of_a_large_run_stays_small_though_most_of_its_trials_failed() -> None:
    (found,) = processed("--trials", "400", "--epochs", "60", "--report", "--unfinished", "0.9")
    assert found["report_html_mib"] < 2.5, found
