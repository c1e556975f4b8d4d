"""Several runs side by side: what can be compared, and what must not be."""

from pathlib import Path
from typing import Any

import pytest
from measured import epochs_of, records_of, training
from records import identity, make_run

from dwray.cli.show import find_trial
from dwray.core.config import PROTOCOLS
from dwray.results.records import Records
from dwray.results.several import NamedRun, notes_on_several, several_tables
from dwray.results.trials import trials_table


def run(name: str, protocol: str = "corrected", **more: Any) -> NamedRun:
    seconds = {"A": [1.0, 1.0], "B": [1.0, 1.0]}
    return NamedRun(
        name, records_of({"A": [90.0, 91.0], "B": [80.0, 82.0]}, seconds, protocol=PROTOCOLS[protocol], **more)
    )


def test_every_network_of_every_run_has_its_row(tmp_path: Path) -> None:
    hand = NamedRun("hand", Records.read(make_run(tmp_path / "runs")))
    trained, timed = several_tables([hand, run("other")])
    assert [(row["run"], row["contender"]) for row in trained.rows] == [
        ("hand", "A"),
        ("hand", "B"),
        ("other", "A"),
        ("other", "B"),
    ]
    first = trained.rows[0]
    assert (first["accuracy_percent"], first["seeds"], first["epoch_seconds"]) == (92.0, 2, 2.0)
    assert first["half_width"] == pytest.approx(25.41, abs=0.01)
    assert (first["date"], first["machine"], first["dataset"]) == ("2026-01-02", "some CPU, 2 CPU threads", "digits")
    assert [(row["run"], row["batch_size"], row["contender"]) for row in timed.rows] == [
        ("hand", 4, "A"),
        ("hand", 4, "B"),
    ]
    assert timed.rows[0]["ratio"] == pytest.approx(2.0 / 1.00003, rel=1e-4)
    assert timed.rows[1]["ratio"] == 1.0


def test_ratios_are_within_a_run() -> None:
    slow, fast = run("slow"), run("fast")
    trained, _ = several_tables([slow, fast])
    assert [row["epoch_ratio"] for row in trained.rows] == [1.0] * 4


def test_times_of_a_run_on_two_devices_have_no_ratio() -> None:
    trials = [training("A", 0, 90.0), training("B", 0, 80.0, device="another CPU")]
    epochs = epochs_of([{"trial_id": f"{name}0", "epoch": 1, "train_seconds": 1.0} for name in "AB"])
    trained, _ = several_tables([NamedRun("mixed", Records(trials, epochs, [], identity("hand", ["A", "B"])))])
    assert [row["epoch_ratio"] for row in trained.rows] == [None, None]


def test_what_makes_runs_unlike_is_said() -> None:
    here = run("here")
    assert notes_on_several([here, run("again")]) == []
    (device,) = notes_on_several([here, run("there", device="some GPU")])
    assert device.startswith("NOT ONE KIND OF DEVICE (some CPU, 2 CPU threads | some GPU, 2 CPU threads)")
    others = [
        here,
        run("paper", protocol="paper"),
        run("cifar", dataset="cifar10"),
        run("random", synthetic=True),
    ]
    protocol, images, synthetic = notes_on_several(others)
    assert "Not one protocol (corrected | paper)" in protocol
    assert "Not the same images (digits, cifar10)" in images
    assert "SYNTHETIC images (random numbers) in random:" in synthetic


def test_trials_that_failed_stand_first_with_their_errors(tmp_path: Path) -> None:
    records = Records.read(make_run(tmp_path))
    table = trials_table(records)
    assert [(row["stage"], row["contender"], row["status"]) for row in table.rows[:2]] == [
        ("train", "B", "failed"),
        ("search", "A", "completed"),
    ]
    assert table.rows[0]["error"] == "RuntimeError: [bold]out of | memory[/bold] <b>"
    assert len(table.rows) == len(records.trials)
    assert [row["trial"] for row in table.rows] == [
        "B seed=0",
        "A initial_lr=0.1",
        "A initial_lr=0.2",
        "A seed=0",
        "A seed=1",
        "test set, batch 4, network alone",
    ]
    assert table.notes[0].startswith("6 trials: 5 completed, 1 failed.")


def test_every_name_in_the_table_of_trials_is_one_that_show_takes(tmp_path: Path) -> None:
    records = Records.read(make_run(tmp_path))
    names = [column.name for column in trials_table(records).shown]
    assert names[:2] == ["stage", "trial"]
    for row in trials_table(records).rows:
        assert find_trial(records.trials, row["trial"], "dwray show hand")["trial_id"] == row["trial_id"]


def test_a_trials_test_accuracy_is_as_the_protocol_scores_it() -> None:
    for protocol, accuracy in (("corrected", 90.0), ("paper", 50.0)):
        records = records_of({"A": [90.0]}, protocol=PROTOCOLS[protocol])
        assert [row["test_accuracy_percent"] for row in trials_table(records).rows] == [accuracy]
