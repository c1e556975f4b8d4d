"""Several runs side by side: what can be compared, and what must not be."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured import epochs_of, records_of, training
from records import identity, make_run

from dwray.cli.show import find_trial
from dwray.core.config import PROTOCOLS
from dwray.results.records import Records
from dwray.results.several import (
    NamedRun,
    identity_tables,
    named_runs,
    names_apart,
    notes_on_several,
    several_tables,
)
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
    identity_row = identity_tables([hand, run("other")])[0].rows[0]
    assert (identity_row["date"], identity_row["trained_on"]) == ("2026-01-02", "some CPU, 2 CPU threads")
    assert (identity_row["dataset"], identity_row["seeds"]) == ("digits", "0, 1")
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


def test_runs_are_named_by_what_tells_them_apart_and_no_more() -> None:
    def names(*runs: NamedRun) -> list[str]:
        return [each.name for each in named_runs([(each.records, each.settings) for each in runs])]

    assert names(run("", "paper"), run("")) == ["paper", "corrected"]
    assert names(run(""), run("", device="some GPU")) == ["some CPU", "some GPU"]
    assert names(run("", "paper"), run(""), run("", device="some GPU")) == [
        "paper",
        "corrected, some CPU",
        "corrected, some GPU",
    ]
    assert names(run("", threads=1), run("")) == ["some CPU, 1 CPU thread", "some CPU, 2 CPU threads"]
    wide = [replace(run(""), settings={"width": width, "resources.retries": width}) for width in ("0.5", "1.0")]
    assert names(*wide) == ["width 0.5", "width 1.0"]


def test_what_differs_in_nothing_has_a_number() -> None:
    assert names_apart([("a", "x"), ("a", "x"), ("a", "y")]) == ["x (1)", "x (2)", "y"]
    assert names_apart([("a", "x"), ("a", "x")]) == ["x (1)", "x (2)"]


@given(st.lists(st.tuples(*[st.sampled_from("abc")] * 3), min_size=1, max_size=8))
def test_no_two_names_are_the_same(features: list[tuple[str, str, str]]) -> None:
    assert len(set(names_apart(features))) == len(features)


def test_the_settings_that_differ_stand_side_by_side() -> None:
    settings = [{"training.epochs": "10", "seeds": "[0]"}, {"training.epochs": "12", "seeds": "[0]"}, {}]
    runs = [replace(run(name), settings=each) for name, each in zip("abc", settings, strict=True)]
    _, differing = identity_tables(runs)
    assert differing.data() == [
        {"setting": "training.epochs", "run1": "10", "run2": "12", "run3": None},
        {"setting": "seeds", "run1": "[0]", "run2": "[0]", "run3": None},
    ]
    assert differing.notes[0].startswith("A dash")
    assert len(identity_tables(runs[:1])) == 1, "no table of no difference"


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
