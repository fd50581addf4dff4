"""What certificates and tokens say of themselves: a server's as it shows it, and a connection's own.

Access: opens TLS connections, and sends nothing over them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from include.fleet import errors, kubeconfig, observed

_PATIENCE = 2.0
"""Seconds for each part of a handshake: who answers later is as good as not reached from here."""
_EXPIRED = frozenset({9, 10})
"""OpenSSL's codes for a certificate that is not valid yet, or no longer: told by its dates."""


async def handshake(server: str, *, wanted: str, cluster: Mapping[str, Any]) -> observed.Handshake:
    """Return what a TLS server shows, to be compared with what a client of *wanted* looks for.

    *cluster* is a kubeconfig's part that says whom to trust, and at times by which name.
    Raises UnreachableError where no server answers with a certificate.
    """
    parts = urlsplit(server)
    host, port = parts.hostname or "", parts.port or 443
    authority = _plain(str(cluster.get("certificate-authority-data") or ""))
    try:
        shown, untrusted = await asyncio.to_thread(_shake, host, port, authority)
        certificate = x509.load_der_x509_certificate(shown)
    except (OSError, ValueError) as error:
        raise errors.UnreachableError(
            f"{server} was not reached from where Airflow runs ({str(error) or type(error).__name__}), so that its "
            "certificate was not seen."
        ) from None
    return observed.Handshake(
        address=server,
        name=str(cluster.get("tls-server-name") or urlsplit(wanted).hostname),
        untrusted=untrusted,
        names=_names(certificate),
        expires=certificate.not_valid_after_utc,
        begins=certificate.not_valid_before_utc,
        issuer=certificate.issuer.rfc4514_string(),
    )


def _shake(host: str, port: int, authority: str) -> tuple[bytes, str]:
    """Return the certificate that is shown, and why it is not trusted, "" if it is; blocks for seconds at most."""
    try:
        context = ssl.create_default_context(cadata=authority or None)
    except ssl.SSLError:
        return _certificate(host, port, _blind()), "the kubeconfig's certificate-authority-data is no certificate"
    # The name is compared with the certificate's entries afterwards, so that they can be told.
    context.check_hostname = False
    try:
        return _certificate(host, port, context), ""
    except ssl.SSLCertVerificationError as error:
        untrusted = "" if error.verify_code in _EXPIRED else error.verify_message
        return _certificate(host, port, _blind()), untrusted


def _blind() -> ssl.SSLContext:
    """Return a context that trusts everybody: only to look at a certificate, nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _certificate(host: str, port: int, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection((host, port), timeout=_PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def ends(text: str) -> datetime.datetime | None:
    """Return until when the credential in a kubeconfig is valid, None where it does not say."""
    found = kubeconfig.essence(text)
    return None if found is None else credential(dict(found[1])).expires


def credential(user: Mapping[str, Any]) -> observed.Credential:
    """Return how a kubeconfig's user identifies itself, and until when; nothing of the credential itself."""
    if user.get("token"):
        return observed.Credential("token", _token_end(str(user["token"])))
    if user.get("client-certificate-data"):
        return observed.Credential("certificate", _certificate_end(str(user["client-certificate-data"])))
    kinds = [key for key in ("exec", "auth-provider", "tokenFile", "client-certificate") if key in user]
    return observed.Credential(kinds[0] if kinds else "user", None)


def _token_end(token: str) -> datetime.datetime | None:
    """Return when a token ends that is a JWT and says so; it is not verified."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.datetime.fromtimestamp(float(claims["exp"]), datetime.UTC)
    except (ValueError, LookupError, TypeError, OverflowError):
        return None


def _certificate_end(data: str) -> datetime.datetime | None:
    with contextlib.suppress(ValueError):
        return x509.load_pem_x509_certificate(_plain(data).encode()).not_valid_after_utc
    return None


def _plain(data: str) -> str:
    """Return what a kubeconfig holds in base64, or as it is."""
    return kubeconfig.from_base64(data) or data
