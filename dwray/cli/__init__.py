"""The command line: parse, call, print. Nothing heavy is imported before a command needs it."""

import sys
from typing import NoReturn

import click

import dwray
from dwray.cli.bench import bench
from dwray.cli.completion import completion
from dwray.cli.data import data
from dwray.cli.doctor import doctor
from dwray.cli.listing import runs_
from dwray.cli.networks import networks
from dwray.cli.options import EPILOG
from dwray.cli.plan import plan
from dwray.cli.publish import publish
from dwray.cli.report import report
from dwray.cli.schema import schema
from dwray.cli.show import show
from dwray.cli.status import status
from dwray.cli.sweep import resume, sweep
from dwray.cli.time import time_
from dwray.errors import EXIT_FAILED, EXIT_INTERRUPTED, UserError, one_line


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(dwray.__version__, prog_name="dwray")
def cli() -> None:
    """Compare convolutional networks: search, train, time and report, on Ray Tune."""


cli.add_command(sweep)
cli.add_command(resume)
cli.add_command(plan)
cli.add_command(doctor)
cli.add_command(data)
cli.add_command(report)
cli.add_command(publish)
cli.add_command(status)
cli.add_command(runs_)
cli.add_command(show)
cli.add_command(time_)
cli.add_command(bench)
cli.add_command(networks)
cli.add_command(schema)
cli.add_command(completion)


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    try:
        code = cli.main(prog_name="dwray", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:  # `dwray` alone
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        click.echo(f"dwray: {_one_line(error)}", err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except UserError as error:
        click.echo(f"dwray: {error}", err=True)
        code = error.exit_code
    except OSError as error:  # a folder that cannot be written, a disk that is full: the error names the file
        click.echo(f"dwray: {UserError(one_line(error))}; check the path, its rights and the space", err=True)
        code = EXIT_FAILED
    sys.exit(code if isinstance(code, int) else 0)


def _one_line(error: click.ClickException) -> str:
    """What click has against the command's words, and the help that says how they are to be."""
    said = UserError(" ".join(error.format_message().split()).removesuffix("."))  # what may be chosen has a line each
    context = getattr(error, "ctx", None)
    return f"{said}; see `{context.command_path} --help`" if context else str(said)
