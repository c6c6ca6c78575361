"""Labels and addresses of every role, from objects as the API server sends them."""

from __future__ import annotations

import pytest
from kubernetes_groups import NODE, OF_NODE, OF_SPACE, SPACE, P, build, shown
from kubernetes_objects import (
    container,
    endpoint_slice,
    endpoints,
    ingress,
    node,
    owner,
    pod,
    port,
    rule,
    service,
    subset,
    thing,
)

from tinyobs.abc import TargetGroup
from tinyobs.builtin.kubernetes_sd.targets import matches_host
from tinyobs.config.kubernetes_sd import AttachMetadata, Role, Selector


def test_a_pod():
    """A target for each port, one without a port for a container that has none; the group has what is the pod's."""
    ports = (port("http", 8080), port("dns", 53, "UDP"))
    raw = pod(
        labels={"app.kubernetes.io/name": "web"},
        annotations={"prometheus.io/scrape": "true"},
        ownerReferences=owner("DaemonSet", "web"),
        containers=[container("app", *ports), container("side")],
    )
    group = build(Role.POD, raw)
    app = {"pod_container_name": "app", "pod_container_image": "app:latest", "pod_container_init": "false"}
    app["pod_container_id"] = "containerd://app-id"

    def of_port(name: str, number: str, protocol: str) -> dict[str, str]:
        prefix = "pod_container_port_"
        return {prefix + "name": name, prefix + "number": number, prefix + "protocol": protocol}

    assert [shown(t) for t in group.targets] == [
        {"__address__": "10.1.0.7:8080", **app, **of_port("http", "8080", "TCP")},
        {"__address__": "10.1.0.7:53", **app, **of_port("dns", "53", "UDP")},
        {
            "__address__": "10.1.0.7",
            "pod_container_name": "side",
            "pod_container_image": "side:latest",
            "pod_container_init": "false",
            "pod_container_id": "containerd://side-id",
        },
    ]
    assert shown(group.labels) == {
        "namespace": "default",
        "pod_name": "web-1",
        "pod_uid": "uid-web-1",
        "pod_ip": "10.1.0.7",
        "pod_host_ip": "192.168.0.1",
        "pod_node_name": "n1",
        "pod_phase": "Running",
        "pod_ready": "true",
        "pod_controller_kind": "DaemonSet",
        "pod_controller_name": "web",
        "pod_label_app_kubernetes_io_name": "web",
        "pod_labelpresent_app_kubernetes_io_name": "true",
        "pod_annotation_prometheus_io_scrape": "true",
        "pod_annotationpresent_prometheus_io_scrape": "true",
    }


def test_a_pod_with_containers_that_run_before():
    """They come after the others and are marked; their ids stand in a list of their own."""
    raw = pod(phase="Pending", ready="False", inits=[container("migrate")])
    group = build(Role.POD, raw)
    assert [(t["__address__"], t[P + "pod_container_init"]) for t in group.targets] == [
        ("10.1.0.7:8080", "false"),
        ("10.1.0.7", "true"),
    ]
    assert group.targets[1][P + "pod_container_id"] == "containerd://migrate-id"
    assert (group.labels[P + "pod_phase"], group.labels[P + "pod_ready"]) == ("Pending", "false")


def test_a_pod_without_an_address_has_no_targets():
    """It is being started, or was evicted."""
    assert build(Role.POD, pod(ip="")) == TargetGroup("source", ())


def test_addresses_of_ipv6_are_put_in_brackets():
    """Before a port, that is."""
    (target,) = build(Role.POD, pod(ip="fd00::7")).targets
    assert target["__address__"] == "[fd00::7]:8080"


def test_a_pod_without_conditions_is_neither_ready_nor_not():
    """The label says unknown; a container that is not started has an empty id."""
    raw = pod()
    raw["status"] = {"podIP": "10.1.0.7"}
    group = build(Role.POD, raw)
    assert (group.labels[P + "pod_ready"], group.labels[P + "pod_phase"]) == ("unknown", "")
    assert group.targets[0][P + "pod_container_id"] == ""


@pytest.mark.parametrize(
    ("controller", "attach", "expected"),
    [
        (("ReplicaSet", "web-5c8"), {}, {}),
        (("ReplicaSet", "web-5c8"), {"deployment": True}, {"pod_deployment_name": "web"}),
        (("ReplicaSet", "alone"), {"deployment": True}, {}),
        (("ReplicaSet", "gone"), {"deployment": True}, {}),
        (("Job", "backup-28"), {"deployment": True}, {}),
        (("Job", "backup-28"), {"job": True}, {"pod_job_name": "backup-28"}),
        (("Job", "backup-28"), {"cronjob": True}, {"pod_cronjob_name": "backup"}),
        (
            ("Job", "backup-28"),
            {"job": True, "cronjob": True},
            {"pod_job_name": "backup-28", "pod_cronjob_name": "backup"},
        ),
        (("Job", "once"), {"cronjob": True}, {}),
    ],
)
def test_what_a_pod_belongs_to(controller, attach, expected):
    """Deployment, job and cron job are named when that is asked for, through the objects between."""
    others = {
        "replicasets": [
            thing("web-5c8", "default", ownerReferences=owner("Deployment", "web")),
            thing("alone", "default", ownerReferences=owner("Rollout", "web")),
        ],
        "jobs": [
            thing("backup-28", "default", ownerReferences=owner("CronJob", "backup")),
            thing("once", "default"),
        ],
    }
    raw = pod(ownerReferences=owner(*controller))
    labels = shown(build(Role.POD, raw, others, attach_metadata=AttachMetadata(**attach)).labels)
    assert {k: v for k, v in labels.items() if k.endswith(("deployment_name", "job_name", "cronjob_name"))} == expected


def test_labels_of_nodes_and_namespaces_are_attached_to_pods():
    """When that is asked for, and when they are known."""
    others = {"nodes": [NODE], "namespaces": [SPACE]}
    without = shown(build(Role.POD, pod(), others).labels)
    attach = AttachMetadata(node=True, namespace=True)
    assert shown(build(Role.POD, pod(), others, attach_metadata=attach).labels) == without | OF_NODE | OF_SPACE
    assert shown(build(Role.POD, pod(), {}, attach_metadata=attach).labels) == without


def test_a_node_selector_leaves_pods_of_other_nodes_out():
    """Such pods have no targets, with or without the labels of nodes."""
    selectors = (Selector(role=Role.NODE, label="zone=a"),)
    for attach in (AttachMetadata(node=True), AttachMetadata()):
        more = {"selectors": selectors, "attach_metadata": attach}
        assert build(Role.POD, pod(), {"nodes": [NODE]}, **more).targets
        assert not build(Role.POD, pod(node="n2"), {"nodes": [NODE]}, **more).targets


def test_a_node():
    """The kubelet under its internal address; the first address of each type and every condition are labels."""
    group = build(Role.NODE, NODE)
    assert [shown(t) for t in group.targets] == [
        {
            "__address__": "192.168.0.1:10250",
            "instance": "n1",
            "node_address_InternalIP": "192.168.0.1",
            "node_address_Hostname": "n1",
        }
    ]
    assert shown(group.labels) == {
        **OF_NODE,
        "node_provider_id": "cloud:///n1",
        "node_condition_ready": "true",
        "node_condition_diskpressure": "unknown",
    }


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ([("Hostname", "h"), ("ExternalDNS", "e.example"), ("ExternalIP", "1.1.1.1")], "1.1.1.1:10250"),
        ([("Hostname", "h"), ("ExternalDNS", "e.example")], "e.example:10250"),
        ([("Hostname", "h"), ("InternalDNS", "i.example"), ("ExternalIP", "1.1.1.1")], "i.example:10250"),
        ([("Hostname", "h"), ("LegacyHostIP", "2.2.2.2")], "2.2.2.2:10250"),
        ([("Hostname", "h")], "h:10250"),
        ([("InternalIP", "fd00::1")], "[fd00::1]:10250"),
        ([("Other", "x")], None),
        ([], None),
    ],
)
def test_the_address_of_a_node(addresses, expected):
    """The order of the types decides; without one of them there is no target."""
    group = build(Role.NODE, node(addresses=addresses))
    assert [t["__address__"] for t in group.targets] == ([expected] if expected else [])


def test_a_service():
    """A target for each port under the name in DNS; type and address are those of the service."""
    group = build(Role.SERVICE, service(labels={"a/b": "c"}, annotations={"d": "e"}))
    shared = {"service_type": "ClusterIP", "service_cluster_ip": "10.0.0.1"}
    assert [shown(t) for t in group.targets] == [
        {
            "__address__": f"web.default.svc:{number}",
            "service_port_name": name,
            "service_port_number": number,
            "service_port_protocol": protocol,
            **shared,
        }
        for name, number, protocol in (("http", "80", "TCP"), ("dns", "53", "UDP"))
    ]
    assert shown(group.labels) == {
        "namespace": "default",
        "service_name": "web",
        "service_label_a_b": "c",
        "service_labelpresent_a_b": "true",
        "service_annotation_d": "e",
        "service_annotationpresent_d": "true",
    }


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"type": "ExternalName", "externalName": "db.example"},
            {"service_type": "ExternalName", "service_external_name": "db.example"},
        ),
        (
            {"type": "LoadBalancer", "loadBalancerIP": "5.5.5.5"},
            {
                "service_type": "LoadBalancer",
                "service_cluster_ip": "10.0.0.1",
                "service_loadbalancer_ip": "5.5.5.5",
            },
        ),
        ({"type": "NodePort"}, {"service_type": "NodePort", "service_cluster_ip": "10.0.0.1"}),
    ],
)
def test_types_of_services(spec, expected):
    """An external name stands instead of an address; a load balancer has one more."""
    target = shown(build(Role.SERVICE, service(spec=spec)).targets[0])
    assert {k: v for k, v in target.items() if k.startswith("service_") and "_port_" not in k} == expected


@pytest.mark.parametrize(
    ("role", "raw"),
    [
        (Role.SERVICE, service()),
        (Role.INGRESS, ingress(rules=[rule("h", "/")])),
        (Role.ENDPOINTS, endpoints("web", "default", subset([port("http", 80, key="port")], [{"ip": "10.1.0.7"}]))),
        (Role.ENDPOINTSLICE, endpoint_slice()),
    ],
)
def test_labels_of_namespaces_are_attached_to_every_role_in_one(role, raw):
    """Services, ingresses and what stands behind services."""
    others = {"namespaces": [SPACE]}
    without = shown(build(role, raw, others).labels)
    with_labels = shown(build(role, raw, others, attach_metadata=AttachMetadata(namespace=True)).labels)
    assert with_labels == without | OF_SPACE


def test_an_ingress():
    """Hosts times paths; https where the host fits one of those of TLS; without HTTP the path is the root."""
    rules = [rule("a.example", "/x", ""), rule("b.test", "/"), {"host": "c.test"}, rule("d.test")]
    raw = ingress(
        rules=rules, tls=["*.example"], labels={"l": "1"}, annotations={"n": "2"}, spec={"ingressClassName": "nginx"}
    )
    group = build(Role.INGRESS, raw)
    assert [shown(t) for t in group.targets] == [
        {"__address__": host, "ingress_host": host, "ingress_scheme": scheme, "ingress_path": path}
        for scheme, host, path in (
            ("https", "a.example", "/x"),
            ("https", "a.example", "/"),
            ("http", "b.test", "/"),
            ("http", "c.test", "/"),
        )
    ]
    assert shown(group.labels) == {
        "namespace": "default",
        "ingress_name": "site",
        "ingress_class_name": "nginx",
        "ingress_label_l": "1",
        "ingress_labelpresent_l": "true",
        "ingress_annotation_n": "2",
        "ingress_annotationpresent_n": "true",
    }
    assert P + "ingress_class_name" not in build(Role.INGRESS, ingress()).labels


@pytest.mark.parametrize(
    ("pattern", "host", "fits"),
    [
        ("a.test", "a.test", True),
        ("*.test", "a.test", True),
        ("*.test", "a.b.test", False),
        ("*.test", "test", False),
        ("*", "a", True),
        ("*", "a.test", False),
        ("a.*", "a.test", False),
        ("", "", True),
    ],
)
def test_a_star_stands_for_the_first_part_of_a_host(pattern, host, fits):
    """For that alone, and for exactly one."""
    assert matches_host(pattern, host) is fits
