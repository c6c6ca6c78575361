"""Which format: what a scrape asks for, what a target answered, and what `/metrics` gives to whom.

As Prometheus 3 does it (scrape `acceptHeader`, textparse `extractMediaType`, common/expfmt `Negotiate`): weights fall
in the order of preference, and a target without a usable content type fails unless a fallback is configured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from ..errors import WireError
from .formats import DEFAULT_ORDER, MEDIA_TYPE, Format
from .names import Escaping

_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_MEDIA_TYPE = re.compile(rf"\s*({_WORD})/({_WORD})\s*")
_PARAMETER = re.compile(rf"""\s*;\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))\s*""")
_VERSIONS: Final = frozenset(("", "0.0.1", "0.0.4", "1.0.0"))
_PROTOBUF: Final = "application/vnd.google.protobuf"
_CLAUSES_MAX: Final = 64
"""Clauses of an Accept header that are looked at."""


@frozen
class Answer:
    """The format of an answer and how names are escaped in it."""

    format: Format = Format.TEXT_0_0_4
    escaping: Escaping = Escaping.UNDERSCORES

    @property
    def content_type(self) -> str:
        """The Content-Type header of the answer."""
        parts = MEDIA_TYPE[self.format].split(";")
        if self.format is not Format.PROTOBUF:
            parts.append("charset=utf-8")
        return "; ".join([*parts, f"escaping={self.escaping}"])


def accept_header(protocols: Sequence[Format] = DEFAULT_ORDER, escaping: Escaping = Escaping.ALLOW_UTF8) -> str:
    """Return the Accept header of a scrape that prefers `protocols` in this order and takes anything."""
    weight = len(Format) + 1
    clauses = []
    for protocol in protocols:
        extra = f";escaping={escaping}" if protocol.has_utf8_names else ""
        clauses.append(f"{MEDIA_TYPE[protocol]}{extra};q=0.{weight}")
        weight -= 1
    return ",".join([*clauses, f"*/*;q=0.{weight}"])


def format_of(content_type: str | None, fallback: Format | None = None) -> Format:
    """Return the format of a scraped body; raises `WireError` where the content type does not tell and nothing else does."""
    if not content_type:
        reason = "non-compliant scrape target sending blank Content-Type"
    else:
        parsed = _parse_media_type(content_type)
        if parsed is None:
            reason = f'cannot parse Content-Type "{content_type}"'
        else:
            found = Format.PROTOBUF if parsed[0] == _PROTOBUF else _text_format(*parsed)
            if found is not None:
                return found
            reason = f'received unsupported Content-Type "{content_type}"'
    if fallback is None:
        raise WireError(f"{reason} and no fallback_scrape_protocol specified for target")
    return fallback


def choose(accept: str | None) -> Answer:
    """Return the best format for a client with this Accept header; the text format 0.0.4 where none fits."""
    clauses = []
    for i, clause in enumerate(_split(accept or "")[:_CLAUSES_MAX]):
        parsed = _parse_media_type(clause)
        if parsed is not None:
            clauses.append((-_weight(parsed[1]), i, parsed))
    for negative_weight, _, (media, parameters) in sorted(clauses, key=lambda c: c[:2]):
        answer = _answer(media, parameters) if negative_weight < 0 else None
        if answer is not None:
            return answer
    return Answer()


def _answer(media: str, parameters: Mapping[str, str]) -> Answer | None:
    escaping = parameters.get("escaping", "")
    scheme = Escaping(escaping) if escaping in set(Escaping) else Escaping.UNDERSCORES
    if media == _PROTOBUF:
        wanted = parameters.get("proto", ""), parameters.get("encoding", "")
        fits = wanted == ("io.prometheus.client.MetricFamily", "delimited")
        return Answer(Format.PROTOBUF, scheme) if fits else None
    format = _text_format(media, parameters)
    if format is None or parameters.get("version", "") not in _VERSIONS:
        return None
    if scheme is Escaping.ALLOW_UTF8 and not format.has_utf8_names:
        scheme = Escaping.UNDERSCORES
    return Answer(format, scheme)


def _text_format(media: str, parameters: Mapping[str, str]) -> Format | None:
    newest = parameters.get("version", "") == "1.0.0"
    if media == "application/openmetrics-text":
        return Format.OPENMETRICS_1_0_0 if newest else Format.OPENMETRICS_0_0_1
    if media == "text/plain":
        return Format.TEXT_1_0_0 if newest else Format.TEXT_0_0_4
    return None


def _weight(parameters: Mapping[str, str]) -> float:
    text = parameters.get("q", "1")
    return float(text) if re.fullmatch(r"[01](\.[0-9]{0,3})?", text) else 0.0


def _split(header: str) -> list[str]:
    """Split at commas that are not within quotes."""
    return [m[0] for m in re.finditer(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', header)]


def _parse_media_type(text: str) -> tuple[str, dict[str, str]] | None:
    """Return (type/subtype in lower case, parameters), or None where the text is no media type."""
    match = _MEDIA_TYPE.match(text)
    if match is None:
        return None
    media = f"{match[1]}/{match[2]}".lower()
    parameters: dict[str, str] = {}
    at = match.end()
    while at < len(text):
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            return (media, parameters) if not text[at:].strip("; \t") else None
        value = parameter[3] if parameter[2] is None else re.sub(r"\\(.)", r"\1", parameter[2])
        parameters[parameter[1].lower()] = value
        at = parameter.end()
    return media, parameters
