"""A rule of stream aggregation: what it takes, how it groups, what it puts out, when.

The values are those after all defaults are filled in; how a file is read is in `config/stream_aggregation.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from attrs import field, frozen

from ..model.labels import NAME, Labels
from ..relabel import Rule

PLAIN_OUTPUTS: Final = (
    "avg",
    "count_samples",
    "count_series",
    "histogram_bucket",
    "increase",
    "increase_prometheus",
    "last",
    "max",
    "min",
    "rate_avg",
    "rate_sum",
    "stddev",
    "stdvar",
    "sum_samples",
    "sum_samples_total",
    "total",
    "total_prometheus",
    "unique_samples",
)
"""All outputs but `quantiles(...)`."""
_QUANTILES: Final = re.compile(r"quantiles\((.*)\)\Z", re.DOTALL)
_GO_UNITS_MS: Final = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
_MORE_UNITS_MS: Final = {"d": 8.64e7, "w": 6.048e8, "y": 3.1536e10}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h|d|w|y)")


class BucketFormat(StrEnum):
    """What the output `histogram_bucket` gives."""

    NATIVE = "native"
    VMRANGE = "vmrange"
    CLASSIC = "classic"


@frozen
class AggregationRule:
    """One rule.  Times are in milliseconds; phis: of the output `quantiles`, as (number, text of the label)."""

    name: str = field(eq=False)
    """What its statistics are labelled with."""
    interval_ms: int
    suffix: str
    """What stands between the name of a metric and the output: `:1m_by_job_`."""
    outputs: tuple[str, ...]
    match: tuple[str, ...] = ()
    dedup_interval_ms: int = 0
    enable_windows: bool = False
    staleness_interval_ms: int = 0
    ignore_first_sample_interval_ms: int = 0
    no_align_flush_to_interval: bool = False
    flush_on_shutdown: bool = False
    by: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    keep_metric_names: bool = False
    ignore_old_samples: bool = False
    ignore_first_intervals: int = 0
    drop_input_labels: tuple[str, ...] = ()
    input_relabel_configs: tuple[Rule, ...] = ()
    output_relabel_configs: tuple[Rule, ...] = ()
    histogram: BucketFormat = BucketFormat.NATIVE
    buckets: tuple[float, ...] = ()
    series_max: int = 0
    histograms_bytes_max: int = 256 << 20
    """Of native histograms that are remembered; samples that do not fit are left out."""

    def grouped(self, labels: Labels) -> Labels:
        """Return the labels of the group that a series goes to."""
        if self.without:
            return tuple(pair for pair in labels if pair[0] not in self.without)
        if self.by:
            return tuple(pair for pair in labels if pair[0] == NAME or pair[0] in self.by)
        return labels


def suffix_of(interval: str, by: Sequence[str], without: Sequence[str]) -> str:
    """Return what is put between the name of a metric and the output; interval: as it stands in the file."""
    names = [name for name in by if name != NAME]
    others = [name for name in without if name != NAME]
    return f":{interval}{'_by_' + '_'.join(names) if names else ''}{'_without_' + '_'.join(others) if others else ''}_"


def parse_interval(text: str) -> int:
    """Return the milliseconds of a duration as Go reads it (`1m30s`, `1.5h`), or with days, weeks, years.

    Raises `ValueError`.
    """
    at, total = 0, 0.0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise ValueError(f"{text!r} is no duration such as 30s or 1m30s")
        total += float(part[1]) * (_GO_UNITS_MS | _MORE_UNITS_MS)[part[2]]
        at = part.end()
    if not text or total > 1e15:
        raise ValueError(f"{text!r} is no duration such as 30s or 1m30s")
    return round(total)


def quantiles_of(output: str) -> tuple[float, ...] | None:
    """Return the phis of an output `quantiles(...)`, None for another output; raises `ValueError` for a bad list."""
    if not output.startswith("quantiles("):
        return None
    found = _QUANTILES.match(output)
    if found is None:
        raise ValueError("missing closing brace for quantiles()")
    if not found[1].strip():
        raise ValueError("quantiles() must contain at least one phi")
    phis = []
    for text in found[1].split(","):
        try:
            phi = float(text.strip())
        except ValueError:
            raise ValueError(f"cannot parse phi {text.strip()!r} of {output}") from None
        if not 0 <= phi <= 1:
            raise ValueError(f"phi inside {output} must be in the range [0..1]; got {text.strip()}")
        phis.append(phi)
    return tuple(phis)


def phi_text(phi: float) -> str:
    """Return the value of the label `quantile`: the shortest decimal that reads back."""
    return str(int(phi)) if phi == int(phi) else repr(phi)
