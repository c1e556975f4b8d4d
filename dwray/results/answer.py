"""The answer of a run in three sentences, each from statistics that the tables show in full."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from dwray.results.claims import PASSES
from dwray.results.comparison import not_the_papers, unfinished_trainings
from dwray.results.curves import train_seconds
from dwray.results.one_device import MOVED, kinds, training_time_ratio
from dwray.results.records import Records
from dwray.results.statistics import (
    Estimate,
    mean,
    mean_interval,
    paired_difference,
    ratio_interval,
    ratio_of_means,
    three_digits,
)
from dwray.results.table import Row, finite


def answer(records: Records) -> list[str]:
    """Which network wins at what, how sure that is, and on which machine it was measured: three sentences.

    A winner is named only where the 95% interval of the paired comparison excludes a tie; of one seed, or of too few
    timed passes, the numbers are told and no winner.

    Args:
        records: What a run measured, finished or not.
    """
    return [_of_accuracy(records), _of_time(records), _of_place(records)]


def test_accuracies(records: Records) -> dict[str, dict[int, float]]:
    """Test accuracy in percent of each contender's completed trainings by seed; a contender without any is left out."""
    return _by_contender(records, lambda row: finite(records.test_accuracy(row)))


def epoch_seconds(records: Records) -> dict[str, dict[int, float]]:
    """Seconds of a training pass of each contender's completed trainings, by seed; without any it is left out."""

    def seconds(row: Row) -> float | None:
        found = train_seconds(records, row)
        return found if found is not None and found > 0 else None

    return _by_contender(records, seconds)


def _by_contender(records: Records, value: Callable[[Row], float | None]) -> dict[str, dict[int, float]]:
    """A number of the completed trainings by seed, of each contender of which there is one."""
    found = {contender: records.by_seed(contender, value) for contender in records.contenders}
    return {contender: by_seed for contender, by_seed in found.items() if by_seed}


def paired_passes(records: Records, images: str, batch_size: int, loader: bool) -> dict[str, list[float]]:
    """Seconds of the timed passes of each contender over a set, of those passes that all of them have, in pairs.

    Args:
        records: What a run measured.
        images: The set: train, validation or test.
        batch_size: Images of a forward pass.
        loader: With the loader inside the time.
    """
    timed = {
        name: {row["pass_number"]: row["seconds"] for row in rows if row["seconds"] > 0}
        for name, rows in records.passes(images, batch_size, loader).items()
    }
    shared = sorted(set.intersection(*map(set, timed.values()))) if timed else []
    return {name: [by_number[number] for number in shared] for name, by_number in timed.items()} if shared else {}


def timed_kind(records: Records) -> tuple[str, bool] | None:
    """The set and whether the loader is inside, of the passes that answer for a run; None where nothing was timed.

    The test set, and the loader as the protocol has it, where they were timed so.
    """
    kinds_of_passes = {(row["set"], row["loader"]) for row in records.timings}
    return min(
        kinds_of_passes,
        key=lambda kind: (kind[1] != records.protocol.loader_in_test_time, kind[0] != "test", kind[0]),
        default=None,
    )


@dataclass(frozen=True)
class Finding:
    """What a run shows of one question, and the numbers that show it."""

    claim: str
    details: str = ""

    def __str__(self) -> str:
        return f"{self.claim} ({self.details})" if self.details else self.claim


def accuracy_finding(records: Records) -> Finding:
    """Which network is the more accurate on the test set, if that is shown."""
    by_contender = test_accuracies(records)
    if not by_contender:
        return Finding("no training has completed")
    means = {name: mean_interval(by_seed.values()) for name, by_seed in by_contender.items()}
    ranked = sorted(means, key=lambda name: -means[name].value)
    scores = ", ".join(f"{name} {_percent(means[name])}" for name in ranked)
    if len(ranked) == 1:
        return Finding(f"{scores}, with nothing to compare it with")
    best, *others = ranked
    resolution = records.test_accuracy_resolution
    differences = {name: paired_difference(by_contender[best], by_contender[name], resolution) for name in others}
    beaten = [name for name, difference in differences.items() if difference and difference.excludes(0)]
    details = "; ".join(_difference(best, name, differences[name], alone=len(others) == 1) for name in others)
    if len(beaten) == len(others):
        claim = f"{best} is the {'more' if len(others) == 1 else 'most'} accurate"
    elif beaten:
        claim = f"{best} is more accurate than {_listed(beaten)}"
    else:
        claim = "no difference is shown"
    return Finding(claim, f"{scores}; {details}")


def _of_accuracy(records: Records) -> str:
    known = test_accuracies(records)
    missing = [name for name in records.contenders if known and name not in known]
    lacking = f"; {_listed(missing)} {'have' if len(missing) > 1 else 'has'} no completed training" if missing else ""
    return f"Accuracy on the test set: {accuracy_finding(records)}{lacking}."


def _percent(estimate: Estimate) -> str:
    """An accuracy with its interval: its half width, or its ends where one of them cannot be."""
    low, high = estimate.within(0.0, 100.0)
    if low is None or high is None:
        return f"{estimate.value:.2f}%"
    if (low, high) != (estimate.low, estimate.high):
        return f"{estimate.value:.2f}% ({low:.2f} to {high:.2f})"
    return f"{estimate.value:.2f} ± {estimate.half_width:.2f}%"


def _difference(best: str, other: str, difference: Estimate | None, *, alone: bool) -> str:
    """The paired difference of two networks in words; their names are left out where there are no others."""
    names = "paired difference" if alone else f"{best} less {other}"
    if difference is None:
        return f"{names}: no seed completed in both"
    points = f"{names} {difference.value:+.2f} points"
    if difference.n == 1:
        return f"{points}, of one seed, which shows nothing of the spread"
    if difference.low is None or difference.high is None:
        return f"{points} in each of {difference.n} seeds, which gives no interval"
    contains = "" if difference.excludes(0) else ", which contains 0"
    return f"{points}, 95% interval {difference.low:+.2f} to {difference.high:+.2f}{contains}, {difference.n} seeds"


def _of_time(records: Records) -> str:
    return f"Time: {training_time_finding(records)}; {_of_test_time(records)}."


def training_time_finding(records: Records) -> Finding:
    """Which network trains faster per epoch, if that is shown."""
    by_contender = epoch_seconds(records)
    if not by_contender:
        return Finding("no training has completed")
    means = {name: mean(by_seed.values()) or 0.0 for name, by_seed in by_contender.items()}
    ranked = sorted(means, key=means.__getitem__)
    seconds = ", ".join(f"{name} {means[name]:.3g} s" for name in ranked)
    if len(ranked) == 1:
        return Finding(f"an epoch's training pass takes {seconds}")
    fastest, *others = ranked
    ratios = {name: training_time_ratio(records, by_contender[name], by_contender[fastest]) for name in others}
    if all(ratio is None for ratio in ratios.values()):
        reason = "not on one kind of device, or of no seed in common"
        return Finding("training times are not compared", f"{seconds} an epoch, {reason}")
    beaten = [name for name, ratio in ratios.items() if ratio and ratio.excludes(1)]
    details = ", ".join(f"{name} takes {_times(ratio, 'seed', 'seeds')}" for name, ratio in ratios.items() if ratio)
    if len(beaten) == len(others):
        claim = f"{fastest} trains faster{'' if len(others) == 1 else ' than all others'} per epoch"
    elif beaten:
        claim = f"{fastest} trains faster per epoch than {_listed(beaten)}"
    else:
        claim = "no difference in training time per epoch is shown"
    return Finding(claim, f"{seconds}; {details} as long as {fastest}")


def _times(ratio: Estimate, one: str, many: str) -> str:
    """A ratio of times with how sure it is, in words."""
    interval = ratio_interval(ratio, one, many)
    return f"{three_digits(ratio.value)} times" + (f" ({interval})" if interval else "")


def _of_test_time(records: Records) -> str:
    """Which network tests faster, at which batch sizes: neighbouring sizes of one verdict are told together."""
    kind = timed_kind(records)
    if kind is None:
        return "no test time was measured"
    images, loader = kind
    sizes = sorted({row["batch_size"] for row in records.timings if (row["set"], row["loader"]) == kind})
    duels = [(size, *duel) for size in sizes if (duel := _duel(paired_passes(records, images, size, loader)))]
    inside = "with the loader inside" if loader else "the network alone"
    over = f"over the {images} set, {inside}"
    if not duels:
        return f"only one network was timed {over}, so test times are not compared"
    found = []
    for winner, group in groupby(duels, key=lambda duel: duel[1]):
        same = list(group)
        ratios = [ratio for *_, ratio in same]
        at = f"at batch {'size' if len(same) == 1 else 'sizes'} {_listed([f'{size:,}' for size, *_ in same])}"
        spread = (
            _times(ratios[0], "pass", "passes")
            if len(same) == 1
            else f"{three_digits(min(r.value for r in ratios))} to {three_digits(max(r.value for r in ratios))} times"
        )
        slower = _listed(list(dict.fromkeys(each[2] for each in same)))
        claim = f"{winner} is faster" if winner else "no difference is shown"
        found.append(f"{claim} {at} ({slower}: {spread} the time)")
    return f"testing {over}, {', '.join(found)}"


def _duel(seconds: Mapping[str, Sequence[float]]) -> tuple[str | None, str, Estimate] | None:
    """The fastest network (None if that is not sure), the next one, and how many times as long that takes.

    Args:
        seconds: Of the passes of each network, in pairs.
    """
    if len(seconds) < 2:
        return None
    fastest, following = sorted(seconds, key=lambda name: sum(seconds[name]))[:2]
    ratio = ratio_of_means(seconds[following], seconds[fastest])
    sure = ratio.n >= PASSES.fewest and ratio.excludes(1)
    return fastest if sure else None, following, ratio


def _of_place(records: Records) -> str:
    trained = MOVED.join(kinds(records.of_stage("train") or records.of_stage("search")))
    timed = MOVED.join(kinds([*records.of_stage("time"), *records.timings]))
    if trained and timed and trained != timed:
        where = f"Trained on {trained} and timed on {timed}"
    else:
        where = f"Measured on {trained or timed or 'no machine yet'}"
    seeds = sorted({row["seed"] for row in records.of_stage("train") if row["status"] == "completed"})
    epochs = sorted({row["epochs"] for row in records.of_stage("train") if row["epochs"]})
    length = f", {_span(epochs)} epochs" if epochs else ""
    said = f"{where}, by the protocol {records.protocol}, with {records.dataset}, {_seeds(seeds)}{length}"
    doubts = _doubts(records)
    return f"{said}; but {'; '.join(doubts)}." if doubts else f"{said}."


def _doubts(records: Records) -> list[str]:
    """What keeps the numbers of a run from meaning what they seem to mean."""
    doubts = []
    if records.synthetic:
        doubts.append("the images are SYNTHETIC (random numbers), so that the accuracies mean nothing")
    for stage, done in (("train", "trained"), ("time", "timed")):
        used = kinds(records.of_stage(stage))
        if len(used) > 1:
            doubts.append(f"it was {done} on {len(used)} KINDS OF DEVICES, between which times are not compared")
    if records.disturbed_timings:
        doubts.append(f"{len(records.disturbed_timings)} of the timings were NOT ALONE on their device")
    unfinished = unfinished_trainings(records)
    if unfinished:
        doubts.append(f"NOT ALL trainings completed ({', '.join(unfinished)})")
    if records.compare_with:
        unlike = "".join(not_the_papers(records)).removeprefix("Not like with like: ").rstrip(".")
        doubts += [f"not as the paper had it: {unlike}"] if unlike else []
    return doubts


def _seeds(seeds: Sequence[int]) -> str:
    if not seeds:
        return "no completed training"
    if len(seeds) == 1:
        return f"one seed ({seeds[0]})"
    return f"{len(seeds)} seeds ({_listed([str(seed) for seed in seeds]) if len(seeds) <= 10 else _span(seeds)})"


def _span(values: Sequence[int]) -> str:
    return f"{values[0]:,}" if values[0] == values[-1] else f"{values[0]:,} to {values[-1]:,}"


def _listed(names: Sequence[str]) -> str:
    """Words as a sentence lists them."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
