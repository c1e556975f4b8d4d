"""`dwray time` as a user runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import dwray, in_process

SMALL = ["--width", "0.125", "--size", "8", "--classes", "5", "--images", "10", "--passes", "2", "--threads", "1"]
SMALL += ["--batch-sizes", "10,4"]
FAST = [*SMALL, "--modes", "float32-eager", "--device", "cpu"]


def test_two_networks_are_timed_and_their_crossover_searched(tmp_path: Path) -> None:
    ran = dwray("time", *FAST, "--batch-sizes", "4,10", "--max-batch", "4", folder=tmp_path)
    assert ran.returncode in (0, 4), ran.stderr
    assert "Test time, float32-eager, 2 passes over 10 images" in ran.stdout
    assert "1 thread, torch" in ran.stdout
    assert re.search(r"float32-eager +(between \d and \d: \w+ below, \w+ above|none between 1 and 4: )", ran.stdout)
    curve = " ".join(ran.stdout.partition("Time per image, float32-eager")[2].split())
    assert re.search(r"ratio interval faster .* interval: of the ratio, 99\.9% at the last look; .*under 1%", curve)
    lines = ran.stderr.splitlines()
    if ran.returncode == 4:
        assert len(lines) == 1
        assert "timings were not exclusive" in lines[0]
    else:
        assert lines == []
    assert list(tmp_path.iterdir()) == []


def test_json_holds_everything_and_nothing_else_is_printed(tmp_path: Path) -> None:
    ran = dwray("time", *FAST, "--batch-sizes", "4", "--max-batch", "2", "--json", folder=tmp_path)
    found = json.loads(ran.stdout)
    assert ran.returncode == (4 if found["exclusive"] is False else 0)
    assert (found["networks"], found["threads"]) == (["ConvNet", "DepthwiseConvNet"], 1)
    (timed,) = found["times"]
    assert (timed["mode"], timed["batch_size"]) == ("float32-eager", 4)
    assert {name: len(seconds) for name, seconds in timed["seconds"].items()} == {"ConvNet": 2, "DepthwiseConvNet": 2}
    (searched,) = found["crossovers"]
    assert [each["batch_size"] for each in searched["crossover"]["curve"]] == [1, 2]
    for each in (timed, searched):
        assert {"exclusive", "disturbance", "other_cpu_seconds", "load_average"} <= set(each["witnessed"])


def test_a_busy_machine_ends_with_exit_code_4(tmp_path: Path) -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        ran = dwray("time", "ConvNet", *FAST, "--images", "600", folder=tmp_path)
    finally:
        for each in busy:
            each.kill()
            each.wait()
    assert ran.returncode == 4
    assert re.search(r"dwray: 2 of 2 timings were not exclusive; first: other processes used \d", ran.stderr)
    assert "not exclusive" in ran.stdout


def test_one_network_has_no_crossover(tmp_path: Path) -> None:
    ran = dwray("time", "ConvNet", *FAST, "--json", folder=tmp_path)
    assert ran.returncode in (0, 4)
    assert json.loads(ran.stdout)["crossovers"] == []


def test_a_pass_holds_the_largest_batch(tmp_path: Path) -> None:
    small = ["--width", "0.125", "--size", "8", "--passes", "1", "--modes", "float32-eager", "--device", "cpu"]
    ran = dwray("time", "ConvNet", *small, "--batch-sizes", "4,300", "--json", folder=tmp_path)
    assert json.loads(ran.stdout)["images"] == 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ConvNt"], "there is no network 'ConvNt'; did you mean 'ConvNet'?"),
        (["ConvNet", "ConvNet"], "network 'ConvNet' is given twice"),
        (["--batch-sizes", "4,x"], "--batch-sizes must be whole numbers from 1"),
        (["--batch-sizes", "0"], "--batch-sizes must be whole numbers from 1"),
        (["--batch-sizes", ""], "--batch-sizes must be whole numbers from 1"),
        (["--images", "10", "--batch-sizes", "4,11"], "--images: a pass over 10 has no batch of 11 images"),
        (["--modes", "float16-eager"], "--modes: there is no mode 'float16-eager'; did you mean"),
        (["--device", "cuda:99"], "--device: there is no device 'cuda:99' here; there are: cpu"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, error = in_process("time", *arguments, capsys=capsys)
    assert (code, out) == (2, "")
    assert len(error.splitlines()) == 1
    assert message in error


def test_ray_is_not_imported(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom dwray.cli import cli\n"
        f"cli.main(['time', 'ConvNet', *{FAST!r}, '--json'], standalone_mode=False)\n"
        "print('ray' in sys.modules, 'torch' in sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[-1] == "False True"
