"""The route `/probe`, for scrape configurations written for blackbox_exporter.

Parameters: `target`, `module` (default `http_2xx`), `hostname` (Host header or TLS name), `debug=true` for the log
instead of the metrics.  The answer is the classic text format.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from tinyobs.config.fields import plan
from tinyobs.config.http_client import HttpClientConfig
from tinyobs.model.families import MetricFamily
from tinyobs.model.labels import Labels, quote

from .run import Outcome, run_probe
from .settings import Module, Prober, ProbeSettings

PATH: Final = "/probe"
DEFAULT_MODULE: Final = "http_2xx"
TIMEOUT_OFFSET_SECONDS: Final = 0.5
"""A probe ends this much before the scrape would, so that its failure can still be told."""
LONGEST_SECONDS: Final = 120.0
"""Time of a probe for which neither the scraper nor the module sets one."""
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_TIMEOUT_HEADER: Final = "X-Prometheus-Scrape-Timeout-Seconds"


class BadRequest(ValueError):
    """What is asked for cannot be probed."""


class ProbeRoute:
    """Answers requests, of which `concurrency_max` probe at the same time; `settings` gives the running ones."""

    def __init__(self, settings: Callable[[], ProbeSettings]) -> None:
        self._settings = settings
        self._limiter = trio.CapacityLimiter(1)

    async def answer(self, request: Request) -> Response:
        """Probe and answer."""
        settings = self._settings()
        self._limiter.total_tokens = settings.concurrency_max
        try:
            target, module = chosen(request, settings)
            seconds = timeout_seconds(request.headers.get(_TIMEOUT_HEADER), module)
        except BadRequest as e:
            return PlainTextResponse(f"{e}\n", 400)
        async with self._limiter:
            outcome = await run_probe(target, module, seconds)
        if request.query_params.get("debug") == "true":
            return PlainTextResponse(debug_text(outcome, module))
        return Response(classic_text(outcome.report.families()), media_type=CONTENT_TYPE)


def chosen(request: Request, settings: ProbeSettings) -> tuple[str, Module]:
    """Return target and module of a request; raises `BadRequest`."""
    params = request.query_params
    name = params.get("module") or DEFAULT_MODULE
    module = settings.all_modules().get(name)
    if module is None:
        raise BadRequest(f'Unknown module "{name}"')
    target = params.get("target", "")
    if not target:
        raise BadRequest("Target parameter is missing")
    hostname = params.get("hostname", "")
    return target, with_hostname(module, hostname) if hostname else module


def with_hostname(module: Module, hostname: str) -> Module:
    """Return the module that asks for another host name than the target's; raises `BadRequest`."""
    if module.prober is Prober.HTTP:
        own = {v for k, v in module.http.headers if k.lower() == "host"}
        if own - {hostname}:
            raise BadRequest(
                f"host header defined both in module configuration ({own.pop()}) "
                f"and with URL-parameter 'hostname' ({hostname})"
            )
        headers = (*(h for h in module.http.headers if h[0].lower() != "host"), ("Host", hostname))
        return attrs.evolve(module, http=attrs.evolve(module.http, headers=headers))
    if module.prober is Prober.TCP and not module.tcp.tls_config.server_name:
        tls_config = attrs.evolve(module.tcp.tls_config, server_name=hostname)
        return attrs.evolve(module, tcp=attrs.evolve(module.tcp, tls_config=tls_config))
    return module


def timeout_seconds(header: str | None, module: Module) -> float:
    """Return the time a probe has: the scraper's less the offset, or the module's where that is shorter."""
    try:
        asked = float(header) if header else 0.0
    except ValueError:
        asked = math.nan
    if not math.isfinite(asked) or asked < 0:
        raise BadRequest(f"Failed to parse timeout from Prometheus header: {header!r}")
    longest = (asked or LONGEST_SECONDS) - TIMEOUT_OFFSET_SECONDS
    if longest <= 0:
        longest = asked
    own = module.timeout / 1000
    return min(own, longest) if own else longest


def classic_text(families: list[MetricFamily]) -> str:
    """Return gauges in the text format 0.0.4, which every scraper reads."""
    lines = []
    for f in families:
        lines += [f"# HELP {f.name} {f.help}", f"# TYPE {f.name} {f.type}"]
        lines += [f"{f.name}{_labels(p.labels)} {p.value!r}" for p in f.points]
    return "\n".join(lines) + "\n"


def debug_text(outcome: Outcome, module: Module) -> str:
    """Return the log of a probe, its metrics and its module, secrets masked."""
    log = "\n".join(outcome.report.log)
    part = getattr(module, str(module.prober))
    config = "\n".join(_shown(part))
    metrics = classic_text(outcome.report.families())
    return (
        f"Logs for the probe:\n{log}\n\n\n\nMetrics that would have been returned:\n{metrics}\n\n\n"
        f"Module configuration:\nprober: {module.prober}\n{config}\n"
    )


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f"{k}={quote(v)}" for k, v in labels) + "}" if labels else ""


def _shown(part: Any) -> list[str]:
    """Return `key: value` for what differs from its default."""
    lines = []
    for p in plan(part.__class__):
        value = getattr(part, p.attribute)
        if isinstance(value, HttpClientConfig):
            lines += _shown(value)
        elif not p.required and value != p.default():
            lines.append(f"{p.key}: {value!r}")
    return lines
