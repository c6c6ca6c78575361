"""Signed claims (JWT, RFC 7519) of service accounts that have an RSA key.  Needs the package `cryptography`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from .exchange import CloudError


def rsa_jwt(algorithm: str, key_id: str, claims: Mapping[str, Any], pem: str) -> str:
    """Return signed claims; raises `CloudError` where the key is none, and shows nothing of it.

    algorithm: `RS256` or `RS512`.
    """
    try:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError:
        raise CloudError("a service account's key needs the package cryptography: pip install cryptography") from None
    head = {"alg": algorithm, "typ": "JWT", "kid": key_id}
    text = b".".join(_base64(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
    try:
        private = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        raise CloudError("the private key of the service account is not a PEM key") from None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise CloudError("the private key of the service account is not an RSA key")
    digest = hashes.SHA512() if algorithm == "RS512" else hashes.SHA256()
    return (text + b"." + _base64(private.sign(text, padding.PKCS1v15(), digest))).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
