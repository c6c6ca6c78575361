"""Hetzner: servers of the cloud and dedicated servers, page by page, with the labels of Prometheus."""

from __future__ import annotations

import pytest
from cloud_fakes import Answer, FakeApi, playing, read, serving, targets_of
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError, TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd import hetzner
from tinyobs_cloud_sd.hetzner import KIND, HetznerRole, HetznerSdConfig

TOKEN = "LRK9DAWQ1ZAEFSrCNEEzLCUwhYX1U3g7wMg4dTlkkDC96fyDuyJ39nVbVjCKSDfj"
HCLOUD = f"{{role: hcloud, authorization: {{credentials: {TOKEN}}}}}"


def server(number, name, ip, **more):
    return {
        "id": number,
        "name": name,
        "status": "running",
        "public_net": {"ipv4": {"ip": ip}, "ipv6": {"ip": "2001:db8::/64"}},
        "private_net": [],
        "server_type": {"name": "cx11", "cores": 1, "memory": 1.0, "disk": 25, "cpu_type": "shared"},
        "location": {"name": "fsn1", "network_zone": "eu-central"},
        "datacenter": {"name": "fsn1-dc8", "location": {"name": "fsn1", "network_zone": "eu-central"}},
        "image": {
            "name": "ubuntu-20.04",
            "description": "Ubuntu 20.04 Standard 64 bit",
            "os_flavor": "ubuntu",
            "os_version": "20.04",
        },
        "labels": {},
        **more,
    }


FIRST = server(
    42, "my-server", "1.2.3.4", private_net=[{"network": 4711, "ip": "10.0.0.2"}], labels={"my-key": "my-value"}
)


class Cloud(FakeApi):
    """The cloud's interface with two servers a page."""

    def __init__(self, *servers):
        super().__init__({"/servers": self.servers, "/networks": self.networks})
        self.all = list(servers)

    def allowed(self, request):
        return request.headers.get("authorization") == f"Bearer {TOKEN}"

    def servers(self, request):
        if not self.allowed(request):
            return Answer({"error": {"code": "unauthorized", "message": "unable to authenticate"}}, 401)
        page = int(request.params["page"])
        here = self.all[2 * page - 2 : 2 * page]
        following = page + 1 if len(self.all) > 2 * page else None
        return Answer({"servers": here, "meta": {"pagination": {"page": page, "next_page": following}}})

    def networks(self, request):
        return Answer({"networks": [{"id": 4711, "name": "my.net"}], "meta": {"pagination": {"next_page": None}}})


@pytest.fixture
async def cloud(monkeypatch):
    api = Cloud(FIRST, server(44, "b", "1.2.3.5"), server(45, "c", "1.2.3.6", image=None))
    async with serving(api):
        monkeypatch.setattr(hetzner, "HCLOUD", api.url)
        monkeypatch.setattr(hetzner, "ROBOT", api.url)
        yield api


async def test_servers_of_the_cloud_have_these_labels(cloud):
    """All that the interface tells, and the names of private networks in the names of labels."""
    first, _, third = await targets_of(KIND, read(HetznerSdConfig, HCLOUD))
    assert first == {
        "__address__": "1.2.3.4:80",
        "__meta_hetzner_role": "hcloud",
        "__meta_hetzner_server_id": "42",
        "__meta_hetzner_server_name": "my-server",
        "__meta_hetzner_server_status": "running",
        "__meta_hetzner_public_ipv4": "1.2.3.4",
        "__meta_hetzner_public_ipv6_network": "2001:db8::/64",
        "__meta_hetzner_hcloud_image_name": "ubuntu-20.04",
        "__meta_hetzner_hcloud_image_description": "Ubuntu 20.04 Standard 64 bit",
        "__meta_hetzner_hcloud_image_os_flavor": "ubuntu",
        "__meta_hetzner_hcloud_image_os_version": "20.04",
        "__meta_hetzner_hcloud_location": "fsn1",
        "__meta_hetzner_hcloud_location_network_zone": "eu-central",
        "__meta_hetzner_hcloud_datacenter_location": "fsn1",
        "__meta_hetzner_hcloud_datacenter_location_network_zone": "eu-central",
        "__meta_hetzner_hcloud_cpu_cores": "1",
        "__meta_hetzner_hcloud_cpu_type": "shared",
        "__meta_hetzner_hcloud_memory_size_gb": "1",
        "__meta_hetzner_hcloud_disk_size_gb": "25",
        "__meta_hetzner_hcloud_server_type": "cx11",
        "__meta_hetzner_hcloud_private_ipv4_my_net": "10.0.0.2",
        "__meta_hetzner_hcloud_labelpresent_my_key": "true",
        "__meta_hetzner_hcloud_label_my_key": "my-value",
    }
    assert not any("image" in name for name in third)
    assert [r.params.get("per_page") for r in cloud.asked if r.path == "/servers"] == ["50", "50"]


async def test_a_server_without_public_addresses_is_still_found(cloud):
    """With what Prometheus writes for no address, so that relabelling can put a private one in its place."""
    cloud.all = [server(1, "x", "", public_net={"ipv4": None, "ipv6": None}, location=None)]
    (target,) = await targets_of(KIND, read(HetznerSdConfig, HCLOUD))
    assert target["__address__"] == "<nil>:80"
    assert target["__meta_hetzner_public_ipv6_network"] == "<nil>"
    assert target["__meta_hetzner_hcloud_location"] == "fsn1"


async def test_the_selector_goes_to_the_interface(cloud):
    """It chooses, not we."""
    await targets_of(KIND, read(HetznerSdConfig, HCLOUD.replace("role", "label_selector: env=prod, role")))
    assert cloud.asked[0].params["label_selector"] == "env=prod"


async def test_dedicated_servers_have_these_labels(cloud):
    """With basic authentication; the first subnet that is not IPv4 is the IPv6 network."""
    one = {
        "server_ip": "123.123.123.123",
        "server_number": 321,
        "server_name": "server1",
        "product": "DS 3000",
        "dc": "NBG1-DC1",
        "status": "ready",
        "cancelled": False,
        "subnet": [{"ip": "10.0.0.0", "mask": "8"}, {"ip": "2a01:4f8:111:4221::", "mask": "64"}],
    }
    two = {**one, "server_ip": "123.123.123.124", "cancelled": True, "subnet": None}

    def servers(request):
        good = request.headers.get("authorization") == "Basic dTpw"
        return Answer([{"server": one}, {"server": two}]) if good else Answer({"error": {"message": "no"}}, 401)

    cloud.routes["/server"] = servers
    config = read(HetznerSdConfig, "{role: robot, port: 9100, basic_auth: {username: u, password: p}}")
    first, second = await targets_of(KIND, config)
    assert first == {
        "__address__": "123.123.123.123:9100",
        "__meta_hetzner_role": "robot",
        "__meta_hetzner_server_id": "321",
        "__meta_hetzner_server_name": "server1",
        "__meta_hetzner_server_status": "ready",
        "__meta_hetzner_datacenter": "nbg1-dc1",
        "__meta_hetzner_robot_datacenter": "nbg1-dc1",
        "__meta_hetzner_public_ipv4": "123.123.123.123",
        "__meta_hetzner_public_ipv6_network": "2a01:4f8:111:4221::/64",
        "__meta_hetzner_robot_product": "DS 3000",
        "__meta_hetzner_robot_cancelled": "false",
    }
    assert second["__meta_hetzner_robot_cancelled"] == "true"
    assert "__meta_hetzner_public_ipv6_network" not in second


async def test_servers_come_and_go(cloud, mock_clock):
    """What is new is published, what is gone is not there any more, an error changes nothing."""
    async with playing(KIND, read(HetznerSdConfig, HCLOUD), mock_clock) as played:
        assert played.published == [{"hetzner": ["1.2.3.4:80", "1.2.3.5:80", "1.2.3.6:80"]}]
        assert await played.again() is None
        for broken in (Answer({"error": {"message": "slow down"}}, 429), Answer(b"", 503), Answer(b"{", 200)):
            cloud.broken = broken
            assert await played.again() is None
        cloud.broken = None
        cloud.all.append(server(46, "d", "1.2.3.7"))
        assert await played.again() == {"hetzner": ["1.2.3.4:80", "1.2.3.5:80", "1.2.3.6:80", "1.2.3.7:80"]}
        cloud.all.clear()
        assert await played.again() == {"hetzner": []}
        assert played.failures == 3


async def test_an_error_says_what_the_server_said_and_not_the_token(cloud):
    """The operator reads why, and nobody reads the credentials."""
    with pytest.raises(TinyObsError, match=r"401.*unable to authenticate") as e:
        await targets_of(KIND, read(HetznerSdConfig, HCLOUD.replace(TOKEN, "wrong-secret")))
    assert "wrong-secret" not in str(e.value)


async def test_an_answer_of_another_shape_is_an_error(cloud):
    """Not half a list."""
    cloud.all = [{"id": 1, "name": {"not": "a text"}}]
    with pytest.raises(TinyObsError, match="name is not a text"):
        await targets_of(KIND, read(HetznerSdConfig, HCLOUD))


async def test_it_keeps_the_contract(cloud):
    """`check_discoverer` is content."""
    (group,) = await check_discoverer(KIND, read(HetznerSdConfig, HCLOUD))
    assert len(group.targets) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", r"role missing \(one of: robot, hcloud\)"),
        ("{role: cloud}", 'unknown role "cloud"'),
        ("{role: robot, port: 70000}", "must be between 0 and 65535"),
        ("{role: robot, zone: x}", "unknown key 'zone'"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    """At start, with the words of Prometheus where it has some."""
    with pytest.raises(ConfigError, match=message):
        decode_text(HetznerSdConfig, text, "test.yml")


def test_defaults_are_those_of_prometheus():
    """Port 80, each minute."""
    config = HetznerSdConfig(role=HetznerRole.ROBOT)
    assert (config.port, config.refresh_interval_ms, config.label_selector) == (80, 60_000, "")
