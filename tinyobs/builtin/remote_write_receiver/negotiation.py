"""Which protobuf message a request has, as its headers say.  Not here: the body.

The header `X-Prometheus-Remote-Write-Version` says nothing that is needed, and is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from ...web.problem import HttpError


class Message(StrEnum):
    """The messages by their full names, as in `Content-Type` and `--web.remote-write-receiver.accepted-protobuf-messages`."""

    V1 = "prometheus.WriteRequest"
    V2 = "io.prometheus.write.v2.Request"

    def __str__(self) -> str:
        return self.value


_PROTOBUF: Final = "application/x-protobuf"
_SNAPPY: Final = "snappy"


def message_of(content_type: str, content_encoding: str, accepted: Sequence[str]) -> Message:
    """Return the message that a request has; raises `HttpError` 415 for what is not accepted.

    Old senders leave headers out: they send version 1.0, with snappy.
    """
    message = _named(content_type)
    if message not in accepted:
        names = ", ".join(accepted)
        raise HttpError(415, f"{message} protobuf message is not accepted by this server; only accepts {names}")
    if content_encoding.strip().lower() not in ("", _SNAPPY):
        raise HttpError(
            415,
            f"{content_encoding} encoding (compression) is not accepted by this server; only {_SNAPPY} is acceptable",
        )
    return message


def _named(text: str) -> Message:
    if not text.strip():
        return Message.V1
    kind, *parameters = (part.strip() for part in text.split(";"))
    if kind.lower() != _PROTOBUF:
        raise HttpError(415, f"expected {_PROTOBUF} as the first (media) part, got {text} content-type")
    for parameter in filter(None, parameters):
        name, *values = parameter.split("=")
        if len(values) != 1:
            raise HttpError(
                415,
                "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, "
                f"got {parameter} in {text} content-type",
            )
        if name.strip().lower() != "proto":
            continue
        try:
            return Message(values[0].strip().strip('"'))
        except ValueError:
            known = ", ".join(Message)
            raise HttpError(
                415, f"got {text} content type; unknown remote write protobuf message {values[0]}, supported: {known}"
            ) from None
    return Message.V1
