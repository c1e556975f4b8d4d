"""The paper's claims, each with the measurement that decides it.

One rule for all of them (RULE): a claim names a quantity and the range in which that quantity must lie. It holds if
the whole 95% interval lies in the range, it does not hold if the whole interval lies outside, and otherwise there is
not enough evidence. An interval is taken to say something only of two seeds, or of five pairs of timed passes, or
more. So a claim that is wrong is said to hold in no more than about one run in twenty, and the other way round.
"""

import math
from enum import StrEnum

import pyarrow as pa

from dwray import paper
from dwray.paper import Stated
from dwray.results.claims import CLAIMS, DEPTHWISE, ORDINARY, Claim
from dwray.results.comparison import not_the_papers, unfinished_trainings
from dwray.results.curves import epochs_to_reach, target_accuracy
from dwray.results.one_device import mixed_devices
from dwray.results.records import Records
from dwray.results.statistics import MOST_UNITS, Estimate, units_needed
from dwray.results.table import ROW_FORM, Column, Row, Table

RULE = (
    "A claim holds if the whole 95% interval lies in its range, does not hold if the whole interval lies outside, "
    "and otherwise there is not enough evidence; never a verdict from one seed, or from fewer than 5 pairs of passes."
)


class Verdict(StrEnum):
    """What the measurement says of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "not enough evidence"


def judge(estimate: Estimate | None, low: float, high: float, fewest: int) -> Verdict:
    """The rule. The range is open: a difference of exactly zero is not above zero.

    Args:
        estimate: With its interval; None where nothing was measured.
        low: The claim holds above this.
        high: And below this.
        fewest: Units without which there is no verdict, at least two.
    """
    if estimate is None or estimate.low is None or estimate.high is None or estimate.n < max(2, fewest):
        return Verdict.UNDECIDED
    if low < estimate.low and estimate.high < high:
        return Verdict.HOLDS
    if estimate.high <= low or estimate.low >= high:
        return Verdict.FAILS
    return Verdict.UNDECIDED


def needed(claim: Claim, estimate: Estimate | None) -> str | None:
    """How many units would settle an undecided claim, in words; None where nothing was measured.

    As many as :func:`~dwray.results.statistics.units_needed` gives for the nearer end of the range.
    """
    if estimate is None:
        return None
    name, fewest = claim.units.name, claim.units.fewest
    if estimate.n < fewest or not estimate.deviation:
        return f"at least {max(fewest, estimate.n + 1)} {name}"
    scale = claim.quantity.scale
    ends = [end for end in (claim.low, claim.high) if math.isfinite(end)]
    units = units_needed(estimate, min(abs(scale(estimate.value) - scale(end)) for end in ends))
    return f"more than {MOST_UNITS} {name}" if units is None else f"{max(units, estimate.n + 1)} {name}"


def verdicts(records: Records) -> Table:
    """Each claim of the paper against the run; without both of the paper's networks there is nothing to judge."""
    both = records.contender_of(ORDINARY) and records.contender_of(DEPTHWISE)
    judged = [(claim, claim.measure(records)) for claim in CLAIMS] if both else []
    stated = {claim.key: claim.stated(records) if records.compare_with else Stated() for claim, _ in judged}
    footnotes = dict.fromkeys(key for each in stated.values() for key in each.footnotes)
    return Table(
        "verdicts",
        "The paper's claims",
        _COLUMNS,
        tuple(_row(claim, estimate, stated[claim.key]) for claim, estimate in judged),
        (RULE, *_notes(records), *(paper.footnote(key) for key in footnotes)) if judged else (),
        frozenset({_WIDE}),
    )


_COLUMNS = (
    Column("topic", "topic", pa.string(), group=True, section=True),
    Column("claim", "claim", pa.string()),
    Column("verdict", "verdict", pa.string()),
    Column("key", "key", pa.string(), shown=False),
    Column("quote", "in the paper's words", pa.string(), shown=False),
    Column("section", "section", pa.string(), wide=True),
    Column("quantity", "measured quantity", pa.string(), wide=True),
    Column("unit", "unit", pa.string()),
    Column("paper", "paper", pa.float64(), ROW_FORM),
    Column("notebook", "notebook", pa.float64(), ROW_FORM, wide=True),
    Column("measured", "measured", pa.float64(), ROW_FORM),
    Column("low", "low", pa.float64(), ROW_FORM, wide=True),
    Column("high", "high", pa.float64(), ROW_FORM, wide=True),
    Column("n", "n", pa.int64()),
    Column("effect_size", "effect size", pa.float64(), ".2f", wide=True),
    Column("range", "range", pa.string(), wide=True),
    Column("range_reason", "why this range", pa.string(), shown=False),
    Column("needed", "needed", pa.string(), wide=True),
)


def _row(claim: Claim, estimate: Estimate | None, stated: Stated) -> Row:
    verdict = judge(estimate, claim.low, claim.high, claim.units.fewest)
    return {
        "topic": claim.topic,
        "claim": claim.words,
        "key": claim.key,
        "quote": claim.quote,
        "section": claim.section,
        "quantity": claim.measured,
        "unit": claim.quantity.unit,
        "form": claim.quantity.form,
        "paper": stated.paper,
        "notebook": stated.notebook,
        "measured": estimate and estimate.value,
        "low": estimate and estimate.low,
        "high": estimate and estimate.high,
        "n": estimate.n if estimate else 0,
        "effect_size": estimate and estimate.effect_size,
        "range": _range(claim),
        "range_reason": claim.reason,
        "verdict": str(verdict),
        "needed": needed(claim, estimate) if verdict is Verdict.UNDECIDED else None,
    }


def _range(claim: Claim) -> str:
    if math.isinf(claim.high):
        return f"above {claim.low:g}"
    return f"{claim.low:g} to {claim.high:g}"


_WIDE = (
    "low, high: the ends of the interval. effect size: mean over deviation. needed: for a verdict with 80% power, if "
    "the estimate is right."
)


def _notes(records: Records) -> list[str]:
    """What a reader must know of the numbers of this run."""
    ranges = dict.fromkeys(claim.reason for claim in CLAIMS if math.isfinite(claim.high))
    notes = [
        "unit: of the numbers behind it; points are percentage points, a ratio is DepthwiseConvNet's over ConvNet's, "
        "and % is how much longer a network takes than the other.",
        "The interval is over the n seeds that both networks have (Student's t, paired) or over n pairs of passes "
        "(Student's t or bootstrap-t, whichever reaches farther), which says how the passes of this run vary, not how "
        "machines do.",
        _WIDE,
        "Ranges: " + "; ".join(ranges) + ".",
    ]
    inside = (
        "with the loader inside, as the paper's"
        if records.protocol.loader_in_test_time
        else ("of the network alone; the paper's have its loader inside")
    )
    notes.append(f"Test times are {inside}. How many epochs a training has is set by the sweep file.")
    notes += not_the_papers(records)
    unfinished = unfinished_trainings(records)
    if unfinished:
        notes.append(f"NOT ALL trainings completed, and the claims are of those that did: {'; '.join(unfinished)}.")
    if records.disturbed_timings:
        notes.append("Some of the timings were NOT ALONE on their device (Table 4): take their verdicts with care.")
    notes += mixed_devices(records)
    target = target_accuracy(records)
    if target is not None:
        notes.append(f"Epochs to reach {target:g}% validation accuracy.{_never_reached(records, target)}")
    return notes


def _never_reached(records: Records, target: float) -> str:
    curves = [
        epochs_to_reach(records.epochs_of(row), target)
        for network in (ORDINARY, DEPTHWISE)
        for row in records.trainings(records.contender_of(network) or "")
    ]
    never = sum(epochs is None for epochs in curves)
    return f" Never reached by {never} of {len(curves)} trainings: not judged." if never else ""
