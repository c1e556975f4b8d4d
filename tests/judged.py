"""Runs of both networks with figures that tests choose, as records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dwray.core.config import PROTOCOLS, TRAINING_SWITCHES
from dwray.results.epochs import Epochs
from dwray.results.records import Records
from dwray.results.verdicts import verdicts

NETWORKS = {"ordinary": "ConvNet", "depthwise": "DepthwiseConvNet"}
Numbers = Mapping[str, Sequence[float]]
"""One number a seed or a pass, by contender."""


def make_records(
    *,
    accuracy: Numbers | None = None,
    seconds: Numbers | None = None,
    curves: Mapping[str, Sequence[Sequence[float]]] | None = None,
    passes: Numbers | None = None,
    protocol: str = "corrected",
    networks: Mapping[str, str] = NETWORKS,
    devices: Mapping[str, str] | None = None,
    **identity: str,
) -> Records:
    """A run of both networks.

    Args:
        accuracy: Test accuracy in percent of each seed.
        seconds: Seconds of each of the two epochs of each seed.
        curves: Validation accuracy in percent after each epoch of each seed, instead of two equal epochs.
        passes: Seconds of each timed pass, the same for every set, batch size and kind.
        protocol: Entry of PROTOCOLS.
        networks: Network of each contender.
        devices: What each contender was trained on; by default the same.
        **identity: More of the files' metadata.
    """
    config = PROTOCOLS[protocol]
    switches = {name: getattr(config, name) for name in TRAINING_SWITCHES}
    trials: list[dict[str, Any]] = []
    epochs: list[dict[str, Any]] = []
    for contender, network in networks.items():
        measured = [values[contender] for values in (accuracy, seconds, curves) if values]
        for seed in range(max(map(len, measured), default=0)):
            trial = f"{contender} {seed}"
            percent = accuracy[contender][seed] if accuracy else None
            trials.append(
                {
                    "trial_id": trial,
                    "stage": "train",
                    "contender": contender,
                    "network": network,
                    "status": "completed",
                    "dataset": "digits",
                    "classes": 10,
                    "synthetic": False,
                    "width": 1.0,
                    "epochs": 2,
                    "train_images": 50_000,
                    "device": (devices or {}).get(contender, "a GPU"),
                    "threads": 1,
                    "seed": seed,
                    "test_accuracy_percent": percent,
                    "batch_statistics_test_accuracy_percent": None if percent is None else 100 - percent,
                    **switches,
                }
            )
            epochs += [
                {
                    "trial_id": trial,
                    "epoch": number,
                    "train_seconds": seconds[contender][seed] if seconds else 1.0,
                    "validation_seconds": 0.25,
                    "validation_accuracy_percent": reached,
                }
                for number, reached in enumerate(curves[contender][seed] if curves else (50.0, 50.0), start=1)
            ]
    if not trials:
        trials = [
            {
                "stage": "time",
                "contender": name,
                "network": network,
                "dataset": "digits",
                "width": 1.0,
                "device": "a GPU",
                "threads": 1,
            }
            for name, network in networks.items()
        ]
    timings = [
        {
            "contender": contender,
            "set": images,
            "batch_size": batch_size,
            "loader": loader,
            "pass_number": number,
            "images": 10_000,
            "trial_id": "time",
            "exclusive": True,
            "disturbance": None,
            "owned_node": True,
            "device": "a GPU",
            "threads": 1,
            "seconds": spent if loader == config.loader_in_test_time else 1.0,
            "batch_statistics": config.batch_statistics_at_test,
            "mode": None,
            "notebook_loader": config.notebook_loader and loader,
        }
        for contender, values in (passes or {}).items()
        for images in ("test", "train")
        for batch_size in (256, 4)
        for loader in (True, False)
        for number, spent in enumerate(values, start=1)
    ]
    named = {"contenders": json.dumps(list(networks)), "protocol": json.dumps(asdict(config)), "errata": "[]"}
    return Records(trials, Epochs.of_rows(epochs), timings, named | identity)


def rows(records: Records) -> dict[str, Any]:
    return {row["key"]: row for row in verdicts(records).rows}
