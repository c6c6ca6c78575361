"""AWS keys come from where AWS' own tools take them, in their order."""

from __future__ import annotations

import pytest
from fake_api import Answer, FakeApi, aws_signature, serving

from tinyobs.cloud_auth.aws_credentials import AwsAccess, AwsSettings
from tinyobs.cloud_auth.aws_sts import service_url
from tinyobs.cloud_auth.exchange import CloudError
from tinyobs.cloud_auth.xml_answers import parse_xml
from tinyobs.model.secrets import Secret

NOW_MS = 1_700_000_000_000
END = "2023-11-14T23:13:20Z"
"""An hour later."""


class Sts(FakeApi):
    """The token service, which checks signatures and remembers who assumed what."""

    def __init__(self):
        super().__init__({"/": self.assume})
        self.secrets = {"AKID": "base"}
        self.roles = []

    def assume(self, request):
        form = request.form
        action = form["Action"]
        if action == "AssumeRole":
            access = request.headers["authorization"].partition("Credential=")[2].partition("/")[0]
            given, needed = aws_signature(request, self.secrets.get(access, "?"))
            if given != needed:
                body = "<E xmlns='x'><Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error></E>"
                return Answer(body.encode(), 403)
        self.roles.append((form["RoleArn"], form.get("ExternalId"), form.get("WebIdentityToken")))
        number = len(self.roles)
        self.secrets[f"ASIA{number}"] = f"s{number}"
        return Answer(
            f"<{action}Response xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><{action}Result><Credentials>"
            f"<AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>s{number}</SecretAccessKey>"
            f"<SessionToken>t{number}</SessionToken><Expiration>{END}</Expiration>"
            f"</Credentials></{action}Result></{action}Response>".encode()
        )


@pytest.fixture
async def sts():
    async with serving(Sts()) as api:
        yield api


async def keys_of(settings=None, home="/nowhere", **environment):
    """Return (access key, secret, session token) of an environment in which no metadata service is found."""
    environment = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(home), "AWS_REGION": "eu-x", **environment}
    access = AwsAccess(settings or AwsSettings(), lambda: NOW_MS, environment)
    try:
        keys = await access.keys()
        return keys.access_key, keys.secret_key.reveal(), keys.session_token.reveal()
    finally:
        await access.aclose()


def shared(home, credentials="", config=""):
    """Write the shared files."""
    (home / ".aws").mkdir(exist_ok=True)
    (home / ".aws/credentials").write_text(credentials)
    (home / ".aws/config").write_text(config)
    return home


ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "env", "AWS_SECRET_ACCESS_KEY": "e", "AWS_SESSION_TOKEN": "tok"}
DEFAULT = "[default]\naws_access_key_id = file\naws_secret_access_key = f\n"


async def test_the_order(tmp_path):
    """Configuration, a profile that it names, the environment, the default profile; else none."""
    home = shared(tmp_path, DEFAULT + "[other]\naws_access_key_id = other\naws_secret_access_key = o\n")
    assert await keys_of(AwsSettings(access_key="a", secret_key=Secret("b")), home, **ENVIRONMENT) == ("a", "b", "")
    assert await keys_of(AwsSettings(profile="other"), home, **ENVIRONMENT) == ("other", "o", "")
    assert await keys_of(None, home, **ENVIRONMENT) == ("env", "e", "tok")
    assert await keys_of(None, home) == ("file", "f", "")
    assert await keys_of(None, home, AWS_PROFILE="other") == ("other", "o", "")
    with pytest.raises(CloudError, match="no AWS keys: none configured"):
        await keys_of()


async def test_a_role_comes_on_top(sts):
    """Asked for with a signed request."""
    settings = AwsSettings(access_key="AKID", secret_key=Secret("base"), role_arn="r", external_id="x")
    assert await keys_of(settings, AWS_ENDPOINT_URL_STS=sts.url) == ("ASIA1", "s1", "t1")
    assert sts.roles == [("r", "x", None)]
    wrong = AwsSettings(access_key="AKID", secret_key=Secret("hidden"), role_arn="r")
    with pytest.raises(CloudError, match="403 SignatureDoesNotMatch: no") as e:
        await keys_of(wrong, AWS_ENDPOINT_URL_STS=sts.url)
    assert "hidden" not in str(e.value)


async def test_profiles_lend_each_other_keys(sts, tmp_path):
    """A role of a profile whose keys another profile has, through two roles; not in a circle."""
    config = (
        "[profile one]\nrole_arn = first\nsource_profile = base\nexternal_id = x\n"
        "[profile two]\nrole_arn = second\nsource_profile = one\n"
        "[profile a]\nrole_arn = r\nsource_profile = b\n[profile b]\nrole_arn = r\nsource_profile = a\n"
        "[profile env]\nrole_arn = third\ncredential_source = Environment\n"
        "[profile bare]\nrole_arn = r\n[profile run]\ncredential_process = /bin/keys\n"
    )
    home = shared(tmp_path, "[base]\naws_access_key_id = AKID\naws_secret_access_key = base\n", config)
    sts_url = {"AWS_ENDPOINT_URL_STS": sts.url}
    assert await keys_of(AwsSettings(profile="two"), home, **sts_url) == ("ASIA2", "s2", "t2")
    assert sts.roles == [("first", "x", None), ("second", None, None)]
    keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "base"}
    assert (await keys_of(AwsSettings(profile="env"), home, **sts_url, **keys))[0] == "ASIA3"
    for profile, reason in (
        ("a", "go in a circle"),
        ("bare", "has a role and no keys to assume it with"),
        ("run", "takes its keys from credential_process, which is not supported"),
        ("gone", "there is no AWS profile 'gone'"),
    ):
        with pytest.raises(CloudError, match=reason):
            await keys_of(AwsSettings(profile=profile), home, **sts_url)


async def test_a_web_identity_is_exchanged(sts, tmp_path):
    """As on EKS: the token of a file, without other keys; also from a profile."""
    file = tmp_path / "token"
    file.write_text("jwt\n")
    given = {"AWS_ENDPOINT_URL_STS": sts.url, "AWS_WEB_IDENTITY_TOKEN_FILE": str(file)}
    assert await keys_of(None, tmp_path, AWS_ROLE_ARN="pod", **given) == ("ASIA1", "s1", "t1")
    with pytest.raises(CloudError, match="needs AWS_ROLE_ARN"):
        await keys_of(None, tmp_path, **given)
    home = shared(tmp_path, "", f"[default]\nrole_arn = mine\nweb_identity_token_file = {file}\n")
    assert (await keys_of(None, home, AWS_ENDPOINT_URL_STS=sts.url))[0] == "ASIA2"
    assert sts.roles == [("pod", None, "jwt"), ("mine", None, "jwt")]
    file.unlink()
    with pytest.raises(CloudError, match="cannot read credentials from"):
        await keys_of(None, tmp_path, AWS_ROLE_ARN="pod", **given)


async def test_a_container_is_asked_at_its_address(tmp_path):
    """With its token, read from the file each time; only near addresses are asked without TLS."""
    answer = {"AccessKeyId": "C", "SecretAccessKey": "c", "Token": "t", "Expiration": END}
    file = tmp_path / "auth"
    file.write_text("let-me-in")

    def give(request):
        return Answer(answer) if request.headers.get("authorization") == "let-me-in" else Answer({}, 403)

    async with serving(FakeApi({"/creds": give})) as api:
        url = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{api.url}/creds"}
        assert await keys_of(**url, AWS_CONTAINER_AUTHORIZATION_TOKEN="let-me-in") == ("C", "c", "t")
        assert await keys_of(**url, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(file)) == ("C", "c", "t")
        with pytest.raises(CloudError, match="403"):
            await keys_of(**url)
    with pytest.raises(CloudError, match="must be https, or an address of this machine"):
        await keys_of(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://example.com/creds")
    with pytest.raises(CloudError, match="must be https, or an address of this machine"):
        await keys_of(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://[x")


async def test_an_address_that_is_none_is_named():
    """Whoever wrote it."""
    settings = AwsSettings(access_key="AKID", secret_key=Secret("base"), role_arn="r")
    with pytest.raises(CloudError, match=r"'http://\[x' is not the address of a service of AWS"):
        await keys_of(settings, AWS_ENDPOINT_URL_STS="http://[x")


async def test_keys_are_fetched_again_shortly_before_they_end(sts):
    """Five minutes before, or at once when they are forgotten."""
    now = [NOW_MS]
    settings = AwsSettings("eu-x", "AKID", Secret("base"), role_arn="r")
    access = AwsAccess(settings, lambda: now[0], {"AWS_ENDPOINT_URL_STS": sts.url})
    seen = []
    for minutes in (0, 54, 56):
        now[0] = NOW_MS + minutes * 60_000
        seen.append((await access.keys()).access_key)
    access.forget()
    seen.append((await access.keys()).access_key)
    assert seen == ["ASIA1", "ASIA1", "ASIA2", "ASIA3"]
    await access.aclose()


async def test_the_region(tmp_path):
    """Of the environment, else of the profile; an error says that there is none."""
    home = shared(tmp_path, "", "[default]\nregion = eu-file\n")

    async def region(**environment):
        access = AwsAccess(AwsSettings(), lambda: NOW_MS, {"AWS_EC2_METADATA_DISABLED": "true", **environment})
        return await access.region()

    assert await region(HOME=str(home), AWS_DEFAULT_REGION="eu-env") == "eu-env"
    assert await region(HOME=str(home)) == "eu-file"
    with pytest.raises(CloudError, match="the AWS region is not configured, and the instance does not tell it"):
        await region(HOME="/nowhere")


async def test_shared_files_that_make_no_sense_are_named(tmp_path):
    """Without repeating what is in them."""
    with pytest.raises(CloudError, match=r"cannot read .*credentials: MissingSectionHeaderError") as e:
        await keys_of(None, shared(tmp_path, "hidden = 1"))
    assert "hidden" not in str(e.value)


def test_regions_become_hosts_and_nothing_else():
    """China has a domain of its own; text that would change the host is refused."""
    assert service_url("sts", "eu-west-1") == "https://sts.eu-west-1.amazonaws.com"
    assert service_url("ec2", "cn-north-1") == "https://ec2.cn-north-1.amazonaws.com.cn"
    with pytest.raises(CloudError, match="is not an AWS region"):
        service_url("sts", "evil.example/")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not XML"),
        (b"<a><b></a>", "not XML"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>', "has a document type"),
        (b"<a>" * 100 + b"</a>" * 100, "more than 64 levels"),
    ],
)
def test_xml_is_bounded_and_has_no_entities(data, reason):
    """An answer cannot make the process grow."""
    with pytest.raises(CloudError, match=reason):
        parse_xml(data)


def test_xml_is_found_by_names_without_namespace():
    """Empty elements have no value; text keeps its escapes undone."""
    root = parse_xml(b'<x:R xmlns:x="urn"><x:a> 1 </x:a><b/><l><item>&lt;</item><item>2</item></l></x:R>')
    assert (root.value("a"), root.value("b"), root.value("c", "d")) == ("1", None, None)
    assert [item.text for item in root.items("l")] == ["<", "2"]
