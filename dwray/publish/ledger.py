"""What W&B has of a run, as far as is known here: ``wandb.json`` in the run's folder, written whole at each change."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dwray.errors import RunError, one_line, parse_json
from dwray.results.store import write_json

OFFLINE, TOLD, SENT, FAILED = "offline", "told", "sent", "failed"
"""Told: the server took no offence, and was not yet asked what it has; only then it is sent."""
SYNCED = ".synced"
"""Ends the name of the mark that ``wandb sync`` leaves beside the file of a run that has arrived."""


@dataclass
class Entry:
    """One W&B run."""

    name: str
    job_type: str
    state: str
    """offline, told, sent or failed."""
    digest: str
    """Of what was published."""
    rows: int
    """Of its history."""
    end: str
    """What W&B calls its state, once all is there."""
    why: str | None = None
    """Of a failure."""
    open: bool = False
    """It was told to go on, and its file offline has no end."""
    size: int = 0
    """Bytes of its offline file at the least, once it had ended; 0 if that is not known."""


@dataclass
class Ledger:
    """The runs by id, and the report."""

    entity: str = ""
    project: str = ""
    base_url: str = ""
    report_id: str = ""
    report_url: str = ""
    runs: dict[str, Entry] = field(default_factory=dict)
    cut_off: bool = False
    """A publisher was ended while it sent: the server may have rows of runs that have no entry."""

    @classmethod
    def read(cls, path: Path) -> "Ledger":
        """What the file says; an empty ledger if there is none.

        Raises:
            RunError: It cannot be read.
        """
        if not path.is_file():
            return cls()
        try:
            found = parse_json(path.read_text())
            runs = {key: Entry(**entry) for key, entry in found.pop("runs").items()}
            return cls(**found, runs=runs)
        except OSError as error:
            raise RunError(f"{path}: cannot be read ({one_line(error)}); mend its rights") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{path}: cannot be read as what W&B has of the run; delete it, and publish again"
            ) from error

    def write(self, path: Path) -> None:
        """Replace the file."""
        write_json(path, asdict(self))

    def moved(self, entity: str, project: str, base_url: str) -> None:
        """Publish to this project; of another project's runs nothing is known here."""
        if (entity, project, base_url) != (self.entity, self.project, self.base_url):
            kept = {key: entry for key, entry in self.runs.items() if entry.state == OFFLINE}
            self.entity, self.project, self.base_url = entity, project, base_url
            self.report_id, self.report_url, self.cut_off, self.runs = "", "", False, kept

    def state_of(self, run_id: str, folder: Path) -> tuple[str, str | None]:
        """Where a run is, and why not: an offline one may have been sent by ``wandb sync`` since.

        Args:
            run_id: Of the W&B run.
            folder: Where the client's offline runs are.
        """
        entry = self.runs.get(run_id)
        if entry is None:
            return "not published", None
        if entry.state == OFFLINE:
            files = _offline_files(run_id, folder)
            if not files:
                return FAILED, "its offline folder is gone"
            if _synced(files[-1]):
                return SENT, None
            if files[-1].stat().st_size < entry.size:
                return FAILED, "its offline file is damaged, of which `wandb sync` sends a part; publish with a key"
        return entry.state, entry.why

    def is_gone(self, run_id: str, folder: Path) -> bool:
        """Whether an offline run has to be written again: not one that is damaged, a part of which may have been sent.

        Args:
            run_id: Of the W&B run.
            folder: Where the client's offline runs are.
        """
        return not _offline_files(run_id, folder)

    def may_be_written(self, run_id: str, folder: Path) -> bool:
        """Whether a run may be written offline: ``wandb sync`` repeats the rows that a server already has.

        Args:
            run_id: Of the W&B run.
            folder: Where the client's offline runs are.
        """
        entry = self.runs.get(run_id)
        told = self.cut_off or (entry is not None and entry.state != OFFLINE)
        return not (self.project and told) and not any(map(_synced, _offline_files(run_id, folder)))

    def count(self) -> Counter[str]:
        """How many runs there are in each state."""
        return Counter(entry.state for entry in self.runs.values())


def _offline_files(run_id: str, folder: Path) -> list[Path]:
    return sorted(folder.glob(f"wandb/offline-run-*-{run_id}/run-{run_id}.wandb"))


def offline_size(run_id: str, folder: Path) -> int:
    """Bytes of a run's offline file; 0 without one.

    Args:
        run_id: Of the W&B run.
        folder: Where the client's offline runs are.
    """
    return sum(file.stat().st_size for file in _offline_files(run_id, folder)[-1:])


def _synced(file: Path) -> bool:
    return file.with_name(file.name + SYNCED).exists()
