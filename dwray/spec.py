"""The sweep file: read, overridden, validated. An unknown key, a wrong type or a value out of range is one clear line."""

import dataclasses
import difflib
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dwray.core.config import DataConfig, FieldError, TimingConfig, TrainingConfig
from dwray.errors import SpecError
from dwray.paths import sweep_folders

AxisValue = bool | int | float | str
NON_NEGATIVE = Field(ge=0)
POSITIVE = Field(gt=0)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class NetworkSpec(_Section):
    """One contender of the comparison."""

    network: str = ""
    """Entry of the NETWORKS registry; by default the contender's own name."""
    width: float | None = Field(default=None, gt=0)
    """Width multiplier of this contender; by default the sweep's."""
    training: dict[str, AxisValue] = {}
    """Settings of ``training`` that differ for this contender (its epochs, its learning rate, ...)."""


class SearchSpec(_Section):
    """The linear search: one axis at a time, in this order."""

    axes: dict[str, list[AxisValue]] = {}
    """Values of each axis; an axis is a setting of ``training``. No axes: no search, ``training`` is used as it stands."""
    epochs: int | None = Field(default=None, ge=1)
    """Epochs of a search trial; by default those of ``training``."""
    metric: Literal["validation_accuracy_percent", "validation_loss"] = "validation_accuracy_percent"
    """What is compared, at a trial's last epoch."""
    passes: int | None = Field(default=1, ge=1)
    """At most this many passes over the axes; null goes on until a pass changes nothing."""
    seed: Annotated[int, NON_NEGATIVE] = 0
    """Seed of every search trial, so that candidates differ in what they vary and in nothing else."""

    @property
    def mode(self) -> Literal["min", "max"]:
        """Which end of the metric is best."""
        return "min" if self.metric == "validation_loss" else "max"


class ResourcesSpec(_Section):
    """What a trial is given, and what happens when it fails."""

    cpus_per_trial: Annotated[float, POSITIVE] = 1
    """CPU cores of a search or training trial; also its number of threads."""
    gpus_per_trial: Annotated[float, NON_NEGATIVE] = 0
    """GPUs of a search or training trial; a fraction shares one."""
    timing_cpus: float | None = Field(default=None, gt=0)
    """CPU cores of a timing trial; by default all of the smallest node, so that it is alone there."""
    timing_gpus: float | None = Field(default=None, ge=0)
    """GPUs of a timing trial; by default one if trials use GPUs."""
    retries: Annotated[int, NON_NEGATIVE] = 1
    """How often a failed trial is started again, from its last checkpoint."""
    checkpoint_every_epochs: Annotated[int, NON_NEGATIVE] = 10
    """How often a training trial is saved; 0 is only at its end. Search trials are not saved."""


class SweepSpec(_Section):
    """A sweep: both networks searched, trained, timed and compared."""

    name: str = Field(default="", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the folder of its runs; by default the file's name."""
    networks: dict[str, NetworkSpec] = Field(min_length=1)
    """The contenders by name: a list of network names, or a mapping with settings of their own."""
    width: float = Field(default=1.0, gt=0)
    """Width multiplier of every network (MobileNet's alpha)."""
    data: DataConfig = DataConfig()
    """The images."""
    training: TrainingConfig = TrainingConfig()
    """How a network is trained: the start of the search, and what it does not vary."""
    search: SearchSpec = SearchSpec()
    """The linear search."""
    seeds: list[Annotated[int, NON_NEGATIVE]] = Field(default=[0], min_length=1)
    """The winners are trained once with each."""
    timing: TimingConfig | None = TimingConfig()
    """The test-time protocol; null leaves it out."""
    resources: ResourcesSpec = ResourcesSpec()
    """What a trial is given."""

    @field_validator("networks", mode="before")
    @classmethod
    def _names_to_mapping(cls, value: object) -> object:
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            twice = {name for name in value if value.count(name) > 1}
            if twice:
                raise ValueError(f"names {sorted(twice)[0]} twice")
            return {name: {} for name in value}
        if isinstance(value, dict):
            return {name: {} if settings is None else settings for name, settings in value.items()}
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError(f"gives a seed twice: {value}")
        return value

    @model_validator(mode="after")
    def _every_configuration_is_valid(self) -> "SweepSpec":
        """Each setting that a network or an axis changes must be a valid setting of training."""
        known = [field.name for field in dataclasses.fields(TrainingConfig)]
        for label, network in self.networks.items():
            for key, value in network.training.items():
                self._try(f"networks.{label}.training", known, {key: value})
        for axis, values in self.search.axes.items():
            if axis == "epochs":
                raise FieldError("search.axes.epochs", "is no axis: set search.epochs instead")
            if not values:
                raise FieldError(f"search.axes.{axis}", "needs at least one value")
            if len(set(values)) < len(values):
                raise FieldError(f"search.axes.{axis}", f"gives a value twice: {values}")
            for value in values:
                self._try("search.axes", known, {axis: value})
        return self

    def _try(self, section: str, known: Sequence[str], change: Mapping[str, Any]) -> None:
        (key,) = change
        if key not in known:
            raise FieldError(f"{section}.{key}", f"is no setting of training{_near(key, known)}")
        try:
            _training(self.training, change)
        except ValidationError as error:
            first = error.errors()[0]
            cause = first.get("ctx", {}).get("error")
            problem = cause.problem if isinstance(cause, FieldError) else _sentence(first)
            raise FieldError(f"{section}.{key}", problem) from error

    def network_of(self, label: str) -> str:
        """The registry's name of a contender."""
        return self.networks[label].network or label

    def width_of(self, label: str) -> float:
        """The width multiplier of a contender."""
        width = self.networks[label].width
        return self.width if width is None else width

    def training_of(self, label: str, **changes: AxisValue) -> TrainingConfig:
        """The training of a contender: the sweep's, changed by its own settings and then by ``changes``."""
        return _training(self.training, {**self.networks[label].training, **changes})

    def check_networks(self, registry: Iterable[str]) -> None:
        """Raise a SpecError for the first contender whose network the registry does not hold."""
        known = list(registry)
        for label in self.networks:
            name = self.network_of(label)
            if name not in known:
                key = f"networks.{label}" + (".network" if self.networks[label].network else "")
                raise SpecError(f"{key}: there is no network {name!r}{_near(name, known)}")


class _TrainingBox(BaseModel):
    value: TrainingConfig


def _training(base: TrainingConfig, changes: Mapping[str, Any]) -> TrainingConfig:
    """The base with changes, validated as pydantic validates a sweep file."""
    return _TrainingBox.model_validate({"value": {**dataclasses.asdict(base), **changes}}).value


def to_plain(spec: SweepSpec) -> dict[str, Any]:
    """The spec as plain YAML and JSON values, every default spelled out."""
    return spec.model_dump(mode="json")


def resolve(name_or_path: str, overrides: Sequence[str] = (), *, seed: int | None = None) -> SweepSpec:
    """Find, read, override and validate a sweep file.

    Args:
        name_or_path: A path, or the name of a file in ./sweeps or among the sweeps that come with dwray.
        overrides: ``KEY=VALUE`` strings; KEY is a dotted path, VALUE is YAML.
        seed: If given, replaces ``seeds`` and ``search.seed`` by this one seed.

    Raises:
        SpecError: One line: which file, which key, what is wrong, and where near, the name that was meant.
    """
    path = find(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read ({error})") from error
    values = _parse(text, str(path))
    values.setdefault("name", path.stem)
    for override in overrides:
        _override(values, override)
    if seed is not None:
        _override(values, f"seeds=[{seed}]")
        _override(values, f"search.seed={seed}")
    return validate(values, str(path))


def find(name_or_path: str) -> Path:
    """The path of a sweep file.

    Raises:
        SpecError: There is none; the line names those that there are.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if path.is_file():
            return path
        raise SpecError(f"{path}: there is no such sweep file")
    folders = sweep_folders()
    for folder in folders:
        if (folder / f"{path.name}.yaml").is_file():
            return folder / f"{path.name}.yaml"
    known = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    raise SpecError(
        f"there is no sweep {name_or_path!r}{_near(name_or_path, known)}; known: {', '.join(known)}, "
        "or give the path of a .yaml file"
    )


def validate(values: Mapping[str, Any], where: str) -> SweepSpec:
    """Validate plain values; ``where`` (a file name) begins the error's line."""
    try:
        return SweepSpec.model_validate(values)
    except ValidationError as error:
        raise SpecError(f"{where}: {_explain(error)}") from error


class _Loader(yaml.SafeLoader):
    """YAML with YAML 1.2's floats (1e-3 is a number) and without a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # type: ignore[no-untyped-call]
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)


def _load_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise SpecError(f"{where}{line}: not valid YAML: {problem}") from error


def _parse(text: str, where: str) -> dict[str, Any]:
    values = _load_yaml(text, where)
    if not isinstance(values, dict):
        raise SpecError(f"{where}: must hold keys and values (networks:, data:, ...)")
    return values


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise SpecError(f"--set {override}: must be KEY=VALUE, such as --set training.epochs=3")
    section: dict[str, Any] = values
    for depth, part in enumerate(path[:-1], start=1):
        inner = section.get(part)
        if inner is None:
            inner = {}
        elif path[:depth] == ["networks"] and isinstance(inner, list):
            inner = {name: {} for name in inner}
        if not isinstance(inner, dict):
            raise SpecError(f"--set {override}: {'.'.join(path[:depth])} is a value, not a section")
        section[part] = inner
        section = inner
    section[path[-1]] = _load_yaml(text, f"--set {key}")


def _near(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _explain(error: ValidationError) -> str:
    """The first problem of a validation as ``key.path: what is wrong``, and how many more there are."""
    problems = error.errors()
    # A key that is not known explains the one that is then missing: it comes first.
    first = min(problems, key=lambda problem: problem["type"] not in ("extra_forbidden", "unexpected_keyword_argument"))
    path = [str(part) for part in first["loc"] if not _is_union_branch(part)]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, FieldError):
        text = ".".join([*path, cause.field]) + f": {cause.problem}"
    elif first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        text = f"{'.'.join(path)}: unknown key{_near(path[-1], _siblings(path))}"
    else:
        text = f"{'.'.join(path)}: {_sentence(first)}"
    more = len(problems) - 1
    return text + (f" (and {more} more problem{'s' if more > 1 else ''})" if more else "")


def _is_union_branch(part: int | str) -> bool:
    """Pydantic names the branch of a union (``bool``, ``float``) as if it were a key."""
    return part in ("bool", "int", "float", "str")


def _sentence(problem: Any) -> str:
    given = problem.get("input")
    if problem["type"] == "missing":
        return "is missing"
    text = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return text if isinstance(given, dict | list) else f"{text}, not {given!r}"


def _siblings(path: Sequence[str]) -> list[str]:
    """The keys that stand beside the last key of a path."""
    model: Any = SweepSpec
    for part in path[:-1]:
        annotation = NetworkSpec if model is dict else _fields(model).get(part)
        model = dict if part == "networks" else _class_of(annotation)
        if model is None:
            return []
    return [] if model is dict else list(_fields(model))


def _fields(model: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(model):
        return {field.name: field.type for field in dataclasses.fields(model)}
    return {name: field.annotation for name, field in model.model_fields.items()}


def _class_of(annotation: Any) -> Any:
    """The section class in an annotation such as ``TimingConfig | None``."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and (dataclasses.is_dataclass(candidate) or issubclass(candidate, BaseModel)):
            return candidate
    return None

