"""Whether this machine has what a sweep needs: its images, told without a download; torch, and the GPUs under it."""

import os
import warnings
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from dwray.core.config import DataConfig
from dwray.errors import DataError, one_line

OK, WARNING, FAILED = "ok", "warning", "failed"

CIFAR = {"cifar10": ("CIFAR10", 10), "cifar100": ("CIFAR100", 100)}
"""The sources that are downloaded when they are first needed: torchvision's class and the number of classes."""
CIFAR_IMAGES = (50_000, 10_000)
"""To train on and to test on."""
CIFAR_SIZE = 32


@dataclass(frozen=True)
class DataState:
    """Where a sweep's images are."""

    where: str
    """The folder or file, or that they need none."""
    problem: str | None = None
    """Why they cannot be read as they are; None if they are there."""
    fetched_by_sweep: bool = False
    """They are not there, and a sweep downloads them."""


def data_state(config: DataConfig) -> DataState:
    """Look for a sweep's images; nothing is fetched and nothing written.

    CIFAR's files are held against their checksums; of a folder it is told that it is there, and
    :func:`dwray.core.data.load` finds what is wrong in it.

    Args:
        config: Which images.
    """
    if config.source in CIFAR:
        return _cifar_state(config)
    if config.source in ("parquet", "image_folder"):
        if config.root is None:
            return DataState("data.root", "no folder is given; --set data.root=FOLDER")
        root = Path(config.root).expanduser()
        return DataState(str(root), None if root.is_dir() else "there is no such folder; --set data.root=FOLDER")
    return DataState("made or installed with dwray: no file is needed")


def _cifar_state(config: DataConfig) -> DataState:
    from torchvision import datasets

    from dwray.core.sources_cifar import cifar_root

    name, _ = CIFAR[config.source]
    known = getattr(datasets, name)
    root = cifar_root(config)
    folder = root / known.base_folder
    try:
        known(root, train=False, download=False)
    except (RuntimeError, OSError):
        problem = "its files are damaged or not all there" if folder.exists() else "it is not there"
        return DataState(str(folder), problem, fetched_by_sweep=True)
    return DataState(str(folder))


def stand_in(config: DataConfig) -> DataConfig:
    """Random images of the same number and shape as a source's that is not there.

    Args:
        config: Which images are not there.

    Raises:
        DataError: Only the images themselves could tell their shape.
    """
    if config.source not in CIFAR:
        raise DataError(f"{data_state(config).where}: {data_state(config).problem}")
    train, test = CIFAR_IMAGES
    return DataConfig(
        source="synthetic",
        image_size=CIFAR_SIZE,
        classes=CIFAR[config.source][1],
        max_train_images=min(train, config.max_train_images or train),
        max_test_images=min(test, config.max_test_images or test),
        validation_fraction=config.validation_fraction,
        split_seed=config.split_seed,
    )


@dataclass(frozen=True)
class Check:
    """What was looked at, and what was found."""

    name: str
    status: str
    """``ok``; ``warning``: a sweep runs, with a drawback; ``failed``: it would not, or not as asked."""
    found: str
    mend: str = ""
    """How; of what is ok, nothing."""


def torch_check() -> Check:
    """Torch and torchvision can be imported, and are made for each other."""
    mend = "install both anew, together: pip install --force-reinstall torch torchvision"
    try:
        import torch
        import torchvision
    except (Exception, SystemExit) as error:  # a torchvision for another torch raises RuntimeError
        return Check("torch", FAILED, f"cannot be imported ({one_line(error)})", mend)
    found = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    found += f", built for CUDA {torch.version.cuda}" if torch.version.cuda else ", built without CUDA"
    wanted = _torch_of_torchvision()
    if wanted and wanted != torch.__version__.partition("+")[0]:
        return Check("torch", FAILED, f"{found}: this torchvision is made for torch {wanted}", mend)
    return Check("torch", OK, found)


def _torch_of_torchvision() -> str | None:
    """The version of torch that the installed torchvision requires, if it requires one."""
    for line in metadata.requires("torchvision") or ():
        name, exact, version = line.partition(";")[0].replace("(", "").replace(")", "").partition("==")
        if exact and name.strip() == "torch":
            return version.strip().partition("+")[0]
    return None


@dataclass(frozen=True)
class DriverView:
    """What NVIDIA's driver says."""

    version: str
    cuda: tuple[int, int]
    """The newest that it runs."""
    gpus: tuple[str, ...]
    """Models, with memory and peculiarities."""
    notes: tuple[str, ...]
    """What stands in the way of using them, and how to mend it."""


def _driver() -> DriverView | None:
    """What the driver says; None where there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        newest = int(pynvml.nvmlSystemGetCudaDriverVersion())
        gpus, notes = [], []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            gigabytes = pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30
            gpus.append(f"{pynvml.nvmlDeviceGetName(handle)}, {gigabytes:.0f} GiB, compute capability {major}.{minor}")
            if _mig(pynvml, handle):
                notes.append(f"GPU {index} is in MIG mode: name an instance with CUDA_VISIBLE_DEVICES=MIG-UUID")
            if pynvml.nvmlDeviceGetComputeMode(handle) != pynvml.NVML_COMPUTEMODE_DEFAULT:
                notes.append(
                    f"GPU {index} lets one process in at a time: set resources.gpus_per_trial to 1, or as root: "
                    f"nvidia-smi -i {index} -c DEFAULT"
                )
        return DriverView(
            str(pynvml.nvmlSystemGetDriverVersion()), (newest // 1000, newest % 1000 // 10), tuple(gpus), tuple(notes)
        )
    finally:
        pynvml.nvmlShutdown()


def _mig(pynvml: Any, handle: Any) -> bool:
    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
    except pynvml.NVMLError:  # a GPU that has no such mode
        return False


def gpu_check(wanted: float | None) -> Check:
    """The driver's GPUs are those that torch computes on.

    Args:
        wanted: GPUs of a trial, by the sweep file; None takes one if there is one.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a driver that is too old: told below
        seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen:
        torch.ones(2, device="cuda").sum().item()  # a GPU that this torch is not built for raises here
    try:
        driver = _driver()
    except ImportError:
        found = f"{seen} by torch; the driver cannot be asked: nvidia-ml-py is not installed"
        return Check("GPU", FAILED if wanted and not seen else WARNING, found, "pip install nvidia-ml-py")
    return judge_gpus(driver, seen, wanted, torch.version.cuda)


def judge_gpus(driver: DriverView | None, seen: int, wanted: float | None, built_for: str | None) -> Check:
    """What is to be said of a machine's GPUs.

    Args:
        driver: What it says; None where there is none.
        seen: GPUs that torch sees.
        wanted: As :func:`gpu_check` has it.
        built_for: The version of CUDA that torch is built for.
    """
    if driver is None or not driver.gpus:
        return _without_gpu("the driver has no GPU" if driver else "no NVIDIA driver", wanted)
    found = f"{len(driver.gpus)} by the driver ({driver.version}, CUDA {driver.cuda[0]}.{driver.cuda[1]}): "
    found += f"{'; '.join(dict.fromkeys(driver.gpus))}; {seen} by torch"
    if not seen:
        return Check("GPU", WARNING if wanted == 0 else FAILED, found, _why_torch_sees_none(built_for, driver))
    mend = list(driver.notes)
    if seen < len(driver.gpus):
        mend.append(f"CUDA_VISIBLE_DEVICES is {os.environ.get('CUDA_VISIBLE_DEVICES')!r}: unset it to use all GPUs")
    return Check("GPU", WARNING if mend else OK, found, "; ".join(mend))


def _without_gpu(found: str, wanted: float | None) -> Check:
    if wanted:
        mend = "install NVIDIA's driver, or --set resources.gpus_per_trial=0 to train on the CPU"
        return Check("GPU", FAILED, f"{found}, and the sweep wants {wanted:g} GPUs a trial", mend)
    if wanted == 0:
        return Check("GPU", OK, f"{found}; the sweep uses none")
    return Check("GPU", WARNING, f"{found}: trials run on the CPU", "install NVIDIA's driver if there is a GPU")


def _why_torch_sees_none(built_for: str | None, driver: DriverView) -> str:
    """Torch sees no GPU, and the driver does: what to do."""
    if built_for is None:
        return "this torch is built without CUDA: pip install --force-reinstall torch torchvision"
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return f"CUDA_VISIBLE_DEVICES is {os.environ['CUDA_VISIBLE_DEVICES']!r}: unset it"
    if int(built_for.partition(".")[0]) > driver.cuda[0]:
        return f"the driver is too old for CUDA {built_for}: update it, or install a torch for an older CUDA"
    return (
        "in a container, start it with --gpus all; else see nvidia-smi and python -c 'import torch; torch.cuda.init()'"
    )
