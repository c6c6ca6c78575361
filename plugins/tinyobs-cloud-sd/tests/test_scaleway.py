"""Scaleway: instances and bare metal, page by page, with the labels of Prometheus."""

from __future__ import annotations

import pytest
from cloud_fakes import Answer, FakeApi, playing, read, serving, targets_of
from tinyobs.config.decoder import decode_text
from tinyobs.config.encoder import to_plain, to_yaml
from tinyobs.errors import ConfigError, TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd.scaleway import KIND, ScalewaySdConfig

PROJECT = "8feda53f-15f0-447f-badf-ebe32dad2fc0"
SECRET = "6d6579e5-a5b9-49fc-a35f-b4feb9b87301"
SERVERS = "/instance/v1/zones/fr-par-1/servers"


def config(api, secret=f"secret_key: {SECRET}", role="instance", more=""):
    text = f"{{role: {role}, project_id: {PROJECT}, access_key: SCW0W8NG6024YHRJ7723, {secret}, api_url: '{api.url}' {more}}}"
    return read(ScalewaySdConfig, text)


def instance(name, **more):
    return {
        "id": f"id-{name}",
        "name": name,
        "commercial_type": "DEV1-S",
        "boot_type": "local",
        "organization": "cb334986-b054-4725-9d3a-40850fdc6015",
        "project": "cb334986-b054-4725-9d5a-30850fdc6015",
        "hostname": f"host-{name}",
        "image": {"id": "45a86b35", "name": "Ubuntu 18.04 Bionic Beaver", "arch": "x86_64"},
        "tags": [],
        "state": "running",
        "public_ip": None,
        "ipv6": None,
        "private_ip": None,
        "security_group": {"id": "a6a794b7", "name": "Default security group"},
        "location": {"cluster_id": "40", "hypervisor_id": "1601", "node_id": "29"},
        "zone": "fr-par-1",
        **more,
    }


class Scaleway(FakeApi):
    """The interface; lists by path."""

    def __init__(self):
        super().__init__()
        self.items = {}
        self.secret = SECRET

    def answer(self, request):
        self.asked.append(request)
        if self.broken:
            return self.broken
        if request.headers.get("x-auth-token") != self.secret:
            return Answer({"type": "denied_authentication", "message": "authentication is denied"}, 401)
        if request.path not in self.items:
            return Answer({}, 404)
        size = int(request.params.get("per_page") or request.params["page_size"])
        page = int(request.params["page"])
        what = request.path.rpartition("/")[2]
        items = self.items[request.path]
        return Answer({what: items[size * (page - 1) : size * page], "total_count": len(items)})


@pytest.fixture
async def api():
    async with serving(Scaleway()) as api:
        yield api


async def test_instances_have_these_labels(api):
    """The private address goes first, then the public ones; without any there is no target."""
    api.items[SERVERS] = [
        instance("a", private_ip="10.70.60.57", ipv6={"address": "2001:bc8:630:1e1c::1"}, tags=["x", "y"]),
        instance(
            "b",
            zone="nl-ams-1",
            public_ip={"address": "51.158.183.115"},
            public_ips=[
                {"address": "51.158.183.115", "family": "inet"},
                {"address": "2001:bc8:1640:1568:dc00:ff:fe21:91b", "family": "inet6"},
            ],
        ),
        instance("c"),
        instance("d", image=None, location=None, security_group=None, public_ips=[{"address": "2001:db8::1", "family": "inet6"}]),
    ]  # fmt: skip
    first, second, last = await targets_of(KIND, config(api))
    assert first == {
        "__address__": "10.70.60.57:80",
        "__meta_scaleway_instance_boot_type": "local",
        "__meta_scaleway_instance_hostname": "host-a",
        "__meta_scaleway_instance_id": "id-a",
        "__meta_scaleway_instance_image_arch": "x86_64",
        "__meta_scaleway_instance_image_id": "45a86b35",
        "__meta_scaleway_instance_image_name": "Ubuntu 18.04 Bionic Beaver",
        "__meta_scaleway_instance_location_cluster_id": "40",
        "__meta_scaleway_instance_location_hypervisor_id": "1601",
        "__meta_scaleway_instance_location_node_id": "29",
        "__meta_scaleway_instance_name": "a",
        "__meta_scaleway_instance_organization_id": "cb334986-b054-4725-9d3a-40850fdc6015",
        "__meta_scaleway_instance_private_ipv4": "10.70.60.57",
        "__meta_scaleway_instance_project_id": "cb334986-b054-4725-9d5a-30850fdc6015",
        "__meta_scaleway_instance_public_ipv6": "2001:bc8:630:1e1c::1",
        "__meta_scaleway_instance_region": "fr-par",
        "__meta_scaleway_instance_security_group_id": "a6a794b7",
        "__meta_scaleway_instance_security_group_name": "Default security group",
        "__meta_scaleway_instance_status": "running",
        "__meta_scaleway_instance_tags": ",x,y,",
        "__meta_scaleway_instance_type": "DEV1-S",
        "__meta_scaleway_instance_zone": "fr-par-1",
    }
    assert second["__address__"] == "51.158.183.115:80"
    assert second["__meta_scaleway_instance_region"] == "nl-ams"
    assert second["__meta_scaleway_instance_public_ipv4"] == "51.158.183.115"
    assert second["__meta_scaleway_instance_public_ipv4_addresses"] == ",51.158.183.115,"
    assert second["__meta_scaleway_instance_public_ipv6_addresses"] == ",2001:bc8:1640:1568:dc00:ff:fe21:91b,"
    assert last["__address__"] == "[2001:db8::1]:80"
    assert not any(word in name for name in last for word in ("image", "location", "security"))


async def test_bare_metal_has_a_target_for_each_address(api):
    """With the names that stand behind the ids of offers and operating systems."""
    base = "/baremetal/v1/zones/fr-par-2/"
    api.items = {
        base + "servers": [
            {
                "id": "1",
                "name": "metal",
                "zone": "fr-par-2",
                "status": "ready",
                "offer_id": "o1",
                "tags": ["t"],
                "install": {"os_id": "s1"},
                "ips": [{"address": "51.1.1.1", "version": "IPv4"}, {"address": "2001:db8::9", "version": "IPv6"}],
            },
            {"id": "2", "name": "bare", "zone": "fr-par-2", "status": "ready", "offer_id": "?", "ips": []},
        ],
        base + "offers": [{"id": "o0", "name": "no"}, {"id": "o1", "name": "EM-A210R-HDD"}],
        base + "os": [{"id": "s1", "name": "Ubuntu", "version": "22.04"}],
    }
    more = ", zone: fr-par-2, port: 9100, name_filter: m, tags_filter: [a, b]"
    first, second = await targets_of(KIND, config(api, role="baremetal", more=more))
    assert first == {
        "__address__": "51.1.1.1:9100",
        "__meta_scaleway_baremetal_id": "1",
        "__meta_scaleway_baremetal_ip_is_public": "true",
        "__meta_scaleway_baremetal_ip_version": "IPv4",
        "__meta_scaleway_baremetal_name": "metal",
        "__meta_scaleway_baremetal_os_name": "Ubuntu",
        "__meta_scaleway_baremetal_os_version": "22.04",
        "__meta_scaleway_baremetal_status": "ready",
        "__meta_scaleway_baremetal_tags": ",t,",
        "__meta_scaleway_baremetal_type": "EM-A210R-HDD",
        "__meta_scaleway_baremetal_zone": "fr-par-2",
    }
    assert second["__address__"] == "[2001:db8::9]:9100"
    asked = api.asked[0].params
    assert (asked["project_id"], asked["name"], asked["tags"]) == (PROJECT, "m", "a,b")


async def test_lists_are_read_to_the_end(api):
    """A page that is not full is the last; the filters go to the interface."""
    api.items[SERVERS] = [instance(str(i), private_ip=f"10.0.0.{i}") for i in range(201)]
    assert len(await targets_of(KIND, config(api, more=", name_filter: n, tags_filter: [a, b]"))) == 201
    assert [r.params["page"] for r in api.asked] == ["1", "2", "3"]
    assert (api.asked[0].params["name"], api.asked[0].params["tags"]) == ("n", "a,b")


async def test_a_key_in_a_file_is_read_again(api, tmp_path, mock_clock):
    """A new key needs no reload; errors change nothing."""
    file = tmp_path / "key"
    file.write_text(SECRET + "\n")
    api.items[SERVERS] = [instance("a", private_ip="10.0.0.1")]
    async with playing(KIND, config(api, f"secret_key_file: {file}"), mock_clock) as played:
        assert played.published == [{"scaleway": ["10.0.0.1:80"]}]
        api.secret = SECRET[::-1]
        assert await played.again() is None
        file.write_text(SECRET[::-1])
        api.items[SERVERS] = []
        assert await played.again() == {"scaleway": []}
        api.broken = Answer({}, 503)
        assert await played.again() is None
        assert played.failures == 2


async def test_the_secret_is_never_shown(api):
    """Neither in errors nor in the configuration as it is printed."""
    api.secret = "another"
    with pytest.raises(TinyObsError, match=r"401.*authentication is denied") as e:
        await targets_of(KIND, config(api))
    assert SECRET not in str(e.value) + repr(config(api)) + to_yaml(to_plain(config(api)))


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    api.items[SERVERS] = [instance("a", private_ip="10.0.0.1")]
    assert len(await check_discoverer(KIND, config(api))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"role missing \(one of: instance, baremetal\)"),
        ("role: x", 'unknown role "x"'),
        ("role: instance", "project_id is mandatory"),
        ("role: instance", "access_key is mandatory"),
        ("role: instance", "one of secret_key & secret_key_file must be configured"),
        ("secret_key: a, secret_key_file: b", "at most one of secret_key & secret_key_file must be configured"),
        ("secret_key: tellnobody", "secret_key is not a UUID"),
        ("project_id: x", "project_id is not a UUID"),
        ("zone: mars", '"mars" is not a zone like fr-par-1'),
    ],
)
def test_what_is_wrong_is_said(text, message):
    """At start, without the secret."""
    with pytest.raises(ConfigError, match=message) as e:
        decode_text(ScalewaySdConfig, f"{{{text}}}", "test.yml")
    assert "tellnobody" not in str(e.value)
