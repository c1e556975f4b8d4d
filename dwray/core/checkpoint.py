"""Everything that makes a resumed training bit-identical, in one file, written atomically."""

import os
import warnings
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on odd pickles: the error says it
            saved = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # unpickling what is no checkpoint raises nearly anything
        raise RunError(
            f"{path}: no checkpoint, or damaged ({type(error).__name__}); delete it to start over"
        ) from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise RunError(f"{path}: not a checkpoint of format {FORMAT}; delete it to start over")
    try:
        state.network.load_state_dict(saved["network"])
        state.optimizer.load_state_dict(saved["optimizer"])
        state.epochs_done = saved["epochs_done"]
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path}: a checkpoint of another network or optimizer ({_reason(error)}); delete it to start over"
        ) from error


def _reason(error: Exception) -> str:
    """The first thing that torch found to be different, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:200]
