"""One command that runs a sweep again: it gives the run's sweep, whatever was set, or there is none."""

import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from records import make_run

from dwray.paths import shipped_sweeps
from dwray.report.content import document_of
from dwray.report.documents import read_run
from dwray.report.one_command import MOST_SET, one_command
from dwray.spec import to_plain
from dwray.sweepfile import resolve

SHIPPED = sorted({file.stem for folder in shipped_sweeps() for file in folder.glob("*.yaml")})


def ran(folder: Path, name: str, settings: list[str]) -> Path:
    """The sweep file of a run, as a sweep writes it."""
    written = folder / "sweep.yaml"
    written.write_text(yaml.safe_dump(to_plain(resolve(name, settings)), sort_keys=False))
    return written


def settings_in(command: str) -> list[str]:
    words = shlex.split(command)
    assert set(words[3::2]) <= {"--set"}
    return words[4::2]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_sweep_as_it_came_is_told_by_its_name(tmp_path: Path, name: str) -> None:
    assert one_command(ran(tmp_path, name, [])) == f"dwray sweep {name}"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("digits", ["training.epochs=3", "seeds=[0, 1, 2]"]),
        ("digits", ["search.axes={}", "timing=null"]),
        ("digits", ["protocol.base=paper"]),
        ("digits", ["protocol.momentum_reset_each_epoch=true"]),
        ("cifar10", ["data.root=/tmp/it's here; halt $(x)"]),
        ("cifar10", ["networks.ConvNet.width=0.5", "training.precision=bfloat16"]),
        ("paper-cifar10", ["width=0.125", "data.max_train_images=2000"]),
    ],
)
def test_what_was_set_is_set_again_and_no_more(tmp_path: Path, name: str, settings: list[str]) -> None:
    command = one_command(ran(tmp_path, name, settings))
    assert command is not None
    assert command.startswith(f"dwray sweep {name} --set ")
    assert sorted(each.partition("=")[0] for each in settings_in(command)) == sorted(
        each.partition("=")[0] for each in settings
    )
    assert resolve(name, settings_in(command)) == resolve(name, settings)


@given(st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" "), max_size=20))
def test_whatever_text_was_set_the_shell_and_yaml_give_it_back(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    written = ran(tmp_path_factory.mktemp("run"), "cifar10", [])
    values = yaml.safe_load(written.read_text())
    values["data"]["root"] = text
    written.write_text(yaml.safe_dump(values, sort_keys=False))
    command = one_command(written)
    assert command is not None
    assert to_plain(resolve("cifar10", settings_in(command)))["data"]["root"] == text


def test_another_sweep_or_one_with_many_settings_is_told_by_its_file(tmp_path: Path) -> None:
    changed = ["epochs=1", "batch_size=8", "lr_decay=0.5", "momentum=0.5", "nesterov=false", "crop_padding=1"]
    many = [f"training.{each}" for each in changed] + ["width=0.5"]
    assert len(many) > MOST_SET
    assert one_command(ran(tmp_path, "digits", many)) is None
    assert one_command(ran(tmp_path, "digits", ["name=mine"])) is None
    (tmp_path / "sweep.yaml").write_text("name: digits\nsearch: [: broken")
    assert one_command(tmp_path / "sweep.yaml") is None
    assert one_command(tmp_path / "nothing.yaml") is None


def test_the_report_begins_with_it(tmp_path: Path) -> None:
    paths = make_run(tmp_path, name="digits")
    ran(paths.folder, "digits", ["training.epochs=3"])
    part = document_of(read_run(paths)).sections[-1]
    assert part.listings[0].text == "dwray sweep digits --set training.epochs=3"
    assert "by a sweep that comes with it" in part.paragraphs[0]
    assert part.listings[1].text.endswith("\ndwray sweep sweep.yaml"), "whose file does not change with dwray"
