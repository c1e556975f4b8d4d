"""What an experiment costs as it grows: trivial trials, 10 to 5,000 of them, through dwray's own machinery.

    python tests/benchmarks/growth.py [--counts 10,100,1000,5000] [--epochs 1] [--searcher linear|fixed] [--json]

Each count runs in a process and a Ray of its own. A trial does nothing but report, so that all the time is the
harness's: Tune, the searcher, the callbacks, and the run's Parquet files with a row for every trial and epoch.
``per_trial`` is the time between the first and the last trial's end over the trials between; ``quarters`` is the same
for each quarter of the experiment. ``rss`` is the driver's memory before it and at its end; the snapshot is what Tune
saves of the experiment at its end.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from memory import peak_rss_mib, rss_mib
from ray import tune

import dwray.tune.sweep  # noqa: F401 - what a sweep's driver has in memory
from dwray.core.config import PROTOCOLS, TrainingConfig
from dwray.paths import RunPaths
from dwray.results.schema import EPOCHS
from dwray.results.store import RunStore, read_parquet
from dwray.tune.callbacks import RecordWriter, TimingReporter
from dwray.tune.cluster import cluster
from dwray.tune.experiment import make_tuner
from dwray.tune.searcher import FixedTrials, LinearSearch

AXES = 10


class Trivial(tune.Trainable):
    """A trial that reports made-up epochs at once."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.epochs_left = new_config["epochs"]
        return True

    def step(self) -> dict[str, Any]:
        self.epochs_left -= 1
        return {
            "epoch": self.config["epochs"] - self.epochs_left,
            **{name: 1.0 for name in RecordWriter.EPOCH_COLUMNS if EPOCHS.field(name).type == "double"},
            "diverged": False,
            "done": self.epochs_left == 0,
        }


class Watch(tune.Callback):
    """Notes when trials end, and the driver's memory."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def __getstate__(self) -> dict[str, Any]:
        return {"ends": []}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.ends.append(time.perf_counter())


CONSTANTS = {**dataclasses.asdict(TrainingConfig()), **dataclasses.asdict(PROTOCOLS["corrected"]), "contender": "A"}
"""What else is in the config of a training, and in each of its results."""


def linear_search(trials: int, epochs: int) -> LinearSearch:
    """A linear search over AXES axes, of exactly so many trials."""
    lengths = [(trials - 1) // AXES + (number < (trials - 1) % AXES) for number in range(AXES)]
    axes = {f"x{number}": list(range(length + 1)) for number, length in enumerate(lengths)}
    return LinearSearch(axes, {**CONSTANTS, "epochs": epochs}, metric="validation_accuracy_percent", mode="max")


def seconds_per_trial(ends: Sequence[float]) -> float:
    """From the first of these ends to the last, over the trials between."""
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def experiment(trials: int, epochs: int, searcher_name: str) -> dict[str, Any]:
    """Run one experiment in this process."""
    fixed = FixedTrials([{**CONSTANTS, "epochs": epochs, "number": number} for number in range(trials)])
    searcher = fixed if searcher_name == "fixed" else linear_search(trials, epochs)
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder, cluster("local", verbose=False):
        store = RunStore(RunPaths.create(Path(folder), "growth"), {"sweep": "growth", "contenders": "[]"})
        described = {"stage": "search", "contender": "A", "seed": 0, "synthetic": True}
        tuner = make_tuner(
            Trivial,
            searcher,
            name="growth",
            folder=Path(folder) / "tune",
            trials=trials,
            resources={"cpu": 1, "gpu": 0},
            # As the stages name trials: by a function that refers to the searcher.
            trial_name=lambda trial: f"{type(searcher).__name__} {trial.trial_id}",
            callbacks=[RecordWriter(store, lambda _: described), TimingReporter(lambda _: None), watch],
        )
        before, began = rss_mib(), time.perf_counter()
        results = tuner.fit()
        wall, after = time.perf_counter() - began, rss_mib()
        store.end()
        assert len(results) == len(watch.ends) == trials
        assert results.num_errors == 0
        assert searcher.finished
        assert len(read_parquet(store.paths.epochs, EPOCHS)) == trials * epochs
        snapshot = sum(path.stat().st_size for path in Path(folder).glob("tune/growth/experiment_state-*.json"))
    quarter = trials // 4
    quarters = (
        [watch.ends[start : start + quarter + 1] for start in range(0, 4 * quarter, quarter)] if quarter > 4 else []
    )
    return {
        "trials": trials,
        "wall_seconds": wall,
        "first_after_seconds": watch.ends[0] - began,
        "after_last_seconds": began + wall - watch.ends[-1],
        "per_trial_ms": 1000 * seconds_per_trial(watch.ends),
        "quarters_ms": [1000 * seconds_per_trial(ends) for ends in quarters],
        "snapshot_kib_per_trial": snapshot / 2**10 / trials,
        "rss_before_mib": before,
        "rss_mib": after,
        "peak_rss_mib": peak_rss_mib(),
    }


def measure(counts: Sequence[int], epochs: int, searcher: str) -> Iterator[dict[str, Any]]:
    """Run each count in a process of its own."""
    for count in counts:
        options = ["--counts", str(count), "--epochs", str(epochs), "--searcher", searcher, "--here"]
        run = subprocess.run([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=True)
        yield json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--counts", default="10,100,1000,5000", help="how many trials, each in an experiment of its own"
    )
    parser.add_argument("--epochs", type=int, default=1, help="results that each trial reports")
    parser.add_argument("--searcher", choices=("linear", "fixed"), default="linear")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--here", action="store_true", help="run one count in this process, and print it as JSON")
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.counts.split(",")]
    if arguments.here:
        found = experiment(counts[0], arguments.epochs, arguments.searcher)
        print(json.dumps(found))
        return
    measured = measure(counts, arguments.epochs, arguments.searcher)
    if arguments.json:
        print(json.dumps(list(measured), indent=2))
        return
    for each in measured:
        quarters = " ".join(f"{quarter:.1f}" for quarter in each["quarters_ms"])
        print(
            f"{each['trials']:5} trials: {each['wall_seconds']:7.1f} s, of these {each['first_after_seconds']:.1f} s "
            f"before the first ended and {each['after_last_seconds']:.1f} s after the last, "
            f"{each['per_trial_ms']:6.1f} ms per trial (quarters: {quarters or '-'}), "
            f"snapshot {each['snapshot_kib_per_trial']:.1f} KiB per trial, "
            f"RSS {each['rss_before_mib']:.0f} -> {each['rss_mib']:.0f} MiB, peak {each['peak_rss_mib']:.0f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
