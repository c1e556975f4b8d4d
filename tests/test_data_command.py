"""``dwray data fetch``, on archives that are written here."""

import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml
from archives import Server, Written, write
from commands import in_process
from tiny import TINY

from dwray.core.data import DATASETS, Source

Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("DWRAY_DATA", raising=False)
    return partial(in_process, "data", "fetch", capsys=capsys)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """A small archive in CIFAR-100's place; nothing listens at its home page."""
    written = write(tmp_path / "mirror", "CIFAR100")
    monkeypatch.setitem(DATASETS, "cifar100", Source("small", written.archive.load))
    return written


def test_a_sweeps_images_are_fetched_once_and_it_says_what_is_there(
    here: Here, written: Written, tmp_path: Path
) -> None:
    folder = tmp_path / ".cache" / "dwray" / written.batches
    with Server(written.folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        code, out, error = here("cifar100", "--set", f"data.mirror={server.url}")
        server.shutdown()
        thread.join()
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert (code, out) == (0, f"cifar100: 400 + 200 images, {size / 1e6:,.1f} MB in {folder}\n")
    assert error == f"cifar100: {folder}: it is not there; it is fetched\n"
    assert server.requests
    assert here("cifar100")[:2] == (0, out), "what is there needs no server"
    assert here("cifar100", "-q") == (0, f"{folder}\n", "")
    code, out, _ = here("cifar100", "--json")
    assert (code, json.loads(out)) == (
        0,
        {
            "source": "cifar100",
            "folder": str(folder),
            "bytes": size,
            "train_images": 400,
            "test_images": 200,
            "image_shape": [32, 32, 3],
            "classes": 100,
        },
    )


def test_the_images_of_a_sweep_file_go_where_it_says(here: Here, written: Written, tmp_path: Path) -> None:
    data = {"source": "cifar100", "root": "images", "mirror": written.folder.as_uri()}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**TINY, "data": data}))
    code, out, error = here("mine.yaml", "-q")
    assert (code, out, error) == (0, f"images/{written.batches}\n", "")
    assert (tmp_path / "images" / written.path.name).is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("digits",), "digits: 1,438 + 359 images; there is nothing to fetch\n"),
        (
            ("synthetic", "--set", "data.max_train_images=30", "--set", "data.max_test_images=20"),
            "synthetic: 30 + 20 images; there is nothing to fetch\n",
        ),
    ],
)
def test_what_needs_no_download_is_one_line(arguments: tuple[str, ...], said: str, here: Here) -> None:
    assert here(*arguments) == (0, said, "")


def test_images_of_ones_own_are_read_and_checked(here: Here, tmp_path: Path) -> None:
    from PIL import Image

    for part in ("train", "test"):
        for shade, kind in enumerate(("dark", "light")):
            (tmp_path / "mine" / part / kind).mkdir(parents=True)
            for number in range(2):
                Image.new("L", (8, 8), 200 * shade + number).save(tmp_path / "mine" / part / kind / f"{number}.png")
    code, out, error = here("image_folder", "--set", "data.root=mine")
    assert (code, out, error) == (0, "mine: 4 + 4 images, 0.0 MB in mine; there is nothing to fetch\n", "")
    (tmp_path / "mine" / "test" / "dark" / "0.png").write_bytes(b"no image")
    code, _, error = here("image_folder", "--set", "data.root=mine")
    assert code == 1
    assert "0.png" in error


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ("cifar100", "--set", "data.mirror=file:///nowhere"),
            1,
            "could not fetch file:///nowhere/cifar-100-python.tar.gz",
        ),
        (("parquet",), 1, "data.root"),
        (("cifar1000",), 2, "there is no sweep 'cifar1000'; did you mean 'cifar100'?"),
        (("parquet", "--set", "data.rot=x"), 2, "parquet: data.rot: unknown key; did you mean 'root'?"),
        (("digits", "--set", "data.source=digit"), 2, "data.source: there is no source 'digit'"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(
    arguments: tuple[str, ...], code: int, said: str, here: Here, written: Written
) -> None:
    ended, out, error = here(*arguments)
    assert (ended, out) == (code, "")
    assert f"dwray: {said}" in error or said in error.splitlines()[-1]
    assert error.splitlines()[-1].startswith("dwray: ")
    assert error.count("dwray: ") == 1
