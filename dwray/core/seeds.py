"""The seeds that there are; a module of its own, as the command line has it before it has any settings."""

SEEDS = 2**32
"""Every seed is below this: NumPy's take no larger."""
