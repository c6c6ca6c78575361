"""Lightsail, and the kind `aws` that leads to it and to EC2: signed requests, labels of Prometheus."""

from __future__ import annotations

import json

import pytest
import test_ec2
from cloud_fakes import Answer, FakeApi, aws_signature, playing, read, serving, targets_of
from tinyobs.config.decoder import decode_text
from tinyobs.errors import ConfigError, TinyObsError
from tinyobs.testing.check_discoverer import check_discoverer

from tinyobs_cloud_sd import aws
from tinyobs_cloud_sd.aws import AwsSdConfig
from tinyobs_cloud_sd.lightsail import KIND, LightsailSdConfig

FULL = {
    "name": "instance-1",
    "blueprintId": "ubuntu_22_04",
    "bundleId": "nano_2_0",
    "supportCode": "support-code-1",
    "location": {"availabilityZone": "us-east-1a", "regionName": "us-east-1"},
    "state": {"code": 16, "name": "running"},
    "privateIpAddress": "10.0.0.1",
    "publicIpAddress": "3.4.5.6",
    "ipv6Addresses": ["2001:db8::1", "2001:db8::2"],
    "tags": [{"key": "my tag", "value": "x"}, {"key": "only"}],
}


class Lightsail(FakeApi):
    """The interface with one instance a page; every signature is checked."""

    def __init__(self):
        super().__init__({"/": self.page})
        self.all = [FULL, {"name": "no address"}, {"privateIpAddress": "10.0.0.9"}]

    def page(self, request):
        if len(set(aws_signature(request, test_ec2.SECRET))) > 1:
            kind = (("X-Amzn-Errortype", "InvalidSignatureException:http://x"),)
            return Answer({"message": "The signature does not match"}, 403, kind)
        assert request.headers["x-amz-target"] == "Lightsail_20161128.GetInstances"
        page = int(json.loads(request.body).get("pageToken", "0"))
        more = {"nextPageToken": str(page + 1)} if page + 1 < len(self.all) else {}
        return Answer({"instances": self.all[page : page + 1], **more})

    def config(self, more=f"access_key: {test_ec2.ACCESS}, secret_key: {test_ec2.SECRET}", schema=LightsailSdConfig):
        return read(schema, f"{{region: us-east-1, endpoint: '{self.url}', {more}}}")


@pytest.fixture
async def api():
    async with serving(Lightsail()) as api:
        yield api


async def test_instances_have_these_labels(api):
    """Of all pages; what is not told makes no label."""
    first, last = await targets_of(KIND, api.config())
    assert first == {
        "__address__": "10.0.0.1:80",
        "__meta_lightsail_availability_zone": "us-east-1a",
        "__meta_lightsail_blueprint_id": "ubuntu_22_04",
        "__meta_lightsail_bundle_id": "nano_2_0",
        "__meta_lightsail_instance_name": "instance-1",
        "__meta_lightsail_instance_state": "running",
        "__meta_lightsail_instance_support_code": "support-code-1",
        "__meta_lightsail_ipv6_addresses": ",2001:db8::1,2001:db8::2,",
        "__meta_lightsail_private_ip": "10.0.0.1",
        "__meta_lightsail_public_ip": "3.4.5.6",
        "__meta_lightsail_region": "us-east-1",
        "__meta_lightsail_tag_my_tag": "x",
    }
    assert last == {
        "__address__": "10.0.0.9:80",
        "__meta_lightsail_private_ip": "10.0.0.9",
        "__meta_lightsail_region": "us-east-1",
    }


async def test_instances_come_and_go(api, mock_clock):
    """What is gone is not there any more, an error changes nothing."""
    async with playing(KIND, api.config(), mock_clock) as played:
        assert played.published == [{"us-east-1": ["10.0.0.1:80", "10.0.0.9:80"]}]
        api.broken = Answer({"message": "Rate exceeded"}, 429)
        assert await played.again() is None
        api.broken = None
        del api.all[0]
        assert await played.again() == {"us-east-1": ["10.0.0.9:80"]}
        assert played.failures == 1


async def test_a_refusal_says_why_and_shows_no_key(api):
    """The kind of error and the message of AWS."""
    with pytest.raises(TinyObsError, match="403 InvalidSignatureException: The signature does not match") as e:
        await targets_of(KIND, api.config("access_key: A, secret_key: hidden"))
    assert "hidden" not in str(e.value)


async def test_the_kind_aws_leads_to_both(api):
    """With the settings of the role, filters for EC2."""
    keys = f"access_key: {test_ec2.ACCESS}, secret_key: {test_ec2.SECRET}, port: 9100"
    lightsail = api.config(f"role: lightsail, {keys}", AwsSdConfig)
    assert [t["__address__"] for t in await targets_of(aws.KIND, lightsail)] == ["10.0.0.1:9100", "10.0.0.9:9100"]
    async with serving(test_ec2.Ec2()) as ec2:
        text = f"{{role: ec2, region: x, endpoint: '{ec2.url}', filters: [{{name: a, values: [b]}}], {keys}}}"
        assert len(await targets_of(aws.KIND, read(AwsSdConfig, text))) == 2
        assert ec2.asked[-1].form["Filter.1.Value.1"] == "b"


async def test_it_keeps_the_contract(api):
    """`check_discoverer` is content with both."""
    assert len(await check_discoverer(KIND, api.config())) == 1
    keys = f"access_key: {test_ec2.ACCESS}, secret_key: {test_ec2.SECRET}"
    assert len(await check_discoverer(aws.KIND, api.config(f"role: lightsail, {keys}", AwsSdConfig))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'unknown AWS SD role ""'),
        ("role: s3", 'unknown AWS SD role "s3"'),
        ("role: ec2, filters: [{name: x}]", "EC2 SD configuration filter values cannot be empty"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    """With the words of Prometheus."""
    with pytest.raises(ConfigError) as e:
        decode_text(AwsSdConfig, f"{{{text}}}", "test.yml")
    assert message in str(e.value)
