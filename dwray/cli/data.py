"""``dwray data``: the images of a sweep, before it runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dwray.cli.complete import complete_data
from dwray.cli.options import EPILOG, JSON, SETTINGS, print_json

if TYPE_CHECKING:
    from dwray.core.config import DataConfig


@click.group(epilog=EPILOG)
def data() -> None:
    """Get the images of a sweep before it runs."""


@data.command(epilog=EPILOG)
@click.argument("name", metavar="NAME|FILE|DATASET", shell_complete=complete_data)
@SETTINGS
@JSON
@click.option("-q", "--quiet", is_flag=True, help="Print only the folder of the images, and errors.")
def fetch(name: str, overrides: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Fetch, unpack and check the images of a sweep or of a dataset, exactly as a sweep does before its first trial.

    CIFAR goes into data.root (by default DWRAY_DATA, or ~/.cache/dwray) of this machine, unless it is there. A sweep
    reads its images where its driver runs: on a cluster that is the head. Other datasets are read and checked.
    """
    from dwray.core.checks import CIFAR, data_state
    from dwray.core.data import load

    config = _config_of(name, overrides)
    before = data_state(config)
    if before.fetched_by_sweep and not quiet:
        click.echo(f"{config.source}: {before.where}: {before.problem}; it is fetched", err=True)
    found = load(config)
    folder = Path(before.where) if Path(before.where).is_dir() else None
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder else None
    if as_json:
        print_json(
            {
                "source": config.source,
                "folder": folder,
                "bytes": size,
                "train_images": len(found.train),
                "test_images": len(found.test),
                "image_shape": found.train.pixels.shape[1:],
                "classes": len(found.classes),
            }
        )
    elif not quiet:
        line = f"{found.name}: {len(found.train):,} + {len(found.test):,} images"
        line += f", {(size or 0) / 1e6:,.1f} MB in {folder}" if folder else ""
        click.echo(line if config.source in CIFAR else f"{line}; there is nothing to fetch")
    elif folder:
        click.echo(folder)


def _config_of(name: str, overrides: tuple[str, ...]) -> "DataConfig":
    """The images of a sweep, or of a dataset where no sweep has its name.

    Raises:
        SpecError: There is neither, or a setting cannot be.
    """
    from dwray.core.data import DATASETS
    from dwray.core.networks import NETWORKS
    from dwray.errors import SpecError
    from dwray.sweepfile import find, resolve, resolve_source

    try:
        find(name)
    except SpecError:
        if name not in DATASETS:
            raise
        spec = resolve_source(name, overrides)
    else:
        spec = resolve(name, overrides)
    spec.check_names(networks=NETWORKS, sources=DATASETS)
    return spec.data
