"""Preflight's checks of credentials, and of the address and certificate at which the host finds the member."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable

from include.fleet import checking, findings, kubesphere, observed
from include.fleet.checking import Check
from include.fleet.findings import Answer, Finding
from include.fleet.observed import MissingError, Observed, known

_EXPIRES_SOON = datetime.timedelta(days=30)


def server_address(seen: Observed) -> Finding:
    """See whether the member's address and credential have a form that the host's pods can use."""
    prepared = known(seen.imported.kubeconfig)
    if prepared is None:
        raise MissingError("There is no kubeconfig for the host.")
    if not prepared.warnings:
        return findings.ok(
            "server-address", f"The host gets {prepared.server}, with nothing that is outside the kubeconfig."
        )
    told = "; ".join(prepared.warnings)
    return findings.warning("server-address", f"Of connection {seen.imported.conn_id}: {told}.", "Is this meant so?")


def server_trust(seen: Observed) -> Finding:
    """See whether the member's certificate is of the authority that the kubeconfig names."""
    prepared = known(seen.imported.kubeconfig)
    if prepared is not None and "insecure-skip-tls-verify" in prepared.cluster:
        return findings.warning(
            "server-trust",
            f"The host will not verify {prepared.server}: the kubeconfig of connection {seen.imported.conn_id} has "
            "insecure-skip-tls-verify.",
            "Give it certificate-authority-data instead.",
        )
    shown, there = _shown(seen), seen.handshake
    if shown.untrusted:
        return findings.error(
            "server-trust",
            f"The certificate at {shown.address}, issued by {shown.issuer}, is not of the authority in the kubeconfig "
            f"of connection {seen.imported.conn_id}: {shown.untrusted}.",
            "The member was installed anew, or something else answers there. Take its present kubeconfig into the "
            "connection.",
        )
    if not isinstance(there, observed.Unread) and there.untrusted:
        return findings.warning(
            "server-trust",
            f"From where Airflow runs, {there.address} shows a certificate issued by {there.issuer}, which is not the "
            f"member's ({there.untrusted}): something else answers there, or stands in between.",
            "The host's pods may see another: set probe to have them look.",
        )
    return findings.ok("server-trust", f"The certificate at {shown.address} is of the authority in the kubeconfig.")


def server_name(seen: Observed) -> Finding:
    """See whether the member's certificate is for the address that the host uses."""
    shown = _shown(seen)
    if covers(shown.names, shown.name):
        return findings.ok("server-name", f"The certificate at {shown.address} is for {shown.name}.")
    kind = "IP address" if _is_ip(shown.name) else "name"
    evidence = (
        f"The certificate at {shown.address} has no entry for the {kind} {shown.name}; its entries are: "
        f"{', '.join(shown.names) or 'none'}."
    )
    fix = (
        f"Add {shown.name} to the API server's certificate, or set member_server to one of its entries, or "
        "tls-server-name in the kubeconfig."
    )
    if seen.named is not None and kubesphere.is_true(seen.named, kubesphere.READY):
        return findings.warning("server-name", f"{evidence} Yet the host calls the member Ready.", fix)
    return findings.error("server-name", evidence, fix)


def server_expiry(seen: Observed) -> Finding:
    """See whether the member's certificate is valid today, and for how long."""
    shown = _shown(seen)
    until = f"The certificate at {shown.address} is valid from {shown.begins:%Y-%m-%d} to {shown.expires:%Y-%m-%d}"
    fix = "Renew the API server's certificates on the member (kubeadm certs renew)."
    if not shown.begins <= seen.now <= shown.expires:
        return findings.error("server-expiry", f"{until}, and not now.", fix)
    if shown.expires - seen.now < _EXPIRES_SOON:
        return findings.warning("server-expiry", f"{until}: less than 30 days.", fix)
    return findings.ok("server-expiry", f"{until}.")


def _shown(seen: Observed) -> observed.Handshake:
    """Return what the member shows at the host's address, or else at the one that Airflow uses.

    An address can be another machine's where Airflow runs: what is shown there counts only if it can be the member's.
    """
    there, own = seen.handshake, seen.own_handshake
    if isinstance(own, observed.Unread):
        return known(there)
    if isinstance(there, observed.Unread) or there.untrusted:
        return own
    return there


def covers(names: Iterable[str], name: str) -> bool:
    """Tell whether a certificate with these entries is for *name*, as Go and OpenSSL see it."""
    if _is_ip(name):
        return any(_is_ip(entry) and ipaddress.ip_address(entry) == ipaddress.ip_address(name) for entry in names)
    wanted = name.rstrip(".").lower()
    return any(
        entry.lower() == wanted
        or (entry.startswith("*.") and entry[1:].lower() == "." + wanted.partition(".")[2] and "." in wanted)
        for entry in names
    )


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def host_credential(seen: Observed) -> Finding:
    """See how long Airflow's credential for the host is valid."""
    return _credential("host-credential", seen, seen.host.conn_id, known(seen.host.credential))


def member_credential(seen: Observed) -> Finding:
    """See how long Airflow's credential for the member is valid."""
    return _credential("member-credential", seen, seen.member.conn_id, known(seen.member.credential))


def imported_credential(seen: Observed) -> Finding:
    """See whether the host can use the credential that it receives, and for how long."""
    credential, release = known(seen.imported.credential), seen.host.release
    if credential.kind == "token" and not release.takes_tokens:
        return findings.error(
            "imported-credential",
            f"Connection {seen.imported.conn_id} has a token, and KubeSphere {release.minor} on the host needs a "
            "client certificate: with a token a member never becomes Ready (empty CertData).",
            "Give it a kubeconfig with client-certificate-data, or upgrade the host to 3.4.",
        )
    return _credential("imported-credential", seen, seen.imported.conn_id, credential)


def _credential(check: str, seen: Observed, conn_id: str, credential: observed.Credential) -> Finding:
    if credential.expires is None:
        return findings.ok(check, f"The {credential.kind} of connection {conn_id} does not say that it ends.")
    told = f"The {credential.kind} of connection {conn_id} is valid until {credential.expires:%Y-%m-%d %H:%MZ}"
    fix = "Renew it in the connection."
    if credential.expires <= seen.now:
        return findings.error(check, f"{told}, which is past.", fix)
    if credential.expires - seen.now < _EXPIRES_SOON:
        return findings.warning(check, f"{told}: less than 30 days.", fix)
    return findings.ok(check, f"{told}.")


CHECKS: tuple[Check, ...] = (
    Check(
        server_address,
        "Address and kubeconfig for the host have nothing that only Airflow can use",
        Answer.WARNING,
        "Set member_server, or mend the kubeconfig; exec, files and loopback are errors of the conf.",
        "1, 14, P-24, P-25",
        ways=checking.DIRECT,
    ),
    Check(
        server_trust,
        "The member's certificate is of the authority in the kubeconfig",
        Answer.ERROR,
        "Take the member's present kubeconfig into the connection.",
        "3",
        ways=checking.DIRECT,
    ),
    Check(
        server_name,
        "The member's certificate has an entry for the address that the host uses",
        Answer.ERROR,
        "Add the entry, or use an address that has one.",
        "2",
        ways=checking.DIRECT,
    ),
    Check(
        server_expiry,
        "The member's certificate is valid, for 30 days and more",
        Answer.ERROR,
        "Renew the API server's certificates.",
        "3, 11",
        ways=checking.DIRECT,
    ),
    Check(
        host_credential,
        "Airflow's credential for the host is valid, for 30 days and more",
        Answer.ERROR,
        "Renew it in the connection.",
        "11",
    ),
    Check(
        member_credential,
        "Airflow's credential for the member is valid, for 30 days and more",
        Answer.ERROR,
        "Renew it in the connection.",
        "11",
    ),
    Check(
        imported_credential,
        "The credential for the host is of a kind that its KubeSphere takes, and valid for 30 days and more",
        Answer.ERROR,
        "Renew it in the connection, or give another one.",
        "11, 12, 13, P-26",
        ways=checking.DIRECT,
    ),
)
