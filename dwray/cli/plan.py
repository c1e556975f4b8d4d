"""``dwray plan``: what a sweep would run."""

from typing import TYPE_CHECKING

import click

from dwray.cli.options import EPILOG, JSON, SWEEP, print_json

if TYPE_CHECKING:
    from dwray.search.plan import StagePlan
    from dwray.spec import SweepSpec


@click.command(epilog=EPILOG)
@SWEEP
@JSON
def plan(sweep: str, overrides: tuple[str, ...], seed: int | None, as_json: bool) -> None:
    """Print the trials and epochs of each stage of a sweep; start nothing."""
    print_plan(resolve_sweep(sweep, overrides, seed), as_json)


def print_plan(spec: "SweepSpec", as_json: bool) -> None:
    """The plan of a sweep, for a person or as JSON."""
    import dataclasses

    from dwray.search.plan import plan as make_plan

    stages = make_plan(spec)
    if as_json:
        print_json({"sweep": spec.name, "stages": [dataclasses.asdict(stage) for stage in stages]})
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


def resolve_sweep(name: str, overrides: tuple[str, ...], seed: int | None) -> "SweepSpec":
    """The sweep that a user means, with what the command line changes in it."""
    from dwray.sweepfile import resolve

    spec = resolve(name, overrides, seed=seed)
    from dwray.core.data import DATASETS
    from dwray.core.networks import NETWORKS

    spec.check_names(networks=NETWORKS, sources=DATASETS)
    return spec
