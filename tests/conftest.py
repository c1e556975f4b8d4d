"""What the tests share: one Ray for the session, and one object store."""

from collections.abc import Iterator

import pytest
from object_store import ObjectStore, serve


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray on this machine, as a sweep starts it, for the whole session."""
    from dwray.tune.cluster import cluster

    with cluster("local", verbose=False):
        yield


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 server on this machine for the whole session."""
    with serve(tmp_path_factory.mktemp("object-store") / "log") as store:
        yield store
