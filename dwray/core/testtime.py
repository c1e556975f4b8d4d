"""Test time of untrained networks: many batch sizes, several modes, and the batch size where the winner changes.

Images are random: what a convolution costs does not depend on them. They are never zero, and batch norm has statistics
of such images, so that activations are of an ordinary size all through (a GPU draws less power on zeros, and
computes faster for it).
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dwray.core.clock import Stopwatch
from dwray.core.crossover import Comparison, Crossover, compare_rounds, find_crossover
from dwray.core.environment import device_name
from dwray.core.inference import Batches, time_passes
from dwray.core.modes import Mode, prepare, unavailable
from dwray.core.networks import build
from dwray.core.witness import Witness, Witnessed
from dwray.errors import UserError, one_line

WARMUP_BATCHES = 3
ROUND_SECONDS = 0.03
"""A round of a comparison runs each network at least this long."""
CHECK_IMAGES = 64
"""Images that batch norm's statistics and the comparison with float32 rest on."""
MEMORY_SHARE = 0.5
"""Of the memory that is free, what a batch may take by estimate."""
SEED = 0


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    device: torch.device
    size: int
    """Pixels a side of the RGB images."""
    batch_sizes: tuple[int, ...]
    images: int
    """In a pass."""
    passes: int
    modes: tuple[Mode, ...]
    max_batch: int | None
    """The largest batch size of the search for the crossover; None makes none."""


@dataclass(frozen=True)
class BatchTime:
    """The timed passes of all networks in one mode at one batch size."""

    mode: str
    batch_size: int
    seconds: dict[str, tuple[float, ...]]
    """Of each network's passes."""
    witnessed: Witnessed


@dataclass(frozen=True)
class ModeCrossover:
    """The search for the crossover in one mode."""

    mode: str
    crossover: Crossover
    witnessed: Witnessed


@dataclass(frozen=True)
class Measured:
    """Everything that was measured, and on what."""

    networks: tuple[str, ...]
    device: str
    device_name: str
    threads: int
    torch: str
    size: int
    images: int
    passes: int
    times: tuple[BatchTime, ...]
    crossovers: tuple[ModeCrossover, ...]
    unavailable: dict[str, str]
    """Modes that cannot be had here or that failed, and why: nothing else here is of them."""

    @property
    def witnessed(self) -> tuple[Witnessed, ...]:
        """The records of all timings, in their order."""
        return (*(each.witnessed for each in self.times), *(each.witnessed for each in self.crossovers))


def untrained(name: str, *, classes: int, width: float, images: Tensor) -> nn.Module:
    """A network of the registry for timing, on the images' device, in evaluation mode, never trained.

    Args:
        name: Key of NETWORKS.
        classes: Number of outputs.
        width: Width multiplier.
        images: (N, C, H, W) float32; batch norm's running statistics become theirs. With those that a new network has
            (mean 0, variance 1) random weights shrink the activations of each layer further.

    Raises:
        KeyError: No such network.

    Example:
        >>> images = random_images(8, 16, torch.device("cpu"))
        >>> network = untrained("ConvNet", classes=10, width=0.05, images=images)
        >>> network.training, network(images).shape
        (False, torch.Size([8, 10]))
    """
    network = build(name, classes=classes, width=width, channels=images.shape[1], seed=SEED).to(images.device)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain average of all batches: here of one
    with torch.no_grad():
        network.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()


def random_images(count: int, size: int, device: torch.device) -> Tensor:
    """Normally distributed RGB images (count, 3, size, size), float32, channels last, the same in every call.

    Example:
        >>> images = random_images(2, 32, torch.device("cpu"))
        >>> images.shape, images.is_contiguous(memory_format=torch.channels_last)
        (torch.Size([2, 3, 32, 32]), True)
    """
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(count, 3, size, size, generator=generator)
    return images.to(device, memory_format=torch.channels_last)


def measure(names: Sequence[str], plan: Plan, *, classes: int, width: float, listen: Callable[[str], None]) -> Measured:
    """Time untrained networks of the registry, the network alone, and search for their crossover.

    Args:
        names: Keys of NETWORKS, each once.
        plan: What to measure; the crossover is searched for exactly two networks.
        classes: Number of outputs.
        width: Width multiplier.
        listen: Is told in a line what comes next.

    Returns:
        What the modes gave that worked to their end.

    Raises:
        UserError: A batch that memory does not hold; no mode that the device has and that worked.

    Source: section 4.3 of the paper, whose batch sizes are 256 and 4.

    Example:
        >>> from dwray.core.modes import MODES
        >>> plan = Plan(
        ...     device=torch.device("cpu"), size=16, batch_sizes=(4,), images=8, passes=2,
        ...     modes=(MODES["float32-eager"],), max_batch=None,
        ... )
        >>> measured = measure(["ConvNet"], plan, classes=10, width=0.05, listen=lambda line: None)
        >>> (time,) = measured.times
        >>> time.batch_size, len(time.seconds["ConvNet"])  # two passes, in seconds
        (4, 2)
    """
    check_images = random_images(CHECK_IMAGES, plan.size, plan.device)
    networks = {name: untrained(name, classes=classes, width=width, images=check_images) for name in names}
    most = _largest_batch(networks, check_images)
    if most is not None and max(plan.batch_sizes) > most:
        raise UserError(
            f"a batch of {max(plan.batch_sizes)} images may not fit into the memory of this {plan.device.type} "
            f"(at most {most}): give a smaller --batch-sizes or a smaller --width"
        )
    reasons = {mode: unavailable(mode, plan.device) for mode in plan.modes}
    max_batch = plan.max_batch if len(names) == 2 else None
    if max_batch is not None and most is not None:
        max_batch = min(max_batch, most)
    inputs = random_images(max(plan.images, max_batch or 0), plan.size, plan.device)
    times: list[BatchTime] = []
    crossovers: list[ModeCrossover] = []
    for mode in (mode for mode in plan.modes if not reasons[mode]):
        listen(f"{mode}: compiling" if mode.compiled else f"{mode}: preparing")
        try:
            prepared = prepare(networks, mode, check_images)
            timed, searched = _measure_mode(prepared, mode, inputs, plan, max_batch, listen)
        except torch.OutOfMemoryError:
            reasons[mode] = "the GPU's memory is full: give a smaller --batch-sizes or --max-batch"
        except Exception as error:  # torch and its compilers raise all kinds, and the other modes' figures must be kept
            reasons[mode] = one_line(error)
        else:
            times += timed
            crossovers += searched
    if all(reasons.values()):
        raise UserError("; ".join(f"{mode}: {reason}" for mode, reason in reasons.items()))
    return Measured(
        networks=tuple(names),
        device=str(plan.device),
        device_name=device_name(plan.device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        size=plan.size,
        images=plan.images,
        passes=plan.passes,
        times=tuple(times),
        crossovers=tuple(crossovers),
        unavailable={str(mode): reason for mode, reason in reasons.items() if reason},
    )


def _measure_mode(
    prepared: Mapping[str, nn.Module],
    mode: Mode,
    inputs: Tensor,
    plan: Plan,
    max_batch: int | None,
    listen: Callable[[str], None],
) -> tuple[list[BatchTime], list[ModeCrossover]]:
    """The timed passes in a mode, and the search up to ``max_batch``, if that is wanted."""
    typed = inputs.to(mode.dtype)
    times = []
    for batch_size in plan.batch_sizes:
        listen(f"{mode}: batch size {batch_size}")
        times.append(_time(prepared, typed[: plan.images], batch_size, mode, plan))
    if max_batch is None:
        return times, []
    listen(f"{mode}: crossover between batch sizes 1 and {max_batch}")
    return times, [_search(prepared, typed, max_batch, mode)]


def _time(networks: Mapping[str, nn.Module], inputs: Tensor, batch_size: int, mode: Mode, plan: Plan) -> BatchTime:
    with Witness(plan.device) as witness:
        records = list(
            time_passes(
                networks,
                _batches(inputs, batch_size),
                device=plan.device,
                passes=plan.passes,
                warmup_batches=WARMUP_BATCHES,
            )
        )
    seconds = {name: tuple(record.seconds for record in records if record.network == name) for name in networks}
    return BatchTime(str(mode), batch_size, seconds, witness.record)


def _batches(inputs: Tensor, batch_size: int) -> Batches:
    return lambda: iter(torch.split(inputs, batch_size))


def _search(networks: Mapping[str, nn.Module], inputs: Tensor, max_batch: int, mode: Mode) -> ModeCrossover:
    first, second = networks
    with Witness(inputs.device) as witness:
        crossover = find_crossover(
            lambda batch_size: compare((networks[first], networks[second]), inputs[:batch_size]),
            (first, second),
            max_batch,
        )
    return ModeCrossover(str(mode), crossover, witness.record)


def compare(networks: tuple[nn.Module, nn.Module], batch: Tensor) -> Comparison:
    """Compare two networks at one batch size, until it is sure which is faster or clear that it cannot be told.

    Args:
        networks: In evaluation mode, on the batch's device.
        batch: (N, C, H, W), N the batch size.

    Returns:
        Seconds per image of both (medians over rounds), and the 99.9% interval of the logarithm of their ratio.

    Raises:
        RuntimeError: A network cannot take the batch: its shape, its device, or the memory that it needs.
        ZeroDivisionError: The batch has no image.

    Source: section 4.3 of the paper compares at batch sizes 256 and 4; Student's t of paired differences, here of
    logarithms.

    Example:
        >>> import torch, dwray
        >>> networks = [dwray.build("ConvNet", classes=10, width=width).eval() for width in (0.05, 0.5)]
        >>> comparison = dwray.compare((networks[0], networks[1]), torch.randn(4, 3, 32, 32))
        >>> comparison.batch_size, comparison.seconds[0] < comparison.seconds[1]
        (4, True)
    """
    return compare_rounds(len(batch), paired_rounds(networks, batch))


def paired_rounds(networks: tuple[nn.Module, nn.Module], batch: Tensor) -> Iterator[tuple[float, float]]:
    """Endless rounds of timing: seconds per image of both networks, who goes first alternating.

    A round runs a network as often as ROUND_SECONDS take, by a first trial after the warm-up, and waits for the device
    at its end alone: as in a pass over many batches, a GPU has the next batch queued while it computes.

    Args:
        networks: In evaluation mode, on the batch's device.
        batch: (N, C, H, W), N the batch size.

    Example:
        >>> first, second = next(paired_rounds((nn.Identity(), nn.Identity()), torch.zeros(4, 3, 8, 8)))
        >>> first > 0 and second > 0
        True
    """
    repeats = []
    for network in networks:
        _run(network, batch, WARMUP_BATCHES if len(batch) < CHECK_IMAGES else 1)
        repeats.append(max(1, round(ROUND_SECONDS / _run(network, batch, 1) + 0.5)))
    for number in itertools.count():
        seconds = [0.0, 0.0]
        for index in (0, 1) if number % 2 == 0 else (1, 0):
            seconds[index] = _run(networks[index], batch, repeats[index]) / (repeats[index] * len(batch))
        yield seconds[0], seconds[1]


@torch.no_grad()
def _run(network: nn.Module, batch: Tensor, repeats: int) -> float:
    """Seconds of so many forward passes in a row."""
    watch = Stopwatch(batch.device)
    for _ in range(repeats):
        network(batch)
    return watch.stop()[0]


# Memory


def _largest_batch(networks: Mapping[str, nn.Module], images: Tensor) -> int | None:
    """The largest batch that memory surely holds; None where the free memory is unknown."""
    free = free_bytes(images.device)
    if free is None:
        return None
    needed = max(activation_bytes(network, images[:1]) for network in networks.values())
    return max(1, int(free * MEMORY_SHARE / needed))


@torch.no_grad()
def activation_bytes(network: nn.Module, image: Tensor) -> int:
    """Bytes that one image (1, C, H, W) takes at the fullest moment of a forward pass, by an upper estimate.

    That is the largest input, output and workspace (as large as both) of any layer.

    Example:
        >>> activation_bytes(nn.Conv2d(3, 5, 1), torch.zeros(1, 3, 8, 8))  # 2 * (3 + 5) * 8 * 8 numbers of 4 bytes
        4096
    """
    most = 0

    def note(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal most
        most = max(most, 2 * sum(tensor.nbytes for tensor in (*inputs, output)))

    handles = [layer.register_forward_hook(note) for layer in network.modules() if not list(layer.children())]
    try:
        network(image)
    finally:
        for handle in handles:
            handle.remove()
    return most


def free_bytes(device: torch.device, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Memory that a device has free; None where that cannot be known.

    Example:
        >>> free_bytes(torch.device("cpu"), Path("no-such-file")) is None
        True
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines() if ":" in line)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
