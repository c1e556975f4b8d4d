"""What a plan says a sweep will take, beside what it takes: ``dwray plan``, ``dwray sweep`` and ``dwray plan`` in turn.

    python tests/benchmarks/plan.py [SWEEP] [--json]

SWEEP is the name of a sweep or its file, by default digits. Everything runs in a folder of its own, one after the
other; nothing else should be at work. A plan's time is from the command to the written report, all stages and the start
among them, and so the sweep's is that of the whole command. "off" is how much longer the sweep took than the plan's
middle.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dwray

COMMAND = [sys.executable, "-m", "dwray"]
ALL_WELL = (0, 4)
"""Exit codes of a sweep whose every trial ran; 4: beside others."""
ENDS = ("low", "likely", "high")


def run(*arguments: str, folder: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """A command of dwray, to its end, and its seconds."""
    began = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(Path(dwray.__file__).parent.parent)}  # the same from every folder
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment, text=True, capture_output=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode not in ALL_WELL:
        sys.exit(f"dwray {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
    return seconds, done


def planned(sweep: str, folder: str) -> dict[str, Any]:
    """A plan: its range, what making it took, and whether it had the device to itself."""
    seconds, done = run("plan", sweep, "--calibrate", "--json", folder=folder)
    found = json.loads(done.stdout)
    return {
        **{f"{end}_seconds": found["total"][f"wall_seconds_{end}"] for end in ENDS},
        "stages": {each["stage"]: each["wall_seconds_likely"] for each in found["stages"]},
        "made_in_seconds": seconds,
        "exclusive": found["calibration"]["exclusive"],
    }


def measure(sweep: str) -> dict[str, Any]:
    """A plan, the sweep, and a plan again."""
    sweep = str(Path(sweep).resolve()) if Path(sweep).is_file() else sweep
    with tempfile.TemporaryDirectory() as folder:
        before = planned(sweep, folder)
        seconds, done = run("sweep", sweep, "-q", folder=folder)
        after = planned(sweep, folder)
    return {
        "sweep": sweep,
        "seconds": seconds,
        "exit_code": done.returncode,
        "plans": {"before": before, "after": after},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", nargs="?", default="digits")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.sweep)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{'':<15} {'low':>8} {'middle':>8} {'high':>8} {'real':>8}  off     exclusive  made in")
    for when, plan in found["plans"].items():
        ends = " ".join(f"{plan[f'{end}_seconds'] or float('inf'):8.1f}" for end in ENDS)
        off = found["seconds"] / plan["likely_seconds"] - 1
        print(
            f"planned {when:<7} {ends} {found['seconds']:8.1f}  {off:+6.1%}  {plan['exclusive']!s:<9}  "
            f"{plan['made_in_seconds']:.1f} s"
        )
    if found["exit_code"]:
        print("A timing of the sweep did not have its device to itself: what is printed here is of a busy machine.")


if __name__ == "__main__":
    main()
