"""What an answer to a remote-write request means: the rules of the specifications 1.0 and 2.0 for senders, as a function.

    2xx                     delivered; in 2.0 as far as the headers `...-Written` say, and without any of them the receiver
                            knows 1.0 only
    415 to 2.0              the receiver knows 1.0 only
    5xx, 429 where asked    try again, after `Retry-After` where it says
    all others              refused for good

Sources: prometheus.io/docs/specs/prw/remote_write_spec and remote_write_spec_2_0; prometheus storage/remote/client.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Final

from attrs import frozen

RETRY_AFTER_SECONDS_MAX: Final = 3600.0
"""Longest time that a receiver may ask to wait."""
TEXT_SHOWN_MAX: Final = 256
"""Characters of a receiver's text that are logged."""
_WRITTEN: Final = "x-prometheus-remote-write-{}-written"
_DIGITS_MAX: Final = 19


class Fate(Enum):
    """What becomes of a request."""

    DELIVERED = auto()
    AGAIN = auto()
    REFUSED = auto()
    UNSUPPORTED = auto()
    """The receiver does not know the message."""


@frozen
class Written:
    """What a receiver of 2.0 says that it has written."""

    samples: int = 0
    histograms: int = 0
    exemplars: int = 0

    @property
    def nothing(self) -> bool:
        """Whether it has written nothing at all."""
        return not (self.samples or self.histograms or self.exemplars)


@frozen
class Verdict:
    """What an answer means.  wait_seconds: when to try again, None where the answer does not say."""

    fate: Fate
    status: int = 0
    wait_seconds: float | None = None
    written: Written | None = None
    text: str = ""


def judge(
    status: int,
    headers: Mapping[str, str],
    text: str,
    *,
    v2: bool,
    retry_429: bool,
    now_ms: int,
    is_empty: bool = False,
) -> Verdict:
    """Return what an answer means.

    headers: found by names in lower case.  text: the beginning of the body.  v2: whether the request was of 2.0.
    is_empty: whether there was nothing to write in the request, so that headers are not expected.
    """
    written = _written(headers) if v2 else None
    shown = " ".join(text.split())[:TEXT_SHOWN_MAX]
    if status // 100 == 2:
        unknown = v2 and written is None and not is_empty
        return Verdict(Fate.UNSUPPORTED if unknown else Fate.DELIVERED, status, None, written, shown)
    if v2 and status == 415:
        return Verdict(Fate.UNSUPPORTED, status, None, written, shown)
    if status // 100 == 5 or (status == 429 and retry_429):
        wait = retry_after(headers.get("retry-after", ""), now_ms)
        return Verdict(Fate.AGAIN, status, wait, written, shown)
    return Verdict(Fate.REFUSED, status, None, written, shown)


def retry_after(text: str, now_ms: int) -> float | None:
    """Return the seconds to wait, given as a number or as an HTTP date; None for anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        return min(float(text), RETRY_AFTER_SECONDS_MAX)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - now_ms / 1000
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)


def _written(headers: Mapping[str, str]) -> Written | None:
    """Return what the headers say, None when there is none of them; one that is missing or no number counts as 0."""
    found = [headers.get(_WRITTEN.format(kind)) for kind in ("samples", "histograms", "exemplars")]
    if all(text is None for text in found):
        return None
    return Written(*(_number(text or "") for text in found))


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else 0
