"""What a trial is given of which node: search trials share, a training owns its GPUs, a timing owns its node."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dwray.errors import SpecError, counted, near
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
    gpu_type: str | None = None
    """Of the GPUs that timings run on, where Ray knows it."""
    notices: tuple[str, ...] = ()
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
    found = Placement(_as_tune_has_them(search), _as_tune_has_them(train), {}, notices=_without_slots(nodes))
    return _with_timing(found, asked, nodes, owned) if timing else found


def _without_slots(nodes: Sequence[Resources]) -> tuple[str, ...]:
    """A word on nodes that were started without a slot beside others that have one."""
    lacking = [node for node in nodes if node.get(SLOT, 0) < 1]
    if not 0 < len(lacking) < len(nodes):
        return ()
    addresses = [name.removeprefix("node:") for node in lacking for name in node if name.startswith("node:")]
    return (
        f"{len(lacking)} of {len(nodes)} nodes have no slot ({', '.join(addresses) or 'not started yet'}): a timing "
        "owns its node by CPUs and GPUs alone; ray start --resources='{\"slot\": 1}' gives it one",
    )


def _with_timing(found: Placement, asked: ResourcesSpec, nodes: Sequence[Resources], gpus: float) -> Placement:
    """A whole node's worth for each timing, all of them on one type of GPU."""
    if asked.timing_gpus is not None:
        gpus = asked.timing_gpus
    least = {"CPU": asked.timing_cpus or 1, "GPU": gpus}
    fits = [node for node in nodes if all(node.get(name, 0) >= amount for name, amount in least.items())]
    types = Counter(name for node in fits for name in _gpu_types(node)) if gpus else Counter()
    kind, notices = asked.gpu_type, found.notices
    if kind is None and types:
        kind = min(types, key=lambda name: (-types[name], name))
    if asked.gpu_type is None and len(types) > 1:
        notices += (
            f"the cluster has GPUs of {len(types)} types ({', '.join(sorted(types))}): all timings are on {kind}, and "
            "trainings on any; --set resources.gpu_type=... names one for both",
        )
    of_type = _of_type(kind, nodes) if gpus else {}
    fits = [node for node in fits if of_type.keys() <= node.keys()]
    smallest = min(fits, key=lambda node: (node["CPU"], node.get("GPU", 0)), default=least)
    if asked.timing_gpus is None and gpus:
        gpus = smallest["GPU"]
    slot = 1.0 if SLOT in found.search else 0.0
    time = {"CPU": asked.timing_cpus or smallest["CPU"], "GPU": gpus, SLOT: slot, **of_type}
    _check_fits(time, nodes, "a timing", "timing_cpus", "timing_gpus")
    return replace(found, time=_as_tune_has_them(time), gpu_type=kind if gpus else None, notices=notices)


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


def some_node_holds(trial: Resources, nodes: Sequence[Resources]) -> bool:
    """Whether a trial would fit on a node that has nothing else to do.

    Args:
        trial: Its resources, as Tune has them.
        nodes: Those of each node.
    """
    asked = {_AS_RAY.get(name, name): amount for name, amount in trial.items()}
    return any(all(node.get(name, 0) >= amount for name, amount in asked.items()) for node in nodes)


def wanted(trial: Resources) -> str:
    """A trial's resources in words.

    Args:
        trial: As Tune has them.
    """
    kinds = [name.removeprefix(GPU_TYPE) for name in trial if name.startswith(GPU_TYPE)]
    of_type = f" of type {kinds[0]}" if kinds else ""
    return f"{_cpus_and_gpus(trial['cpu'], trial.get('gpu', 0))}{of_type} on one node"


def _cpus_and_gpus(cpus: float, gpus: float) -> str:
    return f"{counted(cpus, 'CPU')} and {counted(gpus, 'GPU')}"


def _check_fits(resources: Resources, nodes: Sequence[Resources], what: str, *settings: str) -> None:
    trial = _as_tune_has_them(resources)
    if some_node_holds(trial, nodes):
        return
    have = "; ".join(_cpus_and_gpus(node["CPU"], node.get("GPU", 0)) for node in nodes) or "no CPUs"
    raise SpecError(
        f"resources: {what} wants {wanted(trial)}, and the nodes have {have}; lower it with "
        + " or ".join(f"--set resources.{setting}=..." for setting in settings)
    )


_AS_TUNE = {"CPU": "cpu", "GPU": "gpu"}
"""Tune writes the two that everything has in small letters."""
_AS_RAY = {tune: ray for ray, tune in _AS_TUNE.items()}


def _as_tune_has_them(resources: Resources) -> Resources:
    return {_AS_TUNE.get(name, name): amount for name, amount in resources.items() if amount}
