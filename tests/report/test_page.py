"""The page as text: whole, closed to the network, escaped, and readable by whoever reads it."""

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example as such_as
from hypothesis import given
from hypothesis import strategies as st
from pages import EVIL, example, trials

from dwray.report.document import Document, Section
from dwray.report.html import FIRST_ROWS, LONG_WORD, MOST_CHOICES, cells, page, ranks, sortable
from dwray.results.table import Column, Table

VOID = {"meta", "img", "input", "br", "link", "hr", "wbr"}


class Read(HTMLParser):
    """Elements with their attributes and their text, and whether all were closed."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made: tuple[str, dict[str, str | None], list[str]] = (tag, dict(attrs), [])
        self.elements.append(made)
        if tag not in VOID:
            self._open.append(made)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1][2].append(data)

    def close(self) -> None:
        super().close()
        assert self._open == []

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]

    def texts(self, tag: str) -> list[str]:
        return ["".join(text) for name, _, text in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        return [value for _, attributes, _ in self.elements if (value := attributes.get("id"))]

    @property
    def scripts(self) -> list[str]:
        """Those that would run."""
        return ["".join(text) for name, attributes, text in self.elements if name == "script" and not attributes]

    @property
    def data(self) -> list[Any]:
        return [
            json.loads("".join(text))
            for name, attributes, text in self.elements
            if name == "script" and attributes.get("type") == "application/json"
        ]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    return example(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def text(document: Document) -> str:
    return page(document)


@pytest.fixture(scope="module")
def read(text: str) -> Read:
    found = Read()
    found.feed(text)
    found.close()
    return found


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_same_report_is_the_same_page(document: Document, text: str) -> None:
    assert page(document) == text


def test_nothing_runs_and_nothing_is_loaded_but_what_the_policy_names(read: Read) -> None:
    (policy,) = [each["content"] or "" for each in read.attributes("meta") if "http-equiv" in each]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert len(read.scripts) == 2, "the libraries, and the page's own"
    assert rules["script-src"].split() == [digest(script) for script in read.scripts]
    assert rules["style-src"].split() == [digest(style) for style in read.texts("style")]
    assert not any("style" in attributes for _, attributes, _ in read.elements)
    assert not any(name.startswith("on") for _, attributes, _ in read.elements for name in attributes)
    assert not any("src" in attributes for _, attributes, _ in read.elements)
    assert all((each["href"] or "").startswith("#") for each in read.attributes("a"))
    assert "url(" not in read.texts("style")[0]


def test_whatever_a_run_says_is_shown_as_text(read: Read, text: str) -> None:
    assert len(re.findall("<script", text)) == text.count("</script>") == len(read.scripts) + len(read.data)
    assert "img" not in {tag for tag, _, _ in read.elements}
    assert EVIL in read.texts("p")
    assert f"name: x\n# {EVIL}\n" in read.texts("code")
    assert EVIL in [text.strip() for text in read.texts("td")]
    assert read.texts("title") == [f"example {EVIL} - dwray"]


def test_identifiers_are_there_once_and_every_link_leads_to_one(read: Read) -> None:
    assert len(read.ids) == len(set(read.ids))
    links = [(each["href"] or "").removeprefix("#") for each in read.attributes("a")]
    assert {"answer", "tables", "figures", "timing", "trials", "reproduce"} == set(links) <= set(read.ids)
    named = [each for _, attributes, _ in read.elements if (each := attributes.get("aria-labelledby"))]
    assert named
    assert set(named) <= set(read.ids)


def test_the_order_is_the_documents_with_the_answer_first(read: Read, document: Document) -> None:
    assert [each["id"] for each in read.attributes("section")] == [
        "answer",
        *(section.name for section in document.sections),
    ]
    for sentence in document.answer:
        assert sentence in read.texts("p")


def test_landmarks_headings_and_tables_are_named_for_those_who_hear_the_page(read: Read) -> None:
    assert read.attributes("html") == [{"lang": "en"}]
    for landmark in ("nav", "main", "header", "h1"):
        assert len(read.attributes(landmark)) == 1
    assert read.attributes("a")[0]["class"] == "skip", "the first stop of the keyboard"
    levels = [int(tag[1]) for tag, _, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    headers = read.attributes("th")
    assert {each["scope"] for each in headers} == {"col", "row"}
    regions = [each for each in read.attributes("div") if each.get("class") == "scroll"]
    assert len(regions) == len(read.attributes("table"))
    assert len([each for each in read.attributes("table") if "aria-labelledby" in each]) == 2
    assert all(each["tabindex"] == "0" and each["role"] == "region" and each["aria-label"] for each in regions)
    assert all(each.get("type") == "button" for each in read.attributes("button"))


def test_a_figure_has_a_picture_a_text_and_its_data(read: Read, document: Document) -> None:
    figures = [figure for section in document.sections for figure in section.figures]
    assert len(figures) >= 5
    assert [each["id"] for each in read.attributes("figure")] == [f"figure-{figure.name}" for figure in figures]
    pictures = [each for each in read.attributes("svg") if each.get("role") == "img"]
    assert [each["aria-label"] for each in pictures] == [figure.alt_text for figure in figures]
    assert all(figure.alt_text in read.texts("p") for figure in figures)
    charts = [data for data in read.data if "specs" in data]
    assert len(charts) == len(figures)
    assert all(rows for data in charts for rows in data["datasets"].values())
    titles = [table.title for figure in figures for table in figure.data]
    assert [text.strip() for text in read.texts("caption")] == titles
    assert all(figure.data for figure in figures)
    for figure in figures:
        assert len({table.title for table in figure.data}) == len(figure.data), "each says what it alone has"


def test_a_group_that_goes_on_is_still_said(read: Read) -> None:
    assert "cifar10" in read.texts("span")
    (first, second) = cells(Table("t", "T", (Column("a", "a", pa.string(), group=True),), ({"a": "x"}, {"a": "x"})))
    assert [(cell.text, cell.is_repeated) for cell in first + second] == [("x", False), ("x", True)]


def test_a_long_table_has_its_first_rows_in_the_page_and_all_in_its_data(read: Read) -> None:
    (table,) = [data for data in read.data if "rows" in data]
    shown = [text for text in read.texts("th") if text.startswith("trial ")]
    assert shown == [f"trial {number}" for number in range(FIRST_ROWS)]
    assert [row[1] for row in table["rows"]] == [f"trial {number}" for number in range(120)]
    assert {row[0] for row in table["rows"]} == {"search", "train"}, "a row says all its own, however it is sorted"


def test_a_sections_tables_without_rows_say_so() -> None:
    empty = Table("none", "Nothing", (Column("a", "a", pa.string()),), ())
    for can_sort in (True, False):
        section = Section("x", "X", tables=(empty,), sortable=can_sort)
        said = page(Document("t", "s", "p", (), (section,)))
        assert "Not measured." in said
        assert "<table" not in said.split("<main>")[1].split("<script>")[0]


def test_a_table_can_be_filtered_by_columns_of_few_texts() -> None:
    found = sortable(trials(40))
    assert [(choice.heading, list(choice.values)) for choice in found.choices if choice.heading != "error"] == [
        ("stage", ["search", "train"]),
        ("status", ["completed", "failed"]),
    ]
    many = sortable(trials(200))
    assert all(len(choice.values) <= MOST_CHOICES for choice in many.choices)
    assert "trial" not in [choice.heading for choice in many.choices]
    assert found.ranks[0] is None
    assert found.ranks[3] is not None


@given(st.lists(st.none() | st.floats() | st.integers(-5, 5)))
@such_as([math.nan, 1.0, None, -math.inf, 1])
def test_ranks_order_rows_as_their_numbers_do(values: list[float | None]) -> None:
    found = ranks(values)
    assert len(found) == len(values)
    for value, rank in zip(values, found, strict=True):
        assert (rank is None) == (value is None or math.isnan(value))
    known = [(value, rank) for value, rank in zip(values, found, strict=True) if value is not None and rank is not None]
    for value, rank in known:
        for other, other_rank in known:
            assert (value < other) == (rank < other_rank)


def test_a_page_of_five_thousand_trials_is_small(tmp_path: Path) -> None:
    made = page(example(tmp_path, 5000)).encode()
    assert len(made) < 6 * 2**20


def test_only_a_cell_with_a_word_too_long_for_a_column_is_broken_within_words() -> None:
    texts = [
        "train",
        "2026-11-29",
        "does not hold",
        "  data",
        "the seconds of all epochs of a training",
        f"ValueError: /data/{'x' * LONG_WORD}/7",
    ]
    table = Table("t", "T", (Column("a", "a", pa.string()),), tuple({"a": text} for text in texts))
    assert [cell.look for (cell,) in cells(table)] == ["", "", "words", "", "long", "broken"]
