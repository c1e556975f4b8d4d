"""The paper's claims: of each, the quantity that decides it, how it is measured, and where it must lie.

A new claim is one entry of CLAIMS; ``dwray.results.verdicts`` judges them all by one rule.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dwray import paper
from dwray.paper import Stated
from dwray.results.curves import epochs_to_reach, pass_seconds, target_accuracy, train_seconds
from dwray.results.one_device import training_time_ratio
from dwray.results.records import Records
from dwray.results.statistics import Estimate, paired_difference, ratio_of_pairs

ORDINARY = "ConvNet"
DEPTHWISE = "DepthwiseConvNet"


@dataclass(frozen=True)
class Unit:
    """What repeats: a verdict needs at least ``fewest`` of them."""

    name: str
    fewest: int


SEEDS = Unit("seeds", 2)
PASSES = Unit("passes", 5)


@dataclass(frozen=True)
class Quantity:
    """What a number is a number of."""

    unit: str
    """Short enough to stand beside it in a terminal."""
    form: str
    scale: Callable[[float], float]
    """Onto the scale on which the deviation between units was taken: the log, for what is a ratio."""


POINTS = Quantity("points", "+.2f", float)
EPOCHS = Quantity("epochs", "+.1f", float)
RATIO = Quantity("ratio", ".3f", math.log)
LONGER = Quantity("%", "+.3g", lambda percent: math.log1p(percent / 100))


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, and what must be measured for it to hold."""

    key: str
    topic: str
    words: str
    """In short."""
    quote: str
    """In the paper's words."""
    section: str
    measured: str
    """What is measured."""
    quantity: Quantity
    low: float
    """The claim holds above this ..."""
    high: float
    """... and below this."""
    reason: str
    """Why this range."""
    measure: Callable[[Records], Estimate | None]
    """In the quantity's unit; None where the run does not say."""
    stated: Callable[[Records], Stated]
    """The same by the paper and the notebooks; asked only where they stand beside the run."""
    units: Unit = SEEDS


Value = Callable[[Records, Mapping[str, Any]], float | None]
"""A number of one training, from its row."""


def _by_seed(records: Records, network: str, value: Value) -> dict[int, float]:
    """A number of each completed training of a network, by seed."""
    contender = records.contender_of(network)
    return records.by_seed(contender, partial(value, records)) if contender else {}


def _total_seconds(records: Records, row: Mapping[str, Any]) -> float | None:
    epochs = records.epochs_of(row)
    return sum(pass_seconds(epochs)) if epochs else None


def _ratio_of(value: Value, records: Records) -> Estimate | None:
    """DepthwiseConvNet's over ConvNet's, seed by seed."""
    return training_time_ratio(records, _by_seed(records, DEPTHWISE, value), _by_seed(records, ORDINARY, value))


def _accuracy_difference(records: Records) -> Estimate | None:
    """DepthwiseConvNet's test accuracy less ConvNet's, seed by seed, in percentage points."""
    a, b = (_by_seed(records, network, Records.test_accuracy) for network in (DEPTHWISE, ORDINARY))
    return paired_difference(a, b, records.test_accuracy_resolution)


def _epochs_difference(records: Records) -> Estimate | None:
    """DepthwiseConvNet's epochs to the target accuracy less ConvNet's, seed by seed.

    None where a training never reached it: to leave that one out would flatter its network.
    """
    target = target_accuracy(records)
    if target is None:
        return None

    def epochs(records: Records, row: Mapping[str, Any]) -> float:
        return epochs_to_reach(records.epochs_of(row), target) or math.inf

    a, b = (_by_seed(records, network, epochs) for network in (DEPTHWISE, ORDINARY))
    return None if math.inf in (*a.values(), *b.values()) else paired_difference(a, b, resolution=1.0)


def _longer(network: str, images: str, batch_size: int, records: Records) -> Estimate | None:
    """How much longer a network takes than the other for a pass over a set, in percent, pass by pass."""
    contenders = [records.contender_of(name) for name in (network, DEPTHWISE if network == ORDINARY else ORDINARY)]
    passes = records.passes(images, batch_size, loader=records.protocol.loader_in_test_time)
    slow, fast = ({row["pass_number"]: row["seconds"] for row in passes.get(name or "", ())} for name in contenders)
    ratio = ratio_of_pairs(slow, fast)
    if ratio is None:
        return None
    low, high = (None if end is None else 100 * (end - 1) for end in (ratio.low, ratio.high))
    return replace(ratio, value=100 * (ratio.value - 1), low=low, high=high)


def _stated_pair(
    ask: Callable[[str, str], Stated], combine: Callable[[float, float], float], records: Records
) -> Stated:
    """What the sources state of both networks, combined: DepthwiseConvNet's first."""
    a, b = (ask(records.compare_with or "", network) for network in (DEPTHWISE, ORDINARY))

    def both(x: float | None, y: float | None) -> float | None:
        return None if x is None or y is None else combine(x, y)

    footnotes = tuple(dict.fromkeys((*a.footnotes, *b.footnotes)))
    return Stated(both(a.paper, b.paper), both(a.notebook, b.notebook), footnotes)


def _stated_accuracy(dataset: str, network: str) -> Stated:
    """The printed accuracy beside the notebook's last epoch."""
    reported, last = (paper.accuracy(dataset, network, which) for which in ("reported", "last_epoch"))
    return Stated(reported.paper, last.notebook, reported.footnotes)


def _stated_epochs(records: Records) -> Stated:
    """The paper's difference in epochs trained, the notebooks' in the epochs to this run's target."""
    trained = _stated_pair(paper.epochs, operator.sub, records)
    target = target_accuracy(records)
    first = [
        None if target is None else paper.epochs_to_reach(records.compare_with or "", network, target)
        for network in (DEPTHWISE, ORDINARY)
    ]
    notebook = None if first[0] is None or first[1] is None else float(first[0] - first[1])
    if trained.paper is None and notebook is None:
        return Stated()
    return Stated(trained.paper, notebook, (*trained.footnotes, "epochs_trained"))


def _stated_longer(images: str, batch_size: int, _: Records) -> Stated:
    """The paper timed on CIFAR-10; the images of CIFAR-100 are of the same size and number."""
    return paper.longer_percent(images, batch_size).percent


def _accuracy_claims() -> tuple[Claim, ...]:
    equal = Claim(
        key="accuracies_equal",
        topic="accuracy: DepthwiseConvNet is",
        words="roughly as accurate",
        quote="the 2 models has roughly the same validation accuracy",
        section="4.1",
        measured="test accuracy, DepthwiseConvNet less ConvNet",
        quantity=POINTS,
        low=-2,
        high=2,
        reason="the paper calls accuracies 1.86 and 1.76 percentage points apart roughly the same",
        measure=_accuracy_difference,
        stated=partial(_stated_pair, _stated_accuracy, operator.sub),
    )
    higher = replace(
        equal,
        key="depthwise_more_accurate",
        words="more accurate",
        quote="DepthwiseConvNet has a slightly higher validation accuracy than ConvNet",
        low=0,
        high=math.inf,
        reason="more is above zero",
    )
    return equal, higher


def _training_time_claims() -> tuple[Claim, ...]:
    half = Claim(
        key="half_the_time_per_epoch",
        topic="training: DepthwiseConvNet takes",
        words="half the time per epoch",
        quote="the training time per epoch for depth-wise separable neural network is only half as much",
        section="4.2",
        measured="train seconds per epoch, DepthwiseConvNet over ConvNet",
        quantity=RATIO,
        low=0.45,
        high=0.55,
        reason="the paper calls 17.7 / 33.2 = 0.53 half",
        measure=partial(_ratio_of, train_seconds),
        stated=partial(_stated_pair, paper.seconds_per_epoch, operator.truediv),
    )
    longer = replace(
        half,
        key="more_time_to_train",
        words="more time to train",
        quote="the one using depth-wise separable convolution takes significantly more time to train",
        section="abstract, 4.2",
        measured="seconds of all epochs of a training, DepthwiseConvNet over ConvNet",
        low=1,
        high=math.inf,
        reason="more is a ratio above one",
        measure=partial(_ratio_of, _total_seconds),
        stated=partial(_stated_pair, paper.total_seconds, operator.truediv),
    )
    epochs = Claim(
        key="more_epochs",
        topic="training: DepthwiseConvNet takes",
        words="more epochs",
        quote="the larger amount of epochs needed to train DepthwiseConvNet",
        section="4.2",
        measured="epochs to reach an accuracy, DepthwiseConvNet less ConvNet",
        quantity=EPOCHS,
        low=0,
        high=math.inf,
        reason="more is above zero",
        measure=_epochs_difference,
        stated=_stated_epochs,
    )
    return half, longer, epochs


TOLERANCE_PERCENT = 5.0
"""How far, in percentage points, a test time may lie from the paper's percentage and still bear it out."""


def _test_time_claims(batch_size: int, images: str, network: str, percent: float, quote: str) -> tuple[Claim, ...]:
    """That a network takes longer, and by how many percent."""
    direction = Claim(
        key=f"longer_{images}_{batch_size}",
        topic=f"test time, batch {batch_size}, {images} set: {network} takes",
        words="longer",
        quote=quote,
        section="4.3",
        measured=f"mean seconds of a pass: how much longer {network} takes",
        quantity=LONGER,
        low=0,
        high=math.inf,
        reason="longer is above zero",
        measure=partial(_longer, network, images, batch_size),
        stated=partial(_stated_longer, images, batch_size),
        units=PASSES,
    )
    magnitude = replace(
        direction,
        key=f"longer_by_{images}_{batch_size}",
        words=f"{percent:g}% longer",
        low=round(percent - TOLERANCE_PERCENT, 6),
        high=round(percent + TOLERANCE_PERCENT, 6),
        reason=f"test times: {TOLERANCE_PERCENT:g} percentage points to either side of the paper's percentages",
    )
    return direction, magnitude


_BATCH_256 = (
    "it takes 9.5% and 10.3% more time for ConvNet to run compared to DepthwiseConvNet on test set and train set "
    "respectively"
)
_BATCH_4 = (
    "it takes 18.7% and 17.8% more time for DepthwiseConvNet to run compared to ConvNet in test set and training set"
)

CLAIMS: tuple[Claim, ...] = (
    *_accuracy_claims(),
    *_training_time_claims(),
    *_test_time_claims(256, "test", ORDINARY, 9.5, _BATCH_256),
    *_test_time_claims(256, "train", ORDINARY, 10.3, _BATCH_256),
    *_test_time_claims(4, "test", DEPTHWISE, 18.7, _BATCH_4),
    *_test_time_claims(4, "train", DEPTHWISE, 17.8, _BATCH_4),
)
"""In the order of the paper."""
