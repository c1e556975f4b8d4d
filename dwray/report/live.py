"""How a stage stands, drawn for a terminal: what is done, busy, best and left, and a line for each trial."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from dwray.results.progress import TrialProgress
from dwray.results.standing import Best, StageStanding, TimeLeft, score_text

STYLES = {
    "completed": "green",
    "diverged": "yellow",
    "failed": "red",
    "retrying": "magenta",
}
SHORT = {"completed": "done"}
"""The table has 80 columns."""

KEPT_ROWS = 12
"""Ended trials are shown until there are so many rows; the records have them all."""
LEAST_NAME = 16
"""A contender's name is not shortened below so many characters."""
GAP = 1
"""Between two columns."""


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them: 0.42 s, 12 s, 3:05, 1:02:03."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def number(value: float | None, form: str) -> str:
    """A number in a form, or nothing."""
    return "" if value is None else format(value, form)


def epochs(trial: TrialProgress) -> str:
    """How far a trial is."""
    return "" if trial.iterations is None else f"{trial.iteration}/{trial.iterations}"


def left(trial: TrialProgress) -> str:
    """The time that a trial still takes, or what became of it."""
    return duration(trial.seconds_left) if trial.status == "running" else SHORT.get(trial.status, trial.status)


def shortened(name: str, width: int, ellipsis: str) -> str:
    """A name in so many characters: its middle is left out, for names that are alike mostly differ at an end."""
    if len(name) <= width:
        return name
    kept = width - len(ellipsis)
    return name[: (kept + 1) // 2] + ellipsis + name[len(name) - kept // 2 :]


def amiss(standing: StageStanding) -> str:
    """How many of a stage's trials ended otherwise than well: `` (1 failed, 2 diverged)``, or nothing."""
    numbers = {"failed": standing.failed, "diverged": standing.diverged}
    said = ", ".join(f"{number} {became}" for became, number in numbers.items() if number)
    return f" ({said})" if said else ""


def counts(standing: StageStanding) -> str:
    """The stage, and its trials: ``search: 3 done, 2 running, at most 7 left``."""
    parts = [f"{standing.done} done{amiss(standing)}", f"{standing.busy} running"]
    if standing.left is not None:
        parts.append(f"{'at most ' * standing.at_most}{standing.left} left")
    return f"{standing.stage}: {', '.join(parts)}"


def capacity(standing: StageStanding) -> str:
    """How much of the cluster is busy with trials: ``GPUs 3.5/8``."""
    has = standing.capacity
    return f"{has.kind}s {standing.busy * has.per_trial:g}/{has.total:g}" if has else ""


def time_left(estimate: TimeLeft | None, *, at_most: bool) -> str:
    """An estimate in words; nothing where there is none, or no time is left."""
    if estimate is None or not estimate.seconds:
        return ""
    # Of trials that may not come, in a search, an estimate is a bound.
    about = "at least" if estimate.at_least else "at most about" if at_most else "about"
    seconds = estimate.seconds
    return f"{about} {duration(seconds) if seconds >= 10 else f'{seconds:.0f} s'} left"


def headline(standing: StageStanding, seconds: float | None = None, *, width: float = math.inf) -> str:
    """A stage in one line; where that is too long, in two: its trials, and its times.

    Args:
        standing: Where it stands.
        seconds: Since it began.
        width: Columns.
    """
    spent = f"{duration(seconds)} so far" if seconds is not None else ""
    estimate = time_left(standing.time_left, at_most=standing.at_most)
    trials = ", ".join(filter(None, (counts(standing), capacity(standing))))
    times = ", ".join(filter(None, (spent, estimate)))
    line = ", ".join(filter(None, (trials, times)))
    return line if len(line) <= width else f"{trials},\n{times}"


def best_line(best: Best, metric: str) -> str:
    """The best of a contender so far: ``ConvNet validation 93.12% (initial_lr 0.05, lr_decay 0.9)``."""
    return f"{best.contender} {score_text(best.score, metric)}" + (f" ({best.settings})" if best.settings else "")


def best_lines(standing: StageStanding, label: str) -> list[RenderableType]:
    """The best of each contender behind a label, which stands once; what has no room goes on below, indented."""
    lines: list[RenderableType] = []
    for best in standing.best:
        line = Table(box=None, show_header=False, pad_edge=False, padding=0)
        line.add_column(no_wrap=True)
        line.add_column(overflow="fold")
        shown = " " * len(label) if lines else label
        line.add_row(Text(shown, style="dim"), Text(best_line(best, standing.metric)))
        lines.append(line)
    return lines


@dataclass(frozen=True)
class _Column:
    heading: str
    text: Callable[[TrialProgress], str]


_NUMBERS = (
    _Column("epoch", epochs),
    _Column("loss", lambda trial: number(trial.loss, ".3f")),
    _Column("val. %", lambda trial: number(trial.accuracy_percent, ".2f")),
    _Column("s/epoch", lambda trial: number(trial.seconds_per_iteration if trial.iterations else None, ".2f")),
    _Column("img/s", lambda trial: number(trial.images_per_second, ".0f")),
    _Column("left", left),
)


def _rows_of(standing: StageStanding) -> list[TrialProgress]:
    """The trials that are worth a line: all that run, below the last that ended where there is room for them."""
    room = max(0, KEPT_ROWS - len(standing.running))
    return [*(standing.ended[-room:] if room else ()), *standing.running]


def _table(trials: Sequence[TrialProgress], console: Console, height: int, ellipsis: str) -> RenderableType:
    """The trials in so many lines at most; of those that have no room, only their number is told."""
    numbers = [column for column in _NUMBERS if column.heading == "left" or any(map(column.text, trials))]
    cells = [[column.text(trial) for column in numbers] for trial in trials]
    widths = [
        max(len(column.heading), *(len(row[index]) for row in cells)) + GAP for index, column in enumerate(numbers)
    ]
    names = max(len("network"), *(len(trial.contender) for trial in trials)) if any(t.contender for t in trials) else 0
    varied = max(len("varies"), *(len(trial.varies) for trial in trials))
    room = max(LEAST_NAME + GAP, console.width - sum(widths) + GAP)
    # Names are shortened first; what varies goes on below where there is no room even so, for every word counts.
    names = min(names, max(LEAST_NAME, room - varied - 2 * GAP))
    varied = max(len("varies"), min(varied, room - names - 2 * GAP if names else room - GAP))
    shown, used = 0, 1
    for trial in reversed(trials):  # those that run stand last
        lines = len(Text(trial.varies).wrap(console, varied)) or 1
        more = shown + 1 < len(trials)
        if used + lines + more > height and shown:
            break
        shown, used = shown + 1, used + lines
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    if names:
        table.add_column("network", no_wrap=True, width=names)
    table.add_column("varies", width=varied, overflow="fold")
    for column, wide in zip(numbers, widths, strict=True):
        table.add_column(column.heading, justify="right", no_wrap=True, width=wide - GAP)
    first = len(trials) - shown
    for trial, row in zip(trials[first:], cells[first:], strict=True):
        name = [Text(shortened(trial.contender, names, ellipsis))] if names else []
        *texts, last = row
        table.add_row(*name, Text(trial.varies), *texts, Text(last, style=STYLES.get(trial.status, "")))
    if not first:
        return table
    hidden = sum(not trial.ended for trial in trials[:first])
    return Group(table, Text(f"... and {hidden} more running", style="dim")) if hidden else table


def draw(
    standing: StageStanding, *, width: int, height: int, seconds: float | None = None, ascii_only: bool = False
) -> RenderableType:
    """A stage in so many columns and lines.

    Args:
        standing: Where it stands.
        width: Columns.
        height: Lines, at most; what leads the trials and one of them is drawn in any case.
        seconds: Since the stage began.
        ascii_only: The terminal has no other characters.
    """
    head: list[RenderableType] = [Text(headline(standing, seconds, width=width), style="bold")]
    head += best_lines(standing, "best so far: ")
    trials = _rows_of(standing)
    if not trials:
        return Group(*head)
    console = Console(width=width)
    used = sum(len(console.render_lines(part)) for part in head)
    return Group(*head, _table(trials, console, height - used, "..." if ascii_only else "…"))
