"""The page docs/discovery/cloud.md: its examples run, its settings and labels are those that there are."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
import test_azure
import test_digitalocean
import test_ec2
import test_ecs
import test_elasticache
import test_gce
import test_hetzner
import test_ionos
import test_lightsail
import test_linode
import test_msk
import test_openstack
import test_outscale
import test_ovhcloud
import test_rds
import test_scaleway
import test_stackit
import test_vultr
from cloud_fakes import serving, targets_of
from tinyobs.cloud_auth import azure_tokens
from tinyobs.cloud_auth.azure_tokens import AzureCloud
from tinyobs.config.fields import plan
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.config.loader import parse
from tinyobs.errors import ConfigError

from tinyobs_cloud_sd import KINDS, aws_entry, azure, digitalocean, gce, hetzner, ionos, linode, ovhcloud, vultr

PAGE = Path(__file__).parents[3] / "docs" / "discovery" / "cloud.md"
SECTIONS = {
    found[1]: section
    for section in PAGE.read_text().split("\n## ")[1:]
    if (found := re.search(r"^ +(\w+_sd_configs):$", section, re.MULTILINE))
}
BY_KEY = {kind.key: kind for kind in KINDS}


def test_every_kind_has_a_section():
    """And the page has no other."""
    assert set(SECTIONS) == set(BY_KEY)


@pytest.mark.parametrize("key", sorted(BY_KEY))
def test_settings_are_those_of_the_schema(key):
    """Each key once, with its default; those of an HTTP client are said to be there where they are."""
    schema = BY_KEY[key].schema
    table = re.search(rf"^\| `{key}` .*?\n\n", SECTIONS[key], re.MULTILINE | re.DOTALL)[0]
    rows = [row.split("|")[1:3] for row in table.strip().splitlines()[2:]]
    documented = {name: default.strip().strip("`") for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    plans = [p for p in plan(schema) if not p.inline]
    assert set(documented) == {p.key for p in plans}
    for p in plans:
        value = None if p.required else p.default()
        shown = {60_000: "1m", 300_000: "5m"}.get(value, "") if p.key == "refresh_interval" else value
        if isinstance(shown, bool):
            shown = str(shown).lower()
        assert documented[p.key] == ("" if not shown or attrs.has(type(shown)) else str(shown)), p.key
    takes_http = any(p.type is HttpClientConfig for p in plan(schema))
    assert ("those of an HTTP client" in SECTIONS[key]) == takes_http


def documented_labels(key):
    """Return a pattern that matches the documented labels."""
    names = re.findall(r"`(__meta_\w+(?:<\w+>)?)`", SECTIONS[key])
    return re.compile("|".join(re.sub(r"<\w+>", r".+", name) for name in [*names, "__address__", "instance"]))


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Let each kind find its fake and have credentials; return key -> fake."""
    for name, token in (
        ("hetzner.token", test_hetzner.TOKEN),
        ("digitalocean.token", test_digitalocean.TOKEN),
        ("linode.token", test_linode.TOKEN),
        ("scaleway.key", test_scaleway.SECRET),
        ("outscale.key", test_ec2.SECRET),
        ("stackit.token", test_stackit.TOKEN),
        ("vultr.token", test_vultr.TOKEN),
    ):
        (tmp_path / name).write_text(token)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", test_ec2.ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", test_ec2.SECRET)
    droplets, servers, instances = (
        test_digitalocean.DigitalOcean(),
        test_openstack.OpenStack(),
        test_scaleway.Scaleway(),
    )
    droplets.items["droplets"] = [test_digitalocean.droplet(1, ("10.0.0.1", "public"))]
    servers.lists = {
        "/compute/servers/detail": [test_openstack.instance("a", "10.0.0.1", metadata={"env": "x"})],
        "/net/v2.0/ports": [],
        "/net/v2.0/floatingips": [],
    }
    instances.items[test_scaleway.SERVERS] = [test_scaleway.instance("a", private_ip="10.0.0.1", tags=["t"])]
    return {
        "aws_sd_configs": test_ec2.Ec2(),
        "azure_sd_configs": test_azure.Azure(),
        "digitalocean_sd_configs": droplets,
        "ec2_sd_configs": test_ec2.Ec2(),
        "ecs_sd_configs": test_ecs.Ecs(),
        "elasticache_sd_configs": test_elasticache.ElastiCache(),
        "gce_sd_configs": test_gce.Compute(),
        "hetzner_sd_configs": test_hetzner.Cloud(test_hetzner.FIRST),
        "ionos_sd_configs": test_ionos.Ionos(),
        "lightsail_sd_configs": test_lightsail.Lightsail(),
        "linode_sd_configs": test_linode.Linode(),
        "msk_sd_configs": test_msk.Msk(),
        "openstack_sd_configs": servers,
        "outscale_sd_configs": test_outscale.Outscale(),
        "ovhcloud_sd_configs": test_ovhcloud.Ovh(),
        "rds_sd_configs": test_rds.Rds(),
        "scaleway_sd_configs": instances,
        "stackit_sd_configs": test_stackit.Stackit(),
        "vultr_sd_configs": test_vultr.Vultr(),
    }


@pytest.mark.parametrize("key", sorted(BY_KEY))
async def test_examples_find_targets(key, known, monkeypatch, tmp_path):
    """Read as a whole configuration, against the fake of the kind; every label that comes is documented."""
    async with serving(known[key]) as api:
        monkeypatch.setattr(hetzner, "HCLOUD", api.url)
        for module in (digitalocean, gce, ionos, linode, vultr):
            monkeypatch.setattr(module, "API", api.url)
        monkeypatch.setitem(ovhcloud.ENDPOINTS, "ovh-eu", api.url)
        monkeypatch.setitem(azure.CLOUDS, "AZUREPUBLICCLOUD", AzureCloud(api.url, api.url))
        monkeypatch.setattr(azure_tokens, "METADATA", api.url)
        monkeypatch.setattr(aws_entry, "service_url", lambda service, region: api.url)
        monkeypatch.setenv("GCE_METADATA_HOST", api.url.removeprefix("http://"))
        text = re.search(r"^```yaml\n(.*?)^```", SECTIONS[key], re.MULTILINE | re.DOTALL)[1]
        text = text.replace("https://keystone.example.com:5000", api.url)
        config = parse(text, str(tmp_path / "test.yml"), discoverers=KINDS)
        ((found, (entry,)),) = config.scrape_configs[0].discovery
        assert found == key
        if key == "scaleway_sd_configs":
            entry = attrs.evolve(entry, api_url=api.url)
        if key in {"outscale_sd_configs", "stackit_sd_configs"}:
            entry = attrs.evolve(entry, endpoint=f"{api.url}/api/v1" if key.startswith("o") else api.url)
        targets = await targets_of(BY_KEY[key], entry)
    assert targets
    has_port = key not in {"elasticache_sd_configs", "ovhcloud_sd_configs"}
    assert all(target["__address__"].endswith(":9100") == has_port for target in targets)
    allowed = documented_labels("ec2_sd_configs" if key == "aws_sd_configs" else key)
    assert [name for target in targets for name in target if not allowed.fullmatch(name)] == []


@pytest.mark.parametrize("key", sorted(BY_KEY))
def test_without_the_plugin_the_message_says_what_to_install(key):
    """The kind is known by name."""
    with pytest.raises(ConfigError, match=rf"{key} needs the plugin cloud-sd: pip install tinyobs-cloud-sd"):
        parse(f"scrape_configs: [{{job_name: x, {key}: [{{port: 1}}]}}]", "test.yml")
