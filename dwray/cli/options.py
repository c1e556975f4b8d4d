"""What the commands of the command line share."""

import json
from typing import Any

import click

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


def print_json(value: Any) -> None:
    """Print a value as indented JSON on standard output."""
    click.echo(json.dumps(value, indent=2, allow_nan=False, default=str))
