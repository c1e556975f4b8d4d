"""How a sweep gets on, for a person to watch: a live table, or plain lines where the output is no terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dwray.results.progress import Listener, Notice, StageProgress, TrialProgress

STYLES = {
    "running": "cyan",
    "completed": "green",
    "diverged": "yellow",
    "failed": "red",
    "retrying": "magenta",
}
SHORT = {"completed": "done"}
"""The live table has 80 columns."""

KEPT_ROWS = 12
"""Ended trials that stay in the live table; the records have them all."""


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


def epochs(progress: TrialProgress) -> str:
    """How far a trial is."""
    return "" if progress.iterations is None else f"{progress.iteration}/{progress.iterations}"


def stage_line(progress: StageProgress) -> str:
    """A stage's beginning or end, as one line."""
    if progress.ended:
        return f"{progress.stage}: done in {duration(progress.seconds)}"
    trials = "" if progress.planned_trials is None else f", {progress.planned_trials} trials at most"
    return f"{progress.stage}: started{trials}"


class PlainDisplay:
    """One line for each thing that happens; for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def _print(self, line: str) -> None:
        # Not wrapped and not styled: a log is searched by line.
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)

    def __call__(self, progress: TrialProgress | StageProgress | Notice) -> None:
        """Print it."""
        if isinstance(progress, Notice):
            self._print(progress.text)
            return
        if isinstance(progress, StageProgress):
            for line in (stage_line(progress), *(f"{progress.stage}: {note}" for note in progress.notes)):
                self._print(line)
            return
        stepless = progress.iterations is None
        if progress.status == "running" and (progress.iteration == 0 or stepless):
            return
        parts = [f"{progress.name}: {progress.status}"]
        if not stepless:
            parts.append(f"epoch {epochs(progress)}")
        if progress.loss is not None:
            parts.append(f"loss {progress.loss:.4f}")
        if progress.accuracy_percent is not None:
            parts.append(f"accuracy {progress.accuracy_percent:.2f}%")
        if progress.seconds_per_iteration is not None:
            parts.append(f"{progress.seconds_per_iteration:.2f} s{'' if stepless else '/epoch'}")
        if progress.images_per_second is not None:
            parts.append(f"{progress.images_per_second:.0f} images/s")
        if progress.status == "running" and progress.seconds_left is not None:
            parts.append(f"{duration(progress.seconds_left)} left")
        if progress.error:
            parts.append(progress.error)
        self._print(", ".join(parts))


class LiveDisplay:
    """A table that is redrawn in place: the trials that run, the last that ended, and the stage above them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._trials: dict[str, TrialProgress] = {}
        self._stage: StageProgress | None = None
        self._began = time.monotonic()
        self.live = Live(
            console=console,
            refresh_per_second=4,
            get_renderable=self._draw,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __call__(self, progress: TrialProgress | StageProgress | Notice) -> None:
        """Take note of it; the table is redrawn four times a second."""
        if isinstance(progress, Notice):
            self._console.print(progress.text, markup=False, highlight=False)
        elif isinstance(progress, TrialProgress):
            self._trials[progress.trial_id] = progress
        elif progress.ended:
            self._console.print(stage_line(progress), style="bold", highlight=False)
            for note in progress.notes:
                self._console.print(f"  {note}", highlight=False)
            self._stage = None
            self._trials.clear()
        else:
            self._stage = progress
            self._began = time.monotonic()

    def _draw(self) -> Group | Text:
        # Rich calls this from a thread of its own while the driver's tells us more: look at each thing once.
        stage, began, trials = self._stage, self._began, list(self._trials.values())
        if stage is None:
            return Text("starting ...", style="dim")
        ended = [trial for trial in trials if trial.ended]
        going = [trial for trial in trials if not trial.ended]
        shown = ended[-max(0, KEPT_ROWS - len(going)) :] + going if len(going) < KEPT_ROWS else going
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for heading, right in (
            ("network", False),
            ("varies", False),
            ("epoch", True),
            ("loss", True),
            ("acc. %", True),
            ("s/epoch", True),
            ("img/s", True),
            ("left", True),
        ):
            table.add_column(heading, justify="right" if right else "left", no_wrap=True)
        for trial in shown:
            left = SHORT.get(trial.status, trial.status)
            if trial.status == "running":
                left = duration(trial.seconds_left)
            table.add_row(
                trial.contender,
                trial.varies,
                epochs(trial),
                number(trial.loss, ".3f"),
                number(trial.accuracy_percent, ".2f"),
                number(trial.seconds_per_iteration, ".2f"),
                number(trial.images_per_second, ".0f"),
                Text(left, style=STYLES.get(trial.status, "") if trial.status != "running" else ""),
            )
        planned = "" if stage.planned_trials is None else f" of at most {stage.planned_trials}"
        title = Text.assemble(
            (stage.stage, "bold"),
            f"  {len(ended)} trials ended{planned}, {len(going)} running, {duration(time.monotonic() - began)}",
        )
        return Group(title, table)


@contextmanager
def display(console: Console, *, quiet: bool) -> Iterator[Listener]:
    """The display that suits a console; a quiet one says nothing."""
    if quiet:
        yield lambda progress: None
    elif console.is_terminal:
        live = LiveDisplay(console)
        with live.live:
            yield live
    else:
        yield PlainDisplay(console)
