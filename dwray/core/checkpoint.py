"""Everything that makes a resumed training bit-identical, in one file, written atomically."""

import os
import pickle
from pathlib import Path

import torch

from dwray.core.training import TrainingState
from dwray.errors import RunError

FORMAT = 1


def save(path: Path, state: TrainingState) -> None:
    """Write a state to ``path``: to a temporary name beside it first, so that no half-written file bears its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        torch.save(
            {
                "format": FORMAT,
                "epochs_done": state.epochs_done,
                "network": state.network.state_dict(),
                "optimizer": state.optimizer.state_dict(),
            },
            temporary,
        )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, state: TrainingState) -> None:
    """Read ``path`` into a fresh state of the same network and config.

    Raises:
        RunError: The file is missing, truncated, of another format or of another network; the state is then unusable.
    """
    device = next(state.network.parameters()).device
    try:
        saved = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise RunError(f"{path}: cannot be read as a checkpoint ({error}); delete it to start over") from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise RunError(f"{path}: not a checkpoint of format {FORMAT}; delete it to start over")
    try:
        state.network.load_state_dict(saved["network"])
        state.optimizer.load_state_dict(saved["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise RunError(f"{path}: a checkpoint of another network ({str(error).splitlines()[0]})") from error
    state.epochs_done = saved["epochs_done"]
