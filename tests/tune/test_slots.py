"""A timing beside other trials, on nodes of two types of GPU: Ray runs nothing beside it."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, time
import ray
from ray.cluster_utils import Cluster
from dwray.spec import ResourcesSpec
from dwray.tune.cluster import nodes
from dwray.tune.placement import place
from dwray.tune.trainables import owned_node

made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
for kind in ("L4", "H100"):
    made.add_node(num_cpus=4, num_gpus=1, resources={"slot": 1, f"accelerator_type:{kind}": 1})
ray.init(address=made.address, log_to_driver=False)

@ray.remote
def work(name, seconds):
    began = time.time()
    time.sleep(seconds)
    return name, ray.get_runtime_context().get_node_id(), began, time.time(), owned_node()

def start(name, trial, seconds):
    options = dict(trial)
    cpus, gpus = options.pop("cpu"), options.pop("gpu", 0)
    return work.options(num_cpus=cpus, num_gpus=gpus, resources=options).remote(name, seconds)

placed = place(ResourcesSpec(gpus_per_trial=0.25, gpu_type="L4"), nodes())
running = []
for _ in range(3):
    running += [start("search", placed.search, 0.3) for _ in range(8)] + [start("time", placed.time, 0.3)]
found = ray.get(running)
kinds = {node["NodeID"]: sorted(node["Resources"]) for node in ray.nodes()}
print(json.dumps([(*each, kinds[each[1]]) for each in found]))
ray.shutdown()
made.shutdown()
"""


@pytest.mark.slow
@pytest.mark.lab
def test_nothing_runs_beside_a_timing_and_all_are_on_the_stated_gpus() -> None:
    run = subprocess.run(
        ["env", "RAY_AUTH_MODE=disabled", sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    trials = json.loads(run.stdout.splitlines()[-1])
    timings = [trial for trial in trials if trial[0] == "time"]
    others = [trial for trial in trials if trial[0] == "search"]
    assert len(timings) == 3
    assert len({node for _, node, *_ in others}) == 2
    for _, node, began, ended, owned, kinds in timings:
        assert owned
        assert "accelerator_type:L4" in kinds
        beside = [trial for trial in trials if trial[1] == node and trial[2] < ended and began < trial[3]]
        assert [trial[0] for trial in beside] == ["time"]
    assert not any(owned for *_, owned, _ in others)
    # They do share a GPU among themselves.
    assert any(a is not b and a[1] == b[1] and a[2] < b[3] and b[2] < a[3] for a in others for b in others)
