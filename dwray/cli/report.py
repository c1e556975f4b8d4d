"""``dwray report``: the answer, the tables and the page of a run, or of several side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dwray.cli.complete import complete_run
from dwray.cli.options import EPILOG, JSON, RUNS_DIR, WANDB, print_json
from dwray.cli.publish import publish_to, take_destination
from dwray.errors import EXIT_FAILED
from dwray.paths import comparison
from dwray.report.formats import FORMATS
from dwray.results.kept import KeptRun, find_run

if TYPE_CHECKING:
    from rich.console import Console

    from dwray.paths import RunPaths
    from dwray.report.document import Document
    from dwray.results.records import Records
    from dwray.results.table import Table


_ENDINGS = {ending: name for name, form in FORMATS.items() for ending in form.endings}
"""Formats that the name of a file tells."""


@click.command(epilog=EPILOG)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_run)
@RUNS_DIR
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help="Make this alone: md, latex and json are printed; html and csv (a folder, one file a table) are files.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write it to this file (csv: folder), and the figures of md and latex beside it. Without --format its ending "
    f"says what it is: {', '.join(_ENDINGS)}; html if it has none.",
)
@click.option("--open", "open_page", is_flag=True, help="Show the report in a browser.")
@WANDB
@JSON
@click.option("-q", "--quiet", is_flag=True, help="Print only the report's file, and errors.")
@click.pass_context
def report(
    context: click.Context,
    runs: tuple[str, ...],
    runs_dir: Path,
    form: str | None,
    output: Path | None,
    open_page: bool,
    wandb: str | None,
    entity: str | None,
    project: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make the report of RUN again, from its Parquet files alone; of several runs, one that compares them.

    RUN is the folder of a run, SWEEP/RUN-ID, the name of a sweep (its latest run), or s3://BUCKET/PREFIX/SWEEP/RUN-ID.

    Of one run, every file of the report is written into its folder. Of several, each is compared with the first, and
    the page is written to comparison.html in the folder of all runs.
    """
    if as_json and (form or output):
        raise click.UsageError("--json prints tables; with --format or --output, --format json does that")
    to = take_destination(wandb, entity, project)
    if to and len(runs) > 1:
        raise click.UsageError("--wandb publishes one run, not several at a time: `dwray publish` does")
    if output and form is None:
        form = _format_of(output)
    if open_page and form not in (None, "html"):
        raise click.UsageError("--open shows the page: it needs --format html, or none")
    found = [find_run(run, runs_dir) for run in runs]
    if len(found) > 1:
        page = _compare(found, runs_dir, form=form, output=output, as_json=as_json, quiet=quiet)
    elif form:
        page = _one_format(found[0], form, output)
    else:
        page = _whole_report(found[0].paths, as_json=as_json, quiet=quiet)
    if open_page and page:
        click.launch(page.absolute().as_uri())
    if to and not publish_to(found[0].paths, to, storage=found[0].storage, quiet=quiet or as_json):
        context.exit(EXIT_FAILED)


def _format_of(output: Path) -> str:
    """The format that a file's name tells; html where it has no ending.

    Raises:
        click.UsageError: Its ending is of none.
    """
    form = _ENDINGS.get(output.suffix.lower() or ".html")
    if form is None:
        raise click.UsageError(f"-o {output}: a report ends in {', '.join(_ENDINGS)}; for another name give --format")
    return form


def _whole_report(paths: "RunPaths", *, as_json: bool, quiet: bool) -> Path:
    """Write every file of a run's report, and print its answer and tables."""
    from rich.console import Console

    from dwray.report.documents import write_report
    from dwray.results.answer import answer

    records, tables = write_report(paths)
    if as_json:
        print_json(
            {
                "run": str(paths.folder),
                "answer": answer(records),
                "tables": {table.name: table.data() for table in tables},
            }
        )
    elif quiet:
        click.echo(paths.html)
    else:
        print_report(Console(), paths, records, tables)
    return paths.html


def _one_format(run: KeptRun, form: str, output: Path | None) -> Path | None:
    """Print or write a run's report in one format; the page, if it is that."""
    from dwray.report.content import document_of
    from dwray.report.documents import read_run

    paths = run.paths
    place = output or _place(form, paths.html, paths.in_format(form))
    return _print_or_write(document_of(read_run(paths)), form, place)


def _compare(
    found: list[KeptRun], runs_dir: Path, *, form: str | None, output: Path | None, as_json: bool, quiet: bool
) -> Path | None:
    """Print or write the report of several runs; the page, if it is that."""
    from rich.console import Console

    from dwray.report.compared import document_of_several
    from dwray.report.documents import read_run
    from dwray.report.terminal import print_answer, print_tables
    from dwray.report.values import data_of

    document = document_of_several([read_run(run.paths) for run in found])
    if as_json:
        print_json(data_of(document))
        return None
    if form is None and not quiet:
        console = Console()
        print_answer(console, document.answer)
        print_tables(console, (table for each in document.sections if not each.part_of for table in each.tables))
        console.print()
    form = form or "html"
    place = output or _place(form, comparison(runs_dir, ".html"), comparison(runs_dir, f"-{form}"))
    return _print_or_write(document, form, place)


def _place(form: str, page: Path, folder: Path) -> Path | None:
    """Where a format goes unless the user says: the page to a file, several files to a folder; None: it is printed."""
    if form == "html":
        return page
    return folder if FORMATS[form].is_folder else None


def _print_or_write(document: "Document", form: str, file: Path | None) -> Path | None:
    """Write a document to a file or folder, and print which; without one print the document.

    Returns:
        The page, if that is what was written.
    """
    from dwray.report.formats import text_of, write

    if file is None:
        click.echo(text_of(document, form), nl=False)
        return None
    write(document, form, file)
    click.echo(file)
    return file if form == "html" else None


def print_report(console: "Console", paths: "RunPaths", records: "Records", tables: "list[Table]") -> None:
    """The answer, the tables, what failed, and where the page is."""
    from dwray.report.terminal import print_answer, print_failures, print_provenance, print_tables
    from dwray.results.answer import answer

    print_answer(console, answer(records))
    print_provenance(console, records)
    print_tables(console, tables)
    print_failures(console, records.failed)
    console.print(f"\nreport: {paths.html}", soft_wrap=True, highlight=False, markup=False)
