"""Joining a Ray cluster or starting one on this machine: quiet, and with workers that have imported torch already."""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dwray.errors import UserError
from dwray.results.progress import Listener, Notice
from dwray.tune.placement import SLOT

CLIENT_TRIES = 5
"""To have the head start a server for a client."""
SERVER_DIED = "Starting Ray client server failed", "psutil.ZombieProcess", "psutil.NoSuchProcess"
"""What a head says whose process for a new client ended as it began."""
SETTINGS = {
    "RAY_DEDUP_LOGS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",  # no word about our users' machines leaves them unless they ask for it
    "RAY_AIR_NEW_OUTPUT": "0",  # the newer output prints a box for every experiment even when it is told to be silent
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files: the records are Parquet
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # a run's memory is its records: nothing is ever read from Tune's snapshots
    # Tune allows a custom searcher one pending trial: actors would start one after the other. Its own get 200.
    "TUNE_MAX_PENDING_TRIALS_PG": "200",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial without a GPU sees none
    # Workers that Ray starts ahead of need import torch then, instead of 3 to 4 s later in a trial's actor.
    "RAY_preload_python_modules": "torch,ray.tune,dwray.tune.trainables",
}
"""Ray's settings by environment variable; what the user has set stays."""


# Tune gives every actor a runtime environment (one variable, for PyTorch Lightning's sake), and a worker that was
# started ahead has none: it would never serve a trial. Without the variable it does, within 0.1 s instead of 3 to 4.
try:
    from ray.tune.execution.class_cache import DEFAULT_ENV_VARS
except ImportError:  # another Ray: its trials start as slowly as it has them
    pass
else:
    DEFAULT_ENV_VARS.clear()


FIRST_WORKER_SECONDS = 900.0
HEAD = "node:__internal_head__"
"""The resource that a cluster's head alone has."""


def is_client(address: str | None) -> bool:
    """Whether an address, or ``RAY_ADDRESS`` without one, is of the Ray Client."""
    return (address or os.environ.get("RAY_ADDRESS") or "").startswith("ray://")


def _init(**options: Any) -> None:
    """Connect; a head that is busy may fail to start the process that would serve this client, and then do so."""
    for left in reversed(range(CLIENT_TRIES)):
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError) as error:
            if not left or not any(sign in str(error) for sign in SERVER_DIED):
                raise
        else:
            return


@contextmanager
def cluster(address: str | None, *, verbose: bool) -> Iterator[None]:
    """Connect to Ray for the length of a sweep.

    Args:
        address: As ``ray.init`` takes it; None joins the cluster of ``RAY_ADDRESS``, or starts one on this machine that
            ends with the sweep.
        verbose: Let Ray and the trials speak.

    Raises:
        UserError: The cluster cannot be reached, or fails.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    own = not ray.is_initialized()
    # Tune logs a trial's failure as an error, which the summary names again.
    level = logging.INFO if verbose else logging.CRITICAL
    if own:
        options: dict[str, Any] = {}
        local = (address or os.environ.get("RAY_ADDRESS")) in (None, "local")
        logging.getLogger("ray").setLevel(level)  # the client speaks while it connects
        if local:
            options = {"include_dashboard": False, "resources": {SLOT: 1}}
        try:
            _init(address="local" if local else address, log_to_driver=verbose, logging_level=level, **options)
        except (ConnectionError, RuntimeError, ValueError, ImportError, RayError) as error:
            raise UserError(
                f"cannot connect to Ray at {address or os.environ.get('RAY_ADDRESS') or 'this machine'}: "
                f"{_first_and_last_line(error)}; check --address and RAY_ADDRESS"
            ) from error
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(level)
    try:
        yield
    except RayError as error:
        raise UserError(f"Ray failed: {_first_and_last_line(error)}; look at `ray status`") from error
    finally:
        if own:
            ray.shutdown()


def _first_and_last_line(error: Exception) -> str:
    """What failed and, of a server's traceback, why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(dict.fromkeys((lines[0], lines[-1])))


def nodes() -> list[Mapping[str, float]]:
    """The resources of each node that is alive, and of each kind that an autoscaling cluster would start."""
    alive: list[Mapping[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    # A launched cluster's head runs no trials, and its workers come when there are some.
    grows = any(HEAD in node and not node.get("CPU") for node in alive)
    return alive + (_launchable(ray.get_runtime_context().gcs_address) if grows else [])


def wait_for_workers(listen: Listener) -> None:
    """Wait for the first node that can run trials: machines of one's own may still be installing what they need.

    Args:
        listen: Is told that there is none yet.

    Raises:
        UserError: None came in time.
    """
    ends, told = time.monotonic() + FIRST_WORKER_SECONDS, False
    while not any(node.get("CPU") for node in nodes()):
        if time.monotonic() > ends:
            raise UserError("no node of the cluster can run a trial: see `ray status`, and its workers' logs")
        if not told:
            listen(Notice(f"no worker has joined the cluster: waiting up to {FIRST_WORKER_SECONDS / 60:.0f} min"))
            told = True
        time.sleep(1)


@cache
def _launchable(cluster_address: str) -> list[Mapping[str, float]]:
    """The kinds of workers of a cluster that ``ray up`` started, asked once: it keeps its file on the head."""
    found: list[Mapping[str, float]] = ray.get(_read_node_types.options(resources={HEAD: 0.001}).remote())
    return found


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def _read_node_types() -> list[Mapping[str, float]]:
    file = Path("~/ray_bootstrap_config.yaml").expanduser()
    if not file.is_file():
        return []
    config = json.loads(file.read_text())  # the launcher writes JSON
    kinds = config["available_node_types"]
    return [
        kind["resources"]
        for name, kind in kinds.items()
        if name != config["head_node_type"] and kind.get("max_workers") and kind.get("resources")
    ]


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def _is_there(path: str) -> bool:
    return Path(path).exists()


def check_shared(path: Path) -> None:
    """Refuse a run folder that the cluster's other nodes cannot see: their trials would fail at their first checkpoint.

    Raises:
        UserError: A node that can run trials has no such file.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here and node["Resources"].get("CPU")]
    seen = [
        _is_there.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            str(path)
        )
        for node in others
    ]
    blind = [node["NodeManagerHostname"] for node, found in zip(others, ray.get(seen), strict=True) if not found]
    if blind:
        raise UserError(
            f"{path.parent}: is not there on {', '.join(blind)}, where trials would run; "
            "give a folder that all nodes share, or s3://BUCKET/PREFIX, with --storage"
        )
