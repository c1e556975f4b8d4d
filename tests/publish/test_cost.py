"""What publishing costs whoever publishes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "publish.py"


def measured(size: str) -> tuple[dict[str, Any], float, float]:
    """What was measured, and of that the MiB of the publisher and of the W&B client's service."""
    [line] = subprocess.run(
        [sys.executable, str(SCRIPT), size], check=True, capture_output=True, text=True, timeout=400
    ).stdout.splitlines()
    found = json.loads(line)
    service = found["peak MiB"].pop("wandb-core")
    [publisher] = found["peak MiB"].values()
    return found, publisher, service


def test_sixteen_runs_of_fifty_epochs_take_under_10_seconds_and_150_megabytes() -> None:
    """The 150 MB are the publisher's alone, or what it and the client's service (a process of W&B's) have of their own.

    Counted with the pages of programs and libraries, which other processes share, both together take more: 177 MiB.
    """
    found, publisher, service = measured("16x50")
    assert found["seconds"] < 10
    assert publisher * 2**20 < 150e6
    assert 0 < found["own MiB"] * 2**20 < 150e6
    assert 0 < service < 100
    assert found["together MiB"] < 200
    assert found["disk MiB"] * 2**20 < 150e6


@pytest.mark.slow
@pytest.mark.lab
def test_a_thousand_runs_of_a_hundred_epochs_take_hardly_more_memory() -> None:
    found, publisher, service = measured("1000x100")
    assert publisher < 190
    assert service < 100
    assert found["own MiB"] < 160
