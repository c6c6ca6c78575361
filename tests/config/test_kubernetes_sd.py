"""The configuration of `kubernetes_sd_configs`: fields, defaults, messages, selectors."""

from __future__ import annotations

import pytest
import yaml

from tinyobs.builtin.kubernetes_sd import tinyobs_discoverers
from tinyobs.config.kubernetes_sd import AttachMetadata, KubernetesSdConfig, Namespaces, Role, Selector
from tinyobs.config.kubernetes_selectors import check_field_selector, check_label_selector
from tinyobs.config.loader import parse
from tinyobs.errors import ConfigError
from tinyobs.model.secrets import Secret


def read(text: str) -> KubernetesSdConfig:
    """Return the entry of a configuration, given as YAML."""
    whole = {"scrape_configs": [{"job_name": "k", "kubernetes_sd_configs": [yaml.safe_load(text)]}]}
    config = parse(yaml.safe_dump(whole), "/etc/tinyobs/prometheus.yml", discoverers=tinyobs_discoverers())
    ((_, (entry,)),) = config.scrape_configs[0].discovery
    assert isinstance(entry, KubernetesSdConfig)
    return entry


def test_the_role_is_enough():
    """Everything else has a default: the own cluster, all namespaces, nothing attached."""
    assert read("role: pod") == KubernetesSdConfig(role=Role.POD)


def test_all_fields():
    """Each of them, with the options of HTTP beside."""
    entry = read(
        """
        api_server: https://k.example:6443
        role: endpoints
        namespaces: {own_namespace: false, names: [a, b]}
        selectors:
        - {role: endpoints, label: "app=web,tier!=db"}
        - {role: pod, field: spec.nodeName=n1}
        attach_metadata: {node: true, namespace: true, deployment: true, job: true, cronjob: true}
        authorization: {credentials: s3cret}
        tls_config: {ca_file: ca.crt}
        """
    )
    assert (entry.api_server, entry.role) == ("https://k.example:6443", Role.ENDPOINTS)
    assert entry.namespaces == Namespaces(names=("a", "b"))
    assert entry.selectors == (
        Selector(role=Role.ENDPOINTS, label="app=web,tier!=db"),
        Selector(role=Role.POD, field="spec.nodeName=n1"),
    )
    assert entry.attach_metadata == AttachMetadata(node=True, namespace=True, deployment=True, job=True, cronjob=True)
    assert entry.http.authorization is not None
    assert entry.http.authorization.credentials == Secret("s3cret")
    assert entry.http.tls_config.ca_file == "/etc/tinyobs/ca.crt"
    assert entry.selector(Role.POD) == ("", "spec.nodeName=n1")
    assert entry.selector(Role.SERVICE) == ("", "")


def test_paths_start_at_the_configuration():
    """The kubeconfig file lies beside it."""
    assert read("{role: node, kubeconfig_file: k.yml}").kubeconfig_file == "/etc/tinyobs/k.yml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("api_server: https://k", "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)"),
        ("role: vacation", 'unknown Kubernetes SD role "vacation"'),
        (
            "{role: pod, api_server: 'https://k', kubeconfig_file: k}",
            "cannot use 'kubeconfig_file' and 'api_server' simultaneously",
        ),
        (
            "{role: pod, kubeconfig_file: k, basic_auth: {username: u}}",
            "cannot use a custom HTTP client configuration together with 'kubeconfig_file'",
        ),
        (
            "{role: pod, bearer_token: t}",
            "to use custom HTTP client configuration please provide the 'api_server' URL explicitly",
        ),
        (
            "{role: pod, api_server: 'https://k', namespaces: {own_namespace: true}}",
            "cannot use 'api_server' and 'namespaces.own_namespace' simultaneously",
        ),
        (
            "{role: pod, kubeconfig_file: k, namespaces: {own_namespace: true}}",
            "cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously",
        ),
        ("{role: pod, selectors: [{role: pod}, {role: pod}]}", "duplicated selector role: pod"),
        ("{role: pod, selectors: [{role: service}]}", "pod role supports only pod, node selectors"),
        ("{role: service, selectors: [{role: pod}]}", "service role supports only service selectors"),
        ("{role: node, selectors: [{role: pod}]}", "node role supports only node selectors"),
        ("{role: ingress, selectors: [{role: pod}]}", "ingress role supports only ingress selectors"),
        (
            "{role: endpoints, selectors: [{role: node}]}",
            "endpoints role supports only pod, service, endpoints selectors",
        ),
        (
            "{role: endpointslice, selectors: [{role: endpoints}]}",
            "endpointslice role supports only pod, service, endpointslice selectors",
        ),
        ("{role: pod, selectors: [{role: vacation}]}", 'unknown Kubernetes SD role "vacation"'),
        (
            "{role: pod, selectors: [{role: pod, field: metadata.name}]}",
            "invalid selector: 'metadata.name'; can't understand 'metadata.name'",
        ),
        ("{role: pod, selectors: [{role: pod, label: 'a=='}, {role: node, label: '-'}]}", 'requirement "-"'),
        ("{role: pod, namespaces: {name: x}}", "name"),
        ("{role: pod, api_server: 'k:80'}", "k:80"),
    ],
)
def test_what_is_refused(text, message):
    """In the words of Prometheus where it has some."""
    with pytest.raises(ConfigError) as e:
        read(text)
    assert message in str(e.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a",
        "!a",
        "a=b",
        "a==b",
        "a!=b",
        "a=",
        "x.y/a=b, c",
        "a in (b, c)",
        "a notin (b),c=d",
        "a in ()",
        "a>1,b<22",
        "app.kubernetes.io/name=web-1",
    ],
)
def test_label_selectors(text):
    """All forms of the grammar."""
    assert check_label_selector(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "-",
        "a=b=c",
        "a in b",
        "a in (b",
        "=b",
        "a>x",
        "a,",
        "a b",
        "A B=c",
        f"{'a' * 64}=b",
        f"a={'b' * 64}",
        "a=-",
        "X_/a",
    ],
)
def test_label_selectors_that_make_no_sense(text):
    """The text names the part that is wrong."""
    assert check_label_selector(text).startswith('unable to parse requirement "')


@pytest.mark.parametrize(
    "text", ["", "a=b", "a==b", "a!=b", "a=b,c=d", "a=b,,c=d", "=b", "a=", r"a=b\,c", r"a=b\=c", r"a=\\"]
)
def test_field_selectors(text):
    """Keys and values; commas, equals signs and backslashes in values are escaped."""
    assert check_field_selector(text) == ""


@pytest.mark.parametrize("text", ["a", "a=b,c", "!a", r"a=b\c", "a=b=c", "a=b\\"])
def test_field_selectors_that_make_no_sense(text):
    """They are refused before the API server would."""
    assert "nvalid" in check_field_selector(text)
