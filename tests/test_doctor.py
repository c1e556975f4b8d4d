"""What the doctor says of a machine, whole and broken in real ways."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml
from commands import COMMAND, dwray, in_process
from tiny import TINY, tiny

from dwray.core.checks import FAILED, OK, WARNING, Check, DriverView, judge_gpus
from dwray.doctor import CHECKS, Subject, bytes_to_write, diagnose, isolated

Here = Callable[..., tuple[int, str, str]]
KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_API_KEY", "WANDB_MODE", "RAY_ADDRESS", "DWRAY_STORAGE", "DWRAY_RUNS_DIR", "DWRAY_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    return partial(in_process, capsys=capsys)


def found(here: Here, *arguments: str) -> dict[str, Check]:
    code, out, error = here("doctor", "--json", *arguments)
    checks = [Check(**check) for check in json.loads(out)["checks"]]
    assert error == ""
    assert code == (1 if any(check.status == FAILED for check in checks) else 0)
    return {check.name: check for check in checks}


def test_every_check_is_made_and_what_is_not_well_says_how_to_mend_it(here: Here, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    checks = found(here, "tiny.yaml")
    assert list(checks) == list(CHECKS)
    assert {check.status for check in checks.values()} <= {OK, WARNING}
    for check in checks.values():
        assert check.found
        assert "\n" not in check.found + check.mend
        assert bool(check.mend) == (check.status != OK), check
    assert checks["data"].found.startswith("digits: 200 + 60 images")
    assert checks["Python"].found.startswith(sys.version.split()[0])
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"], "nothing was left behind"


def test_a_person_gets_a_line_a_check(here: Here) -> None:
    code, out, _ = here("doctor")
    lines = [line for line in out.splitlines() if not line.lstrip().startswith("to mend it: ")]
    assert code == 0
    assert [line.split()[0] for line in lines] == [line[:7].strip() for line in lines]
    assert len(lines) == len(CHECKS)


def test_data_that_is_not_there_is_a_warning_where_it_is_fetched_and_else_a_failure(here: Here, tmp_path: Path) -> None:
    missing = found(here, "cifar10", "--set", f"data.root={tmp_path}")["data"]
    assert missing.status == WARNING
    assert f"{tmp_path}/cifar-10-batches-py: it is not there" in missing.found
    assert "data.mirror" in missing.mend
    (tmp_path / "cifar-10-batches-py").mkdir()
    damaged = found(here, "cifar10", "--set", f"data.root={tmp_path}")["data"]
    assert "damaged or not all there" in damaged.found
    folder = found(here, "digits", "--set", "data.source=image_folder", "--set", f"data.root={tmp_path}/none")["data"]
    assert folder.status == FAILED
    empty = found(here, "digits", "--set", "data.source=image_folder", "--set", f"data.root={tmp_path}")["data"]
    assert empty.status == FAILED
    assert "there is no folder train" in empty.found


def test_a_folder_that_cannot_be_written_fails(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert found(here, "--runs-dir", str(file / "runs"))["runs"] == Check(
        "runs", FAILED, f"{file} is no folder", "give a folder that you may write with --runs-dir (or DWRAY_RUNS_DIR)"
    )
    read_only = found(here, "--runs-dir", "/proc/nowhere")["runs"]
    assert (read_only.status, read_only.found) == (FAILED, "/proc: cannot be written (No such file or directory)")


def test_a_storage_that_is_a_folder_has_its_own_row_and_advice(here: Here, tmp_path: Path) -> None:
    checks = found(here, "--storage", "/proc/nowhere")
    assert checks["runs"] == Check("runs", OK, "they lie in the storage's folder")
    assert checks["storage"] == Check(
        "storage",
        FAILED,
        "/proc: cannot be written (No such file or directory)",
        "give a folder that you may write with --storage (or DWRAY_STORAGE)",
    )
    assert "--storage" in checks["disk"].mend, "/proc has no space"
    good = found(here, "--storage", str(tmp_path))["storage"]
    assert good == Check("storage", OK, f"{tmp_path}: writable")


def test_a_location_with_a_password_is_refused_without_a_word_of_it(here: Here) -> None:
    location = "s3://me:hunter2@bucket/runs"
    code, out, error = here("doctor", "--json", "--storage", location)
    assert code == 1
    assert "hunter2" not in out + error
    refused = found(here, "--storage", location)["storage"]
    assert refused.status == FAILED
    assert "AWS_ACCESS_KEY_ID" in refused.mend


def test_a_key_is_found_and_never_shown(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(here)["W&B"].status == WARNING
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    code, out, error = here("doctor", "--json")
    assert code == 0
    assert "is in the environment" in out
    assert KEY not in out + error
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine api.wandb.ai login user password {KEY}\n")
    netrc.chmod(stat.S_IRUSR)
    monkeypatch.setenv("NETRC", str(netrc))
    code, out, error = here("doctor", "--json")
    assert "is in the netrc" in out
    assert KEY not in out + error


def test_what_wandb_mode_comes_to_is_said(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    said = {"dryrun": "--wandb writes folders", "disabled": "--wandb publishes nothing"}
    for mode, what in said.items():
        monkeypatch.setenv("WANDB_MODE", mode)
        check = found(here)["W&B"]
        assert (check.status, what in check.found) == (OK, True)
    monkeypatch.setenv("WANDB_MODE", "shared")
    check = found(here)["W&B"]
    assert (check.status, check.found) == (FAILED, "WANDB_MODE=shared: it is online, offline or disabled")


def test_a_server_that_is_asked_and_does_not_answer_fails(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    check = found(here, "--online")["W&B"]
    assert check.status == FAILED
    assert "does not answer" in check.found
    assert "WANDB_API_KEY" in check.mend
    assert "WANDB_MODE=offline" in check.mend


def test_a_check_that_raises_is_a_failed_one_and_the_others_are_made() -> None:
    class BrokenError(Exception):
        pass

    def broken(_: Subject) -> Check:
        raise BrokenError("the first line\nthe second")

    def leaves(_: Subject) -> Check:
        raise SystemExit("gone")

    check = isolated("it", broken, Subject())
    assert (check.status, check.found) == (FAILED, "BrokenError: the first line")
    assert check.mend
    assert isolated("it", leaves, Subject()).status == FAILED
    assert len(list(diagnose(Subject()))) == len(CHECKS)


@pytest.mark.parametrize("package", ["torch", "torchvision", "ray"])
def test_a_broken_package_is_a_line_and_no_traceback(tmp_path: Path, package: str) -> None:
    (tmp_path / f"{package}.py").write_text("raise RuntimeError('operator nms does not exist')\n")
    done = dwray("doctor", "--json", folder=tmp_path, PYTHONPATH=str(tmp_path))
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert done.stderr == ""
    assert list(checks) == list(CHECKS)
    broken = {"torch": "torch", "torchvision": "torch", "ray": "Ray"}[package]
    assert checks[broken]["status"] == FAILED
    assert "operator nms does not exist" in checks[broken]["found"]
    assert checks["disk"]["status"] == OK


def test_few_open_files_are_a_warning(tmp_path: Path) -> None:
    command = f"ulimit -n 256; exec {' '.join(COMMAND)} doctor --json"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, check=False
    )
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["open files"]["status"] == WARNING
    assert "ulimit -n" in checks["open files"]["mend"]


GPU = "NVIDIA H100, 80 GiB, compute capability 9.0"


@pytest.mark.parametrize(
    ("driver", "seen", "wanted", "built_for", "status", "said"),
    [
        (None, 0, None, "12.8", WARNING, "trials run on the CPU"),
        (None, 0, 0, "12.8", OK, "the sweep uses none"),
        (None, 0, 0.5, "12.8", FAILED, "the sweep wants 0.5 GPUs a trial"),
        (DriverView("570.1", (12, 8), (GPU,), ()), 1, None, "12.8", OK, "1 by the driver (570.1, CUDA 12.8)"),
        (DriverView("570.1", (12, 8), (GPU,), ()), 0, None, None, FAILED, "built without CUDA"),
        (DriverView("470.1", (11, 4), (GPU,), ()), 0, None, "12.8", FAILED, "the driver is too old for CUDA 12.8"),
        (DriverView("470.1", (11, 4), (GPU,), ()), 0, 0, "12.8", WARNING, "the driver is too old for CUDA 12.8"),
        (DriverView("570.1", (12, 8), (GPU,), ()), 0, None, "12.8", FAILED, "--gpus all"),
        (DriverView("570.1", (12, 8), (GPU, GPU), ()), 1, None, "12.8", WARNING, "CUDA_VISIBLE_DEVICES"),
        (DriverView("570.1", (12, 8), (GPU,), ("GPU 0 is in MIG mode",)), 1, None, "12.8", WARNING, "MIG"),
    ],
)
def test_what_the_driver_and_torch_see_is_compared(
    monkeypatch: pytest.MonkeyPatch,
    driver: DriverView | None,
    seen: int,
    wanted: float | None,
    built_for: str | None,
    status: str,
    said: str,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    check = judge_gpus(driver, seen, wanted, built_for)
    assert check.status == status
    assert said in check.found + check.mend


def test_the_disk_is_held_against_what_a_sweep_leaves() -> None:
    one, two = (bytes_to_write(tiny(seeds=list(range(seeds)))) for seeds in (1, 2))
    three = bytes_to_write(tiny(seeds=[0, 1, 2]))
    assert bytes_to_write(None) < one < two
    assert three - two == two - one, "a seed more is its states more"


@pytest.mark.slow
def test_a_cluster_that_is_not_there_fails_in_time(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dwray.doctor.ANSWER_SECONDS", 8.0)
    check = found(here, "--address", "127.0.0.1:9")["Ray"]
    assert check.status == FAILED
    assert "127.0.0.1:9 does not answer" in check.found
