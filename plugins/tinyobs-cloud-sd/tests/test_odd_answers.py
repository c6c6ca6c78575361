"""Answers of any shape make targets or an error that says so, never a crash that would stop the discovery."""

from __future__ import annotations

import copy
from contextlib import suppress

import pytest
import test_azure
import test_digitalocean
import test_ecs
import test_gce
import test_hetzner
import test_ionos
import test_lightsail
import test_linode
import test_msk
import test_openstack
import test_outscale
import test_ovhcloud
import test_scaleway
import test_stackit
import test_vultr
from hypothesis import given, settings
from hypothesis import strategies as st
from tinyobs.discovery.refreshing import DiscoveryError

from tinyobs_cloud_sd import (
    azure_answers,
    digitalocean,
    ecs_answers,
    gce,
    hetzner,
    ionos,
    lightsail,
    linode,
    msk,
    openstack_answers,
    openstack_identity,
    outscale,
    ovhcloud,
    scaleway,
    stackit,
    vultr,
)
from tinyobs_cloud_sd.linode import LinodeSdConfig
from tinyobs_cloud_sd.shapes import objects

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
ROBOT = {
    "server": {"server_ip": "1.2.3.4", "server_number": 1, "cancelled": False, "subnet": [{"ip": "::1", "mask": "64"}]}
}
DATABASE = {"id": "a", "num_nodes": 1, "connection": {"host": "h"}, "private_connection": {"host": "p"}, "tags": ["t"]}
METAL = {
    "id": "1",
    "offer_id": "o",
    "install": {"os_id": "s"},
    "tags": ["t"],
    "ips": [{"address": "1.1.1.1", "version": "IPv4"}],
}
FLOATING = {"port_id": "p1", "fixed_ip_address": "10.0.0.1", "tenant_id": "t", "floating_ip_address": "1.1.1.1"}
LISTENER = {"protocol": "PROMETHEUS", "protocol_port": 1, "loadbalancers": [{"id": "lb"}]}
BALANCER = {"id": "lb", "vip_address": "1.1.1.1", "tags": ["a"]}
SESSION = {
    "token": {
        "expires_at": "2286-11-20T17:46:40Z",
        "catalog": [{"type": "compute", "endpoints": [{"interface": "public", "region": "r", "url": "http://x"}]}],
    }
}


def linode_instance():
    return test_linode.instance(1, "1.1.1.1", ipv6="::1/128")


def one_azure_machine(item):
    machine = azure_answers.machine_of(item, "set")
    azure_answers.machine_labels(machine, "s", "t")


def one_azure_interface(item):
    if azure_answers.state_of(item) is azure_answers.InterfaceState.PRIMARY:
        azure_answers.address_labels(item, "x", 80)


def ecs_cluster(cluster=test_ecs.CLUSTER, service=test_ecs.WEB, task=test_ecs.FARGATE):
    found = ecs_answers.EcsCluster(cluster, [service], [task], {test_ecs.INSTANCE: "i"}, {}, {"eni-1": "1.1.1.1"})
    list(ecs_answers.ecs_targets(found, "r", 80))


def one_session(item):
    session = openstack_identity.session_of(item, "token")
    openstack_identity.endpoint_of(session, "compute", "public", "r")


CASES = {
    "hcloud": (test_hetzner.FIRST, lambda x: hetzner.hcloud_targets([x], [{"id": 4711, "name": "n"}], 80)),
    "hcloud network": ({"id": 1, "name": "n"}, lambda x: hetzner.hcloud_targets([test_hetzner.FIRST], [x], 80)),
    "robot": (ROBOT, lambda x: hetzner.robot_targets([x], 80)),
    "droplet": (test_digitalocean.droplet(1, ("1.1.1.1", "public"), v6=["::1"]), lambda x: digitalocean.droplet_targets([x], 80)),
    "database": (DATABASE, lambda x: digitalocean.database_targets([x], 80)),
    "linode": (linode_instance(), lambda x: linode.linode_targets([x], [test_linode.address("1.1.1.1")], [], LinodeSdConfig())),
    "linode address": (test_linode.address("1.1.1.1"), lambda x: linode.linode_targets([linode_instance()], [x], [], LinodeSdConfig())),
    "linode range": ({"range": "::", "prefix": 64, "route_target": "::1"}, lambda x: linode.linode_targets([linode_instance()], [], [x], LinodeSdConfig())),
    "scaleway": (test_scaleway.instance("a", public_ip={"address": "1.1.1.1"}, ipv6={"address": "::1"}, public_ips=[{"address": "1.1.1.1", "family": "inet"}]), lambda x: scaleway.instance_targets([x], 80)),
    "metal": (METAL, lambda x: scaleway.baremetal_targets([x], [{"id": "o", "name": "n"}], [{"id": "s", "name": "n"}], 80)),
    "metal offer": ({"id": "o", "name": "n"}, lambda x: scaleway.baremetal_targets([METAL], [x], [x], 80)),
    "gce": (test_gce.FULL, lambda x: gce.gce_targets([x], test_gce.CONFIG)),
    "azure machine": (test_azure.machine("a", "nic", instanceId="1"), one_azure_machine),
    "azure interface": (test_azure.interface("10.0.0.1", "1.1.1.1"), one_azure_interface),
    "hypervisor": (test_openstack.HYPERVISOR, lambda x: openstack_answers.hypervisor_targets([x], 80)),
    "instance": (test_openstack.instance("a", "10.0.0.1", metadata={"k": "v"}), lambda x: openstack_answers.instance_targets([x], [{"id": "p1", "device_id": "a"}], [FLOATING], 80)),
    "floating": (FLOATING, lambda x: openstack_answers.instance_targets([test_openstack.instance("a", "10.0.0.1")], [{"id": "p1", "device_id": "a"}], [x], 80)),
    "listener": (LISTENER, lambda x: openstack_answers.load_balancer_targets([BALANCER], [x], [FLOATING])),
    "balancer": (BALANCER, lambda x: openstack_answers.load_balancer_targets([x], [LISTENER], [FLOATING])),
    "session": (SESSION, one_session),
    "links": ({"servers_links": [{"rel": "next", "href": "x"}]}, lambda x: openstack_identity.next_link(x, "servers")),
    "vultr": (test_vultr.instance("1", "1.1.1.1"), lambda x: vultr.vultr_targets([x], 80)),
    "ionos": (test_ionos.server("1", test_ionos.nic("a", "1.1.1.1"), volumes=[{"properties": {"image": "i"}}], bootCdrom={"id": "1"}), lambda x: ionos.ionos_targets([x], "l", 80)),
    "vps": (test_ovhcloud.VPS, lambda x: ovhcloud.vps_target(x, "1.1.1.1", "")),
    "dedicated": (test_ovhcloud.DEDICATED, lambda x: ovhcloud.dedicated_target(x, "1.1.1.1", "")),
    "ecs cluster": (test_ecs.CLUSTER, lambda x: ecs_cluster(cluster=x)),
    "ecs service": (test_ecs.WEB, lambda x: ecs_cluster(service=x)),
    "ecs task": (test_ecs.FARGATE, lambda x: ecs_cluster(task=x)),
    "msk cluster": (test_msk.CLUSTER, lambda x: list(msk.msk_targets(x, [test_msk.BROKER], 80))),
    "msk broker": (test_msk.BROKER, lambda x: list(msk.msk_targets(test_msk.CLUSTER, [x], 80))),
    "msk controller": (test_msk.CONTROLLER, lambda x: list(msk.msk_targets(test_msk.CLUSTER, [x], 80))),
    "outscale": (test_outscale.FULL, lambda x: outscale.outscale_targets([x], "r", 80)),
    "stackit": (test_stackit.FULL, lambda x: stackit.stackit_targets([x], "p", 80)),
    "lightsail": (test_lightsail.FULL, lambda x: lightsail.lightsail_targets([x], "r", 80)),
}  # fmt: skip


def places(value, path=()):
    """Yield the path of every value in a tree."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def with_other(value, path, other):
    """Return a copy of a tree in which another value stands at a path."""
    if not path:
        return other
    found = copy.deepcopy(value)
    at = found
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = other
    return found


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_anything_in_any_place(name, data):
    """Each value of a good answer is exchanged for something else, one at a time."""
    good, run = CASES[name]
    assert run(good) is None or run(good) is not None
    path = data.draw(st.sampled_from(list(places(good))))
    odd = with_other(good, path, data.draw(ANY))
    if not isinstance(odd, dict):  # lists are checked to have objects only
        with pytest.raises(DiscoveryError):
            objects({"items": [odd]}, "items")
        return
    with suppress(DiscoveryError):
        run(odd)
