"""Whether two runs measured the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dwray.paths import RunPaths
from dwray.results.records import Records
from dwray.results.tables import make_tables

OF_THE_DAY = {
    "failures",
    "error",
    "step_flops",
    "matrix_flops_per_second",
    "copy_bytes_per_second",
    "images_per_second",
    "host",
    "exclusive",
    "disturbance",
    "load_average",
}
"""Columns that differ from run to run, beside all times."""


TIMELESS = ("parameters", "settings", "accuracy")
"""Tables in which nothing is a time."""


def comparable(row: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same in every run of a sweep: the settings, the losses and the accuracies, bit for bit."""
    return {
        name: value for name, value in row.items() if name not in OF_THE_DAY and not name.endswith(("seconds", "_at"))
    }


def assert_same_results(found: Path, expected: Path) -> None:
    """The same trials, epochs and timed passes: none lost, none twice."""
    runs = [Records.read(RunPaths(folder)) for folder in (found, expected)]
    for rows in zip(*([sorted(run.trials, key=lambda row: row["trial_id"]) for run in runs]), strict=True):
        first, second = map(comparable, rows)
        assert first == second
    keys = [sorted((row["trial_id"], row["epoch"]) for row in run.epochs) for run in runs]
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == len(keys[0])
    epochs = [{(row["trial_id"], row["epoch"]): comparable(dict(row)) for row in run.epochs} for run in runs]
    assert epochs[0] == epochs[1]
    passes = [
        sorted(
            (row["trial_id"], row["contender"], row["pass_number"], row["images"], row["batch_size"])
            for row in run.timings
        )
        for run in runs
    ]
    assert passes[0] == passes[1]
    tables = [{table.name: table.data() for table in make_tables(run)} for run in runs]
    for name in TIMELESS:
        assert tables[0][name] == tables[1][name], name
        assert tables[0][name], name
    assert {name: len(rows) for name, rows in tables[0].items()} == {
        name: len(rows) for name, rows in tables[1].items()
    }
