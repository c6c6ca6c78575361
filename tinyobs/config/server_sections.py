"""The sections `storage`, `otlp` and `tracing` of a Prometheus configuration.

Format, defaults and messages: prometheus config/config.go.  TinyObs's own settings of the storage are in
`settings.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from attrs import frozen

from ..model.durations import DurationMs
from ..model.sizes import SizeBytes
from .fields import Fault, setting, unsupported
from .http_client import TlsConfig
from .remote import header_faults


class FloatEncoding(StrEnum):
    """Chunk encodings of Prometheus; TinyObs has its own format, so the choice is accepted and changes nothing."""

    XOR = "xor"
    XOR2 = "xor2"


@frozen(kw_only=True)
class ChunkEncoding:
    """Encodings by kind of sample."""

    floats: FloatEncoding = setting(default=FloatEncoding.XOR)


@frozen(kw_only=True)
class RetentionConfig:
    """What may go: samples beyond an age, the oldest beyond a size or a share of the disk.  0 means not limited."""

    time_ms: DurationMs = setting("time", default=DurationMs(0))
    size_bytes: SizeBytes = setting("size", default=SizeBytes(0), low=0)
    percentage: float = setting(default=0.0, low=0, high=100)


@frozen(kw_only=True)
class TsdbConfig:
    """The time series storage."""

    out_of_order_time_window_ms: DurationMs | None = setting("out_of_order_time_window", default=None)
    """None where it is not given: then `tinyobs.storage.out_of_order_window` holds."""
    stale_series_compaction_threshold: float = unsupported(default=0.0)
    chunk_encoding: ChunkEncoding = setting(factory=ChunkEncoding, omit=ChunkEncoding())
    retention: RetentionConfig = setting(factory=RetentionConfig)


@frozen(kw_only=True)
class ExemplarsConfig:
    """The ring of exemplars."""

    max_exemplars: int = setting(default=100_000)


@frozen(kw_only=True)
class StorageConfig:
    """The section `storage`."""

    tsdb: TsdbConfig = setting(factory=TsdbConfig)
    exemplars: ExemplarsConfig = setting(factory=ExemplarsConfig, omit=ExemplarsConfig())


class TranslationStrategy(StrEnum):
    """How names of OpenTelemetry become names of metrics and labels."""

    UNDERSCORES_WITH_SUFFIXES = "UnderscoreEscapingWithSuffixes"
    UNDERSCORES_WITHOUT_SUFFIXES = "UnderscoreEscapingWithoutSuffixes"
    UTF8_WITH_SUFFIXES = "NoUTF8EscapingWithSuffixes"
    NONE = "NoTranslation"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a strategy that there is not."""
        return f'unsupported OTLP translation strategy "{text}"'


@frozen(kw_only=True)
class OtlpConfig:
    """How OTLP input is translated."""

    promote_all_resource_attributes: bool = setting(default=False)
    promote_resource_attributes: tuple[str, ...] = setting(default=())
    ignore_resource_attributes: tuple[str, ...] = setting(default=())
    translation_strategy: TranslationStrategy = setting(default=TranslationStrategy.UNDERSCORES_WITH_SUFFIXES)
    keep_identifying_resource_attributes: bool = setting(default=False)
    convert_histograms_to_nhcb: bool = setting(default=False)
    promote_scope_metadata: bool = setting(default=False)
    label_name_underscore_sanitization: bool = setting(default=True)
    label_name_preserve_multiple_underscores: bool = setting(default=True)

    def faults(self) -> Iterator[Fault]:
        """Yield contradictions."""
        if self.promote_all_resource_attributes and self.promote_resource_attributes:
            yield Fault(
                "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously",
                "promote_resource_attributes",
            )
        if self.ignore_resource_attributes and not self.promote_all_resource_attributes:
            yield Fault(
                "'ignore_resource_attributes' cannot be configured unless 'promote_all_resource_attributes' is true",
                "ignore_resource_attributes",
            )
        yield from _attribute_faults(self.promote_resource_attributes, "promote_resource_attributes", "promoted")
        yield from _attribute_faults(self.ignore_resource_attributes, "ignore_resource_attributes", "ignored")


class TracingClient(StrEnum):
    """How traces are sent."""

    GRPC = "grpc"
    HTTP = "http"

    @classmethod
    def refusal(cls, text: str) -> str:
        """Return the message for a client that there is not."""
        return f"expected tracing client type to be to be http or grpc, but got {text}"


@frozen(kw_only=True)
class TracingConfig:
    """Where the server's own traces go."""

    client_type: TracingClient = setting(default=TracingClient.GRPC)
    endpoint: str = setting(default="")
    sampling_fraction: float = setting(default=0.0, low=0, high=1)
    insecure: bool = setting(default=False)
    tls_config: TlsConfig = setting(factory=TlsConfig)
    headers: tuple[tuple[str, str], ...] = setting(default=())
    compression: str = setting(default="")
    timeout_ms: DurationMs = setting("timeout", default=DurationMs(0))

    def faults(self) -> Iterator[Fault]:
        """Yield what is missing or not allowed."""
        if not self.endpoint:
            yield Fault("tracing endpoint must be set", "endpoint")
        if self.compression not in ("", "gzip"):
            yield Fault(f"invalid compression type {self.compression} provided, valid options: gzip", "compression")
        yield from header_faults(self.headers, "custom authorization header configuration is not yet supported")


def _attribute_faults(names: tuple[str, ...], key: str, adjective: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for i, name in enumerate(names):
        bare = name.strip()
        if not bare:
            yield Fault(f"invalid '{key}': empty {adjective} OTel resource attribute", f"{key}[{i}]")
        elif bare in seen:
            yield Fault(f"invalid '{key}': duplicated {adjective} OTel resource attribute \"{bare}\"", f"{key}[{i}]")
        seen.add(bare)
