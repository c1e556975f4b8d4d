"""The only file that names files: those of a run, and where sweep files are looked for."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dwray
from dwray.errors import RunError, one_line

STATES = "states"
"""The folder of a run's saved states, here and in storage."""
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
"""What the name of a sweep or a run matches: nothing that leads out of its folder."""


def sweep_folders() -> list[Path]:
    """Where a sweep is looked for by name: ./sweeps, an installed wheel's, a source tree's; those that exist."""
    return [folder for folder in (Path("sweeps"), *shipped_sweeps()) if folder.is_dir()]


def shipped_sweeps() -> list[Path]:
    """Where the sweeps that come with dwray may be: an installed wheel's, a source tree's."""
    package = Path(dwray.__file__).resolve().parent
    return [package / "sweeps", package.parent / "sweeps"]


def comparison(runs_dir: Path, suffix: str) -> Path:
    """Where a report of several runs is written unless the user says where."""
    return runs_dir / f"comparison{suffix}"


@dataclass(frozen=True)
class RunPaths:
    """The files of one run, ``<runs>/<sweep>/<run-id>/``."""

    folder: Path

    @classmethod
    def create(cls, runs_dir: Path, sweep: str) -> "RunPaths":
        """Make the folder of a new run; its id is the UTC time, with a number behind it if that is taken.

        Raises:
            RunError: The folder of all runs cannot be written.
        """
        try:
            (runs_dir / sweep).mkdir(parents=True, exist_ok=True)
            return cls(_new_folder((runs_dir / sweep).absolute()))
        except OSError as error:
            raise RunError(
                f"{runs_dir}: no run can be kept there ({one_line(error)}); mend its rights, or name another folder"
            ) from error

    @classmethod
    def find(cls, run: str, runs_dir: Path) -> "RunPaths":
        """The run that a user means: a run's folder, ``SWEEP/RUN-ID``, or a sweep's name for its latest run.

        Raises:
            RunError: There is none.
        """
        for folder in (Path(run), runs_dir / run):
            paths = cls(folder.absolute())
            if paths.trials.is_file():
                return paths
            # A run's id is its time, so the last by name is the latest.
            inner = [cls(each.absolute()) for each in sorted(folder.glob("*"))] if folder.is_dir() else []
            started = [each for each in inner if each.trials.is_file()]
            if started:
                return started[-1]
        raise RunError(
            f"{run}: neither the folder of a run (with {paths.trials.name}) nor a sweep in {runs_dir}; "
            "`dwray runs` lists them, --runs-dir says where they are"
        )

    def discard(self) -> None:
        """Remove the folder of a run that was refused before its first trial, and its sweep's if that is empty now."""
        shutil.rmtree(self.folder)
        if not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()

    @property
    def run_id(self) -> str:
        """Name of the run: unique within its sweep."""
        return self.folder.name

    @property
    def sweep(self) -> Path:
        """The sweep file as it was run, every default spelled out."""
        return self.folder / "sweep.yaml"

    @property
    def environment(self) -> Path:
        """What it ran on."""
        return self.folder / "environment.json"

    @property
    def states(self) -> Path:
        """What trainings go on from after a failure: a folder for each."""
        return self.folder / STATES

    @property
    def storage(self) -> Path:
        """Where the run is kept, if that is not this folder."""
        return self.folder / "storage.json"

    @property
    def trials(self) -> Path:
        """One row a trial."""
        return self.folder / "trials.parquet"

    @property
    def epochs(self) -> Path:
        """One row an epoch of a trial."""
        return self.folder / "epochs.parquet"

    @property
    def timings(self) -> Path:
        """One row a timed pass."""
        return self.folder / "timings.parquet"

    def table(self, name: str) -> Path:
        """One of the paper's tables."""
        return self.folder / "tables" / f"{name}.parquet"

    def figure(self, name: str, suffix: str = "svg") -> Path:
        """One of the report's figures; as svg, as pdf for LaTeX, or as png."""
        return self.figures / f"{name}.{suffix}"

    @property
    def figures(self) -> Path:
        """The folder of the report's figures."""
        return self.folder / "figures"

    def in_format(self, form: str) -> Path:
        """The folder of the report in a format that is several files, such as ``csv``."""
        return self.folder / form

    def weights(self, network: str, seed: int, erratum: str = "") -> Path:
        """A trained winner, as core.checkpoint writes it; ``erratum`` names the switch that was turned for it."""
        return self.folder / "checkpoints" / ("-".join(filter(None, (network, f"seed{seed}", erratum))) + ".pt")

    @property
    def wandb(self) -> Path:
        """What W&B has of the run."""
        return self.folder / "wandb.json"

    @property
    def wandb_folder(self) -> Path:
        """What the W&B client writes: offline runs, and its logs."""
        return self.folder / "wandb"

    @property
    def wandb_report(self) -> Path:
        """The specification of the W&B report."""
        return self.folder / "wandb-report.json"

    @property
    def markdown(self) -> Path:
        """The report as Markdown."""
        return self.report(".md")

    @property
    def html(self) -> Path:
        """The report as one self-contained page."""
        return self.report(".html")

    @property
    def latex(self) -> Path:
        """The report as LaTeX."""
        return self.report(".tex")

    def report(self, ending: str) -> Path:
        """The report in the format that an ending tells."""
        return self.folder / f"report{ending}"


def _new_folder(parent: Path) -> Path:
    """Make a folder that is named after the time."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder, number = parent / stamp, 1
    while True:
        try:
            folder.mkdir()
        except FileExistsError:  # another run began in the same second
            number += 1
            folder = parent / f"{stamp}-{number}"
        else:
            return folder
