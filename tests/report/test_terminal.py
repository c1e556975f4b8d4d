"""Tables at 80 columns: sections as headings, wide columns left out, nothing cut off."""

import io
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import make_run
from rich.cells import cell_len
from rich.console import Console

from dwray.cli.sweep import print_end
from dwray.report.markdown import markdown_table
from dwray.report.terminal import print_answer, print_diverged, print_places, print_table, print_tables
from dwray.results.answer import answer
from dwray.results.kept import KeptRun
from dwray.results.records import Records
from dwray.results.table import Column, Table
from dwray.results.tables import make_tables

TEXT, REAL = pa.string(), pa.float64()
TABLE = Table(
    "t",
    "A table",
    (
        Column("data", "data", TEXT, group=True, section=True),
        Column("batch", "batch", pa.int64(), group=True, section=True),
        Column("loader", "loader", TEXT, group=True),
        Column("network", "network", TEXT),
        Column("seconds", "mean s", REAL, ".2f"),
        Column("std", "deviation", REAL, ".2f", wide=True),
        Column("hidden", "hidden", TEXT, shown=False),
    ),
    (
        {"data": "one", "batch": 4, "loader": "inside", "network": "A", "seconds": 1.0, "std": 7.77, "hidden": "never"},
        {"data": "one", "batch": 4, "loader": "inside", "network": "[bold]", "seconds": 22.5, "std": 7.77},
        {"data": "one", "batch": 256, "loader": "inside", "network": "A", "seconds": None},
        {"data": "two", "batch": 256, "loader": "inside", "network": "A", "seconds": 333.25},
    ),
    ("A note.",),
)


def printed(table: Table, width: int = 80) -> list[str]:
    output = io.StringIO()
    print_table(Console(file=output, width=width), table)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_sections_are_headings_and_the_rows_of_all_are_aligned() -> None:
    assert printed(TABLE) == [
        "",
        "A table",
        "  loader  network  mean s",
        "  ───────────────────────",
        "one, batch 4",
        "  inside  A          1.00",
        "          [bold]    22.50",
        "one, batch 256",
        "  inside  A             -",
        "two, batch 256",
        "  inside  A        333.25",
        "A note.",
    ]


def test_a_note_of_columns_that_a_terminal_leaves_out_is_left_out_too() -> None:
    noted = replace(TABLE, notes=("A note.", "deviation: of what?"), wide_notes=frozenset({"deviation: of what?"}))
    assert printed(noted) == printed(TABLE)
    assert "deviation: of what?" in markdown_table(noted)


def test_a_table_without_sections_is_not_indented() -> None:
    plain = replace(TABLE, columns=TABLE.columns[2:], notes=())
    assert printed(plain)[1:5] == [
        "A table",
        "loader  network  mean s",
        "───────────────────────",
        "inside  A          1.00",
    ]


def test_a_table_without_rows_says_so() -> None:
    assert printed(replace(TABLE, rows=(), title="[bold]")) == ["", "[bold]: not measured"]


def test_texts_and_headings_are_wrapped_where_there_is_no_room_and_numbers_are_not() -> None:
    long = "a claim of rather many words that fits no line of a terminal at all, so that it must go on below"
    table = Table(
        "t",
        "T",
        (Column("claim", "claim", TEXT), Column("x", "seconds of a pass", REAL, ",.3f")),
        ({"claim": long, "x": 1234567.125},),
    )
    lines = printed(table, 40)
    assert max(map(len, lines)) <= 40
    assert any("1,234,567.125" in line for line in lines)
    assert " ".join(" ".join(line.replace("1,234,567.125", "").split()) for line in lines[4:]).strip() == long
    assert "seconds of a pass" in printed(table, 150)[2], "where there is room, nothing is wrapped"


def test_what_has_no_room_even_so_is_broken_and_not_cut_off() -> None:
    table = Table("t", "T", (Column("a", "a", TEXT), Column("x", "x", REAL, ".2f")), ({"a": "b" * 30, "x": 1234.5},))
    lines = printed(table, 20)
    assert max(map(len, lines)) <= 20
    assert "".join(lines).count("b") == 30


@pytest.mark.parametrize("synthetic", [False, True])
def test_every_table_of_a_run_fits_80_columns_whole(tmp_path: Path, synthetic: bool) -> None:
    tables = make_tables(Records.read(make_run(tmp_path, synthetic=synthetic)))
    assert sum(bool(table.rows) for table in tables) >= 5
    for table in tables:
        lines = printed(table)
        assert max(map(cell_len, lines)) <= 80
        assert "…" not in "".join(lines)
        narrow = replace(table, columns=tuple(column for column in table.columns if not column.wide))
        for column in table.shown:
            assert not (column.wide and f" {column.heading}: " in f" {' '.join(lines)}"), "not shown, and explained"
        words = {word for line in lines for word in line.split()}
        for cells in narrow.cells():
            for cell in cells:
                for word in cell.split():
                    assert word in words or f"{word}," in words, "a section's value has a comma behind it"


@given(
    st.lists(st.tuples(st.text("ab ", max_size=40), st.floats(-1e9, 1e9)), min_size=1, max_size=6),
    st.integers(40, 120),
)
def test_any_table_keeps_within_the_console_and_loses_no_letter(rows: list[tuple[str, float]], width: int) -> None:
    table = Table(
        "t",
        "T",
        (Column("text", "t", TEXT), Column("x", "x", REAL, ",.2f")),
        tuple({"text": text, "x": x} for text, x in rows),
    )
    lines = printed(table, width)
    assert max(map(len, lines)) <= width
    shown = "".join(lines[4:])
    assert sorted(letter for letter in shown if letter in "ab") == sorted(
        letter for text, _ in rows for letter in text if letter in "ab"
    )
    assert all(any(f"{x:,.2f}" in line for line in lines) for _, x in rows)


def test_a_note_of_several_tables_is_read_once_and_a_footnote_below_each() -> None:
    console = Console(file=io.StringIO(), width=80)
    noted = replace(TABLE, notes=("A note.", "[1] A footnote."))
    print_tables(console, [noted, replace(noted, notes=(*noted.notes, "Another."))])
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert (printed.count("A note."), printed.count("[1] A footnote."), printed.count("Another.")) == (1, 2, 1)


def test_the_answer_is_a_paragraph_a_sentence_and_no_markup(tmp_path: Path) -> None:
    records = Records.read(make_run(tmp_path))
    console = Console(file=io.StringIO(), width=80)
    print_answer(console, answer(records))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(lines).split() == " ".join(answer(records)).split()


def test_each_place_is_a_line_that_can_be_copied_whole() -> None:
    console = Console(file=io.StringIO(), width=20)
    print_places(console, {"report": "/a/long/path/[of]/a/report.html", "kept in": None, "W&B": "there"})
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == ["", "report: /a/long/path/[of]/a/report.html", "W&B:    there"]


def test_trials_that_diverged_are_named_as_many_as_are_read() -> None:
    def said(count: int) -> list[str]:
        output = io.StringIO()
        row = {"stage": "search", "trial": "A lr=[9]", "epochs_done": 1, "epochs": 3}
        print_diverged(Console(file=output, width=30), [row] * count)
        return output.getvalue().splitlines()

    assert said(0) == []
    assert said(1) == ["", "1 of the trials diverged:", "  search: A lr=[9] in epoch 1 of 3"]
    assert said(10)[-2:] == ["  search: A lr=[9] in epoch 1 of 3", "  ... and 2 more"]
    assert len(said(10)) == 11


def test_the_end_of_a_sweep_names_what_diverged(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    records = Records.read(paths)
    rows = [{**row, "status": "diverged"} if row["trial_id"] == "s1" else row for row in records.trials]
    output = io.StringIO()
    print_end(Console(file=output, width=80), KeptRun(paths, None), replace(records, trials=rows), (), "dwray resume")
    assert "\n1 of the trials diverged:\n  search: A initial_lr=0.2\n" in output.getvalue()
