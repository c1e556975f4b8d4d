"""Options whose values need torch, or more than click's types can say: what cannot be is an error of one line."""

from collections.abc import Iterable

import torch

from dwray.errors import SpecError, near


def listed(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated list, each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def numbers(option: str, text: str, lowest: int = 1) -> tuple[int, ...]:
    """A comma-separated list of whole numbers.

    Raises:
        SpecError: A part is none, or is below the lowest.
    """
    parts = listed(text)
    if not all(part.isdecimal() and int(part) >= lowest for part in parts):
        raise SpecError(f"{option} must be whole numbers from {lowest}, separated by commas, not {text!r}")
    return tuple(map(int, parts))


def known(option: str, what: str, names: Iterable[str], there: Iterable[str]) -> None:
    """Hold names against those that there are.

    Raises:
        SpecError: There is none of that name.
    """
    there = list(there)
    for name in names:
        if name not in there:
            raise SpecError(f"{option}: there is no {what} {name!r}{near(name, there)}")


def device(name: str | None) -> torch.device:
    """A device that is there; without a name the GPU, if there is one.

    Raises:
        SpecError: It is not there.
    """
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    there = ["cpu", *(["cuda"] if gpus else []), *gpus]
    name = name or ("cuda" if gpus else "cpu")
    if name not in there:
        raise SpecError(f"--device: there is no device {name!r} here; there are: {', '.join(there)}")
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)
