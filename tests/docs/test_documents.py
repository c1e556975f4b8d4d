"""The documents' commands and snippets run, and what is generated is what the code says.

A block of shell is taken command by command: those of dwray are run (a sweep with --dry-run), or where they need a
store, a cluster or minutes, their options are parsed as the command would; those of Ray are parsed, too. NOT_RUN names
the others. A block of Python is run; under ``<!-- test: imports -->`` only its imports are.
"""

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import jsonschema
import pytest
import yaml
from commands import in_process
from documents import BLOCKS, FILES, ROOT, Block, commands

import dwray
from dwray.cli import cli
from dwray.cli.schema import reference, sweep_schema
from dwray.sweepfile import resolve

NOT_RUN = {
    ".": "set-up: .ci/run does it in a clean checkout",
    "aws": "an AWS account",
    "chmod": "Ray's token",
    "export": "sets the shell's environment",
    "lint-imports": ".ci/run",
    "mypy": ".ci/run",
    "pip": "set-up: .ci/run",
    "pytest": "this",
    "python3": "set-up: .ci/run",
    "ruff": ".ci/run",
}
"""Programs whose commands no test of this file runs, and why, or what does."""
PARSED = {"bench", "doctor", "fetch", "data", "publish", "resume", "show", "time"}
"""Commands of dwray that take minutes, a network or a browser: their options are parsed."""
RUN_ELSEWHERE = {"docs/python.md": "tests/test_python_api.py"}
"""Documents whose snippets a test of another file runs."""
SHELL = [block for block in BLOCKS if block.language == "sh"]
PYTHON = [block for block in BLOCKS if block.language == "python" and block.file not in RUN_ELSEWHERE]
SWEEPS = [block for block in BLOCKS if block.language == "yaml"]


def parse(command: click.Command, words: list[str]) -> None:
    """Parse a command's options as it would itself, and run nothing."""
    context = command.make_context(command.name, list(words))
    if isinstance(command, click.Group):
        name, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner, name
        parse(inner, rest)


def check(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command, or parse it."""
    program, *arguments = words
    if program == "dwray":
        away = any("://" in word or word in ("RUN", "auto") for word in arguments)
        if arguments[0] in PARSED or (away and arguments[0] != "sweep"):
            parse(cli, arguments)
            return
        # What a plan measures has tests of its own.
        instead = {"sweep": ["--dry-run"], "plan": ["--no-calibrate"]}.get(arguments[0], [])
        code, _, error = in_process(*arguments, *instead, capsys=capsys)
        assert (code, error) == (0, ""), error
    elif program == "ray":
        from ray.scripts.scripts import cli as ray_cli

        parse(ray_cli, arguments)
        for word in arguments:  # what is run on the cluster
            for inner in commands(word) if " " in word else ():
                check(inner, capsys)
        if "--" in arguments:
            check(arguments[arguments.index("--") + 1 :], capsys)
    else:
        assert program in NOT_RUN, f"nothing runs {shlex.join(words)}, and nothing says why"


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_the_commands_of_a_document_run(block: Block, scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(commands(block.text))
    assert found
    for words in found:
        check(words, capsys)


def test_every_reason_for_not_running_is_needed() -> None:
    programs = {words[0] for block in SHELL for words in commands(block.text)}
    assert set(NOT_RUN) <= programs
    assert {"dwray", "ray"} <= programs


GIVEN = {"README.md": "def trainable(config):\n    return {'loss': config['lr'] / config['depth']}\n"}
"""What a document leaves to its reader."""


@pytest.mark.slow
@pytest.mark.parametrize("document", sorted({block.file for block in PYTHON}))
def test_the_snippets_of_a_document_run_one_after_the_other(document: str, scratch: Path) -> None:
    (run,) = (scratch / "runs" / "digits").iterdir()
    script = [GIVEN.get(document, "")]
    for block in PYTHON:
        if block.file == document:
            assert block.directive in ("", "imports")
            script.append(imports(block.text) if block.directive else block.text.replace("<run-id>", run.name))
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(script)], cwd=scratch, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_snippets_that_are_run_elsewhere_are() -> None:
    for document, test in RUN_ELSEWHERE.items():
        assert Path(document).name in (ROOT / test).read_text(encoding="utf-8")


def imports(text: str) -> str:
    """The import statements of a script."""
    kept = [each for each in ast.parse(text).body if isinstance(each, ast.Import | ast.ImportFrom)]
    return ast.unparse(ast.Module(list(kept), []))


@pytest.mark.parametrize("block", SWEEPS, ids=str)
def test_a_sweep_file_of_a_document_is_valid(block: Block, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(block.text)
    assert resolve(str(tmp_path / "mine.yaml")).networks


def test_the_reference_is_that_of_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "sweep-file.md").read_text(encoding="utf-8")
    kept = text.partition("<!-- reference -->\n")[2].partition("<!-- end of reference -->")[0]
    again = "dwray schema --markdown, between the marks of docs/sweep-file.md"
    assert kept == reference(sweep_schema()) == in_process("schema", "--markdown", capsys=capsys)[1], again


def test_the_schema_is_that_of_the_sweeps_and_they_name_it(capsys: pytest.CaptureFixture[str]) -> None:
    kept = ROOT / "sweeps" / "schema.json"
    assert kept.read_text() == in_process("schema", capsys=capsys)[1], "dwray schema > sweeps/schema.json"
    schema = json.loads(kept.read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    for path in sorted(kept.parent.glob("*.yaml")):
        first, _, _ = path.read_text().partition("\n")
        assert first == f"# yaml-language-server: $schema={kept.name}"
        jsonschema.validate(yaml.safe_load(path.read_text()), schema, jsonschema.Draft7Validator)


@pytest.mark.parametrize(
    "change",
    [
        {"trainig": {}},
        {"networks": []},
        {"networks": {"ConvNet": {"training": {"epohs": 1}}}},
        {"training": {"precision": "float16"}},
        {"search": {"axes": {"epochs": [1]}}},
        {"search": {"axes": {"initial_lr": 0.1}}},
        {"protocol": "papr"},
        {"timing": {"modes": ["float32-fast"]}},
        {"seeds": [-1]},
    ],
    ids=str,
)
def test_an_editor_marks_what_dwray_refuses(change: dict[str, object]) -> None:
    found = jsonschema.Draft7Validator(sweep_schema())
    assert not list(found.iter_errors({"networks": ["ConvNet"]}))
    assert list(found.iter_errors({"networks": ["ConvNet"], **change}))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_a_document_links_to_is_there(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", path.read_text(encoding="utf-8")):
        assert "://" in target or (path.parent / target).exists(), target


def test_the_citation_has_what_its_format_asks_for() -> None:
    # https://github.com/citation-file-format/citation-file-format, schema guide 1.2.0
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(found)
    known = {"cff-version", "message", "type", "title", "abstract", "authors", "version", "license", "keywords"}
    assert set(found) <= known | {"references", "date-released", "repository-code", "url", "doi"}
    assert found["cff-version"] == "1.2.0"
    assert all({"type", "title", "authors"} <= set(each) for each in found["references"])
    assert found["version"] == dwray.__version__
