"""How a sweep gets on, in a terminal of 80 columns and in a log."""

import io
import re
import sys
import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from screen import shown

from dwray.report.display import SUMMARY_SECONDS, LiveDisplay, PlainDisplay, display, redraws
from dwray.report.live import draw, duration, shortened
from dwray.results.progress import Capacity, Event, Notice, StageProgress, TrialProgress, Work
from dwray.results.standing import StageStanding, Tracker

RUNNING = TrialProgress(
    trial_id="1",
    name="ConvNet initial_lr=0.1",
    status="running",
    contender="ConvNet",
    varies="initial_lr=0.1",
    settings="initial_lr 0.1, lr_decay 0.9",
    iteration=2,
    iterations=5,
    seconds_per_iteration=1.25,
    seconds_left=3.75,
    loss=0.5,
    accuracy_percent=91.234,
    images_per_second=1234.5,
)
DONE = replace(RUNNING, trial_id="0", status="completed", iteration=5, seconds_left=0)
BEGUN = StageProgress("search", 4, work=(Work("ConvNet", 4, 5),))
CAPACITY = Capacity("GPU", total=8, per_trial=0.5, slots=2)


class ATerminal(io.StringIO):
    """Keeps what is written as a terminal does, for rich to take it for one."""

    def isatty(self) -> bool:
        return True


def standing_after(*events: Event) -> StageStanding:
    tracker = Tracker()
    for event in events:
        tracker.tell(event)
    standing = tracker.standing()
    assert standing
    return standing


def drawn(*events: Event, width: int = 80, height: int = 24, **options: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(draw(standing_after(*events), width=width, height=height, **options))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_stage_is_drawn_whole_at_80_columns() -> None:
    assert drawn(BEGUN, CAPACITY, DONE, RUNNING, seconds=75) == [
        "search: 1 done, 1 running, at most 2 left, GPUs 0.5/8,",
        "1:15 so far, at most about 8 s left",
        "best so far: ConvNet validation 91.23% (initial_lr 0.1, lr_decay 0.9)",
        "network varies         epoch  loss val. % s/epoch img/s   left",
        "ConvNet initial_lr=0.1   5/5 0.500  91.23    1.25  1234   done",
        "ConvNet initial_lr=0.1   2/5 0.500  91.23    1.25  1234 3.75 s",
    ]


def test_a_stage_that_fits_stands_in_one_line_and_one_trial_is_one() -> None:
    begun = StageProgress("train", 1, work=(Work("ConvNet", 1, 5),))
    lines = drawn(begun, replace(RUNNING, settings=""), seconds=0.08)
    assert lines[0] == "train: 0 done, 1 running, 0 left, 0.08 s so far, about 4 s left"
    assert plain(begun) == ["train: started, 1 trial"]


def test_what_failed_or_waits_is_named() -> None:
    failed = replace(DONE, trial_id="2", status="failed", error="no")
    waiting = replace(RUNNING, trial_id="3", status="retrying")
    lines = drawn(BEGUN, failed, waiting)
    assert lines[0].startswith("search: 1 done (1 failed), 0 running, at most 3 left")
    assert [line.split()[-1] for line in lines[-2:]] == ["failed", "retrying"]
    diverged = replace(failed, trial_id="4", status="diverged", error=None)
    assert drawn(BEGUN, failed, diverged)[0].startswith("search: 2 done (1 failed, 1 diverged), 0 running")


def test_a_timing_has_no_columns_of_a_training() -> None:
    timing = TrialProgress("t", "x", "running", varies="test set, batch 4, network alone")
    assert drawn(StageProgress("time", 2, work=(Work("", 2, 1),)), timing) == [
        "time: 0 done, 1 running, 1 left",
        "varies                           left",
        "test set, batch 4, network alone",
    ]


@pytest.mark.parametrize("height", [6, 12, 24, 50])
def test_of_many_trials_as_many_are_shown_as_fit_and_the_others_counted(height: int) -> None:
    trials = [replace(RUNNING, trial_id=str(number), varies=f"seed={number}") for number in range(64)]
    lines = drawn(BEGUN, *trials, height=height)
    assert len(lines) == height
    rows = [line for line in lines if "seed=" in line]
    assert lines[-1] == f"... and {64 - len(rows)} more running"
    assert len(rows) == min(64, height - 3), "less the head, the headings, and that there are more"


def test_a_long_name_is_shortened_and_what_varies_goes_on_below() -> None:
    names = ["Depthwise-quarter-width-a", "Depthwise-quarter-width-b"]
    long = "seed=12, validation_loss_over_batches_minus_one"
    trials = [replace(RUNNING, trial_id=name, contender=name, varies=long, images_per_second=99999) for name in names]
    lines = drawn(BEGUN, *trials)
    assert max(map(cell_len, lines)) <= 80
    text = "\n".join(lines)
    for name in names:
        assert f"Depthwis…{name[-7:]} " in text, "what tells two names apart is an end of theirs"
    assert text.count("91.23    1.25 99999 3.75 s") == 2, "no number is cut"
    places = [line[17:].split("  ")[0].strip() for line in lines[2:5]]
    assert "".join(places) == long.replace(" ", ""), "every letter of what varies is there"
    ascii_lines = "\n".join(drawn(BEGUN, *trials, ascii_only=True))
    assert ascii_lines.isascii()
    assert "..." in ascii_lines


@given(st.text("abc-", max_size=40), st.integers(5, 30), st.sampled_from(["…", "..."]))
def test_a_shortened_name_has_its_width_its_beginning_and_its_end(name: str, width: int, ellipsis: str) -> None:
    short = shortened(name, width, ellipsis)
    assert len(short) == min(len(name), width)
    start, found, end = short.partition(ellipsis) if len(name) > width else (name, "", "")
    assert name.startswith(start)
    assert name.endswith(end)
    assert bool(found) == (len(name) > width)


@given(
    st.lists(
        st.tuples(
            st.text("abcdefgh-", min_size=1, max_size=24),
            st.text("abcdef =,", min_size=1, max_size=60),
            st.sampled_from(["running", "completed", "failed", "retrying", "diverged"]),
            st.integers(0, 10**5),
            st.floats(0, 1e4),
        ),
        min_size=1,
        max_size=70,
    ),
    st.integers(80, 140),
    st.integers(20, 60),
)
def test_whatever_trials_there_are_it_keeps_within_the_screen(
    trials: list[tuple[str, str, str, int, float]], width: int, height: int
) -> None:
    told = [
        TrialProgress(
            str(number),
            "x",
            status,
            contender=name,
            varies=varies,
            iteration=done,
            iterations=10**5,
            seconds_per_iteration=seconds,
            seconds_left=seconds,
            loss=seconds / 100,
            accuracy_percent=99.99,
            images_per_second=10 * seconds,
        )
        for number, (name, varies, status, done, seconds) in enumerate(trials)
    ]
    lines = drawn(BEGUN, CAPACITY, *told, width=width, height=height)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width


def plain(*events: Event, clock: Any = None, width: int = 40) -> list[str]:
    output = io.StringIO()
    show = PlainDisplay(Console(file=output, width=width), **({"clock": clock} if clock else {}))
    for event in events:
        show(event)
    return output.getvalue().splitlines()


def test_plain_lines_say_all_that_the_table_says() -> None:
    assert plain(
        BEGUN,
        RUNNING,
        Notice("a [notice]"),
        StageProgress("search", ended=True, seconds=75, notes=("ConvNet: initial_lr 0.1",)),
        clock=lambda: 0.0,
    ) == [
        "search: started, 4 trials at most",
        "ConvNet initial_lr=0.1: running, epoch 2/5, loss 0.5000, validation 91.23%, 1.25 s/epoch, 1234 images/s, "
        "3.75 s left",
        "a [notice]",
        "search: 0 done, 1 running, at most 3 left, 0.00 s so far, at most about 22 s left",
        "search: done in 1:15",
        "search: ConvNet: initial_lr 0.1",
    ], "nothing is wrapped, however narrow"


def test_a_log_has_a_summary_once_a_minute_at_most() -> None:
    times = iter([0.0, *[SUMMARY_SECONDS * share for share in (0, 0.5, 0.9, 1.0, 1.0, 1.5, 2.1, 2.1, 2.2)]])
    now = [0.0]

    def clock() -> float:
        return now[0]

    output = io.StringIO()
    show = PlainDisplay(Console(file=output, width=80), clock=clock)
    show(BEGUN)
    show(CAPACITY)
    for each in times:
        now[0] = each
        show(DONE)
    lines = output.getvalue().splitlines()
    summaries = [line for line in lines if line.startswith("search: 1 done")]
    assert len(summaries) == 2
    assert summaries[0] == (
        "search: 1 done, 0 running, at most 3 left, GPUs 0/8, 1:00 so far, at most about 9 s left; "
        "best so far: ConvNet validation 91.23% (initial_lr 0.1, lr_decay 0.9)"
    )


def test_a_resumed_stage_says_what_is_done_already() -> None:
    (begun,) = plain(replace(BEGUN, earlier=(DONE,)))
    assert begun == "search: started, 4 trials at most, 1 of them ended before"
    assert drawn(replace(BEGUN, earlier=(DONE,)))[0].startswith("search: 1 done, 0 running, at most 3 left")


@pytest.mark.parametrize(
    ("variables", "redrawn"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, True),
        ({"TERM": "dumb"}, False),
        ({"CI": "true"}, False),
    ],
)
def test_a_terminal_is_drawn_on_where_that_is_seen(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], redrawn: bool
) -> None:
    for name in ("CI", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    console = Console(file=ATerminal())
    assert redraws(console) == redrawn
    with display(console, quiet=False) as listen:
        assert isinstance(listen, LiveDisplay if redrawn else PlainDisplay)


def test_forced_colours_do_not_make_a_pipe_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    output = io.StringIO()
    console = Console(file=output)
    assert console.is_terminal, "as rich sees it"
    with display(console, quiet=False) as listen:
        listen(BEGUN)
        listen(RUNNING)
    assert "\x1b" not in output.getvalue()


@pytest.mark.parametrize("colours", [True, False])
def test_the_live_table_on_a_real_screen(monkeypatch: pytest.MonkeyPatch, colours: bool) -> None:
    """What a terminal shows in the end, its cursor moved as rich moved it."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    output = ATerminal()
    console = Console(file=output, width=80, height=24)
    with display(console, quiet=False) as listen:
        assert isinstance(listen, LiveDisplay)
        for event in (BEGUN, CAPACITY, DONE, *(replace(RUNNING, trial_id=str(number)) for number in range(1, 40))):
            listen(event)
            listen.live.refresh()
        lines = [line for line in shown(output.getvalue()) if line]
        assert len(lines) == 23, "as high as the screen, but for the line of the cursor"
        assert lines[0].startswith("search: 1 done, 39 running"), "drawn over itself, not below"
        assert re.fullmatch(r"\.\.\. and \d+ more running", lines[-1])
        listen(Notice("a notice"))
        listen(StageProgress("search", ended=True, seconds=75, notes=("ConvNet: [x]",)))
    assert [line for line in shown(output.getvalue()) if line] == [
        "a notice",
        "search: done in 1:15",
        "  ConvNet: [x]",
    ]
    assert bool(re.search(r"\x1b\[[0-9;]*3\dm", output.getvalue())) == colours


def test_the_live_table_can_be_drawn_while_it_is_told_of_more() -> None:
    live = LiveDisplay(Console(file=io.StringIO(), width=80, force_terminal=True))
    drawing = Console(file=io.StringIO(), width=80)
    failures: list[BaseException] = []
    stop = threading.Event()

    def draw_on() -> None:
        try:
            while not stop.is_set():
                drawing.print(live._draw())
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    drawer = threading.Thread(target=draw_on)
    drawer.start()
    try:
        for _ in range(30):
            live(StageProgress("search", 30))
            for number in range(30):
                live(TrialProgress(str(number), "x", "running", contender="ConvNet"))
            live(StageProgress("search", ended=True))
    finally:
        stop.set()
        drawer.join()
        sys.setswitchinterval(interval)
    assert failures == []


def test_a_quiet_display_says_nothing() -> None:
    output = io.StringIO()
    with display(Console(file=output), quiet=True) as listen:
        listen(StageProgress("search", 3))
    assert output.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, ""), (0.421, "0.42 s"), (12.4, "12 s"), (185, "3:05"), (3723, "1:02:03")]
)
def test_durations_are_as_a_person_reads_them(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said
