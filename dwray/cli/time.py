"""``dwray time``: test time and crossover of untrained networks, without Ray."""

import sys
from typing import TYPE_CHECKING, Any

import click

from dwray.cli.complete import complete_network
from dwray.cli.options import CLASSES, EPILOG, JSON, SIZE, WIDTH, print_json
from dwray.errors import EXIT_NOT_EXCLUSIVE, SpecError

if TYPE_CHECKING:
    from dwray.core.testtime import Plan


@click.command(name="time", epilog=EPILOG)
@click.argument("names", metavar="[NETWORK]...", nargs=-1, shell_complete=complete_network)
@click.option("--batch-sizes", default="256,4", show_default=True, help="Batch sizes to time, comma-separated.")
@click.option("--device", help="cpu, cuda or cuda:N; by default the GPU, if there is one.")
@WIDTH
@CLASSES
@SIZE
@click.option(
    "--images",
    type=click.IntRange(min=1),
    help="Images in a pass; by default 10000 (GPU), 256 (CPU), or the largest batch size if that is more.",
)
@click.option("--passes", type=click.IntRange(min=1), default=10, show_default=True, help="Timed passes.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default as many as torch takes.")
@click.option(
    "--modes",
    help="PRECISION-VARIANT, comma-separated: float32, tf32 or bfloat16; eager, folded, compiled or "
    "cuda-graph. By default all that this kind of device has.",
)
@click.option(
    "--max-batch", type=click.IntRange(min=1), help="Search the crossover up to here; by default 1024 (GPU), 256 (CPU)."
)
@click.option("--no-crossover", is_flag=True, help="Time the batch sizes alone.")
@JSON
def time_(names: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Time untrained networks on random images, and find the batch size at which the faster one changes.

    A timing that shared its processor or GPU with others ends with exit code 4; two networks have a crossover.
    """
    from dwray.core.allocator import keep_freed_memory

    keep_freed_memory()
    import torch
    from rich.console import Console

    from dwray.core.testtime import measure
    from dwray.report import testtime
    from dwray.report.terminal import print_tables

    names = names or ("ConvNet", "DepthwiseConvNet")
    plan = _time_plan(names, options)
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    if plan.device.type == "cuda":
        torch.cuda.set_device(plan.device)  # events and the check for bfloat16 are of the current GPU
    measured = measure(
        names,
        plan,
        classes=options["classes"],
        width=options["width"],
        listen=lambda line: click.echo(line, err=True) if sys.stderr.isatty() else None,
    )
    if as_json:
        print_json(testtime.to_json(measured))
    else:
        console = Console()
        console.print(testtime.headline(measured), soft_wrap=True, highlight=False, markup=False)
        print_tables(console, testtime.tables(measured))
    if line := testtime.disturbed(measured):
        click.echo(f"dwray: {line}", err=True)
        click.get_current_context().exit(EXIT_NOT_EXCLUSIVE)


def _time_plan(names: tuple[str, ...], options: dict[str, Any]) -> "Plan":
    """The options of `dwray time` as a plan; what cannot be is an error of one line."""
    from dwray.cli import parse
    from dwray.core.modes import MODES, modes_of
    from dwray.core.networks import NETWORKS
    from dwray.core.testtime import Plan

    parse.known("NETWORK", "network", names, NETWORKS)
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"NETWORK: network {name!r} is given twice; name each once")
    device = parse.device(options["device"])
    modes = parse.listed(options["modes"]) if options["modes"] is not None else tuple(map(str, modes_of(device)))
    parse.known("--modes", "mode", modes, MODES)
    batch_sizes = parse.numbers("--batch-sizes", options["batch_sizes"])
    if options["images"] and options["images"] < max(batch_sizes):
        raise SpecError(
            f"--images: a pass over {options['images']} has no batch of {max(batch_sizes)} images; give more, or "
            "smaller --batch-sizes"
        )
    if options["max_batch"] and options["no_crossover"]:
        raise click.UsageError("--max-batch is of the crossover: give it without --no-crossover")
    on_gpu = device.type == "cuda"
    max_batch = options["max_batch"] or (1024 if on_gpu else 256)
    return Plan(
        device=device,
        size=options["size"],
        batch_sizes=batch_sizes,
        images=options["images"] or max(10_000 if on_gpu else 256, *batch_sizes),
        passes=options["passes"],
        modes=tuple(MODES[mode] for mode in modes),
        max_batch=None if options["no_crossover"] else max_batch,
    )
