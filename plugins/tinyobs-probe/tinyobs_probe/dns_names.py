"""Names of DNS types, classes and response codes, checked where the configuration is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dns.exception
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype


def name_faults(query_name: str, query_type: str, query_class: str, rcodes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for each name that DNS does not know."""
    try:
        dns.name.from_text(query_name)
    except (dns.exception.DNSException, UnicodeError) as e:
        yield "query_name", f"query name '{query_name}' is not valid: {e}"
    try:
        dns.rdatatype.from_text(query_type)
    except (dns.exception.DNSException, ValueError):
        yield "query_type", f"query type '{query_type}' is not valid"
    try:
        dns.rdataclass.from_text(query_class)
    except (dns.exception.DNSException, ValueError):
        yield "query_class", f"query class '{query_class}' is not valid"
    for code in rcodes:
        try:
            dns.rcode.from_text(code)
        except (dns.exception.DNSException, ValueError):
            yield "valid_rcodes", f"rcode '{code}' is not valid"
