"""Vultr: instances page by page, with the labels of Prometheus."""

from __future__ import annotations

import pytest
from cloud_fakes import Answer, FakeApi, playing, read, serving, targets_of
from tinyobs.errors import TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd import vultr
from tinyobs_cloud_sd.vultr import KIND, VultrSdConfig

TOKEN = "vultr-token"
CONFIG = read(VultrSdConfig, f"{{authorization: {{credentials: {TOKEN}}}}}")


def instance(identity, ip, **more):
    return {
        "id": identity,
        "os": "Ubuntu 20.04 x64",
        "os_id": 387,
        "ram": 2048,
        "disk": 55,
        "main_ip": ip,
        "vcpu_count": 1,
        "region": "atl",
        "plan": "vc2-1c-2gb",
        "allowed_bandwidth": 1000,
        "v6_main_ip": "2001:db8::1",
        "internal_ip": "10.1.112.5",
        "hostname": "host-1",
        "label": "web",
        "server_status": "ok",
        "features": ["ipv6", "backups"],
        "tags": ["a"],
        **more,
    }


class Vultr(FakeApi):
    """The interface with one instance a page."""

    def __init__(self):
        super().__init__({"/instances": self.page})
        self.all = [instance("1", "149.28.234.27"), instance("2", "45.63.1.222", features=[], tags=None)]

    def page(self, request):
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answer({"error": "Invalid API token.", "status": 401}, 401)
        page = int(request.params.get("cursor", "0"))
        following = str(page + 1) if page + 1 < len(self.all) else ""
        meta = {"total": len(self.all), "links": {"next": following, "prev": ""}}
        return Answer({"instances": self.all[page : page + 1], "meta": meta})


@pytest.fixture
async def api(monkeypatch):
    async with serving(Vultr()) as api:
        monkeypatch.setattr(vultr, "API", api.url)
        yield api


async def test_instances_have_these_labels(api):
    """Of all pages."""
    first, second = await targets_of(KIND, CONFIG)
    assert first == {
        "__address__": "149.28.234.27:80",
        "__meta_vultr_instance_id": "1",
        "__meta_vultr_instance_label": "web",
        "__meta_vultr_instance_os": "Ubuntu 20.04 x64",
        "__meta_vultr_instance_os_id": "387",
        "__meta_vultr_instance_region": "atl",
        "__meta_vultr_instance_plan": "vc2-1c-2gb",
        "__meta_vultr_instance_main_ip": "149.28.234.27",
        "__meta_vultr_instance_main_ipv6": "2001:db8::1",
        "__meta_vultr_instance_internal_ip": "10.1.112.5",
        "__meta_vultr_instance_features": ",ipv6,backups,",
        "__meta_vultr_instance_tags": ",a,",
        "__meta_vultr_instance_hostname": "host-1",
        "__meta_vultr_instance_server_status": "ok",
        "__meta_vultr_instance_vcpu_count": "1",
        "__meta_vultr_instance_ram_mb": "2048",
        "__meta_vultr_instance_allowed_bandwidth_gb": "1000",
        "__meta_vultr_instance_disk_gb": "55",
    }
    assert not {"__meta_vultr_instance_features", "__meta_vultr_instance_tags"} & set(second)
    assert [r.params["per_page"] for r in api.asked] == ["100", "100"]


async def test_instances_come_and_go(api, mock_clock):
    """What is gone is not there any more, an error changes nothing."""
    async with playing(KIND, CONFIG, mock_clock) as played:
        api.broken = Answer({"error": "slow down"}, 429)
        assert await played.again() is None
        api.broken = None
        del api.all[0]
        assert await played.again() == {"Vultr": ["45.63.1.222:80"]}
        assert played.failures == 1


async def test_a_wrong_token_is_an_error(api):
    """With the reason of the interface and without the token."""
    with pytest.raises(TinyObsError, match=r"401.*Invalid API token") as e:
        await targets_of(KIND, read(VultrSdConfig, "{authorization: {credentials: hidden}}"))
    assert "hidden" not in str(e.value)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, CONFIG)) == 1
