"""Runs of trainings alone, with curves made by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from records import NOW, identity

from dwray.core.config import PROTOCOLS, TRAINING_SWITCHES, ProtocolConfig
from dwray.paths import RunPaths
from dwray.results.store import RunStore


@dataclass(frozen=True)
class Training:
    """One training; its validation accuracies are ten times its losses, in percent, where that is one."""

    contender: str
    seed: int
    losses: Sequence[float | None]
    status: str = "completed"
    network: str = "ConvNet"
    device: str = "some CPU"
    threads: int = 2
    width: float = 1.0


def trained_run(
    runs: Path,
    trainings: Sequence[Training],
    *,
    dataset: str = "digits",
    compare_with: str = "",
    protocol: ProtocolConfig = PROTOCOLS["corrected"],
    synthetic: bool = False,
) -> RunPaths:
    """Write the records of trainings, with the contenders in the order of their first."""
    paths = RunPaths.create(runs, "trained")
    contenders = list(dict.fromkeys(training.contender for training in trainings))
    store = RunStore(paths, identity("trained", contenders, protocol=protocol, compare_with=compare_with))
    for number, training in enumerate(trainings):
        store.update_trial(
            f"t{number}",
            trial=f"{training.contender} seed={training.seed}",
            stage="train",
            contender=training.contender,
            network=training.network,
            width=training.width,
            status=training.status,
            seed=training.seed,
            dataset=dataset,
            synthetic=synthetic,
            device=training.device,
            threads=training.threads,
            classes=10,
            parameters=1000,
            macs=2000,
            epochs=len(training.losses),
            epochs_done=len(training.losses),
            batch_size=32,
            initial_lr=0.1,
            lr_decay=0.9,
            weight_decay=0.0,
            started_at=NOW,
            **{switch: getattr(protocol, switch) for switch in TRAINING_SWITCHES},
        )
        for epoch, loss in enumerate(training.losses, start=1):
            store.add_epoch(
                {
                    "trial_id": f"t{number}",
                    "stage": "train",
                    "contender": training.contender,
                    "seed": training.seed,
                    "epoch": epoch,
                    "train_loss": loss,
                    "validation_accuracy_percent": 10 * loss if loss is not None and 0 <= loss <= 10 else None,
                    "train_seconds": 1.0,
                    "data_seconds": 0.25,
                    "step_seconds": 0.75,
                    "validation_seconds": 0.5,
                    "images_per_second": 100.0,
                    "diverged": False,
                    "synthetic": synthetic,
                }
            )
    store.flush()
    return paths
