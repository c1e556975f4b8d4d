"""cluster.yaml from `ray up` to `ray down`, on moto's EC2 with a host for each instance, under Ray's newer autoscaler.

What no stand-in can show: AWS's own images, roles and networks, and GPUs.
"""

from pathlib import Path

import pytest
from aws import EPOCHS, MOST_WORKERS, cloud, wait
from commands import dwray
from lab import missing
from same import assert_same_results

pytestmark = [
    pytest.mark.slow,
    pytest.mark.lab,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(missing() is not None, reason=f"no lab of hosts: this machine {missing()}"),
]


def test_it_grows_without_spot_replaces_what_is_taken_shrinks_and_ends(tmp_path: Path) -> None:
    """Nothing at first; on-demand workers while there are no spot instances; a lost one comes back as spot."""
    with cloud(tmp_path) as ec2:
        ec2.ray("up", "-y", "--no-config-cache", str(ec2.file))
        assert len(ec2.instances("head")) == 1
        assert ec2.instances() == {}

        ec2.no_spot.touch()
        job = ec2.submit("sweep", f"dwray sweep {ec2.sweep}")
        wait(lambda: len(ec2.instances()) == MOST_WORKERS, 180, "workers in the place of spot instances")
        assert {each["lifecycle"] for each in ec2.instances().values()} == {"on-demand"}
        job.wait_until(f"running, epoch 2/{EPOCHS}", 360)
        ec2.no_spot.unlink()
        ec2.terminate(sorted(ec2.instances())[0])
        wait(
            lambda: any(each["lifecycle"] == "spot" for each in ec2.instances().values()), 180, "a spot instance for it"
        )
        run = ec2.fetch(job.end())
        wait(lambda: ec2.instances() == {}, 180, "no worker is left of a cluster that is idle")
        ec2.ray("down", "-y", str(ec2.file))
        wait(lambda: ec2.instances("head") == {}, 60, "nothing is left after `ray down`")

        alone = dwray("sweep", str(ec2.sweep), folder=tmp_path)
        assert "report.html" in alone.stdout, alone.stderr
        (expected,) = (tmp_path / "runs" / "tiny").iterdir()
        assert_same_results(run.folder, expected)
