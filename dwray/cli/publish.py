"""``dwray publish`` and ``dwray status``: runs to W&B, and what is there of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dwray.cli.options import EPILOG, JSON, RUNS_DIR, WANDB_WHERE, print_json
from dwray.cli.runs import find_run
from dwray.errors import EXIT_FAILED, EXIT_NOT_EXCLUSIVE, EXIT_TRIALS_FAILED, UserError

if TYPE_CHECKING:
    from dwray.cli.runs import KeptRun
    from dwray.paths import RunPaths
    from dwray.publish.process import Destination, Outcome
    from dwray.storage import Storage


@click.command(epilog=EPILOG)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@RUNS_DIR
@click.option(
    "--offline", is_flag=True, help="Write folders that `wandb sync` can send, whether there is a key or not."
)
@WANDB_WHERE
@click.pass_context
def publish(
    context: click.Context,
    runs: tuple[str, ...],
    runs_dir: Path,
    offline: bool,
    entity: str | None,
    project: str | None,
) -> None:
    """Publish each RUN to W&B, from its Parquet files: what is there already is not sent again.

    RUN is the folder of a run, SWEEP/RUN-ID, the name of a sweep (its latest run), or s3://BUCKET/PREFIX/SWEEP/RUN-ID.
    """
    to = take_destination("offline" if offline else "auto", entity, project)
    assert to
    published = []
    for run in runs:
        try:
            kept = find_run(run, runs_dir)
            published.append(publish_to(kept.paths, to, storage=kept.storage))
        except UserError as error:  # the others are published all the same
            click.echo(f"dwray: {error}", err=True)
            published.append(False)
    if not all(published):
        context.exit(EXIT_FAILED)


def take_destination(mode: str | None, entity: str | None, project: str | None) -> "Destination | None":
    """Where runs are published, if they are; the key is taken out of the environment, before Ray hands that on."""
    from dwray.publish.process import destination, take_key

    key = take_key()
    return destination(mode, entity=entity, project=project, key=key) if mode else None


@contextmanager
def published(run: "KeptRun", to: "Destination | None", *, quiet: bool) -> Iterator[None]:
    """Publish a run while it goes on, and what is left when it has ended; if it was stopped, that is left for later."""
    if to is None:
        yield
        return
    from dwray.publish.process import Publisher

    publisher = Publisher(run.paths, to, follow=True)
    try:
        try:
            yield
        except click.exceptions.Exit as end:
            if end.exit_code in (EXIT_TRIALS_FAILED, EXIT_NOT_EXCLUSIVE):
                _tell(publisher.finish(), run.paths, quiet=quiet)
            raise
        _tell(publisher.finish(), run.paths, quiet=quiet)
    finally:
        publisher.kill()
        _keep(run.paths, run.storage)


def publish_to(paths: "RunPaths", to: "Destination", *, storage: "Storage | None" = None, quiet: bool = False) -> bool:
    """Publish a run, and say what came of it in a line; whether all of it is there.

    Args:
        paths: The run.
        to: Where to.
        storage: What keeps the run, if that is not its folder.
        quiet: Speak of failures alone.
    """
    from dwray.publish.process import publish_run

    outcome = publish_run(paths, to)
    _tell(outcome, paths, quiet=quiet)
    _keep(paths, storage)
    return outcome.error is None


def _keep(paths: "RunPaths", storage: "Storage | None") -> None:
    """Keep what is known of W&B with the run: whoever publishes it next updates the same report."""
    if storage and paths.wandb.is_file():
        try:
            storage.write(paths.wandb.name, paths.wandb.read_bytes())
        except (UserError, OSError) as error:
            click.echo(f"dwray: {paths.wandb.name} could not be kept with the run: {error}", err=True)


def _tell(outcome: "Outcome", paths: "RunPaths", *, quiet: bool) -> None:
    if outcome.error or not quiet:
        click.echo(outcome.in_words(paths), err=outcome.error is not None)


@click.command(epilog=EPILOG)
@click.argument("run")
@RUNS_DIR
@JSON
def status(run: str, runs_dir: Path, as_json: bool) -> None:
    """What became of the trials of RUN, and what W&B has of each: offline, sent, or failed and why."""
    from rich.console import Console
    from rich.table import Table

    from dwray.publish.ledger import Ledger
    from dwray.publish.runs import REPORT, published_runs
    from dwray.results.records import Records

    paths = find_run(run, runs_dir).paths
    records, ledger = Records.read(paths), Ledger.read(paths.wandb)
    # What is published beside the trials: the tables.
    tables = {key: (REPORT, entry.name, None) for key, entry in ledger.runs.items() if entry.job_type == REPORT}
    runs = {each.id: (each.job_type, each.name, each.summary["status"]) for each in published_runs(records)}
    rows = []
    for key, (stage, name, became) in {**runs, **tables}.items():
        state, why = ledger.state_of(key, paths.folder)
        rows.append({"stage": stage, "run": name, "status": became, "wandb_id": key, "wandb": state, "why": why})
    if as_json:
        print_json({"run": str(paths.folder), "report": ledger.report_url, "runs": rows})
        return
    console = Console()
    table = Table("stage", "run", "status", "W&B", box=None, pad_edge=False)
    for row in rows:
        reached = f"{row['wandb']}: {row['why']}" if row["why"] else row["wandb"]
        table.add_row(row["stage"], row["run"], row["status"] or "", reached)
    console.print(table, markup=False)
    if ledger.report_url:
        console.print(f"report: {ledger.report_url}", soft_wrap=True, highlight=False, markup=False)
