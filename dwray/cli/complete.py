"""What a shell may complete an argument to; see ``dwray completion``."""

import os
from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def complete_sweep(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The sweeps whose names begin so; files where there is none."""
    return _beginning(_sweeps(), incomplete) or [CompletionItem(incomplete, type="file")]


def complete_data(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The sweeps and datasets whose names begin so; files where there is none."""
    names = sorted({*_sweeps(), *_entries("DATASETS", "data.py")})
    return _beginning(names, incomplete) or [CompletionItem(incomplete, type="file")]


def complete_run(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The runs that begin so, a sweep's name for its latest or SWEEP/RUN-ID; folders where there is none."""
    runs_dir = _runs_dir(context)
    runs = sorted(path.parent.relative_to(runs_dir) for path in runs_dir.glob("*/*/trials.parquet"))
    names = [*dict.fromkeys(run.parts[0] for run in runs), *map(str, runs)]
    return _beginning(names, incomplete) or [CompletionItem(incomplete, type="dir")]


def complete_trial(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The trials of the run before it that begin so."""
    import pyarrow.parquet as pq

    from dwray.cli.show import names_to_type
    from dwray.errors import RunError
    from dwray.paths import RunPaths

    try:
        trials = RunPaths.find(context.params["run"], _runs_dir(context)).trials
        with pq.ParquetFile(trials) as file:
            rows = file.read(["stage", "trial"]).to_pylist()
    except (RunError, OSError, ValueError):  # damaged: whoever opens the run is told
        return []
    return _beginning(names_to_type(rows), incomplete)


def complete_setting(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The keys of a sweep file that begin so, up to their values."""
    from dwray.cli.schema import setting_keys, sweep_schema

    return _beginning([f"{key}=" for key in setting_keys(sweep_schema())], incomplete)


def complete_network(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The networks that begin so."""
    return _beginning(_entries("NETWORKS", "networks.py"), incomplete)


def _sweeps() -> list[str]:
    """The names of the sweeps that are found by name."""
    from dwray.paths import sweep_folders

    return sorted({file.stem for folder in sweep_folders() for file in folder.glob("*.yaml")})


def _entries(registry: str, file: str) -> list[str]:
    """The names in a registry of ``dwray.core``, which is read and not imported: torch takes seconds."""
    import ast

    import dwray

    source = Path(dwray.__file__).parent / "core" / file
    entries = next(
        part
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == registry
        for part in ast.walk(node)
        if isinstance(part, ast.Dict)
    )
    return [ast.literal_eval(key) for key in entries.keys if key]


def _runs_dir(context: click.Context) -> Path:
    """The folder of all runs: a shell asks before the options' defaults are taken."""
    return Path(context.params.get("runs_dir") or os.environ.get("DWRAY_RUNS_DIR") or "runs")


def _beginning(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
