"""Finding, reading and overriding a sweep file; every error is one line that names the file and the key."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from dwray.core.seeds import SEEDS
from dwray.errors import SpecError, near
from dwray.paths import sweep_folders
from dwray.spec import NetworkSpec, SweepSpec, place, sentence
from dwray.yamltext import check_size, load_yaml, parse


def resolve(name_or_path: str, overrides: Sequence[str] = (), *, seed: int | None = None) -> SweepSpec:
    """Find, read, override and validate a sweep file.

    Args:
        name_or_path: A path, or the name of a file in ./sweeps or among the sweeps that come with dwray.
        overrides: ``KEY=VALUE`` strings; KEY is a dotted path, VALUE is YAML.
        seed: If given, replaces ``seeds`` by this one, and ``search.seed`` by one that follows from it.

    Raises:
        SpecError: One line: which file, which key, what is wrong, and where near, the name that was meant.
    """
    path = find(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: cannot be read as UTF-8; a sweep file is text (YAML)") from error
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
    values = parse(text, str(path))
    values.setdefault("name", path.stem)
    for override in overrides:
        _override(values, override)
    if seed is not None:
        _override(values, f"seeds=[{seed}]")
        _override(values, f"search.seed={(seed + 1000) % SEEDS}")  # another than the trainings', as the default is
    return validate(values, str(path))


def resolve_source(source: str, overrides: Sequence[str] = ()) -> SweepSpec:
    """A sweep on a data source, with all else as it is by default.

    Args:
        source: Its name in DATASETS.
        overrides: As of :func:`resolve`.

    Raises:
        SpecError: As :func:`resolve` does.
    """
    values: dict[str, Any] = {"networks": ["ConvNet"], "data": {"source": source}}
    for override in overrides:
        _override(values, override)
    return validate(values, source)


def find(name_or_path: str) -> Path:
    """The path of a sweep file.

    Raises:
        SpecError: There is none; the line names the one that was meant perhaps, or those that there are.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if path.is_file():
            return path
        raise SpecError(f"{path}: there is no such sweep file; check the path, or give the name of a sweep")
    folders = sweep_folders()
    for folder in folders:
        if (folder / f"{path.name}.yaml").is_file():
            return folder / f"{path.name}.yaml"
    known = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    raise SpecError(
        f"there is no sweep {name_or_path!r}{near(name_or_path, known)} (a file of your own is given by its path)"
    )


def validate(values: Mapping[str, Any], where: str) -> SweepSpec:
    """Validate plain values; ``where`` (a file name) begins the error's line.

    Raises:
        SpecError: They are no sweep, or more or larger than any sweep's.
    """
    check_size(values, where)
    try:
        # By way of JSON, whose strict mode takes a list for a tuple and 1 for 1.0, but neither "1" nor true.
        return SweepSpec.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise SpecError(f"{where}: {_explain(error)}") from error


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
        elif path[:depth] == ["protocol"] and isinstance(inner, str):
            inner = {"base": inner}
        if not isinstance(inner, dict):
            raise SpecError(f"--set {override}: {'.'.join(path[:depth])} is a value, not a section")
        section[part] = inner
        section = inner
    section[path[-1]] = load_yaml(text, f"--set {key}")
    if path == ["protocol", "base"]:
        values["protocol"] = section[path[-1]]  # all of it: a run's own sweep.yaml has every switch spelled out
    if len(path) == 2 and path[0] == "training":
        # What the user asks of every training, no network's own setting may undo.
        networks = values.get("networks")
        for own in networks.values() if isinstance(networks, dict) else ():
            if isinstance(own, dict) and isinstance(own.get("training"), dict):
                own["training"].pop(path[1], None)


def _explain(error: ValidationError) -> str:
    """The first problem of a validation as ``key.path: what is wrong``, and how many more there are."""
    problems = error.errors()
    # A key that is not known explains the one that is then missing: it comes first.
    first = min(
        problems,
        key=lambda problem: problem["type"] not in ("extra_forbidden", "unexpected_keyword_argument"),
    )
    path = place(first)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        text = f"unknown key{near(path[-1], _siblings(path))}"
    else:
        text = sentence(first, problems)
        if first["type"].endswith(("_type", "_from_float")) or first["type"] == "missing":
            text += "; `dwray schema` says what each key takes"
    more = len({tuple(place(problem)) for problem in problems}) - 1
    return f"{'.'.join(path) or 'the file'}: {text}" + (
        f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
    )


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
