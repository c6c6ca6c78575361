"""Signed JSON Web Tokens (RFC 7519, RS256/384/512) with which a client asks for OAuth2 tokens (RFC 7523)."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any, Final

from ..config.http_client import JWT_BEARER, OAuth2
from .errors import HttpError

VALID_SECONDS: Final = 600
"""How long an assertion may be used, as with Prometheus."""


def assertion(config: OAuth2, key_pem: str, now: float) -> str:
    """Return a signed assertion.  now: Unix time in seconds.

    Raises `HttpError` when the key is none, or the library that signs is not installed.
    """
    head: dict[str, Any] = {"alg": str(config.signature_algorithm), "typ": "JWT"}
    if config.client_certificate_key_id:
        head["kid"] = config.client_certificate_key_id
    claims: dict[str, Any] = {
        "iss": config.iss or config.client_id,
        "sub": config.client_id,
        "jti": str(uuid.uuid4()),
        "aud": config.audience or config.token_url,
        "iat": int(now),
        "exp": int(now) + VALID_SECONDS,
    }
    if config.scopes:
        claims["scope"] = " ".join(config.scopes)
    claims.update((name, json.loads(value)) for name, value in config.claims)
    signed = b".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
    return (signed + b"." + _encoded(_sign(signed, key_pem, config))).decode()


def _sign(data: bytes, key_pem: str, config: OAuth2) -> bytes:
    try:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError:
        raise HttpError(
            f"oauth2 with grant_type {JWT_BEARER} signs with the library cryptography, which is not installed: "
            "pip install 'tinyobs[oauth2]'"
        ) from None
    try:
        key = serialization.load_pem_private_key(key_pem.encode(), None)
    except (ValueError, TypeError):
        raise HttpError("oauth2: the client certificate key is no PEM of a private key without passphrase") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise HttpError("oauth2: the client certificate key is not an RSA key")
    kinds = {"RS256": hashes.SHA256(), "RS384": hashes.SHA384(), "RS512": hashes.SHA512()}
    return key.sign(data, padding.PKCS1v15(), kinds[config.signature_algorithm])


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
