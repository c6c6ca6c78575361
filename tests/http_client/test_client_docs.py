"""The page docs/http-client.md: its examples are read and used; nothing secret shows."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest
import trustme
from http_peers import as_json, get, proxying, serving

from tinyobs.config.encoder import to_plain, to_yaml
from tinyobs.config.loader import parse
from tinyobs.http_client import Client

PAGE = Path(__file__).parents[2] / "docs" / "http-client.md"
FIRST, OAUTH2, PROXIES = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def client_for(text):
    """Return the client of the only job in a text, and its target."""
    (job,) = parse(text, "f.yml").all_scrape_configs
    return Client(job.http)


async def test_the_first_example_works(tmp_path):
    """User and password, certificates of both sides, a header."""
    authority = trustme.CA()
    (tmp_path / "app-password").write_text("s3cret\n")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    own = authority.issue_cert("client@example.org")
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    own.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    text = FIRST.replace("/run/secrets", str(tmp_path)).replace("/etc/tinyobs", str(tmp_path))
    async with serving(lambda _: (200, [], b"ok"), tls) as peer:
        client = client_for(text)
        assert await get(client, f"https://{peer.address}/metrics") == (200, b"ok")
        await client.aclose()
    headers = peer.asked[0].headers
    assert (headers["authorization"], headers["x-scope-orgid"]) == ("Basic cHJvbWV0aGV1czpzM2NyZXQ=", "team-a")


async def test_the_example_of_oauth2_works(tmp_path):
    """The token is fetched and sent."""
    (tmp_path / "oauth").write_text("s3cret")
    async with (
        serving(lambda _: as_json({"access_token": "t", "expires_in": 60})) as endpoint,
        serving(lambda _: (200, [], b"ok")) as peer,
    ):
        text = OAUTH2.replace("/run/secrets", str(tmp_path))
        client = client_for(text.replace("https://login.example.org", f"http://{endpoint.address}"))
        assert (await get(client, f"http://{peer.address}/metrics"))[0] == 200
        await client.aclose()
    assert endpoint.asked[0].form == {"grant_type": "client_credentials", "scope": "metrics.read", "audience": "app"}
    assert peer.asked[0].headers["authorization"] == "Bearer t"


async def test_the_example_of_proxies_works():
    """The target goes through the proxy, an exception does not."""
    async with proxying() as proxy:
        client = client_for(PROXIES.replace("proxy.example.org:3128", proxy.address))
        assert (await get(client, "http://app.example.org:9100/metrics"))[1].startswith(b"forwarded")
        await client.aclose()
    assert "proxy-authorization" in proxy.asked[0].headers


SECRETS = """
scrape_configs:
  - job_name: a
    proxy_url: http://user:s3cret@proxy:3128
    proxy_connect_header: {X-Key: [s3cret]}
    http_headers: {X-Key: {secrets: [s3cret]}}
    oauth2:
      client_id: me
      client_secret: s3cret
      token_url: https://user:s3cret@login/token
      scopes: [a]
      claims: {level: 3, groups: [x, 1.5, null], nested: {yes: "3"}}
      proxy_from_environment: true
"""


def test_the_configuration_that_is_shown_has_no_secrets():
    """All the rest is there, and can be read again."""
    shown = to_yaml(to_plain(parse(SECRETS, "f.yml").all_scrape_configs[0]))
    assert "s3cret" not in shown
    for part in ("proxy_url: http://user:xxxxx@proxy:3128", "X-Key:", "client_secret: <secret>", "level: 3", "- 1.5"):
        assert part in shown, shown
    again = parse("scrape_configs:\n- " + shown.replace("\n", "\n  "), "f.yml").all_scrape_configs[0]
    assert again.http.oauth2.claims == parse(SECRETS, "f.yml").all_scrape_configs[0].http.oauth2.claims
    assert again.http.oauth2.proxy.proxy_from_environment


@pytest.mark.parametrize("text", [FIRST, OAUTH2, PROXIES])
def test_every_key_of_the_examples_is_in_a_table(text):
    """Or explained in the text below it."""
    page = PAGE.read_text()
    for key in re.findall(r"^    +([a-z0-9_]+):", text, re.MULTILINE):
        if key not in ("static_configs", "scheme", "audience", "client_id", "token_url", "scopes", "endpoint_params"):
            assert f"`{key}`" in page, key
