"""Faults of configuration files, with the exact messages; and files that are fine."""

from __future__ import annotations

import pytest

from tinyobs.config.http_client import JWT_BEARER
from tinyobs.config.loader import parse
from tinyobs.errors import ConfigError

JOB = "scrape_configs: [{job_name: a, %s}]"

FAULTS = [
    ("global: {scrape_interval: 1s, scrape_timeout: 2s}", ["global scrape timeout greater than scrape interval"]),
    ("global: {scrape_protocols: []}", ["scrape_protocols cannot be empty for global config"]),
    ("global: {external_labels: {'': x}}", ['"" is not a valid label name']),
    ("global: {metric_name_validation_scheme: legacy, external_labels: {a-b: x}}", ['"a-b" is not a valid label name']),
    (
        "global: {metric_name_validation_scheme: foo}",
        ["unknown name validation method specified, must be either '', 'legacy' or 'utf8', got foo"],
    ),
    ("global: {sample_limit: -1}", ["must be at least 0, got '-1'"]),
    ("rule_files: ['a/*/b.yml']", ['invalid rule file path "a/*/b.yml"']),
    ("scrape_config_files: ['a/*/b.yml']", ['invalid scrape config file path "a/*/b.yml"']),
    ("scrape_configs: [null]", ["empty or null scrape config section"]),
    ("scrape_configs: [{}]", ["job_name is empty"]),
    ("scrape_configs: [{job_name: }]", ["job_name is empty"]),
    ("scrape_configs: [{job_name: a}, {job_name: a}]", ['found multiple scrape configs with job name "a"']),
    (
        JOB % "scrape_interval: 1s, scrape_timeout: 2s",
        ['scrape timeout greater than scrape interval for scrape config with job name "a"'],
    ),
    (
        JOB % "scrape_protocols: [PrometheusText1.0.0, PrometheusText1.0.0]",
        [
            "duplicated protocol in scrape_protocols, got [PrometheusText1.0.0 PrometheusText1.0.0] for scrape config with job"
            ' name "a"'
        ],
    ),
    (JOB % "native_histogram_bucket_limit: -1", ["must be at least 0, got '-1'"]),
    (JOB % "native_histogram_min_bucket_factor: x", ["expected a number, got 'x'"]),
    (
        JOB % "fallback_scrape_protocol: Foo",
        [
            "unknown scrape protocol Foo, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto "
            "PrometheusText0.0.4 PrometheusText1.0.0]"
        ],
    ),
    (
        JOB % "metric_name_validation_scheme: legacy, metric_name_escaping_scheme: allow-utf-8",
        ["utf8 metric names requested but validation scheme is not set to UTF8"],
    ),
    (JOB % "static_configs: [{targets: ['http://x']}]", ['"http://x" is not a valid hostname']),
    (JOB % "static_configs: [{targets: x}]", ["expected a list, got 'x'"]),
    (JOB % "static_configs: [{hosts: [x]}]", ["unknown key 'hosts'"]),
    (
        JOB % "file_sd_configs: [{files: []}]",
        ["file service discovery config must contain at least one path name"],
    ),
    (JOB % "file_sd_configs: [{files: [a.txt]}]", ['path name "a.txt" is not valid for file discovery']),
    (JOB % "file_sd_configs: [{files: ['*/a.yml']}]", ['path name "*/a.yml" is not valid for file discovery']),
    (JOB % "oauth2: {client_id: x}", ["oauth2 token_url must be configured"]),
    (JOB % "oauth2: {token_url: 'http://t'}", ["oauth2 client_id must be configured"]),
    (JOB % "oauth2: {client_id: x, token_url: 'http://t', client_secret_ref: x}", ["client_secret_ref is not supported yet by this version"]),
    (
        JOB % "oauth2: {client_id: x, token_url: 'http://t', client_secret: s, client_secret_file: f}",
        [
            "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured using "
            "grant-type=client_credentials"
        ],
    ),
    (
        JOB % f"oauth2: {{client_id: x, token_url: 'http://t', grant_type: '{JWT_BEARER}', client_certificate_key: a, client_certificate_key_file: b}}",
        [
            "at most one of oauth2 client_certificate_key, client_certificate_key_file & client_certificate_key_ref must be "
            f"configured using grant-type={JWT_BEARER}"
        ],
    ),
    (
        JOB % f"oauth2: {{client_id: x, token_url: 'http://t', grant_type: '{JWT_BEARER}'}}",
        [f"oauth2 with grant_type {JWT_BEARER} needs a client_certificate_key"],
    ),
    (
        JOB % "oauth2: {client_id: x, token_url: 'http://t', signature_algorithm: HS256}",
        ["valid signature algorithms are RS256, RS384 and RS512"],
    ),
    (
        JOB % "oauth2: {client_id: x, token_url: 'http://t', grant_type: password}",
        [f"unknown oauth2 grant_type 'password': known are client_credentials and {JWT_BEARER}"],
    ),
    (
        JOB % "oauth2: {client_id: x, token_url: 'http://t'}, basic_auth: {}",
        ["at most one of basic_auth, oauth2 & authorization must be configured"],
    ),
    (
        JOB % "oauth2: {client_id: x, token_url: 'http://t'}, authorization: {}",
        ["at most one of basic_auth, oauth2 & authorization must be configured"],
    ),
    (
        JOB % "oauth2: {client_id: x, token_url: 'http://t'}, bearer_token: x",
        ["at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured"],
    ),
    (
        JOB % "proxy_url: 'ftp://u:secret@p'",
        ["expected the URL of a proxy, as in http://host:port (or https, socks5, socks5h)"],
    ),
    (
        JOB % "proxy_connect_header: {a: [b]}",
        ["if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured"],
    ),
    (
        JOB % "proxy_from_environment: true, proxy_url: 'http://p'",
        ["if proxy_from_environment is configured, proxy_url must not be configured"],
    ),
    (
        JOB % "proxy_from_environment: true, no_proxy: a",
        ["if proxy_from_environment is configured, no_proxy must not be configured"],
    ),
    (JOB % "no_proxy: a", ["if no_proxy is configured, proxy_url must also be configured"]),
    (JOB % "eureka_sd_configs: [{server: x}]", ["eureka_sd_configs is not supported yet by this version"]),
    (JOB % "http_sd_configs: [{}]", ["URL is missing"]),
    (JOB % "http_sd_configs: [{url: 'ftp://h'}]", ["URL scheme must be 'http' or 'https'"]),
    (JOB % "http_sd_configs: [{url: 'http:///x'}]", ["host is missing in URL"]),
    (JOB % "http_sd_configs: [{url: 'http://h:x'}]", ["invalid URL: Port could not be cast to integer value as 'x'"]),
    (JOB % "http_sd_configs: [{url: 'http://h', refresh_interval: 1ms}]", ["must be at least 1000, got '1ms'"]),
    (JOB % "dns_sd_configs: [{}]", ["DNS-SD config must contain at least one SRV record name"]),
    (
        JOB % "dns_sd_configs: [{names: [x], type: A}]",
        ["a port is required in DNS-SD configs for all record types except SRV"],
    ),
    (JOB % "dns_sd_configs: [{names: [x], type: TXT}]", ["invalid DNS-SD records type TXT"]),
    (JOB % "docker_sd_configs: [{}]", ["host missing"]),
    (
        JOB % "docker_sd_configs: [{host: 'ssh://x'}]",
        ["host must begin with one of unix://, tcp://, http://, https://"],
    ),
    (JOB % "dockerswarm_sd_configs: [{role: nodes}]", ["host missing"]),
    (JOB % "dockerswarm_sd_configs: [{host: 'tcp://h:1'}]", ["role missing (one of: tasks, services, nodes)"]),
    (
        JOB % "dockerswarm_sd_configs: [{host: 'tcp://h:1', role: pods}]",
        ["invalid role pods, expected tasks, services, or nodes"],
    ),
    (JOB % "consul_sd_configs: [{server: ' '}]", ["consul SD configuration requires a server address"]),
    (JOB % "consul_sd_configs: [{server: 'ftp://x'}]", ["Unknown protocol scheme: ftp"]),
    (
        JOB % "consul_sd_configs: [{username: u, basic_auth: {username: u}}]",
        ["at most one of consul SD configuration username and password and basic auth can be configured"],
    ),
    (
        JOB % "consul_sd_configs: [{token: t, bearer_token: x}]",
        ["at most one of consul SD token, authorization, or oauth2 can be configured"],
    ),
    (JOB % "nomad_sd_configs: [{server: ''}]", ["nomad SD configuration requires a server address"]),
    (JOB % "nomad_sd_configs: [{server: 'h:1'}]", ["server must begin with http://, https:// or unix://"]),
    (
        JOB % "basic_auth: {username: a}, bearer_token: x",
        ["at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured"],
    ),
    (
        JOB % "basic_auth: {password: a, password_file: b}",
        ["at most one of basic_auth password & password_file must be configured"],
    ),
    (
        JOB % "authorization: {type: Basic}",
        ['authorization type cannot be set to "basic", use "basic_auth" instead'],
    ),
    (JOB % "authorization: {}, bearer_token: x", ["authorization is not compatible with bearer_token & bearer_token_file"]),
    (JOB % "authorization: {}, basic_auth: {}", ["at most one of basic_auth, oauth2 & authorization must be configured"]),
    (JOB % "http_headers: {user-agent: {values: [x]}}", ['setting header "User-Agent" is not allowed']),
    (
        JOB % "tls_config: {cert_file: x}",
        ["exactly one of key or key_file must be configured when a client certificate is configured"],
    ),
    (JOB % "tls_config: {min_version: TLS9}", ["unknown TLS version: TLS9"]),
    (JOB % "relabel_configs: [null]", ["empty or null target relabeling rule in scrape config"]),
    (JOB % "metric_relabel_configs: [null]", ["empty or null metric relabeling rule in scrape config"]),
    (JOB % "relabel_configs: [{action: foo}]", ['unknown relabel action "foo"']),
    (JOB % "relabel_configs: [{action: keep, modulus: -1}]", ["must be between 0 and 18446744073709551615, got '-1'"]),
    (
        JOB % "metric_name_validation_scheme: legacy, relabel_configs: [{target_label: a-b}]",
        ["\"a-b\" is invalid 'target_label' for replace action"],
    ),
    (
        "alerting: {alertmanagers: [{api_version: v1}]}",
        ["expected Alertmanager api version to be one of [v2] but got v1"],
    ),
    ("alerting: {alert_relabel_configs: [null]}", ["empty or null alert relabeling rule"]),
    (
        "global: {metric_name_validation_scheme: legacy}\nalerting: {alert_relabel_configs: [{target_label: a-b}]}",
        ["\"a-b\" is invalid 'target_label' for replace action"],
    ),
    ("remote_write: [null]", ["empty or null remote write config section"]),
    ("remote_write: [{name: a}]", ["url for remote_write is empty"]),
    ("remote_write: [{url: 'http://a', name: x}, {url: 'http://b', name: x}]", ['found multiple remote write configs with job name "x"']),
    ("remote_write: [{url: 'http://a', headers: {Host: x}}]", ["Host is a reserved header. It must not be changed"]),
    (
        "remote_write: [{url: 'http://a', headers: {authorization: x}}]",
        [
            "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or "
            "google_iam parameter"
        ],
    ),
    (
        "remote_write: [{url: 'http://a', basic_auth: {username: u}, sigv4: {}, google_iam: {}}]",
        [
            "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured. "
            "Currently configured: [basic_auth sigv4 google_iam]"
        ],
    ),
    (
        "alerting: {alertmanagers: [{sigv4: {}, basic_auth: {username: u}}]}",
        ["at most one of basic_auth, authorization, oauth2, & sigv4 must be configured"],
    ),
    ("remote_read: [{}]", ["url for remote_read is empty"]),
    ("tracing: {}", ["tracing endpoint must be set"]),
    ("tracing: {endpoint: a, compression: zip}", ["invalid compression type zip provided, valid options: gzip"]),
    ("tracing: {endpoint: a, client_type: x}", ["expected tracing client type to be to be http or grpc, but got x"]),
    ("otlp: {translation_strategy: x}", ['unsupported OTLP translation strategy "x"']),
    (
        "global: {metric_name_validation_scheme: legacy}\notlp: {translation_strategy: NoTranslation}",
        ['OTLP translation strategy "NoTranslation" is not allowed when UTF8 is disabled'],
    ),
    (
        "otlp: {ignore_resource_attributes: [a]}",
        ["'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true"],
    ),
    (
        "otlp: {promote_resource_attributes: [a, ' a', '']}",
        [
            "invalid 'promote_resource_attributes': duplicated promoted OTel resource attribute \"a\"",
            "invalid 'promote_resource_attributes': empty promoted OTel resource attribute",
        ],
    ),
    ("storage: {tsdb: {retention: {percentage: 101}}}", ["must be between 0 and 100, got '101'"]),
    ("storage: {tsdb: {retention: {size: 5}}}", ['units: unknown unit "" in "5" (write for example 512MB)']),
    ("tinyobs: {web: {requests_max: 0}}", ["must be between 1 and 100000, got '0'"]),
    ("tinyobs: {storage: {sync: sometimes}}", ["expected one of always, interval, never, got 'sometimes'"]),
    ("scrape_config: []", ["unknown key 'scrape_config', did you mean 'scrape_configs'?"]),
    ("[]", ["expected a mapping, got a list"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "messages"), FAULTS)
def test_faults(text: str, messages: list[str]) -> None:
    """The messages are those that users know from upstream, and every one has its place."""
    with pytest.raises(ConfigError) as e:
        parse(text, "f.yml")
    assert [p.message for p in e.value.problems] == messages
    assert all(p.line and p.column for p in e.value.problems)


GOOD = [
    JOB % "scrape_native_histograms: false, oauth2: null, eureka_sd_configs: [], proxy_url: ''",
    JOB % "native_histogram_bucket_limit: 0, native_histogram_min_bucket_factor: 0",
    JOB % "static_configs: [{targets: ['http://x']}], relabel_configs: [{target_label: __address__, replacement: a:1}]",
    JOB % "relabel_configs: [{source_labels: [a], separator: , regex: , target_label: b}]",
    JOB % "tls_config: , basic_auth: , params: , http_headers: , static_configs: ",
    JOB % "file_sd_configs: [{files: ['a/*.json', b.YML]}], enable_http2: false",
    "scrape_configs: [{job_name: a, relabel_configs: &r [{action: drop, regex: a}]},"
    " {job_name: b, metric_relabel_configs: *r}]",
    "remote_write: [{url: 'http://a'}, {url: 'http://b'}]",
    "storage: {tsdb: {out_of_order_time_window: 0s, chunk_encoding: {floats: xor2}}}",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_files(text: str) -> None:
    """Values equal to upstream's defaults are fine even where another value is not supported."""
    config = parse(text, "f.yml")
    assert parse(config.to_yaml(), "f.yml") == config
