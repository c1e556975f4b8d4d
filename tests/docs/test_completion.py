"""What a shell is told when it asks for the rest of a word."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND, in_process

from dwray.core.networks import NETWORKS


def completed(words: str, scratch: Path) -> list[str]:
    """What bash would offer for the last of these words."""
    environment = {**os.environ, "_DWRAY_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    script = "import sys; sys.argv[0] = 'dwray'; from dwray.cli import main; main()"
    asked = subprocess.run(
        [COMMAND[0], "-c", script], cwd=scratch, env=environment, capture_output=True, text=True, check=False
    )
    assert asked.stderr == ""
    return [line.partition(",")[2] for line in asked.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("dwray sch", ["schema"]),
        ("dwray sweep errata-d", ["errata-digits"]),
        ("dwray plan --set x=1 paper-", ["paper-cifar10", "paper-cifar100"]),
        ("dwray doctor errata-d", ["errata-digits"]),
        ("dwray doctor digits --set training.mo", ["training.momentum="]),
        ("dwray data fetch cifar", ["cifar10", "cifar100"]),
        ("dwray data fetch im", ["image_folder"]),
        ("dwray data fetch cifar100 --set data.mi", ["data.mirror="]),
        ("dwray report ti", ["tiny"]),
        ("dwray completion z", ["zsh"]),
        ("dwray networks ", list(NETWORKS)),
        ("dwray time ConvNet Dep", ["DepthwiseConvNet"]),
        ("dwray plan digits --set training.m", ["training.momentum=", "training.memory_format="]),
        ("dwray plan digits --set search.axes.ba", ["search.axes.batch_size="]),
        ("dwray plan digits --set networks.", []),
        ("dwray show tiny A", ["A initial_lr=0.1", "A initial_lr=0.2", "A seed=0", "A seed=1"]),
        ("dwray show cut A", []),
        ("dwray show nowhere ", []),
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


def test_what_is_slow_to_import_is_not_needed_to_complete(scratch: Path) -> None:
    script = (
        "import sys, click; from dwray.cli.complete import *; context = click.Context(click.Command('show'))\n"
        "context.params['run'] = 'tiny'\n"
        "for complete in (complete_run, complete_sweep, complete_trial, complete_setting, complete_network,\n"
        "                 complete_data):\n"
        "    assert complete(context, None, '')\n"
        "print([name for name in ('torch', 'ray', 'wandb', 'pandas', 'scipy', 'rich') if name in sys.modules])"
    )
    loaded = subprocess.run([COMMAND[0], "-c", script], cwd=scratch, capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("dwray show tiny B", [r"B\ seed=0"]),
        ('dwray show tiny "\'B"', ["B seed=0"]),
        ("dwray sweep digits --set target", ["-o nospace", "target_accuracy_percent="]),
        ("dwray report ti", ["tiny", "tiny/RUN"]),
    ],
)
def test_bash_quotes_a_name_with_blanks_and_goes_on_behind_a_key(
    words: str, offered: list[str], scratch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "dwray"
    program.write_text(f"#!{COMMAND[0]}\nimport sys; sys.argv[0] = 'dwray'; from dwray.cli import main; main()\n")
    program.chmod(0o755)
    asked = (
        'complete() { :; }; compopt() { echo "$@"; }\n'
        f"{in_process('completion', 'bash', capsys=capsys)[1]}\n"
        f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _dwray_completion {program}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = subprocess.run(["bash", "-c", asked], cwd=scratch, capture_output=True, text=True, check=True)
    assert found.stderr == ""
    (run,) = (scratch / "runs" / "tiny").iterdir()
    assert found.stdout.splitlines() == [each.replace("RUN", run.name) for each in offered]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_its_shell_reads(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, script, error = in_process("completion", shell, capsys=capsys)
    assert (code, error) == (0, "")
    assert f"_DWRAY_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
