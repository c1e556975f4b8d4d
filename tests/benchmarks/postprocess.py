"""What it takes to make all tables, and the report, of a large run from its Parquet files.

    python tests/benchmarks/postprocess.py [--trials 500,5000] [--epochs 300] [--searched 0.5] [--report] [--json]

The records are made up and written by the run's own store: so many trials with so many epochs each, a share of them in
the search and the rest trainings of the paper's two networks, with errata and timed passes. Each size is measured in a
process of its own: seconds to read the records, make every table and write them, and the process's peak memory.
"""

import argparse
import dataclasses
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from memory import peak_rss_mib

from dwray.core.config import PROTOCOLS, TRAINING_SWITCHES
from dwray.paths import RunPaths
from dwray.results.store import RunStore

PROTOCOL = PROTOCOLS["corrected"]
CONTENDERS = ("ConvNet", "DepthwiseConvNet")
ERRATA = ("momentum_reset_each_epoch", "batch_statistics_at_test")
AXES = ("initial_lr", "lr_decay", "weight_decay", "batch_size", "momentum")
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
IDENTITY = {
    "sweep": "large",
    "contenders": json.dumps(CONTENDERS),
    "protocol": json.dumps(dataclasses.asdict(PROTOCOL)),
    "errata": json.dumps(ERRATA),
    "compare_with": "cifar10",
    "target_accuracy_percent": "",
}


def trial_rows(trials: int, epochs: int, searched: float, unfinished: float) -> Iterator[dict[str, Any]]:
    """A row for each trial: first the search's, then the trainings', seed by seed."""
    turned = PROTOCOL.turn(ERRATA[0])
    of_search = round(trials * searched)
    for number in range(trials):
        stage = "search" if number < of_search else "train"
        contender = CONTENDERS[number % 2]
        # Every tenth pair of trainings is the erratum's.
        protocol = turned if stage == "train" and number // 2 % 10 == 9 else PROTOCOL
        failed = random.random() < unfinished
        status = random.choice(("failed", "diverged")) if failed else "completed"
        accuracy = None if status != "completed" else 90 + random.random()
        row = {
            "trial_id": f"{number:08x}",
            "trial": f"{contender} number={number}",
            "stage": stage,
            "contender": contender,
            "network": contender,
            "width": 1.0,
            "parameters": 1_000_000,
            "macs": 50_000_000,
            "dataset": "cifar10",
            "classes": 10,
            "synthetic": False,
            "axis": (axis := AXES[number % len(AXES)] if stage == "search" else None),
            "axis_pass": 1 if stage == "search" else None,
            "winner": number < 2 if stage == "search" else None,
            "seed": 1000 if stage == "search" else number // 2,
            "epochs": epochs,
            "batch_size": 256,
            "initial_lr": 0.0125,
            "lr_decay": 0.95,
            "weight_decay": 0.01,
            "momentum": 0.9,
            "nesterov": True,
            "crop_padding": 4,
            "flip": True,
            **{switch: getattr(protocol, switch) for switch in TRAINING_SWITCHES},
            "train_images": 45_000,
            "status": status,
            "failures": int(status == "failed"),
            "error": "RuntimeError: out of memory" if status == "failed" else None,
            "epochs_done": epochs,
            "train_loss": 0.1,
            "train_accuracy_percent": accuracy,
            "train_set_accuracy_percent": accuracy,
            "validation_loss": 0.2,
            "validation_accuracy_percent": accuracy,
            "test_loss": 0.2,
            "test_accuracy_percent": accuracy,
            "batch_statistics_test_accuracy_percent": accuracy,
            "seconds": 300.0,
            "device": "some GPU",
            "threads": 4,
            "host": "here",
            "started_at": BEGAN,
            "ended_at": BEGAN,
        }
        if axis:  # another value each time that both networks have had this one
            tried = number // (2 * len(AXES))
            row[axis] += tried if axis == "batch_size" else row[axis] * tried / 1000
        yield row


def epoch_rows(trial: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The epochs of a trial, with some noise."""
    rate = trial["initial_lr"]
    for epoch in range(1, trial["epochs"] + 1):
        noise = random.random()
        seconds = 1 + noise / 10
        yield {
            "trial_id": trial["trial_id"],
            "stage": trial["stage"],
            "contender": trial["contender"],
            "seed": trial["seed"],
            "epoch": epoch,
            "learning_rate": rate,
            "train_loss": 2.3 / epoch + noise / 10,
            "train_accuracy_percent": 100 - 80 / epoch - noise,
            "validation_loss": 2.3 / epoch + noise / 5,
            "validation_accuracy_percent": 95 - 80 / epoch - noise,
            "data_seconds": seconds / 10,
            "step_seconds": seconds * 0.9,
            "train_seconds": seconds,
            "validation_seconds": seconds / 8,
            "images_per_second": 45_000 / seconds,
            "diverged": False,
            "synthetic": False,
            "reported_at": BEGAN + timedelta(seconds=epoch),
        }
        rate *= trial["lr_decay"]


def timing_rows() -> Iterator[dict[str, Any]]:
    """Ten timed passes of each kind and network."""
    kinds = [(batch, images, loader) for batch in (256, 4) for images in ("test", "train") for loader in (True, False)]
    for kind, (batch_size, images, loader) in enumerate(kinds):
        for number in range(1, 11):
            for contender in CONTENDERS:
                seconds = 1 + random.random() / 10
                yield {
                    "trial_id": f"time{kind}",
                    "contender": contender,
                    "set": images,
                    "batch_size": batch_size,
                    "loader": loader,
                    "pass_number": number,
                    "images": 10_000,
                    "seconds": seconds,
                    "images_per_second": 10_000 / seconds,
                    "batch_statistics": False,
                    "mode": None,
                    "notebook_loader": False,
                    "device": "some GPU",
                    "threads": 4,
                    "synthetic": False,
                    "exclusive": True,
                }


def write_run(runs: Path, trials: int, epochs: int, searched: float = 0.5, unfinished: float = 0.02) -> RunPaths:
    """Write the records of a large run.

    Args:
        runs: The folder of all runs.
        trials: How many trials.
        epochs: Of each trial.
        searched: Share of the trials that are the search's.
        unfinished: Share of the trials that failed or diverged.
    """
    random.seed(0)
    store = RunStore(RunPaths.create(runs, "large"), IDENTITY)
    for number, row in enumerate(trial_rows(trials, epochs, searched, unfinished), start=1):
        store.update_trial(**row)
        for epoch in epoch_rows(row):
            store.add_epoch(epoch)
        if number % (trials // 4) == 0:
            store.flush()
    for timing in timing_rows():
        store.add_timing(timing)
    store.end()
    return store.paths


def process(folder: Path, *, report: bool) -> dict[str, float]:
    """Make all tables of a run, and its report if asked for, in this process."""
    from dwray.report.documents import write_report
    from dwray.results.records import Records
    from dwray.results.tables import make_tables, write_tables

    paths = RunPaths(folder)
    began = time.perf_counter()
    records = Records.read(paths)
    read = time.perf_counter()
    tables = make_tables(records)
    made = time.perf_counter()
    write_tables(paths, records, tables)
    written = time.perf_counter()
    found = {
        "epoch_rows": len(records.epochs),
        "read_seconds": read - began,
        "make_seconds": made - read,
        "write_seconds": written - made,
        "seconds": written - began,
        "peak_rss_mib": peak_rss_mib(),
        "tables": len([table for table in tables if table.rows]),
    }
    if report:
        del records, tables
        began = time.perf_counter()
        write_report(paths)
        found["report_seconds"] = time.perf_counter() - began
        found["report_html_mib"] = paths.html.stat().st_size / 2**20
        found["report_peak_rss_mib"] = peak_rss_mib()
    return found


def measure(trials: int, epochs: int, searched: float, unfinished: float, *, report: bool) -> dict[str, float]:
    """Write a run and process it, in a process each."""
    with tempfile.TemporaryDirectory() as runs:
        began = time.perf_counter()
        paths = write_run(Path(runs), trials, epochs, searched, unfinished)
        wrote = time.perf_counter() - began
        options = ["--process", str(paths.folder), *(["--report"] if report else [])]
        run = subprocess.run([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=True)
        return {"trials": trials, "generated_seconds": wrote, **json.loads(run.stdout)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", default="500,5000")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--searched", type=float, default=0.5, help="share of the trials that are the search's")
    parser.add_argument("--unfinished", type=float, default=0.02, help="share of the trials that failed or diverged")
    parser.add_argument("--report", action="store_true", help="write the whole report too")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--process", type=Path, help="a run's folder: process it here, and print JSON")
    arguments = parser.parse_args()
    if arguments.process:
        print(json.dumps(process(arguments.process, report=arguments.report)))
        return
    for trials in map(int, arguments.trials.split(",")):
        found = measure(trials, arguments.epochs, arguments.searched, arguments.unfinished, report=arguments.report)
        if arguments.json:
            print(json.dumps(found))
        else:
            print(", ".join(f"{name} {value:,.1f}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
