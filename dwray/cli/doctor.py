"""``dwray doctor``: what may keep a sweep from running here, and how to mend it."""

from pathlib import Path

import click

from dwray.cli.complete import complete_sweep
from dwray.cli.options import EPILOG, JSON, RUNS_DIR, SETTINGS, print_json
from dwray.errors import EXIT_FAILED

STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command(epilog=EPILOG)
@click.argument("sweep", metavar="[NAME|FILE]", required=False, shell_complete=complete_sweep)
@SETTINGS
@RUNS_DIR
@click.option("--storage", envvar="DWRAY_STORAGE", metavar="FOLDER|URI", help="Where runs are kept: is it writable?")
@click.option("--address", envvar="RAY_ADDRESS", help="Ray cluster: does it answer? By default RAY_ADDRESS.")
@click.option("--online", is_flag=True, help="Ask W&B's server whether it knows the key; otherwise nothing is sent.")
@JSON
@click.pass_context
def doctor(
    context: click.Context,
    sweep: str | None,
    overrides: tuple[str, ...],
    runs_dir: Path,
    storage: str | None,
    address: str | None,
    online: bool,
    as_json: bool,
) -> None:
    """Check Python, torch, GPU, Ray, storage, data, W&B and disk, and say how to mend what is not well.

    With a sweep its images are looked for, too. Nothing is downloaded or started. Exit code 1 if a check failed;
    a warning is no failure.
    """
    if overrides and not sweep:
        raise click.UsageError("--set changes a sweep: name one, such as `dwray doctor digits --set data.root=FOLDER`")
    import dataclasses

    from dwray.core.checks import FAILED
    from dwray.doctor import Subject, diagnose
    from dwray.publish.destination import take_key
    from dwray.sweepfile import resolve

    spec = resolve(sweep, overrides) if sweep else None
    subject = Subject(spec, runs_dir, storage, address if address != "local" else None, take_key(), online)
    checks = []
    for check in diagnose(subject):
        checks.append(check)
        if not as_json:
            click.echo(f"{click.style(f'{check.status:<7}', STYLES[check.status])} {check.name}: {check.found}")
            if check.mend:
                click.echo(f"{'':<7} to mend it: {check.mend}")
    if as_json:
        print_json({"checks": [dataclasses.asdict(check) for check in checks]})
    if any(check.status == FAILED for check in checks):
        context.exit(EXIT_FAILED)
