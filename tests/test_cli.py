"""The command as a user runs it: in a process of its own, from any folder."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from commands import dwray, in_process
from object_store import ObjectStore
from records import make_run
from tiny import TINY

from dwray.errors import EXIT_NOT_EXCLUSIVE
from dwray.paths import RunPaths
from dwray.storage import Storage

Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command in an empty folder and in this process: its exit code, output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return partial(in_process, capsys=capsys)


def assert_swept(swept: subprocess.CompletedProcess[str]) -> None:
    """The sweep ended well; that its timings had the machine to themselves, a test cannot promise."""
    if swept.returncode == EXIT_NOT_EXCLUSIVE:
        assert swept.stderr.count("\n") == 1
        assert "not alone on their device" in swept.stderr
    else:
        assert (swept.returncode, swept.stderr) == (0, "")


def write_sweep(folder: Path, **changes: Any) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return path


def test_help_answers_at_once_and_imports_nothing_heavy(tmp_path: Path) -> None:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        helped = dwray("--help", folder=tmp_path)
        seconds.append(time.perf_counter() - began)
    assert helped.returncode == 0
    assert "Exit codes:" in helped.stdout
    assert min(seconds) < 0.3
    script = (
        "import sys, dwray.cli\n"
        "print([name for name in ('torch', 'ray', 'wandb', 'pyarrow', 'altair', 'jinja2') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_networks_are_counted_layer_by_layer(here: Here) -> None:
    found = json.loads(here("networks", "--json")[1])
    assert {name: (network["parameters"], network["macs"]) for name, network in found.items()} == {
        "ConvNet": (28_377_572, 1_586_434_048),
        "DepthwiseConvNet": (3_320_420, 182_824_960),
    }
    for network in found.values():
        for key in ("parameters", "macs", "connections"):
            assert sum(layer[key] for layer in network["layers"]) == network[key]
    _, text, _ = here("networks", "DepthwiseConvNet", "--classes", "10")
    assert "3,228,170" in text
    assert "3x3x512x8x8" in text
    assert "…" not in text


def test_a_network_that_does_not_exist_is_one_line(here: Here) -> None:
    code, _, error = here("networks", "ConvNt")
    assert code == 2
    assert error == "dwray: NETWORK: there is no network 'ConvNt'; did you mean 'ConvNet'?\n"
    code, _, error = here("plan", "digits", "--set", "networks=[ConvNt]")
    assert code == 2
    assert error == "dwray: networks.ConvNt: there is no network 'ConvNt'; did you mean 'ConvNet'?\n"


def test_the_plan_is_printed_and_a_dry_run_starts_nothing(here: Here, tmp_path: Path) -> None:
    code, planned, _ = here("plan", "digits", "--no-calibrate")
    assert code == 0
    assert planned == here("sweep", "digits", "--dry-run")[1]
    assert "train   4 trials, 56 epochs" in planned
    stages = json.loads(here("plan", "digits", "--no-calibrate", "--json")[1])["stages"]
    assert [stage["stage"] for stage in stages] == ["search", "train", "time"]
    assert list(tmp_path.iterdir()) == [], "nothing was written"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["sweep", "digts"], 2, "there is no sweep 'digts'; did you mean 'digits'?"),
        (["sweep", "digits", "--set", "training.epohs=1"], 2, "training.epohs: unknown key; did you mean 'epochs'?"),
        (["sweep", "digits", "--bogus"], 2, "No such option '--bogus'"),
        (["sweep", "digits", "--sed", "1"], 2, "No such option '--sed'. (Did you mean one of: '--seed', '--set'"),
        (["time", "--width", "0"], 2, "0.0 is not in the range 0<x<=64; see `dwray time --help`"),
        (["plan", "digits", "--seed", "4294967296"], 2, "4294967296 is not in the range 0<=x<=4294967295"),
        (["status"], 2, "Missing argument"),
        (["report", "nowhere"], 1, "nowhere: neither the folder of a run"),
        (
            ["sweep", "digits", "--runs-dir", "/proc/nowhere"],
            1,
            "/proc/nowhere: no run can be kept there (No such file",
        ),
        (["sweep", "digits", "--storage", "/proc/nowhere"], 1, "; mend its rights, or name another folder"),
    ],
)
def test_wrong_usage_is_one_line_and_a_documented_code(
    here: Here, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    found, _, error = here(*arguments)
    assert found == code
    assert said in error
    assert error.startswith("dwray: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [], "nothing half-written"


def test_what_the_system_refuses_is_told_with_what_to_check(here: Here, tmp_path: Path) -> None:
    run = str(make_run(tmp_path / "runs").folder)
    code, _, error = here("report", run, "--format", "html", "--output", "/proc/nowhere/report.html")
    assert code == 1
    assert error == "dwray: No such file or directory: /proc/nowhere; check the path, its rights and the space\n"


def test_the_command_alone_says_what_it_can_do(here: Here) -> None:
    code, _, error = here()
    assert code == 2
    assert error.startswith("Usage: dwray [OPTIONS] COMMAND [ARGS]...")
    assert "Exit codes:" in error


def test_a_report_is_made_again_from_parquet_alone(tmp_path: Path) -> None:
    paths = make_run(tmp_path / "runs")
    printed = dwray("report", "hand", folder=tmp_path)
    assert printed.returncode == 0
    assert "92.00" in printed.stdout
    assert paths.html.is_file()
    found = json.loads(dwray("report", str(paths.folder), "--json", folder=tmp_path).stdout)
    first = found["tables"]["accuracy"][0]
    assert (first["contender"], first["quantity"], first["measured"]) == ("A", "test %", 92.0)
    shutil.copy(paths.trials, tmp_path / "whole.parquet")
    paths.trials.write_bytes(paths.trials.read_bytes()[:100])
    html = paths.html.read_bytes()
    refused = dwray("report", str(paths.folder), folder=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"dwray: {paths.trials}: cannot be read as Parquet")
    assert refused.stderr.count("\n") == 1
    assert paths.html.read_bytes() == html, "the last good report stays"


@pytest.mark.slow
def test_a_sweep_from_the_command_line_ends_in_its_report(
    swept: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    run, folder = swept
    assert_swept(run)
    for text in ("search: started", "epoch 1/6", "s/epoch", "images/s", "Accuracy", "Test time", "report:"):
        assert text in run.stdout
    assert re.search(r"\nsearch: ConvNet: initial_lr .* \(validation \d+\.\d\d%\)\n", run.stdout)
    assert "\x1b" not in run.stdout
    paths = RunPaths.find("tiny", folder / "runs")
    assert yaml.safe_load(paths.sweep.read_text())["training"]["momentum"] == 0.9, "every default is spelled out"
    assert json.loads(paths.environment.read_text())["python"] == sys.version.split()[0]
    again = dwray("sweep", str(paths.sweep), "--dry-run", folder=tmp_path)
    assert again.returncode == 0, "a run's own sweep.yaml is a sweep file"


@pytest.mark.slow
def test_bad_data_is_one_line_before_any_training(tmp_path: Path, object_store: ObjectStore) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "data" / "train-00000-of-00001.parquet")
    sweep = write_sweep(tmp_path, data={"source": "parquet", "root": "data"})
    bucket = object_store.new_bucket()
    swept = dwray("sweep", str(sweep), "--storage", bucket, folder=tmp_path)
    assert swept.returncode == 1
    assert swept.stderr.startswith("dwray: ")
    assert swept.stderr.count("\n") == 1, swept.stderr
    assert "data" in swept.stderr
    assert "to go on" not in swept.stderr
    assert swept.stdout.splitlines()[0].startswith(f"run {tmp_path / 'runs' / 'tiny'}")
    assert swept.stdout.splitlines()[-1] == "that run was removed: none of its trials began"
    assert list((tmp_path / "runs").iterdir()) == [], "nothing half-written"
    assert not Storage(bucket).names()
