"""What runs inside a trial: one training, or the timed passes of one kind over all networks."""

import dataclasses
import platform
import tempfile
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.result import DONE, RESULT_DUPLICATE

from dwray.core import checkpoint
from dwray.core.allocator import keep_freed_memory
from dwray.core.batches import Normalize, ResidentImages
from dwray.core.config import TrainingConfig
from dwray.core.data import Splits
from dwray.core.environment import device_name
from dwray.core.evaluation import evaluate
from dwray.core.inference import network_alone, time_passes, with_loader
from dwray.core.networks import build
from dwray.core.training import fit, start

CHECKPOINT_FILE = "state.pt"
TRAINING_SETTINGS = tuple(field.name for field in dataclasses.fields(TrainingConfig))


def prepare_worker(threads: int) -> torch.device:
    """Set a worker process up for a trial, and name the device that Ray gave it."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    if not ray.get_gpu_ids():
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError("Ray gave this trial a GPU that torch cannot use: check its driver, and torch's CUDA")
    return torch.device("cuda")


def where(device: torch.device) -> dict[str, Any]:
    """What a result was measured on, as columns of a trial."""
    return {"device": device_name(device), "threads": torch.get_num_threads(), "host": platform.node()}


def _get_splits(holder: list[Any]) -> Splits:
    """The node's one copy of the decoded images: numpy arrays that lie in Ray's object store, read-only."""
    splits = ray.get(holder[0])
    assert isinstance(splits, Splits)
    return splits


class TrainTrial(tune.Trainable):  # type: ignore[misc]
    """One training; each step is an epoch. Its actor is used again for the next trial, with the images in place.

    The config holds the settings of TrainingConfig, and ``network``, ``width``, ``seed``, ``threads`` and ``test``
    (whether to score the test images at the end).
    """

    def setup(self, config: dict[str, Any], splits: list[Any]) -> None:
        """Take the images (a list around their object reference) and make the first trial's network."""
        self.device = prepare_worker(config["threads"])
        self.splits = _get_splits(splits)
        normalize = Normalize(self.splits.mean, self.splits.std, self.device)
        self.images = {
            name: ResidentImages(getattr(self.splits, name), normalize, self.device)
            for name in ("train", "validation", "test")
        }
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in the same process."""
        self.training = TrainingConfig(**{name: new_config[name] for name in TRAINING_SETTINGS})
        network = build(
            new_config["network"],
            classes=len(self.splits.classes),
            width=new_config["width"],
            channels=self.splits.train.pixels.shape[-1],
            seed=new_config["seed"],
        ).to(self.device)
        self.state = start(network, self.training)
        self.score_test: bool = new_config["test"]
        self.records = fit(
            self.state,
            self.images["train"],
            self.images["validation"],
            self.training,
            seed=new_config["seed"],
        )
        return True

    def step(self) -> dict[str, Any]:
        """One epoch; after the last one, the test images."""
        record = next(self.records, None)
        if record is None:  # restored from the checkpoint of its end: the last result was reported before
            return {RESULT_DUPLICATE: True, DONE: True}
        result: dict[str, Any] = {**dataclasses.asdict(record), **where(self.device)}
        result[DONE] = record.diverged or self.state.epochs_done == self.training.epochs
        if result[DONE] and self.score_test and not record.diverged:
            score = evaluate(self.state.network, self.images["test"], self.training.batch_size)
            result.update(test_loss=score.loss, test_accuracy_percent=score.accuracy_percent)
        return result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save the training's state."""
        checkpoint.save(Path(checkpoint_dir) / CHECKPOINT_FILE, self.state)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Go on from a saved state."""
        checkpoint.load(Path(checkpoint_dir) / CHECKPOINT_FILE, self.state)


class TimeTrial(tune.Trainable):  # type: ignore[misc]
    """The timed passes of one kind (set, batch size, with or without loader) over all networks, in one step.

    One trial times all the networks, pass by pass in turn, because only what was measured side by side on one device
    can be compared. Nothing is reported between two passes, which would disturb the next one.

    The config holds ``set``, ``batch_size``, ``loader``, ``passes``, ``warmup_batches`` and ``threads``.
    """

    def setup(
        self,
        config: dict[str, Any],
        splits: list[Any],
        contenders: dict[str, tuple[str, float, bytes | None]],
    ) -> None:
        """Take the images and, for each contender, its network, width and trained state (a checkpoint's bytes)."""
        self.device = prepare_worker(config["threads"])
        self.splits = _get_splits(splits)
        self.normalize = Normalize(self.splits.mean, self.splits.std, self.device)
        self.networks = {}
        for label, (name, width, weights) in contenders.items():
            network = build(
                name,
                classes=len(self.splits.classes),
                width=width,
                channels=self.splits.train.pixels.shape[-1],
                seed=0,
            ).to(self.device)
            if weights is not None:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / CHECKPOINT_FILE
                    path.write_bytes(weights)
                    checkpoint.load(path, start(network, TrainingConfig()))
            self.networks[label] = network

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Another kind of pass, with the same networks."""
        return True

    def step(self) -> dict[str, Any]:
        """All the passes; ``passes`` of the result holds a dict for each."""
        make = with_loader if self.config["loader"] else network_alone
        records = time_passes(
            self.networks,
            make(
                getattr(self.splits, self.config["set"]),
                self.normalize,
                self.config["batch_size"],
                self.device,
            ),
            device=self.device,
            passes=self.config["passes"],
            warmup_batches=self.config["warmup_batches"],
        )
        return {
            "passes": [dataclasses.asdict(record) for record in records],
            **where(self.device),
            DONE: True,
        }
