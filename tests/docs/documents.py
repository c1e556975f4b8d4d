"""The blocks of code in the documents, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)$")
TABLE_OF_ERRORS = re.compile(r"^\| `dwray .*$", re.M)
"""A row of docs/errors.md that begins with a command: a wrong one, which tests/docs/test_errors.py runs."""
DIRECTIVE = re.compile(r"^<!-- test: (.*) -->$")


@dataclass(frozen=True)
class Block:
    """One block of code."""

    file: str
    line: int
    """Of its first line of code, from 1."""
    language: str
    text: str
    directive: str
    """What ``<!-- test: ... -->`` above it says; empty without one."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def blocks_of(path: Path) -> Iterator[Block]:
    """The blocks of a document in their order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    began: int | None = None
    language = ""
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence and began is None:
            began, language = number, fence[1]
        elif fence and began is not None:
            said = DIRECTIVE.match(lines[began - 1]) if began else None
            text = "\n".join(lines[began + 1 : number]) + "\n"
            yield Block(str(path.relative_to(ROOT)), began + 2, language, text, said[1] if said else "")
            began = None
    assert began is None, f"{path}: a block is not closed"


def spans(path: Path) -> list[str]:
    """What a document's sentences and tables have in backticks."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", TABLE_OF_ERRORS.sub("", text))]


def inline_of(path: Path) -> Iterator[str]:
    """The commands of dwray among them."""
    yield from (span for span in spans(path) if span.startswith("dwray "))


INLINE = sorted(
    {
        (str(path.relative_to(ROOT)), command)
        for path in [*FILES, *(ROOT / name for name in ("SECURITY.md", "CHANGELOG.md", "results/README.md"))]
        for command in inline_of(path)
    }
)
"""The commands in sentences, with their document."""
BLOCKS = [block for path in FILES for block in blocks_of(path)]


def commands(text: str) -> Iterator[list[str]]:
    """The commands of some lines of shell, one after the other, without redirections and assignments."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        words.commenters = "#"
        found: list[str] = []
        skip = False
        for word in [*words, ";"]:
            if set(word) <= set("();<>|&"):
                if found:
                    yield found
                found, skip = [], ">" in word or "<" in word
            elif skip:
                skip = False
            elif found or not re.fullmatch(r"\w+=.*", word):
                found.append(word)
