"""``dwray report``: one run or several, in every format, and what it refuses."""

import csv
import json
from pathlib import Path

import pytest
from commands import in_process
from records import make_run

from dwray.paths import RunPaths
from dwray.results.answer import answer
from dwray.results.records import Records

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RunPaths, RunPaths]:
    """Two runs in ./runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return make_run(tmp_path / "runs"), make_run(tmp_path / "runs", name="other")


def test_the_answer_stands_above_the_tables_and_every_file_is_written(
    runs: tuple[RunPaths, RunPaths], capsys: Capture
) -> None:
    code, out, error = in_process("report", "hand", capsys=capsys)
    assert (code, error) == (0, "")
    first = answer(Records.read(runs[0]))[0]
    flat = " ".join(out.split())
    assert flat.startswith(first)
    assert flat.index(first) < flat.index("Table 1.")
    for path in (runs[0].html, runs[0].markdown, runs[0].latex, runs[0].figure("epoch_seconds", "png")):
        assert path.is_file()
    assert max(map(len, out.splitlines())) <= 80 or "report: " in max(out.splitlines(), key=len)


def test_json_has_the_answer_beside_the_tables(runs: tuple[RunPaths, RunPaths], capsys: Capture) -> None:
    _, out, _ = in_process("report", "hand", "--json", capsys=capsys)
    assert json.loads(out)["answer"] == answer(Records.read(runs[0]))


@pytest.mark.parametrize(("form", "begins"), [("md", "# hand\n"), ("latex", "\\documentclass"), ("json", "{\n")])
def test_a_text_is_printed_unless_a_file_is_named(
    runs: tuple[RunPaths, RunPaths], capsys: Capture, form: str, begins: str
) -> None:
    code, out, _ = in_process("report", "hand", "--format", form, capsys=capsys)
    assert code == 0
    assert out.startswith(begins)
    assert not runs[0].html.exists(), "this format alone"
    _, said, _ = in_process("report", "hand", "--format", form, "--output", "out/mine.txt", capsys=capsys)
    assert said == "out/mine.txt\n"
    assert Path("out/mine.txt").read_text().startswith(begins)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("r.md", "# hand\n"),
        ("r.tex", "\\documentclass"),
        ("r.json", "{\n"),
        ("r.html", "<!DOCTYPE"),
        ("r", "<!DOCTYPE"),
    ],
)
def test_the_ending_of_the_file_says_what_it_is(
    runs: tuple[RunPaths, RunPaths], capsys: Capture, name: str, begins: str
) -> None:
    _, said, _ = in_process("report", "hand", "-o", name, capsys=capsys)
    assert said == f"{name}\n"
    assert Path(name).read_text().lstrip().startswith(begins)
    assert Path("r-figures/epoch_seconds.svg").is_file() == (name in ("r.md", "r.tex"))


def test_csv_is_a_folder_with_a_file_for_each_table(runs: tuple[RunPaths, RunPaths], capsys: Capture) -> None:
    _, out, _ = in_process("report", "hand", "--format", "csv", capsys=capsys)
    folder = Path(out.strip())
    assert folder == runs[0].in_format("csv")
    with (folder / "accuracy.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["measured"] == "92.0"
    _, out, _ = in_process("report", "hand", "--format", "csv", "-o", "elsewhere", capsys=capsys)
    assert {path.name for path in Path("elsewhere").iterdir()} == {path.name for path in folder.iterdir()}


def test_several_runs_are_compared_in_one_page(runs: tuple[RunPaths, RunPaths], capsys: Capture) -> None:
    code, out, error = in_process("report", "hand", "other", capsys=capsys)
    assert (code, error) == (0, "")
    assert "The runs side by side" in out
    assert out.endswith("runs/comparison.html\n")
    page = Path("runs/comparison.html").read_text()
    for paths in runs:
        assert f"{paths.folder.parent.name}/{paths.run_id}" in page
        assert not paths.html.exists(), "the runs' own reports are left alone"
    _, out, _ = in_process("report", "hand", "other", "-q", "-o", "mine.html", capsys=capsys)
    assert out == "mine.html\n"
    assert Path("mine.html").read_text() == page


@pytest.mark.parametrize("option", ["--json", "--format=json"])
def test_several_runs_as_json(runs: tuple[RunPaths, RunPaths], capsys: Capture, option: str) -> None:
    _, out, _ = in_process("report", "hand", "other", option, capsys=capsys)
    rows = json.loads(out)["tables"]["several_runs"]["rows"]
    assert [row["run"].split("/")[0] for row in rows] == ["hand", "hand", "other", "other"]
    assert not Path("runs/comparison.html").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["hand", "nowhere"], 1, "nowhere: neither the folder of a run"),
        (["hand", "--format", "pdf"], 2, "'pdf' is not one of"),
        (["hand", "--json", "--format", "md"], 2, "--format json"),
        (["hand", "--open", "--format", "csv"], 2, "--open shows the page"),
        (["hand", "other", "--wandb"], 2, "publishes one run"),
        (["--wandb", "hand"], 2, "takes auto, offline, online, or nothing, not 'hand': dwray report hand --wandb"),
        ([], 2, "Missing argument"),
        (["hand", "-o", "x.pdf"], 2, "x.pdf: a report ends in .html, .htm, .md, .tex, .json"),
        (["hand", "-o", "/proc/nowhere/x.html"], 1, "/proc/nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    runs: tuple[RunPaths, RunPaths], capsys: Capture, arguments: list[str], code: int, said: str
) -> None:
    found, _, error = in_process("report", *arguments, capsys=capsys)
    assert found == code
    assert said in error
    assert "Traceback" not in error
    assert not Path("x.pdf").exists()
