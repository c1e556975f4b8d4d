"""docs/onprem.yaml brought up on a lab of hosts: a sweep over SSH, closed doors, lost machines, and down again.

A single sweep on a single machine says what must come out.
"""

import itertools
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import Lab, lab, missing, wait_until
from same import assert_same_results
from tiny import TINY

from dwray.paths import RunPaths
from dwray.results.records import Records

TOP = Path(__file__).parents[2]
LAPTOP, HEAD, WORKERS = "laptop", "n1", ("n2", "n3")
ADDRESSES = {LAPTOP: "10.77.0.254", HEAD: "10.77.0.1", **{f"n{k}": f"10.77.0.{k}" for k in (2, 3)}}
STORE = f"http://{ADDRESSES[LAPTOP]}:5000"
HOME = "/root"
SECRET = "lab-secret-0123456789abcdef"
CREDENTIALS = f"[default]\naws_access_key_id = lab-key\naws_secret_access_key = {SECRET}\n"
DETECTION_SECONDS = 15

WATCH = """
import time, ray
ray.init("auto", log_to_driver=False)
while True:
    print("ALIVE", *(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]))
    time.sleep(0.3)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.lab,
    pytest.mark.timeout(900),
    pytest.mark.skipif(missing() is not None, reason=f"no lab of hosts: this machine {missing()}"),
]

SWEEP: dict[str, Any] = {
    **TINY,
    "data": {"source": "digits", "max_train_images": 400, "max_test_images": 60},
    "training": {"epochs": 8, "batch_size": 32, "initial_lr": 0.05},
    "search": {"epochs": 3, "axes": {"initial_lr": [0.01, 0.05]}},
    "resources": {"gpus_per_trial": 0, "save_minutes": 0},
}


def onprem(hosts: Lab) -> dict[str, Any]:
    """The shipped file with the lab's addresses; Python is there already, and a package index is not."""
    text = (TOP / "docs" / "onprem.yaml").read_text()
    config = yaml.safe_load(text.replace("http://192.0.2.9:9000", STORE).replace("s3://CHANGE-my-bucket", "s3://lab"))
    config["provider"].update(head_ip=ADDRESSES[HEAD], worker_ips=[ADDRESSES[name] for name in WORKERS])
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.folder / "key")}
    config["setup_commands"] = [
        command for command in config["setup_commands"] if not any(word in command for word in ("pip", "venv"))
    ] + ["echo 'export RAY_AUTH_MODE=token PYTHONPATH=$HOME/dwray' >> ~/.bashrc"]
    config["head_setup_commands"] = []
    config["file_mounts"]["~/dwray"] = str(TOP)
    return config


@dataclass
class Cluster:
    """The lab with a cluster on it, as its laptop sees it."""

    lab: Lab
    file: Path
    sweep: Path
    expected: Path
    """The run that a single machine made."""
    watch: Path
    """Who is alive, by the head."""

    def exec(self, command: str, **options: Any) -> str:
        """A command on the head, over SSH."""
        return self.lab.run(LAPTOP, "ray", "exec", str(self.file), command, **options)

    def alive(self) -> set[str]:
        """The workers that the head takes for alive."""
        lines = [line for line in self.watch.read_text().splitlines()[:-1] if line.startswith("ALIVE")]
        found = lines[-1].split() if lines else []
        return {name for name in WORKERS if ADDRESSES[name] in found}

    def fetch(self, run: str) -> Path:
        """A run's records out of the object store, as somebody elsewhere gets them."""
        folder = self.lab.folder / "fetched"
        self.lab.run(LAPTOP, "dwray", "report", run, "--runs-dir", str(folder), "-q")
        return folder / "tiny" / run.rsplit("/", 1)[1]

    def submit(self, name: str) -> "Job":
        """Start the sweep as the README does."""
        log = self.lab.folder / f"{name}.log"
        command = f"ray job submit --submission-id {name} -- dwray sweep {self.sweep} --set name=tiny"
        return Job(log, self.lab.begin(LAPTOP, "ray", "exec", str(self.file), command, log=log))


@dataclass
class Job:
    """A sweep that was submitted."""

    log: Path
    process: subprocess.Popen[bytes]

    def wait_until(self, said: str, times: int = 1, seconds: float = 120) -> float:
        try:
            return wait_until(lambda: self.log.read_text().count(said) >= times, seconds, said)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()}") from error

    def end(self) -> str:
        """Wait for it; where it kept its run."""
        self.process.wait(300)
        text = self.log.read_text()
        # A timing that was not alone makes the exit code 4: the lab's hosts share their processors.
        assert "All results" in text or "report" in text, text
        assert "Traceback" not in text, text
        (folder,) = [line.split()[-1] for line in text.splitlines() if line.startswith("run /")]
        return f"s3://lab/runs/tiny/{Path(folder).name}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with lab(tmp_path_factory.mktemp("lab"), ADDRESSES) as hosts:
        hosts.variables = {
            "RAY_UP_enable_autoscaler_v2": "0",
            "AWS_ENDPOINT_URL": STORE,
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        hosts.begin(LAPTOP, "python", "-m", "moto.server", "-H", ADDRESSES[LAPTOP], "-p", "5000")
        sweep = hosts.folder / "tiny.yaml"
        sweep.write_text(yaml.safe_dump(SWEEP))
        log = hosts.folder / "alone.log"
        alone = hosts.begin(LAPTOP, "dwray", "sweep", str(sweep), "--runs-dir", str(hosts.folder / "alone"), log=log)
        hosts.variables["RAY_AUTH_MODE"] = "token"
        hosts.run(LAPTOP, "ray", "get-auth-token", "--generate")
        hosts.run(LAPTOP, "mkdir", "-p", f"{HOME}/.aws")
        hosts.run(LAPTOP, "bash", "-c", f"echo '{CREDENTIALS}' > ~/.aws/credentials")
        file = hosts.folder / "onprem.yaml"
        file.write_text(yaml.safe_dump(onprem(hosts)))
        make = (
            "from pyarrow.fs import FileSystem; "
            "FileSystem.from_uri('s3://lab/?allow_bucket_creation=true')[0].create_dir('lab')"
        )
        hosts.run(LAPTOP, "python", "-c", make)
        began = time.monotonic()
        print(hosts.run(LAPTOP, "ray", "up", "-y", "--no-config-cache", str(file), seconds=180))
        print(f"up in {time.monotonic() - began:.0f} s")
        alone.wait(300)
        (expected,) = (hosts.folder / "alone" / "tiny").glob("*")
        assert (expected / "report.html").is_file(), log.read_text()
        watch = hosts.folder / "watch.log"
        hosts.begin(HEAD, "python", "-W", "ignore", "-u", "-c", WATCH, log=watch)
        found = Cluster(hosts, file, sweep, expected, watch)
        wait_until(lambda: found.alive() == set(WORKERS), 120, "both workers joined")
        print(f"all nodes in {time.monotonic() - began:.0f} s")
        yield found


def test_a_sweep_on_three_hosts_gives_what_one_machine_gives(cluster: Cluster) -> None:
    run = cluster.fetch(cluster.submit("sweep").end())
    assert_same_results(run, cluster.expected)
    hosts = {row["host"] for row in Records.read(RunPaths(run)).trials if row["stage"] != "time"}
    assert hosts == set(WORKERS)


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
    """A cable is pulled while the search runs; when it is in again, the other worker loses its power in mid-epoch."""
    first, second = WORKERS
    job = cluster.submit("faults")
    job.wait_until("running, epoch 2/3")
    cluster.lab.cut(second)
    noticed = wait_until(lambda: cluster.alive() == {first}, 60, "the cut is noticed")
    print(f"a cut cable was noticed after {noticed:.1f} s")
    assert noticed <= DETECTION_SECONDS
    cluster.lab.heal(second)
    print(f"back after {wait_until(lambda: cluster.alive() == set(WORKERS), 180, 'it is back'):.0f} s")
    job.wait_until("running, epoch 3/8")
    cluster.lab.power_off(first)
    noticed = wait_until(lambda: cluster.alive() == {second}, 60, "the loss is noticed")
    print(f"a loss of power was noticed after {noticed:.1f} s")
    assert noticed <= DETECTION_SECONDS
    run = cluster.fetch(job.end())
    assert_same_results(run, cluster.expected)
    assert sum(row["failures"] for row in Records.read(RunPaths(run)).trials) >= 2


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


def test_a_spot_notice_drains_its_node(cluster: Cluster) -> None:
    """The command that cluster.yaml starts on every worker, beside a stand-in for EC2's metadata service."""
    hosts, name = cluster.lab, WORKERS[1]
    hook = yaml.safe_load((TOP / "cluster.yaml").read_text())["worker_start_ray_commands"][-1]
    hosts.run(name, "ip", "address", "add", "169.254.169.254/32", "dev", "lo")
    hosts.begin(name, "python", "-c", METADATA)
    hosts.run(name, "bash", "-c", f"export RAY_HEAD_IP={ADDRESSES[HEAD]}; {hook}")

    time.sleep(7)  # it asks every five seconds
    assert name in cluster.alive()
    hosts.run(name, "touch", f"{HOME}/notice")
    # Nothing runs there, so that it leaves as soon as it is drained.
    wait_until(lambda: name not in cluster.alive(), 30, "the node is drained")


def test_no_secret_is_in_any_log_or_file_of_a_run(cluster: Cluster) -> None:
    token = cluster.lab.run(LAPTOP, "cat", f"{HOME}/.ray/auth_token").strip()
    assert len(token) >= 32
    places = ("/tmp/ray", f"{HOME}/runs", str(cluster.lab.folder))
    assert cluster.lab.run(HEAD, "grep", "-rlaFs", "tiny", *places, check=False)
    for name in cluster.lab.hosts:
        for secret in (token, SECRET):
            found = cluster.lab.run(name, "grep", "-rlaFs", secret, *places, check=False)
            assert found == "", f"{name}: {found}"


def test_down_leaves_no_ray(cluster: Cluster) -> None:
    cluster.lab.run(LAPTOP, "ray", "down", "-y", str(cluster.file))
    for name in set(cluster.lab.hosts) - {LAPTOP}:
        wait_until(
            lambda name=name: not cluster.lab.run(name, "pgrep", "-x", "raylet", check=False), 90, f"{name} ended"
        )
