"""How far colours are apart in brightness, as WCAG counts it."""

import numpy as np
from numpy.typing import NDArray

AA_TEXT, AA_GRAPHICS = 4.5, 3.0
"""Least contrast of text, and of what tells a control or a line from the page: WCAG 2.2, 1.4.3 and 1.4.11."""


def linear(colour: str) -> NDArray[np.float64]:
    """Linear RGB of ``#rrggbb``, from 0 to 1."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    return np.array([part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts])


def contrast(one: str, other: str) -> float:
    """From 1 to 21."""
    low, high = sorted(float(linear(colour) @ (0.2126, 0.7152, 0.0722)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)
