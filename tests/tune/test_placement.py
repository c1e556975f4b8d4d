"""What each stage's trials are given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwray.errors import SpecError
from dwray.spec import ResourcesSpec
from dwray.tune.placement import GPU_TYPE, SLOT, owns_node, place

L4, H100 = f"{GPU_TYPE}L4", f"{GPU_TYPE}H100"
HEAD = {"CPU": 0.0, "node:10.0.0.1": 1.0}
SMALL = {"CPU": 4.0, "GPU": 1.0, SLOT: 1.0, L4: 1.0}
LARGE = {"CPU": 96.0, "GPU": 8.0, SLOT: 1.0, H100: 1.0}


def test_search_trials_share_gpus_trainings_own_theirs_and_a_timing_its_node() -> None:
    placed = place(ResourcesSpec(gpus_per_trial=0.25), [HEAD, LARGE])
    assert placed.search == {"cpu": 1, "gpu": 0.25, SLOT: 0.001}
    assert placed.train == {"cpu": 1, "gpu": 1, SLOT: 0.001}
    assert placed.time == {"cpu": 96, "gpu": 8, SLOT: 1, H100: 0.001}
    assert placed.notices == ()


def test_a_gpu_is_used_where_there_is_one_and_none_where_there_is_none() -> None:
    assert place(ResourcesSpec(), [SMALL]).search["gpu"] == 1
    without = place(ResourcesSpec(), [{"CPU": 2.0, SLOT: 1.0}])
    assert "gpu" not in {**without.search, **without.train, **without.time}
    assert place(ResourcesSpec(gpus_per_trial=0), [SMALL]).time == {"cpu": 4, SLOT: 1}


def test_without_slots_on_every_node_none_is_asked_for() -> None:
    placed = place(ResourcesSpec(), [SMALL, {"CPU": 8.0, "GPU": 1.0}])
    assert SLOT not in {**placed.search, **placed.train, **placed.time}
    assert placed.time == {"cpu": 4, "gpu": 1, L4: 0.001}


def test_in_a_mixed_cluster_all_timings_are_on_one_type_which_is_told() -> None:
    placed = place(ResourcesSpec(), [HEAD, SMALL, LARGE])
    assert placed.time == {"cpu": 96, "gpu": 8, SLOT: 1, H100: 0.001}
    assert H100 not in placed.train
    assert len(placed.notices) == 1
    assert "2 types (H100, L4): all timings are on H100" in placed.notices[0]


def test_a_stated_type_holds_for_trainings_and_timings() -> None:
    placed = place(ResourcesSpec(gpu_type="L4"), [SMALL, LARGE])
    assert placed.train == {"cpu": 1, "gpu": 1, SLOT: 0.001, L4: 0.001}
    assert placed.time == {"cpu": 4, "gpu": 1, SLOT: 1, L4: 0.001}
    assert placed.search == {"cpu": 1, "gpu": 1, SLOT: 0.001}
    assert placed.notices == ()
    with pytest.raises(SpecError, match=r"resources\.gpu_type: the cluster has no GPU 'L40'.*H100, L4"):
        place(ResourcesSpec(gpu_type="L40"), [SMALL, LARGE])
    with pytest.raises(SpecError, match="Ray knows no type of any of its nodes"):
        place(ResourcesSpec(gpu_type="L4"), [{"CPU": 2.0}])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cpus_per_trial": 97}, "a trial wants 97 CPUs and 1 GPU on one node, .* 4 CPUs and 1 GPU; 96 CPUs"),
        ({"cpus_per_trial": 5, "gpu_type": "L4"}, "a training wants 5 CPUs"),
        ({"timing_gpus": 9}, r"a timing wants 1 CPU and 9 GPUs .*--set resources\.timing_gpus=\.\.\."),
        ({"timing_cpus": 97, "timing_gpus": 1}, "a timing wants 97 CPUs"),
    ],
)
def test_what_no_node_holds_is_refused(asked: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        place(ResourcesSpec.model_validate(asked), [HEAD, SMALL, LARGE])


def test_a_cluster_without_workers_holds_nothing() -> None:
    with pytest.raises(SpecError, match="the nodes have no CPUs"):
        place(ResourcesSpec(), [HEAD])


def test_a_sweep_without_timing_needs_no_node_for_one() -> None:
    assert place(ResourcesSpec(timing_cpus=97), [SMALL], timing=False).time == {}


NODES = st.lists(
    st.builds(
        lambda cpus, gpus, slot, kind: {
            "CPU": float(cpus),
            **({"GPU": float(gpus), kind: 1.0} if gpus else {}),
            **({SLOT: 1.0} if slot else {}),
        },
        st.integers(1, 128),
        st.integers(0, 8),
        st.booleans(),
        st.sampled_from([L4, H100]),
    ),
    min_size=1,
    max_size=6,
)


@given(NODES)
def test_what_is_placed_fits_a_node_and_a_timing_owns_the_smallest_that_holds_it(nodes: list[dict[str, float]]) -> None:
    placed = place(ResourcesSpec(), nodes)
    for trial in (placed.search, placed.train, placed.time):
        asked = {{"cpu": "CPU", "gpu": "GPU"}.get(name, name): amount for name, amount in trial.items()}
        holders = [node for node in nodes if all(node.get(name, 0) >= amount for name, amount in asked.items())]
        assert holders
    smallest = min(holders, key=lambda node: (node["CPU"], node.get("GPU", 0)))
    assert owns_node(asked, smallest)
    # With slots no other trial gets beside it, whatever the node has left.
    assert all(SLOT in trial for trial in (placed.search, placed.train, placed.time)) == all(
        SLOT in node for node in nodes
    )


def test_a_part_of_a_node_is_not_owned() -> None:
    assert not owns_node({"CPU": 3, "GPU": 1}, SMALL)
    assert not owns_node({"CPU": 4}, SMALL)
    assert owns_node({"CPU": 4, "GPU": 1}, SMALL)
    assert owns_node({"CPU": 1, SLOT: 1}, SMALL)
    assert not owns_node({"CPU": 1, SLOT: 0.001}, SMALL)


def test_the_type_that_most_nodes_have_is_timed_on() -> None:
    placed = place(ResourcesSpec(), [SMALL, SMALL, LARGE])
    assert placed.time["cpu"] == 4
    assert placed.gpu_type == "L4"
    assert place(ResourcesSpec(timing_cpus=32), [SMALL, SMALL, LARGE]).gpu_type == "H100"
    assert place(ResourcesSpec(), [SMALL]).gpu_type == "L4"
    assert place(ResourcesSpec(gpus_per_trial=0), [SMALL]).gpu_type is None


def test_nodes_without_a_slot_beside_others_are_told() -> None:
    (notice,) = place(ResourcesSpec(), [SMALL, {"CPU": 4.0, "GPU": 1.0, L4: 1.0, "node:10.0.0.7": 1.0}]).notices
    assert "1 of 2 nodes have no slot (10.0.0.7)" in notice
    assert place(ResourcesSpec(), [{"CPU": 2.0}]).notices == ()


@pytest.mark.parametrize("gpus", [1.5, 2.25])
def test_more_than_a_gpu_comes_whole(gpus: float) -> None:
    with pytest.raises(ValueError, match="must be at most 1, or a whole number"):
        ResourcesSpec(gpus_per_trial=gpus)
