"""Files in a folder and in an S3 server: whole or not there, patient where it helps, never with a password."""

import errno
import os
import pickle
import threading
import time
from pathlib import Path

import pytest
from google_store import GoogleStore
from object_store import ObjectStore, free_port

from dwray import storage as module
from dwray.errors import RunError
from dwray.storage import Storage, write_atomically


def new_place(kind: str, request: pytest.FixtureRequest) -> str:
    if kind == "gs":
        return request.getfixturevalue("google_store").new_place()
    return request.getfixturevalue("object_store").new_bucket() + "/prefix"


@pytest.fixture(params=["folder", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("s3", "gs"))])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return Storage(tmp_path / "kept")
    return Storage(new_place(request.param, request))


def test_files_are_written_read_listed_and_deleted(place: Storage) -> None:
    assert place.names() == []
    place.write("b", b"2")
    place.write("sub/a", b"1" * 100_000)
    place.write("b", b"3")
    assert place.names() == ["b", "sub/a"]
    assert place.read("b") == b"3"
    assert place.within("sub").names() == ["a"]
    assert place.within("sub").read("a") == b"1" * 100_000
    place.delete("b")
    place.delete("b")
    assert place.names() == ["sub/a"]
    with pytest.raises(FileNotFoundError):
        place.read("b")
    place.check_writable()
    assert place.names() == ["sub/a"]


def test_it_travels_by_its_location(place: Storage) -> None:
    place.write("a", b"1")
    content = pickle.dumps(place)
    assert place.location.encode() in content
    assert len(content) < 300
    assert pickle.loads(content).read("a") == b"1"


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("s3://key:secret@bucket/x", "must not hold credentials"),
        ("minio://key:secret@host/x", "must not hold credentials"),
        ("s3://bucket/x?access_key=key&secret_key=secret", "must not hold credentials"),
        ("ftp://host/x", "storage is a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"),
    ],
)
def test_a_location_that_is_none(location: str, said: str) -> None:
    with pytest.raises(RunError, match=said) as caught:
        Storage(location)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file: cannot be written .*check its rights"):
        Storage(tmp_path / "file").check_writable()


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_one_line_at_once(object_store: ObjectStore) -> None:
    began = time.monotonic()
    with pytest.raises(RunError, match=r"s3://no-such-bucket/x: cannot be written .*check the bucket's name") as caught:
        Storage("s3://no-such-bucket/x").check_writable()
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 20


def test_what_may_pass_is_tried_again_and_what_does_not_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    tries: list[int] = []

    def failing(number: int, times: int) -> None:
        tries.append(number)
        if len(tries) <= times:
            raise OSError(number, os.strerror(number))

    kept = Storage(tmp_path)
    monkeypatch.setattr(module, "write_atomically", lambda path, content: failing(errno.EIO, 3))
    kept.write("a", b"")
    assert len(tries) == 4
    tries.clear()
    monkeypatch.setattr(module, "write_atomically", lambda path, content: failing(errno.ENOSPC, 3))
    with pytest.raises(OSError, match="No space"):
        kept.write("a", b"")
    assert len(tries) == 1
    tries.clear()
    monkeypatch.setattr(module, "write_atomically", lambda path, content: failing(errno.EIO, 10**6))
    began = time.monotonic()
    with pytest.raises(OSError, match="Input/output"):
        Storage(tmp_path, patience_seconds=0.3).write("a", b"")
    assert time.monotonic() - began < 2


def test_a_store_that_cannot_be_opened_for_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening one may ask the network where the bucket is."""
    from pyarrow import fs

    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    failures = iter([OSError("When resolving region for bucket 'x': curlCode: 6, Couldn't resolve host name")] * 3)

    class Unreachable:
        @staticmethod
        def from_uri(location: str) -> tuple[fs.FileSystem, str]:
            for failure in failures:
                raise failure
            return fs.LocalFileSystem(), "/there/is/nothing"

    monkeypatch.setattr(fs, "FileSystem", Unreachable)
    assert Storage("s3://x/y").names() == []
    failures = iter([OSError("AWS Error ACCESS_DENIED during HeadBucket")])
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        Storage("s3://x/y").names()


@pytest.mark.slow
def test_an_outage_of_the_object_store_is_waited_for(object_store: ObjectStore) -> None:
    place = Storage(object_store.new_bucket())
    place.write("a", b"before")
    with object_store.away():
        writer = threading.Thread(target=place.write, args=("a", b"after"))
        writer.start()
        time.sleep(5)
        assert writer.is_alive()
    writer.join(60)
    assert not writer.is_alive()
    assert place.read("a") == b"after"


@pytest.mark.slow
def test_googles_client_does_not_try_for_long_by_itself(google_store: GoogleStore) -> None:
    """Its quarter of an hour would hold up whoever has no patience: a lease, a check before the start."""
    place = google_store.new_place().replace(str(google_store.port), str(free_port()))
    began = time.monotonic()
    with pytest.raises(OSError, match="Could not connect"):
        Storage(place, patience_seconds=0).read("a")
    assert time.monotonic() - began < 20


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    contents = [bytes([number]) * 200_000 for number in range(4)]
    write_atomically(path, contents[0])
    done = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        for content in contents:
            write_atomically(path, content)
    done.set()
    reader.join()
    assert seen <= set(contents)
    assert os.listdir(tmp_path) == ["a"]
