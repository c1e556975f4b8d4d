"""``dwray status``: how a run stands, and what W&B has of it."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dwray.cli.complete import complete_run
from dwray.cli.options import EPILOG, JSON, RUNS_DIR, print_json
from dwray.errors import RunError, UserError, counted, one_line
from dwray.results.kept import find_run

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from dwray.paths import RunPaths
    from dwray.publish.ledger import Ledger
    from dwray.results.kept import KeptRun
    from dwray.results.records import Records
    from dwray.results.run_standing import Driver, Planned, RunStanding
    from dwray.results.standing import StageStanding

WATCH_SECONDS = 2.0
"""Records are written so often while trials run."""


@click.command(epilog=EPILOG)
@click.argument("run", shell_complete=complete_run)
@RUNS_DIR
@click.option("--watch", is_flag=True, help="In a terminal: go on showing it until nobody works on the run.")
@JSON
def status(run: str, runs_dir: Path, watch: bool, as_json: bool) -> None:
    """How RUN stands: its stage, what runs, the best so far, the time left, what W&B has of it, and what to do next.

    RUN is the folder of a run, SWEEP/RUN-ID, the name of a sweep (its latest run), or s3://BUCKET/PREFIX/SWEEP/RUN-ID.
    """
    from rich.console import Console

    from dwray.publish.ledger import Ledger
    from dwray.report.display import redraws
    from dwray.report.terminal import disturbed_line, print_diverged, print_failures
    from dwray.results.table import finite

    kept = find_run(run, runs_dir)
    look = _look(kept)
    ledger = Ledger.read(kept.paths.wandb)
    if as_json:
        print_json(finite(_as_data(look, ledger)))
        return
    console = Console()
    if watch and redraws(console):
        look = _watch(console, look)
    else:
        console.print(_view(console, look))
    if look.doubt:
        console.print(look.doubt, soft_wrap=True, highlight=False, markup=False)
    print_failures(console, look.records.failed)
    print_diverged(console, look.records.diverged)
    if disturbed := look.records.disturbed_timings:
        console.print(f"\n{disturbed_line(disturbed)}", soft_wrap=True, highlight=False, markup=False)
    if kept.paths.wandb.is_file():
        _print_wandb(console, look, ledger)
    console.print(f"\n{_next(look)}", soft_wrap=True, highlight=False, markup=False)
    if ledger.report_url:
        console.print(f"report: {ledger.report_url}", soft_wrap=True, highlight=False, markup=False)


@dataclass(frozen=True)
class _Look:
    """A run as it was at one moment."""

    kept: "KeptRun"
    records: "Records"
    standing: "RunStanding"
    driver: "Driver | None"
    doubt: str
    """What keeps this from being the whole truth."""


def planned_of(paths: "RunPaths") -> "Planned | None":
    """What a run's sweep file plans; None if there is no such file.

    Raises:
        UserError: It cannot be read.
    """
    from dwray.results.progress import Work
    from dwray.results.run_standing import Planned
    from dwray.search.plan import workloads
    from dwray.sweepfile import resolve

    if not paths.sweep.is_file():
        return None
    spec = resolve(str(paths.sweep), ())
    work = {
        stage: tuple(Work(contender, *of_each) for contender, of_each in workload.items())
        for stage, workload in workloads(spec).items()
    }
    return Planned(work, tuple(spec.search.axes), spec.search.metric)


def _look(kept: "KeptRun") -> _Look:
    """Read a run's records, fetched first where another machine may write them.

    Raises:
        RunError: They cannot be read.
    """
    from dwray.results.lease import Lease
    from dwray.results.mirror import fetch
    from dwray.results.records import Records
    from dwray.results.run_standing import driver_of, run_standing
    from dwray.storage import Storage

    doubts, planned, driver = [], None, None
    where = Storage((kept.storage or Storage(kept.paths.folder)).location, patience_seconds=WATCH_SECONDS)
    try:
        if kept.storage and not Lease(where).held_here:
            fetch(where, kept.paths)
        driver = driver_of(where)
    except (RunError, OSError) as error:
        doubts.append(f"as it was last known here: {one_line(error)}")
    records = Records.read(kept.paths)
    try:
        planned = planned_of(kept.paths)
    except UserError as error:
        doubts.append(f"what is left to do is not known: {error}")
    return _Look(kept, records, run_standing(records, planned, driven=driver is not None), driver, "\n".join(doubts))


def _watch(console: "Console", look: _Look) -> _Look:
    """Show a run until nobody works on it; the last look at it."""
    from rich.live import Live

    with Live(_view(console, look), console=console, auto_refresh=False) as live:
        while look.driver:
            time.sleep(WATCH_SECONDS)
            look = _look(look.kept)
            live.update(_view(console, look), refresh=True)
    return look


def _view(console: "Console", look: _Look) -> "RenderableType":
    """Where a run stands, as the live display of its driver shows it."""
    from rich.console import Group
    from rich.text import Text

    from dwray.report.live import amiss as amiss_in
    from dwray.report.live import best_lines, draw

    run, standing = look.kept.paths.folder, look.standing
    on = f" on {look.driver}" if look.driver else ""
    amiss = f", {standing.amiss}" if standing.amiss else ""
    lines: list[RenderableType] = [
        Text.assemble((f"{run.parent.name}/{run.name}", "bold"), f": {standing.state}{on}{amiss}")
    ]
    for stage in standing.stages:
        if stage.stage != standing.stage:
            lines.append(Text(f"{stage.stage}: done, {counted(stage.done, 'trial')}{amiss_in(stage)}"))
            lines += best_lines(stage, "  best: ")
    current = standing.current
    if current:
        height = console.height - len(lines) - 1 if console.is_terminal else 10**6
        ascii_only = console.options.ascii_only
        lines.append(draw(current, width=console.width, height=height, ascii_only=ascii_only))
    return Group(*lines)


def _next(look: _Look) -> str:
    """What a user may want to do with a run."""
    import shlex

    report, resume = (shlex.join(["dwray", command, look.kept.name]) for command in ("report", "resume"))
    made = f"report: {look.kept.paths.html}" if look.kept.paths.html.is_file() else f"its report: {report}"
    return {
        "running": f"what was measured so far: {report}",
        "interrupted": f"to go on: {resume}\nwhat was measured so far: {report}",
        "failed": f"to try trainings and timings that failed again: {resume}\n{made}",
        "completed": made,
    }[look.standing.state]


def _wandb_rows(look: _Look, ledger: "Ledger") -> list[dict[str, Any]]:
    """What W&B has of each trial, and of what is published beside them: the tables."""
    from dwray.publish.runs import REPORT, published_runs

    tables = {key: (REPORT, entry.name, None) for key, entry in ledger.runs.items() if entry.job_type == REPORT}
    runs = {each.id: (each.job_type, each.name, each.summary["status"]) for each in published_runs(look.records)}
    rows = []
    for key, (stage, name, became) in {**runs, **tables}.items():
        state, why = ledger.state_of(key, look.kept.paths.folder)
        rows.append({"stage": stage, "run": name, "status": became, "wandb_id": key, "wandb": state, "why": why})
    return rows


def _print_wandb(console: "Console", look: _Look, ledger: "Ledger") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("stage", "run", "status", "W&B", box=None, pad_edge=False)
    for row in _wandb_rows(look, ledger):
        reached = f"{row['wandb']}: {row['why']}" if row["why"] else row["wandb"]
        table.add_row(*map(Text, (row["stage"], row["run"], row["status"] or "", reached)))
    console.print()
    console.print(table)


def _as_data(look: _Look, ledger: "Ledger") -> dict[str, Any]:
    """The same for programs."""
    from dataclasses import asdict

    standing = look.standing
    name_of = {row["trial_id"]: row["trial"] for row in look.records.of_stage("time")}
    return {
        "run": str(look.kept.paths.folder),
        "state": standing.state,
        "driver": asdict(look.driver) if look.driver else None,
        "stage": standing.stage,
        "stages": [_stage_data(stage) for stage in standing.stages],
        "failed": [{key: row[key] for key in ("stage", "trial", "error")} for row in look.records.failed],
        "diverged": [{key: row[key] for key in ("stage", "trial")} for row in look.records.diverged],
        "disturbed": [
            {"trial": name_of.get(row["trial_id"]), "disturbance": row["disturbance"]}
            for row in look.records.disturbed_timings
        ],
        "doubt": look.doubt or None,
        "report": ledger.report_url,
        "runs": _wandb_rows(look, ledger),
    }


def _stage_data(stage: "StageStanding") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "stage": stage.stage,
        "planned": stage.planned,
        "done": stage.done,
        "failed": stage.failed,
        "diverged": stage.diverged,
        "running": stage.busy,
        "left": stage.left,
        "seconds_left": stage.time_left.seconds if stage.time_left else None,
        "best": [asdict(best) for best in stage.best],
        "metric": stage.metric,
        "trials": [asdict(trial) for trial in stage.running],
    }
