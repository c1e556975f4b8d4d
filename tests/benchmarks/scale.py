"""A sweep on 1, 8, 64 and 512 GPUs: simulated, run on nodes that are not there, and what bounds it by arithmetic.

    python tests/benchmarks/scale.py [--sweep cifar100] [--gpus 1 8 64 512] [--startup 8] [--spread 0.05] [--faster 1]
                                     [--ray 1x1 8x1 64x1 64x8 [--seconds 60]] [--json]

* Simulated, without Ray: the searchers of a sweep, trials that take as long as the paper's notebooks recorded their
  epochs on their GPU, so many seconds from a trial's turn to its first epoch, and (where it says so) a spread between
  trials. Compared with what dwray does: one network after the other; one seed after the other; the longest trainings
  first; and trainings that begin as soon as their own network's search has ended.
* ``--ray NODESxGPUS``: the stages themselves on ``ray.cluster_utils`` nodes with fake GPUs, and trials that sleep, each
  stage so much faster than recorded that it takes ``--seconds``. No start-up in the prediction: it is measured. What
  the harness takes does not shrink with the epochs: its seconds are told, and the utilisation if just these came on top
  of the recorded times.
* The load on driver, images and storage, by arithmetic, as if a trial ran on every GPU.

``--faster`` divides the recorded seconds: a GPU of today is many times as fast as the notebooks'.
"""

import argparse
import dataclasses
import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from limits import Load, Trial, expected_longest, load, most_gpus_of_a_driver, most_gpus_of_a_prefix
from schedule import (
    Costs,
    Overlapping,
    Schedule,
    Source,
    longest_first,
    recorded_epochs,
    search,
    simulate,
    trainings,
)

from dwray.search.plan import search_epochs
from dwray.spec import SweepSpec
from dwray.sweepfile import resolve
from dwray.tune.searcher import FixedTrials

DRAWS = 200
"""Of the spread; their mean is told."""
IMAGE_BYTES = 60_000 * 32 * 32 * 3
"""CIFAR's images, decoded."""
GPUS_PER_NODE = 1
"""As in cluster.yaml."""
STATES = {"ConvNet": (227_100_000, 26), "DepthwiseConvNet": (26_800_000, 7)}
"""Bytes of a saved state, and the writing requests of a save: ``saving.py``."""


@dataclass(frozen=True)
class Row:
    """A sweep on so many GPUs; seconds, and shares from 0 to 1."""

    gpus: int
    search: float
    search_utilisation: float
    search_surplus: float
    """Share of the GPUs' time in the search of those that had no trial at any time."""
    search_waiting: float
    """Share of others that waited at a barrier, or for the other network's search to end."""
    search_one_network_after_the_other: float
    train: float
    train_utilisation: float
    train_one_seed_after_the_other: float
    train_longest_first: float
    sweep: float
    """Search and training."""
    sweep_one_by_one: float
    """One network after the other, then one seed after the other."""
    sweep_overlapping: float
    """Trainings begin as soon as their own network's search has ended."""
    spread_search: float
    """The search with a spread between trials, over the search without one."""


def row(spec: SweepSpec, gpus: int, costs: Costs, spread: float) -> Row:
    """Simulate a sweep on so many GPUs."""
    networks, seeds = list(spec.networks), list(spec.seeds)

    def seconds(*phases: Source) -> float:
        return simulate(phases, gpus, costs).makespan

    searched = simulate([search(spec, networks)], gpus, costs)
    trained = simulate([FixedTrials(trainings(spec, networks, seeds))], gpus, costs)
    after = seconds(*(search(spec, [network]) for network in networks))
    by_seed = seconds(*(FixedTrials(trainings(spec, networks, [seed])) for seed in seeds))
    overlapping = Overlapping(
        {network: search(spec, [network]) for network in networks},
        {network: FixedTrials(trainings(spec, [network], seeds)) for network in networks},
    )
    whole = gpus * searched.makespan
    return Row(
        gpus=gpus,
        search=searched.makespan,
        search_utilisation=searched.utilisation,
        search_surplus=searched.surplus / whole,
        search_waiting=searched.waiting / whole,
        search_one_network_after_the_other=after,
        train=trained.makespan,
        train_utilisation=trained.utilisation,
        train_one_seed_after_the_other=by_seed,
        train_longest_first=seconds(FixedTrials(longest_first(trainings(spec, networks, seeds), costs))),
        sweep=searched.makespan + trained.makespan,
        sweep_one_by_one=after + by_seed,
        sweep_overlapping=seconds(overlapping),
        spread_search=mean_search(spec, gpus, costs, spread) / searched.makespan,
    )


def mean_search(spec: SweepSpec, gpus: int, costs: Costs, spread: float) -> float:
    """Seconds of the search with a spread between trials, in the mean over draws of it."""
    drawn = (dataclasses.replace(costs, spread=spread, draw=draw) for draw in range(DRAWS if spread else 1))
    return statistics.fmean(simulate([search(spec, spec.networks)], gpus, each).makespan for each in drawn)


def shared_gpu(spec: SweepSpec, gpus: int, costs: Costs, fraction: float, alone: float) -> Schedule:
    """The search where trials share GPUs.

    Args:
        spec: Of the sweep.
        gpus: Whole ones.
        costs: Of a trial that has a GPU to itself.
        fraction: Of a GPU for each trial.
        alone: Share of a GPU that a trial keeps busy which has it to itself. Where that adds up to more than one GPU,
            all trials take so many times as long: at most, because where fewer are there they take less.
    """
    trials = math.floor(1 / fraction)
    stretched = dataclasses.replace(costs, stretch=costs.stretch * max(1.0, trials * alone))
    return simulate([search(spec, spec.networks)], gpus * trials, stretched)


def loads(spec: SweepSpec, sizes: Iterable[int], costs: Costs) -> dict[str, dict[str, Any]]:
    """What a trial of each network on every GPU asks for, and how many GPUs one driver and one prefix bear."""
    found = {}
    for network in spec.networks:
        if network not in STATES:
            continue
        epochs = search_epochs(spec, network)
        seconds = costs.work({"contender": network, "epochs": epochs}) / epochs
        trial = Trial(seconds, epochs, *STATES[network])
        each: list[Load] = [load(gpus, trial, image_bytes=IMAGE_BYTES, gpus_per_node=GPUS_PER_NODE) for gpus in sizes]
        found[network] = {
            "loads": [dataclasses.asdict(one) for one in each],
            "most_gpus_of_a_driver": most_gpus_of_a_driver(trial),
            "most_gpus_of_a_prefix": most_gpus_of_a_prefix(trial),
        }
    return found


def on_ray(spec: SweepSpec, nodes: int, gpus_per_node: int, costs: Costs, seconds: float) -> dict[str, Any]:
    """Run both stages on a cluster of fake nodes, beside what the simulation says."""
    from many_nodes import fake_cluster, run

    gpus = nodes * gpus_per_node
    costs = dataclasses.replace(costs, startup=0.0)
    searcher, configs = search(spec, spec.networks), trainings(spec, spec.networks, spec.seeds)
    predictions = {
        "search": simulate([search(spec, spec.networks)], gpus, costs),
        "train": simulate([FixedTrials(configs)], gpus, costs),
    }
    found: dict[str, Any] = {"nodes": nodes, "gpus": gpus}
    with fake_cluster(nodes, gpus_per_node) as began:
        found["cluster_seconds"] = began
        for name, predicted in predictions.items():
            source = searcher if name == "search" else FixedTrials(configs)
            measured = run(name, source, predicted, costs, seconds=seconds, cpus=1 / gpus_per_node)
            found[name] = {
                "trials": len(measured.schedule.runs),
                "times_as_fast": measured.scale,
                "predicted_utilisation": predicted.utilisation,
                "utilisation": measured.schedule.utilisation,
                "predicted_seconds": predicted.makespan,
                "seconds": measured.schedule.makespan,
                "widest": measured.schedule.widest,
                "overhead_wall_seconds": measured.overhead_seconds(predicted),
                "utilisation_at_recorded_speed": predicted.work
                / (gpus * (predicted.makespan + measured.overhead_seconds(predicted))),
                "handover_wall_seconds": measured.handover_seconds,
                "wall_seconds": measured.wall_seconds,
            }
    return found


def show(found: dict[str, Any]) -> None:
    """Print it for people."""
    print("simulated (seconds; shares of the GPUs' time in percent)")
    for each in found["simulated"]:
        print(
            f"{each['gpus']:4} GPUs: search {each['search']:6.0f} ({100 * each['search_utilisation']:.1f}% used, "
            f"{100 * each['search_surplus']:.1f}% surplus, {100 * each['search_waiting']:.1f}% waiting; "
            f"one network after the other {each['search_one_network_after_the_other']:.0f}; "
            f"with the spread x{each['spread_search']:.3f})"
        )
        print(
            f"           train  {each['train']:6.0f} ({100 * each['train_utilisation']:.1f}% used; one seed after the "
            f"other {each['train_one_seed_after_the_other']:.0f}; longest first {each['train_longest_first']:.0f})"
        )
        print(
            f"           both   {each['sweep']:6.0f} (one by one {each['sweep_one_by_one']:.0f}; "
            f"overlapping {each['sweep_overlapping']:.0f})"
        )
    for each in found["shared"]:
        print(
            f"search, {each['gpus']} GPUs in quarters, a trial alone keeping {100 * each['alone']:.0f}% of one busy: "
            f"at most {each['seconds']:.0f}"
        )
    print("by arithmetic, a trial on every GPU")
    for network, figures in found["loads"].items():
        for each in figures["loads"]:
            print(
                f"{network:16} {each['gpus']:4} GPUs: {each['results_per_second']:6.2f} results/s, driver "
                f"{100 * each['driver_share']:.2f}%, images {each['broadcast_seconds']:.0f} s, state requests "
                f"{each['state_requests_per_second']:.1f}/s, states {each['state_bytes_per_second'] / 1e6:.0f} MB/s"
            )
        print(
            f"{network:16} a driver bears {figures['most_gpus_of_a_driver']} GPUs, "
            f"an S3 prefix {figures['most_gpus_of_a_prefix']}"
        )
    longest = ", ".join(f"{count}: x{value:.3f}" for count, value in found["expected_longest"].items())
    print(f"the longest of so many trials side by side, with the spread: {longest}")
    for each in found["ray"]:
        print(f"Ray, {each['nodes']} nodes, {each['gpus']} fake GPUs (there after {each['cluster_seconds']:.0f} s)")
        for stage in ("search", "train"):
            one = each[stage]
            print(
                f"  {stage:6} {one['trials']} trials, {one['widest']} at most at a time, "
                f"{one['times_as_fast']:.0f} times as fast: {one['overhead_wall_seconds']:.1f} s more than predicted "
                f"({one['handover_wall_seconds']:.2f} s from trial to trial), {100 * one['utilisation']:.1f}% used; "
                f"at the recorded speed {100 * one['utilisation_at_recorded_speed']:.1f}% "
                f"({100 * one['predicted_utilisation']:.1f}% predicted); {one['wall_seconds']:.0f} s in all"
            )


def cluster_size(text: str) -> tuple[int, int]:
    """Nodes, and GPUs of each, out of ``8x64``.

    Raises:
        ValueError: It is nothing like that.
    """
    nodes, gpus = text.split("x")
    return int(nodes), int(gpus)


def main() -> None:
    """Simulate, run, count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", default="cifar100", help="one of those whose epochs the notebooks recorded")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--startup", type=float, default=8.0, help="seconds from a trial's turn to its first epoch")
    parser.add_argument("--spread", type=float, default=0.05, help="deviation over mean of trials of a kind")
    parser.add_argument("--faster", type=float, default=1.0, help="so many times as fast as the notebooks' GPU")
    parser.add_argument(
        "--ray", type=cluster_size, nargs="+", default=[], metavar="NODESxGPUS", help="run it on such clusters too"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="that a stage is to take on such a cluster")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    spec = resolve(arguments.sweep)
    costs = Costs(
        recorded_epochs(spec.compare_with or "", spec.networks),
        startup=arguments.startup,
        stretch=1 / arguments.faster,
    )
    found = {
        "simulated": [dataclasses.asdict(row(spec, gpus, costs, arguments.spread)) for gpus in arguments.gpus],
        "shared": [
            {"gpus": gpus, "alone": alone, "seconds": shared_gpu(spec, gpus, costs, 0.25, alone).makespan}
            for gpus in (1, 2)
            for alone in (1.0, 0.5, 0.25)
        ],
        "loads": loads(spec, arguments.gpus, costs),
        "expected_longest": {count: expected_longest(count, arguments.spread) for count in (2, 3, 4, 8, 64, 512)},
        "ray": [on_ray(spec, nodes, gpus, costs, arguments.seconds) for nodes, gpus in arguments.ray],
    }
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)


if __name__ == "__main__":
    main()
