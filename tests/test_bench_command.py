"""`dwray bench` as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import INTERRUPTIBLE

from dwray.cli import cli
from dwray.errors import SpecError

SMALL = ["bench", "--device", "cpu", "--width", "0.05", "--size", "8", "--classes", "5", "--images", "16"]
SMALL += ["--threads", "1", "--repeats", "1", "--batch-sizes", "4", "--training-batch-sizes", "8"]
FAST = [*SMALL, "--modes", "float32-channels_last-eager,float32-folded"]
ABSENT = ("ray", "wandb", "pydantic", "yaml", "scipy", "sklearn", "altair", "jinja2", "torchvision", "PIL", "pandas")
BARE_MACHINE = f"""
import sys

class Bare:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {ABSENT!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Bare, sys.meta_path)
"""
"""As sitecustomize.py, which every interpreter of a test's folder begins with: packages are not to be found."""


def start(*arguments: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*INTERRUPTIBLE, *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[int]:
    """The processes that measure for one of that number."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@contextmanager
def at_work(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A benchmark that has its processes and is far from its end."""
    run = start(*FAST, "--repeats", "1000", folder=folder)
    try:
        end = time.monotonic() + 100
        while len(children(run.pid)) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        yield run, children(run.pid)
    finally:
        run.kill()
        run.communicate()


def test_the_tables_are_there_and_a_busy_machine_ends_with_exit_code_4(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            run = start(*FAST, folder=tmp_path)
            out, err = run.communicate(timeout=300)
        finally:
            busy.kill()
    assert run.returncode == 4
    assert re.fullmatch(r"dwray: the timings were not exclusive: other processes used \d.*\n", err)
    assert re.match(r"cpu: .*, 1 thread, torch .*; random 8x8 images, width 0.05, 5 classes; medians of 1 rounds", out)
    assert "keeps freed memory" in out
    for title in ("What the device can do at most", "Training", "Data path", "Inference", "Training time, Depthwise"):
        assert title in out
    number = r"[\d,.]+"
    assert re.search(rf"float32 +{number} +{number} +{number}\n", out)
    training = out.partition("\nTraining\n")[2].partition("\nData path\n")[0]
    assert "ConvNet, batch size 8" in training
    assert re.search(rf"notebook +{number} +{number}-{number} +- +{number} +{number}\n", training)
    ours = rf"float32-channels_last-eager +{number} +{number}-{number} +\d+\.\d\d +{number} +{number}\n"
    assert len(re.findall(ours, training)) == 2
    inference = out.partition("\nInference\n")[2]
    assert len(re.findall(rf"float32-folded +{number} +{number}-{number} +\d+\.\d\d +{number}", inference)) == 2
    assert all(len(line) <= 80 for line in out.splitlines()[1:])
    assert list(tmp_path.iterdir()) == []


def test_a_bare_machine_needs_torch_numpy_pyarrow_click_and_rich_alone(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BARE_MACHINE, encoding="utf-8")
    run = start(*FAST, "--json", folder=tmp_path, PYTHONPATH=str(tmp_path))
    out, err = run.communicate(timeout=200)
    assert run.returncode in (0, 4), err
    found = json.loads(out)
    assert found["environment"]["git_commit"] is None or len(found["environment"]["git_commit"]) >= 40
    for result in found["results"]:
        loader = result["kind"] in ("training", "data") and result["way"].startswith("notebook")
        assert result["failure"] == ("torchvision is not installed" if loader else None)
        assert len(result["seconds"]) == (0 if loader else 1)
        assert (result["ratio"] is not None) == (result["kind"] == "inference" and result["way"] != "notebook")
    assert [each["measured"] is None for each in found["training_time_ratios"]] == [True, False]


def test_ctrl_c_ends_all_its_processes(tmp_path: Path) -> None:
    with at_work(tmp_path) as (run, workers):
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
        assert (run.returncode, err.strip()) == (130, "interrupted")
        assert len(workers) >= 2
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--networks", "ConvNt"], "--networks: there is no network 'ConvNt'; did you mean 'ConvNet'?"),
        (["--batch-sizes", "4,x"], "--batch-sizes must be whole numbers from 1, separated by commas, not '4,x'"),
        (["--batch-sizes", ""], "--batch-sizes must be whole numbers from 1"),
        (["--training-batch-sizes", "1"], "--training-batch-sizes must be whole numbers from 2"),
        (["--modes", "float16-eager"], "--modes: there is no mode 'float16-eager'; did you mean"),
        (["--device", "cuda:99"], "--device: there is no device 'cuda:99' here; there are: cpu"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        cli.main(["bench", *arguments], standalone_mode=False)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_bad_input_ends_with_exit_code_2(tmp_path: Path) -> None:
    run = start("bench", "--networks", "VGG", folder=tmp_path)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (2, "")
    assert err == "dwray: --networks: there is no network 'VGG'; known: ConvNet, DepthwiseConvNet\n"
