"""Several hosts on one machine: namespaces with a network, processes and a disk of their own, that are reached by SSH.

They are what a cluster launcher needs: addresses, SSH, a root user. Power can be cut, and so can cables. Linux, root,
``iproute2``, ``openssh-server``, ``rsync``, ``procps`` and ``curl``. Nothing stays: the kernel takes a host apart when
its first process ends, and that ends with this process, whatever happens.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BOOT = Path(__file__).with_name("boot_host.sh")
TOOLS = ("ip", "unshare", "nsenter", "setpriv", "sshd", "ssh", "rsync", "pgrep", "curl")
PYTHON = Path(sys.executable).parent


def missing() -> str | None:
    """Why there can be no lab here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root"
    search = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    lacking = [tool for tool in TOOLS if not shutil.which(tool, path=search)]
    if lacking:
        return f"has no {', '.join(lacking)} (apt-get install iproute2 openssh-server rsync procps curl)"
    tried = subprocess.run(["unshare", "-n", "-m", "-p", "--fork", "true"], capture_output=True, text=True, check=False)
    return f"may make no namespaces ({tried.stderr.strip()})" if tried.returncode else None


def wait_until(happened: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for something, and say how many seconds that took.

    Raises:
        TimeoutError: It did not happen.
    """
    began = time.monotonic()
    while not happened():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.2)
    return time.monotonic() - began


@dataclass(frozen=True)
class Host:
    """One host, by the process that is its first."""

    name: str
    address: str
    boot: subprocess.Popen[bytes]
    init: int
    """Of its first process, as this machine counts."""

    @property
    def cable(self) -> str:
        """The end of its cable in the switch."""
        return f"to-{self.name}"


@dataclass
class Lab:
    """A switch, and hosts on it.

    Attributes:
        folder: Every host sees it, and so does this process.
        variables: The environment of commands that are run on a host.
        hosts: Those with power, by name.
    """

    folder: Path
    switch: subprocess.Popen[bytes]
    variables: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    _served: dict[str, list["subprocess.Popen[bytes]"]] = field(default_factory=dict)

    def address(self, name: str) -> str:
        """Of a host, with power or without."""
        lines = (self.folder / "hosts").read_text().splitlines()
        return next(line.split()[0] for line in lines if line.split()[1] == name)

    def start(self, name: str) -> Host:
        """Boot a host with a new disk; returns when it answers on SSH's port."""
        disk = self.folder.parent / f"disk-{name}"
        disk.mkdir(exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            boot = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *("unshare", "-n", "-m", "-p", "-u", "-i", "--fork", "--kill-child"),
                    *("bash", str(BOOT), name, str(self.folder), str(disk), str(PYTHON)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        children = Path(f"/proc/{boot.pid}/task/{boot.pid}/children")
        wait_until(lambda: bool(children.read_text().split()), 10, f"{name} has a first process")
        host = Host(name, self.address(name), boot, int(children.read_text().split()[0]))
        self._in_switch(
            "ip", "link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", str(host.init)
        )
        self._in_switch("ip", "link", "set", host.cable, "master", "lan", "up")
        network = ["nsenter", "-t", str(host.init), "-n"]
        for command in (
            f"ip address add {host.address}/24 dev eth0",
            "ip link set eth0 up",
            "ip link set lo up",
        ):
            subprocess.run([*network, *command.split()], check=True)
        listening = [*network, "ss", "-Hltn", "sport = :22"]
        wait_until(lambda: bool(subprocess.check_output(listening)), 20, f"{name} serves SSH")
        self.hosts[name] = host
        return host

    def power_off(self, name: str) -> None:
        """All of a host's processes end at once; its disk is lost, and nobody is told."""
        host = self.hosts.pop(name)
        self._in_switch("ip", "link", "delete", host.cable)
        for process in (host.boot, *self._served.pop(name, [])):
            process.kill()
            process.wait(10)

    def cut(self, name: str) -> None:
        """Pull a host's network cable."""
        self._in_switch("ip", "link", "set", self.hosts[name].cable, "down")

    def heal(self, name: str) -> None:
        """Plug it in again."""
        self._in_switch("ip", "link", "set", self.hosts[name].cable, "up")

    def command(self, name: str, *command: str, **variables: str) -> list[str]:
        """A command on a host, as this machine runs it."""
        namespaces = ["nsenter", "-t", str(self.hosts[name].init), "-m", "-p", "-n", "-u", "-i", "-r", "-w"]
        own = {"HOME": "/root", "LANG": "C.UTF-8", "TERM": "dumb", "PATH": f"{PYTHON}:/usr/sbin:/usr/bin:/sbin:/bin"}
        settings = [f"{key}={value}" for key, value in {**own, **self.variables, **variables}.items()]
        return [*namespaces, "env", "-i", *settings, *command]

    def run(self, name: str, *command: str, seconds: float = 120, check: bool = True, **variables: str) -> str:
        """Run a command on a host, and return all that it says.

        Raises:
            AssertionError: It failed; the message is what it said.
        """
        done = subprocess.run(
            self.command(name, *command, **variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{' '.join(command)} on {name}: {done.stdout}"
        return done.stdout

    def begin(self, name: str, *command: str, log: Path | None = None) -> "subprocess.Popen[bytes]":
        """Start a command on a host that may go on until the host ends."""
        with (log or self.folder / f"{name}.log").open("ab") as out:
            process = subprocess.Popen(self.command(name, *command), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._served.setdefault(name, []).append(process)
        return process

    def processes(self, name: str, command: str) -> list[str]:
        """The ids, as the host counts, of its processes whose command line matches a regular expression."""
        return self.run(name, "pgrep", "-f", command, check=False).split()

    def signal(self, name: str, signal: str, command: str) -> None:
        """Send a signal to those processes; there must be one at least."""
        self.run(name, "kill", f"-{signal}", *self.processes(name, command))

    def _in_switch(self, *command: str) -> None:
        subprocess.run(["nsenter", "-t", str(self.switch.pid), "-n", *command], check=True)


@contextmanager
def lab(folder: Path, addresses: Mapping[str, str]) -> Iterator[Lab]:
    """Hosts that are up.

    Args:
        folder: A scratch folder.
        addresses: Of each host, in one /24 network.
    """
    shared = folder / "shared"
    shared.mkdir()
    (shared / "hosts").write_text("".join(f"{address} {name}\n" for name, address in addresses.items()))
    for key in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(shared / key)], check=True)
    switch = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "-n", "sleep", "infinity"])
    hosts = Lab(shared, switch)
    try:
        own = Path("/proc/self/ns/net").readlink()
        theirs = Path(f"/proc/{switch.pid}/ns/net")
        wait_until(lambda: theirs.readlink() != own, 10, "the switch has its namespace")
        subprocess.run(
            ["nsenter", "-t", str(switch.pid), "-n", "ip", "link", "add", "lan", "up", "type", "bridge"], check=True
        )
        for name in addresses:
            hosts.start(name)
        yield hosts
    finally:
        for name in list(hosts.hosts):
            hosts.power_off(name)
        switch.kill()
        switch.wait(10)
