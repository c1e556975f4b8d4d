"""cluster.yaml on a lab of hosts: each instance that moto's EC2 launches is a host; it is gone when the instance is."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from lab import Lab, lab, wait_until
from onprem import CREDENTIALS, HOME, LAPTOP, SWEEP, TOP, Launched, setup_in_the_lab

HOSTS = ("n1", "n2", "n3", "n4", "n5")
ADDRESSES = {LAPTOP: "10.77.0.254", **{name: f"10.77.0.{number}" for number, name in enumerate(HOSTS, start=1)}}
GATEWAY = "172.31.255.254"
"""The laptop's address in the network of moto's instances."""
AWS = f"http://{GATEWAY}:5000"
MOST_WORKERS = 2
EPOCHS = 150
"""Of a training: enough that it goes on when a worker that was taken has been missed and replaced."""

PREPARE = """
import boto3, json, sys
ec2, iam = boto3.client("ec2"), boto3.client("iam")
ec2.import_key_pair(KeyName=sys.argv[1], PublicKeyMaterial=open(sys.argv[2], "rb").read())
for profile in sys.argv[3:]:
    iam.create_instance_profile(InstanceProfileName=profile)
boto3.client("s3").create_bucket(Bucket="lab", CreateBucketConfiguration={"LocationConstraint": ec2.meta.region_name})
vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
print(json.dumps([
    ec2.create_security_group(GroupName="dwray", Description="dwray", VpcId=vpc)["GroupId"],
    ec2.describe_images()["Images"][0]["ImageId"],
]))
"""
WATCH = """
import boto3, json, time
ec2 = boto3.client("ec2")
while True:
    found = {}
    for reservation in ec2.describe_instances()["Reservations"]:
        for each in reservation["Instances"]:
            tags = {tag["Key"]: tag["Value"] for tag in each.get("Tags", [])}
            found[each["InstanceId"]] = {
                "state": each["State"]["Name"], "address": each.get("PrivateIpAddress"),
                "lifecycle": each.get("InstanceLifecycle", "on-demand"), "kind": tags.get("ray-node-type"),
            }
    print(json.dumps(found), flush=True)
    time.sleep(0.5)
"""
TERMINATE = "import boto3, sys; boto3.client('ec2').terminate_instances(InstanceIds=sys.argv[1:])"


def in_the_lab(hosts: Lab, group: str, image: str) -> dict[str, Any]:
    """The shipped file with moto's network; Python is there already, and a package index is not."""
    text = (TOP / "cluster.yaml").read_text().replace("s3://CHANGE-my-bucket", "s3://lab")
    # Without an endpoint of its own, the machine's role and AWS's endpoints are what a node finds.
    own = f"export AWS_ENDPOINT_URL={AWS} AWS_EC2_METADATA_DISABLED=true RAY_AUTH_MODE=token"
    config: dict[str, Any] = yaml.safe_load(text.replace("export RAY_AUTH_MODE=token", own))
    config.update(max_workers=MOST_WORKERS, idle_timeout_minutes=0.5, auth={"ssh_user": "root"})
    config["auth"]["ssh_private_key"] = str(hosts.folder / "key")
    config["provider"]["use_internal_ips"] = True
    for node in config["available_node_types"].values():
        node["node_config"].update(SecurityGroupIds=[group], ImageId=image)
    config["available_node_types"]["worker"].update(max_workers=MOST_WORKERS, resources={"CPU": 2, "GPU": 0, "slot": 1})
    config["file_mounts"]["~/.aws/credentials"] = "~/.aws/credentials"
    return setup_in_the_lab(config)


@dataclass
class Cloud(Launched):
    """EC2 as moto has it, with a host for each instance; ``watch`` says which there are."""

    no_spot: Path
    plugged: dict[str, str] = field(default_factory=dict)
    """Hosts by the instance that they are."""
    _ended: threading.Event = field(default_factory=threading.Event)

    def instances(self, kind: str = "worker") -> dict[str, dict[str, Any]]:
        """Those of a kind that have not been terminated."""
        lines = self.watch.read_text().splitlines()[:-1]
        found: dict[str, dict[str, Any]] = json.loads(lines[-1]) if lines else {}
        return {
            key: each for key, each in found.items() if each["kind"] == kind and each["state"] in ("pending", "running")
        }

    def follow(self) -> None:
        """Give new instances a host each, and take the hosts of ended ones apart, until the cloud's end."""
        free = list(HOSTS)
        while not self._ended.wait(0.3):
            there = self.instances("head") | self.instances("worker")
            for instance in set(self.plugged) - set(there):
                self.lab.power_off(self.plugged.pop(instance))
            for instance in set(there) - set(self.plugged):
                name = self.plugged[instance] = free.pop(0)
                for command in (
                    "address flush dev eth0 scope global",
                    f"address add {there[instance]['address']}/16 dev eth0",
                    f"route replace default via {GATEWAY}",
                ):
                    self.lab.run(name, "ip", *command.split())

    def terminate(self, instance: str) -> None:
        """As the owner, or EC2 when it takes a spot instance back."""
        self.lab.run(LAPTOP, "python", "-c", TERMINATE, instance)

    def ray(self, *command: str, seconds: float = 240) -> str:
        """A command of the launcher, on the laptop."""
        return self.lab.run(LAPTOP, "ray", *command, seconds=seconds)


@contextmanager
def cloud(folder: Path) -> Iterator[Cloud]:
    """The hosts, moto's AWS, and the cluster file for it; nothing is launched yet.

    Args:
        folder: A scratch folder.
    """
    with lab(folder, ADDRESSES) as hosts:
        hosts.run(LAPTOP, "ip", "address", "add", f"{GATEWAY}/16", "dev", "eth0")
        hosts.variables = {
            "AWS_ENDPOINT_URL": AWS,
            "AWS_DEFAULT_REGION": yaml.safe_load((TOP / "cluster.yaml").read_text())["provider"]["region"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "PYTHONPATH": str(TOP),
        }
        no_spot = hosts.folder / "no-spot"
        server = (str(Path(__file__).with_name("ec2_server.py")), GATEWAY, "5000", str(no_spot))
        hosts.begin(LAPTOP, "python", *server, log=hosts.folder / "aws.log")
        hosts.run(LAPTOP, "ray", "get-auth-token", "--generate")
        hosts.run(LAPTOP, "mkdir", "-p", f"{HOME}/.aws")
        hosts.run(LAPTOP, "bash", "-c", f"echo '{CREDENTIALS}' > ~/.aws/credentials")
        wait_until(lambda: bool(hosts.run(LAPTOP, "curl", "-s", f"{AWS}/moto-api/", check=False)), 60, "moto's AWS")
        shipped = yaml.safe_load((TOP / "cluster.yaml").read_text())["available_node_types"].values()
        nodes = [node["node_config"] for node in shipped]
        profiles = [node["IamInstanceProfile"]["Name"] for node in nodes]
        said = hosts.run(LAPTOP, "python", "-c", PREPARE, nodes[0]["KeyName"], str(hosts.folder / "key.pub"), *profiles)
        file, sweep, watch = (hosts.folder / name for name in ("cluster.yaml", "tiny.yaml", "watch.log"))
        file.write_text(yaml.safe_dump(in_the_lab(hosts, *json.loads(said.splitlines()[-1]))))
        sweep.write_text(yaml.safe_dump({**SWEEP, "training": {**SWEEP["training"], "epochs": EPOCHS}}))
        watch.write_text("")
        hosts.begin(LAPTOP, "python", "-u", "-c", WATCH, log=watch)
        found = Cloud(hosts, file, sweep, watch, no_spot)
        thread = threading.Thread(target=found.follow, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            found._ended.set()
            thread.join(30)


def wait(happened: Any, seconds: float, what: str) -> None:
    """Wait for something, and tell how long it took."""
    began = time.monotonic()
    wait_until(happened, seconds, what)
    print(f"{what}: after {time.monotonic() - began:.0f} s")
