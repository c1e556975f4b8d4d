"""What a shell is told when it asks for the rest of a word."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND, in_process


def completed(words: str, scratch: Path) -> list[str]:
    """What bash would offer for the last of these words."""
    environment = {**os.environ, "_DWRAY_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    script = "import sys; sys.argv[0] = 'dwray'; from dwray.cli import main; main()"
    asked = subprocess.run(
        [COMMAND[0], "-c", script], cwd=scratch, env=environment, capture_output=True, text=True, check=False
    )
    assert asked.stderr == ""
    return [line.partition(",")[2] for line in asked.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("dwray sch", ["schema"]),
        ("dwray sweep errata-d", ["errata-digits"]),
        ("dwray plan --set x=1 paper-", ["paper-cifar10", "paper-cifar100"]),
        ("dwray report ti", ["tiny"]),
        ("dwray completion z", ["zsh"]),
    ],
)
def test_a_word_is_completed(words: str, offered: list[str], scratch: Path) -> None:
    found = completed(words, scratch)
    assert [name for name in found if "/" not in name] == offered


def test_a_run_is_completed_to_its_id_in_the_folder_that_is_meant(scratch: Path) -> None:
    (run,) = (scratch / "runs" / "tiny").iterdir()
    assert completed("dwray status tiny/", scratch) == [f"tiny/{run.name}"]
    shutil.copytree(run, scratch / "elsewhere" / "other" / "1")
    assert completed("dwray report --runs-dir elsewhere o", scratch) == ["other", "other/1"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_its_shell_reads(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, script, error = in_process("completion", shell, capsys=capsys)
    assert (code, error) == (0, "")
    assert f"_DWRAY_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
