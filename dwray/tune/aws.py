"""EC2 for Ray's autoscaler: spot instances, and on-demand ones of the same type where there are none."""

import logging
from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException

log = logging.getLogger(__name__)

MARKET = "InstanceMarketOptions"
"""What makes the request for an instance one for a spot instance."""


class SpotFirst(AWSNodeProvider):  # type: ignore[misc]
    """Ray's provider, which asks once more without ``InstanceMarketOptions`` for what EC2 does not have as spot.

    Ray (2.60) itself tries a node type that EC2 refuses again and again, whatever other types and priorities there are:
    a refusal is ``ALLOCATION_FAILED`` to its autoscaler, and only ``ALLOCATION_TIMEOUT`` makes a type less wanted
    (``ray/autoscaler/v2/instance_manager/subscribers/cloud_resource_monitor.py``).
    """

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Launch instances; those launched, by id.

        Raises:
            NodeLaunchException: EC2 gives none of them, as spot instances or otherwise.
        """
        if MARKET not in node_config:
            return dict(super().create_node(node_config, tags, count))
        created: dict[str, Any] = {}
        try:
            created.update(super().create_node(node_config, tags, count))
        except NodeLaunchException as error:
            log.warning("no spot instance: %s", error.description)
        lacking = count - len(created)
        if lacking > 0:
            log.warning("launching %d on-demand in the place of spot instances", lacking)
            on_demand = {name: value for name, value in node_config.items() if name != MARKET}
            try:
                created.update(super().create_node(on_demand, tags, lacking))
            except NodeLaunchException:
                if not created:
                    raise
        return created
