"""IONOS Cloud: servers of a data center, with the labels of Prometheus."""

from __future__ import annotations

import pytest
from cloud_fakes import Answer, FakeApi, playing, read, serving, targets_of
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError, TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd import ionos
from tinyobs_cloud_sd.ionos import KIND, IonosSdConfig

CENTER = "8feda53f-15f0-447f-badf-ebe32dad2fc0"
CONFIG = read(IonosSdConfig, f"{{datacenter_id: {CENTER}, basic_auth: {{username: u, password: p}}}}")
PATH = f"/datacenters/{CENTER}/servers"


def nic(name, *ips):
    return {"properties": {"ips": list(ips), **({} if name is None else {"name": name})}}


def server(identity, *nics, volumes=(), **properties):
    return {
        "id": identity,
        "metadata": {"state": "AVAILABLE"},
        "properties": {
            "name": f"server-{identity}",
            "availabilityZone": "ZONE_2",
            "cpuFamily": "INTEL_XEON",
            "vmState": "RUNNING",
            "type": "ENTERPRISE",
            **properties,
        },
        "entities": {"nics": {"items": list(nics)}, "volumes": {"items": list(volumes)}},
    }


class Ionos(FakeApi):
    """The interface."""

    def __init__(self):
        super().__init__({PATH: self.page})
        self.all = [
            server(
                "1",
                nic("metrics", "10.1.10.2"),
                nic(None, "85.215.243.177", "185.56.150.9"),
                volumes=[{"properties": {"image": "image-1"}}],
                bootCdrom={"id": "cdrom-1"},
                bootVolume={"id": "volume-1"},
            ),
            server("none"),
            server("3", nic("a b", "10.1.10.3"), bootCdrom=None, bootVolume=None),
        ]

    def page(self, request):
        if request.headers.get("authorization") != "Basic dTpw":
            return Answer({"httpStatus": 401, "messages": [{"message": "Unauthorized"}]}, 401)
        start, count = int(request.params["offset"]), int(request.params["limit"])
        return Answer({"id": f"{CENTER}/servers", "items": self.all[start : start + count]})


@pytest.fixture
async def api(monkeypatch):
    async with serving(Ionos()) as api:
        monkeypatch.setattr(ionos, "API", api.url)
        yield api


async def test_servers_have_these_labels(api):
    """The last interface has the address; a server without any is no target."""
    first, second = await targets_of(KIND, CONFIG)
    assert first == {
        "__address__": "85.215.243.177:80",
        "__meta_ionos_server_availability_zone": "ZONE_2",
        "__meta_ionos_server_boot_cdrom_id": "cdrom-1",
        "__meta_ionos_server_boot_image_id": "image-1",
        "__meta_ionos_server_boot_volume_id": "volume-1",
        "__meta_ionos_server_cpu_family": "INTEL_XEON",
        "__meta_ionos_server_id": "1",
        "__meta_ionos_server_ip": ",85.215.243.177,185.56.150.9,10.1.10.2,",
        "__meta_ionos_server_lifecycle": "AVAILABLE",
        "__meta_ionos_server_name": "server-1",
        "__meta_ionos_server_nic_ip_metrics": ",10.1.10.2,",
        "__meta_ionos_server_nic_ip_unnamed": ",85.215.243.177,185.56.150.9,",
        "__meta_ionos_server_servers_id": f"{CENTER}/servers",
        "__meta_ionos_server_state": "RUNNING",
        "__meta_ionos_server_type": "ENTERPRISE",
    }
    assert second["__meta_ionos_server_nic_ip_a_b"] == ",10.1.10.3,"
    assert not any("boot" in name for name in second)
    assert api.asked[0].params["depth"] == "3"


async def test_pages_are_read_to_the_end(api, monkeypatch):
    """Until one is not full, or says nothing new."""
    monkeypatch.setattr(ionos, "LIMIT", 2)
    api.all = [server(str(i), nic("n", f"10.0.0.{i}")) for i in range(5)]
    assert len(await targets_of(KIND, CONFIG)) == 5
    assert [r.params["offset"] for r in api.asked] == ["0", "2", "4"]
    api.routes[PATH] = Answer({"id": "x", "items": api.all[:2]})
    assert len(await targets_of(KIND, CONFIG)) == 2


async def test_servers_come_and_go(api, mock_clock):
    """What is gone is not there any more, an error changes nothing."""
    async with playing(KIND, CONFIG, mock_clock) as played:
        api.broken = Answer({"messages": [{"message": "slow down"}]}, 429)
        assert await played.again() is None
        api.broken = None
        del api.all[0]
        assert await played.again() == {"ionos": ["10.1.10.3:80"]}
        assert played.failures == 1


async def test_a_wrong_password_is_an_error(api):
    """That does not show it."""
    with pytest.raises(TinyObsError, match=r"401.*Unauthorized") as e:
        await targets_of(
            KIND, read(IonosSdConfig, f"{{datacenter_id: {CENTER}, basic_auth: {{username: u, password: hidden}}}}")
        )
    assert "hidden" not in str(e.value)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, CONFIG)) == 1


def test_a_data_center_is_needed():
    """With the words of Prometheus."""
    with pytest.raises(ConfigError, match="datacenter id can't be empty"):
        decode_text(IonosSdConfig, "{}", "test.yml")
