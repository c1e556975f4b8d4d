"""Where a run is published, and what becomes of the key."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import in_process
from records import make_run
from wandb_server import KEY

from dwray.errors import UserError
from dwray.publish.destination import CLOUD, Destination, destination

ASKED = """
from pathlib import Path
from dwray.publish.destination import take_key
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


def test_with_a_key_it_is_online_unless_offline_was_asked_for(home: Path) -> None:
    assert destination("auto", entity=None, project=None, key=KEY) == Destination("", "dwray", CLOUD, KEY)
    assert destination("offline", entity=None, project=None, key=KEY) == Destination("", "dwray", CLOUD, None)


@pytest.mark.parametrize("said", ["offline", "dryrun"])
def test_what_wandb_calls_offline_is_offline(said: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", said)
    assert destination("auto", entity=None, project=None, key=KEY) == Destination("", "dwray", CLOUD, None)
    assert destination("online", entity=None, project=None, key=KEY) == Destination("", "dwray", CLOUD, KEY)


def test_disabled_publishes_nothing_unless_a_mode_was_asked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert destination("auto", entity=None, project=None, key=KEY) is None
    assert destination("offline", entity=None, project=None, key=KEY) == Destination("", "dwray", CLOUD, None)
    assert destination("online", entity=None, project=None, key=KEY) == Destination("", "dwray", CLOUD, KEY)
    paths = make_run(home)
    code, out, error = in_process("publish", str(paths.folder), capsys=capsys)
    assert (code, out) == (1, "")
    assert error == "W&B: WANDB_MODE=disabled: nothing is published; unset it, or ask for offline\n"
    assert not paths.wandb_folder.exists()
    code, out, error = in_process("report", str(paths.folder), "--wandb", "-q", capsys=capsys)
    assert (code, error) == (0, "W&B: WANDB_MODE=disabled: nothing is published; unset it, or ask for offline\n")
    assert not paths.wandb_folder.exists()


def test_a_mode_that_is_none_is_said_in_a_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "shared")
    with pytest.raises(UserError, match="WANDB_MODE=shared: it is online, offline or disabled; set it to one of them"):
        destination("auto", entity=None, project=None, key=KEY)
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(UserError, match="WANDB_MODE=online: there is no key for"):
        destination("auto", entity=None, project=None, key=None)


def test_options_go_before_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1/")
    monkeypatch.setenv("WANDB_ENTITY", "us")
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    found = destination("auto", entity=None, project=None, key=KEY)
    assert found == Destination("us", "ours", "http://127.0.0.1:1", KEY)
    assert KEY not in repr(found)
    found = destination("auto", entity="me", project="mine", key=KEY)
    assert found == Destination("me", "mine", "http://127.0.0.1:1", KEY)


def test_the_key_of_netrc_is_that_of_the_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "netrc").write_text(f"machine here.example login user password {KEY}\n")
    (home / "netrc").chmod(0o600)
    assert destination("auto", entity=None, project=None, key=None) == Destination("", "dwray", CLOUD, None)
    monkeypatch.setenv("WANDB_BASE_URL", there := "https://here.example")
    assert destination("auto", entity=None, project=None, key=None) == Destination("", "dwray", there, KEY)
