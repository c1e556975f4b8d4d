"""CIFAR on archives in its own format, written here, fetched from a local server or from a folder."""

import multiprocessing
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archives import Files, Server, Written, md5, write

from dwray.core.config import DataConfig, FieldError
from dwray.core.data import DATASETS, ImageData, Source, load, load_splits
from dwray.core.sources_cifar import CifarArchive
from dwray.errors import DataError


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return write(tmp_path / "home page")


@pytest.fixture
def server(written: Written, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(written.folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nothing listens."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def config(root: Path, mirror: str | None = None, **rest: Any) -> DataConfig:
    return DataConfig(source="cifar10", root=str(root), mirror=mirror, **rest)


def check(data: ImageData, written: Written) -> None:
    assert np.array_equal(data.train.pixels, written.pixels)
    assert data.train.labels.tolist() == written.labels
    assert data.train.pixels.flags.c_contiguous
    assert data.classes[0] == "kind 0"


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def problem(archive: CifarArchive, settings: DataConfig) -> str:
    with pytest.raises(DataError) as caught:
        archive.load(settings)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("dataset", ["CIFAR10", "CIFAR100"])
def test_fetches_from_a_folder_as_mirror(dataset: str, tmp_path: Path, root: Path) -> None:
    written = write(tmp_path / "mirror", dataset)
    data = written.archive.load(config(root, written.folder.as_uri()))
    check(data, written)
    assert data.name == dataset.lower()
    assert len(data.test) == (100 if dataset == "CIFAR10" else 200)
    assert names(root) == {written.path.name, f"{written.path.name}.lock", written.batches}


def test_fetches_from_the_home_page_and_says_nothing(
    written: Written, server: Server, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive = replace(written.archive, url=f"{server.url}/{written.path.name}")
    check(archive.load(config(root)), written)
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_mirror_stands_in_for_the_home_page(written: Written, server: Server, closed: str, root: Path) -> None:
    archive = replace(written.archive, url=f"{closed}/{written.path.name}")
    check(archive.load(config(root, f"{server.url}/")), written)
    assert set(server.requests) == {f"/{written.path.name}"}


def test_what_is_there_is_not_fetched_again(written: Written, server: Server, root: Path) -> None:
    written.archive.load(config(root, server.url))
    before = len(server.requests)
    (root / written.path.name).unlink()  # the unpacked files are enough
    check(written.archive.load(config(root, server.url)), written)
    assert len(server.requests) == before


def load_when_all_are_ready(archive: CifarArchive, settings: DataConfig, barrier: Any, results: Any) -> None:
    barrier.wait(120)
    results.put(len(archive.load(settings).train))


def test_processes_at_once_fetch_once(written: Written, server: Server, tmp_path: Path, root: Path) -> None:
    written.archive.load(config(tmp_path / "alone", server.url))
    alone = len(server.requests)
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload(["torchvision"])  # slow to import: once, for all of them
    barrier, results = fresh.Barrier(4), fresh.Queue()
    arguments = (written.archive, config(root, server.url), barrier, results)
    processes = [fresh.Process(target=load_when_all_are_ready, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    assert [results.get(timeout=120) for _ in processes] == [200] * 4
    for process in processes:
        process.join()
    assert len(server.requests) == 2 * alone


def test_put_there_by_hand(written: Written, closed: str, root: Path) -> None:
    root.mkdir()
    (root / written.path.name).write_bytes(written.path.read_bytes())
    check(written.archive.load(config(root, closed)), written)


def test_without_a_network_says_what_to_do(closed: str, root: Path) -> None:
    text = problem(DATASETS["cifar100"].load.__self__, config(root, closed))  # the real archive's own checksum
    assert f"could not fetch {closed}/cifar-100-python.tar.gz" in text
    assert "refused" in text
    assert "--set data.mirror=URL" in text
    assert f"put cifar-100-python.tar.gz with md5 eb9058c3a382ffc7106e4002c42a8d85 into {root}" in text
    assert names(root) == {"cifar-100-python.tar.gz.lock"}


def test_a_mirror_without_the_archive(server: Server, written: Written, root: Path) -> None:
    text = problem(written.archive, config(root, f"{server.url}/elsewhere"))
    assert f"could not fetch {server.url}/elsewhere/{written.path.name} (HTTP Error 404" in text


@pytest.mark.parametrize("part", [slice(0, 5000), slice(1, None)], ids=["truncated", "another file"])
def test_a_wrong_archive_at_the_mirror(written: Written, server: Server, root: Path, part: slice) -> None:
    whole = written.path.read_bytes()
    written.path.write_bytes(whole[part])
    text = problem(written.archive, config(root, server.url))
    assert f"{server.url}/{written.path.name} gives a truncated or another file" in text
    assert f"wrong checksum: md5 {md5(whole[part])}" in text
    assert "--set data.mirror=URL" in text
    assert names(root) == {f"{written.path.name}.lock"}  # nothing in the archive's place
    written.path.write_bytes(whole)
    check(written.archive.load(config(root, server.url)), written)


def test_a_truncated_archive_in_the_folder(written: Written, server: Server, closed: str, root: Path) -> None:
    root.mkdir()
    placed = root / written.path.name
    placed.write_bytes(written.path.read_bytes()[:5000])
    text = problem(written.archive, config(root, closed))
    assert text.startswith(f"{placed} has the wrong checksum (md5 ")
    assert f"could not fetch {closed}" in text
    check(written.archive.load(config(root, server.url)), written)
    assert placed.read_bytes() == written.path.read_bytes()


def test_a_damaged_file_is_mended_from_the_archive(written: Written, closed: str, root: Path) -> None:
    written.archive.load(config(root, written.folder.as_uri()))
    damaged = root / written.batches / "data_batch_3"
    for file in (damaged, damaged.with_name("batches.meta")):
        file.write_bytes(file.read_bytes()[:-10])
    check(written.archive.load(config(root, closed)), written)


def test_a_damaged_file_without_the_archive(written: Written, closed: str, root: Path) -> None:
    written.archive.load(config(root, written.folder.as_uri()))
    (root / written.path.name).unlink()
    damaged = root / written.batches / "data_batch_3"
    damaged.write_bytes(b"no longer a batch")
    text = problem(written.archive, config(root, closed))
    assert text.startswith(f"{damaged} has the wrong checksum")
    assert f"could not fetch {closed}" in text


@pytest.mark.parametrize("keep", [0, 20, 5000])
def test_an_archive_that_cannot_be_unpacked(written: Written, root: Path, keep: int) -> None:
    written.path.write_bytes(written.path.read_bytes()[:keep])
    archive = replace(written.archive, md5=md5(written.path.read_bytes()))
    text = problem(archive, config(root, written.folder.as_uri()))
    assert f"{root / written.path.name}: the archive cannot be unpacked" in text
    assert written.batches not in names(root)


def test_a_wrong_file_in_the_archive(written: Written, root: Path) -> None:
    archive = replace(written.archive, file_md5s={**written.archive.file_md5s, "test_batch": "0" * 32})
    text = problem(archive, config(root, written.folder.as_uri()))
    assert f"{root / written.path.name}: {written.batches}/test_batch in the archive has the wrong" in text


def test_a_file_missing_from_the_archive(tmp_path: Path, root: Path) -> None:
    written = write(tmp_path / "mirror", change=lambda files: files.pop("test_batch"))
    text = problem(written.archive, config(root, written.folder.as_uri()))
    assert f"{written.batches}/test_batch in the archive is missing" in text


def test_files_in_another_format(tmp_path: Path, root: Path) -> None:
    def shorten(files: Files) -> None:
        files["test_batch"]["data"] = files["test_batch"]["data"][:, :100]

    written = write(tmp_path / "mirror", change=shorten)
    text = problem(written.archive, config(root, written.folder.as_uri()))
    assert f"the files in {root / written.batches} cannot be read as CIFAR's" in text


def test_a_label_out_of_range(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mislabel(files: Files) -> None:
        files["data_batch_2"]["labels"][3] = 10

    written = write(tmp_path / "mirror", change=mislabel)
    monkeypatch.setitem(DATASETS, "cifar10", Source("small", written.archive.load))
    with pytest.raises(DataError, match=r"cifar10: train: image 43: label 10 is none of the 10 classes"):
        load(config(root, written.folder.as_uri()))


def test_through_the_registry(written: Written, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "cifar10", Source("small", written.archive.load))
    splits = load_splits(config(root, written.folder.as_uri(), max_train_images=100, max_test_images=50))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (90, 10, 50)
    assert np.bincount(splits.test.labels).tolist() == [5] * 10


def test_a_folder_for_all_downloads(written: Written, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DWRAY_DATA", str(root))
    written.archive.load(DataConfig(source="cifar10", mirror=written.folder.as_uri()))
    assert written.path.name in names(root)


def test_a_killed_download_is_cleared_away(written: Written, root: Path) -> None:
    partial = root / f"{written.path.name}.partial"
    partial.mkdir(parents=True)
    (partial / written.path.name).write_bytes(b"half of it")
    check(written.archive.load(config(root, written.folder.as_uri())), written)
    assert not partial.exists()


def test_a_root_that_cannot_be_written(written: Written, root: Path) -> None:
    root.write_text("a file")
    assert f"the folder {root} cannot be written" in problem(written.archive, config(root, written.folder.as_uri()))


def test_a_mirror_that_is_no_url(written: Written, root: Path) -> None:
    assert "data.mirror must be a base URL" in problem(written.archive, config(root, "/some/folder"))


def test_a_mirror_with_a_password_is_refused_without_a_word_of_it() -> None:
    with pytest.raises(FieldError, match="must not hold a password") as caught:
        DataConfig(mirror="https://user:hunter2@host/data")
    assert "hunter2" not in str(caught.value)
    assert DataConfig(mirror="https://host/a@b").mirror == "https://host/a@b"
