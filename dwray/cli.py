"""The command line: parse, call, print. Nothing heavy is imported before a command needs it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

import dwray
from dwray.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NOT_EXCLUSIVE, EXIT_TRIALS_FAILED, SpecError, UserError

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from dwray.core.complexity import Complexity
    from dwray.core.testtime import Plan
    from dwray.paths import RunPaths
    from dwray.results.records import Records
    from dwray.results.table import Table
    from dwray.search.plan import StagePlan
    from dwray.spec import SweepSpec

F = TypeVar("F", bound=Callable[..., Any])

EPILOG = """\b
Exit codes: 0 all well; 1 the command failed; 2 wrong usage or an invalid
sweep file; 3 finished, but some trials failed; 4 finished, but a timing did
not have its device to itself; 130 interrupted."""


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_SWEEP = _options(
    click.argument("sweep", metavar="NAME|FILE"),
    click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change a setting (repeatable)."),
    click.option(
        "--seed",
        type=click.IntRange(min=0, max=2**31),
        help="Train with this seed alone.",
    ),
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_WIDTH = click.FloatRange(min=0, max=64, min_open=True)
_RUNS_DIR = click.option(
    "--runs-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="DWRAY_RUNS_DIR",
    default=Path("runs"),
    show_default=True,
    help="Folder of all runs.",
)


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(dwray.__version__, prog_name="dwray")
def cli() -> None:
    """Compare convolutional networks: search, train, time and report, on Ray Tune."""


@cli.command(epilog=EPILOG)
@_SWEEP
@_RUNS_DIR
@click.option("--address", help="Ray cluster to run on; by default RAY_ADDRESS, or this machine.")
@click.option("--dry-run", is_flag=True, help="Validate and print the plan; start nothing.")
@_JSON
@click.option("-q", "--quiet", is_flag=True, help="Print only the run's folder, and errors.")
@click.option("-v", "--verbose", is_flag=True, help="Let Ray and the trials speak too.")
@click.pass_context
def sweep(
    context: click.Context,
    sweep: str,
    overrides: tuple[str, ...],
    seed: int | None,
    runs_dir: Path,
    address: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Search, train, time and report: the sweep NAME (digits, cifar10, ...) or a sweep FILE."""
    spec = _resolve(sweep, overrides, seed)
    if dry_run:
        _print_plan(spec, as_json)
        return
    import yaml
    from rich.console import Console

    from dwray.core.environment import environment
    from dwray.paths import RunPaths
    from dwray.report.display import display
    from dwray.report.documents import write_report
    from dwray.report.terminal import print_failures
    from dwray.results.store import write_atomically, write_json
    from dwray.spec import to_plain
    from dwray.tune.sweep import run_sweep

    # A file of its own: sys.stdout is redirected while torchvision downloads in another thread.
    console = Console(file=sys.stderr if as_json else sys.stdout)
    paths = RunPaths.create(runs_dir, spec.name)
    if not quiet:
        console.print(f"run {paths.folder}", soft_wrap=True, highlight=False, markup=False)
    write_atomically(paths.sweep, yaml.safe_dump(to_plain(spec), sort_keys=False).encode())
    write_json(paths.environment, environment())
    try:
        with display(console, quiet=quiet) as listen:
            failed = run_sweep(spec, paths, listen, address=address, verbose=verbose)
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted; what was measured so far: dwray report {paths.folder}", err=True)
        context.exit(EXIT_INTERRUPTED)
    except UserError:
        paths.discard_unless_begun()
        raise
    records, tables = write_report(paths)
    if as_json:
        _print_json(
            {
                "run": str(paths.folder),
                "tables": {table.name: list(table.rows) for table in tables},
                "failed": [{key: row[key] for key in ("stage", "trial", "error")} for row in failed],
            }
        )
    elif quiet:
        click.echo(paths.folder)
        print_failures(Console(stderr=True), records.failed)
    else:
        _print_report(console, paths, records, tables)
    disturbed = records.disturbed_timings
    if disturbed:
        click.echo(
            f"dwray: {len(disturbed)} of the timings were not alone on their device: {disturbed[0]['disturbance']}; "
            "end what else runs there and sweep again (timings.parquet marks them in its column exclusive)",
            err=True,
        )
    if failed:
        context.exit(EXIT_TRIALS_FAILED)
    if disturbed:
        context.exit(EXIT_NOT_EXCLUSIVE)


@cli.command(epilog=EPILOG)
@_SWEEP
@_JSON
def plan(sweep: str, overrides: tuple[str, ...], seed: int | None, as_json: bool) -> None:
    """Print the trials and epochs of each stage of a sweep; start nothing."""
    _print_plan(_resolve(sweep, overrides, seed), as_json)


@cli.command(epilog=EPILOG)
@click.argument("run")
@_RUNS_DIR
@click.option("--open", "open_page", is_flag=True, help="Show the report in a browser.")
@_JSON
@click.option("-q", "--quiet", is_flag=True, help="Print only the report's file, and errors.")
def report(run: str, runs_dir: Path, open_page: bool, as_json: bool, quiet: bool) -> None:
    """Make the tables of RUN again, from its Parquet files alone.

    RUN is the folder of a run, SWEEP/RUN-ID, or the name of a sweep: its latest run.
    """
    from rich.console import Console

    from dwray.paths import RunPaths
    from dwray.report.documents import write_report

    paths = RunPaths.find(run, runs_dir)
    records, tables = write_report(paths)
    if as_json:
        _print_json({"run": str(paths.folder), "tables": {table.name: list(table.rows) for table in tables}})
    elif quiet:
        click.echo(paths.html)
    else:
        _print_report(Console(), paths, records, tables)
    if open_page:
        click.launch(paths.html.as_uri())


@cli.command(epilog=EPILOG)
@click.argument("names", metavar="[NETWORK]...", nargs=-1)
@click.option("--classes", type=click.IntRange(min=1), default=100, show_default=True, help="Number of outputs.")
@click.option("--size", type=click.IntRange(min=8), default=32, show_default=True, help="Pixels a side of the image.")
@click.option(
    "--width", type=click.FloatRange(min=0, max=64, min_open=True), default=1.0, show_default=True, help="Multiplier."
)
@_JSON
def networks(names: tuple[str, ...], classes: int, size: int, width: float, as_json: bool) -> None:
    """Print parameters, MACs and the paper's connection formula, layer by layer."""
    from dwray.core.complexity import complexity
    from dwray.core.networks import NETWORKS

    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        raise click.UsageError(f"there is no network {unknown[0]!r}; known: {', '.join(NETWORKS)}")
    costs = [complexity(name, classes=classes, width=width, image_shape=(3, size, size)) for name in names or NETWORKS]
    if as_json:
        _print_json({cost.network: _complexity_json(cost) for cost in costs})
        return
    for cost in costs:
        _print_complexity(cost)


@cli.command(name="time", epilog=EPILOG)
@click.argument("names", metavar="[NETWORK]...", nargs=-1)
@click.option("--batch-sizes", default="256,4", show_default=True, help="Batch sizes to time, comma-separated.")
@click.option("--device", help="cpu, cuda or cuda:N; by default the GPU, if there is one.")
@click.option("--width", type=_WIDTH, default=1.0, show_default=True, help="Width multiplier.")
@click.option("--classes", type=click.IntRange(min=1), default=100, show_default=True, help="Number of outputs.")
@click.option("--size", type=click.IntRange(min=8), default=32, show_default=True, help="Pixels a side of the image.")
@click.option("--images", type=click.IntRange(min=1), help="Images in a pass; by default 10000 on a GPU, 256 on a CPU.")
@click.option("--passes", type=click.IntRange(min=1), default=10, show_default=True, help="Timed passes.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; by default as many as torch takes.")
@click.option("--modes", help="Of float32-eager, float32-compiled, bfloat16-eager, bfloat16-compiled; by default all.")
@click.option(
    "--max-batch", type=click.IntRange(min=1), help="Search the crossover up to here; by default 1024 (GPU), 256 (CPU)."
)
@click.option("--no-crossover", is_flag=True, help="Time the batch sizes alone.")
@_JSON
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
    measured = measure(
        names,
        plan,
        classes=options["classes"],
        width=options["width"],
        listen=lambda line: click.echo(line, err=True) if sys.stderr.isatty() else None,
    )
    if as_json:
        _print_json(testtime.to_json(measured))
    else:
        console = Console()
        console.print(testtime.headline(measured), soft_wrap=True, highlight=False, markup=False)
        print_tables(console, testtime.tables(measured))
    if line := testtime.disturbed(measured):
        click.echo(f"dwray: {line}", err=True)
        click.get_current_context().exit(EXIT_NOT_EXCLUSIVE)


def _time_plan(names: tuple[str, ...], options: dict[str, Any]) -> "Plan":
    """The options of `dwray time` as a plan; what cannot be is an error of one line."""
    import torch

    from dwray.core.modes import MODES
    from dwray.core.networks import NETWORKS
    from dwray.core.testtime import Plan
    from dwray.spec import near

    for name in names:
        if name not in NETWORKS:
            raise SpecError(f"there is no network {name!r}{near(name, NETWORKS)}")
        if names.count(name) > 1:
            raise SpecError(f"network {name!r} is given twice")
    modes = _listed(options["modes"]) if options["modes"] is not None else tuple(MODES)
    for mode in modes:
        if mode not in MODES:
            raise SpecError(f"--modes: there is no mode {mode!r}{near(mode, MODES)}")
    sizes = _listed(options["batch_sizes"])
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise SpecError(
            f"--batch-sizes must be whole numbers from 1, separated by commas, not {options['batch_sizes']!r}"
        )
    device = _device(options["device"] or ("cuda" if torch.cuda.is_available() else "cpu"))
    on_gpu = device.type == "cuda"
    max_batch = options["max_batch"] or (1024 if on_gpu else 256)
    return Plan(
        device=device,
        size=options["size"],
        batch_sizes=tuple(dict.fromkeys(map(int, sizes))),
        images=options["images"] or (10_000 if on_gpu else 256),
        passes=options["passes"],
        modes=tuple(MODES[mode] for mode in dict.fromkeys(modes)),
        max_batch=None if options["no_crossover"] else max_batch,
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _device(name: str) -> "torch.device":
    """A device that is there."""
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    known = ["cpu", *(["cuda"] if gpus else []), *gpus]
    if name not in known:
        raise SpecError(f"--device: there is no device {name!r} here; there are: {', '.join(known)}")
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)


def _print_report(console: "Console", paths: "RunPaths", records: "Records", tables: "list[Table]") -> None:
    """The tables, what failed, and where the page is."""
    from dwray.report.terminal import print_failures, print_provenance, print_tables

    print_provenance(console, records)
    print_tables(console, tables)
    print_failures(console, records.failed)
    console.print(f"\nreport: {paths.html}", soft_wrap=True, highlight=False, markup=False)


def _complexity_json(cost: "Complexity") -> dict[str, Any]:
    import dataclasses

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


def _resolve(name: str, overrides: tuple[str, ...], seed: int | None) -> "SweepSpec":
    from dwray.sweepfile import resolve

    spec = resolve(name, overrides, seed=seed)
    from dwray.core.data import DATASETS
    from dwray.core.networks import NETWORKS

    spec.check_names(networks=NETWORKS, sources=DATASETS)
    return spec


def _print_plan(spec: "SweepSpec", as_json: bool) -> None:
    import dataclasses

    from dwray.search.plan import plan as make_plan

    stages = make_plan(spec)
    if as_json:
        _print_json({"sweep": spec.name, "stages": [dataclasses.asdict(stage) for stage in stages]})
        return
    click.echo(f"{spec.name}: {', '.join(spec.networks)} on {spec.data.source}")
    for stage in stages:
        click.echo(f"  {stage.stage:<7} {_stage_text(stage)}")


def _stage_text(stage: "StagePlan") -> str:
    if stage.trials is None:
        return "passes over the axes until one improves nothing: no limit on the trials"
    most = "at most " if stage.stage == "search" else ""
    if stage.passes is not None:
        return f"{stage.trials} trials, {stage.passes} timed passes"
    return f"{most}{stage.trials} trials, {most}{stage.epochs} epochs"


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, allow_nan=False, default=str))


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except UserError as error:
        click.echo(f"dwray: {error}", err=True)
        code = error.exit_code
    except OSError as error:  # a folder that cannot be written, a disk that is full: the error names the file
        click.echo(f"dwray: {error}", err=True)
        code = EXIT_FAILED
    sys.exit(code if isinstance(code, int) else 0)
