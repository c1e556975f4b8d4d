"""The paper's tables, measured: made of a run's records alone, whoever made them and wherever they lie."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from dwray.paths import RunPaths
from dwray.results.records import Records
from dwray.results.schema import TRIALS
from dwray.results.statistics import deviation, mean, total
from dwray.results.store import write_parquet
from dwray.results.table import Column, Row, Table

_CONTENDER = Column("contender", "network", pa.string())
_COUNT = pa.int64()
_REAL = pa.float64()


def _parameters(records: Records) -> Table:
    rows = []
    for contender in records.contenders:
        first = next((row for row in records.trials if row["contender"] == contender), None)
        if first is None:
            continue
        rows.append({name: first[name] for name in ("contender", "width", "parameters", "macs")})
    return Table(
        "parameters",
        "Parameters and multiply-accumulates",
        (
            _CONTENDER,
            Column("width", "width", _REAL, "g"),
            Column("parameters", "parameters", _COUNT, ","),
            Column("macs", "MACs per image", _COUNT, ","),
        ),
        tuple(rows),
    )


def _settings(records: Records) -> Table:
    """Beside the paper's tables: what was trained with, without which nobody can repeat the rest."""
    always = ("initial_lr", "lr_decay", "weight_decay", "batch_size", "epochs")
    searched_axes = dict.fromkeys(row["axis"] for row in records.of_stage("search"))
    axes = (*always, *(axis for axis in searched_axes if axis not in always))
    rows = []
    for contender in records.contenders:
        trained = next(iter(records.of_stage("train", contender)), None)
        searched = records.of_stage("search", contender)
        won = next((row for row in searched if row["winner"]), None)
        if trained is None:
            continue
        rows.append(
            {
                "contender": contender,
                **{axis: trained[axis] for axis in axes},
                "search_trials": len(searched),
                "search_validation_accuracy_percent": won and won["validation_accuracy_percent"],
            }
        )
    return Table(
        "settings",
        "Settings of the trainings",
        (
            _CONTENDER,
            Column("initial_lr", "lr", _REAL, "g"),
            Column("lr_decay", "decay", _REAL, "g"),
            Column("weight_decay", "weight decay", _REAL, "g"),
            Column("batch_size", "batch", _COUNT),
            Column("epochs", "epochs", _COUNT),
            *(Column(axis, axis, TRIALS.field(axis).type) for axis in axes[len(always) :]),
            Column("search_trials", "tried", _COUNT),
            Column("search_validation_accuracy_percent", "val. %", _REAL, ".2f"),
        ),
        tuple(rows),
        ("tried: search trials; val. %: validation accuracy at the end of the one that won.",),
    )


def _accuracy(records: Records) -> Table:
    rows = []
    for contender in records.contenders:
        runs = records.of_stage("train", contender)
        done = [row for row in runs if row["status"] == "completed"]
        test = [row["test_accuracy_percent"] for row in done]
        rows.append(
            {
                "contender": contender,
                "seeds": len(done),
                "test_accuracy_percent_mean": mean(test),
                "test_accuracy_percent_std": deviation(test),
                "validation_accuracy_percent_mean": mean(row["validation_accuracy_percent"] for row in done),
                "train_accuracy_percent_mean": mean(row["train_accuracy_percent"] for row in done),
                "diverged": sum(row["status"] == "diverged" for row in runs),
                "failed": sum(row["status"] == "failed" for row in runs),
            }
        )
    notes = ["Mean over the seeds whose training completed, after the last epoch; train: while it learned."]
    if records.synthetic:
        notes.append("SYNTHETIC images (random numbers): these accuracies mean nothing.")
    return Table(
        "accuracy",
        "Accuracy",
        (
            _CONTENDER,
            Column("seeds", "seeds", _COUNT),
            Column("test_accuracy_percent_mean", "test %", _REAL, ".2f"),
            Column("test_accuracy_percent_std", "std", _REAL, ".2f"),
            Column("validation_accuracy_percent_mean", "validation %", _REAL, ".2f"),
            Column("train_accuracy_percent_mean", "train %", _REAL, ".2f"),
            Column("diverged", "diverged", _COUNT),
            Column("failed", "failed", _COUNT),
        ),
        tuple(rows),
        tuple(notes),
    )


def _training_time(records: Records) -> Table:
    rows = []
    for contender in records.contenders:
        runs = [row for row in records.of_stage("train", contender) if row["status"] == "completed"]
        ids = {row["trial_id"] for row in runs}
        epochs = [row for row in records.epochs if row["trial_id"] in ids]
        passes = total(row["train_seconds"] + row["validation_seconds"] for row in epochs)
        images = total(row["images_per_second"] * row["train_seconds"] for row in epochs)
        seconds = total(row["train_seconds"] for row in epochs)
        rows.append(
            {
                "contender": contender,
                "epochs": mean(row["epochs_done"] for row in runs),
                "train_seconds_per_epoch": mean(row["train_seconds"] for row in epochs),
                "data_seconds_per_epoch": mean(row["data_seconds"] for row in epochs),
                "step_seconds_per_epoch": mean(row["step_seconds"] for row in epochs),
                "validation_seconds_per_epoch": mean(row["validation_seconds"] for row in epochs),
                "total_seconds": None if passes is None else passes / len(runs),
                "images_per_second": None if not seconds or images is None else images / seconds,
            }
        )
    return Table(
        "training_time",
        "Training time",
        (
            _CONTENDER,
            Column("epochs", "epochs", _REAL, "g"),
            Column("train_seconds_per_epoch", "s/epoch", _REAL, ".3f"),
            Column("data_seconds_per_epoch", "data", _REAL, ".3f"),
            Column("step_seconds_per_epoch", "step", _REAL, ".3f"),
            Column("validation_seconds_per_epoch", "val.", _REAL, ".3f"),
            Column("total_seconds", "total s", _REAL, ".1f"),
            Column("images_per_second", "images/s", _REAL, ",.0f"),
        ),
        tuple(rows),
        (
            "Means over the completed trainings. s/epoch: the training pass, of which data and step are parts; "
            "val.: the validation pass; total: all training and validation passes of one training.",
            f"Device: {_devices(records.of_stage('train'))}.",
        ),
    )


def _kind(row: Row) -> tuple[Any, ...]:
    return -row["batch_size"], row["set"], not row["loader"]


def _test_time(records: Records) -> Table:
    rows: list[dict[str, Any]] = []
    for _, kind in groupby(sorted(records.timings, key=_kind), key=_kind):
        passes: dict[str, list[dict[str, Any]]] = {}
        for row in kind:
            passes.setdefault(row["contender"], []).append(row)
        means = {name: statistics.fmean(row["seconds"] for row in timed) for name, timed in passes.items()}
        fastest = min(means.values())
        for contender in sorted(passes, key=records.contenders.index):
            timed = passes[contender]
            rows.append(
                {
                    **{name: timed[0][name] for name in ("batch_size", "set", "loader", "contender", "images")},
                    "passes": len(timed),
                    "seconds_mean": means[contender],
                    "seconds_median": statistics.median(row["seconds"] for row in timed),
                    "images_per_second": timed[0]["images"] / means[contender],
                    "longer_percent": 100 * (means[contender] / fastest - 1),
                }
            )
    return Table(
        "test_time",
        "Test time",
        (
            Column("batch_size", "batch", _COUNT, group=True),
            Column("set", "set", pa.string(), group=True),
            Column("loader", "loader", pa.bool_(), group=True),
            _CONTENDER,
            Column("images", "images", _COUNT, ",", shown=False),
            Column("passes", "passes", _COUNT, shown=False),
            Column("seconds_mean", "mean s", _REAL, ".4f"),
            Column("seconds_median", "median s", _REAL, ".4f"),
            Column("images_per_second", "images/s", _REAL, ",.0f"),
            Column("longer_percent", "longer %", _REAL, ".1f"),
        ),
        tuple(rows),
        (
            f"Seconds of a pass ({_sizes(rows)}). longer: how much more time than the fastest takes, in percent "
            "of its mean. loader: batching, copy to the device and normalisation are inside the time.",
            f"Device: {_devices(records.of_stage('time'))}.",
        ),
    )


def _sizes(rows: Sequence[Row]) -> str:
    """How many images and passes, in words."""
    sizes = dict.fromkeys((row["set"], row["images"], row["passes"]) for row in rows)
    return "; ".join(f"{name} set: {images:,} images, {passes} passes" for name, images, passes in sizes)


def _devices(trials: Sequence[Row]) -> str:
    """What trials ran on, in words."""
    devices = dict.fromkeys((row["device"], row["threads"]) for row in trials if row["device"])
    words = [f"{device}, {threads} CPU thread{'s' if threads > 1 else ''}" for device, threads in devices]
    return "; ".join(words) or "not measured"


TABLES: tuple[Callable[[Records], Table], ...] = (
    _parameters,
    _settings,
    _accuracy,
    _training_time,
    _test_time,
)
"""In the report's order; a new table is one entry."""


def make_tables(records: Records) -> list[Table]:
    """Every table of a run; one without rows says so by having none."""
    return [make(records) for make in TABLES]


def write_tables(paths: RunPaths, records: Records, tables: Iterable[Table]) -> None:
    """Write each table as Parquet, and remove nothing."""
    for table in tables:
        write_parquet(paths.table(table.name), table.to_arrow(records.identity))
