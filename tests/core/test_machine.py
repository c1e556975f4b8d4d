"""The clock, the allocator, and what a measurement was made on."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import torch

import dwray
from dwray.core.clock import Stopwatch, synchronize
from dwray.core.environment import device_name, environment, git_commit, processor_name

CPU = torch.device("cpu")
ROOT = Path(dwray.__file__).resolve().parent.parent

on_glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone"
)


# The clock


def test_laps_are_what_was_waited_and_at_most_the_total() -> None:
    watch = Stopwatch(CPU)
    for _ in range(2):
        time.sleep(0.01)
        watch.lap("short")
        time.sleep(0.03)
        watch.lap("long")
    time.sleep(0.02)
    total, laps = watch.stop()
    assert list(laps) == ["short", "long"]
    assert laps["short"] >= 0.02 - 1e-4
    assert laps["long"] >= 0.06 - 1e-4
    assert total >= laps["short"] + laps["long"] + 0.02 - 1e-4  # the end belongs to no lap


def test_without_a_lap_there_is_the_total_alone() -> None:
    watch = Stopwatch(CPU)
    time.sleep(0.01)
    total, laps = watch.stop()
    assert total >= 0.01 - 1e-4
    assert laps == {}


def test_a_lap_that_never_ran_is_not_there() -> None:
    watch = Stopwatch(CPU)
    watch.lap("once")
    with pytest.raises(KeyError, match="never"):
        watch.stop()[1]["never"]


def test_two_stopwatches_know_nothing_of_each_other() -> None:
    outer = Stopwatch(CPU)
    time.sleep(0.02)
    inner = Stopwatch(CPU)
    inner.lap("work")
    total, laps = inner.stop()
    outer_total, outer_laps = outer.stop()
    assert laps["work"] <= total <= outer_total - 0.02 + 1e-4
    assert outer_laps == {}


def test_a_cpu_needs_no_synchronisation() -> None:
    was_initialized = torch.cuda.is_initialized()
    synchronize(CPU)
    assert torch.cuda.is_initialized() is was_initialized


# The allocator


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_keeping_freed_memory_answers_yes_or_no() -> None:
    code = "from dwray.core.allocator import keep_freed_memory; print(repr(keep_freed_memory()))"
    assert fresh(code) in ("True", "False")


@on_glibc
def test_glibc_can_be_told_to_keep_freed_memory() -> None:
    code = "from dwray.core.allocator import keep_freed_memory; print(keep_freed_memory(), keep_freed_memory())"
    assert fresh(code) == "True True"


FAULTS = """
import resource
from dwray.core.allocator import keep_freed_memory
{call}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
b"x" * (320 << 20)  # more than is kept without a word about trimming
before = faults()
for _ in range(3):
    b"x" * (320 << 20)
print(faults() - before)
"""


@on_glibc
def test_memory_kept_is_not_faulted_in_again() -> None:
    without, kept = (int(fresh(FAULTS.format(call=call))) for call in ("", "keep_freed_memory()"))
    assert without >= 3 * 160  # one for every 2 MiB even with huge pages
    assert kept <= without / 10


# The environment


def test_the_environment_is_plain_json() -> None:
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {
        "recorded_at",
        "dwray",
        "git_commit",
        "python",
        "platform",
        "torch",
        "torchvision",
        "ray",
        "numpy",
        "pyarrow",
        "scikit-learn",
        "cuda",
        "cudnn",
        "cpu",
        "cpu_cores",
        "gpus",
        "cudnn_allow_tf32",
        "matmul_allow_tf32",
    }


def test_the_environment_says_what_runs_here() -> None:
    found = environment()
    assert found["dwray"] == dwray.__version__
    assert found["python"] == sys.version.split()[0].rstrip("+")
    assert found["torch"] == torch.__version__
    for package in ("torchvision", "ray", "numpy", "pyarrow", "scikit-learn"):
        assert re.match(r"\d+\.\d+", found[package]), package
    assert found["cpu_cores"] == os.cpu_count()
    assert found["cpu"] == processor_name() != ""
    assert len(found["gpus"]) == torch.cuda.device_count()
    recorded = datetime.fromisoformat(found["recorded_at"])
    assert recorded.utcoffset() == timedelta(0)
    assert abs(datetime.now(recorded.tzinfo) - recorded) < timedelta(minutes=1)


def test_a_cpus_name_is_the_processors() -> None:
    assert device_name(CPU) == processor_name()
    assert "\n" not in processor_name()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_the_source_trees() -> None:
    found = git_commit()
    if (ROOT / ".git").exists() and shutil.which("git"):
        assert found is not None
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", found)
        assert found.removesuffix("-dirty") == git(ROOT, "rev-parse", "HEAD")
    else:
        assert found is None


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_copy_has_no_commit_a_clean_tree_its_own_and_a_changed_one_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")  # as a virtual environment inside a project: not dwray's own tree
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "another project")
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "dwray", copy / "dwray", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys, dwray; from dwray.core.environment import git_commit\n"
        "print(dwray.__file__, flush=True)\n"
        "for line in sys.stdin: print(git_commit(), flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = process.stdout

        def answer() -> str:
            print("commit?", file=process.stdin, flush=True)
            return answers.readline().strip()

        assert Path(answers.readline().strip()).is_relative_to(copy)
        assert answer() == "None"
        git(copy, "init", "--quiet")
        git(copy, "add", ".")
        git(copy, "commit", "--quiet", "-m", "all")
        git(copy, "tag", "-a", "v1", "-m", "a tag that must not take the commit's place")
        head = git(copy, "rev-parse", "HEAD")
        assert answer() == head
        with (copy / "dwray" / "__init__.py").open("a") as file:
            file.write("\n")
        assert answer() == f"{head}-dirty"
