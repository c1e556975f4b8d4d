"""What Ray Tune costs on top of the work: trials of one second each, against a plain process pool, in one run.

    python tests/benchmarks/overhead.py [--trials 20] [--seconds 1] [--slots 2] [--rounds 3] [--json]

Both sides start their workers inside the measured time, and every worker imports what a training trial imports. The two
take turns, so that the machine's load hits both. Ray itself is running before: a sweep starts it once.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from ray import tune

from dwray.tune.cluster import cluster
from dwray.tune.experiment import make_tuner
from dwray.tune.searcher import FixedTrials


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


def tune_seconds(trials: int, seconds: float) -> float:
    """Wall time of an experiment as dwray's stages run them."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        tuner = make_tuner(
            Sleeper,
            FixedTrials([{"seconds": seconds}] * trials),
            name="overhead",
            folder=Path(folder),
            trials=trials,
            resources={"cpu": 1, "gpu": 0},
        )
        results = tuner.fit()
        wall = time.perf_counter() - began
    assert len(results) == trials
    assert results.num_errors == 0
    return wall


def measure(*, trials: int, seconds: float, slots: int, rounds: int) -> dict[str, object]:
    """Run both sides in turn; wall seconds of every round, and the ratio of each round."""
    pools, tunes = [], []
    with cluster("local", verbose=False):
        for _ in range(rounds):
            pools.append(pool_seconds(trials, seconds, slots))
            tunes.append(tune_seconds(trials, seconds))
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
    parser.add_argument("--slots", type=int, default=2, help="CPU cores that Ray finds on this machine")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = vars(parser.parse_args())
    as_json = arguments.pop("json")
    found = measure(**arguments)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            shown = (
                [f"{each:.2f}" for each in value] if isinstance(value, list) else [f"{value:.2f}"] if value else ["-"]
            )
            print(f"{name:24} {' '.join(shown)}")


if __name__ == "__main__":
    main()
