"""Everything that makes a resumed training bit-identical, as one file that torch's safe loader reads."""

import dataclasses
import io
import random
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dwray.core.execution import Execution
from dwray.core.training import EpochRecord, TrainingState
from dwray.errors import RunError
from dwray.storage import replace_file

FORMAT = 2


def dump(state: TrainingState, *, identity: str = "") -> bytes:
    """A state as a file's content.

    It holds weights, optimizer, the epochs with their figures and times, the way of computing, and this process's
    random states: a network may draw from them, while order and augmentation follow from the seed.

    Args:
        state: Between two epochs.
        identity: Which training it is of; :func:`restore` can insist on it.
    """
    buffer = io.BytesIO()
    torch.save(
        {
            "format": FORMAT,
            "identity": identity,
            "epochs_done": state.epochs_done,
            "network": state.network.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "records": [dataclasses.asdict(record) for record in state.records],
            "execution": None if state.execution is None else dataclasses.asdict(state.execution),
            "random": _random_states(),
        },
        buffer,
    )
    return buffer.getvalue()


def restore(content: bytes, state: TrainingState, *, where: str, identity: str | None = None) -> None:
    """Take what :func:`dump` made up into a fresh state of the same network and config, and into this process.

    Args:
        content: Of the file.
        state: Its network is on the device where it is to train.
        where: Names the file in errors.
        identity: What the file must be of; None takes any.

    Raises:
        RunError: It is no such content, is damaged, or is of another training or network; the state is then unusable.
    """
    device = next(state.network.parameters()).device
    saved = _read(content, where, device)
    if identity is not None and saved.get("identity") != identity:
        raise RunError(f"{where}: a checkpoint of another training; delete it to start over")
    try:
        state.network.load_state_dict(saved["network"])
        state.optimizer.load_state_dict(saved["optimizer"])
        state.epochs_done = saved["epochs_done"]
        state.records = [EpochRecord(**record) for record in saved["records"]]
        state.execution = None if saved["execution"] is None else Execution(**saved["execution"])
        _set_random_states(saved["random"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _another_network(where, error) from error


def check(content: bytes, *, where: str, identity: str, epochs_done: int) -> None:
    """See that a file is the sound state of a training after so many epochs.

    Raises:
        RunError: It is not.
    """
    saved = _read(content, where, torch.device("cpu"))
    if (saved.get("identity"), saved.get("epochs_done")) != (identity, epochs_done):
        raise RunError(f"{where}: a checkpoint of another training, or of another epoch; delete it to start over")


def restore_weights(content: bytes, network: nn.Module, *, where: str) -> None:
    """Take the weights alone up; see :func:`restore`."""
    saved = _read(content, where, next(network.parameters()).device)
    try:
        network.load_state_dict(saved["network"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _another_network(where, error) from error


def save(path: Path, state: TrainingState) -> None:
    """Write a state to ``path``, whole or not at all.

    Raises:
        OSError: It cannot be written; what was there is there still.
    """
    replace_file(path, dump(state))


def load(path: Path, state: TrainingState) -> None:
    """Read ``path`` into a fresh state of the same network and config; see :func:`restore`.

    Raises:
        RunError: The file is missing, truncated, of another format or of another network; the state is then unusable.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from error
    restore(content, state, where=str(path))


def _read(content: bytes, where: str, device: torch.device) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on odd pickles: the error says it
            saved = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:  # unpickling what is no checkpoint raises nearly anything
        raise RunError(
            f"{where}: no checkpoint, or damaged ({type(error).__name__}); delete it to start over"
        ) from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise RunError(f"{where}: not a checkpoint of format {FORMAT}; delete it to start over")
    return saved


def _another_network(where: str, error: Exception) -> RunError:
    return RunError(
        f"{where}: a checkpoint of another network or optimizer ({_reason(error)}); delete it to start over"
    )


def _reason(error: Exception) -> str:
    """The first thing that torch found to be different, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:200]


def _random_states() -> dict[str, Any]:
    """Of Python, torch, and the GPU in use (numpy's global one draws nothing in a training)."""
    states: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(states: dict[str, Any]) -> None:
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    torch.set_rng_state(states["torch"].cpu())
    if "cuda" in states and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.set_rng_state(states["cuda"].cpu())
