"""What a trial is given of which node: search trials share, a training owns its GPUs, a timing owns its node."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dwray.errors import SpecError, near
from dwray.spec import ResourcesSpec

SLOT = "slot"
"""A resource that each node has one of. Every trial takes some of it, a timing takes all: nothing runs beside one."""
SHARE = 0.001
"""Of a slot, or of a GPU type, that a trial takes which only wants to be there."""
GPU_TYPE = "accelerator_type:"
"""Begins the name of the resource by which Ray says which GPU a node has."""

Resources = Mapping[str, float]


@dataclass(frozen=True)
class Placement:
    """The resources of the trials of each stage, as Ray takes them."""

    search: Resources
    train: Resources
    time: Resources
    notice: str | None = None
    """What a user should know of it."""


def place(asked: ResourcesSpec, nodes: Sequence[Resources], *, timing: bool = True) -> Placement:
    """Say what each stage's trials are given.

    Args:
        asked: By the sweep file.
        nodes: The resources of each node, or kind of node, of the cluster.
        timing: The sweep times its networks: some node must hold a timing.

    Raises:
        SpecError: No node can hold a trial: Ray would wait for ever for one.
    """
    nodes = [node for node in nodes if node.get("CPU", 0) > 0]
    gpus = asked.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) >= 1 for node in nodes) else 0.0
    slots = SHARE if nodes and all(node.get(SLOT, 0) >= 1 for node in nodes) else 0.0
    owned = float(math.ceil(gpus))
    search = {"CPU": asked.cpus_per_trial, "GPU": gpus, SLOT: slots}
    train = {**search, "GPU": owned, **_of_type(asked.gpu_type, nodes)}
    _check_fits(search, nodes, "a trial", "cpus_per_trial", "gpus_per_trial")
    _check_fits(train, nodes, "a training", "cpus_per_trial", "gpus_per_trial")
    placement = Placement(_as_tune_has_them(search), _as_tune_has_them(train), {})
    return replace(placement, **_timing(asked, nodes, owned, slots)) if timing else placement


def _timing(asked: ResourcesSpec, nodes: Sequence[Resources], gpus: float, slots: float) -> dict[str, Any]:
    """A whole node's worth, on one type of GPU; and what is to be said of that."""
    if asked.timing_gpus is not None:
        gpus = asked.timing_gpus
    fits = [node for node in nodes if node["CPU"] >= 1 and node.get("GPU", 0) >= gpus]
    kind, notice = asked.gpu_type, None
    types = _gpu_types(*fits) if gpus else []
    if kind is None and len(types) > 1:
        kind = types[0]
        notice = (
            f"the cluster has GPUs of {len(types)} types ({', '.join(types)}): all timings are on {kind}, and "
            "trainings on any; --set resources.gpu_type=... names one for both"
        )
    of_type = _of_type(kind, nodes) if gpus else {}
    fits = [node for node in fits if of_type.keys() <= node.keys()]
    smallest = min(fits, key=lambda node: (node["CPU"], node.get("GPU", 0)), default={"CPU": 1.0, "GPU": gpus})
    if asked.timing_gpus is None and gpus:
        gpus = smallest["GPU"]
    time = {"CPU": asked.timing_cpus or smallest["CPU"], "GPU": gpus, SLOT: 1.0 if slots else 0.0, **of_type}
    _check_fits(time, nodes, "a timing", "timing_cpus", "timing_gpus")
    return {"time": _as_tune_has_them(time), "notice": notice}


def owns_node(held: Resources, node: Resources) -> bool:
    """Whether a trial held its node's slot, or all CPUs and GPUs: Ray can have run no other trial there.

    Args:
        held: The resources that the trial was given, as Ray names them.
        node: Those that its node has in all.
    """
    return held.get(SLOT, 0) >= 1 or all(held.get(name, 0) >= node.get(name, 0) for name in ("CPU", "GPU"))


def _gpu_types(*nodes: Resources) -> list[str]:
    return sorted({name.removeprefix(GPU_TYPE) for node in nodes for name in node if name.startswith(GPU_TYPE)})


def _of_type(name: str | None, nodes: Sequence[Resources]) -> dict[str, float]:
    """What keeps a trial on one type of GPU."""
    if name is None:
        return {}
    types = _gpu_types(*nodes)
    if name not in types:
        known = f"its nodes have {', '.join(types)}" if types else "Ray knows no type of any of its nodes"
        raise SpecError(f"resources.gpu_type: the cluster has no GPU {name!r}{near(name, types)}; {known}")
    return {GPU_TYPE + name: SHARE}


def _check_fits(resources: Resources, nodes: Sequence[Resources], what: str, *settings: str) -> None:
    def holds(node: Resources) -> bool:
        return all(node.get(name, 0) >= amount for name, amount in resources.items())

    if any(holds(node) for node in nodes):
        return
    have = "; ".join(f"{node['CPU']:g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes) or "no CPUs"
    raise SpecError(
        f"resources: {what} wants {resources['CPU']:g} CPUs and {resources['GPU']:g} GPUs on one node, and the nodes "
        f"have {have}; lower it with " + " or ".join(f"--set resources.{setting}=..." for setting in settings)
    )


def _as_tune_has_them(resources: Resources) -> Resources:
    """Tune writes the two that everything has in small letters."""
    return {{"CPU": "cpu", "GPU": "gpu"}.get(name, name): amount for name, amount in resources.items() if amount}
