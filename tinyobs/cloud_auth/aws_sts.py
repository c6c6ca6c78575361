"""AWS' Security Token Service: temporary keys for a role, asked for with other keys or with a web identity."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import urlencode, urlsplit

from attrs import field, frozen

from ..http_client import Client
from ..model.secrets import Secret
from .aws_signing import AwsKeys, sign
from .exchange import CloudError, RefusedError, Reply, exchange, origin, read_token_file, reason_of
from .xml_answers import parse_xml

VERSION: Final = "2011-06-15"
STS_SECONDS: Final = 30.0
ANSWER_BYTES_MAX: Final = 1 << 20
FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"
ERROR_BYTES_MAX: Final = 64 << 10
SESSION_NAME: Final = "tinyobs"
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}\Z")


def service_url(service: str, region: str) -> str:
    """Return the address of a regional service; raises `CloudError` for what is no region, since it becomes a host."""
    if not _REGION.match(region):
        raise CloudError(f"'{region}' is not an AWS region")
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{service}.{region}.{domain}"


@frozen
class Role:
    """A role to assume."""

    arn: str
    external_id: str = ""
    session: str = ""
    """The name under which AWS logs what is done with it."""
    tags: tuple[tuple[str, str], ...] = ()


@frozen
class Sts:
    """Where, when and by whom the service is asked."""

    client: Client
    region: str
    now_ms: int
    environment: Mapping[str, str] = field(repr=False)
    has_fips: bool = False
    """Whether the address is one that only uses certified cryptography."""

    @property
    def url(self) -> str:
        """Its address: of the environment, else that of the region."""
        own = self.environment.get("AWS_ENDPOINT_URL_STS") or self.environment.get("AWS_ENDPOINT_URL")
        return endpoint(own or service_url("sts-fips" if self.has_fips else "sts", self.region))


def endpoint(url: str) -> str:
    """Return an address that somebody wrote, with a slash at its end; raises `CloudError` for what is none."""
    full = (url if "://" in url else f"https://{url}").rstrip("/") + "/"
    try:
        parts = urlsplit(full)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise CloudError(f"{url!r} is not the address of a service of AWS")
    return full


async def assume_role(sts: Sts, keys: AwsKeys, role: Role) -> AwsKeys:
    """Return keys of a role that `keys` may assume."""
    form = {"Action": "AssumeRole", "RoleArn": role.arn, "RoleSessionName": role.session or SESSION_NAME}
    if role.external_id:
        form["ExternalId"] = role.external_id
    for i, (name, value) in enumerate(role.tags, 1):
        form |= {f"Tags.member.{i}.Key": name, f"Tags.member.{i}.Value": value}
    body = urlencode({**form, "Version": VERSION}).encode()
    headers = {"Content-Type": FORM}
    headers |= sign("POST", sts.url, headers, body, keys=keys, region=sts.region, service="sts", now_ms=sts.now_ms)
    return await _ask(sts, headers, body, "AssumeRole")


async def assume_role_with_web_identity(sts: Sts, role: Role, token_file: str) -> AwsKeys:
    """Return keys of a role for the token in a file, which is read each time."""
    if not role.arn:
        raise CloudError("AWS_WEB_IDENTITY_TOKEN_FILE needs AWS_ROLE_ARN beside it")
    token = await read_token_file(token_file)
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "RoleArn": role.arn,
        "RoleSessionName": role.session or f"{SESSION_NAME}-{sts.now_ms}",
        "WebIdentityToken": token.reveal(),
        "Version": VERSION,
    }
    return await _ask(sts, {"Content-Type": FORM}, urlencode(form).encode(), "AssumeRoleWithWebIdentity")


def time_ms(text: str) -> int:
    """Return the ms since 1970 of a time as AWS writes it; raises `ValueError`."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def aws_error(reply: Reply, url: str) -> RefusedError:
    """Return the error of an answer that is no success: its code and message where it has the form of AWS' answers."""
    code = message = ""
    try:
        root = parse_xml(reply.body)
        error = root.find("Error") or root.find("Errors", "Error")
        if error:
            code, message = error.value("Code") or "", error.value("Message") or ""
    except CloudError:
        code = reply.headers.get("x-amzn-errortype", "").partition(":")[0] or _json_type(reply)
        message = reason_of(reply)
    said = ": ".join(part for part in (code, message[:200]) if part)
    return RefusedError(reply.status, f"{origin(url)} answered {reply.status}" + (f" {said}" if said else ""))


def _json_type(reply: Reply) -> str:
    """Return the kind of an error in JSON, without the name space before it."""
    if len(reply.body) > ERROR_BYTES_MAX:
        return ""
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return ""
    kind = value.get("__type") if isinstance(value, dict) else None
    return kind.rpartition("#")[2][:100] if isinstance(kind, str) else ""


async def _ask(sts: Sts, headers: Mapping[str, str], body: bytes, action: str) -> AwsKeys:
    url = sts.url
    reply = await exchange(
        sts.client,
        url,
        seconds=STS_SECONDS,
        method="POST",
        headers=headers,
        content=body,
        answer_bytes_max=ANSWER_BYTES_MAX,
    )
    if reply.status != 200:
        raise aws_error(reply, url)
    found = parse_xml(reply.body).find(f"{action}Result", "Credentials")
    if found is None or not (access := found.value("AccessKeyId")) or not (secret := found.value("SecretAccessKey")):
        raise CloudError(f"{origin(url)}: the answer to {action} has no keys")
    try:
        end = time_ms(found.value("Expiration") or "")
    except ValueError:
        raise CloudError(f"{origin(url)}: the answer to {action} has no time of expiry") from None
    return AwsKeys(access, Secret(secret), Secret(found.value("SessionToken") or ""), end)
