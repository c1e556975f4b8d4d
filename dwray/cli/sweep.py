"""``dwray sweep`` and ``dwray resume``: run a sweep to its report."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dwray.cli.complete import complete_run
from dwray.cli.options import DRIVER, EPILOG, RUNS_DIR, SWEEP, WANDB, print_json
from dwray.cli.plan import print_plan, resolve_sweep
from dwray.cli.publish import published, take_destination
from dwray.cli.runs import new_run
from dwray.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NOT_EXCLUSIVE, EXIT_TRIALS_FAILED, RunError, UserError
from dwray.results.kept import KeptRun, find_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from dwray.results.records import Records
    from dwray.results.table import Table
    from dwray.spec import SweepSpec

REPORT_SECONDS = 60.0
"""So long a sweep that is done waits for its report to be copied to storage."""


@click.command(epilog=EPILOG)
@SWEEP
@RUNS_DIR
@click.option(
    "--storage",
    envvar="DWRAY_STORAGE",
    metavar="FOLDER|URI",
    help="Where the run is kept: a folder that all nodes share (then runs lie there), or s3://BUCKET/PREFIX, "
    "gs://BUCKET/PREFIX. By default --runs-dir.",
)
@click.option("--dry-run", is_flag=True, help="Validate and print the plan; start nothing.")
@WANDB
@DRIVER
@click.pass_context
def sweep(
    context: click.Context,
    sweep: str,
    overrides: tuple[str, ...],
    seed: int | None,
    runs_dir: Path,
    storage: str | None,
    dry_run: bool,
    wandb: str | None,
    entity: str | None,
    project: str | None,
    address: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Search, train, time and report: the sweep NAME (digits, cifar10, ...) or a sweep FILE."""
    spec = resolve_sweep(sweep, overrides, seed)
    if dry_run:
        print_plan(spec, as_json)
        return
    import yaml

    from dwray.core.environment import environment
    from dwray.core.precision import full_float32
    from dwray.results.store import write_json
    from dwray.spec import to_plain
    from dwray.storage import write_atomically

    to = take_destination(wandb, entity, project)
    run = new_run(spec.name, runs_dir, storage)
    write_atomically(run.paths.sweep, yaml.safe_dump(to_plain(spec), sort_keys=False).encode())
    full_float32()  # as the trials compute, so that the record says what they did
    write_json(run.paths.environment, environment())
    with published(run, to, quiet=quiet or as_json):
        _drive(context, run, spec, resumed=False, address=address, as_json=as_json, quiet=quiet, verbose=verbose)


@click.command(epilog=EPILOG)
@click.argument("run", shell_complete=complete_run)
@RUNS_DIR
@WANDB
@DRIVER
@click.pass_context
def resume(
    context: click.Context,
    run: str,
    runs_dir: Path,
    wandb: str | None,
    entity: str | None,
    project: str | None,
    address: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Go on with RUN where it stopped, was killed or failed: to the same results as if it had not.

    What ended is not run again; a training goes on from its last saved state. RUN is the folder of a run, SWEEP/RUN-ID,
    the name of a sweep (its latest run), or s3://BUCKET/PREFIX/SWEEP/RUN-ID.
    """
    from dwray.core.precision import full_float32
    from dwray.sweepfile import resolve

    to = take_destination(wandb, entity, project)
    kept = find_run(run, runs_dir, resume=True)
    if not kept.paths.sweep.is_file():
        raise RunError(f"{kept.paths.sweep}: there is no such file, and without it nothing says what to run")
    spec = resolve(str(kept.paths.sweep), ())
    full_float32()
    with published(kept, to, quiet=quiet or as_json):
        _drive(context, kept, spec, resumed=True, address=address, as_json=as_json, quiet=quiet, verbose=verbose)


def _drive(
    context: click.Context,
    run: KeptRun,
    spec: "SweepSpec",
    *,
    resumed: bool,
    address: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run what is left of a sweep, and print what came of it."""
    from rich.console import Console

    from dwray.report.display import display
    from dwray.report.documents import write_report
    from dwray.report.terminal import disturbed_line
    from dwray.results.answer import answer
    from dwray.tune.client import LostDriverError
    from dwray.tune.sweep import run_sweep

    # A file of its own: sys.stdout is redirected while torchvision downloads in another thread.
    console = Console(file=sys.stderr if as_json else sys.stdout, quiet=quiet)
    paths = run.paths
    resume_it = shlex.join(["dwray", "resume", run.name, *(["--address", address] if address else [])])
    report_it = shlex.join(["dwray", "report", str(paths.folder)])
    console.print(f"run {paths.folder}", soft_wrap=True, highlight=False, markup=False)
    if run.storage:
        console.print(f"any machine can go on with it: {resume_it}", soft_wrap=True, highlight=False, markup=False)
    try:
        with display(console, quiet=quiet) as listen:
            failed = run_sweep(
                spec, paths, listen, address=address, verbose=verbose, storage=run.storage, resume=resumed
            )
    except KeyboardInterrupt:
        click.echo(
            f"\ninterrupted; to go on: {resume_it}; what was measured so far: {report_it}",
            err=True,
        )
        context.exit(EXIT_INTERRUPTED)
    except UserError as error:
        # What became of a driver that was lost is not known here.
        if not resumed and not isinstance(error, LostDriverError) and run.discard_unless_begun():
            console.print("that run was removed: none of its trials began", highlight=False)
            raise
        _tell(error, resume_it)
        context.exit(error.exit_code)
    except OSError as error:
        _tell(error, resume_it)
        context.exit(EXIT_FAILED)
    records, tables = write_report(paths)
    if as_json:
        print_json(
            {
                "run": str(paths.folder),
                "answer": answer(records),
                "tables": {table.name: table.data() for table in tables},
                "failed": [{key: row[key] for key in ("stage", "trial", "error")} for row in failed],
            }
        )
    elif quiet:
        from dwray.report.terminal import print_failures

        click.echo(paths.folder)
        print_failures(Console(stderr=True), records.failed)
    else:
        print_end(console, run, records, tables, resume_it)
    keep_report(run)
    disturbed = records.disturbed_timings
    if disturbed:
        click.echo(f"dwray: {disturbed_line(disturbed)}", err=True)
    if failed:
        context.exit(EXIT_TRIALS_FAILED)
    if disturbed:
        context.exit(EXIT_NOT_EXCLUSIVE)


def print_end(console: "Console", run: KeptRun, records: "Records", tables: "Sequence[Table]", resume_it: str) -> None:
    """What a sweep comes to: its tables, its answer, what failed and what to do, and where everything lies."""
    from dwray.report.terminal import (
        print_answer,
        print_diverged,
        print_failures,
        print_places,
        print_provenance,
        print_tables,
    )
    from dwray.results.answer import answer

    paths = run.paths
    print_provenance(console, records)
    print_tables(console, tables)
    print_answer(console, answer(records))
    print_failures(console, records.failed)
    if records.failed:
        # A search has gone on without a trial that failed: its score is part of what was found.
        again = sum(row["stage"] != "search" for row in records.failed)
        hint = (
            f"once that is mended, {again} of them can be tried again: {resume_it}"
            if again
            else "a search goes on without its failed trials; to try them, sweep again"
        )
        console.print(hint, soft_wrap=True, highlight=False, markup=False)
    print_diverged(console, records.diverged)
    print_places(
        console,
        {
            "report": str(paths.html),
            "as text": f"{paths.markdown.name} and {paths.latex.name} beside it",
            "records": f"{paths.folder} (trials, epochs, timings, tables: Parquet)",
            "kept in": str(run.storage) if run.storage else None,
            "W&B": None if paths.wandb.is_file() else f"not published; {shlex.join(['dwray', 'publish', run.name])}",
        },
    )


def _tell(error: Exception, resume_it: str) -> None:
    """What ended a run that has begun, in a line, and how to go on."""
    click.echo(f"dwray: {error}; to go on once that is mended: {resume_it}", err=True)


def keep_report(run: KeptRun) -> None:
    """Copy the report to where the run is kept; that it could not be is no failure of the sweep."""
    if not run.storage:
        return
    from dwray.report.formats import FORMATS
    from dwray.results.mirror import Mirror

    paths = run.paths
    texts = [paths.report(form.endings[0]) for form in FORMATS.values() if form.in_run]
    folders = paths.table("").parent, paths.figure("").parent
    made = [*texts, *(path for folder in folders for path in folder.glob("*"))]
    try:
        with Mirror(paths, run.storage, last_seconds=REPORT_SECONDS) as mirror:
            for path in made:
                mirror.put(path)
    except RunError as error:
        click.echo(f"dwray: the report is not kept with the run: {error}", err=True)
