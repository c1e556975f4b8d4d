"""A folder of states on a node that does not share it."""

from pathlib import Path

from dwray.storage import Storage
from dwray.tune.trainables import is_the_runs


def test_a_folder_is_the_runs_if_its_records_are_there(tmp_path: Path) -> None:
    states = Storage(tmp_path / "sweep" / "run" / "states")
    assert not is_the_runs(states)
    states.write("key/epoch-000001-0123456789abcdef.pt", b"a node made the folder itself")
    assert not is_the_runs(states)
    (tmp_path / "sweep" / "run" / "trials.parquet").touch()
    assert is_the_runs(states)
    assert is_the_runs(Storage("s3://bucket/sweep/run/states"))
