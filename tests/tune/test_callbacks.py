"""What is told and written of trials that go wrong."""

from pathlib import Path
from typing import Any

import pytest
from ray import tune
from records import identity

from dwray.paths import RunPaths
from dwray.results.records import Records
from dwray.results.store import RunStore
from dwray.tune.callbacks import RecordWriter, summary_of_failure
from dwray.tune.experiment import make_tuner
from dwray.tune.searcher import FixedTrials

FIRST = "Failure # 1 (occurred at 2026-01-01_00-00-00)\n"
TRACE = "ray::TrainTrial.train() (pid=1)\n  File \"x.py\", line 1, in step\n    raise ValueError('x')\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FIRST + TRACE + "ValueError: wrong\n", "ValueError: wrong"),
        (
            FIRST + TRACE + "torch.AcceleratorError: CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`.\n",
            "torch.AcceleratorError: CUDA error: out of memory",
        ),
        (FIRST + "ValueError: old\nFailure # 2 (occurred at x)\nKeyError: 'new'\n", "KeyError: 'new'"),
        (
            FIRST + "The actor died unexpectedly.\n\tclass_name: TrainTrial\n",
            "The actor died unexpectedly. class_name: TrainTrial",
        ),
    ],
)
def test_a_failure_is_told_in_a_line(text: str, said: str) -> None:
    assert summary_of_failure(text) == said


@pytest.mark.slow
def test_a_trial_that_fails_in_its_creation_has_a_whole_row_at_every_moment(ray_cluster: None, tmp_path: Path) -> None:
    marker = tmp_path / "failed once"

    class Stumbling(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            if config["always"] or not marker.exists():
                marker.touch()
                raise RuntimeError("no memory for the network")

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return False

        def step(self) -> dict[str, Any]:
            return {"done": True}

    store = RunStore(RunPaths.create(tmp_path, "x"), identity("x", ["A"]))
    seen: list[dict[str, Any]] = []

    class Reader(tune.Callback):  # type: ignore[misc]
        """Reads the store as somebody beside the sweep does."""

        def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
            store.flush()
            seen.extend(Records.read(store.paths).trials)

    for always in (False, True):
        make_tuner(
            Stumbling,
            FixedTrials([{"always": always}]),
            name=f"always-{always}",
            folder=tmp_path,
            trials=1,
            resources={"cpu": 1, "gpu": 0},
            callbacks=[RecordWriter(store, lambda _: {"stage": "train"}), Reader()],
            retries=1,
        ).fit()
    store.end()
    assert {row["stage"] for row in seen} == {"train"}
    assert None not in {row["status"] for row in seen}
    rows = Records.read(store.paths).trials
    assert [(row["status"], row["failures"], row["error"]) for row in rows] == [
        ("completed", 1, "RuntimeError: no memory for the network"),
        ("failed", 2, "RuntimeError: no memory for the network"),
    ]
