"""docs/onprem.yaml brought up on a lab of hosts: a sweep over SSH, closed doors, all that can be lost, and down again.

A single sweep on a single machine says what must come out.
"""

import itertools
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import yaml
from lab import missing, wait_until
from onprem import (
    ADDRESSES,
    HEAD,
    HOME,
    LAPTOP,
    SEARCH_EPOCHS,
    SECRET,
    STORE,
    STORE_PROCESS,
    TOP,
    TRAIN_EPOCHS,
    WORKERS,
    Cluster,
    brought_up,
)
from same import assert_same_results

from dwray.errors import EXIT_FAILED, EXIT_INTERRUPTED
from dwray.paths import RunPaths
from dwray.results.records import Records

DETECTION_SECONDS = 15
OUTAGE_SECONDS = 30
NOTICE_SECONDS = 8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.lab,
    pytest.mark.timeout(900),
    pytest.mark.skipif(missing() is not None, reason=f"no lab of hosts: this machine {missing()}"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with brought_up(tmp_path_factory.mktemp("lab")) as found:
        yield found


def test_a_sweep_on_three_hosts_gives_what_one_machine_gives(cluster: Cluster) -> None:
    run = cluster.fetch(cluster.submit("sweep", f"dwray sweep {cluster.sweep}").end())
    assert_same_results(run.folder, cluster.expected)
    assert {row["host"] for row in Records.read(run).trials if row["stage"] != "time"} == set(WORKERS)


def test_without_the_token_every_door_is_shut(cluster: Cluster) -> None:
    """Each is tried with the token, too, where it opens."""
    hosts, head, inside = cluster.lab, ADDRESSES[HEAD], "http://127.0.0.1:8265"
    ask = "import urllib.request as u; u.urlopen('{}/api/jobs/', timeout=5)"
    assert "Connection refused" in hosts.run(LAPTOP, "python", "-c", ask.format(f"http://{head}:8265"), check=False)
    assert "HTTP Error 401" in hosts.run(HEAD, "python", "-c", ask.format(inside), check=False)

    join = "import ray; ray.init('{}', logging_level=50); print(ray.cluster_resources().get('CPU'), 'OPEN')"
    doors = {
        "a job": (HEAD, "ray", "job", "submit", "--address", inside, "--", "echo", "OPEN"),
        "a driver": (WORKERS[0], "python", "-c", join.format(f"{head}:6379")),
        "a Ray client": (LAPTOP, "python", "-c", join.format(f"ray://{head}:10001")),
    }
    keys = {
        "none": {"RAY_AUTH_MODE": "disabled", "HOME": "/nowhere"},
        "wrong": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
        "right": {"RAY_AUTH_MODE": "token"},
    }

    def said(attempt: tuple[str, str]) -> str:
        return hosts.run(*doors[attempt[0]], check=False, **keys[attempt[1]])

    for door in doors:
        # A Ray client's own server may take longer to start than the client waits for it.
        wait_until(lambda door=door: "OPEN" in said((door, "right")), 120, f"{door} with the token")
    attempts = list(itertools.product(doors, ("none", "wrong")))
    with ThreadPoolExecutor(len(attempts)) as pool:  # a driver is given up after 20 s, a client after 30
        answers = dict(zip(attempts, pool.map(said, attempts), strict=True))
    assert not [attempt for attempt in attempts if "OPEN" in answers[attempt]], answers
    for key in ("none", "wrong"):
        assert "AuthenticationError" in answers["a job", key]


def test_machines_are_lost_and_nothing_else(cluster: Cluster) -> None:
    """A cable is pulled while the search runs; the other worker loses its power, and its disk, in mid-epoch.

    For a while there may be no worker at all: the trials wait for the first one.
    """
    first, second = WORKERS
    job = cluster.submit("faults", f"dwray sweep {cluster.sweep}")
    job.wait_until(f"running, epoch 2/{SEARCH_EPOCHS}")
    cluster.wait_for_trials(second)
    cluster.lab.cut(second)
    assert cluster.wait_for_loss(second, "a cut cable") <= DETECTION_SECONDS
    cluster.lab.heal(second)
    job.wait_until(f"running, epoch 2/{TRAIN_EPOCHS}")
    cluster.wait_for_trials(first)
    cluster.lab.power_off(first)
    assert cluster.wait_for_loss(first, "a loss of power") <= DETECTION_SECONDS
    run = cluster.fetch(job.end())
    assert_same_results(run.folder, cluster.expected)
    for stage in ("search", "train"):
        assert sum(row["failures"] for row in Records.read(run).trials if row["stage"] == stage) >= 1
    cluster.lab.start(first)
    cluster.up()  # Ray starts a machine that it knows again, but does not set it up


def test_a_folder_keeps_a_run_if_all_nodes_share_it(cluster: Cluster) -> None:
    """Or else nothing is started, and the mend is told."""
    command = f"dwray sweep {cluster.sweep} --address auto --storage {HOME}/own"
    own = cluster.shell("own", f"set -o pipefail; {command} 2>&1 | cat; echo ended with $?")
    own.process.wait(120)
    assert f"ended with {EXIT_FAILED}" in own.text, own.text
    (line,) = [line for line in own.text.splitlines() if line.startswith("dwray: ")]
    assert re.match(rf"dwray: {HOME}/own/tiny/\S+: is not there on n[23], n[23], where trials would run; ", line), line
    assert "give a folder that all nodes share, or s3://BUCKET/PREFIX, with --storage" in line
    assert "started" not in own.text
    shared = cluster.lab.folder / "kept"
    job = cluster.submit("shared", f"dwray sweep {cluster.sweep} --storage {shared}")
    job.process.wait(400)
    assert "report.html" in job.text, job.text
    (run,) = (shared / "tiny").iterdir()
    assert_same_results(run, cluster.expected)
    assert {row["host"] for row in Records.read(RunPaths(run)).trials if row["stage"] != "time"} == set(WORKERS)


METADATA = """
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
class Handler(BaseHTTPRequestHandler):
    def answer(self, code, text=""):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())
    def do_PUT(self):
        self.answer(200 if self.path == "/latest/api/token" else 404, "a-token")
    def do_GET(self):
        allowed = self.headers.get("X-aws-ec2-metadata-token") == "a-token"
        there = self.path == "/latest/meta-data/spot/instance-action" and (Path.home() / "notice").exists()
        self.answer((200 if there else 404) if allowed else 401)
HTTPServer(("169.254.169.254", 80), Handler).serve_forever()
"""


HOOK = "ray drain-node"
"""The process that waits for a notice ends once it has done this."""


def begin_to_watch_for_notices(cluster: Cluster, name: str) -> None:
    """The command that cluster.yaml starts on every worker, beside a stand-in for EC2's metadata service.

    The time from the notice to the end of the machine, two minutes there, is seconds here.
    """
    hook = yaml.safe_load((TOP / "cluster.yaml").read_text())["worker_start_ray_commands"][-1]
    deadline = "--deadline-remaining-seconds "
    assert f"{deadline}110 " in hook
    hook = hook.replace(f"{deadline}110 ", f"{deadline}{NOTICE_SECONDS} ")
    cluster.lab.run(name, "ip", "address", "add", "169.254.169.254/32", "dev", "lo")
    cluster.lab.begin(name, "python", "-c", METADATA)
    cluster.lab.run(name, "bash", "-c", f"export RAY_HEAD_IP={ADDRESSES[HEAD]}; {hook}")


@contextmanager
def storage_away(cluster: Cluster, seconds: float) -> Iterator[None]:
    """The storage takes connections and does not answer, for so long at least."""
    cluster.lab.signal(LAPTOP, "STOP", STORE_PROCESS)
    began = time.monotonic()
    try:
        yield
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    finally:
        cluster.lab.signal(LAPTOP, "CONT", STORE_PROCESS)
    print(f"the storage was away for {time.monotonic() - began:.0f} s")


def test_a_spot_notice_and_a_storage_that_is_away(cluster: Cluster) -> None:
    """The storage does not answer for a while; meanwhile a worker with running trials is drained, and goes."""
    hosts, goes = cluster.lab, WORKERS[1]
    begin_to_watch_for_notices(cluster, goes)
    job = cluster.submit("spot", f"dwray sweep {cluster.sweep}")
    job.wait_until(f"running, epoch 2/{TRAIN_EPOCHS}")
    cluster.wait_for_trials(goes)
    assert hosts.processes(goes, HOOK)  # without a notice it does nothing

    with storage_away(cluster, OUTAGE_SECONDS):
        # Trials wait for it at the ends of their epochs, so that none ends meanwhile.
        hosts.run(goes, "touch", f"{HOME}/notice")
        drained = wait_until(lambda: not hosts.processes(goes, HOOK), 30, "the node is drained")
        print(f"a spot notice: drained after {drained:.1f} s")
        time.sleep(NOTICE_SECONDS + 1)
        assert goes in cluster.alive()
        running = cluster.trials_on(goes)
        assert running >= 1
        hosts.power_off(goes)
        assert cluster.wait_for_loss(goes, "a drained node's end") <= DETECTION_SECONDS

    run = cluster.fetch(job.end())
    assert_same_results(run.folder, cluster.expected)
    assert job.text.count("retrying") == running
    assert {row["failures"] for row in Records.read(run).trials} == {0}
    hosts.start(goes)


def test_no_secret_is_in_any_log_or_file_of_a_run(cluster: Cluster) -> None:
    token = cluster.lab.run(LAPTOP, "cat", f"{HOME}/.ray/auth_token").strip()
    assert len(token) >= 32
    places = ("/tmp/ray", f"{HOME}/runs", str(cluster.lab.folder))
    assert cluster.lab.run(HEAD, "grep", "-rlaFs", "tiny", *places, check=False)
    for name in cluster.lab.hosts:
        for secret in (token, SECRET):
            found = cluster.lab.run(name, "grep", "-rlaFs", secret, *places, check=False)
            assert found == "", f"{name}: {found}"


def test_a_driver_is_interrupted_then_killed_then_lost_with_its_head(cluster: Cluster) -> None:
    """Each time the run goes on with `dwray resume`: as a job, and at last on a new head, from the storage alone.

    Only one worker is left until then.
    """
    hosts = cluster.lab
    # In a shell: Ctrl-C. Through a pipe it shows lines, not a table.
    shell = cluster.shell(
        "shell",
        f"export AWS_ENDPOINT_URL={STORE}; set -o pipefail; env --default-signal=INT "
        f"dwray sweep {cluster.sweep} --address auto --storage s3://lab/runs 2>&1 | cat; echo ended with $?",
    )
    shell.wait_until(f"running, epoch 2/{SEARCH_EPOCHS}")
    hosts.signal(HEAD, "INT", "/dwray sweep")
    shell.process.wait(60)
    run = shell.run
    assert f"ended with {EXIT_INTERRUPTED}" in shell.text, shell.text
    assert f"to go on: dwray resume {run}" in shell.text
    assert "train: started" not in shell.text

    killed = cluster.submit("killed", f"dwray resume {run}")
    killed.wait_until(f"running, epoch 2/{TRAIN_EPOCHS}")
    hosts.signal(HEAD, "KILL", "/dwray resume")
    killed.process.wait(60)
    assert "Job 'killed' failed" in killed.text, killed.text

    lost = cluster.submit("lost", f"dwray resume {run}")
    lost.wait_until("train: started")
    lost.wait_until(f"running, epoch {TRAIN_EPOCHS // 4}/{TRAIN_EPOCHS}")
    hosts.power_off(HEAD)
    for interrupted in (killed, lost):
        assert "time: started" not in interrupted.text
    hosts.start(HEAD)
    hosts.run(LAPTOP, "ray", "down", "-y", str(cluster.file))
    cluster.up()
    resumed = cluster.submit("resumed", f"dwray resume {run}")
    assert resumed.end() == run
    assert "search: started, 4 trials at most, 4 of them ended before" in resumed.text
    assert f"running, epoch {TRAIN_EPOCHS}/{TRAIN_EPOCHS}" in resumed.text
    found = cluster.fetch(run)
    assert_same_results(found.folder, cluster.expected)
    assert len(json.loads(found.environment.read_text())["resumed"]) == 3


def test_down_leaves_no_ray(cluster: Cluster) -> None:
    cluster.lab.run(LAPTOP, "ray", "down", "-y", str(cluster.file))
    began = time.monotonic()
    for name in (HEAD, *WORKERS):
        wait_until(
            lambda name=name: not cluster.lab.run(name, "pgrep", "-x", "raylet", check=False), 90, f"{name} ended"
        )
    print(f"down: no Ray anywhere after {time.monotonic() - began:.0f} s")
