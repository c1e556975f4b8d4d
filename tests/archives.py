"""CIFAR's archives as tests write them, in its own format, and a server on this machine that has them."""

import functools
import hashlib
import http.server
import io
import pickle
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dwray.core.sources_cifar import CifarArchive

Files = dict[str, dict[str, Any]]


class OldPickler(pickle.Pickler):
    """Writes arrays as the Python 2 of CIFAR's authors did: a dtype's flags are integers."""

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, np.dtype):
            make, arguments, *rest = thing.__reduce__()
            return (make, (arguments[0], 0, 1), *rest)
        return NotImplemented


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Written:
    """An archive in ``folder``, and what is in it."""

    archive: CifarArchive
    folder: Path
    path: Path
    batches: str
    pixels: np.ndarray
    labels: list[int]


def contents(dataset: str) -> tuple[str, str, Files]:
    """The names of the archive and of its folder, and its files, with several images of each class."""
    random = np.random.default_rng(0)

    def batch(count: int, classes: int, key: str) -> dict[str, Any]:
        labels = [int(label) for label in random.permutation(np.arange(count) % classes)]
        data = random.integers(0, 256, (count, 3072), np.uint8) // 16 * 16
        return {"data": data, key: labels, "filenames": [f"{i}.png" for i in range(count)]}

    if dataset == "CIFAR10":
        files = {f"data_batch_{i}": batch(40, 10, "labels") for i in range(1, 6)}
        files["test_batch"] = batch(100, 10, "labels")
        files["batches.meta"] = {"label_names": [f"kind {c}" for c in range(10)], "num_vis": 3072}
        return "cifar-10-python.tar.gz", "cifar-10-batches-py", files
    files = {"train": batch(400, 100, "fine_labels"), "test": batch(200, 100, "fine_labels")}
    files["train"]["coarse_labels"] = [0] * 400
    files["meta"] = {"fine_label_names": [f"kind {c}" for c in range(100)], "coarse_label_names": ["all"]}
    return "cifar-100-python.tar.gz", "cifar-100-python", files


def write(folder: Path, dataset: str = "CIFAR10", change: Callable[[Files], None] | None = None) -> Written:
    name, batches, files = contents(dataset)
    if change:
        change(files)
    folder.mkdir(exist_ok=True)
    md5s = {}
    with tarfile.open(folder / name, "w:gz", compresslevel=1) as tar:
        for file, content in files.items():
            stream = io.BytesIO()
            OldPickler(stream, 2).dump(content)
            member = tarfile.TarInfo(f"{batches}/{file}")
            member.size = stream.tell()
            stream.seek(0)
            tar.addfile(member, stream)
            md5s[file] = md5(stream.getvalue())
    train = [files[file] for file in files if file.startswith(("data_batch", "train"))]
    data = np.concatenate([batch["data"] for batch in train])
    return Written(
        CifarArchive(dataset, "http://127.0.0.1:9/none", md5((folder / name).read_bytes()), md5s),
        folder,
        folder / name,
        batches,
        data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1),
        [label for batch in train for label in batch.get("labels", batch.get("fine_labels"))],
    )


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, slowly enough that readers meet, and remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early, as torchvision does when it looks for redirects, is no fault."""


class Handler(http.server.SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        time.sleep(0.1)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass
