"""``dwray show``: one trial, however it is named."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from commands import dwray, in_process
from records import make_run
from test_status_command import change, disturb

from dwray.cli.show import AmbiguousTrialError, find_trial, names_to_type
from dwray.errors import RunError
from dwray.paths import RunPaths
from dwray.results.schema import EPOCHS, to_table
from dwray.results.store import read_parquet, write_parquet

FAILURE = "RuntimeError: [bold]out of | memory[/bold] <b>"
LISTING = "dwray show tiny"
ROWS = [
    {"trial_id": key, "stage": stage, "trial": trial}
    for key, stage, trial in (
        ("a1b2", "search", "ConvNet initial_lr=0.1"),
        ("a1c3", "search", "ConvNet initial_lr=0.01"),
        ("b0", "search", "Depthwise seed=0"),
        ("d4e5", "train", "Depthwise seed=0"),
        ("f6", "time", "test set, batch 4"),
    )
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("a1b2", "a1b2"),
        ("a1b", "a1b2"),
        ("ConvNet initial_lr=0.1", "a1b2"),
        ("ConvNet initial_lr=0.01", "a1c3"),
        ("train: Depthwise seed=0", "d4e5"),
        ("train:", "d4e5"),
        ("BATCH 4", "f6"),
        ("test", "f6"),
    ],
)
def test_a_trial_is_found_by_id_name_beginning_or_part(wanted: str, found: str) -> None:
    assert find_trial(ROWS, wanted, LISTING)["trial_id"] == found


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ("a1", "a1b2 (search: ConvNet initial_lr=0.1), a1c3 (search: ConvNet initial_lr=0.01)"),
        ("Depthwise seed=0", "b0 (search: Depthwise seed=0), d4e5 (train: Depthwise seed=0)"),
        ("lr", "a1b2 (search: ConvNet initial_lr=0.1), a1c3 (search: ConvNet initial_lr=0.01)"),
    ],
)
def test_where_several_may_be_meant_they_are_named(wanted: str, named: str) -> None:
    with pytest.raises(AmbiguousTrialError) as refused:
        find_trial(ROWS, wanted, LISTING)
    assert str(refused.value) == f"{wanted!r} may be any of 2 trials: {named}; `dwray show tiny` lists all"


def test_a_trial_that_there_is_none_of_is_near_one_that_there_is() -> None:
    with pytest.raises(
        RunError, match=rf"there is no trial 'ConvNet lr=0.1' among 5; did you mean 'ConvNet i.*`{LISTING}` lists"
    ):
        find_trial(ROWS, "ConvNet lr=0.1", LISTING)
    many = [{**ROWS[0], "trial_id": str(number)} for number in range(100)]
    with pytest.raises(AmbiguousTrialError, match=r"any of 100 trials: .* and 92 more; `dwray show tiny` lists all$"):
        find_trial(many, "ConvNet", LISTING)


def test_a_name_that_two_stages_have_is_typed_with_its_stage() -> None:
    names = names_to_type(ROWS)
    assert names[2:4] == ["search: Depthwise seed=0", "train: Depthwise seed=0"]
    assert [find_trial(ROWS, name, LISTING) for name in names] == ROWS


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    monkeypatch.setenv("COLUMNS", "80")
    return make_run(tmp_path / "runs")


def test_without_a_trial_all_are_listed_those_that_failed_first(
    run: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run, s1={"status": "diverged", "validation_accuracy_percent": math.nan, "epochs_done": 1})
    disturb(run)
    code, out, error = in_process("show", str(run.folder), capsys=capsys)
    assert (code, error) == (0, "")
    assert [line.rstrip() for line in out.splitlines()] == [
        "",
        f"Trials of hand/{run.run_id}",
        "stage   trial                             status     epochs  validation %",
        "─" * 73,
        "train   B seed=0                          failed          -             -",
        "search  A initial_lr=0.2                  diverged        1             -",
        "search  A initial_lr=0.1                  completed       -         80.00",
        "train   A seed=0                          completed       2         90.00",
        "train   A seed=1                          completed       2         94.00",
        "time    test set, batch 4, network alone  disturbed       -             -",
        "",
        f"one of them: dwray show {run.folder} 'B seed=0'",
    ]
    found = json.loads(in_process("show", str(run.folder), "--json", capsys=capsys)[1])
    assert [row["trial_id"] for row in found] == ["t2", "s1", "s0", "t0", "t1", "m0"]
    assert (found[0]["error"], found[1]["validation_accuracy_percent"]) == (FAILURE, None)


def test_a_training_of_one_epoch_that_diverged_has_no_accuracy(
    run: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    diverged = {"status": "diverged", "validation_accuracy_percent": math.nan, "epochs": 1, "epochs_done": 1}
    change(run, t0={**diverged, "test_accuracy_percent": None, "failures": 1, "error": "once"})
    epochs = read_parquet(run.epochs, EPOCHS).to_pylist()
    write_parquet(run.epochs, to_table(EPOCHS, [{**row, "train_loss": 9.0} for row in epochs if row["epoch"] == 1], {}))
    out = in_process("show", str(run.folder), "t0", capsys=capsys)[1]
    assert "validation nan" not in out
    assert "1 of 1 epoch" in out
    assert "1 epochs" not in out
    assert "failed 1 time, last with:" in out


def test_a_training_is_shown_with_its_config_its_curve_and_its_error(
    run: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = in_process("show", str(run.folder), "t1", capsys=capsys)
    assert (code, error) == (0, "")
    assert out.startswith("train: A seed=1 (t1): completed\n")
    assert "network ConvNet, width 1, dataset digits, seed 1, epochs 2, batch_size 32, initial_lr 0.1" in _joined(out)
    assert "validation 94.00%, test 94.00%" in _joined(out)
    assert "images_per_second" not in out
    failed = in_process("show", str(run.folder), "t2", capsys=capsys)[1]
    assert failed.endswith(f"failed 2 times, last with:\n{FAILURE}\n")


def _joined(text: str) -> str:
    return " ".join(text.split())


def test_the_passes_of_a_timing_are_its_curves(run: RunPaths, capsys: pytest.CaptureFixture[str]) -> None:
    out = in_process("show", str(run.folder), "m0", capsys=capsys)[1]
    (row,) = [line.split() for line in out.splitlines() if line.startswith("A s")]
    assert row == ["A", "s", "▁▁█", "1", "4", "4"]
    assert "3 passes" in out


def test_as_json_it_is_all_that_is_known(run: RunPaths, capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = json.loads(in_process("show", str(run.folder), "t0", "--json", capsys=capsys)[1])
    assert (found["trial_id"], found["test_accuracy_percent"]) == ("t0", 90.0)
    assert [epoch["train_seconds"] for epoch in found["curve"]] == [1.0, 3.0]
    assert found["passes"] == []


def test_a_loss_that_diverged_is_null_in_json_and_a_gap_in_the_curve(
    run: RunPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = read_parquet(run.epochs, EPOCHS)
    rows = [{**row, "train_loss": math.nan if row["epoch"] == 2 else 1.0} for row in epochs.to_pylist()]
    write_parquet(run.epochs, to_table(EPOCHS, rows, {}))
    found = json.loads(in_process("show", str(run.folder), "t0", "--json", capsys=capsys)[1])
    assert [epoch["train_loss"] for epoch in found["curve"]] == [1.0, None]
    out = in_process("show", str(run.folder), "t0", capsys=capsys)[1]
    (row,) = [line.split() for line in out.splitlines() if line.startswith("training loss")]
    assert row[2:] == ["▁", "1.0000", "1.0000", "nan"]


def test_a_terminal_without_unicode_gets_a_curve_all_the_same(run: RunPaths, tmp_path: Path) -> None:
    for encoding, bars in (("ascii", "__#"), ("utf-8", "▁▁█")):
        shown = dwray("show", "hand", "m0", folder=tmp_path, PYTHONIOENCODING=encoding)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert bars in shown.stdout


def test_wrong_names_are_one_line_and_a_documented_code(run: RunPaths, capsys: pytest.CaptureFixture[str]) -> None:
    for wanted, expected in (("nothing like it", 1), ("seed", 2)):
        code, out, error = in_process("show", str(run.folder), wanted, capsys=capsys)
        assert (code, out, error.count("\n")) == (expected, "", 1)
    code, _, error = in_process("show", "nowhere", "x", capsys=capsys)
    assert (code, error.count("\n")) == (1, 1)
