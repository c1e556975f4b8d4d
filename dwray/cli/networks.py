"""``dwray networks``: parameters, multiply-accumulates and connections, layer by layer."""

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from dwray.cli.complete import complete_network
from dwray.cli.options import CLASSES, EPILOG, JSON, SIZE, WIDTH, print_json

if TYPE_CHECKING:
    from dwray.core.complexity import Complexity


@click.command(epilog=EPILOG)
@click.argument("names", metavar="[NETWORK]...", nargs=-1, shell_complete=complete_network)
@CLASSES
@SIZE
@WIDTH
@JSON
def networks(names: tuple[str, ...], classes: int, size: int, width: float, as_json: bool) -> None:
    """Print parameters, MACs and the paper's connection formula, layer by layer."""
    from dwray.cli import parse
    from dwray.core.complexity import complexity
    from dwray.core.networks import NETWORKS

    parse.known("NETWORK", "network", names, NETWORKS)
    costs = [complexity(name, classes=classes, width=width, image_shape=(3, size, size)) for name in names or NETWORKS]
    if as_json:
        print_json({cost.network: _complexity_json(cost) for cost in costs})
        return
    for cost in costs:
        _print_complexity(cost)


def _complexity_json(cost: "Complexity") -> dict[str, Any]:
    return {
        "classes": cost.classes,
        "width": cost.width,
        "image_shape": cost.image_shape,
        "parameters": cost.parameters,
        "macs": cost.macs,
        "connections": cost.connections,
        "layers": [dataclasses.asdict(layer) for layer in cost.layers],
    }


def _print_complexity(cost: "Complexity") -> None:
    import pyarrow as pa
    from rich.console import Console

    from dwray.report.terminal import print_table
    from dwray.results.table import Column, Table

    side = cost.image_shape[1]
    rows: list[dict[str, Any]] = [
        {
            "layer": layer.name,
            "kind": layer.kind,
            **{key: getattr(layer, key) for key in ("parameters", "macs")},
            "connections": layer.formula or None,
        }
        for layer in cost.layers
    ]
    rows.append(
        {
            "layer": "total",
            "kind": "",
            "parameters": cost.parameters,
            "macs": cost.macs,
            "connections": f"{cost.connections:,}",
        }
    )
    columns = (
        Column("layer", "layer", pa.string()),
        Column("kind", "kind", pa.string()),
        Column("parameters", "parameters", pa.int64(), ","),
        Column("macs", "MACs", pa.int64(), ","),
        Column("connections", "connections", pa.string()),
    )
    title = f"{cost.network}, {cost.classes} classes, {side}x{side} image, width {cost.width:g}"
    print_table(Console(), Table(cost.network, title, columns, tuple(rows)))
