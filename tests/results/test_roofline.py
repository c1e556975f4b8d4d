"""The table of training time beside the device's limits."""

from pathlib import Path

import pytest
from records import NETWORK, RAN, SETTINGS, SWITCHED, identity, make_run

from dwray.paths import RunPaths
from dwray.results.records import Records
from dwray.results.roofline import roofline
from dwray.results.store import RunStore

LIMITS = {"matrix_flops_per_second": 1e12, "copy_bytes_per_second": 1e10}
"""A ridge of 100 FLOP/byte."""


def run(folder: Path, seconds: dict[str, list[float]], *, flops: int = 10**11, copied: int = 10**8) -> Records:
    """Trainings of 320 images in steps of 32: A's step is ``flops``, B's a tenth of them and ``copied`` bytes."""
    paths = RunPaths.create(folder, "hand")
    store = RunStore(paths, identity("hand", ["A", "B"]))
    for contender, epochs in seconds.items():
        for seed, spent in enumerate(epochs):
            trial = f"{contender}{seed}"
            store.update_trial(
                trial,
                trial=trial,
                stage="train",
                status="completed",
                seed=seed,
                train_images=320,
                precision="bfloat16",
                step_flops=flops if contender == "A" else flops // 10,
                step_bytes=10**7 if contender == "A" else copied,
                **LIMITS,
                **{**NETWORK[contender], **SETTINGS, **SWITCHED, **RAN},
            )
            for epoch in (1, 2):
                store.add_epoch(
                    {
                        "trial_id": trial,
                        "stage": "train",
                        "contender": contender,
                        "epoch": epoch,
                        "train_seconds": spent,
                    }
                )
    store.end()
    return Records.read(paths)


def test_the_floor_is_what_takes_longer(tmp_path: Path) -> None:
    table = roofline(run(tmp_path, {"A": [2.0, 2.0], "B": [0.5, 0.6]}))
    a, b = table.rows
    assert (a["bound"], a["floor_seconds"]) == ("arithmetic", pytest.approx(10 * 0.1))
    assert a["percent_of_floor"] == pytest.approx(50)
    assert (b["bound"], b["floor_seconds"]) == ("memory", pytest.approx(10 * 0.01)), (
        "1e10 FLOPs and 1e8 bytes: both 0.01 s"
    )
    assert b["measured"] == pytest.approx(0.55)
    assert (a["ridge"], a["precision"], b["seeds"]) == (100, "bfloat16", 2)


def test_the_prediction_turns_at_the_ridge_that_it_names(tmp_path: Path) -> None:
    """Above flops(A) / bytes(B) the memory-bound network is the slower one."""
    faster = roofline(run(tmp_path / "a", {"A": [2.0, 2.1], "B": [1.0, 1.1]}, flops=10**11, copied=5 * 10**8)).notes[-1]
    assert "B over those of A: 0.500 by the limits, 0.512 (0.381 to 0.688)" in faster
    assert "less than 200 times its bytes/s" in faster
    slower = roofline(run(tmp_path / "b", {"A": [2.0], "B": [3.0]}, flops=10**11, copied=2 * 10**9)).notes[-1]
    assert "2.00 by the limits, 1.50 (one seed) as trained" in slower
    assert "less than 50 times its bytes/s" in slower, "and the ridge here is 100"


def test_a_run_that_measured_no_limits_has_no_rows(tmp_path: Path) -> None:
    table = roofline(Records.read(make_run(tmp_path)))
    assert (table.rows, table.notes) == ((), ())


def test_without_the_other_network_there_is_no_prediction(tmp_path: Path) -> None:
    table = roofline(run(tmp_path, {"A": [2.0]}))
    assert len(table.rows) == 1
    assert len(table.notes) == 2, "of its columns"
