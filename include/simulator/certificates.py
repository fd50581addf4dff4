"""Certificates of one cluster: its authority, its server certificate and client certificates.

Elliptic-curve keys, because a scenario starts several clusters and RSA keys would take most of that time.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

YEAR = datetime.timedelta(days=365)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load the pair; Python's ssl reads files only, so it lies on disk for a moment, readable by this user."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "pair.pem")
            path.touch(mode=0o600)
            path.write_text(self.certificate + self.key)
            context.load_cert_chain(path)


class Authority:
    """The certificate authority of one cluster."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = _usage(signs_certificates=True)
        builder = (
            self._builder(self._subject, key=self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue_server(
        self,
        common_name: str,
        *,
        names: Iterable[str],
        addresses: Iterable[str],
        lifetime: datetime.timedelta = YEAR,
    ) -> Pair:
        """Return a server certificate for these host names and addresses; one that has expired if lifetime says so."""
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        return self._issue(subject, usage=ExtendedKeyUsageOID.SERVER_AUTH, alternatives=alternatives, lifetime=lifetime)

    def issue_client(self, user: str, *, groups: list[str], lifetime: datetime.timedelta = YEAR) -> Pair:
        """Return a client certificate: the user is the common name, each group an organisation."""
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        return self._issue(subject, usage=ExtendedKeyUsageOID.CLIENT_AUTH, alternatives=[], lifetime=lifetime)

    def _issue(
        self,
        subject: x509.Name,
        *,
        usage: x509.ObjectIdentifier,
        alternatives: list[x509.GeneralName],
        lifetime: datetime.timedelta,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._builder(subject, key=key.public_key(), lifetime=lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Pair(
            certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
            key=key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
        )

    def _builder(
        self, subject: x509.Name, *, key: ec.EllipticCurvePublicKey, lifetime: datetime.timedelta = YEAR
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        end = now + lifetime
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now - datetime.timedelta(minutes=5), end - YEAR))
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def expiry(certificate: str) -> datetime.datetime:
    """Return when a PEM certificate stops being valid. Raises ValueError when it is none."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc
