"""What it costs to publish offline: seconds, peak memory of the publisher and the W&B client's service, and disk.

Usage: python tests/benchmarks/publish.py [TRIALSxEPOCHS ...]
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from records import NETWORK, NOW, RAN, SETTINGS, SWITCHED, identity

from dwray.paths import RunPaths
from dwray.publish import process as publisher
from dwray.publish.destination import Destination
from dwray.publish.process import Publisher
from dwray.results.store import RunStore

ACCURACIES = tuple(
    f"{prefix}_accuracy_percent" for prefix in ("test", "train", "validation", "train_set", "batch_statistics_test")
)
MIB = 2**20


def make_run(folder: Path, trials: int, epochs: int) -> RunPaths:
    """Completed trainings of two networks."""
    paths = RunPaths.create(folder, "bench")
    store = RunStore(paths, identity("bench", ["A", "B"]))
    for number in range(trials):
        contender = "AB"[number % 2]
        trained = {**SETTINGS, "epochs": epochs, **SWITCHED, **RAN, **NETWORK[contender]}
        for epoch in range(1, epochs + 1):
            store.add_epoch(
                {
                    "trial_id": f"t{number}",
                    "stage": "train",
                    "contender": contender,
                    "epoch": epoch,
                    "train_loss": 1 / epoch,
                    "train_accuracy_percent": 50.0,
                    "validation_loss": 1.5 / epoch,
                    "validation_accuracy_percent": 45.0,
                    "learning_rate": 0.1,
                    "train_seconds": 1.0,
                    "data_seconds": 0.25,
                    "step_seconds": 0.75,
                    "validation_seconds": 0.5,
                    "images_per_second": 100.0,
                    "reported_at": NOW + timedelta(seconds=epoch),
                    "diverged": False,
                    "synthetic": False,
                }
            )
        store.update_trial(
            f"t{number}",
            trial=f"{contender} seed={number // 2}",
            stage="train",
            status="completed",
            seed=number // 2,
            epochs_done=epochs,
            **dict.fromkeys(ACCURACIES, 50.0),
            train_images=100,
            failures=0,
            **trained,
        )
    store.end()
    return paths


class PeakMemory(threading.Thread):
    """The highest resident memory of a process and of those that it started, in bytes: of each by its name, and of all.

    Of all at one moment, with the pages of their programs and libraries, and of what is their own alone (anonymous).
    """

    def __init__(self, parent: int) -> None:
        super().__init__(daemon=True)
        self.parent, self.found, self.together, self.own = str(parent), dict[str, int](), 0, 0

    def run(self) -> None:
        while True:
            together = own = 0
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError, ValueError, IndexError, KeyError):
                    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
                    if self.parent in (process.name, status["PPid"].strip()):
                        name = status["Name"].strip()
                        peak, now, anonymous = (
                            int(status[each].split()[0]) * 1024 for each in ("VmHWM", "VmRSS", "RssAnon")
                        )
                        self.found[name] = max(peak, self.found.get(name, 0))
                        together, own = together + now, own + anonymous
            self.together, self.own = max(self.together, together), max(self.own, own)
            time.sleep(0.05)


def measure(trials: int, epochs: int) -> dict[str, object]:
    """Publish a run of so many trainings offline, with its report."""
    with tempfile.TemporaryDirectory() as folder:
        paths = make_run(Path(folder), trials, epochs)
        began = time.perf_counter()
        publishing = Publisher(paths, Destination())
        assert publishing._process is not None
        memory = PeakMemory(publishing._process.pid)
        memory.start()
        outcome = publishing.finish()
        seconds = time.perf_counter() - began
        assert outcome.error is None, outcome
        assert outcome.offline == trials + 1
        disk = subprocess.run(["du", "-sb", str(paths.wandb_folder)], capture_output=True, text=True, check=True)
        return {
            "runs": trials,
            "epochs": epochs,
            "seconds": round(seconds, 1),
            "peak MiB": {name: round(peak / MIB, 1) for name, peak in memory.found.items()},
            "together MiB": round(memory.together / MIB, 1),
            "own MiB": round(memory.own / MIB, 1),
            "disk MiB": round(int(disk.stdout.split()[0]) / MIB, 1),
        }


if __name__ == "__main__":
    publisher.STALL_SECONDS = 600.0
    for size in sys.argv[1:] or ["16x50", "1000x100"]:
        print(json.dumps(measure(*map(int, size.split("x")))), flush=True)
