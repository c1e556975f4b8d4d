"""``dwray status``: where every run is, and why not."""

import json
from pathlib import Path

import pytest
from commands import in_process
from records import make_run

from dwray.errors import RunError
from dwray.paths import RunPaths
from dwray.publish.ledger import FAILED, OFFLINE, SENT, TOLD, Entry, Ledger
from dwray.publish.runs import published_runs
from dwray.results.records import Records

NOT_PUBLISHED = "not published"


def entry(state: str, why: str | None = None) -> Entry:
    return Entry("a name", "train", state, "digest", 2, "finished", why)


def offline_file(paths: RunPaths, run_id: str, *, synced: bool = False) -> None:
    folder = paths.wandb_folder / f"offline-run-20260102_030405-{run_id}"
    folder.mkdir(parents=True)
    (folder / f"run-{run_id}.wandb").touch()
    if synced:
        (folder / f"run-{run_id}.wandb.synced").touch()


def test_every_state_is_shown_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = make_run(tmp_path)
    ids = [run.id for run in published_runs(Records.read(paths))]
    ledger = Ledger(report_url="http://here/report")
    states = [entry(OFFLINE), entry(OFFLINE), entry(OFFLINE), entry(TOLD), entry(FAILED, "out of order")]
    ledger.runs = dict(zip(ids, states, strict=False))
    ledger.runs["t"] = Entry("tables", "report", SENT, "digest", 1, "finished")
    ledger.write(paths.wandb)
    offline_file(paths, ids[0])
    offline_file(paths, ids[1], synced=True)
    code, out, error = in_process("status", str(paths.folder), "--json", capsys=capsys)
    assert (code, error) == (0, "")
    shown = [(row["wandb_id"], row["wandb"], row["why"]) for row in json.loads(out)["runs"]]
    assert shown == [
        (ids[0], "offline", None),
        (ids[1], "sent", None),
        (ids[2], "failed", "its offline folder is gone"),
        (ids[3], "told", None),
        (ids[4], "failed", "out of order"),
        (ids[5], NOT_PUBLISHED, None),
        ("t", "sent", None),
    ]
    code, out, _ = in_process("status", str(paths.folder), capsys=capsys)
    assert "failed: out of order" in out
    assert out.splitlines()[-1] == "report: http://here/report"


def test_a_damaged_ledger_and_a_missing_run_are_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = make_run(tmp_path)
    for content in ("{", "[]", '{"runs": 3}', '{"runs": {"a": {"name": "A"}}}', '{"runs": {}, "unknown": 1}'):
        paths.wandb.write_text(content)
        with pytest.raises(RunError, match="cannot be read as what W&B has of the run; delete it"):
            Ledger.read(paths.wandb)
    code, out, error = in_process("status", str(paths.folder), capsys=capsys)
    assert (code, out, error.count("\n")) == (1, "", 1)
    assert f"{paths.wandb}: cannot be read" in error
    code, out, error = in_process("status", str(tmp_path / "none"), capsys=capsys)
    assert (code, out, error.count("\n")) == (1, "", 1)


def test_an_offline_file_that_was_cut_is_told_unless_it_was_sent_before(tmp_path: Path) -> None:
    paths, ledger = RunPaths(tmp_path), Ledger(runs={name: entry(OFFLINE) for name in "ab"})
    for name, is_synced in (("a", False), ("b", True)):
        offline_file(paths, name, synced=is_synced)
        ledger.runs[name].size = 5
    state, why = ledger.state_of("a", tmp_path)
    assert (state, why and why.split(",")[0]) == (FAILED, "its offline file is damaged")
    assert ledger.state_of("b", tmp_path) == (SENT, None)
    # `wandb sync` may have sent a part of it: written again, its rows would come twice.
    assert not ledger.is_gone("a", tmp_path)
    assert ledger.is_gone("c", tmp_path)


def test_what_may_be_written_offline(tmp_path: Path) -> None:
    """Nothing that a server may have rows of already."""
    paths, ledger = RunPaths(tmp_path), Ledger()
    assert ledger.may_be_written("a", tmp_path)
    offline_file(paths, "a")
    assert ledger.may_be_written("a", tmp_path)
    offline_file(paths, "b", synced=True)
    assert not ledger.may_be_written("b", tmp_path)
    ledger.runs = {state: entry(state) for state in (OFFLINE, TOLD, SENT, FAILED)}
    assert ledger.may_be_written(FAILED, tmp_path)  # nothing was sent anywhere
    ledger.moved("me", "a project", "http://there")
    ledger.runs |= {state: entry(state) for state in (TOLD, SENT, FAILED)}
    assert [key for key in ("a", *ledger.runs) if ledger.may_be_written(key, tmp_path)] == ["a", OFFLINE]
    ledger.cut_off = True
    assert not ledger.may_be_written("a", tmp_path)
    assert not ledger.may_be_written(OFFLINE, tmp_path)


def test_of_another_project_nothing_is_known(tmp_path: Path) -> None:
    ledger = Ledger("me", "a project", "http://there", "report", "address", {"a": entry(SENT), "b": entry(OFFLINE)})
    ledger.moved("me", "a project", "http://there")
    assert (ledger.report_id, list(ledger.runs)) == ("report", ["a", "b"])
    ledger.moved("me", "another", "http://there")
    assert (ledger.report_id, ledger.report_url, list(ledger.runs)) == ("", "", ["b"])
