"""What a measurement was made on: versions, device, threads, commit. A figure without it is hearsay."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import dwray


def processor_name() -> str:
    """The CPU's model, as /proc/cpuinfo or Python's platform module gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux: platform knows as much as there is to know
        pass
    return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """The model of a device: the GPU's, or the CPU's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def git_commit() -> str | None:
    """The commit of the source tree that dwray runs from, marked ``-dirty`` if changed; None for an installed wheel."""
    root = Path(dwray.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def installed_version(package: str) -> str | None:
    """The version of a package without importing it (which takes seconds); None if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def environment() -> dict[str, Any]:
    """Versions, processor, GPUs and commit of this process's machine, as plain JSON values."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "dwray": dwray.__version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torchvision": installed_version("torchvision"),
        "ray": installed_version("ray"),
        "numpy": installed_version("numpy"),
        "pyarrow": installed_version("pyarrow"),
        "scikit-learn": installed_version("scikit-learn"),  # whose digits are images of a sweep
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if gpus else None,  # type: ignore[no-untyped-call]
        "cpu": processor_name(),
        "cpu_cores": os.cpu_count(),
        "gpus": gpus,
        # Whether float32 convolutions and matrix products on a GPU are in TF32: a factor of several in speed.
        "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
        "matmul_allow_tf32": torch.backends.cuda.matmul.allow_tf32,
    }
