"""What may keep a sweep from running on this machine, found before it starts; each check says how to mend it.

No check stops another, whatever is broken; none writes anything that stays, starts a cluster or shows a key.
"""

import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from dwray.core.checks import FAILED, OK, WARNING, Check, data_state, gpu_check, torch_check
from dwray.errors import RunError, UserError, one_line
from dwray.spec import SweepSpec
from dwray.storage import Storage

TESTED_PYTHONS = ((3, 11), (3, 12))
ANSWER_SECONDS = 20.0
"""A store or a cluster that says nothing for so long is taken not to be there."""
STATES_KEPT = 4
"""Files of a training's size that it leaves: its last two states, the best one, and the trained winner."""
STATE_BYTES_PER_PARAMETER = 8
"""Weight and momentum, float32 both."""
RECORDS_BYTES = 200 * 2**20
"""For records, tables, figures and Ray's logs."""
WORKER_BYTES = 700 * 2**20
"""Memory of a process that trains small networks on a CPU; measured: about half a gigabyte."""
LEAST_SHARED_BYTES = 2**30
LEAST_OPEN_FILES = 4096
FULL_PERCENT = 95
"""Ray stops putting objects on a disk that is fuller."""
LOOK = "look at what that line names"
"""How to mend what says nothing of it itself."""


@dataclass(frozen=True)
class Subject:
    """What is to be checked beside the machine itself."""

    spec: SweepSpec | None = None
    runs_dir: Path = Path("runs")
    storage: str | None = None
    """A folder or URI in place of ``runs_dir``."""
    address: str | None = None
    """Of a Ray cluster."""
    wandb_key: str | None = None
    """As the environment has it."""
    online: bool = False
    """W&B's server is asked whether it knows the key."""


def diagnose(subject: Subject) -> Iterator[Check]:
    """Run every check; one that raises is a failed one."""
    for name, check in CHECKS.items():
        yield isolated(name, check, subject)


def isolated(name: str, check: Callable[[Subject], Check], subject: Subject) -> Check:
    """A check's result, or that it could not be made, in a line."""
    try:
        return check(subject)
    except UserError as error:  # most say how to mend it after what they found
        found, _, mend = one_line(error).partition("; ")
        return Check(name, FAILED, found, mend or LOOK)
    except (Exception, SystemExit) as error:  # what is broken raises whatever it likes
        return Check(name, FAILED, f"{type(error).__name__}: {one_line(error)}", LOOK)


def _python(_: Subject) -> Check:
    version, where = platform.python_version(), sys.executable
    found = f"{version} ({where})"
    if sys.version_info[:2] in TESTED_PYTHONS:
        return Check("Python", OK, found)
    tested = " and ".join(".".join(map(str, each)) for each in TESTED_PYTHONS)
    return Check(
        "Python", WARNING, found, f"dwray is tested with Python {tested}: make an environment with one of them"
    )


def _ray(subject: Subject) -> Check:
    mend = "pip install -e . in dwray's folder, or pip install --force-reinstall 'ray[tune]'"
    try:
        version = metadata.version("ray")
        import dwray.tune.cluster  # noqa: F401 - imports Ray, and whatever of it is broken raises
    except (Exception, SystemExit) as error:
        return Check("Ray", FAILED, f"cannot be imported ({one_line(error)})", mend)
    if not subject.address:
        return Check("Ray", OK, version)
    code = (
        "import sys; from dwray.tune.cluster import cluster, nodes\n"
        "with cluster(sys.argv[1], verbose=False): found = nodes()\n"
        "print(len(found), sum(n.get('CPU', 0) for n in found), sum(n.get('GPU', 0) for n in found))"
    )
    said = _asked(code, subject.address)
    if said.error:
        mend = "start it (ray up cluster.yaml, or ray start --head), and check the address and its firewall"
        return Check("Ray", FAILED, f"{version}; {subject.address} does not answer ({said.error})", mend)
    count, cpus, gpus = said.last_line.split()
    return Check("Ray", OK, f"{version}; {subject.address}: {count} nodes, {cpus} CPUs, {gpus} GPUs")


@dataclass(frozen=True)
class _Said:
    last_line: str
    error: str


def _asked(code: str, argument: str) -> _Said:
    """Run Python in a process of its own: what hangs or crashes there does no harm here."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, argument],
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return _Said("", f"nothing within {ANSWER_SECONDS:.0f} s")
    lines = [line.strip() for line in (done.stderr if done.returncode else done.stdout).splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {done.returncode}"
    return _Said("", last.rpartition("Error: ")[2]) if done.returncode else _Said(last, "")


def _existing(folder: Path) -> Path:
    """A folder, or what there is of the way to it."""
    folder = folder.absolute()
    return next(each for each in (folder, *folder.parents) if each.exists())


def _folder_kept_in(subject: Subject) -> Path | None:
    """The folder in which runs lie instead of ``runs_dir``; None if no storage is given, or a bucket."""
    return Path(subject.storage) if subject.storage and "://" not in subject.storage else None


def _writable(name: str, folder: Path, mend: str) -> Check:
    """Whether a folder can be written, or made."""
    there = _existing(folder)
    if not there.is_dir():
        return Check(name, FAILED, f"{there} is no folder", mend)
    try:
        Storage(there).check_writable()
    except RunError as error:
        return Check(name, FAILED, _without_advice(error), mend)
    made = "" if there == folder.absolute() else " (a sweep makes it)"
    return Check(name, OK, f"{folder.absolute()}: writable{made}")


def _without_advice(error: RunError | str) -> str:
    """What :meth:`Storage.check_writable` says, less its own advice: that of the check is nearer to what was given."""
    return str(error).partition("; check ")[0]


def _runs(subject: Subject) -> Check:
    if _folder_kept_in(subject):
        return Check("runs", OK, "they lie in the storage's folder")
    return _writable("runs", subject.runs_dir, "give a folder that you may write with --runs-dir (or DWRAY_RUNS_DIR)")


def _storage(subject: Subject) -> Check:
    if not subject.storage:
        return Check("storage", OK, "none but the runs' folder")
    if folder := _folder_kept_in(subject):
        return _writable("storage", folder, "give a folder that you may write with --storage (or DWRAY_STORAGE)")
    location = str(Storage(subject.storage))  # a location that holds a password raises, without a word of it
    said = _asked("import sys; from dwray.storage import Storage; Storage(sys.argv[1]).check_writable()", location)
    if said.error:
        mend = "check the bucket's name, the credentials (AWS_*, instance profile) and the network"
        return Check("storage", FAILED, _without_advice(said.error), mend)
    return Check("storage", OK, f"{location}: writable")


def _data(subject: Subject) -> Check:
    if subject.spec is None:
        return Check("data", OK, "no sweep was named: dwray doctor SWEEP looks for its images")
    from dwray.core.data import load

    source, state = subject.spec.data.source, data_state(subject.spec.data)
    if state.fetched_by_sweep:
        mend = "dwray data fetch, or the sweep itself; without a network --set data.mirror=URL or data.root=FOLDER"
        return Check("data", WARNING, f"{source}: {state.where}: {state.problem}", mend)
    if state.problem:
        return Check("data", FAILED, f"{source}: {state.where}: {state.problem}", "--set data.root=FOLDER")
    data = load(subject.spec.data)
    checked = ", checksums right" if source.startswith("cifar") else ""
    return Check("data", OK, f"{source}: {len(data.train):,} + {len(data.test):,} images ({state.where}{checked})")


def _wandb(subject: Subject) -> Check:
    from dwray.publish.destination import OFFLINE, destination, mode_of_environment

    to = destination("auto", entity=None, project=None, key=subject.wandb_key)
    if to is None:
        return Check("W&B", OK, "WANDB_MODE says disabled: --wandb publishes nothing")
    if mode_of_environment() == OFFLINE:
        return Check("W&B", OK, "WANDB_MODE says offline: --wandb writes folders, dwray publish sends them later")
    if not to.key:
        return Check(
            "W&B", WARNING, f"no key for {to.base_url}: --wandb writes folders", "set WANDB_API_KEY, or wandb login"
        )
    where = "environment" if subject.wandb_key else "netrc"
    if not subject.online:
        return Check("W&B", OK, f"a key for {to.base_url} is in the {where} (--online asks whether it is valid)")
    from dwray.publish.server import PublishError, ask_server

    try:
        owner = ask_server(to.base_url, to.key, to.entity)
    except PublishError as error:
        mend = "check the key (WANDB_API_KEY, or wandb login), WANDB_BASE_URL and the network; WANDB_MODE=offline "
        mend += "writes folders, dwray publish sends them later"
        return Check("W&B", FAILED, one_line(error).partition("; ")[0], mend)
    return Check("W&B", OK, f"{to.base_url} knows the key of {owner}")


def _disk(subject: Subject) -> Check:
    kept_in = _folder_kept_in(subject)
    there = _existing(kept_in or subject.runs_dir)
    free, needed = shutil.disk_usage(there).free, bytes_to_write(subject.spec)
    found = f"{_size(free)} free at {there}, and the sweep writes up to about {_size(needed)}"
    if subject.spec is None:
        found = f"{_size(free)} free at {there}"
    mend = f"free some, or give another disk with {'--storage' if kept_in else '--runs-dir'}"
    if free < needed:
        return Check("disk", FAILED, found, mend)
    return Check("disk", WARNING if free < 2 * needed else OK, found, mend if free < 2 * needed else "")


def bytes_to_write(spec: SweepSpec | None) -> int:
    """What a sweep leaves on the disk, about: the states of its trainings, and its records."""
    if spec is None:
        return RECORDS_BYTES
    from dwray.core.complexity import complexity
    from dwray.search.plan import training_protocols

    each = len(spec.seeds) * len(training_protocols(spec)) * STATES_KEPT * STATE_BYTES_PER_PARAMETER
    parameters = sum(
        complexity(spec.network_of(name), classes=100, width=spec.width_of(name)).parameters for name in spec.networks
    )
    return RECORDS_BYTES + each * parameters


def _temporary(_: Subject) -> Check:
    folder = tempfile.gettempdir()
    usage = shutil.disk_usage(folder)
    percent = 100 * (1 - usage.free / usage.total)
    found = f"{folder}: {percent:.0f}% full, {_size(usage.free)} free"
    if percent < FULL_PERCENT:
        return Check("temporary files", OK, found)
    return Check(
        "temporary files", WARNING, found, f"free some: Ray wants less than {FULL_PERCENT}%, or set RAY_TMPDIR"
    )


def _shared_memory(_: Subject) -> Check:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Check("shared memory", WARNING, "there is no /dev/shm", "Ray keeps the images in files then: slower")
    size = shutil.disk_usage(folder).total
    if size < LEAST_SHARED_BYTES:
        mend = "in a container, start it with --shm-size=2g; else Ray keeps the images in files"
        return Check("shared memory", WARNING, f"/dev/shm holds {_size(size)}", mend)
    return Check("shared memory", OK, f"/dev/shm holds {_size(size)}")


def _memory(subject: Subject) -> Check:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    workers = len(os.sched_getaffinity(0)) if subject.spec is None else _side_by_side(subject.spec)
    found = f"{_size(available)} available, {workers} trial{'s' if workers > 1 else ''} side by side"
    if available >= workers * WORKER_BYTES:
        return Check("memory", OK, found)
    mend = "raise resources.cpus_per_trial, so that fewer trials run at once, or end other programs"
    return Check("memory", WARNING, found, mend)


def _side_by_side(spec: SweepSpec) -> int:
    return max(1, int(len(os.sched_getaffinity(0)) // spec.resources.cpus_per_trial))


def _open_files(_: Subject) -> Check:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= LEAST_OPEN_FILES:
        return Check("open files", OK, "no limit" if soft == resource.RLIM_INFINITY else f"at most {soft:,}")
    return Check("open files", WARNING, f"at most {soft:,}", "ulimit -n 65536, in the same shell before the sweep")


def _size(count: float) -> str:
    """Bytes in words."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count:,.0f} bytes"


CHECKS: dict[str, Callable[[Subject], Check]] = {
    "Python": _python,
    "torch": lambda _: torch_check(),
    "GPU": lambda subject: gpu_check(subject.spec.resources.gpus_per_trial if subject.spec else None),
    "Ray": _ray,
    "runs": _runs,
    "storage": _storage,
    "data": _data,
    "W&B": _wandb,
    "disk": _disk,
    "temporary files": _temporary,
    "shared memory": _shared_memory,
    "memory": _memory,
    "open files": _open_files,
}
"""Every check by its name, in the order in which they are made."""
