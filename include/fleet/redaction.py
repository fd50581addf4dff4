"""How secrets are named without being shown: fingerprints, and text with the secrets taken out.

Pure: no I/O.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

_SHORTEST = 6
"""Shorter values are left alone: they would black out half a log and protect nothing."""


def fingerprint(secret: str) -> str:
    """Return 12 hex digits that tell two secrets apart and give neither away."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()[:12]


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return *text* with each of *secrets*, plain or base64, replaced by its fingerprint.

    By value and not by the name of a field: ks-installer prints the command that it failed in, with the
    jwtSecret in the middle of it (kubesphere-facts 2.4).
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) < _SHORTEST:
            continue
        for form in (secret, *_encoded(secret)):
            text = text.replace(form, f"<{fingerprint(secret)}>")
    return text


def _encoded(secret: str) -> list[str]:
    raw = secret.encode()
    return [base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")]
