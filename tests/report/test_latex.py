"""The report as LaTeX: it compiles where there is a TeX, and is well formed everywhere."""

import re
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import make_run
from trained import Training, trained_run

from dwray.report.compared import document_of_several
from dwray.report.content import document_of
from dwray.report.document import Document, Listing, Section
from dwray.report.documents import read_run, write_report
from dwray.report.formats import write
from dwray.report.latex import LONG, escape, latex, latex_listing, latex_table
from dwray.report.markdown import MOST_ROWS, shortened
from dwray.report.values import tables_of
from dwray.results.table import Column, Table

TEXT, REAL = pa.string(), pa.float64()
needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")


def table(texts: list[str], title: str = "Table 3. Training time", notes: tuple[str, ...] = ()) -> Table:
    return Table(
        "training_time",
        title,
        (
            Column("data", "data", TEXT, group=True),
            Column("text", "50% & more", TEXT),
            Column("x", "95% ±", REAL, "+.2f"),
            Column("std", "std", REAL, ".1f", wide=True),
            Column("hidden", "hidden", TEXT, shown=False),
        ),
        tuple({"data": "cifar10", "text": text, "x": -1.5, "std": 0.5} for text in texts),
        notes,
    )


def rows_of(code: str) -> list[list[str]]:
    """The cells of every row of a table's code."""
    lines = re.findall(r"^(.*) \\\\$", code, re.MULTILINE)
    return [re.split(r"(?<!\\) & ", line) for line in lines if "\\caption" not in line]


def assert_well_formed(code: str) -> None:
    """Environments and braces close in the order in which they were opened."""
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", code):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    depth = 0
    for brace in re.findall(r"(?<!\\)(?:\\\\)*([{}])", code):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0


def compile_document(folder: Path, name: str = "report") -> str:
    """What pdflatex says of a document; the test fails if it does not compile."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"{name}.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-3000:]
    assert (folder / f"{name}.pdf").is_file()
    return said


def test_a_table_is_set_as_booktabs_with_its_caption_label_and_notes() -> None:
    code = latex_table(table(["one", "two"], notes=("5% of [1]",)))
    assert_well_formed(code)
    assert r"\renewcommand{\thetable}{3}" in code, "the paper's number"
    assert r"\caption{Training time}\label{tab:training_time}" in code
    assert r"\begin{tabular}{@{}llrr@{}}" in code
    assert rows_of(code) == [
        ["data", r"50\% \& more", r"95\% ±", "std"],
        ["cifar10", "one", "$-$1.50", "0.5"],
        ["", "two", "$-$1.50", "0.5"],
    ]
    for rule in ("toprule", "midrule", "bottomrule"):
        assert code.count(f"\\{rule}") == 1
    assert re.search(r"\\end\{table\}\n.*\n\{\\footnotesize\n\\par 5\\% of \{\[\}1\]\n", code)


def test_a_table_that_is_not_the_papers_has_no_number_and_an_empty_one_says_so() -> None:
    code = latex_table(table(["one"], title="Settings & more"))
    assert "thetable" not in code
    assert r"\caption*{Settings \& more}" in code
    assert latex_table(table([], title="Settings & more")) == r"\paragraph{Settings \& more} Not measured."


def test_a_long_table_may_be_broken_over_pages_and_repeats_its_header() -> None:
    short, long = (latex_table(table(["x"] * count)) for count in (LONG, LONG + 1))
    assert "longtable" not in short
    assert_well_formed(long)
    assert long.count(r"50\% \& more") == 2
    assert len(rows_of(long)) == LONG + 1 + 2
    assert "tabular" not in long


def test_long_texts_are_paragraphs_and_indented_ones_stay_so() -> None:
    code = latex_table(table(["many words that together are very long", "  data, s"]))
    assert re.search(r"\\begin\{tabular\}\{@\{\}l>\{\\raggedright\\arraybackslash\}p\{\d+em\}rr@\{\}\}", code)
    assert rows_of(code)[2][1] == r"\quad data, s"


@given(st.text())
def test_whatever_a_text_says_it_is_no_command(text: str) -> None:
    code = escape(text)
    assert "\n" not in code
    assert_well_formed(code)
    left = re.sub(r"\\text\w+\{[^{}]*\}|\\[{}$&#%_]|\\dots\{\}|\$-\$|\$\\\w+\$|\{\[\}|\{\*\}|\{\}", "", code)
    assert not set(left) & set('\\{}$&#%_^~<>|"[*`'), left
    assert max(map(ord, left), default=0) <= 0xFF
    assert not re.search("--|,,|''", code), "no two signs become another one"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a_b 5% & $1", r"a\_b 5\% \& \$1"),
        (r"C:\x {y}", r"C:\textbackslash{}x \{y\}"),
        ("x₄ ≥ 2 – 3 × ±", r"x\textsubscript{4} $\geq$ 2 \textendash{} 3 × ±"),  # noqa: RUF001
        ("--flag", "-{}-flag"),
        ("---", "-{}-{}-"),
        ("a\nb", "a b"),
        ("汉", r"\texttt{U+6C49}"),
    ],
)
def test_signs_are_escaped(text: str, code: str) -> None:
    assert escape(text) == code


def test_the_document_holds_every_table_and_names_what_failed(tmp_path: Path) -> None:
    paths = make_run(tmp_path)
    write_report(paths)
    document = document_of(read_run(paths))
    code = paths.latex.read_text()
    assert code == latex(document)
    assert_well_formed(code)
    tables = list(tables_of(document))
    assert {"accuracy", "trials"} <= {each.name for each in tables}
    for each in tables:
        assert latex_table(each) in code
    assert "train & B seed=0 & B & failed" in code
    assert r"RuntimeError: {[}bold]out of \textbar{} memory" in code


def test_a_listing_stands_line_by_line_as_it_is() -> None:
    code = latex_listing(Listing("The file", "a_b:\n  - 1\n\nc: {}"))
    assert code.splitlines()[2:] == [r"a\_b:\par", r"~~- 1\par", r"\strut\par", r"c: \{\}\par", r"\endgroup"]


def test_of_a_long_table_the_first_rows_are_set_and_the_others_counted() -> None:
    rows = [str(number) for number in range(MOST_ROWS + 7)]
    short = shortened(table(rows, notes=("said",)))
    assert [row["text"] for row in short.rows] == rows[:MOST_ROWS]
    assert short.notes[0].startswith("7 more rows")
    assert short.notes[1:] == ("said",)
    assert shortened(table(rows[:MOST_ROWS])) == table(rows[:MOST_ROWS])


def test_the_papers_figures_keep_their_numbers(tmp_path: Path) -> None:
    trainings = [Training("ConvNet", 0, [2.0]), Training("other", 0, [2.0])]
    run = trained_run(tmp_path, trainings, dataset="cifar10", compare_with="cifar10")
    write_report(run)
    code = run.latex.read_text()
    assert_well_formed(code)
    assert re.search(r"\\renewcommand\{\\thefigure\}\{6\}\n.*training_loss_ConvNet\.pdf\}\n\\caption\{ConvNet tr", code)
    assert r"\caption*{Training loss of other on CIFAR10. " in code


@needs_tex
def test_the_report_compiles(tmp_path: Path) -> None:
    plain = make_run(tmp_path)
    write_report(plain)
    compile_document(plain.folder)
    run = trained_run(
        tmp_path,
        [Training(name, seed, [2.0, 1.0]) for name in ("ConvNet", "a_b & c%") for seed in (0, 1)],
        dataset="cifar10",
        compare_with="cifar10",
    )
    write_report(run)
    said = compile_document(run.folder)
    assert "Overfull" not in said
    assert "Float too large" not in said


@needs_tex
def test_the_report_of_several_runs_compiles(tmp_path: Path) -> None:
    trainings = [Training(name, seed, [2.0, 1.0]) for name in ("ConvNet", "a_b & c%") for seed in (0, 1)]
    runs = [
        make_run(tmp_path),
        make_run(tmp_path, name="other_50%"),
        trained_run(tmp_path, trainings, dataset="cifar10", compare_with="cifar10"),
    ]
    write(document_of_several([read_run(run) for run in runs]), "latex", tmp_path / "comparison.tex")
    assert_well_formed((tmp_path / "comparison.tex").read_text())
    said = compile_document(tmp_path, "comparison")
    assert "Overfull \\hbox" not in said, "nothing sticks out sideways"
    assert "Float too large" not in said


@needs_tex
def test_every_sign_and_every_shape_of_table_compiles(tmp_path: Path) -> None:
    signs = "".join(map(chr, [*range(0x20, 0x180), *range(0x2010, 0x2040), *range(0x2070, 0x20D0), 0x2212, 0x2265]))
    awkward = ["[1]", "*", "x" * 60, signs, *(character * 2 for character in signs)]
    tables = [table(awkward), table(awkward[:4], title="Shorter", notes=(signs, "[1] note")), table([])]
    section = Section("signs", signs, paragraphs=(signs,), tables=tables, listings=(Listing(signs, f"  {signs}"),))
    document = Document(signs, signs, signs, (signs,), (section,))
    (tmp_path / "signs.tex").write_text(latex(document), encoding="utf-8")
    said = compile_document(tmp_path, "signs")
    assert "Missing character" not in said
