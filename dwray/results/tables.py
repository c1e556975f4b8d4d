"""The paper's tables, measured: made of a run's records alone, whoever made them and wherever they lie."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import pyarrow as pa

from dwray import paper
from dwray.core.config import NOTEBOOK_EXECUTION
from dwray.paths import RunPaths
from dwray.results.by_mode import by_mode
from dwray.results.comparison import Comparison, over_seeds, unfinished_trainings
from dwray.results.curves import epochs_to_reach, pass_seconds, target_accuracy
from dwray.results.errata import errata
from dwray.results.one_device import devices, mixed_devices
from dwray.results.records import Records
from dwray.results.roofline import roofline
from dwray.results.schema import TRIALS
from dwray.results.statistics import mean, total
from dwray.results.store import write_parquet
from dwray.results.table import Column, Row, Table
from dwray.results.test_time import test_time
from dwray.results.verdicts import verdicts

_CONTENDER = Column("contender", "network", pa.string())
_COUNT = pa.int64()
_REAL = pa.float64()


def _parameters(records: Records) -> Table:
    comparison = Comparison(records)
    for dataset, contender, network in comparison.subjects():
        own = comparison.measured_here(dataset)
        first = records.first_trial(contender) if own else None
        classes = first["classes"] if first else {"cifar10": 10, "cifar100": 100}.get(dataset, 0)
        stated = network if network and records.compare_with else ""
        for quantity, of_paper, column in (
            ("parameters", paper.parameters, "parameters"),
            ("MACs per image", paper.macs, "macs"),
        ):
            measured = first[column] if first else None
            comparison.add(dataset, contender, quantity, of_paper(stated, classes), measured, ",.0f")
    return comparison.table("parameters", "Table 1. Parameters and multiply-accumulates")


def _settings(records: Records) -> Table:
    """Beside the paper's tables: what was trained with, without which nobody can repeat the rest."""
    always = ("initial_lr", "lr_decay", "weight_decay", "batch_size", "epochs")
    searched_axes = dict.fromkeys(row["axis"] for row in records.of_stage("search"))
    axes = (*always, *(axis for axis in searched_axes if axis not in always and axis not in NOTEBOOK_EXECUTION))
    rows = []
    for contender in records.contenders:
        trained = next(iter(records.train_trials(contender)), None)
        searched = records.of_stage("search", contender)
        won = next((row for row in searched if row["winner"]), None)
        if trained is None:
            continue
        rows.append(
            {
                "contender": contender,
                **{axis: trained[axis] for axis in (*axes, *NOTEBOOK_EXECUTION)},
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
            Column("precision", "precision", pa.string(), wide=True),
            Column("memory_format", "layout", pa.string(), wide=True),
            Column("compile", "compiled", pa.bool_(), wide=True),
            *_more_axes(axes[len(always) :]),
            Column("search_trials", "tried", _COUNT),
            Column("search_validation_accuracy_percent", "val. %", _REAL, ".2f"),
        ),
        tuple(rows),
        (
            "tried: search trials; val. %: validation accuracy at the end of the one that won.",
            *([f"Also searched: {', '.join(axes[len(always) :])}."] if len(axes) > len(always) + 1 else []),
        ),
    )


def _more_axes(axes: Sequence[str]) -> Iterator[Column]:
    """The columns of axes that a search seldom has: a terminal has room for one."""
    for axis in axes:
        kind = TRIALS.field(axis).type
        form = "g" if pa.types.is_floating(kind) else ""
        yield Column(axis, axis.replace("_", " "), kind, form, wide=len(axes) > 1)


def _accuracy(records: Records) -> Table:
    comparison = Comparison(records)
    for dataset, contender, network in comparison.subjects():
        own = comparison.measured_here(dataset)
        done = records.trainings(contender) if own else []
        of = partial(paper.accuracy, dataset, network or "")
        best = [row["epoch"] for row in paper.curve(dataset, network or "") if _is_best(row, dataset, network or "")]
        for quantity, stated, values in (
            ("test %", of("reported"), [records.test_accuracy(row) for row in done]),
            ("test %, evaluation mode", of("last_epoch"), [row["test_accuracy_percent"] for row in done]),
            ("validation %, last epoch", of("last_epoch"), [row["validation_accuracy_percent"] for row in done]),
            ("validation %, best epoch", of("best_epoch"), [_best(records, row)[1] for row in done]),
            ("train %", of("train"), [row["train_set_accuracy_percent"] for row in done]),
            ("train %, while it learned", paper.Stated(), [row["train_accuracy_percent"] for row in done]),
        ):
            comparison.add(dataset, contender, quantity, stated, over_seeds(values), ".2f", most=100.0)
        epochs = over_seeds(_best(records, row)[0] for row in done)
        comparison.add(
            dataset, contender, "best epoch", paper.Stated(notebook=best[0] if best else None), epochs, ".1f"
        )
    notes = [
        "Over the seeds whose training completed. test, train: after the last epoch, batch norm as the protocol has "
        "it; the notebooks' validation set is the test set."
    ]
    unfinished = unfinished_trainings(records)
    if unfinished:
        notes.append(f"Trainings: {'; '.join(unfinished)}.")
    if records.synthetic:
        notes.append("SYNTHETIC images (random numbers): these accuracies mean nothing.")
    return comparison.table("accuracy", "Table 2. Accuracy", *notes)


def _best(records: Records, training: Row) -> tuple[int | None, float | None]:
    """The first epoch of a training with its highest validation accuracy, and that accuracy."""
    epochs = records.epochs_of(training)
    numbered = zip(epochs.column("validation_accuracy_percent"), epochs.column("epoch"), strict=True)
    scored = [(accuracy, -epoch) for accuracy, epoch in numbered if accuracy is not None]
    if not scored:
        return None, None
    best, epoch = max(scored)
    return -epoch, best


def _is_best(row: Mapping[str, float], dataset: str, network: str) -> bool:
    """An epoch of a notebook's curve has its best accuracy."""
    return row["validation_accuracy_percent"] == paper.accuracy(dataset, network, "best_epoch").notebook


def _training_time(records: Records) -> Table:
    comparison = Comparison(records)
    target = target_accuracy(records)
    for dataset, contender, network in comparison.subjects():
        own = comparison.measured_here(dataset)
        done = records.trainings(contender) if own else []
        curves = [records.epochs_of(row) for row in done]
        name = network or ""

        def add(quantity: str, stated: paper.Stated, values: Iterable[float | None], form: str) -> None:
            comparison.add(dataset, contender, quantity, stated, over_seeds(values), form)  # noqa: B023 (used at once)

        none = paper.Stated()
        per_epoch = [
            ("training pass, s", paper.seconds_per_epoch(dataset, name), "train_seconds"),
            ("data, s", none, "data_seconds"),
            ("step, s", none, "step_seconds"),
            ("validation pass, s", paper.validation_seconds_per_epoch(dataset, name), "validation_seconds"),
        ]
        for quantity, stated, column in per_epoch:
            add(quantity, stated, (mean(curve.column(column)) for curve in curves), ".3f")
        add("epochs", paper.epochs(dataset, name), (row["epochs_done"] for row in done), ".0f")
        totals = (total(pass_seconds(curve)) for curve in curves)
        add("all passes, s", paper.total_seconds(dataset, name), totals, ",.1f")
        if target is not None:
            noted = paper.Stated(notebook=paper.epochs_to_reach(dataset, name, target))
            add(f"epochs to {target:g}%", noted, (epochs_to_reach(curve, target) for curve in curves), ".1f")
        rates = (mean(curve.column("images_per_second")) for curve in curves)
        add("images/s", none, rates, ",.0f")
    return comparison.table(
        "training_time",
        "Table 3. Training time",
        "Seconds of an epoch: mean over a training's epochs. The training pass is data, step and the end of the loader "
        f"after the last step{_loader_end(records)}. epochs to ...%: the first epoch with that validation accuracy, "
        "over the seeds that reached it.",
        f"Device: {devices(records.of_stage('train'))}; trainings ran side by side where the resources allowed it.",
        *mixed_devices(records),
    )


LEAST_LOADER_END = 0.005
"""Share of a training pass from which on the end of its loader is told."""


def _loader_end(records: Records) -> str:
    """Seconds from the last step of a training pass to its end, of each contender for which they are not few."""
    told = []
    for contender in records.contenders:
        curves = [records.epochs_of(row) for row in records.trainings(contender)]
        whole, *parts = (
            mean(mean(curve.column(f"{name}_seconds")) for curve in curves) for name in ("train", "data", "step")
        )
        if whole and None not in parts and (rest := whole - (total(parts) or 0.0)) >= LEAST_LOADER_END * whole:
            told.append(f"{contender} {rest:.3f} s")
    return f" ({', '.join(told)})" if told else ""


TABLES: tuple[Callable[[Records], Table], ...] = (
    _parameters,
    _settings,
    _accuracy,
    _training_time,
    roofline,
    test_time,
    by_mode,
    verdicts,
    errata,
)
"""In the report's order; a new table is one entry."""


def make_tables(records: Records) -> list[Table]:
    """Every table of a run; one without rows says so by having none."""
    return [make(records) for make in TABLES]


def write_tables(paths: RunPaths, records: Records, tables: Iterable[Table]) -> None:
    """Write each table as Parquet, and remove nothing."""
    for table in tables:
        measured_on = {"measured_on": devices(records.trials)}
        write_parquet(paths.table(table.name), table.to_arrow({**records.identity, **measured_on}))
