"""Spot instances that EC2 does not have: on-demand ones of the same type come in their place."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import pytest
import yaml
from botocore.exceptions import ClientError
from moto import mock_aws
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.tags import TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

from dwray.tune.aws import SpotFirst

TOP = Path(__file__).parents[2]
REGION = "us-west-2"
CALL = botocore.client.BaseClient._make_api_call
TAGS = {TAG_RAY_NODE_KIND: "worker", TAG_RAY_USER_NODE_TYPE: "worker"}


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("ec2", region_name=REGION)


@pytest.fixture
def worker(ec2: Any) -> dict[str, Any]:
    """What cluster.yaml asks EC2 for, in a network that there is."""
    config = yaml.safe_load((TOP / "cluster.yaml").read_text())["available_node_types"]["worker"]["node_config"]
    ec2.create_key_pair(KeyName=config["KeyName"])
    boto3.client("iam").create_instance_profile(InstanceProfileName=config["IamInstanceProfile"]["Name"])
    subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]]
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    return {
        **config,
        "SubnetIds": subnets,
        "SecurityGroupIds": [group],
        "ImageId": image,
    }


def launch(config: dict[str, Any], count: int) -> list[Any]:
    """As the autoscaler does it, with the provider that cluster.yaml names to it."""
    text = (TOP / "cluster.yaml").read_text()
    [(before, after)] = re.findall(r"sed 's/(.*)/(.*)/'", text)
    ours = json.loads(json.dumps(yaml.safe_load(text)["provider"]).replace(before, after, 1))
    provider = _get_node_provider(ours, "test", use_cache=False)
    assert isinstance(provider, SpotFirst)
    return list(provider.create_node_with_resources_and_labels(config, TAGS, count, {}, {}).values())


def limit(monkeypatch: pytest.MonkeyPatch, *, spot: int, on_demand: int = 100) -> None:
    """EC2 has no more than so many instances for a request: it gives those, and refuses where there is none."""

    def limited(client: Any, operation: str, request: dict[str, Any]) -> Any:
        if operation == "RunInstances":
            there = spot if "InstanceMarketOptions" in request else on_demand
            if there < request["MinCount"]:
                raise ClientError({"Error": {"Code": "InsufficientInstanceCapacity", "Message": "none"}}, operation)
            there = min(there, request["MaxCount"])
            request = {**request, "MinCount": there, "MaxCount": there}  # moto gives no more than it must
        return CALL(client, operation, request)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", limited)


def kinds(instances: list[Any]) -> list[str]:
    return sorted(instance.instance_lifecycle or "on-demand" for instance in instances)


@pytest.mark.parametrize(
    ("spot", "expected"),
    [(100, ["spot"] * 3), (0, ["on-demand"] * 3), (1, ["on-demand", "on-demand", "spot"])],
    ids=["all there", "none there", "one there"],
)
def test_what_is_not_there_as_spot_comes_on_demand(
    worker: dict[str, Any], monkeypatch: pytest.MonkeyPatch, spot: int, expected: list[str]
) -> None:
    limit(monkeypatch, spot=spot)
    launched = launch(worker, 3)
    assert kinds(launched) == expected
    assert {instance.instance_type for instance in launched} == {worker["InstanceType"]}
    for instance in launched:
        named = {tag["Key"]: tag["Value"] for tag in instance.tags}
        assert named[TAG_RAY_USER_NODE_TYPE] == "worker"


def test_ec2_that_has_nothing_is_an_error_and_some_of_it_is_none(
    worker: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, spot=0, on_demand=0)
    with pytest.raises(NodeLaunchException, match="InsufficientInstanceCapacity"):
        launch(worker, 3)
    limit(monkeypatch, spot=2, on_demand=0)
    assert kinds(launch(worker, 3)) == ["spot", "spot"]


def test_a_node_that_is_no_spot_instance_is_launched_as_it_is(worker: dict[str, Any]) -> None:
    del worker["InstanceMarketOptions"]
    assert kinds(launch(worker, 1)) == ["on-demand"]
