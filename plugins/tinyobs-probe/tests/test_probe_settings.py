"""The section `probe`: modules as in blackbox.yml, and messages for what cannot be."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError

from tinyobs_probe import patterns
from tinyobs_probe.address import ProbeError, address_hash, split_host_port
from tinyobs_probe.http_redirects import Cookies, check_url
from tinyobs_probe.settings import Prober, ProbeSettings

GOOD = """
interval: 30s
modules:
  http_post:
    prober: http
    timeout: 5s
    http:
      method: POST
      headers: {Content-Type: application/json, X: 1}
      body: '{}'
      valid_status_codes: [200, 404]
      fail_if_header_not_matches:
        - {header: Location, regexp: '.*', allow_missing: true}
      tls_config: {insecure_skip_verify: true}
      basic_auth: {username: u, password: p}
      preferred_ip_protocol: ip4
  pop3s:
    prober: tcp
    tcp:
      query_response:
        - expect: "^+OK"
      tls: true
  irc:
    prober: tcp
    tcp:
      query_response:
        - send: "NICK prober"
        - expect: "PING :([^ ]+)"
          send: "PONG ${1}"
  soa:
    prober: dns
    dns: {query_name: example.test, query_type: SOA, validate_answer_rrs: {fail_if_matches_regexp: [x]}}
  ping: {prober: icmp, icmp: {ttl: 5, payload_size: 100}}
targets:
  - {job: web, module: http_post, targets: ["https://example.test"], labels: {team: a}}
"""


def test_modules_are_written_as_in_blackbox_yml():
    """All option names are upstream's."""
    text = GOOD.replace('"^+OK"', r'"^\\+OK"')
    settings = decode_text(ProbeSettings, text, "x.yml")
    modules = settings.all_modules()
    assert set(modules) == {"http_2xx", "tcp_connect", "icmp", "http_post", "pop3s", "irc", "soa", "ping"}
    assert modules["http_post"].http.valid_status_codes == (200, 404)
    assert modules["http_post"].http.client.tls_config.insecure_skip_verify
    assert modules["ping"].prober is Prober.ICMP
    (group,) = settings.targets
    assert (settings.interval_of(group), settings.timeout_of(group)) == (30_000, 5_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modules: {x: {prober: grpc}}", "grpc"),
        ("modules: {x: {http: {}}}", "missing key 'prober'"),
        ("modules: {x: {prober: dns}}", "query name must be set for DNS module"),
        (
            "modules: {x: {prober: dns, dns: {query_name: a, query_type: NONSENSE}}}",
            "query type 'NONSENSE' is not valid",
        ),
        ("modules: {x: {prober: dns, dns: {query_name: a..b}}}", "query name 'a..b' is not valid"),
        ("modules: {x: {prober: dns, dns: {query_name: a, valid_rcodes: [NO]}}}", "rcode 'NO' is not valid"),
        ("modules: {x: {prober: dns, dns: {query_name: a, dns_over_tls: true}}}", "needs transport_protocol tcp"),
        ("modules: {x: {prober: http, http: {fail_if_body_matches_regexp: ['(']}}}", "error parsing regexp"),
        ("modules: {x: {prober: http, http: {body: a, body_file: b}}}", "setting body and body_file both"),
        ("modules: {x: {prober: http, http: {valid_http_versions: ['3']}}}", "unknown HTTP version '3'"),
        ("modules: {x: {prober: http, http: {fail_if_body_json_matches_cel: x}}}", "not supported yet"),
        ("modules: {x: {prober: http, http: {proxy_url: 'http://p'}}}", "not supported yet"),
        ("modules: {x: {prober: http, http: {proxy_from_environment: true}}}", "not supported yet"),
        (
            "modules: {x: {prober: http, http: {oauth2: {client_id: a, token_url: 'http://t'}}}}",
            "oauth2 is not supported yet",
        ),
        ("modules: {x: {prober: tcp, tcp: {source_ip_address: nowhere}}}", "nowhere"),
        ("modules: {x: {prober: icmp, icmp: {payload_size: 70000}}}", "must be between 0 and 65000"),
        ("modules: {x: {prober: tcp, tcp: {query_respons: []}}}", "did you mean 'query_response'"),
        ("targets: [{module: none, targets: [a]}]", "unknown module 'none'"),
        ("targets: [{targets: [a], timeout: 2m}]", "probe timeout greater than interval"),
        ("targets: [{targets: [a], labels: {__x: a}}]", "invalid label name '__x'"),
        ("concurrency_max: 0", "must be between 1 and 10000"),
    ],
)
def test_faults_have_a_message(text, message):
    """Each names what is wrong."""
    with pytest.raises(ConfigError) as e:
        decode_text(ProbeSettings, text, "x.yml")
    assert message in str(e.value)
    assert all(p.line for p in e.value.problems)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.test:53", ("a.test", 53)),
        ("a.test", ("a.test", 7)),
        ("[::1]:53", ("::1", 53)),
        ("[::1]", ("::1", 7)),
        ("::1", ("::1", 7)),
    ],
)
def test_hosts_and_ports(text, expected):
    """IPv6 addresses with a port stand in brackets."""
    assert split_host_port(text, 7) == expected


@pytest.mark.parametrize("text", ["a", "a:", "a:0", "a:70000", "a:x", "[::1", "[::1]x", "::1", "a:²"])
def test_ports_that_are_none(text):
    """Without a default a port is needed, and it must be one."""
    with pytest.raises(ProbeError):
        split_host_port(text)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_target_is_an_address_or_an_error(text):
    """No text makes the parsers fail in another way."""
    for parse in (lambda: split_host_port(text), lambda: check_url("http://" + text)):
        with contextlib.suppress(ProbeError):
            found = parse()
            assert isinstance(found, tuple) or found.isascii()


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_cookie_is_kept_or_ignored(text):
    """A malformed Set-Cookie header does no harm, and nothing goes to another host."""
    cookies = Cookies()
    cookies.take("a", text)
    assert "\n" not in cookies.header("a")
    assert cookies.header("b") == ""


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://a.test/b?c=d&e=%20#f", "http://a.test/b?c=d&e=%20"),
        ("http://a.test/ä b", "http://a.test/%C3%A4%20b"),
        ("https://Bücher.test:81/x", "https://xn--bcher-kva.test:81/x"),
        ("http://[::1]:80/{x}", "http://[::1]:80/{x}"),
        ("http://a.test", "http://a.test"),
    ],
)
def test_urls_are_asked_in_ascii(url, asked):
    """Hosts become punycode, other characters are escaped, what is escaped stays so."""
    assert check_url(url) == asked
    assert check_url(asked) == asked


def test_templates_expand_as_in_go():
    """Groups by number and name; the longest name counts; unknown ones are empty; two dollars are one."""
    match = patterns.compile_pattern(r"(?P<who>\w+)-(\d)?").search("bob-")
    assert patterns.expand("$1|${who}|$2|$3|$who_x|$$1|$", match) == "bob|bob||||$1|$"


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
def test_address_hash_is_fnv_1a(ip):
    """The bytes of the address are hashed: 4 of IPv4, 16 of IPv6."""
    reference = 0x811C9DC5
    for byte in ipaddress.ip_address(ip).packed:
        reference = ((reference ^ byte) * 16777619) % 2**32
    assert address_hash(ip) == reference
