"""What the tests share: one Ray for the session."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray on this machine, as a sweep starts it, for the whole session."""
    from dwray.tune.cluster import cluster

    with cluster("local", verbose=False):
        yield
