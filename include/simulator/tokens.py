"""JSON Web Tokens signed with HS256: KubeSphere's own, and the service account tokens of the simulated clusters.

A real cluster signs service account tokens with an asymmetric key; nothing here depends on the difference.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any


class TokenError(ValueError):
    """A token that is refused, in the words of the Go library that KubeSphere uses."""


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise TokenError("illegal base64 data") from error


def _signature(signed: str, *, key: str) -> str:
    return _encode(hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest())


def sign(claims: dict[str, Any], *, key: str) -> str:
    """Return the token for these claims."""
    header = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}, separators=(",", ":")).encode())
    payload = _encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{header}.{payload}.{_signature(f'{header}.{payload}', key=key)}"


def verify(token: str, *, key: str) -> dict[str, Any]:
    """Return the claims of a token. Raises TokenError when it is none, or signed with another key."""
    parts = token.split(".")
    if len(parts) != 3:
        raise TokenError("token contains an invalid number of segments")
    if not hmac.compare_digest(_signature(f"{parts[0]}.{parts[1]}", key=key).encode(), parts[2].encode()):
        raise TokenError("signature is invalid")
    try:
        claims = json.loads(_decode(parts[1]))
    except ValueError as error:
        raise TokenError("invalid character in token") from error
    if not isinstance(claims, dict):
        raise TokenError("token has invalid claims")
    return claims


def static_admin_token(secret: str) -> str:
    """Return the static token that ks-installer makes of a jwtSecret (kubesphere-facts 7.6)."""
    return sign({"email": "admin@kubesphere.io", "username": "admin", "token_type": "static_token"}, key=secret)


def service_account_token(*, namespace: str, name: str, key: str, expiry: float | None = None) -> str:
    """Return a token for a service account of the cluster that holds this key; `expiry` is in seconds since 1970."""
    return sign(
        {
            **({} if expiry is None else {"exp": int(expiry)}),
            "iss": "kubernetes/serviceaccount",
            "kubernetes.io/serviceaccount/namespace": namespace,
            "kubernetes.io/serviceaccount/service-account.name": name,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        },
        key=key,
    )
