"""EC2: signed requests, instances page by page with the labels of Prometheus, and where keys come from."""

from __future__ import annotations

import pytest
from cloud_fakes import Answer, FakeApi, aws_signature, playing, read, serving, targets_of
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError, TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd.ec2 import KIND, Ec2SdConfig

ACCESS, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def tag(name, *inside):
    """Return an XML element."""
    return f"<{name}>{''.join(inside)}</{name}>"


def items(*inside):
    return "".join(tag("item", *([one] if isinstance(one, str) else one)) for one in inside)


def instance(identity, private="", **more):
    """Return an instance with the few things that all have; `more` are further elements by name."""
    parts = {
        "instanceId": identity,
        "imageId": "ami-1",
        "instanceState": tag("code", "16") + tag("name", "running"),
        "instanceType": "t3.small",
        "placement": tag("availabilityZone", "azname-b"),
        **({"privateIpAddress": private} if private else {}),
        **more,
    }
    return "".join(tag(name, inside) for name, inside in parts.items())


def interface(subnet, *ipv6, device=""):
    """Return a network interface; ipv6: (address, whether it is primary)."""
    addresses = items(*(tag("ipv6Address", ip) + tag("isPrimaryIpv6", primary) for ip, primary in ipv6))
    attachment = tag("attachment", tag("deviceIndex", device)) if device else ""
    return (tag("subnetId", subnet) if subnet else "") + attachment + tag("ipv6AddressesSet", addresses)


FULL = instance(
    "i-full",
    "1.2.3.4",
    architecture="x86_64",
    instanceLifecycle="spot",
    platform="windows",
    privateDnsName="private-dns",
    dnsName="public-dns",
    ipAddress="42.42.42.2",
    tagSet=items(
        tag("key", "tag-1-key") + tag("value", "tag-1-value"),
        tag("key", "Name") + tag("value", "a &amp; b"),
        "",
        tag("value", "tag-4-value"),
        tag("key", "tag-5-key"),
    ),
)
IPV6 = instance(
    "i-six",
    "9.10.11.12",
    vpcId="vpc-ipv6",
    subnetId="azid-2",
    networkInterfaceSet=items(
        interface("azid-2", ("2001:db8:2::1:1", "false"), device="3"),
        interface("azid-2", ("2001:db8:2::2:1", "false"), ("2001:db8:2::2:2", "true"), device="1"),
        interface("azid-1", ("2001:db8:2::3:1", "true"), device="3"),
        interface("azid-3", device="0"),
        interface("", ("2001:db8:2::4:1", "true"), device="4"),
    ),
)


class Ec2(FakeApi):
    """EC2 and STS at one address; every signature is checked."""

    def __init__(self):
        super().__init__()
        self.pages = [[FULL, instance("i-none")], [instance("i-two", "5.6.7.8")]]
        self.keys = {ACCESS: (SECRET, "")}
        self.knows_zones = True
        self.assumed = []
        self.metadata = {}

    def answer(self, request):
        self.asked.append(request)
        if self.broken:
            return self.broken
        if request.path in self.metadata:
            return self.metadata[request.path](request)
        if request.form.get("Action") == "AssumeRoleWithWebIdentity":
            return self.assume(request)
        if not self.signed(request):
            error = tag("Code", "AuthFailure") + tag("Message", "AWS was not able to validate the credentials")
            return Answer(tag("Response", tag("Errors", tag("Error", error))).encode(), 401)
        match request.form["Action"]:
            case "AssumeRole":
                return self.assume(request)
            case "DescribeAvailabilityZones" if self.knows_zones:
                zones = items(*(tag("zoneName", f"azname-{z}") + tag("zoneId", f"azid-{i}") for z, i in ("a1", "b2")))
                return self.xml(tag("availabilityZoneInfo", zones))
            case "DescribeInstances":
                page = int(request.form.get("NextToken", "0"))
                following = tag("nextToken", str(page + 1)) if page + 1 < len(self.pages) else "<nextToken/>"
                reservation = tag("ownerId", "owner-1") + tag("instancesSet", items(*self.pages[page]))
                return self.xml(tag("reservationSet", items(reservation)) + following)
        error = tag("Code", "UnauthorizedOperation") + tag("Message", "You are not authorized")
        return Answer(tag("Response", tag("Errors", tag("Error", error))).encode(), 403)

    def signed(self, request):
        access = request.headers["authorization"].partition("Credential=")[2].partition("/")[0]
        secret, token = self.keys.get(access, ("", ""))
        given, needed = aws_signature(request, secret)
        return given == needed and request.headers.get("x-amz-security-token", "") == token

    def xml(self, inside):
        body = f'<?xml version="1.0" encoding="UTF-8"?><R xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">{inside}</R>'
        return Answer(body.encode(), headers=(("Content-Type", "text/xml"),))

    def assume(self, request):
        self.assumed.append(request.form)
        number = len(self.assumed)
        self.keys = {f"ASIA{number}": (f"secret-{number}", f"session-{number}")}
        found = {
            "AccessKeyId": f"ASIA{number}",
            "SecretAccessKey": f"secret-{number}",
            "SessionToken": f"session-{number}",
            "Expiration": "2286-11-20T17:46:40Z",
        }
        credentials = tag("Credentials", *(tag(k, v) for k, v in found.items()))
        action = request.form["Action"]
        return self.xml(tag(f"{action}Result", credentials))

    def config(self, more=f"access_key: {ACCESS}, secret_key: {SECRET}", region="region: eu-x"):
        return read(Ec2SdConfig, f"{{{region}, endpoint: '{self.url}', {more}}}")


@pytest.fixture
async def api(monkeypatch):
    async with serving(Ec2()) as api:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", api.url)
        yield api


async def test_instances_have_these_labels(api):
    """Of all pages; an instance without address is no target."""
    first, second = await targets_of(KIND, api.config())
    assert first == {
        "__address__": "1.2.3.4:80",
        "__meta_ec2_ami": "ami-1",
        "__meta_ec2_architecture": "x86_64",
        "__meta_ec2_availability_zone": "azname-b",
        "__meta_ec2_availability_zone_id": "azid-2",
        "__meta_ec2_instance_id": "i-full",
        "__meta_ec2_instance_lifecycle": "spot",
        "__meta_ec2_instance_state": "running",
        "__meta_ec2_instance_type": "t3.small",
        "__meta_ec2_owner_id": "owner-1",
        "__meta_ec2_platform": "windows",
        "__meta_ec2_private_dns_name": "private-dns",
        "__meta_ec2_private_ip": "1.2.3.4",
        "__meta_ec2_public_dns_name": "public-dns",
        "__meta_ec2_public_ip": "42.42.42.2",
        "__meta_ec2_region": "eu-x",
        "__meta_ec2_tag_Name": "a & b",
        "__meta_ec2_tag_tag_1_key": "tag-1-value",
    }
    assert second["__address__"] == "5.6.7.8:80"
    assert api.asked[1].form["Version"] == "2016-11-15"


async def test_ipv6_addresses_keep_the_place_of_their_interface(api):
    """Primary addresses at the index of the device, all others in order; subnets once each."""
    only = instance(
        "i-only",
        vpcId="v",
        subnetId="s",
        networkInterfaceSet=items(interface("s", ("2001:db8:2::1:1", "false"), device="0")),
    )
    api.pages = [[IPV6, only]]
    first, second = await targets_of(KIND, api.config())
    assert first["__address__"] == "9.10.11.12:80"
    assert {k.removeprefix("__meta_ec2_"): v for k, v in first.items() if "ipv6" in k or "subnet" in k or "vpc" in k} == {
        "default_ipv6_address": "2001:db8:2::2:2",
        "primary_ipv6_addresses": ",,2001:db8:2::2:2,,2001:db8:2::3:1,",
        "ipv6_addresses": ",2001:db8:2::1:1,2001:db8:2::2:1,2001:db8:2::2:2,2001:db8:2::3:1,",
        "primary_subnet_id": "azid-2",
        "subnet_id": ",azid-2,azid-1,azid-3,",
        "vpc_id": "vpc-ipv6",
    }  # fmt: skip
    assert second["__address__"] == "[2001:db8:2::1:1]:80"
    assert second["__meta_ec2_default_ipv6_address"] == "2001:db8:2::1:1"
    assert "__meta_ec2_primary_ipv6_addresses" not in second
    assert "__meta_ec2_private_ip" not in second


async def test_filters_go_to_the_interface(api):
    """Numbered, as the query interface wants them, with each page."""
    filters = "filters: [{name: 'tag:env', values: [prod, test]}, {name: vpc-id, values: [v]}]"
    await targets_of(KIND, api.config(f"access_key: {ACCESS}, secret_key: {SECRET}, {filters}"))
    for asked in (one.form for one in api.asked if one.form["Action"] == "DescribeInstances"):
        assert {k: v for k, v in asked.items() if k.startswith("Filter")} == {
            "Filter.1.Name": "tag:env",
            "Filter.1.Value.1": "prod",
            "Filter.1.Value.2": "test",
            "Filter.2.Name": "vpc-id",
            "Filter.2.Value.1": "v",
        }


async def test_without_the_right_to_zones_their_ids_are_empty(api, mock_clock):
    """Everything else is found; it is tried again each time, and not any more once it worked."""
    api.knows_zones = False
    assert (await targets_of(KIND, api.config()))[0]["__meta_ec2_availability_zone_id"] == ""
    async with playing(KIND, api.config(), mock_clock) as played:
        api.knows_zones = True
        assert await played.again() is not None
        api.asked.clear()
        await played.again()
        assert {one.form["Action"] for one in api.asked} == {"DescribeInstances"}
        assert played.failures == 0


async def test_instances_come_and_go(api, mock_clock):
    """What is new is published, what is gone is not there any more, an error changes nothing."""
    async with playing(KIND, api.config(), mock_clock) as played:
        assert played.published == [{"eu-x": ["1.2.3.4:80", "5.6.7.8:80"]}]
        for broken in (
            Answer(b"", 503),
            Answer(b"<Response><Errors>", 429),
            Answer(b"not xml"),
            Answer(b"<!DOCTYPE x []><x/>"),
        ):
            api.broken = broken
            assert await played.again() is None
        api.broken = None
        api.pages = [[instance("i-two", "5.6.7.8"), instance("i-3", "5.6.7.9")]]
        assert await played.again() == {"eu-x": ["5.6.7.8:80", "5.6.7.9:80"]}
        assert played.failures == 4


async def test_a_refusal_says_why_and_shows_no_key(api):
    """The code and message of AWS."""
    with pytest.raises(TinyObsError, match="401 AuthFailure: AWS was not able to validate") as e:
        await targets_of(KIND, api.config("access_key: A, secret_key: hidden"))
    assert "hidden" not in str(e.value)


async def test_a_role_is_assumed_with_the_keys(api):
    """With its external id; the temporary keys sign with their token."""
    more = f"access_key: {ACCESS}, secret_key: {SECRET}, role_arn: 'arn:aws:iam::1:role/r', external_id: x1"
    assert len(await targets_of(KIND, api.config(more))) == 2
    (form,) = api.assumed
    assert (form["RoleArn"], form["ExternalId"], form["RoleSessionName"]) == ("arn:aws:iam::1:role/r", "x1", "tinyobs")


async def test_keys_and_region_of_the_environment(api, monkeypatch):
    """When the configuration has none; the group is named after the region."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "eu-env")
    (group,) = await check_discoverer(KIND, api.config("port: 9100", region="region: ''"))
    assert (group.source, group.targets[0]["__address__"]) == ("eu-env", "1.2.3.4:9100")
    assert "/eu-env/ec2/aws4_request" in api.asked[-1].headers["authorization"]


async def test_an_instance_gives_keys_and_region_itself(api, monkeypatch, mock_clock):
    """Metadata version 2: a token first; keys are renewed before they end."""
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", api.url)
    given = []

    def with_token(body):
        def answer(request):
            good = request.headers.get("x-aws-ec2-metadata-token") == "imds"
            return Answer(body() if callable(body) else body) if good else Answer(b"", 401)

        return answer

    def keys():
        given.append(n := len(given) + 1)
        api.keys = {f"ASIA{n}": (f"s{n}", f"t{n}")}
        end = "2023-11-14T23:13:20Z" if n == 1 else "2286-11-20T17:46:40Z"
        return {
            "Code": "Success",
            "AccessKeyId": f"ASIA{n}",
            "SecretAccessKey": f"s{n}",
            "Token": f"t{n}",
            "Expiration": end,
        }

    api.metadata = {
        "/latest/api/token": lambda request: Answer(b"imds") if request.method == "PUT" else Answer(b"", 405),
        "/latest/meta-data/placement/region": with_token(b"eu-imds"),
        "/latest/meta-data/iam/security-credentials/": with_token(b"my-role\n"),
        "/latest/meta-data/iam/security-credentials/my-role": with_token(keys),
    }
    async with playing(KIND, api.config("port: 80", region="region: ''"), mock_clock) as played:
        assert list(played.published[0]) == ["eu-imds"]
        await played.again(3200)
        assert given == [1]
        await played.again(200)  # an hour after the start the first keys end
        assert given == [1, 2]
        assert played.failures == 0


async def test_without_any_keys_the_error_says_what_was_tried(api):
    """Nothing configured, nothing in the environment, no instance."""
    with pytest.raises(TinyObsError, match="no AWS keys: none configured, and the instance gives none"):
        await targets_of(KIND, api.config("port: 80"))
    with pytest.raises(TinyObsError, match="the AWS region is not configured"):
        await targets_of(KIND, api.config("port: 80", region="region: ''"))


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content."""
    assert len(await check_discoverer(KIND, api.config())) == 1


def test_what_is_wrong_is_said():
    """With the words of Prometheus."""
    with pytest.raises(ConfigError, match="EC2 SD configuration filter values cannot be empty"):
        decode_text(Ec2SdConfig, "{filters: [{name: x}]}", "test.yml")
