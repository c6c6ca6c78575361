"""TinyObs plugin `cloud-sd`: discovery of scrape targets in clouds, over their HTTP interfaces and without their SDKs.

One module for each kind: its schema, pure functions from answers to labels, a `Discoverer`.  A new kind is a new module
like `hetzner.py`, and a line below.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyobs import hookimpl
from tinyobs.abc import DiscovererKind

from . import (
    aws,
    azure,
    digitalocean,
    ec2,
    ecs,
    elasticache,
    gce,
    hetzner,
    ionos,
    lightsail,
    linode,
    msk,
    openstack,
    outscale,
    ovhcloud,
    rds,
    scaleway,
    stackit,
    vultr,
)

KINDS = (
    aws.KIND,
    azure.KIND,
    digitalocean.KIND,
    ec2.KIND,
    ecs.KIND,
    elasticache.KIND,
    gce.KIND,
    hetzner.KIND,
    ionos.KIND,
    lightsail.KIND,
    linode.KIND,
    msk.KIND,
    openstack.KIND,
    outscale.KIND,
    ovhcloud.KIND,
    rds.KIND,
    scaleway.KIND,
    stackit.KIND,
    vultr.KIND,
)

__all__ = ["KINDS", "tinyobs_discoverers"]


@hookimpl
def tinyobs_discoverers() -> Sequence[DiscovererKind]:
    """Offer all kinds."""
    return KINDS
