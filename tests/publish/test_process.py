"""Where a run is published, and what becomes of the key."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from wandb_server import KEY

from dwray.errors import UserError
from dwray.publish.process import CLOUD, Destination, destination

ASKED = """
from pathlib import Path
from dwray.publish.process import take_key
print(take_key(), take_key())
print(Path("/proc/self/environ").read_bytes())
import os, subprocess
print(subprocess.run(["env"], capture_output=True, text=True, check=True).stdout)
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")
def test_a_key_that_was_taken_is_seen_by_nobody() -> None:
    environment = {**os.environ, "WANDB_API_KEY": KEY, "ANOTHER": "kept"}
    done = subprocess.run([sys.executable, "-c", ASKED], env=environment, capture_output=True, text=True, check=True)
    first, *rest = done.stdout.splitlines()
    assert first == f"{KEY} None"
    assert "ANOTHER=kept" in "\n".join(rest)
    assert KEY not in "\n".join(rest)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the user's own account."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path


def test_without_a_key_it_is_offline(home: Path) -> None:
    for mode in ("auto", "offline"):
        assert destination(mode, entity=None, project=None, key=None) == Destination("", "dwray", CLOUD, None)
    with pytest.raises(UserError, match=r"there is no key for .*; set WANDB_API_KEY"):
        destination("online", entity=None, project=None, key=None)


def test_with_a_key_it_is_online_unless_offline_was_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert destination("auto", entity=None, project=None, key=KEY).key == KEY
    assert destination("offline", entity=None, project=None, key=KEY).key is None
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert destination("auto", entity=None, project=None, key=KEY).key is None
    assert destination("online", entity=None, project=None, key=KEY).key == KEY


def test_options_go_before_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("WANDB_ENTITY", "us")
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    found = destination("auto", entity=None, project=None, key=KEY)
    assert found == Destination("us", "ours", "http://127.0.0.1:1", KEY)
    assert KEY not in repr(found)
    found = destination("auto", entity="me", project="mine", key=KEY)
    assert (found.entity, found.project) == ("me", "mine")


def test_the_key_of_netrc_is_that_of_the_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "netrc").write_text(f"machine here.example login user password {KEY}\n")
    (home / "netrc").chmod(0o600)
    assert destination("auto", entity=None, project=None, key=None).key is None
    monkeypatch.setenv("WANDB_BASE_URL", "https://here.example")
    assert destination("auto", entity=None, project=None, key=None).key == KEY
