"""What the harness costs on top of the work, in three parts.

    python tests/benchmarks/overhead.py [--trials 20] [--seconds 1] [--slots 2] [--rounds 3] [--json]
                                        [--defaults] [--share [--share-trials 20] [--share-seconds 20]]

* Trials of one second each, as dwray's stages run them, against a plain process pool. Both sides start their workers
  inside the measured time, and every worker imports what a training trial imports. The two take turns, so that the
  machine's load hits both. Ray itself is running before: a sweep starts it once.
* ``--defaults``: the same trials by Ray Tune as it comes, once: it takes minutes.
* ``--share``: a whole sweep of real trainings of about 20 seconds each, and how much of its wall time was not theirs:
  1 - (seconds that the trials worked) / (slots x wall seconds). A trial's own work is what it measured itself, its
  training and validation passes, and its final scores. All else counts as the harness's: starting the workers and
  importing torch there, the networks' making, checkpoints, records, and a slot that is idle as the other ends later.
  "Once running" is from the first trial's start to the last one's end: without the workers' start, which a sweep has
  once, however long it is.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import ray
from ray import tune

from dwray.paths import RunPaths
from dwray.results.curves import pass_seconds
from dwray.results.epochs import EpochRows
from dwray.results.records import Records
from dwray.spec import SweepSpec
from dwray.tune.cluster import SETTINGS, cluster
from dwray.tune.experiment import make_tuner
from dwray.tune.searcher import FixedTrials
from dwray.tune.sweep import run_sweep


class Sleeper(tune.Trainable):
    """A trial that works for ``seconds`` and reports once."""

    def setup(self, config: dict[str, float]) -> None:
        import dwray.tune.trainables  # noqa: F401 - what a real trial needs

        self.reset_config(config)

    def reset_config(self, new_config: dict[str, float]) -> bool:
        self.seconds = new_config["seconds"]
        return True

    def step(self) -> dict[str, float | bool]:
        time.sleep(self.seconds)
        return {"slept_seconds": self.seconds, "done": True}


def import_trainables() -> None:
    """What each worker of the pool does first."""
    import dwray.tune.trainables  # noqa: F401


def pool_seconds(trials: int, seconds: float, slots: int) -> float:
    """Wall time of a process pool."""
    began = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(slots, mp_context=context, initializer=import_trainables) as pool:
        list(pool.map(time.sleep, [seconds] * trials))
    return time.perf_counter() - began


def tune_seconds(trials: int, seconds: float, slots: int) -> float:
    """Wall time of an experiment as dwray's stages run them."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        tuner = make_tuner(
            Sleeper,
            FixedTrials([{"seconds": seconds}] * trials),
            name="overhead",
            folder=Path(folder),
            trials=trials,
            resources={"cpu": ray.cluster_resources()["CPU"] / slots, "gpu": 0},
        )
        results = tuner.fit()
        wall = time.perf_counter() - began
    assert len(results) == trials
    assert results.num_errors == 0
    return wall


def defaults_seconds(trials: int, seconds: float, slots: int) -> float:
    """Wall time of an experiment as Ray Tune runs it by default, in a process without dwray's settings."""
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    script = Path(__file__).with_name("tune_defaults.py")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "seconds.json"
        options = ["--trials", str(trials), "--seconds", str(seconds), "--slots", str(slots)]
        subprocess.run(
            [sys.executable, str(script), str(result), *options], env=environment, check=True, capture_output=True
        )
        found: float = json.loads(result.read_text())
        return found


def training_sweep(trials: int, epochs: int) -> SweepSpec:
    """Trainings of one small network, one a seed."""
    return SweepSpec.model_validate(
        {
            "name": "share",
            "networks": ["DepthwiseConvNet"],
            "width": 0.25,
            "data": {"source": "synthetic", "max_train_images": 1000, "max_test_images": 100},
            "training": {"epochs": epochs, "batch_size": 64},
            "seeds": list(range(trials)),
            "timing": None,
            "resources": {"gpus_per_trial": 0},
        }
    )


def work_seconds(epochs: EpochRows) -> float:
    """A training's own work: its passes, and the scores at its end, which lie between its last two reports."""
    passes, reported = pass_seconds(epochs), epochs.column("reported_at")
    gaps = [
        (after - before).total_seconds() - seconds
        for before, after, seconds in zip(reported, reported[1:], passes[1:], strict=False)
    ]
    return sum(passes) + max(0.0, gaps[-1] - statistics.median(gaps))


def run_share(trials: int, epochs: int, slots: int) -> dict[str, float]:
    """Run one sweep in the Ray that is there; seconds, and the harness's share of them."""
    with tempfile.TemporaryDirectory() as runs:
        paths = RunPaths.create(Path(runs), "share")
        began = time.perf_counter()
        failed = run_sweep(training_sweep(trials, epochs), paths, lambda _: None)
        wall = time.perf_counter() - began
        records = Records.read(paths)
    assert not failed
    rows = records.of_stage("train")
    work = [work_seconds(records.epochs_of(row)) for row in rows]
    assert len(work) == trials
    running = (max(row["ended_at"] for row in rows) - min(row["started_at"] for row in rows)).total_seconds()
    return {
        "wall_seconds": wall,
        "seconds_of_a_trial": statistics.fmean(work),
        "share_percent": 100 * (1 - sum(work) / (slots * wall)),
        "share_once_running_percent": 100 * (1 - sum(work) / (slots * running)),
    }


def harness_share(trials: int, seconds: float, slots: int) -> dict[str, float]:
    """The harness's share of a sweep whose trials take about so many seconds."""
    with cluster("local", verbose=False):
        slots = min(slots, int(ray.cluster_resources()["CPU"]))
        epoch = run_share(slots, 10, slots)["seconds_of_a_trial"] / 10  # the first few are slower
        return run_share(trials, max(3, round(seconds / epoch)), slots)


def measure(*, trials: int, seconds: float, slots: int, rounds: int) -> dict[str, Any]:
    """Run both sides in turn; wall seconds of every round, and the ratio of each round."""
    pools, tunes = [], []
    with cluster("local", verbose=False):
        for _ in range(rounds):
            pools.append(pool_seconds(trials, seconds, slots))
            tunes.append(tune_seconds(trials, seconds, slots))
    ratios = [mine / pool for mine, pool in zip(tunes, pools, strict=True)]
    return {
        "ideal_seconds": trials * seconds / slots,
        "pool_seconds": pools,
        "tune_seconds": tunes,
        "ratio": ratios,
        "ratio_median": statistics.median(ratios),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--slots", type=int, default=2, help="trials side by side; a CPU core for each")
    parser.add_argument("--rounds", type=int, default=3, help="of dwray against the pool; 0 leaves them out")
    parser.add_argument("--defaults", action="store_true", help="Ray Tune's own defaults too, once")
    parser.add_argument("--share", action="store_true", help="the harness's share of a sweep of real trainings too")
    parser.add_argument("--share-trials", type=int, default=20)
    parser.add_argument("--share-seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    size = {"trials": arguments.trials, "seconds": arguments.seconds, "slots": arguments.slots}
    found: dict[str, Any] = measure(**size, rounds=arguments.rounds) if arguments.rounds else {}
    if arguments.defaults:
        found["defaults_seconds"] = defaults_seconds(**size)
        found["defaults_over_ideal"] = (
            found["defaults_seconds"] * arguments.slots / (arguments.trials * arguments.seconds)
        )
        if arguments.rounds:
            found["defaults_ratio"] = found["defaults_seconds"] / statistics.median(found["pool_seconds"])
    if arguments.share:
        share = harness_share(arguments.share_trials, arguments.share_seconds, arguments.slots)
        found |= {f"sweep_{name}": value for name, value in share.items()}
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            shown = " ".join(f"{each:.2f}" for each in (value if isinstance(value, list) else [value]))
            print(f"{name:24} {shown}")


if __name__ == "__main__":
    main()
