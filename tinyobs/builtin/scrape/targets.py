"""From discovered label sets to scrape targets: defaults, relabelling, the URL.  Pure.

Source of the rules: prometheus scrape/target.go (`PopulateLabels`, `Target.URL`), 3.14.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit

from attrs import Factory, field, frozen

from ...exposition.histogram_rules import HistogramRules
from ...model import labels as lb
from ...model.durations import format_duration, parse_duration
from ...model.labels import Labels
from ...relabel import Rule, apply
from .cluster import Cluster

ADDRESS: Final = "__address__"
SCHEME: Final = "__scheme__"
METRICS_PATH: Final = "__metrics_path__"
INTERVAL: Final = "__scrape_interval__"
TIMEOUT: Final = "__scrape_timeout__"
UNIX_SOCKET: Final = "__unix_socket__"
NATIVE: Final = "__scrape_native_histograms__"
ALWAYS_CLASSIC: Final = "__always_scrape_classic_histograms__"
CONVERT: Final = "__convert_classic_histograms_to_nhcb__"
PARAM: Final = "__param_"
META: Final = "__meta_"
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"", "0", "f", "F", "FALSE", "false", "False"})


@frozen
class PoolDefaults:
    """What a scrape config gives to each of its targets."""

    job: str
    interval_ms: int
    timeout_ms: int
    metrics_path: str = "/metrics"
    scheme: str = "http"
    params: tuple[tuple[str, tuple[str, ...]], ...] = ()
    rules: tuple[Rule, ...] = ()
    cluster: Cluster | None = None
    histograms: HistogramRules = field(factory=HistogramRules)


@frozen(cache_hash=True)
class Target:
    """One endpoint to scrape.  Equal targets are the same target across reloads and discovery updates."""

    labels: Labels
    """The labels that its series get."""
    url: str
    interval_ms: int
    timeout_ms: int
    discovered: Labels = field(eq=False)
    """The labels before relabelling."""
    members: tuple[int, ...] = field(default=(), eq=False)
    """The members of the cluster that scrape it, () where there is no cluster."""
    histograms: HistogramRules = field(factory=HistogramRules)
    unix_socket: str = ""
    """The path of the socket that is asked instead of the host of the URL, "" for none."""

    @property
    def key(self) -> str:
        """What its phase is computed from."""
        return f"{lb.to_text(self.labels)} {self.url}" + (f" {self.unix_socket}" if self.unix_socket else "")


class TargetError(ValueError):
    """A discovered target cannot be scraped; the message says why."""


def make_target(
    own: Mapping[str, str], group: Mapping[str, str], defaults: PoolDefaults
) -> tuple[Labels, Target | None]:
    """Return (discovered labels, target); the target is None when relabelling drops it.

    Raises `TargetError` when the result has no usable address, interval, timeout, histogram setting or label value.
    """
    found = {**group, **own}
    for name, value in (
        ("job", defaults.job),
        (INTERVAL, format_duration(defaults.interval_ms)),
        (TIMEOUT, format_duration(defaults.timeout_ms)),
        (METRICS_PATH, defaults.metrics_path),
        (SCHEME, defaults.scheme),
        (NATIVE, _shown(defaults.histograms.native)),
        (ALWAYS_CLASSIC, _shown(defaults.histograms.always_classic)),
        (CONVERT, _shown(defaults.histograms.convert)),
        *((PARAM + name, values[0]) for name, values in defaults.params if values),
    ):
        if not found.get(name):
            found[name] = value
    discovered = lb.from_mapping(found)
    relabelled = apply(discovered, defaults.rules)
    if relabelled is None:
        return discovered, None
    kept = dict(relabelled)
    address = kept.get(ADDRESS, "")
    if not address:
        raise TargetError("no address")
    if "/" in address:
        raise TargetError(f"{address!r} is not a valid hostname")
    interval, timeout = _timing(kept)
    histograms = HistogramRules(*(_truth(kept, name) for name in (NATIVE, ALWAYS_CLASSIC, CONVERT)))
    url = _url(kept, address, defaults)
    kept.setdefault("instance", address)
    cluster = defaults.cluster
    members = cluster.members_of(dict(relabelled)) if cluster is not None else ()
    if cluster is not None and cluster.member_label:
        kept[cluster.member_label] = str(cluster.number)
    labels = lb.from_mapping({k: v for k, v in kept.items() if not k.startswith("__")})
    socket = kept.get(UNIX_SOCKET, "")
    return discovered, Target(labels, url, interval, timeout, discovered, members, histograms, socket)


@frozen
class Found:
    """What discovered groups come to."""

    targets: list[Target]
    """Without repetition."""
    dropped: list[Labels]
    """Discovered labels of targets that relabelling dropped, those that are kept in mind."""
    dropped_count: int
    """How many relabelling dropped."""
    errors: list[str]
    """Why targets cannot be scraped."""
    elsewhere: list[Target] = Factory(list)
    """Targets that other members of the cluster scrape, those that are kept in mind."""
    elsewhere_count: int = 0


def make_targets(
    groups: Sequence[tuple[Sequence[Mapping[str, str]], Mapping[str, str]]],
    defaults: PoolDefaults,
    dropped_max: int = 0,
) -> Found:
    """Return the targets of all groups.

    dropped_max: how many dropped targets, and targets of other members, are kept in mind (`keep_dropped_targets`), 0
    for all.
    """
    cluster = defaults.cluster
    elsewhere: dict[Target, None] = {}
    targets: dict[Target, None] = {}
    dropped: list[Labels] = []
    dropped_count = 0
    errors = []
    for owns, group in groups:
        for own in owns:
            try:
                discovered, target = make_target(own, group, defaults)
            except (TargetError, ValueError) as e:
                errors.append(f"{own.get(ADDRESS, '')}: {e}")
                continue
            if target is not None:
                is_ours = cluster is None or cluster.number in target.members
                (targets if is_ours else elsewhere).setdefault(target)
                continue
            dropped_count += 1
            if not dropped_max or len(dropped) < dropped_max:
                dropped.append(discovered)
    kept = list(elsewhere)[: dropped_max or None]
    return Found(list(targets), dropped, dropped_count, errors, kept, len(elsewhere))


def _timing(kept: Mapping[str, str]) -> tuple[int, int]:
    times = {}
    for name, what in ((INTERVAL, "interval"), (TIMEOUT, "timeout")):
        try:
            times[what] = parse_duration(kept.get(name, ""))
        except ValueError as e:
            raise TargetError(f"error parsing scrape {what}: {e}") from None
        if times[what] == 0:
            raise TargetError(f"scrape {what} cannot be 0")
    if times["timeout"] > times["interval"]:
        raise TargetError(
            f'scrape timeout cannot be greater than scrape interval ("{kept[TIMEOUT]}" > "{kept[INTERVAL]}")'
        )
    return times["interval"], times["timeout"]


def _shown(value: bool) -> str:
    return "true" if value else "false"


def _truth(kept: Mapping[str, str], name: str) -> bool:
    """Return what a label says; relabelling may have changed it, or removed it, which is no."""
    text = kept.get(name, "")
    if text not in _TRUE and text not in _FALSE:
        raise TargetError(f'error parsing {name} label: "{text}" is neither true nor false')
    return text in _TRUE


def _url(kept: Mapping[str, str], address: str, defaults: PoolDefaults) -> str:
    params: dict[str, list[str]] = {name: list(values) for name, values in defaults.params}
    for name, value in kept.items():
        if name.startswith(PARAM):
            values = params.setdefault(name.removeprefix(PARAM), [""])
            values[:1] = [value]
    scheme = kept.get(SCHEME, "")
    if scheme not in ("http", "https"):
        raise TargetError(f"invalid scheme {scheme!r}: use http or https")
    path = kept.get(METRICS_PATH, "")
    if not path.startswith("/"):
        path = "/" + path
    query = urlencode(sorted(params.items()), doseq=True)
    url = f"{scheme}://{address}{path}" + (("&" if "?" in path else "?") + query if query else "")
    try:
        urlsplit(url).port  # noqa: B018 - raises for a port that is none
    except ValueError as e:
        raise TargetError(f"invalid address {address!r}: {e}") from None
    return url
