"""OpenStack: signing in, the catalogue, and the three roles with the labels of Prometheus."""

from __future__ import annotations

import json

import pytest
from cloud_fakes import Answer, FakeApi, playing, read, serving, targets_of
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError, TinyObsError
from tinyobs.model.secrets import Secret
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd.openstack import KIND, OpenStackSdConfig
from tinyobs_cloud_sd.openstack_identity import OpenStackLogin, sign_in_body, token_url

HYPERVISOR = {
    "id": 1,
    "hypervisor_hostname": "nc14.cloud.com",
    "host_ip": "172.16.70.14",
    "status": "enabled",
    "state": "up",
    "hypervisor_type": "QEMU",
}
TENANT = "fcad67a6189847c4aecfa3c81a05783b"


def instance(identity, *addresses, **more):
    return {
        "id": identity,
        "name": f"name-{identity}",
        "status": "ACTIVE",
        "tenant_id": TENANT,
        "user_id": "9349aff8be7545ac9d2f1d00999a23cd",
        "flavor": {"id": "1"},
        "image": {"id": "f90f6034-2570-4974-8351-6b49732ef2eb"},
        "addresses": {"private": [{"version": 4, "addr": a} for a in addresses]} if addresses else {},
        "metadata": {},
        **more,
    }


class OpenStack(FakeApi):
    """The identity service and all others, at one address; lists with one item a page."""

    def __init__(self):
        super().__init__({"/v3/auth/tokens": self.sign_in})
        self.lists = {}
        self.logins = []
        self.tokens = 0
        self.region = "RegionOne"

    def answer(self, request):
        path = request.path
        if self.broken or path in self.routes:
            return super().answer(request)
        self.asked.append(request)
        if request.headers.get("x-auth-token") != f"token-{self.tokens}":
            return Answer(
                {"error": {"code": 401, "message": "The request you have made requires authentication."}}, 401
            )
        if path not in self.lists:
            return Answer({}, 404)
        items, what = self.lists[path], path.removesuffix("/detail").rpartition("/")[2].removeprefix("os-")
        page = int(request.params.get("marker", "0"))
        answer = {what: items[page : page + 1]}
        if page + 1 < len(items):
            answer[f"{what}_links"] = [{"rel": "next", "href": f"{self.url}{path}?marker={page + 1}"}]
        return Answer(answer)

    def sign_in(self, request):
        self.logins.append(json.loads(request.body)["auth"])
        if "wrong" in request.body.decode():
            return Answer({"error": {"message": "The request you have made requires authentication."}}, 401)
        self.tokens += 1
        services = {"compute": "/compute", "network": "/net", "load-balancer": "/lb/v2.0"}
        catalog = [
            {
                "type": service,
                "endpoints": [
                    {"interface": "internal", "region": self.region, "url": "http://127.0.0.1:9"},
                    {"interface": "public", "region_id": self.region, "url": self.url + path},
                ],
            }
            for service, path in services.items()
        ]
        token = {"catalog": catalog, "expires_at": "2286-11-20T17:46:40.000000Z"}
        return Answer({"token": token}, 201, (("X-Subject-Token", f"token-{self.tokens}"),))

    def config(self, role, more=""):
        text = f"{{role: {role}, region: RegionOne, identity_endpoint: '{self.url}', username: u, password: pw, domain_name: d{more}}}"
        return read(OpenStackSdConfig, text)


@pytest.fixture
async def api():
    async with serving(OpenStack()) as api:
        yield api


async def test_hypervisors_have_these_labels(api):
    """Of all pages."""
    api.lists["/compute/os-hypervisors/detail"] = [HYPERVISOR, {**HYPERVISOR, "id": "uuid", "host_ip": "::1"}]
    first, second = await targets_of(KIND, api.config("hypervisor"))
    assert first == {
        "__address__": "172.16.70.14:80",
        "__meta_openstack_hypervisor_id": "1",
        "__meta_openstack_hypervisor_hostname": "nc14.cloud.com",
        "__meta_openstack_hypervisor_host_ip": "172.16.70.14",
        "__meta_openstack_hypervisor_status": "enabled",
        "__meta_openstack_hypervisor_state": "up",
        "__meta_openstack_hypervisor_type": "QEMU",
    }
    assert second["__address__"] == "[::1]:80"


async def test_instances_have_these_labels(api):
    """A target for each fixed address, with the floating one that leads to it."""
    api.lists = {
        "/compute/servers/detail": [
            instance("none"),
            instance("a", "10.0.0.32", "10.10.10.2"),
            instance("b", "10.0.0.33", flavor={"original_name": "m1.medium"}, image="", metadata={"my env": "prod"}),
            instance("odd", "10.0.0.34", flavor={}),
        ],
        "/net/v2.0/ports": [{"id": "p1", "device_id": "a"}],
        "/net/v2.0/floatingips": [
            {
                "port_id": "p1",
                "fixed_ip_address": "10.0.0.32",
                "tenant_id": TENANT,
                "floating_ip_address": "10.10.10.2",
            },
            {"port_id": None, "fixed_ip_address": None, "tenant_id": TENANT, "floating_ip_address": "10.10.10.3"},
        ],
    }
    first, second = await targets_of(KIND, api.config("instance", ", port: 9100, all_tenants: true"))
    assert first == {
        "__address__": "10.0.0.32:9100",
        "__meta_openstack_address_pool": "private",
        "__meta_openstack_instance_flavor": "1",
        "__meta_openstack_instance_id": "a",
        "__meta_openstack_instance_image": "f90f6034-2570-4974-8351-6b49732ef2eb",
        "__meta_openstack_instance_name": "name-a",
        "__meta_openstack_instance_status": "ACTIVE",
        "__meta_openstack_private_ip": "10.0.0.32",
        "__meta_openstack_project_id": TENANT,
        "__meta_openstack_public_ip": "10.10.10.2",
        "__meta_openstack_user_id": "9349aff8be7545ac9d2f1d00999a23cd",
    }
    assert second["__meta_openstack_instance_flavor"] == "m1.medium"
    assert second["__meta_openstack_tag_my_env"] == "prod"
    assert "__meta_openstack_instance_image" not in second
    assert next(r.params.get("all_tenants") for r in api.asked if "servers" in r.path) == "true"


async def test_load_balancers_have_these_labels(api):
    """Those with a listener for metrics, at its port."""
    balancer = {
        "id": "lb1",
        "name": "one",
        "operating_status": "ONLINE",
        "provisioning_status": "ACTIVE",
        "availability_zone": "az1",
        "vip_address": "10.0.0.32",
        "vip_port_id": "vip-port",
        "provider": "amphora",
        "project_id": TENANT,
        "tags": ["a", "b"],
    }
    api.lists = {
        "/lb/v2.0/lbaas/loadbalancers": [balancer, {**balancer, "id": "lb2"}],
        "/lb/v2.0/lbaas/listeners": [
            {"protocol": "HTTP", "protocol_port": 80, "loadbalancers": [{"id": "lb1"}, {"id": "lb2"}]},
            {"protocol": "PROMETHEUS", "protocol_port": 9273, "loadbalancers": [{"id": "lb1"}]},
        ],
        "/net/v2.0/floatingips": [{"port_id": "vip-port", "floating_ip_address": "192.168.1.2"}],
    }
    (target,) = await targets_of(KIND, api.config("loadbalancer"))
    assert target == {
        "__address__": "10.0.0.32:9273",
        "__meta_openstack_loadbalancer_id": "lb1",
        "__meta_openstack_loadbalancer_name": "one",
        "__meta_openstack_loadbalancer_operating_status": "ONLINE",
        "__meta_openstack_loadbalancer_provisioning_status": "ACTIVE",
        "__meta_openstack_loadbalancer_availability_zone": "az1",
        "__meta_openstack_loadbalancer_floating_ip": "192.168.1.2",
        "__meta_openstack_loadbalancer_vip": "10.0.0.32",
        "__meta_openstack_loadbalancer_provider": "amphora",
        "__meta_openstack_loadbalancer_tags": "a,b",
        "__meta_openstack_project_id": TENANT,
    }


async def test_hypervisors_come_and_go(api, mock_clock):
    """One sign-in for many refreshes, another when the token is refused; an error changes nothing."""
    path = "/compute/os-hypervisors/detail"
    api.lists[path] = [HYPERVISOR]
    async with playing(KIND, api.config("hypervisor"), mock_clock) as played:
        assert played.published == [{"OS_RegionOne": ["172.16.70.14:80"]}]
        api.lists[path] = [HYPERVISOR, {**HYPERVISOR, "host_ip": "172.16.70.13"}]
        assert await played.again() == {"OS_RegionOne": ["172.16.70.14:80", "172.16.70.13:80"]}
        assert len(api.logins) == 1
        api.tokens = 7  # the server takes no token but a new one
        api.lists[path] = []
        assert await played.again() == {"OS_RegionOne": []}
        assert (len(api.logins), played.failures) == (2, 0)
        for status in (403, 429, 500):
            api.broken = Answer({"message": "no"}, status)
            assert await played.again() is None
        assert played.failures == 3


async def test_a_region_that_the_catalogue_has_not_is_an_error(api):
    """Which names what was looked for."""
    api.region = "RegionTwo"
    with pytest.raises(TinyObsError, match="no public endpoint of the service compute in region RegionOne"):
        await targets_of(KIND, api.config("hypervisor"))


async def test_the_login_of_the_environment_is_used_without_an_endpoint(api, monkeypatch):
    """As an `openrc` file sets it; what is missing is said."""
    api.lists["/compute/os-hypervisors/detail"] = [HYPERVISOR]
    config = read(OpenStackSdConfig, "{role: hypervisor, region: RegionOne}")
    with pytest.raises(TinyObsError, match="OS_AUTH_URL is not set"):
        await targets_of(KIND, config)
    monkeypatch.setenv("OS_AUTH_URL", f"{api.url}/v3")
    with pytest.raises(TinyObsError, match="a password or an application credential is needed"):
        await targets_of(KIND, config)
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_ID", "app")
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_SECRET", "s")
    assert len(await targets_of(KIND, config)) == 1
    assert api.logins == [
        {
            "identity": {
                "methods": ["application_credential"],
                "application_credential": {"id": "app", "secret": "s"},
            }
        }
    ]


async def test_a_wrong_password_is_an_error_that_does_not_show_it(api):
    """Nor does the configuration."""
    config = api.config("hypervisor", ", project_id: wrong")
    with pytest.raises(TinyObsError, match=r"401.*requires authentication") as e:
        await targets_of(KIND, config)
    assert "pw" not in str(e.value) + repr(config)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    api.lists["/compute/os-hypervisors/detail"] = [HYPERVISOR]
    assert len(await check_discoverer(KIND, api.config("hypervisor"))) == 1


def test_what_is_sent_to_sign_in():
    """User by name or id, project by id or name in a domain, application credential by name of a user."""
    login = OpenStackLogin(username="u", password=Secret("p"), domain_id="d", project_name="x")
    user = {"name": "u", "domain": {"id": "d"}, "password": "p"}
    assert sign_in_body(login) == {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "x", "domain": {"id": "d"}}},
        }
    }
    login = OpenStackLogin(user_id="1", password=Secret("p"), project_id="y", project_name="x")
    assert sign_in_body(login)["auth"]["scope"] == {"project": {"id": "y"}}
    assert sign_in_body(login)["auth"]["identity"]["password"]["user"] == {"id": "1", "password": "p"}
    login = OpenStackLogin(
        username="u", domain_name="d", application_credential_name="c", application_credential_secret=Secret("s")
    )
    assert sign_in_body(login)["auth"]["identity"]["application_credential"] == {
        "name": "c",
        "secret": "s",
        "user": {"name": "u", "domain": {"name": "d"}},
    }


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        (OpenStackLogin(), "a password or an application credential is needed"),
        (OpenStackLogin(password=Secret("p")), "exactly one of username and userid is needed"),
        (OpenStackLogin(password=Secret("p"), username="u"), "needs exactly one of domain_name and domain_id"),
        (OpenStackLogin(password=Secret("p"), user_id="u", project_name="x"), "a project_name needs domain_name"),
        (OpenStackLogin(application_credential_id="c"), "needs application_credential_secret"),
    ],
)
def test_what_a_login_misses_is_said(login, reason):
    """Before anything is sent."""
    assert reason in " ".join(login.missing())


def test_where_tokens_are():
    """With or without the version; not of version 2."""
    for given in ("http://x", "http://x/", "http://x/v3", "http://x/v3/"):
        assert token_url(given) == "http://x/v3/auth/tokens"
    with pytest.raises(TinyObsError, match="version 3 is needed"):
        token_url("http://x/v2.0/")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"role missing \(one of: instance, hypervisor, loadbalancer\)"),
        ("role: x", 'unknown OpenStack SD role "x"'),
        ("role: instance", "openstack SD configuration requires a region"),
        ("availability: invalid", "unknown availability invalid, must be one of admin, internal or public"),
        ("identity_endpoint: mars", "expected an http or https URL"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    """With the words of Prometheus."""
    with pytest.raises(ConfigError, match=message):
        decode_text(OpenStackSdConfig, f"{{{text}}}", "test.yml")
