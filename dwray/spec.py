"""What a sweep file says, as pydantic models: an unknown key, a wrong type or a value out of range is an error."""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dwray.core.config import (
    PROTOCOLS,
    SWITCHES,
    DataConfig,
    FieldError,
    ProtocolConfig,
    TimingConfig,
    TrainingConfig,
    as_the_notebooks,
    in_yaml,
    switches_of,
)
from dwray.core.seeds import SEEDS
from dwray.errors import SpecError, near
from dwray.paths import NAME

AxisValue = bool | int | float | str
NON_NEGATIVE = Field(ge=0)
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
POSITIVE = Field(gt=0)


_EITHER = {"int": "a number", "float": "a number", "str": "text", "bool": "true or false"}
"""The branches of a union, which pydantic names at the end of a problem's place, and what each takes."""
_WORDS = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list, such as [a, b]",
    "tuple_type": "must be a list, such as [a, b]",
    "dict_type": "must hold keys and values",
    "model_type": "must hold keys and values",
    "dataclass_type": "must hold keys and values",
    "too_short": "needs at least one value",
    "finite_number": "must be a finite number",
    "greater_than": "must be above {gt:.10g}",
    "greater_than_equal": "must be at least {ge:.10g}",
    "less_than": "must be below {lt:.10g}",
    "less_than_equal": "must be at most {le:.10g}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must begin with a letter or a digit and go on with these and . _ -",
    "json_invalid": "is nested too deeply, or holds a character that is none",
}
"""Pydantic's kinds of problems; of what it has beside them, its own words are told."""


def place(problem: Any) -> list[str]:
    """The path of the key that one of pydantic's problems is about; empty if it is about all of the file."""
    cause = problem.get("ctx", {}).get("error")
    path = [str(part) for part in problem["loc"] if part not in _EITHER]
    return [*path, cause.field] if isinstance(cause, FieldError) else path


def sentence(problem: Any, problems: Iterable[Any]) -> str:
    """One of pydantic's problems in words, with the value that it is about; ``problems`` are all that there are."""
    given, context = problem.get("input"), problem.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, FieldError):
        return cause.problem
    if problem["loc"] and problem["loc"][-1] in _EITHER:
        branches = [each["loc"][-1] for each in problems if each["loc"][:-1] == problem["loc"][:-1]]
        text = "must be " + ", ".join(dict.fromkeys(words for branch, words in _EITHER.items() if branch in branches))
    elif problem["type"] in _WORDS:
        text = _WORDS[problem["type"]].format_map(context)
    else:
        text = str(cause or problem["msg"])
    if problem["type"] in ("missing", "json_invalid") or isinstance(given, dict | list):
        return text
    return f"{text}, not {repr(given) if isinstance(given, str) else in_yaml(given)}"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class NetworkSpec(_Section):
    """One contender of the comparison."""

    network: str = ""
    """Entry of the NETWORKS registry; by default the contender's own name."""
    width: float | None = Field(default=None, gt=0)
    """Width multiplier of this contender; by default the sweep's."""
    training: dict[str, AxisValue] = {}
    """Settings of ``training`` that differ for this contender (its epochs, its learning rate, ...)."""


Contenders = Annotated[list[str], Field(min_length=1)] | Annotated[dict[str, NetworkSpec | None], Field(min_length=1)]
"""``networks`` as a file may say it, for the JSON Schema."""


class SearchSpec(_Section):
    """The linear search: one axis at a time, in this order."""

    axes: dict[str, list[AxisValue]] = {}
    """Values of each axis, a setting of ``training``. Without axes there is no search, and ``training`` stands."""
    epochs: int | None = Field(default=None, ge=1)
    """Epochs of a search trial; by default those of ``training``."""
    metric: Literal["validation_accuracy_percent", "validation_loss"] = "validation_accuracy_percent"
    """What is compared, at a trial's last epoch."""
    passes: int | None = Field(default=1, ge=1)
    """At most this many passes over the axes; null goes on until a pass changes nothing."""
    seed: Seed = 1000
    """Seed of every search trial: candidates differ in what they vary and in nothing else. None of ``seeds``, so that
    no training repeats the very run that its settings were chosen by."""

    @property
    def mode(self) -> Literal["min", "max"]:
        """Which end of the metric is best."""
        return "min" if self.metric == "validation_loss" else "max"


class ResourcesSpec(_Section):
    """What a trial is given, and what happens when it fails."""

    cpus_per_trial: Annotated[float, POSITIVE] = 1
    """CPU cores of a search or training trial; also its number of threads."""
    gpus_per_trial: float | None = Field(default=None, ge=0)
    """GPUs of a search trial; a fraction shares one. By default one, if the cluster has any. A training owns its GPUs:
    it gets the next whole number."""
    gpu_type: str | None = None
    """The type of GPU, as Ray names it (L4, H100, ...), that trainings and timings run on in a cluster with several. By
    default trainings run on any, and all timings on one that is told at the start."""
    timing_cpus: float | None = Field(default=None, gt=0)
    """CPU cores of a timing trial; by default all of the smallest node, so that it is alone there."""
    timing_gpus: float | None = Field(default=None, ge=0)
    """GPUs of a timing trial, whole ones: it shares none. By default all of the smallest node if trials use GPUs; the
    first of them computes."""
    retries: Annotated[int, NON_NEGATIVE] = 3
    """How often a failed trial is started again, from its last saved state."""
    save_minutes: float = Field(default=5.0, ge=0)
    """A failure loses at most so many minutes of a training, or the epoch it was in where that is longer. A state is
    saved more often where that takes no more than 2% of the time; 0 saves one after every epoch."""
    price_per_gpu_hour: float | None = Field(default=None, ge=0)
    """Price of a GPU for an hour, in any currency: ``dwray plan`` says what the sweep would cost."""

    @field_validator("gpus_per_trial")
    @classmethod
    def _a_part_of_one_gpu_or_whole_ones(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ValueError("must be at most 1, or a whole number: Ray shares no more than one GPU")
        return value

    @field_validator("timing_gpus")
    @classmethod
    def _timings_share_no_gpu(cls, value: float | None) -> float | None:
        if value is not None and value != int(value):
            raise ValueError("must be a whole number: a timing shares its GPU with nothing")
        return value


class SweepSpec(_Section):
    """A sweep: both networks searched, trained, timed and compared."""

    name: str = Field(default="", pattern=f"^{NAME}$")
    """Names the folder of its runs; by default the file's name."""
    networks: dict[str, NetworkSpec] = Field(min_length=1)
    """The contenders by name: a list of network names, or a mapping with settings of their own."""
    width: float = Field(default=1.0, gt=0)
    """Width multiplier of every network (MobileNet's alpha)."""
    data: DataConfig = DataConfig()
    """The images."""
    protocol: ProtocolConfig = PROTOCOLS["corrected"]
    """How the experiment is done: ``corrected``, ``paper`` (as the notebooks did it), or either as ``base`` beside
    switches of its own."""
    errata: list[str] = []
    """Switches of the protocol to turn, one at a time (``a + b`` turns two): each is measured beside the protocol."""
    training: TrainingConfig = TrainingConfig()
    """How a network is trained: the start of the search, and what it does not vary."""
    search: SearchSpec = SearchSpec()
    """The linear search."""
    seeds: list[Seed] = Field(default=[0], min_length=1)
    """The winners are trained once with each."""
    timing: TimingConfig | None = TimingConfig()
    """The test-time protocol; null leaves it out."""
    resources: ResourcesSpec = ResourcesSpec()
    """What a trial is given."""
    compare_with: Literal["cifar10", "cifar100"] | None = None
    """Which of the paper's experiments is put beside the measurements; none by default."""
    target_accuracy_percent: float | None = Field(default=None, gt=0, lt=100)
    """Validation accuracy whose first epoch is reported; by default the highest that all trainings reached."""

    @field_validator("networks")
    @classmethod
    def _names_stay_in_their_folder(cls, value: dict[str, NetworkSpec]) -> dict[str, NetworkSpec]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._+-]*", name):
                raise ValueError(f"{name!r} is no name: letters, digits, space and . _ + - (files are named after it)")
        return value

    @field_validator("networks", mode="before", json_schema_input_type=Contenders)
    @classmethod
    def _names_to_mapping(cls, value: object) -> object:
        if value in ([], {}):
            raise ValueError("needs at least one network, such as [ConvNet]")
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            twice = {name for name in value if value.count(name) > 1}
            if twice:
                raise ValueError(f"names {sorted(twice)[0]} twice")
            return {name: {} for name in value}
        if isinstance(value, dict):
            return {name: {} if settings is None else settings for name, settings in value.items()}
        raise ValueError("must be a list of networks' names, or a mapping of them to settings of their own")

    @field_validator("protocol", mode="before", json_schema_input_type=Literal["corrected", "paper"] | ProtocolConfig)
    @classmethod
    def _switches_of_the_base(cls, value: object) -> object:
        """A name alone is that protocol; a section's switches are its base's unless it says otherwise."""
        if isinstance(value, str):
            value = {"base": value}
        if isinstance(value, dict):
            base = value.get("base", "corrected")
            if isinstance(base, str) and base not in PROTOCOLS:
                raise FieldError("base", f"there is no protocol {base!r}{near(base, PROTOCOLS)}")
            if isinstance(base, str):
                return {**dataclasses.asdict(PROTOCOLS[base]), **value}
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError(f"gives a seed twice: {value}")
        return value

    @field_validator("errata")
    @classmethod
    def _errata_are_switches(cls, value: list[str]) -> list[str]:
        for name in (name for erratum in value for name in switches_of(erratum)):
            if name not in SWITCHES:
                raise ValueError(f"there is no switch {name!r} of the protocol{near(name, SWITCHES)}")
        if len({frozenset(switches_of(erratum)) for erratum in value}) < len(value):
            raise ValueError(f"names a switch twice: {value}")
        return value

    @model_validator(mode="after")
    def _protocols_can_be_timed(self) -> "SweepSpec":
        if self.timing is None:
            return self
        for protocol in self.protocols:
            if protocol.loader_in_test_time not in self.timing.loader:
                raise FieldError(
                    "timing.loader",
                    f"must have {in_yaml(protocol.loader_in_test_time)}: the protocol"
                    f" ({protocol}) counts that test time",
                )
            if protocol.batch_statistics_at_test and 1 in self.timing.batch_sizes:
                raise FieldError(
                    "timing.batch_sizes", "must be at least 2 under batch_statistics_at_test: one image has no variance"
                )
        return self

    @model_validator(mode="after")
    def _every_configuration_is_valid(self) -> "SweepSpec":
        """Each setting that a network or an axis changes must be a valid setting of training."""
        if self.protocol.base == "paper":
            try:
                as_the_notebooks(self.training)
            except FieldError as error:
                raise FieldError(f"training.{error.field}", error.problem) from error
        for label, network in self.networks.items():
            self._try(f"networks.{label}.training", label, network.training)
        if self.search.axes and self.search.seed in self.seeds:
            raise FieldError("search.seed", f"must be none of seeds, which have {self.search.seed}")
        for axis, values in self.search.axes.items():
            if axis == "epochs":
                raise FieldError("search.axes.epochs", "is no axis: set search.epochs instead")
            if not values:
                raise FieldError(f"search.axes.{axis}", "needs at least one value")
            if "auto" in values:
                raise FieldError(f"search.axes.{axis}", "auto is decided by the device: name the values to compare")
            if len(set(values)) < len(values):
                raise FieldError(f"search.axes.{axis}", f"gives a value twice: {in_yaml(values)}")
            for label in self.networks:
                for value in values:
                    self._try("search.axes", label, {axis: value})
        return self

    def _try(self, section: str, label: str, changes: Mapping[str, Any]) -> None:
        """Raise a FieldError in ``section`` if a contender cannot be trained with changes to its settings."""
        known = [field.name for field in dataclasses.fields(TrainingConfig)]
        for key in changes:
            if key not in known:
                raise FieldError(f"{section}.{key}", f"is no setting of training{near(key, known)}")
        try:
            self.training_of(label, **changes)
        except FieldError as error:
            raise FieldError(f"{section}.{error.field}", error.problem) from error
        except ValidationError as error:
            problems = error.errors()
            raise FieldError(".".join([section, *place(problems[0])[1:]]), sentence(problems[0], problems)) from error

    @property
    def protocols(self) -> list[ProtocolConfig]:
        """The protocol, and what it is with each switch of ``errata`` turned."""
        return [self.protocol, *(self.protocol.turn(*switches_of(erratum)) for erratum in self.errata)]

    def network_of(self, label: str) -> str:
        """The registry's name of a contender."""
        return self.networks[label].network or label

    def width_of(self, label: str) -> float:
        """The width multiplier of a contender."""
        width = self.networks[label].width
        return self.width if width is None else width

    def training_of(self, label: str, **changes: AxisValue) -> TrainingConfig:
        """The training of a contender: the sweep's, changed by its own settings and then by ``changes``.

        Raises:
            FieldError: The protocol is the paper's, and they ask for another precision than the notebooks'.
        """
        training = _training(self.training, {**self.networks[label].training, **changes})
        return as_the_notebooks(training) if self.protocol.base == "paper" else training

    def check_names(self, *, networks: Iterable[str], sources: Iterable[str]) -> None:
        """Hold the names of networks and of the data source against their registries, which need torch to be read.

        Raises:
            SpecError: A registry does not hold a name.
        """
        known = list(networks)
        for label in self.networks:
            name = self.network_of(label)
            if name not in known:
                key = f"networks.{label}" + (".network" if self.networks[label].network else "")
                raise SpecError(f"{key}: there is no network {name!r}{near(name, known)}")
        known = list(sources)
        if self.data.source not in known:
            raise SpecError(f"data.source: there is no source {self.data.source!r}{near(self.data.source, known)}")


class _TrainingBox(BaseModel):
    value: TrainingConfig


def _training(base: TrainingConfig, changes: Mapping[str, Any]) -> TrainingConfig:
    """The base with changes, validated as a sweep file is: strictly, so that a value is used as it was written."""
    return _TrainingBox.model_validate_json(
        json.dumps({"value": {**dataclasses.asdict(base), **changes}}), strict=True
    ).value


def to_plain(spec: SweepSpec) -> dict[str, Any]:
    """The spec as plain YAML and JSON values, every default spelled out."""
    return spec.model_dump(mode="json")
