"""A run's records made by hand, with figures that are easy to check."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dwray.core.config import PROTOCOLS, TRAINING_SWITCHES, ProtocolConfig
from dwray.paths import RunPaths
from dwray.results.store import RunStore

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NETWORK = {
    "A": {"contender": "A", "network": "ConvNet", "width": 1.0, "parameters": 1_000_000, "macs": 50_000_000},
    "B": {"contender": "B", "network": "DepthwiseConvNet", "width": 0.5, "parameters": 1_000, "macs": 2_000},
}
SETTINGS = {"epochs": 2, "batch_size": 32, "initial_lr": 0.1, "lr_decay": 0.9, "weight_decay": 0.0}
RAN = {
    "dataset": "digits",
    "synthetic": False,
    "device": "some CPU",
    "threads": 2,
    "host": "here",
    "started_at": NOW,
    "classes": 10,
}


def identity(
    name: str, contenders: list[str], *, protocol: ProtocolConfig = PROTOCOLS["corrected"], **more: str
) -> dict[str, str]:
    """Metadata as a sweep writes it."""
    return {
        "sweep": name,
        "contenders": json.dumps(contenders),
        "protocol": json.dumps(dataclasses.asdict(protocol)),
        "errata": "[]",
        "compare_with": "",
        "target_accuracy_percent": "",
        **more,
    }


SWITCHED = {switch: getattr(PROTOCOLS["corrected"], switch) for switch in TRAINING_SWITCHES}
ALONE = {"batch_statistics": False, "notebook_loader": False, "mode": "float32-eager", "exclusive": True}


def make_run(runs: Path, *, synthetic: bool = False, name: str = "hand") -> RunPaths:
    """A search, three trainings (one of them failed) and eight timed passes, as if a sweep had written them."""
    paths = RunPaths.create(runs, name)
    store = RunStore(paths, identity(name, ["A", "B"]))
    ran: dict[str, Any] = {**RAN, "synthetic": synthetic}
    for number, (rate, accuracy) in enumerate([(0.1, 80.0), (0.2, 70.0)]):
        store.update_trial(
            f"s{number}",
            trial=f"A initial_lr={rate}",
            stage="search",
            status="completed",
            seed=0,
            axis="initial_lr",
            axis_pass=1,
            winner=number == 0,
            validation_accuracy_percent=accuracy,
            **{**NETWORK["A"], **SETTINGS, **ran, "initial_lr": rate},
        )
    for trial, contender, seed, test, status in (
        ("t0", "A", 0, 90.0, "completed"),
        ("t1", "A", 1, 94.0, "completed"),
        ("t2", "B", 0, None, "failed"),
    ):
        store.update_trial(
            trial,
            trial=f"{contender} seed={seed}",
            stage="train",
            status=status,
            seed=seed,
            test_accuracy_percent=test,
            validation_accuracy_percent=test,
            train_accuracy_percent=test,
            epochs_done=2 if test else None,
            error=None if test else "RuntimeError: [bold]out of | memory[/bold] <b>",
            failures=0 if test else 2,
            batch_statistics_test_accuracy_percent=test,
            train_set_accuracy_percent=test,
            train_images=100,
            **NETWORK[contender],
            **SETTINGS,
            **SWITCHED,
            **ran,
        )
    for trial, seconds in (("t0", (1.0, 3.0)), ("t1", (2.0, 2.0))):
        for epoch, spent in enumerate(seconds, start=1):
            store.add_epoch(
                {
                    "trial_id": trial,
                    "stage": "train",
                    "contender": "A",
                    "epoch": epoch,
                    "train_seconds": spent,
                    "data_seconds": 0.25 * spent,
                    "step_seconds": 0.75 * spent,
                    "validation_seconds": 0.5,
                    "images_per_second": 100 / spent,
                    "diverged": False,
                    "synthetic": synthetic,
                }
            )
    store.update_trial("m0", trial="test set, batch 4, network alone", stage="time", status="completed", **ran)
    for contender, seconds in (("A", (1.0, 1.0, 4.0)), ("B", (2.0, 1.0, 0.0001))):
        for number, spent in enumerate(seconds, start=1):
            store.add_timing(
                {
                    "trial_id": "m0",
                    "contender": contender,
                    "set": "test",
                    "batch_size": 4,
                    "loader": False,
                    "pass_number": number,
                    "images": 100,
                    "seconds": spent,
                    "images_per_second": 100 / spent,
                    "device": "some CPU",
                    "threads": 2,
                    "synthetic": synthetic,
                    **ALONE,
                }
            )
    store.end()
    return paths


CANDIDATES = [
    # axis, its values on both axes, the status, and validation accuracy and loss after the last epoch
    ("initial_lr", (0.1, 0.0), "completed", 60.0, 0.7),
    ("initial_lr", (0.2, 0.0), "completed", 70.0, 0.9),
    ("weight_decay", (0.2, 0.001), "completed", 65.0, 0.8),
    ("weight_decay", (0.2, 10.0), "diverged", 10.0, 9.0),
]
SEARCHED = """name: searched
networks: { A: null, B: null }
training: { initial_lr: 0.1, weight_decay: 0.0 }
search: { epochs: 2, metric: validation_accuracy_percent, axes: { initial_lr: [0.1, 0.2], weight_decay: [0.001, 10] } }
"""


def make_searched_run(runs: Path) -> RunPaths:
    """The search of two networks along two axes with its epochs; the first value of the second was held before."""
    paths = RunPaths.create(runs, "searched")
    paths.sweep.write_text(SEARCHED)
    store = RunStore(paths, identity("searched", ["A", "B"]))
    for contender in ("A", "B"):
        for axis, (rate, decay), status, accuracy, loss in CANDIDATES:
            trial = f"{contender} initial_lr={rate} weight_decay={decay}"
            settings = {**SETTINGS, "initial_lr": rate, "weight_decay": decay}
            scores = {"validation_accuracy_percent": accuracy, "validation_loss": loss}
            store.update_trial(
                trial,
                trial=trial,
                stage="search",
                status=status,
                seed=0,
                axis=axis,
                axis_pass=1,
                winner=accuracy == 70,
                epochs_done=2,
                **scores,
                **NETWORK[contender],
                **settings,
                **RAN,
            )
            for epoch in (1, 2):
                store.add_epoch(
                    {
                        "trial_id": trial,
                        "stage": "search",
                        "contender": contender,
                        "seed": 0,
                        "epoch": epoch,
                        "learning_rate": rate,
                        "train_loss": 2 * loss / epoch,
                        "validation_loss": 2 * loss / epoch,
                        "validation_accuracy_percent": accuracy * epoch / 2,
                        "train_seconds": 1.5,
                        "reported_at": NOW + timedelta(seconds=epoch),
                        "diverged": status == "diverged",
                        "synthetic": False,
                    }
                )
    store.end()
    return paths
