"""What publishing costs whoever publishes."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "publish.py"


def test_sixteen_runs_of_fifty_epochs_take_under_10_seconds_and_150_megabytes() -> None:
    [line] = subprocess.run(
        [sys.executable, str(SCRIPT), "16x50"], check=True, capture_output=True, text=True, timeout=120
    ).stdout.splitlines()
    found = json.loads(line)
    assert found["seconds"] < 10
    client = found["peak MiB"].pop("wandb-core")
    assert 0 < client < 100
    [publisher] = found["peak MiB"].values()
    assert publisher * 2**20 < 150e6
    assert found["disk MiB"] * 2**20 < 150e6
