"""A trial that sleeps where a training would train. By itself, so that a worker imports no torch for it."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from ray import tune

WAVE_SECONDS = 300.0
"""So long the first workers wait for each other."""


class Sleeper(tune.Trainable):  # type: ignore[misc]
    """Sleeps through a trial's epochs, and writes down when it began and ended.

    Starting a worker takes as long as ever, while the epochs are many times shorter than they were recorded: the first
    workers wait for each other, so that the clock starts when all of them are there.
    """

    def setup(
        self, config: dict[str, Any], epochs: Mapping[str, Sequence[float]], scale: float, folder: str, wave: int
    ) -> None:
        """Wait for the first wave.

        Args:
            config: Of the first trial.
            epochs: Recorded seconds of each epoch, by contender.
            scale: So many times as fast as recorded.
            folder: Shared by all workers.
            wave: So many workers start at first.
        """
        self.epochs, self.scale, self.folder = epochs, scale, Path(folder)
        (self.folder / f"{uuid4().hex}.worker").touch()
        ends = time.monotonic() + WAVE_SECONDS
        while len(list(self.folder.glob("*.worker"))) < wave:
            if time.monotonic() > ends:
                raise TimeoutError(f"not all of the first {wave} workers came up within {WAVE_SECONDS} s")
            time.sleep(0.05)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Another trial."""
        self.done = 0
        return True

    def step(self) -> dict[str, Any]:
        """One epoch."""
        if self.done == 0:
            self.began = time.time()
        contender = self.config["contender"]
        time.sleep(self.epochs[contender][self.done] / self.scale)
        self.done += 1
        last = self.done == self.config["epochs"]
        if last:
            slept = {"contender": contender, "epochs": self.done, "began": self.began, "ended": time.time()}
            (self.folder / f"{self.config['trial_key']}.json").write_text(json.dumps(slept))
        return {
            "epoch": self.done,
            "train_loss": 1.0,
            "validation_loss": 1.0,
            "validation_accuracy_percent": 1.0,
            "diverged": False,
            "done": last,
        }
