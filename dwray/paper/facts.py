"""What the paper and its notebooks state, by question; the numbers themselves lie in the data files beside this one.

Datasets are ``cifar10`` and ``cifar100``, networks ``ConvNet`` and ``DepthwiseConvNet``. Of any other the paper states
nothing, which is an empty answer and no error: a run on other images stands alone.
"""

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any


@dataclass(frozen=True)
class Stated:
    """One number, as each source gives it; None where a source does not."""

    paper: float | None = None
    """Printed in the paper."""
    notebook: float | None = None
    """Printed by the notebooks, or the mean of what they print epoch by epoch."""
    footnotes: tuple[str, ...] = ()
    """Keys for :func:`footnote`: what must be said where the number is shown."""
    derived: float | None = None
    """Printed by neither, but it follows from what they print."""


@dataclass(frozen=True)
class Longer:
    """Which network takes longer, and by how many percent of the other's time."""

    network: str | None = None
    percent: Stated = Stated()


def footnote(key: str) -> str:
    """Text of a footnote, one or two sentences.

    Raises:
        KeyError: There is no such footnote.
    """
    texts = _toml("contradictions.toml")
    text: str = {**texts["contradictions"], **texts["explanations"]}[key]
    return text


def contradictions() -> Mapping[str, str]:
    """Where the paper contradicts itself or its notebooks: text by key of its footnote."""
    return dict(_toml("contradictions.toml")["contradictions"])


def parameters(network: str, classes: int) -> Stated:
    """Trainable parameters of a network with 100 classes (printed) or 10 (derived)."""
    footnotes = ("figure_2_blocks",) if network == "ConvNet" else ()
    return _stated(
        _fact("networks", network, "parameters", str(classes)),
        *footnotes,
        *(("parameters_derived",) if classes != 100 else ()),
    )


def macs(network: str, classes: int) -> Stated:
    """Multiply-accumulates of a forward pass over one 32x32 image, with 100 or 10 classes."""
    return _stated(_fact("networks", network, "macs", str(classes)), "macs_derived")


def accuracy(dataset: str, network: str, which: str) -> Stated:
    """Accuracy in percent.

    Args:
        dataset: Of the images.
        network: Name in the paper.
        which: ``reported``, what section 4.1 prints; ``last_epoch`` or ``best_epoch``, on the test set in evaluation
            mode, by the notebook; ``train``, on the training set, by the notebook.

    Raises:
        ValueError: ``which`` is none of these.
    """
    found = _fact("accuracy_percent", dataset, network)
    if which == "reported":
        return _stated({"paper": found.get("paper")}, "batch_statistics")
    if which in ("last_epoch", "best_epoch", "train"):
        return _stated({"notebook": found.get(f"notebook_{which}")})
    raise ValueError(f"knows reported, last_epoch, best_epoch and train, not {which!r}")


def seconds_per_epoch(dataset: str, network: str) -> Stated:
    """Seconds of a training pass, validation excluded; the paper gives one value for both datasets."""
    if not _curves().get((dataset, network)):
        return Stated()
    found = _fact("training_time", "seconds_per_epoch", network)
    return _stated({"paper": found["paper"], "notebook": found["notebook"][dataset]}, "time_to_train")


def validation_seconds_per_epoch(dataset: str, network: str) -> Stated:
    """Seconds of a pass over the validation images (the test set): mean over the notebook's epochs."""
    rows = curve(dataset, network)
    return Stated(notebook=fmean(row["validation_seconds"] for row in rows)) if rows else Stated()


def epochs(dataset: str, network: str) -> Stated:
    """Epochs of the full training."""
    return _stated(_fact("training_time", "epochs", dataset, network), *_epochs_footnote(dataset, network))


def total_seconds(dataset: str, network: str) -> Stated:
    """Seconds of all training and validation passes of one training."""
    found = _fact("training_time", "total_seconds", dataset, network)
    return _stated(found, *_epochs_footnote(dataset, network), "time_to_train")


def _epochs_footnote(dataset: str, network: str) -> tuple[str, ...]:
    return ("cifar100_epochs",) if (dataset, network) == ("cifar100", "ConvNet") else ()


def epochs_to_reach(dataset: str, network: str, accuracy_percent: float) -> int | None:
    """First epoch of the notebook's curve with this validation accuracy; None if there is none."""
    rows = curve(dataset, network)
    return next((int(row["epoch"]) for row in rows if row["validation_accuracy_percent"] >= accuracy_percent), None)


def test_seconds(network: str, images: str, batch_size: int) -> Stated:
    """Seconds of a pass over a set (``train`` or ``test``) of CIFAR-10: mean of 10."""
    seconds = _fact("test_time", "seconds", str(batch_size), network).get(images)
    mislabelled = images == "train" and seconds in _fact("test_time")["train_seconds_called_test_set"]
    return _stated({"paper": seconds}, "timed_on_cifar10", *(("train_set_sentences",) if mislabelled else ()))


def longer_percent(images: str, batch_size: int) -> Longer:
    """How much more time the slower network takes for a pass over a set, as section 4.3 prints it."""
    found = _fact("test_time", "longer_percent", str(batch_size))
    if images not in ("train", "test") or not found:
        return Longer()
    return Longer(found["network"], _stated({"paper": found[images]}, "timed_on_cifar10"))


def curve(dataset: str, network: str) -> list[dict[str, float]]:
    """The notebook's epochs in order, under the names that epochs.parquet has for the same things."""
    return [dict(row) for row in _curves().get((dataset, network), ())]


def hyperparameters(dataset: str, network: str) -> dict[str, Any]:
    """What the notebook's linear search chose, and what it held fixed, under the names of a sweep file."""
    found = _fact("hyperparameters", dataset, network)
    return {**_fact("hyperparameters", "every"), **found} if found else {}


def _fact(*path: str) -> dict[str, Any]:
    """The table at a path of facts.toml; an empty one where there is none."""
    found: Any = _toml("facts.toml")
    for key in path:
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return dict(found) if isinstance(found, dict) else {}


def _stated(found: Mapping[str, float | None], *footnotes: str) -> Stated:
    """A number with its footnotes; without a number there is nothing to say about it."""
    if all(value is None for value in found.values()):
        return Stated()
    return Stated(found.get("paper"), found.get("notebook"), footnotes, found.get("derived"))


@cache
def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))


@cache
def _curves() -> dict[tuple[str, str], tuple[dict[str, float], ...]]:
    """Epochs by dataset and network."""
    text = files(__package__).joinpath("notebook_curves.csv").read_text(encoding="utf-8")
    curves: dict[tuple[str, str], tuple[dict[str, float], ...]] = {}
    for line in csv.DictReader(text.splitlines()):
        key = line.pop("dataset"), line.pop("network")
        row = {name.replace("val_", "validation_"): float(value) for name, value in line.items()}
        curves[key] = (*curves.get(key, ()), {**row, "epoch": int(line["epoch"])})
    return curves
