"""The publisher's process: alone with its run, ended with its driver, and what is left of it is sent by the next."""

from pathlib import Path

import click
import pytest
from processes import wait_until
from publishing import (
    assert_all_there,
    by_name,
    inspect,
    inspect_all,
    offline_folders,
    publish,
    publishing,
    worker_of,
)
from records import make_run
from wandb_server import WandbServer, serve

from dwray.cli.publish import published
from dwray.errors import EXIT_INTERRUPTED
from dwray.paths import RunPaths
from dwray.publish.destination import Destination
from dwray.publish.ledger import FAILED, OFFLINE, SENT, Entry, Ledger
from dwray.publish.process import Publisher
from dwray.publish.runs import published_runs
from dwray.results.kept import KeptRun
from dwray.results.records import Records
from dwray.results.schema import TRIALS, to_table
from dwray.results.store import read_parquet, write_parquet

pytestmark = pytest.mark.slow


def processes_that_keep_in(folder: Path) -> list[str]:
    """The publisher's process and its client's service, by what they are told to keep there."""
    return [process.name for process in Path("/proc").glob("[0-9]*") if _keeps_in(process, folder)]


def _keeps_in(process: Path, folder: Path) -> bool:
    try:
        return f"WANDB_CACHE_DIR={folder}/".encode() in (process / "environ").read_bytes()
    except OSError:  # it ended, or is another's
        return False


def change_trials(paths: RunPaths, trial: str, **values: object) -> None:
    """Change a trial's row, as a sweep that goes on does; timings have not begun then."""
    table = read_parquet(paths.trials, TRIALS)
    rows = [row for row in table.to_pylist() if row["stage"] != "time"]
    next(row for row in rows if row["trial_id"] == trial).update(values)
    identity = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    write_parquet(paths.trials, to_table(TRIALS, rows, identity))


def hang_in_the_middle(server: WandbServer) -> None:
    """Once the first run was sent; where the second begins."""
    server.fail("hang", after=12)


@pytest.mark.lab
def test_of_two_publishers_one_waits_for_a_moment_and_says_why(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    with serve() as server:
        hang_in_the_middle(server)
        with publishing(paths, server) as first:
            wait_until(lambda: len(server.requests) > 12)
            second = publish(paths, server)
            assert (second.returncode, second.stdout) == (1, "")
            assert second.stderr.splitlines() == [
                "W&B: not all was sent: another dwray publishes this run; wait for it, or end it first; "
                f"to send the rest: dwray publish {paths.folder}"
            ]
            server.mend()
            first.wait(60)
        assert publish(paths, server).returncode == 0
        assert_all_there(server, paths)


def test_two_publishers_at_once_make_one_report(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    with serve() as server, publishing(paths, server) as one, publishing(paths, server) as other:
        assert 0 in (one.wait(60), other.wait(60))
        assert_all_there(server, paths)


def test_a_report_whose_saving_was_not_answered_is_found_again(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    with serve() as server:
        server.fail("lost", of="upsertView")
        failed = publish(paths, server)
        assert failed.returncode == 1
        assert "W&B: not all was sent: the report: " in failed.stderr
        assert Ledger.read(paths.wandb).report_id == ""
        server.mend()
        assert publish(paths, server).returncode == 0
        assert_all_there(server, paths)
        paths.wandb.unlink()
        assert publish(paths, server).returncode == 0
        assert_all_there(server, paths)


@pytest.mark.lab
def test_with_its_driver_it_ends_at_once_and_what_was_sent_is_noted(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    with serve() as server:
        hang_in_the_middle(server)
        with publishing(paths, server) as driver:
            wait_until(lambda: Ledger.read(paths.wandb).runs, seconds=60)
            assert driver.poll() is None
            assert len(processes_that_keep_in(paths.folder.parent)) == 3
            driver.kill()
            driver.wait()
            wait_until(lambda: not processes_that_keep_in(paths.folder.parent), seconds=5)
        ledger = Ledger.read(paths.wandb)
        assert ledger.cut_off
        assert ledger.runs
        server.mend()
        assert publish(paths, server).returncode == 0
        assert_all_there(server, paths)
    assert not Ledger.read(paths.wandb).cut_off


def test_a_driver_that_is_killed_marks_no_run_as_finished_that_goes_on(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    change_trials(paths, "t0", status="running")
    with serve() as server:
        to = Destination("", "dwray", server.url, server.environment(tmp_path)["WANDB_API_KEY"])
        publisher = Publisher(paths, to, follow=True)
        wait_until(lambda: "A seed=0" in by_name(server))
        assert publisher._process
        assert publisher._process.stdin
        assert worker_of(paths.folder)
        publisher._process.stdin.close()  # as the system does for a driver that is killed
        wait_until(lambda: worker_of(paths.folder) is None, seconds=5)
        publisher._process.wait()
        assert by_name(server)["A seed=0"].state == "running"


def test_an_offline_run_that_was_cut_short_is_written_anew(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    change_trials(paths, "t0", status="running")
    publisher = Publisher(paths, Destination(), follow=True)
    wait_until(lambda: any(entry.open for entry in Ledger.read(paths.wandb).runs.values()))
    assert len(processes_that_keep_in(paths.folder)) == 2
    publisher.kill()
    wait_until(lambda: not processes_that_keep_in(paths.folder), seconds=5)  # the client's service too
    assert [folder for folder in offline_folders(paths) if "exit" not in inspect(folder)]
    done = publish(paths)
    assert (done.returncode, done.stderr) == (0, "")
    said = inspect_all(paths)
    assert [row["item"]["epoch"] for row in said["A seed=0"]["history"]] == [1, 2]
    assert all(run["exit"] for run in said.values())
    assert not any(entry.open for entry in Ledger.read(paths.wandb).runs.values())


def test_what_no_server_was_told_can_be_written_offline(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    with serve() as server:
        server.fail("500", after=12)
        assert publish(paths, server).returncode == 1
    told = set(Ledger.read(paths.wandb).runs)
    assert told
    done = publish(paths)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "was told to a server before, and `wandb sync` would repeat its rows: this takes a key" in line
    runs = {run.id: run.name for run in published_runs(Records.read(paths))}
    written = {name for name, said in inspect_all(paths).items() if said["exit"]}
    assert written == {name for key, name in runs.items() if key not in told} | {"tables"}


def test_what_failed_of_trials_that_are_no_more_is_forgotten(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    old = {state: Entry("gone", "time", state, "digest", 1, "finished", "out of order") for state in (FAILED, SENT)}
    Ledger(runs=old).write(paths.wandb)
    done = publish(paths)
    assert (done.returncode, done.stderr) == (0, "")
    assert [key for key in Ledger.read(paths.wandb).runs if key in (FAILED, SENT, OFFLINE)] == [SENT]


def test_a_server_behind_a_gate_is_reached_with_the_users_headers(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    with serve() as server:
        server.gate = "X-Gate", "open"
        refused = publish(paths, server)
        assert refused.returncode == 1
        assert "answers 401" in refused.stderr
        passed = publish(paths, server, WANDB_X_EXTRA_HTTP_HEADERS='{"X-Gate": "open"}')
        assert (passed.returncode, passed.stderr) == (0, "")
        assert_all_there(server, paths)


def test_a_sweep_that_is_stopped_says_how_to_send_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = make_run(tmp_path)
    for end in (click.exceptions.Exit(EXIT_INTERRUPTED), KeyboardInterrupt()):
        with pytest.raises(type(end)), published(KeptRun(paths, None), Destination(), quiet=False):
            raise end
        out, error = capsys.readouterr()
        assert out == ""
        [line] = error.splitlines()
        assert line.startswith("W&B: not all was sent: ")
        assert line.endswith(f"to send the rest: dwray publish {paths.folder}")
