"""Endpoints and endpoint slices, joined with services, pods and nodes."""

from __future__ import annotations

import pytest
from kubernetes_groups import NODE, OF_NODE, P, build, shown
from kubernetes_objects import (
    container,
    endpoint_slice,
    endpoints,
    node,
    owner,
    pod,
    port,
    reference,
    service,
    subset,
    thing,
)

from tinyobs.abc import TargetGroup
from tinyobs.config.kubernetes_sd import AttachMetadata, Role

HTTP = port("http", 8080, key="port")
OF_WEB = {"service_name": "web", "service_label_tier": "front", "service_labelpresent_tier": "true"}
OF_POD = {
    "pod_name": "web-1",
    "pod_uid": "uid-web-1",
    "pod_ip": "10.1.0.7",
    "pod_host_ip": "192.168.0.1",
    "pod_node_name": "n1",
    "pod_phase": "Running",
    "pod_ready": "true",
}


def of_container(name: str, number: int, port_name: str, protocol: str = "TCP", init: str = "false") -> dict[str, str]:
    """Return the labels of a container and its port."""
    return {
        "pod_container_name": name,
        "pod_container_image": f"{name}:latest",
        "pod_container_init": init,
        "pod_container_port_name": port_name,
        "pod_container_port_number": str(number),
        "pod_container_port_protocol": protocol,
    }


def of_endpoint(ready: str = "true", **more: str) -> dict[str, str]:
    """Return the labels of an address and the port `http`."""
    return {
        "endpoint_port_name": "http",
        "endpoint_port_protocol": "TCP",
        "endpoint_ready": ready,
        **{f"endpoint_{k}": v for k, v in more.items()},
    }


def test_addresses_that_are_no_pods():
    """Ports times addresses, ready and not; host, node and what an address stands for are told when they are known."""
    raw = endpoints(
        "web",
        "default",
        subset([HTTP], [{"ip": "1.2.3.4", "hostname": "h1", "nodeName": "n9"}], [{"ip": "2.3.4.5"}]),
        subset([HTTP], [{"ip": "fd00::9", "targetRef": reference("Node", "n1")}]),
        labels={"a.b": "c"},
        annotations={"test.annotation": "test"},
    )
    group = build(Role.ENDPOINTS, raw)
    assert [shown(t) for t in group.targets] == [
        {"__address__": "1.2.3.4:8080", **of_endpoint(hostname="h1", node_name="n9")},
        {"__address__": "2.3.4.5:8080", **of_endpoint("false")},
        {
            "__address__": "[fd00::9]:8080",
            **of_endpoint(address_target_kind="Node", address_target_name="n1"),
        },
    ]
    assert shown(group.labels) == {
        "namespace": "default",
        "endpoints_name": "web",
        "endpoints_label_a_b": "c",
        "endpoints_labelpresent_a_b": "true",
        "endpoints_annotation_test_annotation": "test",
        "endpoints_annotationpresent_test_annotation": "true",
    }


@pytest.mark.parametrize(
    ("role", "raw"),
    [
        (Role.ENDPOINTS, endpoints("web", "default", subset([HTTP], [{"ip": "10.1.0.7"}]))),
        (Role.ENDPOINTSLICE, endpoint_slice()),
    ],
)
def test_labels_of_the_service(role, raw):
    """The service has the name of the endpoints, and that which the label of the slice tells."""
    around = {"services": [service(labels={"tier": "front"}), service("web", "other", labels={"x": "y"})]}
    assert shown(build(role, raw, around).labels) == shown(build(role, raw).labels) | OF_WEB


def test_a_pod_behind_endpoints():
    """The address gets the pod's labels and its container's; other ports of the pod get targets of their own."""
    containers = [
        container("app", port("main", 8080)),
        container("side", port("metrics", 9100, "UDP"), port("x", 8080)),
    ]
    ref = reference("Pod", "web-1")
    raw = endpoints("web", "default", subset([HTTP], [{"ip": "4.3.2.1", "targetRef": ref}]))
    group = build(Role.ENDPOINTS, raw, {"pods": [pod(containers=containers[:1])]})
    target = {
        "__address__": "4.3.2.1:8080",
        **of_endpoint(address_target_kind="Pod", address_target_name="web-1"),
        **OF_POD,
        **of_container("app", 8080, "main"),
    }
    assert [shown(t) for t in group.targets] == [target]
    group = build(Role.ENDPOINTS, raw, {"pods": [pod(containers=containers)]})
    assert [shown(t) for t in group.targets] == [
        target | of_container("side", 8080, "x"),
        {"__address__": "10.1.0.7:9100", **OF_POD, **of_container("side", 9100, "metrics", "UDP")},
    ]


def test_init_containers_behind_endpoints():
    """Their ports count as well, in the service and beside it."""
    inits = [container("first", port("init", 1111)), container("second", port("init", 9111))]
    ports = [HTTP, port("init", 9111, key="port")]
    raw = endpoints("web", "default", subset(ports, [{"ip": "10.1.0.7", "targetRef": reference("Pod", "web-1")}]))
    group = build(Role.ENDPOINTS, raw, {"pods": [pod(inits=inits)]})
    assert [(t["__address__"], t[P + "pod_container_name"], t[P + "pod_container_init"]) for t in group.targets] == [
        ("10.1.0.7:8080", "app", "false"),
        ("10.1.0.7:9111", "second", "true"),
        ("10.1.0.7:1111", "first", "true"),
    ]


def test_a_pod_without_an_address_adds_no_targets():
    """Its own ports have no address yet."""
    raw = endpoints("web", "default", subset([HTTP], [{"ip": "4.3.2.1", "targetRef": reference("Pod", "web-1")}]))
    around = {"pods": [pod(ip="", containers=[container("side", port("metrics", 9100))])]}
    assert [t["__address__"] for t in build(Role.ENDPOINTS, raw, around).targets] == ["4.3.2.1:8080"]


@pytest.mark.parametrize("role", [Role.ENDPOINTS, Role.ENDPOINTSLICE])
def test_the_deployment_of_a_pod_behind_a_service(role):
    """It is found through the pod and its replica set."""
    ref = reference("Pod", "web-1")
    raw = {
        Role.ENDPOINTS: endpoints("web", "default", subset([HTTP], [{"ip": "10.1.0.7", "targetRef": ref}])),
        Role.ENDPOINTSLICE: endpoint_slice(endpoints=[{"addresses": ["10.1.0.7"], "targetRef": ref}]),
    }[role]
    around = {
        "pods": [pod(ownerReferences=owner("ReplicaSet", "web-5c8"))],
        "replicasets": [thing("web-5c8", "default", ownerReferences=owner("Deployment", "web"))],
    }
    (target,) = build(role, raw, around, attach_metadata=AttachMetadata(deployment=True)).targets
    assert target[P + "pod_deployment_name"] == "web"


def test_labels_of_nodes_are_attached_to_endpoints():
    """Of the node that is named, else of the node that the address stands for."""
    addresses = [
        {"ip": "1.1.1.1", "nodeName": "n1"},
        {"ip": "2.2.2.2", "targetRef": reference("Node", "n1")},
        {"ip": "3.3.3.3", "nodeName": "gone", "targetRef": reference("Node", "n1")},
    ]
    group = build(
        Role.ENDPOINTS,
        endpoints("web", "default", subset([HTTP], addresses)),
        {"nodes": [NODE]},
        attach_metadata=AttachMetadata(node=True),
    )
    assert [{k: v for k, v in shown(t).items() if k.startswith("node_")} for t in group.targets] == [
        OF_NODE,
        OF_NODE,
        {},
    ]


def test_an_endpoint_slice():
    """Whatever an endpoint or a port tells becomes a label, and nothing else; a port may have no number."""
    full = {
        "addresses": ["10.1.0.7", "10.1.0.8"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "hostname": "h1",
        "nodeName": "n1",
        "zone": "a",
        "targetRef": {},
        "deprecatedTopology": {"topology.kubernetes.io/region": "r"},
    }
    bare = {"addresses": ["10.1.0.9"]}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "h2c"}, {}]
    group = build(Role.ENDPOINTSLICE, endpoint_slice(ports=ports, endpoints=[full, bare], annotations={"n": "1"}))
    of_port = {"port": "8080", "port_name": "http", "port_protocol": "TCP", "port_app_protocol": "h2c"}
    of_full = {
        "endpoint_conditions_ready": "true",
        "endpoint_conditions_serving": "true",
        "endpoint_conditions_terminating": "false",
        "endpoint_hostname": "h1",
        "endpoint_node_name": "n1",
        "endpoint_zone": "a",
        "endpoint_topology_topology_kubernetes_io_region": "r",
        "endpoint_topology_present_topology_kubernetes_io_region": "true",
        "address_target_kind": "",
        "address_target_name": "",
    }
    expected = [
        {
            "__address__": address + (":8080" if of else ""),
            **{f"endpointslice_{k}": v for k, v in (of | labels).items()},
        }
        for labels, addresses in ((of_full, ("10.1.0.7", "10.1.0.8")), ({}, ("10.1.0.9",)))
        for of in (of_port, {})
        for address in addresses
    ]
    assert [shown(t) for t in group.targets] == expected
    assert shown(group.labels) == {
        "namespace": "default",
        "endpointslice_name": "web-abc",
        "endpointslice_address_type": "IPv4",
        "endpointslice_label_kubernetes_io_service_name": "web",
        "endpointslice_labelpresent_kubernetes_io_service_name": "true",
        "endpointslice_annotation_n": "1",
        "endpointslice_annotationpresent_n": "true",
    }


def test_a_pod_behind_an_endpoint_slice():
    """As with endpoints, with the protocol that the container tells."""
    containers = [container("app", port("main", 8080, "SCTP")), container("side", port("metrics", 9100))]
    raw = endpoint_slice(endpoints=[{"addresses": ["4.3.2.1"], "targetRef": reference("Pod", "web-1")}])
    group = build(Role.ENDPOINTSLICE, raw, {"pods": [pod(containers=containers)]})
    assert [shown(t) for t in group.targets] == [
        {
            "__address__": "4.3.2.1:8080",
            "endpointslice_port": "8080",
            "endpointslice_port_name": "http",
            "endpointslice_port_protocol": "TCP",
            "endpointslice_address_target_kind": "Pod",
            "endpointslice_address_target_name": "web-1",
            **OF_POD,
            **of_container("app", 8080, "main", "SCTP"),
        },
        {"__address__": "10.1.0.7:9100", **OF_POD, **of_container("side", 9100, "metrics")},
    ]


def test_labels_of_nodes_are_attached_to_endpoint_slices():
    """Of the node that the endpoint stands for, else of the node that it names."""
    told = [
        {"addresses": ["1.1.1.1"], "nodeName": "n1"},
        {"addresses": ["2.2.2.2"], "nodeName": "n2", "targetRef": reference("Node", "n1")},
        {"addresses": ["3.3.3.3"]},
    ]
    group = build(
        Role.ENDPOINTSLICE,
        endpoint_slice(endpoints=told),
        {"nodes": [NODE, node("n2")]},
        attach_metadata=AttachMetadata(node=True),
    )
    assert [t.get(P + "node_name") for t in group.targets] == ["n1", "n1", None]


@pytest.mark.parametrize(
    ("kind", "policy", "families", "is_there"),
    [
        ("IPv4", "PreferDualStack", ["IPv4", "IPv6"], True),
        ("IPv6", "PreferDualStack", ["IPv4", "IPv6"], False),
        ("IPv6", "RequireDualStack", ["IPv6", "IPv4"], True),
        ("IPv4", "RequireDualStack", ["IPv6", "IPv4"], False),
        ("IPv6", "SingleStack", ["IPv4"], True),
        ("FQDN", "RequireDualStack", ["IPv4", "IPv6"], True),
        ("IPv6", "PreferDualStack", [], True),
    ],
)
def test_services_of_two_ip_families_are_found_once(kind, policy, families, is_there):
    """Only the slices of the first family have targets."""
    around = {"services": [service(spec={"ipFamilyPolicy": policy, "ipFamilies": families})]}
    group = build(Role.ENDPOINTSLICE, endpoint_slice(type=kind), around)
    assert bool(group.targets) is is_there
    assert is_there or group == TargetGroup("source", ())


@pytest.mark.parametrize("role", list(Role))
def test_objects_of_a_wrong_shape_do_no_harm(role):
    """What has a wrong type counts as missing."""
    wrong = (
        {"metadata": {"name": "x", "namespace": "default", "labels": [], "ownerReferences": [1, {}]}, "spec": None},
        {"metadata": {"name": "x", "labels": {"a": 1}}, "spec": [], "status": "s", "subsets": {}, "endpoints": [None]},
        {
            "metadata": None,
            "spec": {"containers": [{"ports": [{"containerPort": "80"}]}]},
            "status": {"podIP": "1.1.1.1"},
        },
        {"metadata": {"name": "x"}, "subsets": [{"ports": [{}], "addresses": [{}], "notReadyAddresses": None}]},
        {"metadata": {"name": "x"}, "spec": {"rules": [{}, {"http": {"paths": None}}], "tls": [{"hosts": [1]}]}},
    )
    for raw in wrong:
        group = build(role, raw)
        assert all(isinstance(v, str) for t in (*group.targets, group.labels) for v in t.values())
