"""``dwray schema``: what a sweep file may say, for editors as JSON Schema and for people as Markdown tables."""

import json
from collections.abc import Iterator
from typing import Any

import click

from dwray.cli.options import EPILOG, print_json

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The latest draft that all editors know; nothing of a later one is used."""


@click.command(epilog=EPILOG)
@click.option("--markdown", is_flag=True, help="Print the reference tables of docs/sweep-file.md.")
def schema(markdown: bool) -> None:
    """Print the JSON Schema of sweep files.

    An editor that knows the YAML language server takes it from a file's first line:
    "# yaml-language-server: $schema=schema.json", a path relative to the file.
    """
    if markdown:
        click.echo(reference(sweep_schema()), nl=False)
    else:
        print_json(sweep_schema())


def sweep_schema() -> Schema:
    """JSON Schema of a sweep file, as an editor needs it: with the names that only the validators know."""
    from dwray.core.config import MEMORY_FORMATS, MODE_NAMES, PRECISIONS, PROTOCOLS
    from dwray.spec import SweepSpec

    found = _tidy(SweepSpec.model_json_schema())
    sections = found["$defs"]
    training = sections["TrainingConfig"]["properties"]
    training["precision"]["enum"] = ["auto", *PRECISIONS]
    training["memory_format"]["enum"] = ["auto", *MEMORY_FORMATS]
    training["compile"] = {"enum": ["auto", True, False]} | {
        key: training["compile"][key] for key in ("default", "description")
    }
    sections["ProtocolConfig"]["properties"]["base"]["enum"] = list(PROTOCOLS)
    sections["ProtocolConfig"]["properties"]["normalisation"]["enum"] = ["dataset", "imagenet"]
    sections["TimingConfig"]["properties"]["sets"]["items"]["enum"] = ["train", "validation", "test"]
    sections["TimingConfig"]["properties"]["modes"]["items"]["enum"] = list(MODE_NAMES)
    # What a network has of its own, and what an axis varies, are settings of training. Not their defaults: an editor
    # would offer to write them down, and what is left out is the sweep's.
    own = {name: {key: text for key, text in setting.items() if key != "default"} for name, setting in training.items()}
    sections["NetworkSpec"]["properties"]["training"] |= {"properties": own, "additionalProperties": False}
    axes = sections["SearchSpec"]["properties"]["axes"]
    axes["properties"] = {
        name: {"description": setting["description"], **axes["additionalProperties"]}
        for name, setting in own.items()
        if name != "epochs"
    }
    axes["additionalProperties"] = False
    return {"$schema": DRAFT, "title": "dwray sweep file", **found}


def _tidy(part: Any) -> Any:
    """Without pydantic's titles, which repeat the keys; a description's first paragraph on one line, as Markdown."""
    if isinstance(part, list):
        return [_tidy(each) for each in part]
    if not isinstance(part, dict):
        return part
    tidy = {key: _tidy(value) for key, value in part.items() if key != "title" or not isinstance(value, str)}
    if isinstance(tidy.get("description"), str):
        tidy["description"] = " ".join(tidy["description"].partition("\n\n")[0].replace("``", "`").split())
    return tidy


def setting_keys(found: Schema) -> Iterator[str]:
    """The keys of a sweep file, those of a section behind its name and a dot: what ``--set`` changes."""
    sections = {"file": found, **found["$defs"]}

    def below(name: str) -> Iterator[str]:
        for key, setting in sections[name]["properties"].items():
            yield key
            yield from (f"{key}.{each}" for each in setting.get("properties", ()))
            for inner in _sections_of(setting):
                if inner != "NetworkSpec":  # the names before its keys are the sweep's own
                    yield from (f"{key}.{each}" for each in below(inner))

    return below("file")


def reference(found: Schema) -> str:
    """The keys of a sweep file as Markdown: a table for the file and one for each section, in the file's order."""
    sections = found["$defs"]
    parts = ["### The file\n", *_table(found)]
    for key, setting in found["properties"].items():
        for name in _sections_of(setting):
            where = f"{key}.NAME" if name == "NetworkSpec" else key
            parts += [f"\n### `{where}`\n", sections[name]["description"] + "\n", *_table(sections[name])]
    return "\n".join(parts) + "\n"


def _table(section: Schema) -> Iterator[str]:
    """The rows of a section's table."""
    yield "| key | takes | default | |"
    yield "| --- | --- | --- | --- |"
    required = section.get("required", [])
    for key, setting in section["properties"].items():
        # A section's defaults are in its own table.
        default = "" if _sections_of(setting) else f"`{_plain(setting.get('default'))}`"
        text = setting.get("description", "").replace("|", "\\|")
        yield f"| `{key}` | {_takes(setting)} | {'required' if key in required else default} | {text} |"


def _sections_of(part: Any) -> list[str]:
    """Names of the sections that a key can hold."""
    if isinstance(part, list):
        return list(dict.fromkeys(name for each in part for name in _sections_of(each)))
    if not isinstance(part, dict):
        return []
    own = [part["$ref"].rpartition("/")[2]] if "$ref" in part else []
    return own or _sections_of([part.get("anyOf"), part.get("additionalProperties")])


KINDS = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
    "object": "mapping",
}
"""JSON Schema's types in words."""


def _takes(setting: Schema) -> str:
    """What a key takes, in words."""
    match setting:
        case {"enum": values}:
            return ", ".join(f"`{value if isinstance(value, str) else _plain(value)}`" for value in values)
        case {"anyOf": parts}:
            return " or ".join(dict.fromkeys(map(_takes, parts)))
        case {"$ref": _}:
            return "a section"
        case {"type": "array", "items": inner}:
            return f"list of {_takes(inner)}"
        case {"type": "object", "additionalProperties": {}}:
            return "mapping of names to sections"
    return KINDS[setting["type"]] + _range(setting)


def _range(setting: Schema) -> str:
    """The range of a number, as far as the schema has it."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    ends = [f"{sign} {setting[key]}" for key, sign in signs.items() if key in setting]
    return f" {', '.join(ends)}" if ends else ""


def _plain(value: Any) -> str:
    """A default as a sweep file would say it."""
    return json.dumps(value, ensure_ascii=False)
