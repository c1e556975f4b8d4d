"""What a shell may complete an argument to; see ``dwray completion``."""

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def complete_sweep(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The sweeps whose names begin so; files where there is none."""
    from dwray.paths import sweep_folders

    names = sorted({file.stem for folder in sweep_folders() for file in folder.glob("*.yaml")})
    return _beginning(names, incomplete) or [CompletionItem(incomplete, type="file")]


def complete_run(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The runs that begin so, a sweep's name for its latest or SWEEP/RUN-ID; folders where there is none."""
    # A shell asks before the options' defaults are taken.
    runs_dir = Path(context.params.get("runs_dir") or os.environ.get("DWRAY_RUNS_DIR") or "runs")
    runs = sorted(path.parent.relative_to(runs_dir) for path in runs_dir.glob("*/*/trials.parquet"))
    names = [*dict.fromkeys(run.parts[0] for run in runs), *map(str, runs)]
    return _beginning(names, incomplete) or [CompletionItem(incomplete, type="dir")]


def _beginning(names: list[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
