"""``dwray report``: the tables and the page of a run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dwray.cli.options import EPILOG, JSON, RUNS_DIR, WANDB, print_json
from dwray.cli.publish import publish_to, take_destination
from dwray.cli.runs import find_run
from dwray.errors import EXIT_FAILED

if TYPE_CHECKING:
    from rich.console import Console

    from dwray.paths import RunPaths
    from dwray.results.records import Records
    from dwray.results.table import Table


@click.command(epilog=EPILOG)
@click.argument("run")
@RUNS_DIR
@click.option("--open", "open_page", is_flag=True, help="Show the report in a browser.")
@WANDB
@JSON
@click.option("-q", "--quiet", is_flag=True, help="Print only the report's file, and errors.")
@click.pass_context
def report(
    context: click.Context,
    run: str,
    runs_dir: Path,
    open_page: bool,
    wandb: str | None,
    entity: str | None,
    project: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make the tables of RUN again, from its Parquet files alone.

    RUN is the folder of a run, SWEEP/RUN-ID, the name of a sweep (its latest run), or s3://BUCKET/PREFIX/SWEEP/RUN-ID.
    """
    from rich.console import Console

    from dwray.report.documents import write_report

    to = take_destination(wandb, entity, project)
    kept = find_run(run, runs_dir)
    paths = kept.paths
    records, tables = write_report(paths)
    if as_json:
        print_json({"run": str(paths.folder), "tables": {table.name: table.data() for table in tables}})
    elif quiet:
        click.echo(paths.html)
    else:
        print_report(Console(), paths, records, tables)
    if open_page:
        click.launch(paths.html.as_uri())
    if to and not publish_to(paths, to, storage=kept.storage, quiet=quiet or as_json):
        context.exit(EXIT_FAILED)


def print_report(console: "Console", paths: "RunPaths", records: "Records", tables: "list[Table]") -> None:
    """The tables, what failed, and where the page is."""
    from dwray.report.terminal import print_failures, print_provenance, print_tables

    print_provenance(console, records)
    print_tables(console, tables)
    print_failures(console, records.failed)
    console.print(f"\nreport: {paths.html}", soft_wrap=True, highlight=False, markup=False)
