"""The client side of HTTP: everything that asks others does it here, with the settings of an `http_config`.

`Client` makes requests; TLS, credentials, proxies, redirects and the user agent are the same for scraping, discovery and
remote write, and the libraries below (httpx for URLs, httptools for HTTP/1.1, httpcore for HTTP/2) can be exchanged in
one place.  Files with credentials and certificates are looked at before each request, at most once a second.

- `client.py`: `Client`, `Shared`, `Answer`; redirects, second tries
- `pool.py`, `dialing.py`, `proxies.py`: which connection, and how it is made
- `http1.py`, `http2.py`: one request and its answer
- `credentials.py`, `tokens.py`, `assertions.py`: what a request proves itself with
- `signing.py`: `RequestSigner`, for credentials that depend on the request or come from elsewhere
- `tls.py`, `files.py`, `fields.py`, `places.py`, `errors.py`: what the others share
"""

from .client import REDIRECTS_MAX, USER_AGENT, Answer, Client, Shared
from .credentials import credential_headers, has_credential_files
from .errors import HttpError, describe
from .signing import RequestSigner
from .tls import tls_context

__all__ = [
    "REDIRECTS_MAX",
    "USER_AGENT",
    "Answer",
    "Client",
    "HttpError",
    "RequestSigner",
    "Shared",
    "credential_headers",
    "describe",
    "has_credential_files",
    "tls_context",
]
