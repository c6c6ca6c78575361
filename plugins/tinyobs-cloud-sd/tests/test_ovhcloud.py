"""OVHcloud: signed requests, virtual and dedicated servers with the labels of Prometheus."""

from __future__ import annotations

import hashlib

import pytest
from cloud_fakes import Answer, FakeApi, playing, read, serving, targets_of
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError, TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer
from tinyobs.testing.services import EPOCH_MS

from tinyobs_cloud_sd.ovhcloud import KIND, OvhcloudSdConfig, addresses

KEYS = "application_key: app, application_secret: sec, consumer_key: con"
AHEAD_SECONDS = 1234
"""How far the fake's clock is ahead."""

VPS = {
    "name": "abc",
    "displayName": "ABC",
    "zone": "zone-1",
    "cluster": "cluster_test",
    "state": "running",
    "netbootMode": "local",
    "memoryLimit": 2048,
    "offerType": "ssd",
    "vcore": 1,
    "model": {
        "name": "vps-value-1-2-40",
        "offer": "VPS abc",
        "datacenter": ["here", "there"],
        "vcore": 2,
        "version": "2019v1",
        "disk": 40,
        "memory": 4096,
        "maximumAdditionnalIp": 16,
    },
}
DEDICATED = {
    "name": "abcde",
    "state": "test",
    "commercialRange": "Advance-1 Gen 2",
    "linkSpeed": 123,
    "rack": "TESTRACK",
    "noIntervention": False,
    "os": "debian11_64",
    "supportLevel": "pro",
    "serverId": 1234,
    "reverse": "abcde-rev",
    "datacenter": "gra3",
}


class Ovh(FakeApi):
    """The interface, which checks each signature."""

    def __init__(self):
        super().__init__()
        self.values = {
            "/vps": ["abc"],
            "/vps/abc": VPS,
            "/vps/abc/ips": ["192.0.2.1", "2001:0db1:0000:0000:0000:0000:0000:0001"],
            "/dedicated/server": ["abcde"],
            "/dedicated/server/abcde": DEDICATED,
            "/dedicated/server/abcde/ips": ["1.2.3.4/32", "2001:db8::/64", "0.0.0.0"],
        }

    def answer(self, request):
        self.asked.append(request)
        if self.broken:
            return self.broken
        time = str(EPOCH_MS // 1000 + AHEAD_SECONDS)
        if request.path == "/auth/time":
            return Answer(int(time))
        text = f"sec+con+GET+{self.url}{request.path}++{request.headers['x-ovh-timestamp']}"
        good = (
            request.headers["x-ovh-signature"] == "$1$" + hashlib.sha1(text.encode()).hexdigest()
            and request.headers["x-ovh-application"] == "app"
            and request.headers["x-ovh-consumer"] == "con"
            and int(request.headers["x-ovh-timestamp"]) >= int(time)
        )
        if not good:
            return Answer({"class": "Client::Forbidden", "message": "Invalid signature"}, 403)
        found = self.values.get(request.path)
        return Answer({"message": "The requested object does not exist"}, 404) if found is None else Answer(found)

    def config(self, service="vps", keys=KEYS):
        return read(OvhcloudSdConfig, f"{{service: {service}, endpoint: '{self.url}', {keys}}}")


@pytest.fixture
async def api():
    async with serving(Ovh()) as api:
        yield api


async def test_virtual_servers_have_these_labels(api):
    """The address has no port; relabelling gives it one."""
    (target,) = await targets_of(KIND, api.config())
    assert target == {
        "__address__": "192.0.2.1",
        "instance": "abc",
        "__meta_ovhcloud_vps_cluster": "cluster_test",
        "__meta_ovhcloud_vps_datacenter": "[here there]",
        "__meta_ovhcloud_vps_disk": "40",
        "__meta_ovhcloud_vps_display_name": "ABC",
        "__meta_ovhcloud_vps_ipv4": "192.0.2.1",
        "__meta_ovhcloud_vps_ipv6": "2001:db1::1",
        "__meta_ovhcloud_vps_maximum_additional_ip": "16",
        "__meta_ovhcloud_vps_memory": "4096",
        "__meta_ovhcloud_vps_memory_limit": "2048",
        "__meta_ovhcloud_vps_model_name": "vps-value-1-2-40",
        "__meta_ovhcloud_vps_model_vcore": "2",
        "__meta_ovhcloud_vps_name": "abc",
        "__meta_ovhcloud_vps_netboot_mode": "local",
        "__meta_ovhcloud_vps_offer": "VPS abc",
        "__meta_ovhcloud_vps_offer_type": "ssd",
        "__meta_ovhcloud_vps_state": "running",
        "__meta_ovhcloud_vps_vcore": "1",
        "__meta_ovhcloud_vps_version": "2019v1",
        "__meta_ovhcloud_vps_zone": "zone-1",
    }


async def test_dedicated_servers_have_these_labels(api):
    """Networks are not their addresses."""
    (target,) = await targets_of(KIND, api.config("dedicated_server"))
    assert target == {
        "__address__": "1.2.3.4",
        "instance": "abcde",
        "__meta_ovhcloud_dedicated_server_commercial_range": "Advance-1 Gen 2",
        "__meta_ovhcloud_dedicated_server_datacenter": "gra3",
        "__meta_ovhcloud_dedicated_server_ipv4": "1.2.3.4",
        "__meta_ovhcloud_dedicated_server_ipv6": "",
        "__meta_ovhcloud_dedicated_server_link_speed": "123",
        "__meta_ovhcloud_dedicated_server_name": "abcde",
        "__meta_ovhcloud_dedicated_server_no_intervention": "false",
        "__meta_ovhcloud_dedicated_server_os": "debian11_64",
        "__meta_ovhcloud_dedicated_server_rack": "TESTRACK",
        "__meta_ovhcloud_dedicated_server_reverse": "abcde-rev",
        "__meta_ovhcloud_dedicated_server_server_id": "1234",
        "__meta_ovhcloud_dedicated_server_state": "test",
        "__meta_ovhcloud_dedicated_server_support_level": "pro",
    }


async def test_servers_come_and_go(api, mock_clock):
    """One that is gone between the questions is left out; an error of a single one changes nothing."""
    async with playing(KIND, api.config(), mock_clock) as played:
        api.values |= {"/vps": ["abc", "new", "gone", "bare"], "/vps/new": {**VPS, "name": "new"}, "/vps/bare": VPS}
        api.values |= {"/vps/new/ips": ["2001:db8::7"], "/vps/bare/ips": ["0.0.0.0"]}
        assert await played.again() == {"ovhcloud_vps": ["192.0.2.1", "2001:db8::7"]}
        api.broken = Answer({"message": "later"}, 429)
        assert await played.again() is None
        api.broken = None
        api.values["/vps/new"] = {"name": ["not a text"]}
        assert await played.again() is None
        api.values["/vps"] = []
        assert await played.again() == {"ovhcloud_vps": []}
        assert played.failures == 2


async def test_a_wrong_secret_is_an_error(api):
    """That does not show it."""
    with pytest.raises(TinyObsError, match=r"403.*Invalid signature") as e:
        await targets_of(KIND, api.config(keys="application_key: app, application_secret: hidden, consumer_key: con"))
    assert "hidden" not in str(e.value)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, api.config())) == 1


def test_what_is_no_address_is_an_error():
    """The list is not to be trusted then."""
    assert addresses(["1.2.3.4", "1.2.3.5/32", "::2"]) == ("1.2.3.5", "::2")
    with pytest.raises(TinyObsError, match="is no IP address"):
        addresses(["x"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{KEYS}", "unknown service: "),
        (f"service: x, {KEYS}", "unknown service: x"),
        ("service: vps", "application key can not be empty"),
        ("service: vps", "application secret can not be empty"),
        ("service: vps", "consumer key can not be empty"),
        (f"endpoint: '', {KEYS}", "endpoint can not be empty"),
        (f"endpoint: mars, {KEYS}", "unknown endpoint 'mars'"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    """With the words of Prometheus."""
    with pytest.raises(ConfigError) as e:
        decode_text(OvhcloudSdConfig, f"{{{text}}}", "test.yml")
    assert message in str(e.value)
