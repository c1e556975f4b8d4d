"""Sweep files: what is found, what is overridden, and the one line that says what is wrong."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tiny import TINY

from dwray.core.config import PROTOCOLS, TrainingConfig
from dwray.core.seeds import SEEDS
from dwray.errors import SpecError
from dwray.search.plan import pass_kinds
from dwray.spec import SweepSpec, to_plain
from dwray.sweepfile import find, resolve, validate

SWEEPS = Path(__file__).parent.parent / "sweeps"


@pytest.mark.parametrize("name", [path.stem for path in sorted(SWEEPS.glob("*.yaml"))])
def test_the_sweeps_that_come_with_dwray_are_valid_and_spell_out_to_themselves(name: str) -> None:
    spec = resolve(name)
    assert spec.name == name
    assert list(spec.networks) == ["ConvNet", "DepthwiseConvNet"]
    assert validate(to_plain(spec), "again") == spec


def test_sweeps_are_found_from_any_folder_and_a_folder_of_ones_own_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("digits").is_file()
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "digits.yaml").write_text("networks: [ConvNet]")
    assert list(resolve("digits").networks) == ["ConvNet"]
    assert list(resolve(str(tmp_path / "sweeps" / "digits.yaml")).networks) == ["ConvNet"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.sorce=x", "data.sorce: unknown key; did you mean 'source'?"),
        ("resourcs.retries=1", "resourcs: unknown key; did you mean 'resources'?"),
        ("networks.ConvNet.widht=3", "networks.ConvNet.widht: unknown key; did you mean 'width'?"),
        (
            "networks.ConvNet.training.epohs=3",
            "networks.ConvNet.training.epohs: is no setting of training; did you mean 'epochs'?",
        ),
        ("networks.ConvNet.training.epochs=0", "networks.ConvNet.training.epochs: must be at least 1, not 0"),
        ("search.axes.lr=[1]", "search.axes.lr: is no setting of training; did you mean 'initial_lr'?"),
        ("search.axes.initial_lr=[]", "search.axes.initial_lr: needs at least one value"),
        ("search.axes.initial_lr=[0.1,-2]", "search.axes.initial_lr: must be above 0, not -2"),
        ("search.axes.initial_lr=[0.1,0.1]", "search.axes.initial_lr: gives a value twice"),
        (
            "search.axes.initial_lr=[[1]]",
            "search.axes.initial_lr.0: must be a number, text, true or false",
        ),
        ("search.axes.batch_size=[32,x]", "search.axes.batch_size: must be a whole number"),
        ("search.axes.flip=[true,true]", "search.axes.flip: gives a value twice: [true, true]"),
        ("search.axes.epochs=[1,2]", "search.axes.epochs: is no axis: set search.epochs instead"),
        (
            "search.metric=loss",
            "search.metric: must be 'validation_accuracy_percent' or 'validation_loss', not 'loss'",
        ),
        ("training.initial_lr=-1", "training.initial_lr: must be above 0, not -1"),
        ("training.epochs=many", "training.epochs: must be a whole number"),
        ("training.momentum=0", "training.nesterov: needs a momentum above 0"),
        ("training.batch_size=1", "training.batch_size: must be at least 2, not 1"),
        ("training.precision=half", "training.precision: knows auto, float32, tf32, bfloat16, not 'half'"),
        ("training.memory_format=nhwc", "training.memory_format: knows auto, channels_last, contiguous, not 'nhwc'"),
        ("training.compile=maybe", "training.compile: knows auto, true, false, not 'maybe'"),
        ("search.axes.precision=[auto,float32]", "search.axes.precision: auto is decided by the device"),
        ("resources.timing_gpus=0.5", "resources.timing_gpus: must be a whole number: a timing shares its GPU"),
        ("timing.modes=[fast]", "timing.modes: knows float32-eager, "),
        ("timing.modes=[bfloat16-eager]", "timing.modes: must have float32-eager"),
        ("data.validation_fraction=1", "data.validation_fraction: must lie between 0 and 1"),
        ("timing.batch_sizes=[0]", "timing.batch_sizes: must be at least 1, not 0"),
        ("timing.sets=[training]", "timing.sets: knows train, validation and test, not 'training'"),
        ("networks=[ConvNet,ConvNet]", "networks: names ConvNet twice"),
        ("networks=[]", "networks: needs at least one network, such as [ConvNet]"),
        ("networks={}", "networks: needs at least one network, such as [ConvNet]"),
        ("networks=ConvNet", "networks: must be a list of networks' names, or a mapping of them to settings"),
        ("networks.ConvNet=3", "networks.ConvNet: must hold keys and values, not 3"),
        (
            "networks.ConvNet.training.compile=3",
            "networks.ConvNet.training.compile: must be text, true or false, not 3",
        ),
        ("name=../../x", "name: must begin with a letter or a digit and go on with these and . _ -, not '../../x'"),
        ("name=3", "name: must be text, not 3"),
        ("data=3", "data: must hold keys and values, not 3"),
        ("seeds=3", "seeds: must be a list, such as [a, b], not 3"),
        ("seeds=[]", "seeds: needs at least one value"),
        ("timing.passes=null", "timing.passes: must be a whole number, not null"),
        ("resources.retries=-1", "resources.retries: must be at least 0, not -1"),
        ("target_accuracy_percent=100", "target_accuracy_percent: must be below 100, not 100"),
        ("seeds=[1,1]", "seeds: gives a seed twice"),
        ("seeds=[4294967296]", "seeds.0: must be below 4294967296"),
        ("search.seed=1", "search.seed: must be none of seeds, which have 1"),
        ("search.axes.flip=[0,1]", "search.axes.flip: must be true or false, not 0"),
        ("search.axes.batch_size=[1.0e2]", "search.axes.batch_size: must be a whole number, not 100.0"),
        ("search.axes.initial_lr=['0.1']", "search.axes.initial_lr: must be a number, not '0.1'"),
        ("training.weight_decay=true", "training.weight_decay: must be a number, not true"),
        ("training.epochs='3'", "training.epochs: must be a whole number, not '3'"),
        ("width=.inf", "width: must be a finite number"),
        ("networks.ConvNet.training={momentum: 0}", "networks.ConvNet.training.nesterov: needs a momentum above 0"),
        ("width=0", "width: must be above 0, not 0"),
        ("width=wide", "width: must be a number"),
        ("data={", "not valid YAML"),
        ("width", "must be KEY=VALUE"),
        ("width.x=1", "width is a value, not a section"),
        ("training.epochs.x=1", "training.epochs is a value, not a section"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_keys_path(override: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve("digits", [override])
    problem = str(caught.value).rpartition("digits.yaml: ")[2]
    assert said in problem
    if ": " in said:
        assert problem.startswith(said), "nothing stands before the key"
    assert "\n" not in problem
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must hold keys and values"),
        ("- a", "must hold keys and values"),
        ("width: 1", "networks: is missing"),
        ("networks: [ConvNet]\nwidth: 1\nwidth: 2", "line 3: not valid YAML: the key 'width' is given twice"),
        ("networks: [ConvNet\n", "not valid YAML"),
        ("networks: [ConvNet]\nname: a\0b", "line 2: not valid YAML: the character U+0000 cannot be in it"),
        ('networks: [ConvNet]\nname: "\\UFFFFFFFF"', "not valid YAML: an escape (\\U...) is no character"),
        ("networks: " + "[" * 300 + "]" * 300, "the file: is nested too deeply"),
        ("[a]: 1", "the key ['a'] is no name"),
        ("networks: [ConvNet]\ndata: {image_size: 7}", "data.image_size: must be at least 8, not 7"),
        ("networks: [ConvNet]\ntrainig: {epochs: 1}", "trainig: unknown key; did you mean 'training'?"),
    ],
)
def test_a_files_error_names_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        resolve(str(path))
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_does_not_exist_is_told_with_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no sweep 'digts'; did you mean 'digits'"):
        resolve("digts")
    with pytest.raises(SpecError, match=r"there is no sweep 'nope'; known: .*cifar10, .*by its path") as caught:
        resolve("nope")
    assert str(caught.value).count("paper-cifar100") == 1, "the names are listed once"
    with pytest.raises(SpecError, match=r"nowhere.yaml: there is no such sweep file"):
        resolve(str(tmp_path / "nowhere.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match=r"cannot be read as UTF-8; a sweep file is text"):
        resolve(str(tmp_path / "binary.yaml"))


def test_names_are_held_against_the_registries() -> None:
    spec = resolve("digits", ["networks=[ConvNt]"])
    with pytest.raises(SpecError, match=r"networks.ConvNt: there is no network 'ConvNt'; did you mean 'ConvNet'\?"):
        spec.check_names(networks=["ConvNet", "DepthwiseConvNet"], sources=["digits"])
    spec = resolve("digits", ["networks.mine.network=Convnet"])
    with pytest.raises(SpecError, match=r"networks.mine.network: there is no network 'Convnet'"):
        spec.check_names(networks=["ConvNet", "DepthwiseConvNet"], sources=["digits"])
    with pytest.raises(SpecError, match=r"data.source: there is no source 'digits'; did you mean 'digit'"):
        resolve("digits").check_names(networks=["ConvNet", "DepthwiseConvNet"], sources=["digit"])


def test_overrides_are_yaml_and_reach_into_every_section() -> None:
    spec = resolve(
        "digits",
        [
            "training.initial_lr=1e-3",
            "networks.ConvNet.width=0.5",
            "timing=null",
            "data.root=/some/where",
            "search.axes={initial_lr: [1e-3, 2e-3]}",
        ],
        seed=7,
    )
    assert spec.training.initial_lr == 0.001
    assert spec.width_of("ConvNet") == 0.5
    assert spec.width_of("DepthwiseConvNet") == 0.25
    assert spec.timing is None
    assert spec.data.root == "/some/where"
    assert spec.search.axes == {"initial_lr": [0.001, 0.002]}
    assert spec.seeds == [7]
    assert spec.search.seed == 1007, "none of the seeds that are trained"


def test_every_seed_that_a_file_may_have_may_be_given_alone() -> None:
    highest = SEEDS - 1
    assert resolve("digits", [f"seeds=[{highest}]"]).seeds == [highest]
    spec = resolve("digits", seed=highest)
    assert (spec.seeds, spec.search.seed) == ([highest], 999)


def test_what_is_set_for_every_training_no_network_undoes() -> None:
    spec = resolve("cifar10", ["training.epochs=3"])
    assert {spec.training_of(name).epochs for name in spec.networks} == {3}
    assert spec.training_of("ConvNet").lr_decay == 0.9, "what was not set stays"
    spec = resolve("cifar10", ["training.epochs=3", "networks.ConvNet.training.epochs=4"])
    assert (spec.training_of("ConvNet").epochs, spec.training_of("DepthwiseConvNet").epochs) == (4, 3)


def test_settings_of_a_network_are_checked_together() -> None:
    spec = resolve("digits", ["networks.ConvNet.training={momentum: 0, nesterov: false}"])
    assert spec.training_of("ConvNet").momentum == 0


def test_yaml_merges_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "networks:\n  ConvNet: &own {width: 0.5, training: {epochs: 3}}\n"
        "  DepthwiseConvNet:\n    <<: *own\n    width: 1\n"
    )
    spec = resolve(str(path))
    assert (spec.width_of("DepthwiseConvNet"), spec.training_of("DepthwiseConvNet").epochs) == (1, 3)


def test_a_contender_may_have_a_name_of_its_own() -> None:
    spec = SweepSpec.model_validate({**TINY, "networks": {"wide": {"network": "ConvNet", "width": 2}, "ConvNet": None}})
    assert [spec.network_of(name) for name in spec.networks] == ["ConvNet", "ConvNet"]
    assert [spec.width_of(name) for name in spec.networks] == [2, 0.05]


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "epochs": st.integers(1, 1000),
            "batch_size": st.integers(2, 4096),
            "initial_lr": st.floats(1e-6, 10),
            "lr_decay": st.floats(0.01, 1),
            "weight_decay": st.floats(0, 1),
            "crop_padding": st.integers(0, 8),
            "flip": st.booleans(),
        },
    )
)
def test_valid_settings_survive_the_way_into_the_file_and_back(settings: dict[str, object]) -> None:
    spec = SweepSpec.model_validate({**TINY, "training": settings})
    assert dataclasses.asdict(spec.training) == {**dataclasses.asdict(TrainingConfig()), **settings}
    assert validate(to_plain(spec), "again") == spec


def test_the_protocol_of_a_resolved_sweep_file_can_be_set_by_name(tmp_path: Path) -> None:
    path = tmp_path / "resolved.yaml"
    path.write_text(yaml.safe_dump(to_plain(resolve("digits"))))
    for override in ("protocol=paper", "protocol.base=paper"):
        assert resolve(str(path), [override]).protocol == PROTOCOLS["paper"]
    turned = resolve(str(path), ["protocol.base=paper", "protocol.tune_on_test_set=false"]).protocol
    assert turned == PROTOCOLS["paper"].turn("tune_on_test_set")
    assert resolve("digits", ["protocol.normalisation=imagenet"]).protocol.turned == ("normalisation",)


def test_the_papers_protocol_computes_as_the_notebooks_did() -> None:
    spec = resolve("digits", ["protocol=paper", "training.compile=false"])
    assert spec.timing is not None
    assert len(spec.timing.modes) == 2
    assert {kind.mode for kind in pass_kinds(spec)} == {"float32-eager"}
    assert {kind.mode for kind in pass_kinds(resolve("digits"))} == {"float32-eager", "float32-folded"}
    for label in spec.networks:
        training = spec.training_of(label)
        assert (training.precision, training.memory_format, training.compile) == ("float32", "contiguous", False)
    for override, said in (
        ("training.precision=bfloat16", "training.precision: must be float32 under protocol: paper, not bfloat16"),
        ("training.compile=true", "training.compile: must be false under protocol: paper, not true"),
        (
            "networks.ConvNet.training.memory_format=channels_last",
            "networks.ConvNet.training.memory_format: must be contiguous under protocol: paper, not channels_last",
        ),
        ("search.axes.precision=[float32,bfloat16]", "search.axes.precision: must be float32 under protocol: paper"),
    ):
        with pytest.raises(SpecError) as caught:
            resolve("digits", ["protocol=paper", override])
        assert said in str(caught.value)
