"""What is published of a run, as data: each trial, and each training of the paper's notebooks, as one W&B run.

Nothing here knows the W&B client. The same records give the same runs, with the same ids, whoever publishes them.
"""

import hashlib
import statistics
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from dwray import paper
from dwray.core.config import PLAIN_MODE, TRAINING_SWITCHES
from dwray.results.records import Records
from dwray.results.schema import TRIALS
from dwray.results.table import Row

PAPER = "paper"
"""Job type of the notebooks' trainings; a trial's is its stage."""
REPORT = "report"
"""Job type of the run that has the tables."""
NOTEBOOK = "notebook"
"""The protocol of the notebooks' trainings, which is the paper's."""

METRICS = {
    "train_loss": "train/loss",
    "train_accuracy_percent": "train/accuracy_percent",
    "validation_loss": "validation/loss",
    "validation_accuracy_percent": "validation/accuracy_percent",
    "learning_rate": "train/learning_rate",
    "images_per_second": "train/images_per_second",
    "train_seconds": "seconds/train",
    "data_seconds": "seconds/data",
    "step_seconds": "seconds/step",
    "validation_seconds": "seconds/validation",
}
"""Columns of epochs.parquet and what they are called in W&B, which makes a section of each name before the slash."""

CONFIG = (
    *("stage", "contender", "network", "width", "parameters", "macs", "dataset", "classes", "synthetic"),
    *("axis", "axis_pass", "winner", "seed", "epochs", "batch_size", "initial_lr", "lr_decay", "weight_decay"),
    *("momentum", "nesterov", "crop_padding", "flip", "precision", "memory_format", "compile"),
    *("momentum_reset_each_epoch", "tune_on_test_set", "normalisation", "notebook_loader"),
    *("validation_loss_over_batches_minus_one", "train_images", "device", "threads", "host"),
)
"""Columns of a trial that say what it was; all others say what came of it, and are its summary."""
SUMMARY = tuple(name for name in TRIALS.names if name not in (*CONFIG, "trial_id", "trial"))
TIMED = ("set", "loader", "batch_size", "batch_statistics", "notebook_loader", "exclusive", "owned_node", "disturbance")
"""Columns of a timing's passes that are the same in all of them, and say how they were timed."""
NO_ERRATUM = "none"
"""Stands where a training was under the run's own protocol: the mean over the seeds is over those alone."""

ENDED = ("completed", "diverged", "failed", "interrupted")


@dataclass(frozen=True)
class PublishedRun:
    """One W&B run."""

    id: str
    """The same for the same trial of the same run, always."""
    name: str
    job_type: str
    group: str
    """The sweep and the network."""
    tags: tuple[str, ...]
    config: Row
    summary: Row
    history: tuple[Row, ...] = field(repr=False)
    """One row a step, with the step as ``epoch`` (of a timing, ``pass``) from 1."""
    timestamps: tuple[datetime | None, ...] = field(repr=False)
    """When each row was measured, where that is known."""
    ended: bool = True
    """Nothing more will come of it."""
    failed: bool = False

    @property
    def end(self) -> str:
        """What W&B calls its state, once all is there."""
        return "failed" if self.failed else "finished"

    @cached_property
    def digest(self) -> str:
        """Of everything that is published: what has the same was published already."""
        said = repr((self.name, self.job_type, self.group, self.tags, sorted(self.config.items())))
        return hashlib.sha256(repr((said, sorted(self.summary.items()), self.history)).encode()).hexdigest()[:16]


def run_name(records: Records) -> str:
    """SWEEP/RUN-ID, by which a report finds the runs."""
    return f"{records.identity['sweep']}/{records.identity['run_id']}"


def published_id(*names: str) -> str:
    """An id for W&B, which takes letters and digits."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:20]


def records_name(records: Records) -> str:
    """The artifact that has a run's records, always the same: other records are another version of it."""
    return f"records-{published_id(run_name(records))}"


def notebook_label(network: str, dataset: str) -> str:
    """What stands for a contender's name where the notebooks trained it."""
    return f"{network} (notebook, {dataset})"


def published_runs(records: Records, *, known: Container[str] = ()) -> Iterator[PublishedRun]:
    """Every trial of a run, and the notebooks' trainings where the paper stands beside it; one at a time.

    Args:
        records: What the run measured.
        known: Ids of those that are not wanted: they are not even made.
    """
    timings: dict[str, list[Row]] = {}
    for row in records.timings:
        timings.setdefault(row["trial_id"], []).append(row)
    for row in records.trials:
        if published_id(run_name(records), row["trial_id"]) not in known:
            yield _trial(records, row, timings.get(row["trial_id"], ()))
    if records.compare_with:
        for dataset in ("cifar10", "cifar100"):
            for network in ("ConvNet", "DepthwiseConvNet"):
                yield _notebook(records, dataset, network)


def tables_run(records: Records, files: Mapping[str, Path]) -> PublishedRun:
    """The run that has the tables, and the files as an artifact: another one whenever one of them has changed."""
    contents = {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in sorted(files.items())}
    sweep = records.identity["sweep"]
    return PublishedRun(
        id=published_id(run_name(records), *contents.values()),
        name="tables",
        job_type=REPORT,
        group=sweep,
        tags=(records.dataset,),
        config={"sweep": sweep, "run": run_name(records), "stage": REPORT, "files": contents},
        summary={},
        history=(),
        timestamps=(),
    )


def _known(row: Row, names: Iterable[str]) -> dict[str, Any]:
    """The values that there are; times as text, as W&B keeps them."""
    found = {name: row[name] for name in names if row.get(name) is not None}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in found.items()}


def _trial(records: Records, row: Row, timed: Sequence[Row]) -> PublishedRun:
    identity = records.identity
    config = {"sweep": identity["sweep"], "run": run_name(records), "protocol": str(records.protocol)}
    config |= _known(row, CONFIG)
    summary = _known(row, SUMMARY)
    history: Sequence[Row] = ()
    timestamps: Sequence[datetime | None] = ()
    if row["stage"] == "time":
        history, timestamps = _passes(timed), (None,) * len(timed)
        config |= _how_timed(timed)
        summary |= _test_time(timed)
    elif epochs := records.epochs_of(row):
        history, timestamps = [_metrics(epoch) for epoch in epochs], epochs.column("reported_at")
    if row["stage"] == "train":
        config["erratum"] = _erratum(records, row)
    return PublishedRun(
        id=published_id(run_name(records), row["trial_id"]),
        name=row["trial"],
        job_type=row["stage"],
        group=f"{identity['sweep']} {row['contender'] or 'all networks'}",
        tags=tuple(filter(None, (row["dataset"], row["network"], row["status"], "synthetic" * bool(row["synthetic"])))),
        config=config,
        summary=summary,
        history=tuple(history),
        timestamps=tuple(timestamps[: len(history)]),
        ended=row["status"] in ENDED,
        failed=row["status"] == "failed",
    )


def _erratum(records: Records, row: Row) -> str:
    """The switches in which a training was not under the run's protocol."""
    turned = [name for name in TRAINING_SWITCHES if row[name] != getattr(records.protocol, name)]
    return ", ".join(turned) or NO_ERRATUM


def _metrics(epoch: Row) -> Row:
    return {"epoch": epoch["epoch"]} | {
        name: epoch[column] for column, name in METRICS.items() if epoch.get(column) is not None
    }


def _passes(timed: Iterable[Row]) -> list[Row]:
    """A timing's passes, a step each with the seconds of every network."""
    by_pass: dict[int, dict[str, Any]] = {}
    for each in timed:
        step = by_pass.setdefault(each["pass_number"], {"pass": each["pass_number"]})
        step[f"test_time/{each['contender']}"] = each["seconds"]
    return [by_pass[number] for number in sorted(by_pass)]


def _how_timed(timed: Sequence[Row]) -> Row:
    return _known(timed[0], TIMED) | {"mode": timed[0]["mode"] or PLAIN_MODE} if timed else {}


def _test_time(timed: Sequence[Row]) -> dict[str, float]:
    """What a timing's passes come to: of each network, and of each over the first."""
    seconds: dict[str, list[float]] = {}
    for each in timed:
        seconds.setdefault(each["contender"], []).append(each["seconds"])
    means = {name: statistics.fmean(found) for name, found in seconds.items()}
    first, *others = means or [""]
    return (
        {f"test_time/{name}/mean": mean for name, mean in means.items()}
        | {f"test_time/{name}/median": statistics.median(found) for name, found in seconds.items()}
        | {ratio_metric(name, first): means[name] / means[first] for name in others if means[first]}
    )


def ratio_metric(contender: str, first: str) -> str:
    """Of a timing: how many times as long as the first network another took; it crosses 1 where the faster changes."""
    return f"test_time/{contender} over {first}"


def _notebook(records: Records, dataset: str, network: str) -> PublishedRun:
    """A training of the notebooks, under the names that a measured one has."""
    curve = paper.curve(dataset, network)
    settings = paper.hyperparameters(dataset, network)
    last = _accuracy(dataset, network)
    identity = records.identity
    return PublishedRun(
        id=published_id(run_name(records), NOTEBOOK, dataset, network),
        name=f"{network} notebook {dataset}",
        job_type=PAPER,
        group=f"{identity['sweep']} {network}",
        tags=(dataset, network, PAPER),
        config={
            "sweep": identity["sweep"],
            "run": run_name(records),
            "protocol": NOTEBOOK,
            "stage": PAPER,
            "erratum": NO_ERRATUM,
            "contender": notebook_label(network, dataset),
            "network": network,
            "dataset": dataset,
            **{name: value for name, value in settings.items() if value is not None},
            "epochs": len(curve),
        },
        summary={"status": "completed", "epochs_done": len(curve), **last},
        history=tuple(_metrics(epoch) for epoch in curve),
        timestamps=(None,) * len(curve),
    )


def _accuracy(dataset: str, network: str) -> Mapping[str, float]:
    """What the paper and the notebook say of the accuracy."""
    reported, last = (paper.accuracy(dataset, network, which) for which in ("reported", "last_epoch"))
    found = {"paper_test_accuracy_percent": reported.paper, "validation_accuracy_percent": last.notebook}
    return {name: value for name, value in found.items() if value is not None}
