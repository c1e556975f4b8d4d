"""Which network is faster, asked in every mode: eager, folded, compiled, as a CUDA graph, in each precision."""

import statistics
from collections.abc import Mapping, Sequence

import pyarrow as pa

from dwray.core.config import MODE_NAMES, PLAIN_MODE
from dwray.results.records import Records
from dwray.results.statistics import ratio_of_means
from dwray.results.table import Column, Row, Table
from dwray.results.test_time import DISTURBED, all_alone

_REAL = pa.float64()

_COLUMNS = (
    Column("batch_size", "batch", pa.int64(), group=True, section=True),
    Column("set", "set", pa.string(), group=True, section=True),
    Column("mode", "mode", pa.string(), group=True),
    Column("contender", "network", pa.string(), marked=True),
    Column("passes", "passes", pa.int64(), wide=True),
    Column("measured", "mean s", _REAL, ".4f"),
    Column("images_per_second", "images/s", _REAL, ",.0f"),
    Column("times_eager", "x eager", _REAL, ".2f"),
    Column("longer_percent", "longer %", _REAL, ".1f"),
    Column("longer_low", "95% low", _REAL, ".3g", wide=True),
    Column("longer_high", "95% high", _REAL, ".3g", wide=True),
    Column("exclusive", "alone", pa.bool_(), wide=True),
)

_WIDE = (
    "95% low, 95% high: of longer %, over pairs of passes. Ends that lie far apart are those of passes too few, or too "
    "unlike, to say by how much."
)

GRAPH_MODE = "float32-cuda-graph"


def by_mode(records: Records) -> Table:
    """Test time of the network alone in each mode beside float32-eager; no rows where that is the only mode."""
    modes = {row["mode"] or PLAIN_MODE for row in records.timings if not row["loader"]}
    rows: list[Row] = []
    notes: list[str] = []
    for batch_size, images in sorted(
        {(row["batch_size"], row["set"]) for row in records.timings if row["mode"] not in (None, PLAIN_MODE)},
        key=lambda kind: (-kind[0], kind[1]),
    ):
        means: dict[str, dict[str, float]] = {}
        for mode in (mode for mode in MODE_NAMES if mode in modes):
            passes = records.passes_in_mode(images, batch_size, mode)
            seconds = {name: [row["seconds"] for row in timed] for name, timed in passes.items()}
            means[mode] = {name: statistics.fmean(values) for name, values in seconds.items()}
            for name, timed in passes.items():
                eager = means.get(PLAIN_MODE, {}).get(name)
                rows.append(
                    {
                        "batch_size": batch_size,
                        "set": images,
                        "mode": mode,
                        "contender": name,
                        "passes": len(timed),
                        "measured": means[mode][name],
                        "images_per_second": timed[0]["images"] / means[mode][name],
                        "times_eager": eager and eager / means[mode][name],
                        "exclusive": (alone := all_alone(timed)),
                        "marks": DISTURBED if alone is False else "",
                        **_longer(name, seconds),
                    }
                )
        notes += _launch_overhead(batch_size, images, means)
    unavailable = {
        row["trial"].rsplit(", ", 1)[-1]: row["unavailable"] for row in records.of_stage("time") if row["unavailable"]
    }
    notes = [
        "Seconds of a pass, the network alone, batch norm in evaluation mode. folded: batch norm in the convolutions; "
        "compiled, cuda-graph: of the folded network. x eager: how many times as fast as float32-eager. longer: how "
        "much more time than the fastest in that mode, in percent.",
        _WIDE,
        *notes,
        *([f"NOT ALONE on the device: marked {DISTURBED}."] if any(row["exclusive"] is False for row in rows) else []),
        *(f"Not available: {mode} ({reason})." for mode, reason in unavailable.items()),
    ]
    return Table("test_time_by_mode", "Test time by mode", _COLUMNS, tuple(rows), tuple(notes), frozenset({_WIDE}))


def _longer(name: str, seconds: Mapping[str, Sequence[float]]) -> Row:
    """How much longer a network takes than the fastest beside it, in percent."""
    if len(seconds) < 2:
        return {}
    fastest = min(seconds, key=lambda each: statistics.fmean(seconds[each]))
    if name == fastest or len(seconds[name]) != len(seconds[fastest]):
        return {}
    ratio = ratio_of_means(seconds[name], seconds[fastest])
    return {
        "longer_percent": 100 * (ratio.value - 1),
        "longer_low": None if ratio.low is None else 100 * (ratio.low - 1),
        "longer_high": None if ratio.high is None else 100 * (ratio.high - 1),
    }


def _launch_overhead(batch_size: int, images: str, means: Mapping[str, Mapping[str, float]]) -> list[str]:
    """How much of the slower network's extra time was the launching of its kernels: gone in a CUDA graph."""
    eager, graphs = means.get(PLAIN_MODE, {}), means.get(GRAPH_MODE, {})
    if len(eager) < 2 or eager.keys() != graphs.keys():
        return []
    slowest, fastest = max(eager, key=eager.__getitem__), min(eager, key=eager.__getitem__)
    gap, left = eager[slowest] - eager[fastest], graphs[slowest] - graphs[fastest]
    return [
        f"Batch {batch_size}, {images} set: {slowest} takes {gap:.4f} s more than {fastest} when launched kernel by "
        f"kernel, {left:+.4f} s as a CUDA graph; {100 * (1 - left / gap):.0f}% of the gap was neither's arithmetic."
    ]
