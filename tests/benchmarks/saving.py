"""What a saved state of a training is to an object store: its bytes, and the requests of one save.

    python tests/benchmarks/saving.py [--json]

Both networks at full width for 100 classes, each with its momentum, as a training's state is saved; four saves into
moto's S3 server on this machine through ``SavedStates``. The requests are those that the server logged for the fourth,
which deletes one. Its seconds say nothing of S3's.
"""

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

sys.path.append(str(Path(__file__).parent.parent))
from object_store import serve  # of the tests beside

from dwray.core import checkpoint
from dwray.core.config import TrainingConfig
from dwray.core.networks import build
from dwray.core.savepoints import SavedStates
from dwray.core.training import TrainingState, start
from dwray.storage import Storage

REQUEST = re.compile(r'"(?:\x1b\[[\d;m\x1b\[]*)?(GET|HEAD|PUT|POST|DELETE) ')  # the server colours some
WRITING = ("PUT", "POST", "DELETE")


def state_after_a_step(network: str) -> TrainingState:
    """A state with weights and momentum."""
    state = start(build(network, classes=100, width=1.0, channels=3, seed=0), TrainingConfig())
    loss = F.cross_entropy(state.network(torch.randn(2, 3, 32, 32)), torch.tensor([0, 1]))
    torch.autograd.backward(loss)
    state.optimizer.step()
    return state


def measure(network: str) -> dict[str, Any]:
    """Save a network's state four times; its bytes, and the last save's requests by method."""
    state = state_after_a_step(network)
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "log") as store:
        log = Path(folder) / "log"
        saved = SavedStates(Storage(store.new_bucket()).within("states/a"), "a")
        for epoch in range(1, 5):
            state.epochs_done = epoch
            before = len(REQUEST.findall(log.read_text()))
            saved.save(state)
        requests = Counter(REQUEST.findall(log.read_text())[before:])
    return {
        "state_bytes": len(checkpoint.dump(state)),
        "requests": dict(requests),
        "writing_requests": sum(requests[method] for method in WRITING),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {network: measure(network) for network in ("ConvNet", "DepthwiseConvNet")}
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for network, each in found.items():
        print(f"{network:16} {each['state_bytes'] / 1e6:6.1f} MB, a save: {each['requests']}")


if __name__ == "__main__":
    main()
