"""The command line: parse, call, print. Nothing heavy is imported before a command needs it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

import dwray
from dwray.cli.bench import bench
from dwray.cli.networks import networks
from dwray.cli.options import EPILOG, JSON, print_json
from dwray.cli.time import time_
from dwray.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NOT_EXCLUSIVE, EXIT_TRIALS_FAILED, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from dwray.paths import RunPaths
    from dwray.results.records import Records
    from dwray.results.table import Table
    from dwray.search.plan import StagePlan
    from dwray.spec import SweepSpec

F = TypeVar("F", bound=Callable[..., Any])


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_SWEEP = _options(
    click.argument("sweep", metavar="NAME|FILE"),
    click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change a setting (repeatable)."),
    click.option(
        "--seed",
        type=click.IntRange(min=0, max=2**31),
        help="Train with this seed alone.",
    ),
)
_RUNS_DIR = click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DWRAY_RUNS_DIR",
    default=Path("runs"),
    show_default=True,
    help="Folder of all runs.",
)


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(dwray.__version__, prog_name="dwray")
def cli() -> None:
    """Compare convolutional networks: search, train, time and report, on Ray Tune."""


@cli.command(epilog=EPILOG)
@_SWEEP
@_RUNS_DIR
@click.option("--address", help="Ray cluster to run on; by default RAY_ADDRESS, or this machine.")
@click.option("--dry-run", is_flag=True, help="Validate and print the plan; start nothing.")
@JSON
@click.option("-q", "--quiet", is_flag=True, help="Print only the run's folder, and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Let Ray and the trials speak too.")
@click.pass_context
def sweep(
    context: click.Context,
    sweep: str,
    overrides: tuple[str, ...],
    seed: int | None,
    runs_dir: Path,
    address: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Search, train, time and report: the sweep NAME (digits, cifar10, ...) or a sweep FILE."""
    spec = _resolve(sweep, overrides, seed)
    if dry_run:
        _print_plan(spec, as_json)
        return
    import yaml
    from rich.console import Console

    from dwray.core.environment import environment
    from dwray.core.precision import full_float32
    from dwray.paths import RunPaths
    from dwray.report.display import display
    from dwray.report.documents import write_report
    from dwray.report.terminal import print_failures
    from dwray.results.store import write_atomically, write_json
    from dwray.spec import to_plain
    from dwray.tune.sweep import run_sweep

    # A file of its own: sys.stdout is redirected while torchvision downloads in another thread.
    console = Console(file=sys.stderr if as_json else sys.stdout)
    paths = RunPaths.create(runs_dir, spec.name)
    if not quiet:
        console.print(f"run {paths.folder}", soft_wrap=True, highlight=False, markup=False)
    write_atomically(paths.sweep, yaml.safe_dump(to_plain(spec), sort_keys=False).encode())
    full_float32()  # as the trials compute, so that the record says what they did
    write_json(paths.environment, environment())
    try:
        with display(console, quiet=quiet) as listen:
            failed = run_sweep(spec, paths, listen, address=address, verbose=verbose)
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted; what was measured so far: dwray report {paths.folder}", err=True)
        context.exit(EXIT_INTERRUPTED)
    except UserError:
        paths.discard_unless_begun()
        raise
    records, tables = write_report(paths)
    if as_json:
        print_json(
            {
                "run": str(paths.folder),
                "tables": {table.name: table.data() for table in tables},
                "failed": [{key: row[key] for key in ("stage", "trial", "error")} for row in failed],
            }
        )
    elif quiet:
        click.echo(paths.folder)
        print_failures(Console(stderr=True), records.failed)
    else:
        _print_report(console, paths, records, tables)
    disturbed = records.disturbed_timings
    if disturbed:
        click.echo(
            f"dwray: {len(disturbed)} of the timings were not alone on their device: {disturbed[0]['disturbance']}; "
            "end what else runs there and sweep again (timings.parquet marks them in its column exclusive)",
            err=True,
        )
    if failed:
        context.exit(EXIT_TRIALS_FAILED)
    if disturbed:
        context.exit(EXIT_NOT_EXCLUSIVE)


@cli.command(epilog=EPILOG)
@_SWEEP
@JSON
def plan(sweep: str, overrides: tuple[str, ...], seed: int | None, as_json: bool) -> None:
    """Print the trials and epochs of each stage of a sweep; start nothing."""
    _print_plan(_resolve(sweep, overrides, seed), as_json)


@cli.command(epilog=EPILOG)
@click.argument("run")
@_RUNS_DIR
@click.option("--open", "open_page", is_flag=True, help="Show the report in a browser.")
@JSON
@click.option("-q", "--quiet", is_flag=True, help="Print only the report's file, and errors.")
def report(run: str, runs_dir: Path, open_page: bool, as_json: bool, quiet: bool) -> None:
    """Make the tables of RUN again, from its Parquet files alone.

    RUN is the folder of a run, SWEEP/RUN-ID, or the name of a sweep: its latest run.
    """
    from rich.console import Console

    from dwray.paths import RunPaths
    from dwray.report.documents import write_report

    paths = RunPaths.find(run, runs_dir)
    records, tables = write_report(paths)
    if as_json:
        print_json({"run": str(paths.folder), "tables": {table.name: table.data() for table in tables}})
    elif quiet:
        click.echo(paths.html)
    else:
        _print_report(Console(), paths, records, tables)
    if open_page:
        click.launch(paths.html.as_uri())


cli.add_command(time_)
cli.add_command(bench)
cli.add_command(networks)


def _print_report(console: "Console", paths: "RunPaths", records: "Records", tables: "list[Table]") -> None:
    """The tables, what failed, and where the page is."""
    from dwray.report.terminal import print_failures, print_provenance, print_tables

    print_provenance(console, records)
    print_tables(console, tables)
    print_failures(console, records.failed)
    console.print(f"\nreport: {paths.html}", soft_wrap=True, highlight=False, markup=False)


def _resolve(name: str, overrides: tuple[str, ...], seed: int | None) -> "SweepSpec":
    from dwray.sweepfile import resolve

    spec = resolve(name, overrides, seed=seed)
    from dwray.core.data import DATASETS
    from dwray.core.networks import NETWORKS

    spec.check_names(networks=NETWORKS, sources=DATASETS)
    return spec


def _print_plan(spec: "SweepSpec", as_json: bool) -> None:
    import dataclasses

    from dwray.search.plan import plan as make_plan

    stages = make_plan(spec)
    if as_json:
        print_json({"sweep": spec.name, "stages": [dataclasses.asdict(stage) for stage in stages]})
        return
    click.echo(f"{spec.name}: {', '.join(spec.networks)} on {spec.data.source}")
    for stage in stages:
        click.echo(f"  {stage.stage:<7} {_stage_text(stage)}")


def _stage_text(stage: "StagePlan") -> str:
    if stage.trials is None:
        return "passes over the axes until one improves nothing: no limit on the trials"
    most = "at most " if stage.stage == "search" else ""
    if stage.passes is not None:
        return f"{stage.trials} trials, {stage.passes} timed passes"
    return f"{most}{stage.trials} trials, {most}{stage.epochs} epochs"


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except UserError as error:
        click.echo(f"dwray: {error}", err=True)
        code = error.exit_code
    except OSError as error:  # a folder that cannot be written, a disk that is full: the error names the file
        click.echo(f"dwray: {error}", err=True)
        code = EXIT_FAILED
    sys.exit(code if isinstance(code, int) else 0)
