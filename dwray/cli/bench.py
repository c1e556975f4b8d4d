"""``dwray bench``: speed against the notebooks' own loop and against the roofline, without Ray."""

import sys
from typing import TYPE_CHECKING, Any

import click

from dwray.cli.options import CLASSES, EPILOG, JSON, SIZE, WIDTH, print_json
from dwray.errors import EXIT_NOT_EXCLUSIVE

if TYPE_CHECKING:
    from dwray.core.bench import Plan

BATCH_SIZES = (1, 4, 32, 256, 1024)
TRAINING_BATCH_SIZES = (64, 256)
CPU_BATCH_FLOPS = 1e12
"""On a CPU the default leaves out larger batches: about 10 s each on one core, and there are dozens."""
CPU_EPOCH_FLOPS = 1e11
"""And its training epochs have about as many images as this takes; on a GPU they are of GPU_EPOCH_IMAGES."""
GPU_EPOCH_IMAGES = 50_000


@click.command(epilog=EPILOG)
@click.option("--networks", default="ConvNet,DepthwiseConvNet", show_default=True, help="Comma-separated.")
@click.option("--batch-sizes", help="Of inference, comma-separated; by default 1,4,32,256,1024 (CPU: the light ones).")
@click.option("--training-batch-sizes", help="Comma-separated; by default 64,256 (CPU: the light ones).")
@click.option(
    "--modes",
    help="Ways to run inference (float32-eager, bfloat16-folded, ...) and to train (float32-channels_last-eager, "
    "...), comma-separated. By default all that this kind of device has.",
)
@click.option("--device", help="cpu, cuda or cuda:N; by default the GPU, if there is one.")
@WIDTH
@CLASSES
@SIZE
@click.option(
    "--images", type=click.IntRange(min=1), help="Images in a training epoch; by default 50000 (CPU: a few seconds)."
)
@click.option("--repeats", type=click.IntRange(min=1), help="Rounds; by default 5 (GPU), 3 (CPU).")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default as many as torch takes.")
@JSON
def bench(as_json: bool, **options: Any) -> None:
    """Measure training, inference and data path against the notebooks' own loop and against the device's roofline.

    On a CPU the full width takes a quarter of an hour, a small one (--width 0.125) minutes: most of them compiling. A
    run that shared its processor or GPU with others ends with exit code 4.
    """
    import torch
    from rich.console import Console

    from dwray.core.bench import measure, to_plain
    from dwray.report import bench as report
    from dwray.report.terminal import print_tables

    plan = _plan(options)
    if plan.threads:
        torch.set_num_threads(plan.threads)  # nothing is computed in this process, but the record tells its threads
    measured = measure(plan, listen=lambda line: click.echo(line, err=True) if sys.stderr.isatty() else None)
    if as_json:
        print_json(to_plain(measured))
    else:
        console = Console()
        console.print(report.headline(measured), soft_wrap=True, highlight=False, markup=False)
        print_tables(console, report.tables(measured))
    if line := report.disturbed(measured):
        click.echo(f"dwray: {line}", err=True)
        click.get_current_context().exit(EXIT_NOT_EXCLUSIVE)


def _plan(options: dict[str, Any]) -> "Plan":
    """The options as a plan; what cannot be is an error of one line."""
    from dwray.cli import parse
    from dwray.core.bench import CHANNELS, EXECUTION_NAMES, Plan, ways_of
    from dwray.core.complexity import complexity
    from dwray.core.modes import MODES
    from dwray.core.networks import NETWORKS

    networks = parse.listed(options["networks"])
    parse.known("--networks", "network", networks, NETWORKS)
    device = parse.device(options["device"])
    ways = ways_of(device) if options["modes"] is None else parse.listed(options["modes"])
    parse.known("--modes", "mode", ways, [*MODES, *EXECUTION_NAMES])
    on_gpu = device.type == "cuda"
    shape = (CHANNELS, options["size"], options["size"])
    macs = max(
        complexity(name, classes=options["classes"], width=options["width"], image_shape=shape).macs
        for name in networks
    )
    most = None if on_gpu else int(CPU_BATCH_FLOPS / (2 * macs))
    return Plan(
        device=device,
        networks=networks,
        classes=options["classes"],
        width=options["width"],
        size=options["size"],
        images=options["images"] or (GPU_EPOCH_IMAGES if on_gpu else int(CPU_EPOCH_FLOPS / (6 * macs))),
        training_batch_sizes=_batch_sizes(
            "--training-batch-sizes", options["training_batch_sizes"], TRAINING_BATCH_SIZES, most and most // 3, 2
        ),
        batch_sizes=_batch_sizes("--batch-sizes", options["batch_sizes"], BATCH_SIZES, most, 1),
        executions=tuple(way for way in ways if way in EXECUTION_NAMES),
        modes=tuple(way for way in ways if way in MODES),
        repeats=options["repeats"] or (5 if on_gpu else 3),
        threads=options["threads"],
    )


def _batch_sizes(
    option: str, given: str | None, default: tuple[int, ...], most: int | None, lowest: int
) -> tuple[int, ...]:
    """The batch sizes asked for, or the default ones up to a limit (and the smallest in any case)."""
    from dwray.cli import parse

    if given is not None:
        return parse.numbers(option, given, lowest)
    return tuple(size for size in default if most is None or size <= most) or default[:1]
