"""Where AWS keys and the region come from, in the order of AWS' own tools.

Keys of the configuration; a profile that it names; `AWS_ACCESS_KEY_ID`; a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`,
as on EKS); the default profile; the container's address (ECS, EKS Pod Identity); the instance's metadata service
(version 2, with a session token).  A role to assume comes on top of any of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import trio
from attrs import field, frozen

from ..http_client import Client
from ..model.secrets import Secret
from .aws_profile import UNSUPPORTED, profile_of, read_profiles
from .aws_signing import AwsKeys
from .aws_sts import Role, Sts, assume_role, assume_role_with_web_identity, time_ms
from .exchange import Clients, CloudError, exchange, expect_success, read_token_file
from .tokens import Renewed

METADATA: Final = "http://169.254.169.254"
CONTAINER: Final = "http://169.254.170.2"
METADATA_SECONDS: Final = 5.0
"""How long the metadata service and the container's address may take: both are on the same machine."""
METADATA_TOKEN_SECONDS: Final = 300
METADATA_BYTES_MAX: Final = 1 << 20
PROFILES_DEPTH_MAX: Final = 8
"""How many profiles may lend each other their keys."""
_CONTAINER_HOSTS: Final = frozenset(
    {"localhost", "127.0.0.1", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"}
)
"""Where a token for the container's address may be sent without TLS."""


@frozen
class AwsSettings:
    """What a configuration says of its access to AWS; empty is not set."""

    region: str = ""
    access_key: str = ""
    secret_key: Secret = field(factory=Secret)
    profile: str = ""
    role_arn: str = ""
    external_id: str = ""
    session_name: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    """Tags of the session of the role."""
    has_fips_sts: bool = False
    """Whether the token service is asked at its address with certified cryptography only."""


class AwsAccess:
    """Keys and region of one configuration; keys are renewed before they expire."""

    def __init__(
        self,
        settings: AwsSettings,
        now_ms: Callable[[], int],
        environment: Mapping[str, str] | None = None,
        client: Callable[[], Client] | None = None,
    ) -> None:
        """client: returns what STS is asked with, instead of an own client; the metadata service is never asked with it."""
        self.settings, self._now_ms = settings, now_ms
        self._clients = Clients()
        self._client = client or self._clients.remote
        self._environment = os.environ if environment is None else environment
        self._region = settings.region
        self._keys = Renewed(self._fetch, lambda keys: keys.expires_ms, now_ms)

    async def keys(self) -> AwsKeys:
        """Return keys that are good for some minutes; raises `TinyObsError` where none can be had."""
        return await self._keys.get()

    def forget(self) -> None:
        """Look for keys anew next time."""
        self._keys.forget()

    async def aclose(self) -> None:
        """Close the own connections."""
        await self._clients.aclose()

    async def region(self) -> str:
        """Return the region: as configured, of the environment, of the profile, of the instance."""
        if not self._region:
            self._region = self._environment.get("AWS_REGION") or self._environment.get("AWS_DEFAULT_REGION") or ""
        if not self._region:
            profiles = await trio.to_thread.run_sync(read_profiles, self._environment)
            self._region = profiles.get(self._profile_name, {}).get("region", "")
        if not self._region:
            try:
                self._region = (await self._metadata("/latest/meta-data/placement/region")).decode().strip()
            except CloudError as e:
                raise CloudError(f"the AWS region is not configured, and the instance does not tell it: {e}") from None
        return self._region

    @property
    def _profile_name(self) -> str:
        return self.settings.profile or self._environment.get("AWS_PROFILE") or "default"

    # -- the chain -----------------------------------------------------------------------------------------------

    async def _fetch(self) -> AwsKeys:
        keys = await self._base_keys()
        if not self.settings.role_arn:
            return keys
        given = self.settings
        role = Role(given.role_arn, given.external_id, given.session_name, given.tags)
        return await assume_role(await self._sts(), keys, role)

    async def _base_keys(self) -> AwsKeys:
        env = self._environment
        if self.settings.access_key or self.settings.secret_key:
            return AwsKeys(self.settings.access_key, self.settings.secret_key)
        if self.settings.profile:
            return await self._profile_keys(self.settings.profile)
        if keys := _environment_keys(env):
            return keys
        if env.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
            role = Role(env.get("AWS_ROLE_ARN", ""), session=env.get("AWS_ROLE_SESSION_NAME", ""))
            return await assume_role_with_web_identity(await self._sts(), role, env["AWS_WEB_IDENTITY_TOKEN_FILE"])
        profiles = await trio.to_thread.run_sync(read_profiles, env)
        known = bool(profiles.get(self._profile_name) or env.get("AWS_PROFILE"))
        return (known and await self._keys_of(profiles, self._profile_name, 0)) or await self._machine_keys()

    async def _profile_keys(self, name: str) -> AwsKeys:
        profiles = await trio.to_thread.run_sync(read_profiles, self._environment)
        return await self._keys_of(profiles, name, 0) or await self._machine_keys()

    async def _keys_of(self, profiles: Mapping[str, Mapping[str, str]], name: str, depth: int) -> AwsKeys | None:
        """Return the keys of a profile, None where it names no way to them."""
        if depth > PROFILES_DEPTH_MAX:
            raise CloudError(f"the AWS profile '{name}' takes its keys from profiles that go in a circle")
        profile = profile_of(profiles, name)
        own = None
        if profile.get("aws_access_key_id"):
            secret, token = profile.get("aws_secret_access_key", ""), profile.get("aws_session_token", "")
            own = AwsKeys(profile["aws_access_key_id"], Secret(secret), Secret(token))
        role = Role(profile.get("role_arn", ""), profile.get("external_id", ""), profile.get("role_session_name", ""))
        if role.arn and profile.get("web_identity_token_file"):
            return await assume_role_with_web_identity(await self._sts(), role, profile["web_identity_token_file"])
        if role.arn:
            source = profile.get("source_profile", "")
            if source and source != name:
                own = await self._keys_of(profiles, source, depth + 1)
            elif profile.get("credential_source") == "Environment":
                own = _environment_keys(self._environment)
            elif profile.get("credential_source"):
                own = await self._machine_keys()
            if own is None:
                raise CloudError(f"the AWS profile '{name}' has a role and no keys to assume it with")
            return await assume_role(await self._sts(), own, role)
        for key in () if own else UNSUPPORTED:
            if profile.get(key):
                raise CloudError(f"the AWS profile '{name}' takes its keys from {key}, which is not supported")
        return own

    async def _machine_keys(self) -> AwsKeys:
        env = self._environment
        if uri := env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
            return await self._container_keys(CONTAINER + uri)
        if uri := env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
            return await self._container_keys(uri)
        path = "/latest/meta-data/iam/security-credentials/"
        try:
            role = (await self._metadata(path)).decode().splitlines()[0].strip()
            answer = await self._metadata(path + role)
        except (CloudError, IndexError, UnicodeDecodeError) as e:
            raise CloudError(f"no AWS keys: none configured, and the instance gives none ({e})") from None
        return _machine_answer(answer)

    # -- who is asked --------------------------------------------------------------------------------------------

    async def _sts(self) -> Sts:
        region = await self.region()
        return Sts(self._client(), region, self._now_ms(), self._environment, self.settings.has_fips_sts)

    async def _container_keys(self, url: str) -> AwsKeys:
        env = self._environment
        try:
            parts = urlsplit(url)
            is_safe = parts.scheme == "https" or parts.hostname in _CONTAINER_HOSTS
        except ValueError:
            is_safe = False
        if not is_safe:
            raise CloudError("AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or an address of this machine")
        token = Secret(env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", ""))
        if file := env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
            token = await read_token_file(file)
        return _machine_answer(await self._ask(url, {"Authorization": token.reveal()} if token else {}))

    async def _metadata(self, path: str) -> bytes:
        """Return what the instance's metadata service says, version 2."""
        env = self._environment
        if env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise CloudError("AWS_EC2_METADATA_DISABLED is set")
        base = (env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA).rstrip("/")
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(METADATA_TOKEN_SECONDS)}
        token = await self._ask(base + "/latest/api/token", lifetime, "PUT")
        return await self._ask(base + path, {"X-aws-ec2-metadata-token": token.decode("latin-1").strip()})

    async def _ask(self, url: str, headers: Mapping[str, str], method: str = "GET") -> bytes:
        reply = await exchange(
            self._clients.local(),
            url,
            seconds=METADATA_SECONDS,
            method=method,
            headers=headers,
            answer_bytes_max=METADATA_BYTES_MAX,
        )
        return expect_success(reply, url).body


def _environment_keys(environment: Mapping[str, str]) -> AwsKeys | None:
    access = environment.get("AWS_ACCESS_KEY_ID") or environment.get("AWS_ACCESS_KEY") or ""
    secret = environment.get("AWS_SECRET_ACCESS_KEY") or environment.get("AWS_SECRET_KEY") or ""
    if not (access and secret):
        return None
    return AwsKeys(access, Secret(secret), Secret(environment.get("AWS_SESSION_TOKEN", "")))


def _machine_answer(body: bytes) -> AwsKeys:
    """Return the keys that the metadata service or the container's address gave."""
    try:
        value: Any = json.loads(body)
        if value.get("Code", "Success") != "Success":
            raise CloudError(f"no AWS keys: {value.get('Message') or value['Code']}")
        return AwsKeys(
            str(value["AccessKeyId"]),
            Secret(str(value["SecretAccessKey"])),
            Secret(str(value.get("Token") or "")),
            time_ms(value["Expiration"]) if value.get("Expiration") else None,
        )
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise CloudError("no AWS keys: the answer of the metadata service makes no sense") from None
