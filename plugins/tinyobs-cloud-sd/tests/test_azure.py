"""Azure: machines of a subscription and of its scale sets, their interfaces, and ways to a token."""

from __future__ import annotations

import pytest
from cloud_fakes import Answer, FakeApi, playing, read, serving, targets_of
from tinyobs.cloud_auth import azure_tokens
from tinyobs.cloud_auth.azure_tokens import AzureCloud
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError, TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd import azure
from tinyobs_cloud_sd.azure import KIND, AzureSdConfig
from tinyobs_cloud_sd.azure_answers import ResourceId

SUB = "/subscriptions/11AAAA11-A11A-111A-A111-1111A1111A11"
COMPUTE = "/providers/Microsoft.Compute"
GROUP = f"{SUB}/resourceGroups/{{group}}"
OAUTH = "tenant_id: my-tenant, client_id: my-client, client_secret: my-secret"
SUBSCRIPTION = f"subscription_id: {SUB.rpartition('/')[2]}"
CONFIG = read(AzureSdConfig, f"{{{SUBSCRIPTION}, {OAUTH}}}")


def nic_id(name):
    return f"{SUB}/resourceGroups/nics/providers/Microsoft.Network/networkInterfaces/{name}"


def machine(name, *nics, group="rg", **more):
    return {
        "id": f"{SUB}/resourceGroups/{group}{COMPUTE}/virtualMachines/{name}",
        "name": name,
        "type": "Microsoft.Compute/virtualMachines",
        "location": "westeurope",
        "tags": {"my tag": "x"},
        "properties": {
            "osProfile": {"computerName": f"{name}-host"},
            "storageProfile": {"osDisk": {"osType": "Linux"}},
            "hardwareProfile": {"vmSize": "Standard_B2s"},
            "networkProfile": {"networkInterfaces": [{"id": nic_id(n)} for n in nics]},
        },
        **more,
    }


def interface(private, public="", **properties):
    ip = {"privateIPAddress": private}
    if public:
        ip["publicIPAddress"] = {"properties": {"ipAddress": public}}
    return {"properties": {"primary": True, "ipConfigurations": [{"properties": ip}], **properties}}


class Azure(FakeApi):
    """The resource manager, the sign-in and the metadata service, all at one address."""

    def __init__(self):
        super().__init__()
        self.machines = [machine("a", "nic-a")]
        self.scale_sets = []
        self.in_scale_set = []
        self.interfaces = {"nic-a": interface("10.0.0.4", "20.1.2.3")}
        self.tokens = 0
        self.sign_ins = []

    def answer(self, request):
        self.asked.append(request)
        if self.broken:
            return self.broken
        path = request.path
        if path == "/my-tenant/oauth2/v2.0/token":
            self.sign_ins.append(request.form)
            if request.form.get("client_secret", "my-secret") != "my-secret":
                return Answer({"error": "invalid_client", "error_description": "AADSTS7000215: wrong"}, 401)
            return self.token()
        if path in ("/metadata/identity/oauth2/token", "/msi"):
            self.sign_ins.append(
                dict(request.params, header=request.headers.get("metadata") or request.headers["x-identity-header"])
            )
            return self.token()
        if request.headers.get("authorization") != f"Bearer token-{self.tokens}":
            return Answer({"error": {"code": "InvalidAuthenticationToken", "message": "bad token"}}, 401)
        return self.manage(request)

    def token(self):
        self.tokens += 1
        return Answer({"access_token": f"token-{self.tokens}", "expires_in": 3600})

    def manage(self, request):
        last = request.path.rpartition("/")[2]
        if "/networkInterfaces/" in request.path:
            found = self.interfaces.get(last)
            return Answer(found) if found else Answer({"error": {"message": "gone"}}, 404)
        if last == "virtualMachines" and "/virtualMachineScaleSets/" in request.path:
            return Answer({"value": self.in_scale_set})
        if last == "virtualMachineScaleSets":
            return Answer({"value": self.scale_sets})
        page = int(request.params.get("page", "0"))
        answer = {"value": self.machines[page : page + 1]}
        if page + 1 < len(self.machines):
            answer["nextLink"] = f"{self.url}{request.path}?api-version=1&page={page + 1}"
        return Answer(answer)


@pytest.fixture
async def api(monkeypatch):
    async with serving(Azure()) as api:
        monkeypatch.setitem(azure.CLOUDS, "AZUREPUBLICCLOUD", AzureCloud(api.url, api.url))
        monkeypatch.setattr(azure_tokens, "METADATA", api.url)
        monkeypatch.delenv("AZURE_POD_IDENTITY_AUTHORITY_HOST")
        yield api


async def test_machines_have_these_labels(api):
    """With both addresses of the primary interface."""
    (target,) = await targets_of(KIND, CONFIG)
    assert target == {
        "__address__": "10.0.0.4:80",
        "__meta_azure_subscription_id": "11AAAA11-A11A-111A-A111-1111A1111A11",
        "__meta_azure_tenant_id": "my-tenant",
        "__meta_azure_machine_id": f"{SUB}/resourceGroups/rg{COMPUTE}/virtualMachines/a",
        "__meta_azure_machine_resource_group": "rg",
        "__meta_azure_machine_name": "a",
        "__meta_azure_machine_computer_name": "a-host",
        "__meta_azure_machine_os_type": "Linux",
        "__meta_azure_machine_location": "westeurope",
        "__meta_azure_machine_private_ip": "10.0.0.4",
        "__meta_azure_machine_public_ip": "20.1.2.3",
        "__meta_azure_machine_size": "Standard_B2s",
        "__meta_azure_machine_tag_my_tag": "x",
    }
    (nic,) = [r for r in api.asked if "networkInterfaces" in r.path]
    assert nic.params["$expand"] == "IPConfigurations/PublicIPAddress"


async def test_machines_of_scale_sets_are_found(api):
    """Their interfaces are asked for by the scale set and the number of the machine."""
    api.machines = []
    name = "the-set"
    api.scale_sets = [{"id": f"{SUB}/resourceGroups/sets{COMPUTE}/virtualMachineScaleSets/{name}", "name": name}]
    api.in_scale_set = [machine("the-set_3", "nic-a", group="sets", instanceId="3")]
    (target,) = await targets_of(KIND, CONFIG)
    assert target["__meta_azure_machine_scale_set"] == name
    assert target["__meta_azure_machine_resource_group"] == "sets"
    (nic,) = [r for r in api.asked if "networkInterfaces" in r.path]
    assert nic.path == f"{SUB}/resourceGroups/nics{COMPUTE}/virtualMachineScaleSets/{name}/virtualMachines/3/networkInterfaces/nic-a"  # fmt: skip


async def test_only_machines_with_an_address_are_targets(api):
    """Not those that do not run, nor those with an interface that is gone; of several interfaces the primary counts."""
    api.machines = [
        machine("stopped", "nic-s"),
        machine("gone", "nic-g"),
        machine("two", "nic-2", "nic-a"),
        machine("none"),
    ]
    api.interfaces |= {"nic-s": interface("10.0.0.5", primary=None), "nic-2": interface("10.0.0.6", primary=False)}
    assert [t["__meta_azure_machine_name"] for t in await targets_of(KIND, CONFIG)] == ["two"]


async def test_a_primary_interface_without_address_fails_the_whole(api):
    """Better the last good list than half of one."""
    api.interfaces["nic-a"] = interface(None)
    with pytest.raises(TinyObsError, match="unable to find a private IP for VM a"):
        await targets_of(KIND, CONFIG)


async def test_a_resource_group_narrows_the_lists(api):
    """It stands in the address."""
    await targets_of(KIND, read(AzureSdConfig, f"{{resource_group: only, {SUBSCRIPTION}, {OAUTH}}}"))
    assert f"{SUB}/resourceGroups/only{COMPUTE}/virtualMachines" in api.paths()


async def test_machines_come_and_go_and_interfaces_are_remembered(api, mock_clock):
    """Lists are asked for each time, an interface only every ten intervals or more."""
    async with playing(KIND, CONFIG, mock_clock) as played:
        api.machines.append(machine("b", "nic-b"))
        api.interfaces["nic-b"] = interface("10.0.0.5")
        api.asked.clear()
        assert await played.again(300) == {"azure": ["10.0.0.4:80", "10.0.0.5:80"]}
        assert [p.rpartition("/")[2] for p in api.paths() if "networkInterfaces" in p] == ["nic-b"]
        api.broken = Answer({"error": {"message": "later"}}, 429)
        assert await played.again(300) is None
        api.broken = None
        del api.machines[0]
        assert await played.again(300) == {"azure": ["10.0.0.5:80"]}
        api.asked.clear()
        await played.again(300 * 14)
        assert [p.rpartition("/")[2] for p in api.paths() if "networkInterfaces" in p] == ["nic-b"]
        assert played.failures == 1
        counts = played.discoverer.statistics()
        assert (counts.failures_total, counts.cache_hit_total) == (1, 2)


async def test_tokens_are_renewed_before_they_end_and_after_a_refusal(api, mock_clock):
    """One token for an hour less five minutes, another at once when it is refused."""
    async with playing(KIND, CONFIG, mock_clock) as played:
        assert api.sign_ins == [
            {
                "client_id": "my-client",
                "client_secret": "my-secret",
                "grant_type": "client_credentials",
                "scope": f"{api.url}/.default",
            }
        ]
        await played.again(300)
        assert api.tokens == 1
        await played.again(3300)
        assert api.tokens == 2
        api.tokens = 7  # the server takes no token but a new one
        await played.again(300)
        assert (api.tokens, played.failures) == (8, 0)


async def test_a_managed_identity_asks_the_machine(api, monkeypatch):
    """The metadata service, or the address that App Service names."""
    config = read(AzureSdConfig, f"{{authentication_method: ManagedIdentity, {SUBSCRIPTION}, client_id: mine}}")
    assert len(await targets_of(KIND, config)) == 1
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{api.url}/msi")
    monkeypatch.setenv("IDENTITY_HEADER", "let-me-in")
    assert len(await targets_of(KIND, config)) == 1
    own = {"resource": api.url, "client_id": "mine"}
    assert api.sign_ins == [
        own | {"api-version": "2018-02-01", "header": "true"},
        own | {"api-version": "2019-08-01", "header": "let-me-in"},
    ]


async def test_a_workload_identity_hands_on_the_token_of_its_file(api, monkeypatch, tmp_path):
    """As the webhook of AKS sets it up."""
    file = tmp_path / "token"
    file.write_text("federated")
    config = read(AzureSdConfig, f"{{authentication_method: WorkloadIdentity, {SUBSCRIPTION}}}")
    with pytest.raises(TinyObsError, match="needs AZURE_FEDERATED_TOKEN_FILE"):
        await targets_of(KIND, config)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(file))
    monkeypatch.setenv("AZURE_TENANT_ID", "my-tenant")
    monkeypatch.setenv("AZURE_CLIENT_ID", "pod")
    assert len(await targets_of(KIND, config)) == 1
    (form,) = api.sign_ins
    assert (form["client_id"], form["client_assertion"]) == ("pod", "federated")
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def test_sdk_goes_through_the_environment(api, monkeypatch):
    """A client secret first, else the managed identity."""
    config = read(AzureSdConfig, f"{{authentication_method: SDK, {SUBSCRIPTION}}}")
    await targets_of(KIND, config)
    monkeypatch.setenv("AZURE_TENANT_ID", "my-tenant")
    monkeypatch.setenv("AZURE_CLIENT_ID", "mine")
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "my-secret")
    await targets_of(KIND, config)
    assert [("client_secret" in s, s.get("api-version")) for s in api.sign_ins] == [(False, "2018-02-01"), (True, None)]


async def test_a_wrong_secret_is_an_error_that_does_not_show_it(api):
    """But what the server says of it."""
    with pytest.raises(TinyObsError, match=r"401.*AADSTS7000215") as e:
        await targets_of(KIND, read(AzureSdConfig, f"{{{SUBSCRIPTION}, {OAUTH.replace('my-secret', 'hidden')}}}"))
    assert "hidden" not in str(e.value)


async def test_a_next_page_elsewhere_is_asked_for_at_home(api):
    """Nobody else is told the token; a list in a circle ends."""
    async with serving() as elsewhere:
        api.manage = lambda request: Answer({"value": [], "nextLink": f"{elsewhere.url}/steal?a=1"})
        with pytest.raises(TinyObsError, match="goes on at a page that was read already"):
            await targets_of(KIND, CONFIG)
        assert elsewhere.asked == []
    assert api.asked[-1].target == "/steal?a=1"
    api.manage = lambda request: Answer({"value": [], "nextLink": "http://[x"})
    with pytest.raises(TinyObsError, match="the address of the next page is"):
        await targets_of(KIND, CONFIG)


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, CONFIG)) == 1


def test_ids_are_taken_apart_in_any_case():
    """Azure writes `resourceGroups` in several ways."""
    assert ResourceId.parse("/subscriptions/s/resourcegroups/G/providers/x/y/n") == ResourceId("s", "G", "n")
    for text in ("", "x", "/subscriptions/s", "/subscriptions/s/resourceGroups/g/providers/x/y/n?a"):
        with pytest.raises(TinyObsError, match="is not the id of a resource"):
            ResourceId.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "azure SD configuration requires a subscription_id"),
        ("subscription_id: x", "azure SD configuration requires a tenant_id"),
        ("subscription_id: x, tenant_id: y", "azure SD configuration requires a client_id"),
        ("subscription_id: x, tenant_id: y, client_id: z", "azure SD configuration requires a client_secret"),
        (
            "authentication_method: invalid",
            'unknown authentication_type "invalid". Supported types are "OAuth", "ManagedIdentity", "SDK" or '
            '"WorkloadIdentity"',
        ),
        ("environment: mars", 'there is no cloud configuration matching the name "mars"'),
    ],
)
def test_what_is_wrong_is_said(text, message):
    """With the words of Prometheus."""
    with pytest.raises(ConfigError) as e:
        decode_text(AzureSdConfig, f"{{{text}}}", "test.yml")
    assert message in str(e.value)


def test_other_methods_need_no_secret():
    """Five minutes between lists is the default."""
    config = read(AzureSdConfig, "{subscription_id: x, authentication_method: ManagedIdentity}")
    assert config.refresh_interval_ms == 300_000
