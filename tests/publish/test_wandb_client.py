"""What the W&B client tells a server, and what it does when the server fails: the ground that the publisher stands on.

The client is the real one, the server is wandb_server's.
"""

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from wandb_server import KEY, WandbServer, serve

pytestmark = [pytest.mark.slow, pytest.mark.lab, pytest.mark.client_contract]

EPOCHS = 4
RUN = "testers/networks/s1-convnet-0"

STEPS = [*range(EPOCHS), EPOCHS + 1]  # of the rows that PUBLISH logs

# Arguments: the mode, the number of epochs, init_timeout in seconds.
CURVES = """
import sys, wandb
mode, epochs, patience = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
settings = wandb.Settings(
    init_timeout=patience, finish_timeout=3, x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True,
    x_save_requirements=False, disable_git=True, disable_code=True, console="off", silent=True,
    x_transaction_log_flush_interval=1,
)
run = wandb.init(
    entity="testers", project="networks", id="s1-convnet-0", name="ConvNet seed=0", group="s1", job_type="train",
    tags=["digits"], config={"network": "ConvNet", "lr": 0.1}, mode=mode, resume="allow", reinit="create_new",
    settings=settings,
)
run.define_metric("epoch")
run.define_metric("val/*", step_metric="epoch")
for epoch in range(epochs):
    run.log({"epoch": epoch, "val/accuracy": 50.5 + epoch, "_timestamp": 1.7e9 + 10 * epoch}, step=epoch)
run.summary["best"] = 53.5
"""

PUBLISH = f"""{CURVES}
records = wandb.Artifact("records", type="records")
with records.new_file("epochs.csv") as file:
    file.write("epoch,accuracy")
run.log_artifact(records)
run.log({{"timings": wandb.Table(columns=["batch", "seconds"], data=[[1, 0.5], [2, 0.25]])}}, step={EPOCHS + 1})
run.finish()
"""

REPORT = """
import wandb_workspaces.expr as expr, wandb_workspaces.reports.v2 as wr
whose = {"entity": "testers", "project": "networks"}
id_ = ""
for title in ("One", "Two"):
    trained = wr.Runset(**whose, filters=[expr.Config("sweep_id") == "s1"], groupby=["config.network"])
    plot = wr.LinePlot(x="epoch", y=["val/accuracy"], groupby=wr.Config("network"), groupby_aggfunc="mean")
    report = wr.Report(**whose, title=title, blocks=[wr.PanelGrid(runsets=[trained], panels=[plot])])
    report.id = id_
    report.save()
    id_ = report.id
    print(report.id, report.url)
"""

READ = """
import json, wandb
api = wandb.Api()
[run] = api.runs("testers/networks")
told = [run.id, run.state, run.group, run.config["lr"], run.summary["best"], run.lastHistoryStep]
rows = [row["val/accuracy"] for row in run.history(pandas=False)[:4]]
print(json.dumps([told, rows, len(api.runs("testers/networks", filters={"group": "another"}))]))
"""


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with serve() as started:
        yield started


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WandbServer, Path]]:
    """A server that was told of one run, and the folder of the client that told it."""
    folder = tmp_path_factory.mktemp("client")
    with serve() as started:
        publish(started, folder)
        yield started, folder


def start(server: WandbServer, folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """The client, in a process of its own."""
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | server.environment(folder) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a client, not for long: its exit code, and what it wrote."""
    with process:
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()  # the service that it started goes with it
    return process.returncode, out, err


def run(server: WandbServer, folder: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    return end(start(server, folder, *arguments, **variables))


def sync(server: WandbServer, folder: Path, **variables: str) -> tuple[int, str, str]:
    """Send the one run that a folder holds."""
    [held] = folder.glob("wandb/offline-run-2*")
    return run(server, folder, "-m", "wandb", "sync", str(held), **variables)


def publish(server: WandbServer, folder: Path, mode: str = "online", epochs: int = EPOCHS) -> None:
    code, _, err = run(server, folder, "-c", PUBLISH, mode, str(epochs), "30")
    assert code == 0, err


def synced(folder: Path) -> list[str]:
    return [mark.name for mark in folder.glob("wandb/*run-2*/*.synced")]


def steps(server: WandbServer) -> list[int]:
    return [row["_step"] for row in server.runs[RUN].history]


def assert_whole(server: WandbServer) -> None:
    """All that PUBLISH tells has arrived."""
    assert server.unknown == []
    assert list(server.runs) == [RUN]
    kept = server.runs[RUN]
    assert (kept.name, kept.group, kept.job_type, kept.tags) == ("ConvNet seed=0", "s1", "train", ["digits"])
    assert kept.config == {"network": "ConvNet", "lr": 0.1}
    assert (kept.state, kept.exit_code) == ("finished", 0)
    assert steps(server) == STEPS
    assert [row["_timestamp"] for row in kept.history[:EPOCHS]] == [1.7e9 + 10 * epoch for epoch in range(EPOCHS)]
    assert [row["val/accuracy"] for row in kept.history[:EPOCHS]] == [50.5, 51.5, 52.5, 53.5]
    assert kept.summary["best"] == 53.5
    assert kept.summary["val/accuracy"] == 53.5
    artifacts = {artifact.name: artifact for artifact in server.artifacts}
    records = artifacts["testers/networks/records"]
    assert (records.type, records.run, records.committed) == ("records", "s1-convnet-0", True)
    assert records.files == {"epochs.csv": b"epoch,accuracy"}
    assert records.manifest["contents"]["epochs.csv"]["size"] == len(b"epoch,accuracy")
    [table] = [json.loads(content) for name, content in kept.files.items() if name.startswith("media/table/timings")]
    assert (table["columns"], table["data"]) == (["batch", "seconds"], [[1, 0.5], [2, 0.25]])
    assert artifacts["testers/networks/run-s1-convnet-0-timings"].committed


def test_a_run_arrives_whole(published: tuple[WandbServer, Path]) -> None:
    assert_whole(published[0])


def test_runs_can_be_looked_up(published: tuple[WandbServer, Path]) -> None:
    code, out, err = run(*published, "-c", READ)
    assert code == 0, err
    told, rows, of_another_group = json.loads(out.splitlines()[-1])
    assert told == ["s1-convnet-0", "finished", "s1", 0.1, 53.5, STEPS[-1]]
    assert rows == [50.5, 51.5, 52.5, 53.5]
    assert of_another_group == 0
    assert published[0].unknown == []


def test_the_key_is_in_no_file(published: tuple[WandbServer, Path]) -> None:
    server, folder = published
    publish(server, folder, mode="offline")
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert {"run-s1-convnet-0.wandb", "debug.log", "debug-internal.log"} <= {path.name for path in written}
    assert [path for path in written if KEY.encode() in path.read_bytes()] == []
    assert not (folder / ".netrc").exists()


def test_a_run_told_again_goes_on_after_its_last_row(server: WandbServer, tmp_path: Path) -> None:
    """Why nothing is logged past the epochs: the epochs that come to lie before the table's row are lost."""
    publish(server, tmp_path)
    before = server.runs[RUN].history
    publish(server, tmp_path, epochs=EPOCHS + 4)
    assert steps(server) == [*STEPS, EPOCHS + 2, EPOCHS + 3]
    assert server.runs[RUN].history[: len(before)] == before
    assert len(server.artifacts) == 2  # the same content is the same version
    assert server.runs[RUN].state == "finished"


def test_a_report_is_saved_again_under_its_id(server: WandbServer, tmp_path: Path) -> None:
    _, _, err = run(server, tmp_path, "-c", REPORT)
    assert "project 'testers/networks' not found" in err

    server.projects.add(("testers", "networks"))
    code, out, err = run(server, tmp_path, "-c", REPORT)
    assert code == 0, err
    assert server.unknown == []
    [report] = server.reports.values()
    assert (report.title, report.saves) == ("Two", 2)
    url = f"{server.url}/testers/networks/reports"
    assert out.splitlines()[-2:] == [f"{report.id} {url}/{title}--{report.id}" for title in ("One", "Two")]
    [grid] = [block for block in report.spec["blocks"] if block["type"] == "panel-grid"]
    [runset] = grid["metadata"]["runSets"]
    assert runset["project"]["name"] == "networks"
    assert runset["filters"]["filters"][0]["key"] == {"section": "config", "name": "sweep_id"}
    [panel] = grid["metadata"]["panelBankSectionConfig"]["panels"]
    assert (panel["config"]["metrics"], panel["config"]["groupAgg"]) == (["val/accuracy"], "mean")


def test_an_offline_run_is_synced_later(server: WandbServer, tmp_path: Path) -> None:
    publish(server, tmp_path, mode="offline")
    assert server.requests == []

    code, _, err = sync(server, tmp_path, WANDB_API_KEY="wrong" * 10)
    assert code == 0  # although nothing was sent
    assert "401" in err
    assert synced(tmp_path) == []
    assert server.runs == {}

    sync(server, tmp_path)
    assert synced(tmp_path) == ["run-s1-convnet-0.wandb.synced"]
    assert_whole(server)


def test_a_second_offline_copy_is_added_to_the_first(server: WandbServer, tmp_path: Path) -> None:
    """Why a run is written offline only once: its rows would come twice, the second time at other steps."""
    for copy in ("one", "two"):
        publish(server, tmp_path / copy, mode="offline")
        sync(server, tmp_path / copy)
    assert steps(server) == [*STEPS, *range(EPOCHS + 2, EPOCHS + 2 + len(STEPS))]


FAULTS = ("401", "500", "hang", "reset", "refuse")


def fail_all(folder: Path, after: int, patience: int) -> Iterator[tuple[WandbServer, Path, tuple[int, str, str]]]:
    """Publish to servers that fail in all ways, side by side: each server, its client's folder, and its end."""
    with contextlib.ExitStack() as stack:
        servers = {fault: stack.enter_context(serve()) for fault in FAULTS}
        for fault, server in servers.items():
            server.fail(fault, after=after)
        clients = [
            (server, folder / fault, start(server, folder / fault, "-c", CURVES, "online", str(EPOCHS), str(patience)))
            for fault, server in servers.items()
        ]
        ends = [end(client) for _, _, client in clients]
        for (server, place, _), ended in zip(clients, ends, strict=True):
            yield server, place, ended


def test_a_run_does_not_start_without_its_server(tmp_path: Path) -> None:
    for server, _, (code, _, err) in fail_all(tmp_path, after=0, patience=3):
        assert (code, "CommError" in err) == (1, True), err
        assert server.runs == {}


def test_a_run_whose_server_fails_ends_as_if_all_were_well(tmp_path: Path) -> None:
    """Why what was sent is looked up, and told again where it is missing."""
    for server, folder, (code, _, err) in fail_all(tmp_path, after=2, patience=40):
        assert code == 0, err
        assert (server.runs[RUN].history, server.runs[RUN].state) == ([], "running")
        assert synced(folder) == []
    server.mend()  # the last of them
    run(server, folder, "-c", CURVES, "online", str(EPOCHS), "40")
    assert (steps(server), server.runs[RUN].state) == (STEPS[:EPOCHS], "finished")


def test_what_the_server_does_not_know_is_refused_and_noted(server: WandbServer) -> None:
    body = json.dumps({"query": "query Weather($city: String) { weather(city: $city) }"}).encode()
    headers = {"Authorization": "Basic " + b64encode(f"api:{KEY}".encode()).decode()}
    assert status(urllib.request.Request(f"{server.url}/graphql", body, headers)) == 400
    assert server.unknown == ["Weather"]
    assert status(server.url) == 401  # without the key


def test_a_closed_port_can_be_opened_again(server: WandbServer) -> None:
    server.fail("refuse")
    with pytest.raises(urllib.error.URLError, match="refused"):
        status(server.url)
    server.mend()
    assert status(server.url) == 401


def status(request: urllib.request.Request | str) -> int:
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
