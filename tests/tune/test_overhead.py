"""What Tune costs on top of the work, against a process pool in the same run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "overhead.py"


@pytest.mark.slow
def test_an_experiment_takes_at_most_1_3_times_as_long_as_a_process_pool() -> None:
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--rounds", "2", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    measured = json.loads(run.stdout)
    assert measured["ideal_seconds"] == 10
    assert min(measured["tune_seconds"]) > 10, "twenty trials of a second on two slots cannot take less"
    assert measured["ratio_median"] <= 1.3, measured
