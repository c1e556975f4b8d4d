"""What bad files hold, for hypothesis to draw: sweep files and JSON, and what is neither."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from tiny import TINY

SWEEPS = Path(__file__).parent.parent / "sweeps"
TEXTS = [path.read_text() for path in sorted(SWEEPS.glob("*.yaml"))] + [yaml.safe_dump(TINY, sort_keys=False)]
SNIPPETS = (
    *(": ", ":", "- ", "[", "]", "{", "}", ",", "#", "\n", "\t", "  ", "&a ", "*a", "<<: *a\n", "---\n", "%YAML 9.9\n"),
    *("!!binary x", "!!int x", "!!float x", "!!bool x", "!!timestamp x", "!!set {a}", "!!python/name:os.system", "? "),
    *(
        ".nan",
        ".inf",
        "-.inf",
        "1e999",
        "9" * 20,
        "9" * 5000,
        "0x" + "f" * 5000,
        "-0",
        "1_0",
        "190:20:30",
        "0o7",
        "010",
    ),
    *("2024-99-99", "2024-01-01", "null", "~", "true", "auto", '"', "'", '"\\ud800"', '"\\UFFFFFFFF"', '"a\\nb"'),
    *("\x00", "\x85", "\ufeff", "\u2028", "\u202e", "é", "🙂", "\x1b[31m", "paper", "corrected", "x" * 300),
)
ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**400]),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(["auto", "paper", "ConvNet", "digits", "float32", "momentum_reset_each_epoch", "a + b"]),
        st.dates(),
        st.binary(max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=10), st.integers(), st.booleans()), inner, max_size=4),
    ),
    max_leaves=8,
)


@st.composite
def edited_texts(draw: st.DrawFn) -> str:
    """A valid sweep file with pieces taken out and others put in."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 60, len(text))))
        text = text[:start] + draw(st.one_of(st.just(""), st.sampled_from(SNIPPETS), st.text(max_size=5))) + text[end:]
    return text


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a tree of mappings and lists, as container and key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


@st.composite
def edited_trees(draw: st.DrawFn) -> str:
    """A valid sweep file with other values, keys and types in some of its places."""
    tree = yaml.safe_load(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(list(places(tree)) or [(tree, "name")]))
        if isinstance(container, dict) and draw(st.booleans()):
            container[draw(st.one_of(st.text(max_size=10), st.sampled_from(["epochs", "network", "base"])))] = (
                container.pop(key)
            )
        else:
            container[key] = draw(ANYTHING)
    return yaml.dump(tree, sort_keys=False, allow_unicode=draw(st.booleans()))


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)
CONTENTS = st.one_of(
    edited_texts().map(lambda text: text.encode("utf-8", "surrogatepass")),
    edited_trees().map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=200),
)
METADATA_TEXT = st.one_of(
    st.text(max_size=20),
    ANYTHING.map(lambda value: json.dumps(value, default=str)),
    st.sampled_from(['["A", "A"]', "{}", "[]", "null", '[["A"]]', '{"base": "paper"}', '{"base": 1}', '["nonsense"]']),
    st.sampled_from(["[" * 5000, "9" * 5000, '["A"', "NaN", '"\\ud800"', "cifar10", "paper"]),
).map(lambda text: text.encode("utf-8", "surrogatepass"))
NESTED = b"[" * 100_000
