"""Records of trainings and timed passes with figures that are easy to check, made in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from records import ALONE, NETWORK, NOW, RAN, SETTINGS, SWITCHED, identity

from dwray.core.config import PROTOCOLS, TRAINING_SWITCHES, ProtocolConfig
from dwray.results.epochs import Epochs
from dwray.results.records import Records
from dwray.results.schema import EPOCHS, to_table

MEASURED: dict[str, Any] = {
    "batch_statistics_test_accuracy_percent": 50.0,
    "validation_accuracy_percent": 50.0,
    "started_at": NOW,
    "step_flops": None,
    "copy_bytes_per_second": None,
}


def epochs_of(rows: Sequence[Mapping[str, Any]]) -> Epochs:
    return Epochs(to_table(EPOCHS, rows, {}))


def training(
    contender: str, seed: int, accuracy: float | None, status: str = "completed", **more: Any
) -> dict[str, Any]:
    return {
        **NETWORK["A"],
        **SETTINGS,
        **SWITCHED,
        **RAN,
        **MEASURED,
        "trial_id": f"{contender}{seed}",
        "trial": f"{contender} seed={seed}",
        "contender": contender,
        "stage": "train",
        "seed": seed,
        "status": status,
        "test_accuracy_percent": accuracy,
        **more,
    }


def records_of(
    accuracies: Mapping[str, Sequence[float]],
    seconds: Mapping[str, Sequence[float]] | None = None,
    passes: Mapping[int, Mapping[str, Sequence[float]]] | None = None,
    *,
    protocol: ProtocolConfig = PROTOCOLS["corrected"],
    **more: Any,
) -> Records:
    """Trainings of each network by seed, seconds of their one epoch, and timed passes by batch size."""
    switches = {switch: getattr(protocol, switch) for switch in TRAINING_SWITCHES}
    trials = [
        training(name, seed, each, **{**switches, **more})
        for name, of in accuracies.items()
        for seed, each in enumerate(of)
    ]
    epochs = [
        {"trial_id": f"{name}{seed}", "epoch": 1, "train_seconds": spent}
        for name, of in (seconds or {}).items()
        for seed, spent in enumerate(of)
    ]
    timings = [
        {
            **ALONE,
            "trial_id": f"m{size}",
            "contender": name,
            "set": "test",
            "batch_size": size,
            "loader": False,
            "pass_number": number,
            "images": 10_000,
            "seconds": spent,
            "device": "some CPU",
            "threads": 2,
        }
        for size, of in (passes or {}).items()
        for name, spents in of.items()
        for number, spent in enumerate(spents, start=1)
    ]
    return Records(trials, epochs_of(epochs), timings, identity("hand", list(accuracies), protocol=protocol))
