"""``import dwray``: what it gives, that it is light and typed, and that every example in it and in its guide runs."""

import ast
import dataclasses
import doctest
import functools
import importlib
import inspect
import pydoc
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from object_store import ObjectStore
from records import make_run

import dwray
from dwray.core.data_images import Images
from dwray.core.networks import NETWORKS
from dwray.errors import RunError, SpecError
from dwray.paths import RunPaths
from dwray.results.answer import answer
from dwray.results.records import Records
from dwray.results.tables import make_tables
from dwray.spec import to_plain
from dwray.storage import Storage
from dwray.sweepfile import resolve

ROOT = Path(dwray.__file__).parent.parent
GUIDE = ROOT / "docs" / "python.md"
REGISTRIES = ("DATASETS", "NETWORKS", "PROTOCOLS")
SETTINGS = ("DataConfig", "TrainingConfig")
DOCUMENTED = sorted({dwray._MODULES[name] for name in dwray.__all__} | {"dwray.search.linear"})
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def fresh(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a run of a sweep on digits, in the working directory; and one thread, as examples are small."""
    folder = tmp_path / "runs" / "digits" / "20261123-124957"
    shutil.copytree(ROOT / "results" / "errata-digits", folder)
    # The records were committed with the sweep file of their day; this is how one of today lies beside its records.
    RunPaths(folder).sweep.write_text(yaml.safe_dump(to_plain(resolve("errata-digits")), sort_keys=False))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DWRAY_RUNS_DIR", raising=False)
    threads, networks = torch.get_num_threads(), dict(NETWORKS)
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(threads)
    NETWORKS.clear()
    NETWORKS.update(networks)


# What `import dwray` is


def test_importing_it_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = "('torch', 'numpy', 'ray', 'pyarrow', 'pandas', 'pydantic', 'wandb', 'click', 'dwray.core')"
    code = f"import sys, dwray; dir(dwray); print([name for name in {heavy} if name in sys.modules])"
    assert fresh(code, tmp_path).stdout == "[]\n"


def test_a_name_brings_its_module_and_not_the_others(tmp_path: Path) -> None:
    code = (
        "import sys, dwray; dwray.fit; dwray.complexity\n"
        "print([name for name in ('torch', 'ray', 'wandb', 'click', 'dwray.tune', 'dwray.run') if name in sys.modules])"
    )
    assert fresh(code, tmp_path).stdout == "['torch']\n"


def test_every_name_is_there_and_no_other() -> None:
    for name in dwray.__all__:
        value = getattr(dwray, name)
        assert value is getattr(importlib.import_module(dwray._MODULES[name]), name)
        assert name in dir(dwray)
        if callable(value):
            assert value.__module__ == dwray._MODULES[name], "a name is taken from where it is made"
    with pytest.raises(AttributeError, match="module 'dwray' has no attribute 'fitt'"):
        dwray.fitt  # type: ignore[attr-defined]  # noqa: B018


def test_the_stub_for_type_checkers_says_the_same() -> None:
    stub = ast.parse((ROOT / "dwray" / "__init__.pyi").read_text())
    imports = {
        alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imports == dwray._MODULES
    (listed,) = [node.value for node in stub.body if isinstance(node, ast.Assign)]
    assert sorted(ast.literal_eval(listed)) == sorted(dwray.__all__)


@pytest.mark.slow
def test_a_users_script_is_type_checked(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Under --strict an ignored error that is none is an error: so the types are real, and not Any."""
    (tmp_path / "script.py").write_text(
        "import dwray\n"
        "from dwray import LinearSearch, load_run\n"
        "names: list[str] = load_run('digits').records.contenders\n"
        "wrong_type: str = dwray.complexity('ConvNet').parameters  # type: ignore[assignment]\n"
        "load_run(3)  # type: ignore[arg-type]\n"
        "limit: str = LinearSearch({'lr': [0.1]}, metric='x', mode='min').max_trials  # type: ignore[assignment]\n"
        "dwray.fitt  # type: ignore[attr-defined]\n"
        "for record in dwray.fit():  # type: ignore[call-arg]\n"
        "    seconds: float = record.train_seconds\n"
    )
    assert pytestconfig.cache is not None
    cache = pytestconfig.cache.mkdir("mypy")  # torch's types take most of the time, and stay the same
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout


# Its examples


def examples(name: str) -> Iterator[doctest.DocTest]:
    """Those of a module, and of registries and cached properties, which doctest passes over."""
    module = importlib.import_module(name)
    yield from doctest.DocTestFinder().find(module)
    for registry in REGISTRIES:
        if dwray._MODULES[registry] == name:
            text = getattr(module, registry).__doc__
            yield doctest.DocTestParser().get_doctest(text, vars(module), f"{name}.{registry}", None, None)
    for kind in vars(module).values():
        if isinstance(kind, type) and kind.__module__ == name:
            for member, value in vars(kind).items():
                if isinstance(value, functools.cached_property):
                    where = f"{name}.{kind.__name__}.{member}"
                    yield doctest.DocTestParser().get_doctest(value.__doc__ or "", vars(module), where, None, None)


def test_the_examples_of_cached_properties_are_found() -> None:
    found = {test.name: len(test.examples) for test in examples("dwray.run")}
    assert found["dwray.run.Run.sweep"] == 2
    assert found["dwray.run.load_run"] > 2


@pytest.mark.parametrize("name", sorted(dwray.__all__))
def test_every_name_has_a_docstring_with_an_example(name: str) -> None:
    value = getattr(dwray, name)
    text = inspect.getdoc(value) or ""
    assert "Example:" in text
    assert f"dwray.{name}" in text or isinstance(value, type), "an example shows the name as a user writes it"
    if callable(value) and not isinstance(value, type):
        taken = set(inspect.signature(value).parameters)
        described = set(re.findall(r"^    (\w+): ", text.partition("Args:")[2], flags=re.M))
        assert taken <= described
        assert "Returns:" in text or "Yields:" in text


RAISES_NOTHING = {
    "NETWORKS": "a mapping",
    "DATASETS": "a mapping",
    "PROTOCOLS": "a mapping",
    "EpochRecord": "values that fit has made",
    "Score": "values that evaluate has made",
}
"""Public names whose docstring has no errors, and why."""
CALLED_BY_TUNE = {
    "LinearSearch": {"set_search_properties", "suggest", "on_trial_complete", "save", "restore"},
    "TimingReporter": {f"on_trial_{event}" for event in ("start", "result", "complete", "recover", "error")},
}
"""Members of public classes that nobody calls by hand: their class's example shows them at work."""


@pytest.mark.parametrize("name", sorted(dwray.__all__))
def test_every_docstring_has_source_and_errors(name: str) -> None:
    text = inspect.getdoc(getattr(dwray, name)) or ""
    assert re.search(r"^Source: \S", text, flags=re.M)
    assert bool(re.search(r"^Raises:$", text, flags=re.M)) == (name not in RAISES_NOTHING)


def members(name: str) -> set[str]:
    """The public methods and properties that a public class has of its own."""
    kinds = (property, functools.cached_property)
    found = vars(getattr(dwray, name)).items() if isinstance(getattr(dwray, name), type) else ()
    return {member for member, value in found if member[0] != "_" and (callable(value) or isinstance(value, kinds))}


@pytest.mark.parametrize("name", [name for name in sorted(dwray.__all__) if members(name)])
def test_every_method_has_an_example(name: str) -> None:
    exempt = CALLED_BY_TUNE.get(name, set())
    assert exempt <= members(name)
    for member in members(name):
        text = inspect.getdoc(getattr(getattr(dwray, name), member)) or ""
        assert text
        assert ("Example:" in text) == (member not in exempt), f"{name}.{member}"


CPU = torch.device("cpu")


def resident(*labels: int, device: torch.device = CPU) -> dwray.ResidentImages:
    """Black images with these labels."""
    images = Images(np.zeros((len(labels), 8, 8, 1), np.uint8), np.array(labels, np.int64))
    return dwray.ResidentImages(images, dwray.Normalize([0.5], [0.5], CPU), device)


def flat(outputs: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, outputs))


def timed(network: torch.nn.Module, batch: torch.Tensor) -> list[Any]:
    return list(dwray.time_passes({"it": network}, lambda: iter([batch]), device=CPU, passes=1, warmup_batches=1))


@pytest.mark.parametrize(
    ("name", "error", "call"),
    [
        ("Normalize", RuntimeError, lambda: dwray.Normalize([0.5] * 3, [0.5] * 2, CPU)),
        ("Normalize", RuntimeError, lambda: dwray.Normalize([0.5] * 2, [0.5] * 2, CPU)(torch.zeros(1, 4, 4, 3).byte())),
        ("ResidentImages", RuntimeError, lambda: resident(0, device=torch.device("cuda:99"))),
        ("start", ValueError, lambda: dwray.start(torch.nn.Flatten(), dwray.TrainingConfig())),
        ("evaluate", ZeroDivisionError, lambda: dwray.evaluate(flat(2), resident(), 4)),
        ("evaluate", ValueError, lambda: dwray.evaluate(flat(2), resident(), 0)),
        ("evaluate", IndexError, lambda: dwray.evaluate(flat(2), resident(0, 1, 2), 4)),
        ("time_passes", RuntimeError, lambda: timed(flat(2), torch.zeros(1, 1, 4, 4))),
        ("compare", RuntimeError, lambda: dwray.compare((flat(2), flat(2)), torch.zeros(1, 1, 4, 4))),
        ("compare", ZeroDivisionError, lambda: dwray.compare((flat(2), flat(2)), torch.zeros(0, 1, 8, 8))),
    ],
)
def test_what_a_docstring_says_is_raised_is(name: str, error: type[Exception], call: Callable[[], Any]) -> None:
    assert f"    {error.__name__}: " in (inspect.getdoc(getattr(dwray, name)) or "")
    with pytest.raises(error):
        call()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_settings_docstring_has_every_field_and_its_default(name: str) -> None:
    args = (inspect.getdoc(getattr(dwray, name)) or "").partition("Args:")[2].partition("Raises:")[0]
    described = re.split(r"^    (\w+): ", args, flags=re.M)
    said = dict(zip(described[1::2], described[2::2], strict=True))
    fields = dataclasses.fields(getattr(dwray, name))
    assert [field.name for field in fields] == list(said)
    for field in fields:
        assert re.search(rf"by default\s+`*{re.escape(str(field.default))}`*\b", said[field.name]), field.name


@pytest.mark.parametrize("name", REGISTRIES)
def test_help_of_a_registry_tells_what_is_in_it(name: str) -> None:
    registry = getattr(dwray, name)
    said = pydoc.render_doc(registry, renderer=pydoc.plaintext)
    assert inspect.getdoc(registry).splitlines()[0] in said
    assert all(entry in said for entry in registry)
    assert "setdefault" not in said, "what a dict can do is none of its help"


@pytest.mark.parametrize("module", DOCUMENTED)
def test_every_example_runs(module: str, digits: Path) -> None:
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    said: list[str] = []
    for example in examples(module):
        runner.run(example, out=said.append)
    assert not runner.failures, "".join(said)


def snippets() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), flags=re.M | re.S)


def test_the_guide_shows_every_registry_and_setting() -> None:
    text = GUIDE.read_text()
    assert [name for name in REGISTRIES + SETTINGS if f"dwray.{name}" not in text] == []


@pytest.mark.slow
def test_the_guides_snippets_run_one_after_the_other(
    digits: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(digits))  # where Tune leaves its results
    names: dict[str, Any] = {"__name__": "__main__"}  # as in a notebook: Ray takes its functions along whole
    for snippet in snippets():
        exec(compile(snippet, str(GUIDE), "exec"), names)
    assert names["epochs"].shape == (names["run"].epochs.num_rows, names["run"].epochs.num_columns)
    assert names["score"].accuracy_percent > 90
    assert names["search"].best() == ({"lr": 0.1, "depth": 2}, pytest.approx(2 + 1 / 3))
    assert {each.batch_size for each in names["crossover"].curve} == {1, 2}
    assert names["cost"].parameters == 3_320_420
    said = capsys.readouterr().out
    assert "3,320,420 parameters" in said
    assert "iteration 3" in said, "TimingReporter tells each result"


# A run


def test_a_run_is_its_records_and_the_reports_tables(tmp_path: Path) -> None:
    paths = make_run(tmp_path / "runs")
    run = dwray.load_run(paths.folder)
    records = Records.read(paths)
    assert run.records.trials == records.trials == run.trials.to_pylist()
    assert run.records.identity == records.identity == run.identity
    assert run.records.timings == records.timings
    assert [dict(row) for row in run.records.epochs] == [dict(row) for row in records.epochs] == run.epochs.to_pylist()
    assert list(run.tables) == [table.name for table in make_tables(records)]
    assert run.answer == tuple(answer(records))
    frame = run.to_pandas("epochs")
    assert frame.train_seconds.tolist() == [1.0, 3.0, 2.0, 2.0]
    for name in ("trials", "accuracy"):
        assert run.to_pandas(name).shape == run.table(name).shape


def test_a_runs_tables_are_those_that_its_report_writes(digits: Path) -> None:
    run = dwray.load_run("digits")
    made = dict(run.tables)
    shutil.rmtree(run.paths.table("").parent)
    assert run.report() == digits / "report.html"
    written = {path.stem: pq.read_table(path) for path in run.paths.table("").parent.glob("*.parquet")}
    assert written.keys() == made.keys()
    for name, table in written.items():
        assert table.equals(made[name], check_metadata=True), name


def test_a_run_is_named_as_at_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older, newer = make_run(tmp_path / "mine", name="x"), make_run(tmp_path / "mine", name="x")
    monkeypatch.setenv("DWRAY_RUNS_DIR", str(tmp_path / "elsewhere"))
    assert dwray.load_run("x", runs_dir=tmp_path / "mine").paths == newer
    assert dwray.load_run(f"x/{older.run_id}", runs_dir=tmp_path / "mine").paths == older
    with pytest.raises(RunError, match="neither the folder of a run"):
        dwray.load_run("x")
    monkeypatch.setenv("DWRAY_RUNS_DIR", str(tmp_path / "mine"))
    assert dwray.load_run("x").paths == newer


@pytest.mark.slow
def test_a_run_in_a_store_is_fetched(tmp_path: Path, object_store: ObjectStore) -> None:
    paths = make_run(tmp_path / "runs", name="x")
    kept = Storage(object_store.new_bucket()).within(f"x/{paths.run_id}")
    for path in (paths.trials, paths.epochs, paths.timings):
        kept.write(path.name, path.read_bytes())
    run = dwray.load_run(kept.location, runs_dir=tmp_path / "fetched")
    assert run.paths.folder == tmp_path / "fetched" / "x" / paths.run_id
    assert run.records.trials == Records.read(paths).trials
    with pytest.raises(RunError, match="holds no run"):
        dwray.load_run(kept.location + "-2", runs_dir=tmp_path / "fetched")


def test_what_is_loaded_stays_as_it_was(tmp_path: Path) -> None:
    paths = make_run(tmp_path / "runs")
    run = dwray.load_run(paths.folder)
    paths.timings.unlink()
    paths.epochs.unlink()
    assert run.epochs.num_rows == 4
    assert run.tables["test_time"].num_rows > 0


def test_records_of_no_run_are_one_line(tmp_path: Path) -> None:
    paths = make_run(tmp_path / "runs")
    trials = pq.read_table(paths.trials)
    version = trials.schema.metadata[b"schema_version"]
    pq.write_table(trials.replace_schema_metadata({b"schema_version": version}), paths.trials)
    with pytest.raises(RunError, match=r"trials\.parquet"):
        dwray.load_run(paths.folder)


@pytest.mark.parametrize("name", ["trials", "epochs", "timings"])
def test_a_file_that_is_missing_or_damaged_is_one_line(name: str, tmp_path: Path) -> None:
    paths = make_run(tmp_path / "runs")
    file: Path = getattr(paths, name)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(RunError, match=rf"{name}\.parquet: cannot be read as Parquet") as damaged:
        dwray.load_run(paths.folder)
    file.unlink()
    with pytest.raises(RunError) as missing:
        dwray.load_run(paths.folder)
    assert str(paths.folder) in str(missing.value)
    assert "\n" not in f"{damaged.value}{missing.value}"


def test_what_a_run_lacks_is_one_line_when_it_is_asked_for(tmp_path: Path) -> None:
    run = dwray.load_run(make_run(tmp_path / "runs").folder)
    with pytest.raises(RunError, match=r"sweep\.yaml: there is no such file"):
        _ = run.sweep
    with pytest.raises(RunError, match=r"environment\.json: cannot be read"):
        _ = run.environment
    run.paths.sweep.write_text("networks: [ConvNet")
    with pytest.raises(SpecError, match=r"sweep\.yaml"):
        _ = run.sweep
    for damaged in ("{", "[]"):
        run.paths.environment.write_text(damaged)
        with pytest.raises(RunError, match=r"environment\.json: "):
            _ = run.environment
    with pytest.raises(RunError, match="no table is called 'timing'; did you mean 'timings'"):
        run.to_pandas("timing")


WITHOUT_PANDAS = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "pandas" else super().find_spec(name, path, target)

sys.meta_path[:] = [Finder if each is PathFinder else each for each in sys.meta_path]
import dwray
run = dwray.load_run(sys.argv[1])
print(run.tables["accuracy"].num_rows > 0)
run.to_pandas("trials")
"""


def test_without_pandas_there_are_arrow_tables_and_one_is_told_so(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs").folder
    done = fresh(WITHOUT_PANDAS, tmp_path, str(folder))
    assert done.stdout == "True\n"
    assert done.stderr.splitlines()[-1] == (
        "ImportError: to_pandas needs pandas: pip install pandas, or take the Arrow table from Run.table"
    )
