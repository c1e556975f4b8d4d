"""What the cluster that is there has for the trials of a stage."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import ray

from dwray.results.progress import Capacity
from dwray.tune.placement import Resources

_AS_RAY = {"cpu": "CPU", "gpu": "GPU"}
"""Tune writes these in small letters."""
_ROUNDING = 1e-6
"""Shares of a GPU are no exact binary numbers."""


def capacity(trial: Resources, nodes: Sequence[Resources], *, exclusive: bool = False) -> Capacity:
    """What some nodes have for trials of one kind.

    Args:
        trial: Its resources, as Tune has them.
        nodes: Those of each node that is alive, as Ray has them.
        exclusive: One trial runs at a time, whatever there is room for.
    """
    asked = {_AS_RAY.get(name, name): amount for name, amount in trial.items() if amount}
    kind: Literal["GPU", "CPU"] = "GPU" if asked.get("GPU") else "CPU"
    slots = sum(_slots(asked, node) for node in nodes)
    return Capacity(
        kind=kind,
        total=sum(node.get(kind, 0) for node in nodes),
        per_trial=asked.get(kind, 0),
        slots=min(slots, 1) if exclusive else slots,
    )


def _slots(asked: Mapping[str, float], node: Resources) -> int:
    return min((_times(amount, node.get(name, 0), whole=name == "GPU") for name, amount in asked.items()), default=0)


def _times(amount: float, has: float, *, whole: bool) -> int:
    """How often an amount fits; shares of a whole thing fit into one of them, not across two."""
    if whole and amount < 1:
        return math.floor(1 / amount + _ROUNDING) * math.floor(has)
    return math.floor(has / amount + _ROUNDING)


def measure(trial: Resources, *, exclusive: bool) -> Capacity:
    """The same of the nodes of this driver's cluster that are alive now."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return capacity(trial, alive, exclusive=exclusive)
