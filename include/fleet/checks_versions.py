"""Preflight's checks of versions: KubeSphere's and Kubernetes', of each cluster and of both together."""

from __future__ import annotations

from include.fleet import findings, kubesphere
from include.fleet.checking import Check
from include.fleet.findings import Answer, Finding
from include.fleet.observed import MissingError, Observed, Side, known

_UPGRADE = "Upgrade the host first, then the members, to the same minor version."


def host_kubesphere(seen: Observed) -> Finding:
    """See whether the host runs a KubeSphere that this project knows."""
    return _kubesphere("host-kubesphere", seen.host)


def member_kubesphere(seen: Observed) -> Finding:
    """See whether the member runs a KubeSphere that this project knows."""
    return _kubesphere("member-kubesphere", seen.member)


def _kubesphere(check: str, side: Side) -> Finding:
    configuration = known(side.configuration)
    if configuration is None:
        return findings.error(
            check,
            f"The {side} has no {kubesphere.CONFIGURATION}: KubeSphere 3.x is not installed there.",
            "Install KubeSphere with ks-installer, with the role none, wait until it is finished, then run the join "
            "again.",
        )
    version = kubesphere.version(configuration) or "of unknown version"
    if kubesphere.release(configuration) is None:
        supported = ", ".join(kubesphere.RELEASES)
        return findings.error(check, f"The {side} runs KubeSphere {version}; supported is {supported}.", _UPGRADE)
    if side.config is None:
        return findings.error(
            check,
            f"{kubesphere.CONFIG} of the {side} is not there, or holds no usable {kubesphere.CONFIG_KEY}.",
            "Has ks-installer finished? See the log of Pod ks-installer there.",
        )
    return findings.ok(check, f"The {side} runs KubeSphere {version}.")


def member_version(seen: Observed) -> Finding:
    """See whether the member's KubeSphere fits the host's: same minor version, and not newer."""
    host, member = kubesphere.version(seen.host.asked), kubesphere.version(seen.member.asked)
    told = f"The host runs KubeSphere {host or 'of unknown version'}, the member {member or 'of unknown version'}"
    if not kubesphere.version_numbers(host) or not kubesphere.version_numbers(member):
        raise MissingError(f"{told}.")
    if kubesphere.version_numbers(member) > kubesphere.version_numbers(host):
        return findings.error("member-version", f"{told}: a member must not be newer than its host.", _UPGRADE)
    if kubesphere.version_numbers(member)[:2] != kubesphere.version_numbers(host)[:2]:
        return findings.error("member-version", f"{told}: they have to be of one minor version.", _UPGRADE)
    return findings.ok("member-version", f"{told}.")


def host_kubernetes(seen: Observed) -> Finding:
    """See whether the host's Kubernetes is one that its KubeSphere is made for."""
    return _kubernetes("host-kubernetes", seen, seen.host)


def member_kubernetes(seen: Observed) -> Finding:
    """See whether the member's Kubernetes is one that its KubeSphere is made for, and the host's can join."""
    version, release = known(seen.member.kubernetes), seen.host.release
    if release.needs_account_tokens and kubesphere.version_numbers(version) >= (1, 24):
        return findings.error(
            "member-kubernetes",
            f"The {seen.member} runs Kubernetes {version}, whose accounts get no token by themselves; KubeSphere "
            f"{release.minor} on the host waits for one for ever (timed out waiting for the condition).",
            "Upgrade KubeSphere to 3.3 or later on both, or give the member Kubernetes 1.23 or earlier.",
        )
    return _kubernetes("member-kubernetes", seen, seen.member)


def _kubernetes(check: str, seen: Observed, side: Side) -> Finding:
    release = side.release
    version, (oldest, newest) = known(side.kubernetes), release.kubernetes
    told = f"The {side} runs Kubernetes {version}, and KubeSphere {release.minor} is made for 1.{oldest} to 1.{newest}."
    if (1, oldest) <= kubesphere.version_numbers(version)[:2] <= (1, newest):
        return findings.ok(check, told)
    if kubesphere.version_numbers(version)[:2] < (1, release.installs_from) and seen.is_due(side):
        return findings.error(
            check,
            f"{told} A run of ks-installer is due, and stops at its beginning (The current Kubernetes version is not "
            "supported).",
            "Move to a Kubernetes in this range first.",
        )
    return findings.warning(
        check, told, "Expect parts of KubeSphere not to work there; move to a version in this range."
    )


CHECKS: tuple[Check, ...] = (
    Check(
        host_kubesphere,
        "KubeSphere is installed on the host, in a version that this project knows",
        Answer.ERROR,
        "Install KubeSphere 3.4 or 3.0 there.",
        "24, 25",
        waivable=False,
    ),
    Check(
        member_kubesphere,
        "KubeSphere is installed on the member, in a version that this project knows",
        Answer.ERROR,
        "Install KubeSphere 3.4 or 3.0 there.",
        "16, 24, 25",
        waivable=False,
    ),
    Check(
        member_version,
        "The member's KubeSphere is of the host's minor version, and not newer",
        Answer.ERROR,
        _UPGRADE,
        "25, P-38",
    ),
    Check(
        host_kubernetes,
        "The host's Kubernetes is one that its KubeSphere is made for",
        Answer.ERROR,
        "Move to a Kubernetes in the range that is named.",
        "24",
    ),
    Check(
        member_kubernetes,
        "The member's Kubernetes is one that its KubeSphere is made for, and that the host can join",
        Answer.ERROR,
        "Upgrade KubeSphere, or take an earlier Kubernetes for the member.",
        "13, 24, P-27",
    ),
)
