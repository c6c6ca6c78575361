"""The HTTP probe: request, redirects, expectations, and the time of each phase."""

from __future__ import annotations

import email.utils
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import h2.exceptions
import httpcore
import trio
from attrs import frozen
from tinyobs.http_client import HttpError, credential_headers, has_credential_files

from . import patterns
from .address import ProbeError, declare
from .certificates import add_tls_metrics
from .http_body import Body
from .http_redirects import REDIRECTS, REDIRECTS_MAX, Cookies, Headers, Step, check_url, next_step
from .http_transport import Phases, ProbeBackend, ProbeStream, pool
from .report import Report
from .settings import Compression, HeaderMatch, HttpProbe

PHASES: Final = ("resolve", "connect", "tls", "processing", "transfer")
USER_AGENT: Final = "TinyObs-Probe"
BODY_FILE_BYTES_MAX: Final = 16 << 20
"""Longest request body taken from a file."""
_DURATION: Final = "probe_http_duration_seconds"


@frozen
class Result:
    """The final answer: its head, its body read."""

    status: int
    version: float
    headers: Headers
    body: Body
    stream: ProbeStream


async def probe_http(target: str, probe: HttpProbe, report: Report) -> bool:
    """Probe a URL (http:// where the target names no scheme); raises `ProbeError` where it fails."""
    _declare(report)
    url = check_url(target if target.startswith(("http://", "https://")) else f"http://{target}")
    backend = ProbeBackend(probe, report)
    step = await _first_step(url, probe)
    async with pool(probe, backend) as connections:
        try:
            result = await _Session(probe, report, backend, connections).follow(step)
        except (httpcore.NetworkError, httpcore.ProtocolError, h2.exceptions.H2Error) as e:
            raise ProbeError(f"error for HTTP request: {str(e) or type(e).__name__}") from e
    return _judge(result, probe, report)


class _Session:
    """The round trips of one probe."""

    def __init__(
        self, probe: HttpProbe, report: Report, backend: ProbeBackend, connections: httpcore.AsyncConnectionPool
    ) -> None:
        self._probe, self._report, self._backend, self._connections = probe, report, backend, connections
        self._cookies = Cookies()
        self._first_host = ""

    async def follow(self, step: Step) -> Result:
        """Return the final answer."""
        self._first_host = step.host
        follows = self._probe.client.follow_redirects and not self._probe.no_follow_redirects
        redirects = 0
        while True:
            result, location = await self._send(step, follows and redirects < REDIRECTS_MAX)
            if location is None:
                return result
            redirects += 1
            self._report.set("probe_http_redirects", redirects)
            self._report.note("received redirect", location=location)
            if not follows:
                return result
            if redirects > REDIRECTS_MAX:
                raise ProbeError(f"more than {REDIRECTS_MAX} redirects")
            step = next_step(step, result.status, location)

    async def _send(self, step: Step, follows: bool) -> tuple[Result, str | None]:
        """Make one round trip; the body of a redirect that is followed is not looked at."""
        phases = self._backend.phases = Phases()
        began = trio.current_time()
        self._report.note("making HTTP request", url=step.url, method=step.method)
        request = httpcore.Request(
            step.method,
            step.url,
            headers=self._headers(step),
            content=step.body or None,
            extensions={"sni_hostname": self._server_name(step)} if step.url.startswith("https:") else None,
        )
        answer = await self._connections.handle_async_request(request)
        try:
            answered = trio.current_time()
            headers = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in answer.headers)
            for value in values_of(headers, "Set-Cookie"):
                self._cookies.take(step.host, value)
            location = next(iter(values_of(headers, "Location")), None) if answer.status in REDIRECTS else None
            body = Body(self._probe, next(iter(values_of(headers, "Content-Encoding")), "").strip().lower())
            version = float(answer.extensions["http_version"].decode().removeprefix("HTTP/"))
            result = Result(answer.status, version, headers, body, answer.extensions["network_stream"])
            if location is None or not follows:
                self._final(result)
                await body.read(aiter(answer.stream), result.stream.aclose)  # type: ignore[arg-type]
                self._report.set("probe_http_uncompressed_body_length", body.length)
                self._report.add(_DURATION, trio.current_time() - answered, phase="transfer")
        finally:
            await answer.aclose()
            self._add_phases(phases, began, answered)
        return result, location

    def _final(self, result: Result) -> None:
        """Report the head of the answer that counts."""
        report = self._report
        report.note("received HTTP response", status_code=result.status)
        report.set("probe_http_status_code", result.status)
        report.set("probe_http_version", result.version)
        length = next(iter(values_of(result.headers, "Content-Length")), "-1")
        report.set("probe_http_content_length", float(length) if length.isdigit() else -1)
        stream = result.stream.stream
        if isinstance(stream, trio.SSLStream):
            report.set("probe_http_ssl", 1)
            add_tls_metrics(report, stream)
        modified = next(iter(values_of(result.headers, "Last-Modified")), "")
        try:
            at = email.utils.parsedate_to_datetime(modified)
        except ValueError:
            return
        help = "When the page says it was changed, in seconds since 1970."
        report.gauge("probe_http_last_modified_timestamp_seconds", help, at.timestamp())

    def _headers(self, step: Step) -> list[tuple[str, str]]:
        headers = list(step.headers)
        given = {name.lower() for name, _ in headers}
        if "host" not in given:
            headers.insert(0, ("Host", urlsplit(step.url).netloc.rpartition("@")[2]))
        cookies = self._cookies.header(step.host)
        if cookies and "cookie" not in given:
            headers.append(("Cookie", cookies))
        if step.body or step.method in ("POST", "PUT", "PATCH"):
            headers.append(("Content-Length", str(len(step.body))))
        return headers

    def _server_name(self, step: Step) -> str:
        """Return the name for TLS: the configured one and the Host header count for the first host only."""
        if step.host == self._first_host:
            name = self._probe.client.tls_config.server_name
            host = next(iter(values_of(step.headers, "Host")), "")
            return name or urlsplit(f"//{host}").hostname or step.host
        return step.host

    def _add_phases(self, phases: Phases, began: float, answered: float) -> None:
        for name in ("resolve", "connect", "tls"):
            seconds = getattr(phases, name)
            if seconds is not None:
                self._report.add(_DURATION, seconds, phase=name)
        self._report.add(_DURATION, answered - (phases.ready_at or began), phase="processing")


def values_of(headers: Headers, name: str) -> list[str]:
    """Return the values of a header, whatever its case."""
    wanted = name.lower()
    return [value for key, value in headers if key.lower() == wanted]


async def _first_step(url: str, probe: HttpProbe) -> Step:
    headers = [*probe.headers]
    given = {name.lower() for name, _ in headers}
    if "user-agent" not in given:
        headers.append(("User-Agent", USER_AGENT))
    if "accept-encoding" not in given and probe.compression is not Compression.NONE:
        headers.append(("Accept-Encoding", str(probe.compression)))
    try:
        if has_credential_files(probe.client):
            credentials = await trio.to_thread.run_sync(credential_headers, probe.client)
        else:
            credentials = credential_headers(probe.client)
    except HttpError as e:
        raise ProbeError(str(e)) from e
    headers += [(k, v) for k, v in credentials if k.lower() not in given]
    body = probe.body.encode()
    if probe.body_file:
        try:
            body = await trio.to_thread.run_sync(_read_body, probe.body_file)
        except OSError as e:
            raise ProbeError(f"cannot read body_file: {e}") from e
    return Step(url, probe.method.upper(), tuple(headers), body)


def _read_body(path: str) -> bytes:
    with Path(path).open("rb") as f:
        return f.read(BODY_FILE_BYTES_MAX)


def _declare(report: Report) -> None:
    declare(report)
    for phase in PHASES:
        report.gauge(_DURATION, "Time of each phase summed over redirects, in seconds.", 0, phase=phase)
    report.gauge("probe_http_content_length", "Length of the body as announced, in bytes; -1 where it is not.")
    report.gauge("probe_http_uncompressed_body_length", "Length of the body as read, in bytes.")
    report.gauge("probe_http_redirects", "Redirects met.")
    report.gauge("probe_http_ssl", "Whether the final answer came over TLS.")
    report.gauge("probe_http_status_code", "Status code of the final answer, 0 for none.")
    report.gauge("probe_http_version", "Version of HTTP of the final answer.")
    report.gauge("probe_failed_due_to_regex", "Whether the probe failed because of a pattern.")


def _judge(result: Result, probe: HttpProbe, report: Report) -> bool:
    """Return whether the final answer is as expected."""
    success = result.status in probe.valid_status_codes if probe.valid_status_codes else result.status // 100 == 2
    if not success:
        report.note("invalid HTTP response status code", status_code=result.status)
    elif not (_headers_are_good(result.headers, probe, report) and _body_is_good(result.body, probe, report)):
        report.set("probe_failed_due_to_regex", 1)
        success = False
    if probe.valid_http_versions and f"HTTP/{result.version}" not in probe.valid_http_versions:
        report.note("invalid HTTP version", version=result.version)
        success = False
    secure = isinstance(result.stream.stream, trio.SSLStream)
    if (secure and probe.fail_if_ssl) or (not secure and probe.fail_if_not_ssl):
        report.note("final request was over TLS" if secure else "final request was not over TLS")
        success = False
    return success


def _headers_are_good(headers: Headers, probe: HttpProbe, report: Report) -> bool:
    def good(rule: HeaderMatch, should_match: bool) -> bool:
        values = values_of(headers, rule.header)
        if not values:
            return rule.allow_missing
        return any(patterns.found(rule.regexp, v) for v in values) is should_match

    for rules, should_match in ((probe.fail_if_header_matches, False), (probe.fail_if_header_not_matches, True)):
        for rule in rules:
            if not good(rule, should_match):
                report.note("header is not as expected", header=rule.header, regexp=rule.regexp)
                return False
    return True


def _body_is_good(body: Body, probe: HttpProbe, report: Report) -> bool:
    text = body.text()
    for unwanted in probe.fail_if_body_matches_regexp:
        if patterns.found(unwanted, text):
            report.note("body matched regular expression", regexp=unwanted)
            return False
    for wanted in probe.fail_if_body_not_matches_regexp:
        if not patterns.found(wanted, text):
            report.note("body did not match regular expression", regexp=wanted)
            return False
    return True
