"""What the certificates of a TLS connection say, as metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .connection import TlsStream
from .report import Report

CERTIFICATES_MAX: Final = 32
"""Most certificates of a chain that are looked at."""
_VERSIONS: Final = {"TLSv1": "TLS 1.0", "TLSv1.1": "TLS 1.1", "TLSv1.2": "TLS 1.2", "TLSv1.3": "TLS 1.3"}


def add_tls_metrics(report: Report, stream: TlsStream) -> None:
    """Add version, cipher and the expiry of what the server sent and of what was verified."""
    version = stream.version()
    report.gauge("probe_tls_version_info", "Version of TLS; always 1.", 1, version=_VERSIONS.get(version, "unknown"))
    cipher = stream.cipher()
    if cipher:
        report.gauge("probe_tls_cipher_info", "Cipher suite of the connection; always 1.", 1, cipher=cipher[0])
    try:
        _add_chains(report, *chains(stream))
    except ValueError as e:
        # OpenSSL accepted it, so the probe has not failed; there is only nothing to say about it.
        report.note("a certificate cannot be read", error=str(e))


def _add_chains(report: Report, sent: list[x509.Certificate], verified: list[x509.Certificate]) -> None:
    if sent:
        earliest = min(c.not_valid_after_utc.timestamp() for c in sent)
        help = "When the first of the server's certificates ends, in seconds since 1970."
        report.gauge("probe_ssl_earliest_cert_expiry", help, earliest)
        help = "The server's own certificate; always 1."
        report.gauge("probe_ssl_last_chain_info", help, 1, **describe(sent[0]))
    if verified:
        help = "When the verified chain ends, in seconds since 1970."
        end = min(c.not_valid_after_utc.timestamp() for c in verified)
        report.gauge("probe_ssl_last_chain_expiry_timestamp_seconds", help, end)


def chains(stream: TlsStream) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """Return (certificates the server sent, the verified chain or nothing), leaf first.

    The ssl module made the chains public in Python 3.13; before, they are reached through its inner object.
    """
    outer: Any = stream._ssl_object
    inner: Any = getattr(outer, "_sslobj", None) or outer
    sent = _parse(inner.get_unverified_chain() or ())
    try:
        verified = _parse(inner.get_verified_chain() or ()) if outer.context.verify_mode else []
    except ValueError:
        verified = []
    return sent, verified


def describe(certificate: x509.Certificate) -> dict[str, str]:
    """Return the labels that tell a certificate."""
    der = certificate.public_bytes(Encoding.DER)
    try:
        names: Any = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        alternatives = ",".join(names.get_values_for_type(x509.DNSName))
    except (x509.ExtensionNotFound, ValueError):
        alternatives = ""
    return {
        "fingerprint_sha256": hashlib.sha256(der).hexdigest(),
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "subjectalternative": alternatives,
        "serialnumber": f"{certificate.serial_number:x}",
    }


def _parse(raw: Iterable[Any]) -> list[x509.Certificate]:
    found = []
    for item in list(raw)[:CERTIFICATES_MAX]:
        der = item if isinstance(item, bytes) else _der(item)
        found.append(x509.load_der_x509_certificate(der))
    return found


def _der(item: Any) -> bytes:
    """Return the bytes of a certificate object of the ssl module (2 is its constant for DER)."""
    der: bytes = item.public_bytes(2)
    return der
