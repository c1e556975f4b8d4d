"""The plan as a user sees it, and how near it comes to what a sweep takes."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml
from commands import dwray, in_process
from processes import busy_stranger
from tiny import DISTURBED, TINY

from dwray.cli.plan import between
from dwray.errors import EXIT_USAGE

Here = Callable[..., tuple[int, str, str]]
CALIBRATE = "--calibrate"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return partial(in_process, capsys=capsys)


def test_a_range_reads_as_one_number_where_its_ends_do() -> None:
    assert between(3, 3, ",.0f") == "3"
    assert between(0.996, 1.004, ",.2f") == "1.00"
    assert between(1200, 3400, ",.0f") == "1,200 to 3,400"
    assert between(3, None, ",.0f") == "from 3"
    assert between(724.3, 1084.2, ",.3g") == "724 to 1,080"
    assert between(999.7, None, ",.3g") == "from 1,000"
    assert between(0.0123, 12.34, ",.3g") == "0.0123 to 12.3"


def test_options_of_a_calibration_need_one(here: Here) -> None:
    for option in ("--slots", "--gpus"):
        code, _, error = here("plan", "tiny.yaml", "--no-calibrate", option, "1")
        assert code == EXIT_USAGE
        assert "without --no-calibrate" in error


def test_counts_alone_start_nothing(here: Here) -> None:
    code, out, _ = here("plan", "tiny.yaml", "--no-calibrate", "--json")
    assert code == 0
    assert [stage["stage"] for stage in json.loads(out)["stages"]] == ["search", "train", "time"]
    counted = here("plan", "tiny.yaml", "--no-calibrate")[1]
    assert counted == here("sweep", "tiny.yaml", "--dry-run")[1]


def test_the_plan_is_a_table_within_80_columns(here: Here) -> None:
    code, out, error = here("plan", "tiny.yaml", CALIBRATE)
    assert (code, error) == (0, "")
    for said in ("search", "train", "time", "start and report", "total", "CPU-hours", "another will differ"):
        assert said in out
    assert "money" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_plan_as_json_has_units_in_its_names_and_adds_up(here: Here) -> None:
    found = json.loads(here("plan", "tiny.yaml", CALIBRATE, "--slots", "1", "--json")[1])
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert (stages["search"]["trials_low"], stages["search"]["trials_high"]) == (6, 6)
    assert stages["train"]["epochs_high"] == 8
    for end in ("low", "likely", "high"):
        wall = sum(stage[f"wall_seconds_{end}"] for stage in found["stages"])
        assert found["total"][f"wall_seconds_{end}"] == pytest.approx(wall)
        assert found["total"][f"device_hours_{end}"] == pytest.approx(wall / 3600 * found["devices"])
    assert found["total"]["wall_seconds_low"] < found["total"]["wall_seconds_high"]
    assert found["trials_side_by_side"] == {"search": 1, "train": 1}
    assert found["device_kind"] == "CPU"
    assert found["calibration"]["synthetic_images"] is False


def test_a_busy_machine_is_said_beside_the_times(here: Here) -> None:
    with busy_stranger():
        found = json.loads(here("plan", "tiny.yaml", CALIBRATE, "--set", "timing=null", "--json")[1])
    assert found["calibration"]["exclusive"] is False
    assert found["calibration"]["witnessed"]["other_cpu_seconds"] > 0
    assert found["notes"][0].startswith("Not exclusive: other processes used ")
    assert "end what else runs, and plan again" in found["notes"][0]


def test_without_the_images_random_ones_are_measured_and_nothing_is_fetched(here: Here, tmp_path: Path) -> None:
    root = tmp_path / "data"
    small = {"source": "cifar10", "root": str(root), "max_train_images": 200, "max_test_images": 60}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**TINY, "data": small, "timing": None}))
    code, out, error = here("plan", "mine.yaml", CALIBRATE)
    assert (code, error) == (0, "")
    assert "random images of the same shape" in " ".join(out.split())
    assert not root.exists()


def test_a_price_that_nothing_is_paid_by_is_said(here: Here) -> None:
    price = ["--set", "resources.price_per_gpu_hour=2.5"]
    found = json.loads(here("plan", "tiny.yaml", CALIBRATE, *price, "--set", "timing=null", "--json")[1])
    assert found["total"]["money_low"] is None
    assert any("price_per_gpu_hour" in note for note in found["notes"])
    code, _, error = here("plan", "tiny.yaml", "--set", "resources.price_per_gpu_hour=-1")
    assert code == 2
    assert error.count("\n") == 1


def test_what_cannot_be_planned_is_one_line(here: Here) -> None:
    for arguments, said in (
        (["--set", "resources.cpus_per_trial=4000"], "and there are"),
        (["--set", "resources.gpus_per_trial=1", "--gpus", "1"], "there is no GPU here"),
        (["--set", "data.source=image_folder", "--set", "data.root=nowhere"], "there is no such folder"),
    ):
        code, _, error = here("plan", "tiny.yaml", CALIBRATE, *arguments)
        assert code in (1, 2)
        assert said in error
        assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.lab
def test_a_sweep_takes_about_as_long_as_planned(tmp_path: Path) -> None:
    """The bound is for a machine that others use, too, and for a sweep that is mostly starting."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**DISTURBED, "name": "tiny"}))
    planned = json.loads(dwray("plan", "tiny.yaml", CALIBRATE, "--json", folder=tmp_path).stdout)["total"]
    began = time.monotonic()
    dwray("sweep", "tiny.yaml", "-q", folder=tmp_path)
    seconds = time.monotonic() - began
    assert planned["wall_seconds_low"] / 2 < seconds < planned["wall_seconds_high"] * 2
