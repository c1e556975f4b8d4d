"""How a sweep gets on, for a person to watch: a live table, or plain lines where the output is no terminal."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from dwray.errors import counted
from dwray.report.live import best_line, draw, duration, epochs, headline
from dwray.results.progress import Event, Listener, Notice, StageProgress, TrialProgress
from dwray.results.standing import Tracker, score_text

SUMMARY_SECONDS = 60.0
"""The least time between two summaries of a stage in a log."""


def stage_line(progress: StageProgress) -> str:
    """A stage's beginning or end, as one line."""
    if progress.ended:
        return f"{progress.stage}: done in {duration(progress.seconds)}"
    most = " at most" if progress.stage == "search" else ""
    trials = "" if progress.planned_trials is None else f", {counted(progress.planned_trials, 'trial')}{most}"
    earlier = f", {len(progress.earlier)} of them ended before" if progress.earlier else ""
    return f"{progress.stage}: started{trials}{earlier}"


def trial_line(progress: TrialProgress) -> str:
    """What is new of a trial, as one line."""
    stepless = progress.iterations is None
    parts = [f"{progress.name}: {progress.status}"]
    if not stepless:
        parts.append(f"epoch {epochs(progress)}")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4f}")
    if progress.accuracy_percent is not None:
        parts.append(score_text(progress.accuracy_percent, "validation_accuracy_percent"))
    if progress.seconds_per_iteration is not None:
        parts.append(f"{progress.seconds_per_iteration:.2f} s{'' if stepless else '/epoch'}")
    if progress.images_per_second is not None:
        parts.append(f"{progress.images_per_second:.0f} images/s")
    if progress.status == "running" and progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    if progress.error:
        parts.append(progress.error)
    return ", ".join(parts)


class PlainDisplay:
    """One line for each thing that happens, and now and then a summary; for logs and pipes.

    Args:
        console: Where to.
        clock: Seconds, from any beginning.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._tracker = Tracker()
        self._began = self._summed_up = clock()

    def _print(self, line: str) -> None:
        # Not wrapped and not styled: a log is searched by line.
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)

    def __call__(self, event: Event) -> None:
        """Print it."""
        if isinstance(event, StageProgress) and event.ended:
            self._sum_up()
        self._tracker.tell(event)
        if isinstance(event, Notice):
            self._print(event.text)
        elif isinstance(event, StageProgress):
            for line in (stage_line(event), *(f"{event.stage}: {note}" for note in event.notes)):
                self._print(line)
            self._began = self._summed_up = self._clock()
        elif isinstance(event, TrialProgress) and not _is_a_mere_start(event):
            self._print(trial_line(event))
        if self._clock() - self._summed_up >= SUMMARY_SECONDS:
            self._sum_up()

    def _sum_up(self) -> None:
        """Print how the stage stands."""
        standing = self._tracker.standing()
        now = self._clock()
        if standing is None:
            return
        self._summed_up = now
        best = [best_line(each, standing.metric) for each in standing.best]
        self._print(
            "; ".join([headline(standing, now - self._began), *(["best so far: " + ", ".join(best)] * bool(best))])
        )


def _is_a_mere_start(trial: TrialProgress) -> bool:
    """A trial that runs and has nothing to tell yet: a log does not need it."""
    return trial.status == "running" and (trial.iteration == 0 or trial.iterations is None)


class LiveDisplay:
    """A table that is redrawn in place: how the stage stands, the trials that run, and the last that ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tracker = Tracker()
        # Rich draws in a thread of its own while the driver's tells us more.
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._started = False
        self.live = Live(
            console=console,
            refresh_per_second=4,
            get_renderable=self._draw,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __call__(self, event: Event) -> None:
        """Take note of it; the table is redrawn four times a second."""
        with self._lock:
            self._tracker.tell(event)
            if isinstance(event, StageProgress):
                self._started = True
                self._began = time.monotonic()
        # Printed without the lock: rich draws the table again below what it prints.
        if isinstance(event, Notice):
            self._console.print(event.text, markup=False, highlight=False)
        elif isinstance(event, StageProgress) and event.ended:
            self._console.print(stage_line(event), style="bold", highlight=False)
            for note in event.notes:
                self._console.print(f"  {note}", highlight=False, markup=False)

    def _draw(self) -> RenderableType:
        with self._lock:
            standing, began, started = self._tracker.standing(), self._began, self._started
        if standing is None:
            return Text("" if started else "starting ...", style="dim", end="" if started else "\n")
        size, seconds = self._console.size, time.monotonic() - began
        ascii_only = self._console.options.ascii_only
        return draw(standing, width=size.width, height=size.height - 1, seconds=seconds, ascii_only=ascii_only)


def redraws(console: Console) -> bool:
    """Whether a console can be drawn on again: a terminal that moves its cursor, and that a person sees.

    FORCE_COLOR makes rich take a pipe for a terminal, which is right for colours and for nothing else; and the log of a
    build may come from a terminal that only its server has.
    """
    return console.is_terminal and console.file.isatty() and not console.is_dumb_terminal and not os.environ.get("CI")


@contextmanager
def display(console: Console, *, quiet: bool) -> Iterator[Listener]:
    """The display that suits a console; a quiet one says nothing."""
    if quiet:
        yield lambda event: None
    elif redraws(console):
        live = LiveDisplay(console)
        with live.live:
            yield live
    else:
        yield PlainDisplay(console)
