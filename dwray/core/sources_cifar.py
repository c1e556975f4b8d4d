"""CIFAR-10 and CIFAR-100: torchvision's download, checksums and reader, safe for many processes at once."""

import contextlib
import gzip
import http.client
import io
import logging
import os
import pickle
import shutil
import socket
import tarfile
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np

from dwray.core.config import DataConfig
from dwray.core.data_images import ImageData, Images
from dwray.errors import DataError

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 60.0
"""A server that sends nothing for so long is given up."""


@dataclass(frozen=True)
class CifarArchive:
    """One of the archives on CIFAR's home page.

    torchvision knows their address and checksums. Another archive in the same format is given by its own.

    Attributes:
        dataset: torchvision's class, ``CIFAR10`` or ``CIFAR100``.
        url: where the archive is fetched from, in place of torchvision's address.
        md5: the archive's checksum, in place of torchvision's.
        file_md5s: checksums of files in the archive by their names, in place of torchvision's.
    """

    dataset: str
    url: str | None = None
    md5: str | None = None
    file_md5s: Mapping[str, str] = field(default_factory=dict)

    def load(self, config: DataConfig) -> ImageData:
        """Read the images, 32x32 RGB, and fetch the archive first if it is not there.

        Args:
            config: ``root`` is the folder of the archive and its files (default: the environment's
                ``DWRAY_DATA``, or ``~/.cache/dwray``); ``mirror`` is the base URL to fetch it from in place
                of its home page.

        Returns:
            The images, in the archive's order.

        Raises:
            DataError: the archive can be neither found nor fetched, or it is not what its checksum says.
        """
        dataset = self._torchvision_class()
        root = cifar_root(config)
        name = self.dataset.lower()
        try:
            # Without the lock first: a folder that is all there may be shared and read-only.
            if _damaged(dataset, root):
                _fetch_once(dataset, root, _address(dataset, config))
            with _quiet():
                train, test = dataset(root, train=True), dataset(root, train=False)
            return ImageData(name, tuple(train.classes), _images(train), _images(test))
        except (RuntimeError, KeyError, ValueError, OSError, pickle.UnpicklingError) as error:
            raise DataError(
                f"{name}: the files in {root / dataset.base_folder} cannot be read as CIFAR's "
                f"({_reason(error)}): delete that folder and start again"
            ) from error

    def _torchvision_class(self) -> Any:
        from torchvision import datasets

        known = getattr(datasets, self.dataset)

        def with_md5s(files: list[list[str]]) -> list[list[str]]:
            return [[name, self.file_md5s.get(name, md5)] for name, md5 in files]

        changes = {
            "url": self.url or known.url,
            "tgz_md5": self.md5 or known.tgz_md5,
            "train_list": with_md5s(known.train_list),
            "test_list": with_md5s(known.test_list),
            "meta": {**known.meta, "md5": self.file_md5s.get(known.meta["filename"], known.meta["md5"])},
        }
        return type(self.dataset, (known,), changes)


def cifar_root(config: DataConfig) -> Path:
    """The folder of CIFAR's archives and their files, there or not."""
    return Path(config.root or os.environ.get("DWRAY_DATA") or "~/.cache/dwray").expanduser()


def _images(dataset: Any) -> Images:
    return Images(np.ascontiguousarray(dataset.data), np.array(dataset.targets, np.int64))


def _address(dataset: Any, config: DataConfig) -> str:
    if config.mirror is None:
        return str(dataset.url)
    if not config.mirror.startswith(("http://", "https://", "file:///")):
        raise DataError(f"data.mirror must be a base URL (http://, https:// or file:///), not {config.mirror!r}")
    return f"{config.mirror.rstrip('/')}/{dataset.filename}"


def _damaged(dataset: Any, root: Path) -> list[Path]:
    """The files that are missing or have another checksum."""
    from torchvision.datasets.utils import check_integrity

    meta = dataset.meta
    files = [*dataset.train_list, *dataset.test_list, (meta["filename"], meta["md5"])]
    folder = root / dataset.base_folder
    return [folder / name for name, md5 in files if not check_integrity(folder / name, md5)]


def _fetch_once(dataset: Any, root: Path, url: str) -> None:
    """Fetch and unpack the archive unless another process did while this one waited for the lock."""
    from filelock import FileLock

    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{dataset.filename}.lock"):
            damaged = _damaged(dataset, root)
            if not damaged:
                return
            # Left by a process that was killed, if there; the lock makes the name ours.
            scratch = root / f"{dataset.filename}.partial"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            try:
                _fetch(dataset, root, scratch, url, damaged)
                _unpack(dataset, root, scratch)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{dataset.filename}: the folder {root} cannot be written ({_reason(error)}): "
            "choose another with --set data.root=FOLDER or the environment's DWRAY_DATA"
        ) from error


def _fetch(dataset: Any, root: Path, scratch: Path, url: str, damaged: list[Path]) -> None:
    """Bring the archive into ``root``, whole and checked or not at all."""
    from torchvision.datasets.utils import calculate_md5, check_integrity, download_url

    archive, fetched = root / dataset.filename, scratch / dataset.filename
    if check_integrity(archive, dataset.tgz_md5):
        return
    found = ""
    if archive.exists():
        md5 = calculate_md5(archive)
        found = f"{archive} has the wrong checksum (md5 {md5}): truncated or another file; "
    elif damaged[0].exists():
        found = f"{damaged[0]} has the wrong checksum, and the archive to mend it from is not there; "
    advice = (
        f"fetch it from elsewhere with --set data.mirror=URL (the folder that holds {dataset.filename}), "
        f"or put {dataset.filename} with md5 {dataset.tgz_md5} into {root} by hand"
    )
    logger.info("fetching %s into %s", url, root)
    try:
        if url.startswith("file:"):  # torchvision's reader asks a local file for a length that it has not
            shutil.copyfile(url2pathname(urlsplit(url).path), fetched)
        else:
            with _quiet():
                download_url(url, scratch, dataset.filename)
    except (OSError, http.client.HTTPException, RuntimeError, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the server's answer, and with it the connection
        raise DataError(f"{found}could not fetch {url} ({_reason(error)}); {advice}") from error
    if not check_integrity(fetched, dataset.tgz_md5):
        size, md5 = fetched.stat().st_size, calculate_md5(fetched)
        raise DataError(
            f"{found}{url} gives a truncated or another file ({size:,} bytes, wrong checksum: md5 {md5}); {advice}"
        )
    fetched.replace(archive)


def _unpack(dataset: Any, root: Path, scratch: Path) -> None:
    """Unpack the archive beside its place, check the files, then move the folder there."""
    from torchvision.datasets.utils import extract_archive

    archive = root / dataset.filename
    try:
        extract_archive(archive, scratch)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{archive}: the archive cannot be unpacked ({_reason(error)}), though its checksum is right: "
            "delete it and start again"
        ) from error
    damaged = _damaged(dataset, scratch)
    if damaged:
        name = damaged[0].relative_to(scratch)
        problem = "has the wrong checksum" if damaged[0].exists() else "is missing"
        raise DataError(f"{archive}: {name} in the archive {problem}: delete the archive and start again")
    folder = root / dataset.base_folder
    shutil.rmtree(folder, ignore_errors=True)
    (scratch / dataset.base_folder).replace(folder)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar of torchvision's, no remark of numpy's on old pickles, no endless wait for a server."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)  # torchvision sets none
    sink = io.StringIO()
    try:
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception) -> str:
    """What happened, in one line."""
    return " ".join(str(error).removeprefix("<urlopen error ").removesuffix(">").split()) or type(error).__name__
