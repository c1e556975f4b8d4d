"""The cluster files, held against Ray's own checks, AWS's request shapes and instance types: nothing is started."""

import gzip
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from dwray.tune.placement import SLOT

TOP = Path(__file__).parents[2]
FILES = ("cluster.yaml", "docs/onprem.yaml")


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((TOP / name).read_text())


@pytest.fixture(scope="module")
def instance_types() -> dict[str, Any]:
    """What AWS says of every instance type, as moto ships it."""
    content = files("moto").joinpath("ec2", "resources", "instance_types.json.gz").read_bytes()
    return json.loads(gzip.decompress(content))


def started(config: dict[str, Any], kind: str) -> str:
    return " ".join(config[f"{kind}_start_ray_commands"])


def exports(commands: str) -> dict[str, str]:
    return dict(re.findall(r"\b([A-Za-z_]\w*)=([^;\s]+)", " ".join(re.findall(r"export ([^;]*);", commands))))


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_the_file(name: str) -> None:
    validate_config(prepare_config(read(name)))


def test_it_grows_from_nothing_and_shrinks_to_nothing() -> None:
    config = prepare_config(read("cluster.yaml"))
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"]["CPU"] == 0
    workers = {name: node for name, node in config["available_node_types"].items() if node is not head}
    assert all(node["min_workers"] == 0 for node in workers.values())
    assert config["max_workers"] == max(node["max_workers"] for node in workers.values())
    assert 0 < config["idle_timeout_minutes"] <= 30
    assert config["provider"]["cache_stopped_nodes"] is False
    assert [node["node_config"]["InstanceMarketOptions"] for node in workers.values()] == [{"MarketType": "spot"}]


def test_workers_have_what_their_instance_types_have(instance_types: dict[str, Any]) -> None:
    config = read("cluster.yaml")
    for name, node in config["available_node_types"].items():
        instance = instance_types[node["node_config"]["InstanceType"]]
        gpus = sum(gpu["Count"] for gpu in instance.get("GpuInfo", {}).get("Gpus", []))
        if name == config["head_node_type"]:
            assert gpus == 0
        else:
            assert gpus >= 1
            assert node["resources"] == {"CPU": instance["VCpuInfo"]["DefaultVCpus"], "GPU": gpus, SLOT: 1}
            assert "spot" in instance["SupportedUsageClasses"]


def test_the_region_has_the_zones_and_the_instance_types() -> None:
    config = read("cluster.yaml")
    region = config["provider"]["region"]
    assert region in botocore.session.get_session().get_available_regions("ec2")
    assert all(zone.startswith(region) for zone in config["provider"]["availability_zone"].split(","))
    offered = files("moto").joinpath("ec2", "resources", "instance_type_offerings", "region", f"{region}.json.gz")
    known = {each["InstanceType"] for each in json.loads(gzip.decompress(offered.read_bytes()))}
    assert {node["node_config"]["InstanceType"] for node in config["available_node_types"].values()} <= known


def test_every_setting_of_an_instance_is_one_of_ec2s() -> None:
    from botocore.validate import ParamValidator

    shape = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    for name, node in read("cluster.yaml")["available_node_types"].items():
        request = {**node["node_config"], "MinCount": 1, "MaxCount": 1}
        problems = ParamValidator().validate(request, shape)
        assert not problems.has_errors(), f"{name}: {problems.generate_report()}"
        assert set(request) <= set(shape.members), name


def test_no_port_is_opened() -> None:
    config = read("cluster.yaml")
    # A group that Ray makes lets in SSH from everywhere, before it looks at the file's own rules.
    assert "security_group" not in config["provider"]
    for node in config["available_node_types"].values():
        assert all(re.fullmatch(r"sg-[0-9a-f]{17}", group) for group in node["node_config"]["SecurityGroupIds"])
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
        assert "IamInstanceProfile" in node["node_config"]
    assert "0.0.0.0" not in (TOP / "cluster.yaml").read_text()


@pytest.mark.parametrize("name", FILES)
def test_the_start_commands_close_the_doors_and_watch_the_nodes(name: str) -> None:
    config = prepare_config(read(name))
    for kind in ("head", "worker"):
        commands = started(config, kind)
        assert exports(commands)["RAY_AUTH_MODE"] == "token"
        assert "unset OMP_NUM_THREADS" in commands
        assert "AWS_SECRET" not in commands
    head, settings = started(config, "head"), exports(started(config, "head"))
    assert "--dashboard-host=127.0.0.1" in head
    assert "--num-cpus=0" in head
    assert "--num-gpus=0" in head
    assert settings["DWRAY_STORAGE"].startswith("s3://")
    milliseconds = {key: int(settings[f"RAY_health_check_{key}"]) for key in ("initial_delay_ms", "period_ms")}
    failures = int(settings["RAY_health_check_failure_threshold"])
    slowest = milliseconds["initial_delay_ms"] + failures * (
        milliseconds["period_ms"] + int(settings["RAY_health_check_timeout_ms"])
    )
    assert slowest <= 15_000


@pytest.mark.parametrize("name", FILES)
def test_every_node_has_the_heads_versions(name: str) -> None:
    config = prepare_config(read(name))
    assert config["file_mounts"]["~/dwray"] == "."
    assert config["rsync_filter"] == [".gitignore"]
    (install,) = [command for command in config["setup_commands"] if "pip install" in command]
    assert re.search(r"'ray\[[\w,]+\]==\d+\.\d+\.\d+'", install)
    assert "-c ~/constraints.txt" in install
    assert "-e ~/dwray" in install
    assert any("pip freeze" in command for command in config["head_setup_commands"])
    assert config["cluster_synced_files"] == ["~/constraints.txt"]


def test_both_files_pin_the_same_ray() -> None:
    pins = {re.search(r"ray\[[\w,]+\]==([\d.]+)", (TOP / name).read_text())[1] for name in FILES}
    assert len(pins) == 1


def test_a_spot_notice_drains_the_node() -> None:
    commands = started(read("cluster.yaml"), "worker")
    assert "meta-data/spot/instance-action" in commands
    assert "ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION" in commands
