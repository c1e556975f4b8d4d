"""What the commands of the command line share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dwray.cli.complete import complete_setting, complete_sweep
from dwray.core.seeds import SEEDS

F = TypeVar("F", bound=Callable[..., Any])

EPILOG = """\b
Exit codes: 0 all well; 1 the command failed; 2 wrong usage or an invalid
sweep file; 3 finished, but some trials failed; 4 finished, but a timing did
not have its device to itself; 130 interrupted."""

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
CLASSES = click.option(
    "--classes", type=click.IntRange(min=1), default=100, show_default=True, help="Number of outputs."
)
SIZE = click.option(
    "--size", type=click.IntRange(min=8), default=32, show_default=True, help="Pixels a side of the image."
)
WIDTH = click.option(
    "--width",
    type=click.FloatRange(min=0, max=64, min_open=True),
    default=1.0,
    show_default=True,
    help="Width multiplier.",
)


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


SETTINGS = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=complete_setting,
    help="Change a setting (repeatable).",
)
SWEEP = _options(
    click.argument("sweep", metavar="NAME|FILE", shell_complete=complete_sweep),
    SETTINGS,
    click.option("--seed", type=click.IntRange(min=0, max=SEEDS - 1), help="Train with this seed alone."),
)
RUNS_DIR = click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DWRAY_RUNS_DIR",
    default=Path("runs"),
    show_default=True,
    help="Folder of all runs.",
)


class _WandbMode(click.Choice[str]):
    """The value of ``--wandb``, which takes the word behind it: perhaps a name that was meant for the command."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            command = f"{ctx.command_path} {value} --wandb" if ctx else f"{value} --wandb"
            self.fail(
                f"--wandb takes {', '.join(map(str, self.choices))}, or nothing, not {value!r}: {command}", param, ctx
            )
        return super().convert(value, param, ctx)


WANDB_WHERE = _options(
    click.option("--entity", help="Whose W&B project; by default WANDB_ENTITY, or the key's owner."),
    click.option("--project", help="W&B project; by default WANDB_PROJECT, or dwray."),
)
WANDB = _options(
    click.option(
        "--wandb",
        type=_WandbMode(["auto", "offline", "online"]),
        is_flag=False,
        flag_value="auto",
        help="Publish to W&B; without a value online if there is a key, else into folders to send later. The name "
        "of a run or a sweep goes before it.",
    ),
    WANDB_WHERE,
)
DRIVER = _options(
    click.option("--address", help="Ray cluster to run on; by default RAY_ADDRESS, or this machine."),
    JSON,
    click.option("-q", "--quiet", is_flag=True, help="Print only the run's folder, and errors."),
    click.option("-v", "--verbose", is_flag=True, help="Let Ray and the trials speak too."),
)
"""Of the commands that run a sweep."""


def print_json(value: Any) -> None:
    """Print a value as indented JSON on standard output."""
    click.echo(json.dumps(value, indent=2, allow_nan=False, default=str))
