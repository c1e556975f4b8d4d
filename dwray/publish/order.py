"""What the publisher's process is told, and how it tells."""

import contextlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Order:
    """What to publish, and where to."""

    folder: str
    entity: str
    project: str
    base_url: str
    key: str | None
    """None writes offline runs."""
    follow: bool
    """The run goes on until the input says that it has ended."""


def tell(**words: Any) -> None:
    """A line for whoever started this process; nobody hears it if that has ended."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(words), flush=True)
