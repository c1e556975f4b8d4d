"""The table of test times by mode."""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from records import ALONE, make_run

from dwray.paths import RunPaths
from dwray.results.by_mode import by_mode
from dwray.results.records import Records
from dwray.results.schema import TIMINGS
from dwray.results.store import write_parquet
from dwray.results.tables import make_tables


def run_with(
    folder: Path, seconds: dict[str, dict[str, tuple[float, ...]]], disturbed: Collection[str] = ()
) -> Records:
    """A run whose timings are ``seconds`` of each pass by mode and contender, batch 4, test set, network alone."""
    paths = make_run(folder)
    rows = [
        {
            **ALONE,
            "trial_id": mode,
            "contender": contender,
            "set": "test",
            "batch_size": 4,
            "loader": False,
            "pass_number": number,
            "images": 100,
            "seconds": spent,
            "images_per_second": 100 / spent,
            "device": "some GPU",
            "threads": 1,
            "synthetic": False,
            "mode": mode,
            "exclusive": mode not in disturbed,
            "disturbance": "a backup" if mode in disturbed else None,
        }
        for mode, by_contender in seconds.items()
        for contender, passes in by_contender.items()
        for number, spent in enumerate(passes, start=1)
    ]
    table = pq.read_table(paths.timings)
    identity = {key.decode(): value.decode() for key, value in table.schema.metadata.items() if b"ARROW" not in key}
    write_parquet(paths.timings, pa.Table.from_pylist(rows, TIMINGS.with_metadata(identity)))
    return Records.read(paths)


SECONDS = {
    "float32-eager": {"A": (1.0, 1.1, 0.9), "B": (2.0, 2.1, 1.9)},
    "float32-folded": {"A": (0.5, 0.5, 0.5), "B": (0.8, 0.8, 0.8)},
    "float32-cuda-graph": {"A": (0.4, 0.44, 0.36), "B": (0.2, 0.21, 0.19)},
}


def test_each_mode_says_who_is_slower_and_how_fast_it_is_beside_eager(tmp_path: Path) -> None:
    table = by_mode(run_with(tmp_path, SECONDS))
    found = {(row["mode"], row["contender"]): row for row in table.rows}
    assert list(found) == [(mode, name) for mode in SECONDS for name in ("A", "B")]
    assert found["float32-folded", "B"]["times_eager"] == pytest.approx(2.5)
    assert found["float32-eager", "A"]["times_eager"] == 1
    assert found["float32-cuda-graph", "B"]["images_per_second"] == pytest.approx(500)
    longer = {key: row.get("longer_percent") for key, row in found.items()}
    assert longer["float32-eager", "A"] is None
    assert longer["float32-eager", "B"] == pytest.approx(100)
    assert longer["float32-cuda-graph", "A"] == pytest.approx(100), "the other network is the slower one here"
    row = found["float32-eager", "B"]
    assert row["longer_low"] < 100 < row["longer_high"]
    assert found["float32-folded", "B"]["longer_low"] is None, "passes without any spread give no interval"


def test_an_interval_that_means_little_has_no_more_than_three_digits(tmp_path: Path) -> None:
    table = by_mode(
        run_with(tmp_path, {mode: {"A": (1.0, 1.0, 1.0), "B": (1.0, 90.0, 1.0)} for mode in list(SECONDS)[:2]})
    )
    row, cells = table.rows[1], table.cells()[1]
    assert row["longer_high"] > 1e5, "the data have it all the same"
    assert f"{row['longer_high']:.3g}" in cells


def test_the_rows_whose_passes_were_not_alone_are_marked(tmp_path: Path) -> None:
    records = run_with(tmp_path, SECONDS, disturbed=["float32-eager"])
    table = by_mode(records)
    assert {row["mode"] for row in table.rows if row["marks"] == "*"} == {"float32-eager"}
    assert "NOT ALONE on the device: marked *." in table.notes
    (paper,) = [table for table in make_tables(records) if table.name == "test_time"]
    assert [cells[3] for cells in paper.cells()] == ["A *", "B *"]
    assert "NOT ALONE on the device (marked *): 1 of the timings (a backup)." in paper.notes
    undisturbed = run_with(tmp_path / "alone", SECONDS)
    assert not any("NOT ALONE" in note for table in make_tables(undisturbed) for note in table.notes)
    assert not any(row["marks"] for row in by_mode(undisturbed).rows)


def test_what_a_graph_takes_off_the_gap_is_told(tmp_path: Path) -> None:
    notes = by_mode(run_with(tmp_path, SECONDS)).notes
    (said,) = [note for note in notes if "kernel by kernel" in note]
    assert "B takes 1.0000 s more than A when launched kernel by kernel, -0.2000 s as a CUDA graph" in said
    assert "120% of the gap" in said


def test_the_other_modes_stay_out_of_the_papers_table(tmp_path: Path) -> None:
    records = run_with(tmp_path, SECONDS)
    assert {row["seconds"] for row in records.passes("test", 4, False)["A"]} == {1.0, 1.1, 0.9}
    (table,) = [table for table in make_tables(records) if table.name == "test_time"]
    assert [row["measured"] for row in table.rows] == pytest.approx([1.0, 2.0])


def test_one_mode_alone_is_no_table(tmp_path: Path) -> None:
    assert by_mode(Records.read(make_run(tmp_path))).rows == ()


def test_files_from_before_there_were_modes_are_read(tmp_path: Path) -> None:
    paths: RunPaths = make_run(tmp_path)
    for path, later in ((paths.timings, ["mode"]), (paths.trials, ["precision", "compile", "unavailable"])):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(later), path)
    records = Records.read(paths)
    assert {row["mode"] for row in records.timings} == {None}
    assert len(records.passes("test", 4, False)) == 2
    assert by_mode(records).rows == ()
