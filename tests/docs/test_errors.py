"""docs/errors.md: each message and each exit code that it lists comes out of the command.

That failed trials end a sweep with 3, tests/test_cli.py holds.
"""

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import dwray, in_process
from documents import ROOT

from dwray import errors

TEXT = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def cells(line: str) -> list[str]:
    """The cells of a table's row."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def messages() -> list[tuple[str, int, str]]:
    """Command, exit code and what it says, of every row that has a command."""
    found, code = [], 0
    for line in TEXT.splitlines():
        if heading := re.match(r"### .*\((\d+)\)$", line):
            code = int(heading[1])
        elif line.startswith("| `dwray "):
            command, said, _ = cells(line)
            found.append((command.strip("`"), code, said))
    return found


def test_every_exit_code_is_listed() -> None:
    listed = {int(cells(line)[0]) for line in TEXT.splitlines() if re.match(r"\| \d+ \|", line)}
    constants = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert listed == {0} | constants
    assert len(messages()) > 30


@pytest.mark.parametrize(("command", "code", "said"), messages(), ids=[command for command, _, _ in messages()])
def test_a_message_comes_out_of_its_command(
    scratch: Path, capsys: pytest.CaptureFixture[str], command: str, code: int, said: str
) -> None:
    found, _, error = in_process(*shlex.split(command)[1:], capsys=capsys)
    assert found == code
    assert said in error
    assert error.startswith("dwray: ")
    assert error.count("\n") == 1, "one line"


@pytest.mark.parametrize("path", re.findall(r"`(tests/[\w/]+\.py)`", TEXT))
def test_the_tests_of_the_other_messages_are_there(path: str) -> None:
    assert (ROOT / path).is_file()


TIME = shlex.split("time ConvNet --width 0.1 --size 8 --modes float32-eager --batch-sizes 8 --images 64 --threads 1")


@pytest.mark.slow
def test_a_timing_beside_other_work_ends_with_4(tmp_path: Path) -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        timed = dwray(*TIME, "--passes", "30", folder=tmp_path)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert timed.returncode == errors.EXIT_NOT_EXCLUSIVE, timed.stderr
    assert timed.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_interrupted_command_ends_with_130(tmp_path: Path) -> None:
    # A shell without job control leaves SIGINT ignored; the command is to have it as in a terminal.
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from dwray.cli import main; "
    )
    timing = subprocess.Popen(
        [sys.executable, "-c", f"{script} print(flush=True); main()", *TIME, "--passes", "1000000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert timing.stdout
    timing.stdout.readline()
    time.sleep(1)
    timing.send_signal(signal.SIGINT)
    _, error = timing.communicate(timeout=60)
    assert timing.returncode == errors.EXIT_INTERRUPTED
    assert "Traceback" not in error
