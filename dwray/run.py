"""A run's records for programs and notebooks: the files, the report's tables and its answer, typed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dwray.errors import RunError, near, one_line, parse_json
from dwray.paths import RunPaths
from dwray.results.answer import answer
from dwray.results.kept import find_run
from dwray.results.one_device import devices
from dwray.results.records import Records, RunTables
from dwray.results.store import COPY_AGAIN
from dwray.results.tables import make_tables

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]  # typed by pandas-stubs, where that is installed

    from dwray.spec import SweepSpec


@dataclass(frozen=True)
class Run:
    """What one run measured, finished or not; :func:`load_run` makes it.

    The files are read once, so that all that is made of them agrees: load a run that goes on again to see more of it.
    Every column has its unit in its name (``train_seconds``, ``images_per_second``, ``test_accuracy_percent``) and its
    meaning in its field's metadata; what was not measured is null.

    Raises:
        RunError: Where a run is made of :class:`~dwray.paths.RunPaths` by hand, of the first of its members that needs
            a file which is missing, damaged or of another version; :func:`load_run` has read the three Parquet files.

    Source: ``dwray/results/schema.py`` describes every column; the report's tables are those of the paper's section 4.

    Example:
        >>> import dwray
        >>> run = dwray.load_run("digits")  # after `dwray sweep digits`
        >>> run.epochs.schema.field("train_seconds").type
        DataType(double)
        >>> run.epochs.schema.field("learning_rate").metadata
        {b'description': b'...'}
        >>> run.records.contenders
        ['ConvNet', 'DepthwiseConvNet']
    """

    paths: RunPaths
    """Its files."""

    @cached_property
    def _files(self) -> RunTables:
        return RunTables.read(self.paths)

    @property
    def trials(self) -> pa.Table:
        """One row for each trial: what it was of, its settings, its results, its device.

        Example:
            >>> import dwray
            >>> trials = dwray.load_run("digits").trials
            >>> {"train", "time"} <= set(trials["stage"].to_pylist())
            True
        """
        return self._files.trials

    @property
    def epochs(self) -> pa.Table:
        """One row for each epoch of a training: losses in nats, accuracies in percent, times in seconds.

        Example:
            >>> import dwray
            >>> epochs = dwray.load_run("digits").epochs
            >>> epochs.select(["contender", "epoch", "train_loss", "train_seconds"]).num_columns
            4
        """
        return self._files.epochs

    @property
    def timings(self) -> pa.Table:
        """One row for each timed pass at test time (paper, section 4.3), in seconds.

        Example:
            >>> import dwray
            >>> timings = dwray.load_run("digits").timings
            >>> all(seconds > 0 for seconds in timings["seconds"].to_pylist())
            True
        """
        return self._files.timings

    @property
    def identity(self) -> Mapping[str, str]:
        """Which run it is, and of which version of dwray: the metadata of its files.

        Example:
            >>> import dwray
            >>> identity = dwray.load_run("digits").identity
            >>> {"sweep", "run_id", "dwray_version", "schema_version"} <= set(identity)
            True
        """
        return self.records.identity

    @cached_property
    def records(self) -> Records:
        """The same rows as Python objects, with what the report asks of them.

        Example:
            >>> import dwray
            >>> records = dwray.load_run("digits").records
            >>> len(records.train_trials("ConvNet")) > 0
            True
        """
        return Records.of_tables(self._files)

    @cached_property
    def tables(self) -> Mapping[str, pa.Table]:
        """The report's tables by name, in its order: the paper's numbers beside the measured ones.

        They are made of the records when they are asked for, and equal the files that a report writes.

        Example:
            >>> import dwray
            >>> table = dwray.load_run("digits").tables["accuracy"]
            >>> table.column_names[:3]
            ['dataset', 'contender', 'quantity']
            >>> table.schema.metadata[b"title"]
            b'Table 2...'
        """
        metadata = {**self.identity, "measured_on": devices(self.records.trials)}
        return {table.name: table.to_arrow(metadata) for table in make_tables(self.records)}

    @cached_property
    def answer(self) -> tuple[str, ...]:
        """Which network wins at what, how sure that is, and on which machine: three sentences.

        Example:
            >>> import dwray
            >>> len(dwray.load_run("digits").answer)
            3
        """
        return tuple(answer(self.records))

    @cached_property
    def sweep(self) -> "SweepSpec":
        """The sweep file of the run, with every default spelled out.

        Raises:
            RunError: The run has none.
            SpecError: It is damaged, or of another version.

        Example:
            >>> import dwray
            >>> dwray.load_run("digits").sweep.data.source
            'digits'
        """
        from dwray.sweepfile import resolve

        if not self.paths.sweep.is_file():
            raise RunError(
                f"{self.paths.sweep}: there is no such file, which says what the run was to do; {COPY_AGAIN}"
            )
        return resolve(str(self.paths.sweep))

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """What the run was started on: versions, CPU, GPUs, commit.

        Raises:
            RunError: The run has no such file, or it is damaged.

        Example:
            >>> import dwray
            >>> dwray.load_run("digits").environment["cpu_cores"] > 0
            True
        """
        path = self.paths.environment
        try:
            found = parse_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunError(f"{path}: cannot be read ({one_line(error)}); {COPY_AGAIN}") from error
        except ValueError:  # it is no JSON, or no text
            found = None
        if not isinstance(found, dict):
            raise RunError(f"{path}: cannot be read as a JSON object; {COPY_AGAIN}")
        return found

    def table(self, name: str) -> pa.Table:
        """A table by its name.

        Args:
            name: ``trials``, ``epochs``, ``timings``, or one of :attr:`tables`.

        Raises:
            RunError: There is none of this name; the line names the one that was perhaps meant.

        Example:
            >>> import dwray
            >>> run = dwray.load_run("digits")
            >>> run.table("verdicts").equals(run.tables["verdicts"])
            True
            >>> run.table("epoch")
            Traceback (most recent call last):
            ...
            dwray.errors.RunError: no table is called 'epoch'; did you mean 'epochs'?
        """
        if name in ("trials", "epochs", "timings"):
            return getattr(self, name)
        if name not in self.tables:
            raise RunError(f"no table is called {name!r}{near(name, ('trials', 'epochs', 'timings', *self.tables))}")
        return self.tables[name]

    def to_pandas(self, name: str) -> "pd.DataFrame":
        """A table as a pandas data frame.

        Args:
            name: As for :meth:`table`.

        Raises:
            RunError: There is none of this name.
            ImportError: pandas is not installed.

        Example:
            >>> import dwray
            >>> epochs = dwray.load_run("digits").to_pandas("epochs")
            >>> epochs[epochs.stage == "train"].groupby("contender").train_seconds.median().index.tolist()
            ['ConvNet', 'DepthwiseConvNet']
        """
        if find_spec("pandas") is None:
            raise ImportError("to_pandas needs pandas: pip install pandas, or take the Arrow table from Run.table")
        frame: pd.DataFrame = self.table(name).to_pandas()
        return frame

    def report(self) -> Path:
        """Write the run's tables, figures and report into its folder, as ``dwray report`` does.

        Returns:
            The page, one HTML file that needs nothing beside it.

        Raises:
            RunError: A file of the run is missing or damaged.
            OSError: The folder cannot be written.

        Example:
            >>> import dwray
            >>> dwray.load_run("digits").report().name
            'report.html'
        """
        from dwray.report.documents import write_report

        write_report(self.paths)
        return self.paths.html


def load_run(run: str | os.PathLike[str], *, runs_dir: str | os.PathLike[str] | None = None) -> Run:
    """Load a run, finished or not: a run's files can be read at any moment.

    Args:
        run: A run's folder; ``SWEEP/RUN-ID`` or the name of a sweep (its latest run) in ``runs_dir``; or
            ``s3://BUCKET/PREFIX/SWEEP/RUN-ID`` (or ``gs://...``), from where the run is copied into ``runs_dir`` first.
        runs_dir: Folder of all runs; by default ``DWRAY_RUNS_DIR``, or ``runs``.

    Returns:
        The run, its three Parquet files read and checked.

    Raises:
        RunError: There is no such run, or a file of it is missing, damaged or of another version; one line says which,
            and how to mend it.

    Source: a run's files are Parquet; ``docs/architecture.md`` lists them, ``dwray/results/schema.py`` their columns.

    Example:
        >>> import dwray
        >>> run = dwray.load_run("digits")
        >>> run.trials.num_rows > 0
        True
        >>> dwray.load_run("digitz")
        Traceback (most recent call last):
        ...
        dwray.errors.RunError: digitz: neither the folder of a run ...
    """
    folder = Path(runs_dir or os.environ.get("DWRAY_RUNS_DIR") or "runs")
    loaded = Run(find_run(os.fspath(run), folder).paths)
    _ = loaded.records  # read now: an error is told here, and all that is made of the files is of one moment
    return loaded
