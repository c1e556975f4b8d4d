"""What W&B must have of a run beside its rows: from the Parquet files and the paper, not from what publishes them."""

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from wandb_backend import Run

from dwray import paper
from dwray.core.config import TRAINING_SWITCHES, ProtocolConfig
from dwray.paths import RunPaths

Row = Mapping[str, Any]

WHERE = ("device", "threads", "host")
"""Columns of a trial that stand behind its outcome, and are settings all the same."""
HOW_TIMED = (
    *("set", "loader", "batch_size", "batch_statistics", "notebook_loader"),
    *("exclusive", "owned_node", "disturbance"),
)


@dataclass(frozen=True)
class Told:
    """Of one W&B run."""

    group: str
    job_type: str
    tags: list[str]
    state: str
    config: Row
    summary: Row


def expected(paths: RunPaths, files: Mapping[str, Path], *, with_paper: bool) -> dict[str, Told]:
    """Every run that must be there, by its name.

    Args:
        paths: The dwray run.
        files: Of the artifact of its records.
        with_paper: The notebooks' trainings too.
    """
    trials, timings = pq.read_table(paths.trials), pq.read_table(paths.timings).to_pylist()
    identity = {key.decode(): value.decode() for key, value in trials.schema.metadata.items()}
    protocol = ProtocolConfig(**json.loads(identity["protocol"]))
    whose = {"sweep": identity["sweep"], "run": f"{identity['sweep']}/{identity['run_id']}"}
    rows = trials.to_pylist()
    found = {
        row["trial"]: _of_trial(
            row, [each for each in timings if each["trial_id"] == row["trial_id"]], trials.column_names, whose, protocol
        )
        for row in rows
    }
    if with_paper:
        for dataset in ("cifar10", "cifar100"):
            for network in ("ConvNet", "DepthwiseConvNet"):
                found[f"{network} notebook {dataset}"] = _of_notebook(dataset, network, whose)
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in files.items()}
    config = {**whose, "stage": "report", "files": hashes}
    return {**found, "tables": Told(identity["sweep"], "report", [rows[0]["dataset"]], "finished", config, {})}


def _of_trial(
    row: Row, timed: Sequence[Row], columns: Sequence[str], whose: Mapping[str, str], protocol: ProtocolConfig
) -> Told:
    settings = {*columns[: columns.index("status")], *WHERE}
    known = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
        if value is not None and name not in ("trial_id", "trial")
    }
    config = {**whose, "protocol": str(protocol), **{name: known[name] for name in known if name in settings}}
    summary = {name: known[name] for name in known if name not in settings}
    if row["stage"] == "train":
        turned = [name for name in TRAINING_SWITCHES if row[name] != getattr(protocol, name)]
        config["erratum"] = ", ".join(turned) or "none"
    if row["stage"] == "time" and timed:
        config |= {name: value for name in HOW_TIMED if (value := timed[0].get(name)) is not None}
        config["mode"] = timed[0].get("mode") or "float32-eager"
        summary |= _seconds(timed)
    tags = [tag for tag in (row["dataset"], row["network"], row["status"]) if tag]
    return Told(
        f"{whose['sweep']} {row['contender'] or 'all networks'}",
        row["stage"],
        [*tags, *(["synthetic"] if row["synthetic"] else [])],
        "failed" if row["status"] == "failed" else "finished",
        config,
        summary,
    )


def _seconds(timed: Sequence[Row]) -> dict[str, float]:
    first, *others = dict.fromkeys(each["contender"] for each in timed)
    of = {name: [each["seconds"] for each in timed if each["contender"] == name] for name in (first, *others)}
    means = {f"test_time/{name}/mean": statistics.fmean(seconds) for name, seconds in of.items()}
    medians = {f"test_time/{name}/median": statistics.median(seconds) for name, seconds in of.items()}
    ratios = {
        f"test_time/{name} over {first}": statistics.fmean(of[name]) / statistics.fmean(of[first]) for name in others
    }
    return means | medians | ratios


def _of_notebook(dataset: str, network: str, whose: Mapping[str, str]) -> Told:
    epochs = len(paper.curve(dataset, network))
    settings = paper.hyperparameters(dataset, network)
    config = {
        **whose,
        **{name: value for name, value in settings.items() if value is not None},
        **{"protocol": "notebook", "stage": "paper", "erratum": "none"},
        **{"contender": f"{network} (notebook, {dataset})", "network": network, "dataset": dataset, "epochs": epochs},
    }
    scores = {
        "paper_test_accuracy_percent": paper.accuracy(dataset, network, "reported").paper,
        "validation_accuracy_percent": paper.accuracy(dataset, network, "last_epoch").notebook,
    }
    summary = {name: value for name, value in scores.items() if value is not None}
    tags = [dataset, network, "paper"]
    group = f"{whose['sweep']} {network}"
    return Told(group, "paper", tags, "finished", config, {"status": "completed", "epochs_done": epochs, **summary})


def assert_told(run: Run, wanted: Told) -> None:
    """The server was told of a run what it must be, beside what the client makes of its rows."""
    assert (run.group, run.job_type, run.tags, run.state) == (wanted.group, wanted.job_type, wanted.tags, wanted.state)
    assert _without_own(run.config) == wanted.config
    of_rows = {name for row in run.history for name in row}
    assert {name: value for name, value in _without_own(run.summary).items() if name not in of_rows} == wanted.summary


def _without_own(told: Row) -> Row:
    """What the client was told, without what it tells of itself."""
    return {name: value for name, value in told.items() if not name.startswith("_")}


def without_places(spec: Any) -> Any:
    """A report's specification without what differs from place to place: ids, and the project of its runs."""
    if isinstance(spec, dict):
        of_place = ("id", "__id__", "entity", "project")
        return {name: without_places(value) for name, value in spec.items() if name not in of_place}
    return [without_places(each) for each in spec] if isinstance(spec, list) else spec
