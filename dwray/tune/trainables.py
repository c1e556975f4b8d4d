"""What runs inside a trial: one training, or the timed passes of one kind over all networks."""

import dataclasses
import platform
import random
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.result import DONE
from torch import nn

from dwray.core import checkpoint
from dwray.core.allocator import keep_freed_memory
from dwray.core.batches import ImageSet, Normalize, ResidentImages, as_tensor, normalisation
from dwray.core.ceilings import ELEMENT_BYTES, Ceilings, measure_ceilings
from dwray.core.complexity import complexity
from dwray.core.config import PLAIN_MODE, SWITCHES, ProtocolConfig, TrainingConfig
from dwray.core.data import Splits
from dwray.core.environment import device_name
from dwray.core.evaluation import evaluate
from dwray.core.execution import lay_out_network
from dwray.core.inference import Batches, batches_of, network_alone, time_passes, with_loader
from dwray.core.modes import MODES, Mode, prepare, unavailable
from dwray.core.networks import build
from dwray.core.notebook_loader import NotebookImages
from dwray.core.precision import deterministic_convolutions, full_float32
from dwray.core.savepoints import Pace, SavedStates
from dwray.core.training import TrainingState, fit, settle, start
from dwray.core.witness import Witness
from dwray.errors import one_line
from dwray.paths import RunPaths
from dwray.storage import Storage
from dwray.tune.placement import owns_node

KEY = "trial_key"
"""In the config of a trial: its name in the run, the same whenever and wherever it runs."""
CEILING_SECONDS = 0.2
"""Spent by each worker on the device's ceilings, once, before its first training."""
CHECK_IMAGES = 64
"""Test images on which a mode's outputs are held against float32's."""
TRAINING_SETTINGS = tuple(field.name for field in dataclasses.fields(TrainingConfig))


def prepare_worker(threads: int) -> torch.device:
    """Set a worker process up for a trial, and name the device that Ray gave it."""
    keep_freed_memory()
    full_float32()
    deterministic_convolutions()
    torch.set_num_threads(threads)
    if not ray.get_gpu_ids():
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError("Ray gave this trial a GPU that torch cannot use: check its driver, and torch's CUDA")
    return torch.device("cuda")


def where(device: torch.device) -> dict[str, Any]:
    """What a result was measured on, as columns of a trial."""
    return {"device": device_name(device), "threads": torch.get_num_threads(), "host": platform.node()}


def owned_node() -> bool:
    """Whether Ray can have run nothing beside this trial on its node."""
    context = ray.get_runtime_context()
    node = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    return owns_node(context.get_assigned_resources(), node["Resources"])


def is_the_runs(states: Storage) -> bool:
    """Whether a folder of states is the run's, and not one of its name on a node that does not share it."""
    try:
        return states.remote or RunPaths(Path(states.location).parent).trials.is_file()
    except OSError:
        return True  # a file server that is away for a while: the next save will tell


SplitsByTuning = Mapping[bool, Any]
"""References to the images by ``tune_on_test_set``."""


def _get_splits(references: SplitsByTuning, tune_on_test_set: bool) -> Splits:
    """The node's one copy of the decoded images: numpy arrays that lie in Ray's object store, read-only."""
    splits = ray.get(references[tune_on_test_set])
    assert isinstance(splits, Splits)
    return splits


def image_sets(splits: Splits, protocol: ProtocolConfig, device: torch.device) -> dict[str, ImageSet]:
    """The three sets as a protocol makes batches of them."""
    mean, std = normalisation(splits, protocol.normalisation)
    sets = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    if protocol.notebook_loader:
        return {name: NotebookImages(images, mean, std, device) for name, images in sets.items()}
    normalize = Normalize(mean, std, device)
    return {name: ResidentImages(images, normalize, device) for name, images in sets.items()}


class TrainTrial(tune.Trainable):  # type: ignore[misc]
    """One training; each step is an epoch. Its actor is used again for the next trial, with the images in place.

    The config holds the settings of TrainingConfig, the protocol's switches, and ``network``, ``width``, ``seed``,
    ``threads``, ``test`` (whether to score the test images at the end) and ``trial_key``. A trial goes on from the
    latest sound state that was saved under its key, whoever saved it: that is how a retry and a resumed sweep go on,
    and Tune's own checkpoints are not needed.
    """

    def setup(self, config: dict[str, Any], splits: SplitsByTuning, states: Storage, save_minutes: float) -> None:
        """Take the images and make the first trial's network.

        Args:
            config: Of the first trial.
            splits: References to the images.
            states: Holds the saved states of all trials.
            save_minutes: See :class:`~dwray.core.savepoints.Pace`.
        """
        self.device = prepare_worker(config["threads"])
        self.references, self.states, self.pace = splits, states, Pace(save_minutes)
        self.protocol: ProtocolConfig | None = None
        self.networks: dict[tuple[str, float], nn.Module] = {}
        self.ceilings: Ceilings | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in the same process, or go on with one."""
        protocol = ProtocolConfig(**{name: new_config[name] for name in SWITCHES})
        if protocol != self.protocol:
            self.protocol = protocol
            self.splits = _get_splits(self.references, protocol.tune_on_test_set)
            self.images = image_sets(self.splits, protocol, self.device)
        self.training = TrainingConfig(**{name: new_config[name] for name in TRAINING_SETTINGS})
        self.saved = SavedStates(self.states.within(new_config[KEY]), new_config[KEY])
        self.state = self.saved.newest(partial(self._fresh_state, new_config))
        self.unreported = self.state.epochs_done > 0
        """The driver may not have heard of the epochs that a saved state brought along."""
        self.execution = settle(self.state, self.training, self.device, len(self.images["train"]))
        self.score_test: bool = new_config["test"]
        self.roofline = self._roofline(new_config) if self.score_test else {}
        self.records = fit(
            self.state,
            self.images["train"],
            self.images["validation"],
            self.training,
            seed=new_config["seed"],
            protocol=protocol,
        )
        self.pace.restart()
        return True

    def _fresh_state(self, config: Mapping[str, Any]) -> TrainingState:
        """At a training's start; what a network draws at random follows from the seed, too."""
        random.seed(config["seed"])
        torch.manual_seed(config["seed"])
        return start(self._network(config), self.training)

    def _roofline(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What a step has to do at the least, and what this device can do at most, as columns of a trial."""
        if self.ceilings is None:
            self.ceilings = measure_ceilings(self.device, CEILING_SECONDS)
        pixels = self.splits.train.pixels
        cost = complexity(
            config["network"],
            classes=len(self.splits.classes),
            width=config["width"],
            image_shape=(pixels.shape[3], *pixels.shape[1:3]),
        )
        precision = self.execution.precision
        step = cost.training_step(self.training.batch_size, ELEMENT_BYTES[precision])
        return {
            "step_flops": step.flops,
            "step_bytes": step.bytes,
            "matrix_flops_per_second": self.ceilings.matrix_flops_per_second[precision],
            "copy_bytes_per_second": self.ceilings.copy_bytes_per_second,
        }

    def _network(self, config: Mapping[str, Any]) -> nn.Module:
        """The network that a trial starts from: one module for all trials of a kind, because it is compiled once."""
        fresh = build(
            config["network"],
            classes=len(self.splits.classes),
            width=config["width"],
            channels=self.splits.train.pixels.shape[-1],
            seed=config["seed"],
        )
        key = (config["network"], config["width"])
        if key not in self.networks:
            self.networks[key] = fresh.to(self.device)
        else:
            self.networks[key].load_state_dict(fresh.state_dict())
        return self.networks[key]

    def step(self) -> dict[str, Any]:
        """One epoch; after the last one, the test images.

        The first result after a saved state was taken up has the epochs before it, too, in ``earlier``. A state that
        cannot be saved ends the trial, and the result says why in ``storage_error``: the sweep cannot go on so.
        """
        if not is_the_runs(self.states):
            return {
                "storage_error": f"{self.states}: {platform.node()} does not share this folder; give one that all "
                "nodes do, or s3://BUCKET/PREFIX, with --storage",
                **where(self.device),
                DONE: True,
            }
        # There is no further epoch if the state was saved after the last one, and then its scores were lost.
        record = next(self.records, None) or self.state.records[-1]
        result: dict[str, Any] = {**dataclasses.asdict(record), **where(self.device)}
        if self.unreported:
            result["earlier"] = [dataclasses.asdict(earlier) for earlier in self.state.records[:-1]]
            self.unreported = False
        if self.saved.problems:
            result["warnings"] = self.saved.problems
            self.saved.problems = []
        result["train_images"] = len(self.images["train"])
        result.update(self.roofline)
        result["precision"] = self.execution.precision
        result["memory_format"] = self.execution.memory_format
        result["compile"] = self.execution.compiled
        result[DONE] = record.diverged or self.state.epochs_done == self.training.epochs
        if result[DONE] and self.score_test and not record.diverged:
            result.update(self._final_scores())
        try:
            self._save(result[DONE], diverged=record.diverged)
        except OSError as error:
            result.update({"storage_error": f"{self.saved.storage}: {one_line(error)}", DONE: True})
        return result

    def _save(self, ended: bool, *, diverged: bool) -> None:
        """Save the state when it is time, and at the end where the weights are wanted."""
        if ended and (diverged or not self.score_test):
            self.saved.clear()
        elif self.pace.is_due() or ended:
            began = time.monotonic()
            self.saved.save(self.state)
            self.pace.saved(began)

    def _final_scores(self) -> dict[str, Any]:
        """Of the trained network: the test images both ways, so that what batch norm's mode is worth is paired."""
        assert self.protocol is not None
        score = partial(evaluate, self.state.network, batch_size=self.training.batch_size, execution=self.execution)
        test = score(self.images["test"])
        otherwise = score(self.images["test"], batch_statistics=True)
        train = score(self.images["train"], batch_statistics=self.protocol.batch_statistics_at_test)
        return {
            "test_loss": test.loss,
            "test_accuracy_percent": test.accuracy_percent,
            "batch_statistics_test_accuracy_percent": otherwise.accuracy_percent,
            "train_set_accuracy_percent": train.accuracy_percent,
        }


class TimeTrial(tune.Trainable):  # type: ignore[misc]
    """The timed passes of one kind (set, batch size, with or without loader) over all networks, in one step.

    One trial times all the networks, pass by pass in turn, because only what was measured side by side on one device
    can be compared. Nothing is reported between two passes, which would disturb the next one.

    The config holds the fields of :class:`~dwray.search.plan.PassKind`, and ``tune_on_test_set``, ``normalisation``,
    ``memory_format``, ``passes``, ``warmup_batches`` and ``threads``.
    """

    def setup(
        self,
        config: dict[str, Any],
        splits: SplitsByTuning,
        contenders: dict[str, tuple[str, float, bytes | None]],
    ) -> None:
        """Take the images and, for each contender, its network, width and trained state (a checkpoint's bytes)."""
        self.device = prepare_worker(config["threads"])
        self.splits = _get_splits(splits, config["tune_on_test_set"])
        self.networks: dict[str, nn.Module] = {}
        for label, (name, width, weights) in contenders.items():
            network = build(
                name,
                classes=len(self.splits.classes),
                width=width,
                channels=self.splits.train.pixels.shape[-1],
                seed=0,
            ).to(self.device)
            if weights is not None:
                checkpoint.restore_weights(weights, network, where=f"the trained {label}")
            self.networks[label] = lay_out_network(network, config["memory_format"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Another kind of pass, with the same networks."""
        return True

    def step(self) -> dict[str, Any]:
        """All the passes; ``passes`` of the result holds a dict for each, none where the device lacks the mode."""
        mode = MODES[self.config["mode"]]
        reason = unavailable(mode, self.device)
        if reason:
            return {"passes": [], "witnessed": {}, "unavailable": reason, **where(self.device), DONE: True}
        networks = self._prepared(mode)
        witness = Witness(self.device)
        with witness:
            records = list(
                time_passes(
                    networks,
                    self._batches(mode),
                    device=self.device,
                    passes=self.config["passes"],
                    warmup_batches=self.config["warmup_batches"],
                    batch_statistics=self.config["batch_statistics"],
                    read_each_batch=self.config["notebook_loader"],
                )
            )
        witnessed = {**dataclasses.asdict(witness.record), "owned_node": owned_node()}
        del witnessed["threads"]  # of the process; the trial's own are told beside it
        return {
            "passes": [dataclasses.asdict(record) for record in records],
            "witnessed": witnessed,
            **where(self.device),
            DONE: True,
        }

    def _prepared(self, mode: Mode) -> dict[str, nn.Module]:
        """The networks in a mode; their outputs are held against float32's before anything is timed."""
        if str(mode) == PLAIN_MODE:
            return self.networks
        mean, std = normalisation(self.splits, self.config["normalisation"])
        pixels = as_tensor(self.splits.test.pixels[:CHECK_IMAGES]).to(self.device)
        images = Normalize(mean, std, self.device)(pixels)
        for network in self.networks.values():
            network.eval()
        return prepare(self.networks, mode, images)

    def _batches(self, mode: Mode) -> Batches:
        """What a pass goes through, by the trial's config."""
        images, batch_size = getattr(self.splits, self.config["set"]), self.config["batch_size"]
        mean, std = normalisation(self.splits, self.config["normalisation"])
        if self.config["notebook_loader"]:
            return batches_of(NotebookImages(images, mean, std, self.device), batch_size)
        normalize = Normalize(mean, std, self.device)
        if self.config["loader"]:
            return with_loader(images, normalize, batch_size, self.device)
        return network_alone(images, normalize, batch_size, self.device, mode.dtype)
