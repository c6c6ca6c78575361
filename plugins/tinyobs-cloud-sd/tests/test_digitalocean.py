"""DigitalOcean: droplets and databases, page by page, with the labels of Prometheus."""

from __future__ import annotations

import pytest
from cloud_fakes import Answer, FakeApi, playing, read, serving, targets_of
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError, TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd import digitalocean
from tinyobs_cloud_sd.digitalocean import KIND, DigitalOceanSdConfig

TOKEN = "3c9a75a2-24fd-4508-b4f2-11f18aa97411"
AUTHORIZED = f"authorization: {{credentials: {TOKEN}}}"


def droplet(number, *networks, v6=(), **more):
    return {
        "id": number,
        "name": f"d{number}",
        "status": "active",
        "features": ["backups", "ipv6", "virtio"],
        "image": {"name": "14.04 x64", "slug": "ubuntu-16-04-x64"},
        "size_slug": "s-1vcpu-1gb",
        "networks": {
            "v4": [{"ip_address": ip, "type": kind} for ip, kind in networks],
            "v6": [{"ip_address": ip, "type": "public"} for ip in v6],
        },
        "region": {"slug": "nyc3"},
        "tags": ["monitor", "web"],
        "vpc_uuid": "f9b0769c-e118-42fb-a0c4-fed15ef69662",
        **more,
    }


class DigitalOcean(FakeApi):
    """The interface with two items a page."""

    def __init__(self):
        super().__init__({f"/{what}": self.page for what in ("droplets", "databases")})
        self.items = {"droplets": [], "databases": []}

    def page(self, request):
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answer({"id": "Unauthorized", "message": "Unable to authenticate you"}, 401)
        what, page = request.path[1:], int(request.params["page"])
        everything = self.items[what]
        answer = {what: everything[2 * page - 2 : 2 * page], "meta": {"total": len(everything)}}
        if len(everything) > 2 * page:
            answer["links"] = {"pages": {"next": f"https://api.digitalocean.com/v2/{what}?page={page + 1}"}}
        return Answer(answer, 202)


@pytest.fixture
async def api(monkeypatch):
    async with serving(DigitalOcean()) as api:
        monkeypatch.setattr(digitalocean, "API", api.url)
        yield api


async def test_droplets_have_these_labels(api):
    """The first network of each kind counts; one without IPv4 is left out."""
    api.items["droplets"] = [
        droplet(3164444, ("104.236.32.182", "public"), v6=["2604:A880:0800:0010:0000:0000:02DD:4001"]),
        droplet(2),
        droplet(
            176011507,
            ("138.65.56.69", "public"),
            ("154.245.26.111", "public"),
            ("10.135.64.212", "private"),
            tags=[],
            features=None,
        ),
    ]
    first, last = await targets_of(KIND, read(DigitalOceanSdConfig, f"{{{AUTHORIZED}}}"))
    assert first == {
        "__address__": "104.236.32.182:80",
        "__meta_digitalocean_droplet_id": "3164444",
        "__meta_digitalocean_droplet_name": "d3164444",
        "__meta_digitalocean_image": "ubuntu-16-04-x64",
        "__meta_digitalocean_image_name": "14.04 x64",
        "__meta_digitalocean_private_ipv4": "",
        "__meta_digitalocean_public_ipv4": "104.236.32.182",
        "__meta_digitalocean_public_ipv6": "2604:A880:0800:0010:0000:0000:02DD:4001",
        "__meta_digitalocean_region": "nyc3",
        "__meta_digitalocean_size": "s-1vcpu-1gb",
        "__meta_digitalocean_status": "active",
        "__meta_digitalocean_vpc": "f9b0769c-e118-42fb-a0c4-fed15ef69662",
        "__meta_digitalocean_features": ",backups,ipv6,virtio,",
        "__meta_digitalocean_tags": ",monitor,web,",
    }
    assert last["__address__"] == "138.65.56.69:80"
    assert last["__meta_digitalocean_private_ipv4"] == "10.135.64.212"
    assert not {"__meta_digitalocean_features", "__meta_digitalocean_tags"} & set(last)
    assert api.paths() == ["/droplets", "/droplets"]


async def test_databases_have_these_labels(api):
    """The private host goes before the public one; a cluster without host is left out."""
    api.items["databases"] = [
        {
            "id": "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30",
            "name": "trading",
            "engine": "pg",
            "version": "16",
            "status": "online",
            "region": "fra1",
            "size": "db-s-1vcpu-2gb",
            "num_nodes": 1,
            "connection": {"host": "public-host"},
            "tags": ["prod", "market"],
        },
        {"id": "b", "connection": {"host": "public"}, "private_connection": {"host": "private"}, "num_nodes": 2},
        {"id": "c"},
    ]
    first, second = await targets_of(KIND, read(DigitalOceanSdConfig, f"{{role: databases, port: 9273, {AUTHORIZED}}}"))
    assert first == {
        "__address__": "public-host:9273",
        "__meta_digitalocean_db_id": "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30",
        "__meta_digitalocean_db_name": "trading",
        "__meta_digitalocean_db_engine": "pg",
        "__meta_digitalocean_db_version": "16",
        "__meta_digitalocean_db_status": "online",
        "__meta_digitalocean_db_region": "fra1",
        "__meta_digitalocean_db_size": "db-s-1vcpu-2gb",
        "__meta_digitalocean_db_num_nodes": "1",
        "__meta_digitalocean_db_host": "public-host",
        "__meta_digitalocean_db_tag_prod": "true",
        "__meta_digitalocean_db_tag_market": "true",
    }
    assert second["__address__"] == "private:9273"
    assert second["__meta_digitalocean_db_host"] == "public"
    assert second["__meta_digitalocean_db_private_host"] == "private"


async def test_an_interface_without_pages_ends_the_list(api):
    """One that gives the same full list for every page is asked twice, not for ever."""
    full = [droplet(i, (f"10.0.0.{i}", "public")) for i in range(100)]
    api.routes["/droplets"] = Answer({"droplets": full})
    assert len(await targets_of(KIND, read(DigitalOceanSdConfig, f"{{{AUTHORIZED}}}"))) == 100
    assert len(api.asked) == 2


async def test_droplets_come_and_go(api, mock_clock):
    """What is new is published, what is gone is not there any more, an error changes nothing."""
    api.items["droplets"] = [droplet(1, ("10.0.0.1", "public"))]
    async with playing(KIND, read(DigitalOceanSdConfig, f"{{{AUTHORIZED}}}"), mock_clock) as played:
        api.broken = Answer({"id": "too_many_requests"}, 429)
        assert await played.again() is None
        api.broken = None
        api.items["droplets"].append(droplet(2, ("10.0.0.2", "public")))
        assert await played.again() == {"DigitalOcean": ["10.0.0.1:80", "10.0.0.2:80"]}
        del api.items["droplets"][0]
        assert await played.again() == {"DigitalOcean": ["10.0.0.2:80"]}
        assert played.failures == 1


async def test_a_wrong_token_is_an_error(api):
    """With the reason of the interface and without the token."""
    with pytest.raises(TinyObsError, match=r"401.*Unable to authenticate you") as e:
        await targets_of(KIND, read(DigitalOceanSdConfig, "{authorization: {credentials: hidden}}"))
    assert "hidden" not in str(e.value)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    api.items["droplets"] = [droplet(1, ("10.0.0.1", "public"))]
    assert len(await check_discoverer(KIND, read(DigitalOceanSdConfig, f"{{{AUTHORIZED}}}"))) == 1


def test_roles_that_there_are_not_are_refused():
    """Droplets are the default."""
    with pytest.raises(ConfigError, match='unknown DigitalOcean SD role "volumes"'):
        decode_text(DigitalOceanSdConfig, "{role: volumes}", "test.yml")
    with pytest.raises(ConfigError, match=r"role missing \(one of: droplets, databases\)"):
        decode_text(DigitalOceanSdConfig, "{role: ''}", "test.yml")
    assert DigitalOceanSdConfig().role.value == "droplets"
