"""Linode: instances, their addresses and networks, and the polling of events between full lists."""

from __future__ import annotations

import json

import pytest
from cloud_fakes import Answer, FakeApi, playing, read, serving, targets_of
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd import linode
from tinyobs_cloud_sd.linode import KIND, LinodeSdConfig

TOKEN = "7b2c56dd51edd90952c1b94c472b94b176f20c5c777e376849edd8ad1c6c03bb"
AUTHORIZED = f"authorization: {{credentials: {TOKEN}}}"
LISTS = ["/linode/instances", "/networking/ips", "/networking/ipv6/ranges"]
EVENTS = "/account/events"


def instance(number, *ipv4, ipv6="", **more):
    return {
        "id": number,
        "label": f"exporter-{number}",
        "group": "",
        "status": "running",
        "type": "g6-standard-2",
        "ipv4": list(ipv4),
        "ipv6": ipv6,
        "image": "linode/arch",
        "region": "us-east",
        "specs": {"disk": 81920, "memory": 4096, "vcpus": 2, "gpus": 0, "transfer": 4000},
        "backups": {"enabled": False},
        "hypervisor": "kvm",
        "tags": ["monitoring"],
        **more,
    }


def address(ip, public=True, rdns=None):
    return {"address": ip, "public": public, "rdns": rdns}


class Linode(FakeApi):
    """The interface with two items a page."""

    def __init__(self):
        self.items = {
            "/linode/instances": [
                instance(
                    26838044,
                    "45.33.82.151",
                    "96.126.108.16",
                    "192.168.170.51",
                    "192.168.201.25",
                    ipv6="2600:3c03::f03c:92ff:fe1a:1382/128",
                ),
                instance(2),
                instance(26837992, "66.228.47.103", ipv6="2600:3c03::f03c:92ff:fe1a:fb4c/128", tags=[]),
            ],
            "/networking/ips": [
                address("66.228.47.103", rdns="li328-103.members.linode.com"),
                address("192.168.170.51", public=False),
                address("96.126.108.16", rdns="li365-16.members.linode.com"),
                address("45.33.82.151", rdns="li1028-151.members.linode.com"),
                address("192.168.201.25", public=False, rdns="null"),
                address("2600:3c03::f03c:92ff:fe1a:1382"),
                address("2600:3c03::f03c:92ff:fe1a:fb4c", rdns="six.example"),
            ],
            "/networking/ipv6/ranges": [
                {"range": "2600:3c03:e000:123::", "prefix": 64, "route_target": "2600:3c03::f03c:92ff:fe1a:fb4c"}
            ],
            EVENTS: [],
        }
        super().__init__(dict.fromkeys(self.items, self.page))
        self.reads_events = True

    def page(self, request):
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answer({"errors": [{"reason": "Invalid Token"}]}, 401)
        if request.path == EVENTS and not self.reads_events:
            return Answer({"errors": [{"reason": "Your OAuth token is not authorized"}]}, 401)
        items, page = self.items[request.path], int(request.params["page"])
        return Answer({"data": items[2 * page - 2 : 2 * page], "page": page, "pages": max(1, (len(items) + 1) // 2)})


@pytest.fixture
async def api(monkeypatch):
    async with serving(Linode()) as api:
        monkeypatch.setattr(linode, "API", api.url)
        yield api


async def test_instances_have_these_labels(api):
    """The first public and private addresses with their names, the others in a list; sizes in bytes."""
    first, last = await targets_of(KIND, read(LinodeSdConfig, f"{{{AUTHORIZED}}}"))
    assert first == {
        "__address__": "45.33.82.151:80",
        "__meta_linode_instance_id": "26838044",
        "__meta_linode_instance_label": "exporter-26838044",
        "__meta_linode_image": "linode/arch",
        "__meta_linode_private_ipv4": "192.168.170.51",
        "__meta_linode_public_ipv4": "45.33.82.151",
        "__meta_linode_public_ipv6": "2600:3c03::f03c:92ff:fe1a:1382",
        "__meta_linode_private_ipv4_rdns": "",
        "__meta_linode_public_ipv4_rdns": "li1028-151.members.linode.com",
        "__meta_linode_public_ipv6_rdns": "",
        "__meta_linode_region": "us-east",
        "__meta_linode_type": "g6-standard-2",
        "__meta_linode_status": "running",
        "__meta_linode_tags": ",monitoring,",
        "__meta_linode_group": "",
        "__meta_linode_gpus": "0",
        "__meta_linode_hypervisor": "kvm",
        "__meta_linode_backups": "disabled",
        "__meta_linode_specs_disk_bytes": "85899345920",
        "__meta_linode_specs_memory_bytes": "4294967296",
        "__meta_linode_specs_vcpus": "2",
        "__meta_linode_specs_transfer_bytes": "4194304000",
        "__meta_linode_extra_ips": ",96.126.108.16,192.168.201.25,",
    }
    assert last["__meta_linode_public_ipv6_rdns"] == "six.example"
    assert last["__meta_linode_ipv6_ranges"] == ",2600:3c03:e000:123::/64,"
    assert "__meta_linode_tags" not in last
    assert "__meta_linode_extra_ips" not in last


async def test_the_separator_can_be_another(api):
    """For lists in labels whose items have commas."""
    first, _ = await targets_of(KIND, read(LinodeSdConfig, f"{{tag_separator: '|', {AUTHORIZED}}}"))
    assert first["__meta_linode_extra_ips"] == "|96.126.108.16|192.168.201.25|"


async def test_a_region_is_chosen_by_the_interface(api):
    """The filter is sent with each list."""
    await targets_of(KIND, read(LinodeSdConfig, f"{{region: us-east, {AUTHORIZED}}}"))
    assert {r.headers["x-filter"] for r in api.asked} == {'{"region": "us-east"}'}
    assert {r.params["page_size"] for r in api.asked} == {"500"}


async def test_lists_are_asked_for_only_after_events(api, mock_clock):
    """Between full lists one short question is enough; its time is that of the last refresh."""
    async with playing(KIND, read(LinodeSdConfig, f"{{{AUTHORIZED}}}"), mock_clock) as played:
        assert played.published == [{"Linode": ["45.33.82.151:80", "66.228.47.103:80"]}]
        api.paths()
        del api.items["/linode/instances"][0]
        assert await played.again() is None
        (asked,) = api.asked
        since = json.loads(asked.headers["x-filter"])["created"]["+gte"]
        assert (asked.path, len(since), asked.params["page_size"]) == (EVENTS, 19, "25")
        assert api.paths() == [EVENTS]
        api.items[EVENTS] = [{"id": 1}]
        assert await played.again() == {"Linode": ["66.228.47.103:80"]}
        api.items[EVENTS] = []
        api.paths()
        for _ in range(9):
            await played.again()
        assert api.paths() == [EVENTS] * 9
        await played.again()  # not every change makes an event
        assert set(LISTS) < set(api.paths())


async def test_without_the_right_to_events_everything_is_listed(api, mock_clock):
    """The question is asked once and not again."""
    api.reads_events = False
    async with playing(KIND, read(LinodeSdConfig, f"{{{AUTHORIZED}}}"), mock_clock) as played:
        api.paths()
        await played.again()
        assert EVENTS in api.paths()
        await played.again()
        assert set(api.paths()) == set(LISTS)
        assert played.failures == 0


async def test_errors_are_counted_and_change_nothing(api, mock_clock):
    """A failure of a list in the metric of Prometheus as well."""
    async with playing(KIND, read(LinodeSdConfig, f"{{{AUTHORIZED}}}"), mock_clock) as played:
        api.broken = Answer({"errors": [{"reason": "too many requests"}]}, 429)
        assert await played.again() is None
        api.broken = None
        api.items[EVENTS] = [{"id": 1}]
        api.routes["/networking/ips"] = Answer(b"", 500)
        assert await played.again() is None
        assert played.failures == 2
        assert played.discoverer.statistics().failures_total == 1


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    (group,) = await check_discoverer(KIND, read(LinodeSdConfig, f"{{{AUTHORIZED}}}"))
    assert group.source == "Linode"
