"""One probe from start to end: the right prober, a deadline, and the two metrics that every probe has."""

from __future__ import annotations

import ssl

import trio
from attrs import frozen

from .address import ProbeError
from .dns_probe import probe_dns
from .http import probe_http
from .icmp import probe_icmp
from .report import Report
from .settings import Module, Prober
from .tcp import probe_tcp


@frozen
class Outcome:
    """What a probe came to."""

    success: bool
    duration_seconds: float
    report: Report


async def run_probe(target: str, module: Module, timeout_seconds: float) -> Outcome:
    """Probe a target; whatever goes wrong is an unsuccessful outcome with the reason in its log."""
    report = Report()
    report.gauge("probe_success", "Whether the probe succeeded.")
    report.gauge("probe_duration_seconds", "How long the probe took, in seconds.")
    report.note("beginning probe", prober=str(module.prober), timeout_seconds=timeout_seconds)
    began = trio.current_time()
    success = False
    with trio.move_on_after(timeout_seconds) as scope:
        try:
            success = await _dispatch(target, module, report)
        except (ProbeError, OSError, ssl.SSLError, ValueError) as e:
            report.note("probe error", error=f"{e}")
    if scope.cancelled_caught:
        success = False
        report.note("timeout", timeout_seconds=timeout_seconds)
    duration = trio.current_time() - began
    report.set("probe_success", success)
    report.set("probe_duration_seconds", duration)
    report.note("probe succeeded" if success else "probe failed", duration_seconds=round(duration, 6))
    return Outcome(success, duration, report)


async def _dispatch(target: str, module: Module, report: Report) -> bool:
    match module.prober:
        case Prober.HTTP:
            return await probe_http(target, module.http, report)
        case Prober.TCP:
            return await probe_tcp(target, module.tcp, report)
        case Prober.DNS:
            return await probe_dns(target, module.dns, report)
        case Prober.ICMP:
            return await probe_icmp(target, module.icmp, report)
