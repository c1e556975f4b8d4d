"""What the tests share: one Ray for the session, and one object store."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import google_store as google_store_module
import pytest
import yaml
from commands import dwray
from google_store import GoogleStore
from object_store import ObjectStore, serve
from tiny import DISTURBED


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray on this machine, as a sweep starts it, for the whole session."""
    from dwray.tune.cluster import cluster

    with cluster("local", verbose=False):
        yield


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A sweep as a user runs it, undisturbed, and the folder that it was run in."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(DISTURBED))
    return dwray("sweep", "tiny.yaml", folder=folder), folder


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 server on this machine for the whole session."""
    with serve(tmp_path_factory.mktemp("object-store") / "log") as store:
        yield store


@pytest.fixture(scope="session")
def google_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleStore]:
    """The same of Google Cloud Storage."""
    with google_store_module.serve(tmp_path_factory.mktemp("google-store")) as store:
        yield store
