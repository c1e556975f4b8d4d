"""What a cluster is taken to have."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from dwray.errors import UserError
from dwray.tune.cluster import cluster

SCRIPT = """
import json, sys
from ray.cluster_utils import Cluster
import ray
from dwray.errors import SpecError
from dwray.spec import ResourcesSpec
from dwray.tune.cluster import nodes
from dwray.tune.placement import place
made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, "include_dashboard": False})
ray.init(address=made.address, log_to_driver=False)
placed = place(ResourcesSpec(cpus_per_trial=4), nodes())
try:
    place(ResourcesSpec(cpus_per_trial=4, gpus_per_trial=2), nodes())
    refused = None
except SpecError as error:
    refused = str(error)
print(json.dumps([[node.get("GPU", 0) for node in nodes()], placed.time["cpu"], refused]))
ray.shutdown()
made.shutdown()
"""


def test_what_ray_fails_with_is_one_line(ray_cluster: None) -> None:
    """A node that is lost while the driver asks it something, say."""

    @ray.remote(num_cpus=0, max_retries=0)
    def lost() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(UserError, match=r"^Ray failed: .*; look at `ray status`$"), cluster(None, verbose=False):
        ray.get(lost.remote())


@pytest.mark.slow
def test_a_cluster_that_is_scaled_to_zero_has_what_it_would_start(tmp_path: Path) -> None:
    kinds = {
        "head": {"resources": {"CPU": 0}},
        "spot": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 4},
        "on_demand": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 4},
        "none": {"resources": {"CPU": 64, "GPU": 8}, "max_workers": 0},
        "unknown": {"resources": {}, "max_workers": 2},
    }
    config = {"head_node_type": "head", "available_node_types": kinds}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(json.dumps(config))
    run = subprocess.run(
        ["env", f"HOME={tmp_path}", "RAY_AUTH_MODE=disabled", sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    gpus, cpus, refused = json.loads(run.stdout.splitlines()[-1])
    assert sorted(gpus) == [0, 1, 1]
    assert cpus == 4
    assert "a trial wants 4 CPUs and 2 GPUs on one node" in refused
