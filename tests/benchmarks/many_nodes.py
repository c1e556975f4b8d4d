"""The schedule of a sweep as dwray's own stages make it, on a cluster of many nodes with GPUs that are not there.

The nodes are processes of this machine (``ray.cluster_utils``), the trials sleep. The searchers, Tune, the callbacks
and the records are those of a sweep.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.cluster_utils import Cluster
from schedule import Costs, Run, Schedule
from sleeper import Sleeper

from dwray.paths import RunPaths
from dwray.results.store import RunStore
from dwray.tune.cluster import SETTINGS, cluster
from dwray.tune.searcher import FixedTrials, LinearSearch
from dwray.tune.stage import Stage, run_stage

OBJECT_STORE_BYTES = 80_000_000
"""Of each node: next to nothing is in it here."""


@dataclass(frozen=True)
class Measured:
    """A stage as it ran; the schedule's times are those of the recorded epochs, not of the wall."""

    schedule: Schedule
    scale: float
    """So many times as fast as recorded."""
    handover_seconds: float
    """Wall seconds from an end that lets a trial begin to that beginning, in the mean."""
    wall_seconds: float
    """Of the whole stage, its workers' start included."""

    def overhead_seconds(self, predicted: Schedule) -> float:
        """Wall seconds that it took longer than predicted, from the first trial's beginning to the last one's end."""
        return (self.schedule.makespan - predicted.makespan) / self.scale


@contextmanager
def fake_cluster(nodes: int, gpus_per_node: int) -> Iterator[float]:
    """So many nodes with so many GPUs each, and a head without any; yields the seconds until all were there."""
    os.environ.update({"RAY_AUTH_MODE": "disabled", **SETTINGS, "RAY_preload_python_modules": "ray.tune"})
    began = time.monotonic()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, "include_dashboard": False})
    try:
        for _ in range(nodes):
            made.add_node(wait=False, num_cpus=1, num_gpus=gpus_per_node, object_store_memory=OBJECT_STORE_BYTES)
        made.wait_for_nodes(timeout=600)
        with cluster(made.address, verbose=False):
            yield time.monotonic() - began
    finally:
        made.shutdown()


def run(
    name: str,
    searcher: LinearSearch | FixedTrials,
    predicted: Schedule,
    costs: Costs,
    *,
    seconds: float,
    cpus: float,
) -> Measured:
    """Run a stage in the cluster that is there.

    Args:
        name: Of the stage, ``search`` or ``train``.
        searcher: Suggests its trials.
        predicted: What is expected of it: decides how much faster than recorded the epochs go.
        costs: Recorded epochs.
        seconds: So long it is to take, by the prediction.
        cpus: Of a trial.
    """
    scale = predicted.makespan / seconds
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(RunPaths.create(Path(folder), "scale"), {"sweep": "scale", "contenders": "[]"})
        slept = Path(folder) / "slept"
        slept.mkdir()
        stage = Stage(
            name=name,
            trainable=tune.with_parameters(
                Sleeper, epochs=dict(costs.epochs), scale=scale, folder=str(slept), wave=predicted.widest
            ),
            searcher=searcher,
            ended={},
            trials=len(predicted.runs),
            resources={"cpu": cpus, "gpu": 1},
            varies=lambda trial: str(trial.trial_id),
            describe=lambda trial: {},
        )
        described = {"stage": name, "seed": 0, "synthetic": True}
        began = time.monotonic()
        run_stage(
            stage,
            store,
            lambda _: None,
            describe=lambda trial: {**described, "contender": trial.config["contender"]},
            retries=0,
        )
        wall = time.monotonic() - began
        store.end()
        runs = sorted((json.loads(path.read_text()) for path in slept.glob("*.json")), key=lambda run: run["began"])
    return Measured(
        schedule=Schedule(predicted.gpus, tuple(as_recorded(each, runs[0]["began"], scale, costs) for each in runs)),
        scale=scale,
        handover_seconds=handover([(each["began"], each["ended"]) for each in runs]),
        wall_seconds=wall,
    )


def as_recorded(slept: Mapping[str, Any], first: float, scale: float, costs: Costs) -> Run:
    """What a sleeper wrote down, in the time of the recorded epochs."""
    began, ended = (scale * (slept[name] - first) for name in ("began", "ended"))
    return Run(slept["contender"], began, ended, costs.work(slept))


def handover(runs: Sequence[tuple[float, float]]) -> float:
    """Mean seconds from the last end before a beginning to that beginning; runs that follow on no end count not."""
    gaps = [
        began - max(ended for _, ended in runs if ended <= began)
        for began, _ in runs
        if any(ended <= began for _, ended in runs)
    ]
    return sum(gaps) / len(gaps) if gaps else 0.0
