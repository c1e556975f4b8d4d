"""``dwray publish`` and ``dwray status``: runs to W&B, and what is there of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dwray.cli.complete import complete_run
from dwray.cli.options import EPILOG, RUNS_DIR, WANDB_WHERE
from dwray.errors import EXIT_FAILED, EXIT_NOT_EXCLUSIVE, EXIT_TRIALS_FAILED, UserError
from dwray.results.kept import find_run

if TYPE_CHECKING:
    from dwray.paths import RunPaths
    from dwray.publish.destination import Destination
    from dwray.publish.process import Outcome
    from dwray.results.kept import KeptRun
    from dwray.storage import Storage


@click.command(epilog=EPILOG)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
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
    if to is None:
        context.exit(EXIT_FAILED)
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
    """Where runs are published, if they are; the key is taken out of the environment, before Ray hands that on.

    Raises:
        click.UsageError: An option says where, and none that they are.
        UserError: They are to be online, and there is no key.
    """
    from dwray.publish.destination import destination, take_key

    if mode is None and (entity or project):
        raise click.UsageError("--entity and --project say where --wandb publishes to: give --wandb, too")
    key = take_key()
    if mode is None:
        return None
    to = destination(mode, entity=entity, project=project, key=key)
    if to is None:
        click.echo("W&B: WANDB_MODE=disabled: nothing is published; unset it, or ask for offline", err=True)
    return to


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
            if end.exit_code not in (EXIT_TRIALS_FAILED, EXIT_NOT_EXCLUSIVE):
                _tell(publisher.stop("the sweep did not end"), run.paths, quiet=quiet)
                raise
            _tell(publisher.finish(), run.paths, quiet=quiet)
            raise
        _tell(publisher.finish(), run.paths, quiet=quiet)
    except KeyboardInterrupt:
        _tell(publisher.stop("interrupted"), run.paths, quiet=quiet)
        raise
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
