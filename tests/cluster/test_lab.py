"""docs/onprem.yaml brought up on a lab of hosts: a sweep over SSH, closed doors, lost machines, and down again.

A single sweep on a single machine says what must come out.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
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
SECRET = "lab-secret-0123456789abcdef"
CREDENTIALS = f"[default]\naws_access_key_id = lab-key\naws_secret_access_key = {SECRET}\n"
DETECTION_SECONDS = 15

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(missing() is not None, reason=f"no lab of hosts: this machine {missing()}"),
]

SWEEP: dict[str, Any] = {
    **TINY,
    "data": {"source": "digits", "max_train_images": 600, "max_test_images": 60},
    "training": {"epochs": 12, "batch_size": 32, "initial_lr": 0.05},
    "search": {"epochs": 4, "axes": {"initial_lr": [0.01, 0.05]}},
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

    def exec(self, command: str, **options: Any) -> str:
        """A command on the head, over SSH."""
        return self.lab.run(LAPTOP, "ray", "exec", str(self.file), command, **options)

    def alive(self) -> set[str]:
        """The workers that the head takes for alive."""
        script = (
            "import logging, ray; ray.init('auto', logging_level=logging.ERROR); "
            "print('ALIVE', *(node['NodeManagerAddress'] for node in ray.nodes() if node['Alive']))"
        )
        said = self.lab.run(HEAD, "python", "-W", "ignore", "-c", script, RAY_AUTH_MODE="token")
        (line,) = [line for line in said.splitlines() if line.startswith("ALIVE")]
        return {name for name in WORKERS if ADDRESSES[name] in line.split()}

    def fetch(self, run: str) -> Path:
        """A run's records out of the object store, as somebody elsewhere gets them."""
        folder = self.lab.folder / "fetched"
        self.lab.run(LAPTOP, "dwray", "report", run, "--runs-dir", str(folder), "-q")
        return folder / "tiny" / run.rsplit("/", 1)[1]

    def submit(self, name: str) -> "Job":
        """Start the sweep as the README does."""
        log = self.lab.folder / f"{name}.log"
        command = f"ray job submit --submission-id {name} -- dwray sweep {self.sweep} --set name=tiny"
        with log.open("wb") as out:
            process = subprocess.Popen(
                self.lab.command(LAPTOP, "ray", "exec", str(self.file), command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        return Job(log, process)


@dataclass
class Job:
    """A sweep that was submitted."""

    log: Path
    process: "subprocess.Popen[bytes]"

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
        hosts.variables = {"RAY_UP_enable_autoscaler_v2": "0", "AWS_ENDPOINT_URL": STORE, "RAY_USAGE_STATS_ENABLED": "0"}
        hosts.serve(LAPTOP, "python", "-m", "moto.server", "-H", ADDRESSES[LAPTOP], "-p", "5000")
        sweep = hosts.folder / "tiny.yaml"
        sweep.write_text(yaml.safe_dump(SWEEP))
        alone = subprocess.Popen(
            hosts.command(LAPTOP, "dwray", "sweep", str(sweep), "--runs-dir", str(hosts.folder / "alone")),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        hosts.variables["RAY_AUTH_MODE"] = "token"
        hosts.run(LAPTOP, "ray", "get-auth-token", "--generate")
        hosts.run(LAPTOP, "mkdir", "-p", "/root/.aws")
        hosts.run(LAPTOP, "bash", "-c", f"echo '{CREDENTIALS}' > ~/.aws/credentials")
        file = hosts.folder / "onprem.yaml"
        file.write_text(yaml.safe_dump(onprem(hosts)))
        said, _ = alone.communicate(timeout=300)
        (expected,) = (hosts.folder / "alone" / "tiny").glob("*")
        assert (expected / "report.html").is_file(), said
        make = "from pyarrow.fs import S3FileSystem as S; S(allow_bucket_creation=True).create_dir('lab')"
        hosts.run(LAPTOP, "python", "-c", make)
        began = time.monotonic()
        print(hosts.run(LAPTOP, "ray", "up", "-y", "--no-config-cache", str(file), seconds=180))
        found = Cluster(hosts, file, sweep, expected)
        print(f"up in {time.monotonic() - began:.0f} s")
        wait_until(lambda: found.alive() == set(WORKERS), 120, "both workers joined")
        print(f"all nodes in {time.monotonic() - began:.0f} s")
        yield found
        print(found.lab.run(LAPTOP, "ray", "down", "-y", str(file)))


def test_a_sweep_on_three_hosts_gives_what_one_machine_gives(cluster: Cluster) -> None:
    run = cluster.fetch(cluster.submit("sweep").end())
    assert_same_results(run, cluster.expected)
    hosts = {row["host"] for row in Records.read(RunPaths(run)).trials if row["stage"] != "time"}
    assert hosts == set(WORKERS)
