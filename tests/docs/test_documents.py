"""The documents' commands and snippets run, and what is generated is what the code says.

A block of shell is taken command by command: those of dwray are run (a sweep with --dry-run), or where they need a
store, a cluster or minutes, their options are parsed as the command would; those of Ray are parsed, too, and so are
those of dwray that a sentence has in backticks. NOT_RUN names the others. A block of Python is run; under
``<!-- test: imports -->`` only its imports are.
"""

import ast
import contextlib
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
from commands import dwray as run_dwray
from commands import in_process
from documents import BLOCKS, FILES, INLINE, ROOT, Block, commands, spans

import dwray
from dwray.cli import cli
from dwray.cli.schema import reference, setting_keys, sweep_schema
from dwray.core.crossover import MAX_ROUNDS
from dwray.core.witness import OTHERS_SECONDS, OTHERS_SHARE
from dwray.errors import EXIT_FAILED, EXIT_NOT_EXCLUSIVE
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
PARSED = {"bench", "data", "publish", "resume"}
"""Commands of dwray that take minutes, a cluster or a network: their options are parsed."""
SHORT = "--no-crossover"
"""Of ``dwray time``, which takes minutes without it."""
SLOW = {"doctor": EXIT_FAILED, "time": EXIT_NOT_EXCLUSIVE}
"""Commands that take seconds, and the exit code that they end with on some machines though nothing is wrong in them."""
RUN_ELSEWHERE = {"docs/python.md": "tests/test_python_api.py"}
"""Documents whose snippets a test of another file runs."""
TRIAL = "A seed=0"
"""One of each of the runs that the commands name (tests/records.py)."""
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


def runs_slowly(block: Block) -> bool:
    """Whether it takes more than some seconds."""
    return SHORT in block.text


def check(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command, or parse it."""
    program, *arguments = words
    if program == "dwray":
        away = any("://" in word or word in ("RUN", "auto") for word in arguments)
        long = arguments[0] in PARSED or (arguments[0] == "time" and SHORT not in arguments)
        if long or (away and arguments[0] != "sweep"):
            parse(cli, arguments)
            return
        if arguments[0] in SLOW:  # they set the process up: threads, the allocator
            ended = run_dwray(*arguments, folder=Path.cwd())
            assert ended.returncode in (0, SLOW[arguments[0]]), ended.stderr
            assert ended.stdout
            return
        # What a plan measures has tests of its own.
        instead = {"sweep": ["--dry-run"], "plan": ["--no-calibrate"]}.get(arguments[0], [])
        words = [TRIAL if word == "TRIAL" else word for word in arguments]
        code, _, error = in_process(*words, *instead, capsys=capsys)
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


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, marks=[pytest.mark.slow] if runs_slowly(block) else []) for block in SHELL],
    ids=str,
)
def test_the_commands_of_a_document_run(block: Block, scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = list(commands(block.text))
    assert found
    for words in found:
        check(words, capsys)


def test_every_reason_for_not_running_is_needed() -> None:
    found = [words for block in SHELL for words in commands(block.text)]
    assert set(NOT_RUN) <= {words[0] for words in found}
    assert {"dwray", "ray"} <= {words[0] for words in found}
    assert PARSED | set(SLOW) <= {words[1] for words in found if words[0] == "dwray"}
    assert any(SHORT in words for words in found)


@pytest.mark.parametrize(("file", "command"), INLINE)
def test_a_command_in_a_sentence_is_one(file: str, command: str) -> None:
    # A sentence may name a command alone; `--help` ends once it is parsed.
    with contextlib.suppress(click.MissingParameter, click.exceptions.Exit):
        parse(cli, shlex.split(command)[1:])


def test_commands_in_sentences_are_found() -> None:
    assert {"README.md", "docs/cluster.md", "docs/errors.md", "docs/timing.md"} <= {file for file, _ in INLINE}
    assert not [command for _, command in INLINE if "plann" in command], "tests/docs/test_errors.py runs those"
    with pytest.raises(click.NoSuchOption):
        parse(cli, ["plan", "--bogus"])


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


def test_the_files_that_sentences_name_are_there() -> None:
    named = [(path, name) for path in FILES for name in spans(path) if re.fullmatch(r"[\w.-]+/[\w./-]+\.\w+", name)]
    names = [(path, name) for path, name in named if "NAME" not in name]
    assert len(names) > 20
    assert [name for path, name in names if not any((folder / name).exists() for folder in (ROOT, path.parent))] == []


def test_the_settings_that_sentences_name_are_there() -> None:
    settings = set(setting_keys(sweep_schema()))
    sections = {key.partition(".")[0] for key in settings if "." in key}
    names = [name for path in FILES for name in spans(path) if re.fullmatch(r"[a-z]+\.[a-z_.]+", name)]
    named = {name for name in names if name.partition(".")[0] in sections}
    assert len(named) > 5
    assert named - settings == set()


def test_the_numbers_of_a_sentence_are_those_of_the_code() -> None:
    timing = (ROOT / "docs" / "timing.md").read_text(encoding="utf-8")
    assert f"after {MAX_ROUNDS} rounds without that" in timing
    assert f"over {OTHERS_SHARE:.0%} of one core" in timing
    assert f"over {OTHERS_SECONDS:g} s" in timing


def test_the_citation_has_what_its_format_asks_for() -> None:
    # https://github.com/citation-file-format/citation-file-format, schema guide 1.2.0
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(found)
    known = {"cff-version", "message", "type", "title", "abstract", "authors", "version", "license", "keywords"}
    assert set(found) <= known | {"references", "date-released", "repository-code", "url", "doi"}
    assert found["cff-version"] == "1.2.0"
    assert all({"type", "title", "authors"} <= set(each) for each in found["references"])
    assert found["version"] == dwray.__version__
