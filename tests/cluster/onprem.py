"""docs/onprem.yaml on a lab of hosts: a head and two workers, a laptop that launches them and serves the storage."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lab import Lab, lab, wait_until
from tiny import TINY

from dwray.paths import RunPaths

TOP = Path(__file__).parents[2]
LAPTOP, HEAD, WORKERS = "laptop", "n1", ("n2", "n3")
ADDRESSES = {LAPTOP: "10.77.0.254", HEAD: "10.77.0.1", **{f"n{k}": f"10.77.0.{k}" for k in (2, 3)}}
STORE = f"http://{ADDRESSES[LAPTOP]}:5000"
STORE_PROCESS = "moto.server"
HOME = "/root"
SECRET = "lab-secret-0123456789abcdef"
CREDENTIALS = f"[default]\naws_access_key_id = lab-key\naws_secret_access_key = {SECRET}\n"

WATCH = """
import time, ray
ray.init("auto", log_to_driver=False)
while True:
    print("ALIVE", *(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]))
    time.sleep(0.3)
"""

SEARCH_EPOCHS, TRAIN_EPOCHS = 40, 80
"""Enough that a trial goes on, on a fast and idle machine too, until a fault has been seen and done."""
SWEEP: dict[str, Any] = {
    **TINY,
    "data": {"source": "digits", "max_train_images": 400, "max_test_images": 60},
    "training": {"epochs": TRAIN_EPOCHS, "batch_size": 32, "initial_lr": 0.05},
    "search": {"epochs": SEARCH_EPOCHS, "axes": {"initial_lr": [0.01, 0.05]}},
    "resources": {"gpus_per_trial": 0, "save_minutes": 0},
}


def onprem(hosts: Lab) -> dict[str, Any]:
    """The shipped file with the lab's addresses; Python is there already, and a package index is not."""
    text = (TOP / "docs" / "onprem.yaml").read_text()
    config = yaml.safe_load(text.replace("http://192.0.2.9:9000", STORE).replace("s3://CHANGE-my-bucket", "s3://lab"))
    config["provider"].update(head_ip=ADDRESSES[HEAD], worker_ips=[ADDRESSES[name] for name in WORKERS])
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.folder / "key")}
    return setup_in_the_lab(config)


def setup_in_the_lab(config: dict[str, Any]) -> dict[str, Any]:
    """A cluster file whose nodes install nothing."""
    needless = ("apt-get", "pip", "venv")
    config["setup_commands"] = [
        command for command in config["setup_commands"] if not any(word in command for word in needless)
    ] + ["echo 'export RAY_AUTH_MODE=token PYTHONPATH=$HOME/dwray' >> ~/.bashrc"]
    config["head_setup_commands"] = []
    config["file_mounts"]["~/dwray"] = str(TOP)
    return config


@dataclass
class Task:
    """A command on the head, as its laptop sees it."""

    log: Path
    process: subprocess.Popen[bytes]

    @property
    def text(self) -> str:
        """All that it said."""
        return self.log.read_text()

    def wait_until(self, said: str, seconds: float = 240) -> None:
        """Wait until it says something."""

        def heard() -> bool:
            assert said in self.text or self.process.poll() is None, self.text
            return said in self.text

        try:
            wait_until(heard, seconds, said)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.text}") from error

    @property
    def run(self) -> str:
        """Where its sweep is kept."""
        (folder,) = [line.split()[-1] for line in self.text.splitlines() if line.startswith("run /")]
        return f"s3://lab/runs/tiny/{Path(folder).name}"

    def end(self) -> str:
        """Wait for a job that ends well; where its sweep is kept."""
        self.process.wait(400)
        # A timing that was not alone makes the exit code 4: the lab's hosts share their processors.
        assert "succeeded" in self.text or "failed with exit code 4" in self.text, self.text
        assert "report.html" in self.text, self.text
        assert "Traceback" not in self.text, self.text
        return self.run


@dataclass
class Launched:
    """A cluster on the lab, as its laptop sees it."""

    lab: Lab
    file: Path
    sweep: Path
    watch: Path
    """What goes on in it, a line each time that somebody looks."""

    def fetch(self, run: str) -> RunPaths:
        """A run out of the object store, as somebody elsewhere gets it."""
        folder = self.lab.folder / "fetched"
        self.lab.run(LAPTOP, "dwray", "report", run, "--runs-dir", str(folder), "-q")
        return RunPaths(folder / "tiny" / run.rsplit("/", 1)[1])

    def shell(self, name: str, command: str) -> Task:
        """Begin a command in a shell on the head."""
        log = self.lab.folder / f"{name}.log"
        return Task(log, self.lab.begin(LAPTOP, "ray", "exec", str(self.file), command, log=log))

    def submit(self, name: str, command: str) -> Task:
        """Begin a job as the README does."""
        return self.shell(name, f"ray job submit --submission-id {name} -- {command}")


@dataclass
class Cluster(Launched):
    """The one of docs/onprem.yaml; ``watch`` says who is alive, by the head."""

    expected: Path
    """The run that a single machine made."""

    def up(self) -> None:
        """Bring it up; returns when both workers are there."""
        began = time.monotonic()
        print(self.lab.run(LAPTOP, "ray", "up", "-y", "--no-config-cache", str(self.file), seconds=180))
        print(f"up in {time.monotonic() - began:.0f} s")
        self.watch.write_text("")
        self.lab.begin(HEAD, "python", "-W", "ignore", "-u", "-c", WATCH, log=self.watch)
        wait_until(lambda: self.alive() == set(WORKERS), 240, "both workers joined")
        print(f"up, with both workers, in {time.monotonic() - began:.0f} s")

    def alive(self) -> set[str]:
        """The workers that the head takes for alive."""
        lines = [line for line in self.watch.read_text().splitlines()[:-1] if line.startswith("ALIVE")]
        found = lines[-1].split() if lines else []
        return {name for name in WORKERS if ADDRESSES[name] in found}

    def wait_for_loss(self, name: str, what: str) -> float:
        """Wait until the head knows that a worker is gone, and tell how many seconds that took."""
        seconds = wait_until(lambda: name not in self.alive(), 60, f"{name} is given up")
        print(f"{what}: noticed after {seconds:.1f} s")
        return seconds

    def trials_on(self, name: str) -> int:
        """How many processes of a host are trials that train."""
        return len(self.lab.processes(name, r"^ray::(TrainTrial|ResourceTrainable)\.train"))

    def wait_for_trials(self, name: str) -> None:
        """Wait until some train on a host."""
        wait_until(lambda: self.trials_on(name) > 0, 60, f"{name} trains")


@contextmanager
def brought_up(folder: Path) -> Iterator[Cluster]:
    """The hosts, the storage, the cluster, and what an undisturbed sweep on one machine gives.

    Args:
        folder: A scratch folder.
    """
    with lab(folder, ADDRESSES) as hosts:
        hosts.variables = {
            "RAY_UP_enable_autoscaler_v2": "0",
            "AWS_ENDPOINT_URL": STORE,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": str(TOP),
        }
        hosts.begin(LAPTOP, "python", "-m", STORE_PROCESS, "-H", ADDRESSES[LAPTOP], "-p", "5000")
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
        expected = hosts.folder / "alone" / "tiny"
        found = Cluster(hosts, file, sweep, hosts.folder / "watch.log", expected)
        found.up()
        alone.wait(400)
        (found.expected,) = expected.glob("*")
        assert RunPaths(found.expected).html.is_file(), log.read_text()
        yield found
