"""Discovery kind `aws`: what the other kinds of AWS find, under the key that Prometheus has for all services of AWS.

Settings: prometheus discovery/aws/aws.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from attrs import frozen
from tinyobs.abc import Discoverer, DiscovererContext, DiscovererKind
from tinyobs.config.fields import Fault, inline, setting
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.model.durations import DurationMs
from tinyobs.model.secrets import Secret

from .ec2 import Ec2Discoverer, Ec2Filter, Ec2SdConfig, filter_faults
from .ecs import EcsDiscoverer, EcsSdConfig
from .elasticache import ElasticacheDiscoverer, ElasticacheSdConfig
from .lightsail import LightsailDiscoverer, LightsailSdConfig
from .msk import MskDiscoverer, MskSdConfig
from .rds import RdsDiscoverer, RdsSdConfig

KEY: Final = "aws_sd_configs"


class AwsRole(StrEnum):
    """Services that are asked."""

    EC2 = "ec2"
    ECS = "ecs"
    ELASTICACHE = "elasticache"
    LIGHTSAIL = "lightsail"
    MSK = "msk"
    RDS = "rds"


@frozen(kw_only=True)
class AwsSdConfig:
    """One entry of `aws_sd_configs`."""

    role: str = setting(default="")
    region: str = setting(default="")
    """Empty: that of the environment, the profile or the instance."""
    endpoint: str = setting(default="")
    """An address instead of the region's own."""
    access_key: str = setting(default="")
    secret_key: Secret = setting(default=Secret())
    profile: str = setting(default="")
    role_arn: str = setting(default="")
    external_id: str = setting(default="")
    filters: tuple[Ec2Filter, ...] = setting(default=())
    """For the roles `ec2` and `rds` only."""
    clusters: tuple[str, ...] = setting(default=())
    """Not for the roles `ec2` and `lightsail`."""
    port: int = setting(default=80, low=0, high=65535)
    refresh_interval_ms: DurationMs = setting("refresh_interval", default=DurationMs(60_000), low=1)
    http: HttpClientConfig = inline(HttpClientConfig)

    def faults(self) -> Iterator[Fault]:
        """Yield roles that there are not, and filters that would match nothing."""
        if self.role not in list(AwsRole):
            yield Fault(f'unknown AWS SD role "{self.role}"', "role")
        yield from filter_faults(self.filters)


def make(config: AwsSdConfig, context: DiscovererContext) -> Discoverer:
    """Return the discoverer of the role."""
    shared = {
        name: getattr(config, name)
        for name in (
            "region",
            "endpoint",
            "access_key",
            "secret_key",
            "profile",
            "role_arn",
            "external_id",
            "port",
            "refresh_interval_ms",
            "http",
        )
    }
    match AwsRole(config.role):
        case AwsRole.EC2:
            return Ec2Discoverer(Ec2SdConfig(**shared, filters=config.filters), context)
        case AwsRole.ECS:
            return EcsDiscoverer(EcsSdConfig(**shared, clusters=config.clusters), context)
        case AwsRole.ELASTICACHE:
            return ElasticacheDiscoverer(ElasticacheSdConfig(**shared, clusters=config.clusters), context)
        case AwsRole.LIGHTSAIL:
            return LightsailDiscoverer(LightsailSdConfig(**shared), context)
        case AwsRole.MSK:
            return MskDiscoverer(MskSdConfig(**shared, clusters=config.clusters), context)
        case AwsRole.RDS:
            return RdsDiscoverer(RdsSdConfig(**shared, clusters=config.clusters, filters=config.filters), context)


KIND: Final = DiscovererKind(KEY, AwsSdConfig, make)
