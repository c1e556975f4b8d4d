"""The memory of the process that asks, on Linux."""

from pathlib import Path


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(value) / 1024


def rss_mib() -> float:
    """Resident now."""
    return _status("VmRSS")


def peak_rss_mib() -> float:
    """The most that was ever resident (unlike ``getrusage``'s, which begins with that of the parent process)."""
    return _status("VmHWM")
