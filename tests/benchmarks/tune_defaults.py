"""Trials that sleep, by Ray Tune as it comes: no setting of dwray's is in force in this process.

    python tests/benchmarks/tune_defaults.py RESULT.json [--trials 20] [--seconds 1] [--slots 2]

Ray is running before the clock starts, and each trial imports what a training trial imports.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import ray
from ray import tune


def sleep(config: dict[str, float]) -> None:
    """A trial that works for ``seconds`` and reports once."""
    import dwray.tune.trainables  # noqa: F401

    time.sleep(config["seconds"])
    tune.report({"slept_seconds": config["seconds"]})


def main() -> None:
    """Measure, and write the wall seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--slots", type=int, default=2)
    arguments = parser.parse_args()
    ray.init(num_cpus=arguments.slots)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        results = tune.Tuner(
            sleep,
            param_space={"seconds": arguments.seconds, "number": tune.grid_search(list(range(arguments.trials)))},
            run_config=tune.RunConfig(storage_path=folder),
        ).fit()
        wall = time.perf_counter() - began
    assert len(results) == arguments.trials
    assert results.num_errors == 0
    ray.shutdown()
    arguments.result.write_text(json.dumps(wall))


if __name__ == "__main__":
    main()
