"""Preflight's checks of what lets the member believe the host: clocks, jwtSecret, and lasting tokens."""

from __future__ import annotations

from include.fleet import findings, kubesphere
from include.fleet.checking import Check
from include.fleet.findings import Answer, Finding
from include.fleet.observed import Observed, known

_SKEW_ERROR = 10.0
"""Seconds: KubeSphere's maximumClockSkew (kubesphere-facts 3.1)."""
_SKEW_WARNING = 5.0


def clock_skew(seen: Observed) -> Finding:
    """See whether the clocks of host and member agree."""
    host, member = known(seen.host.clock), known(seen.member.clock)
    apart, margin = abs(host.offset - member.offset), host.margin + member.margin
    told = f"The clocks of host and member are {apart:.0f} s apart, give or take {margin:.1f} s"
    fix = "Have both keep the time with the same NTP servers (chronyc tracking on their nodes)."
    if apart - margin > _SKEW_ERROR:
        return findings.error(
            "clock-skew",
            f"{told}: beyond 10 s the member refuses the host's requests (token used before issued).",
            fix,
        )
    if apart - margin > _SKEW_WARNING:
        return findings.warning("clock-skew", f"{told}; beyond 10 s the member refuses the host's requests.", fix)
    return findings.ok("clock-skew", f"{told}.")


def jwt_secret(seen: Observed) -> Finding:
    """See whether the host's jwtSecret can be given to a member."""
    trust = seen.host_trust
    if not trust.value:
        return findings.error(
            "jwt-secret",
            f"The {seen.host} has no jwtSecret in {kubesphere.CONFIG}.",
            "Look at the log of Pod ks-installer there.",
        )
    if not kubesphere.can_be_passed_on(trust.value):
        return findings.error(
            "jwt-secret",
            f"The jwtSecret of the {seen.host} has characters that ks-installer cannot pass on to a member.",
            "Give the host one of letters and digits: spec.authentication.jwtSecret of its ClusterConfiguration.",
        )
    if trust.pending:
        return findings.warning(
            "jwt-secret", f"The host's jwtSecret is about to change: {trust.pending}.", "The join waits for it."
        )
    return findings.ok("jwt-secret", "The host's jwtSecret is in force, and can be given to a member.")


def access_tokens(seen: Observed) -> Finding:
    """See whether the member takes the host's logins: as a member its access tokens must never expire."""
    side, asked = seen.member, kubesphere.spec_token_age(seen.member.asked)
    config = side.in_force
    if asked and asked not in {"0", "0s"} and side.release.minor != "3.0":
        return findings.error(
            "access-tokens",
            f"{kubesphere.CONFIGURATION} of the {side} sets authentication.oauthOptions.accessTokenMaxAge to {asked}; "
            "a member needs 0, and ks-installer then writes the field twice.",
            "Take the field out of the member's ClusterConfiguration.",
        )
    if config.role == kubesphere.MEMBER and not config.has_lasting_tokens:
        found = (
            f"{kubesphere.CONFIG} of the {side} has role member and accessTokenMaxAge {config.token_age or 'unset'}, "
            "not 0: the host's logins are refused there (token not found in cache)."
        )
        fix = "Have ks-installer write it anew: kubectl -n kubesphere-system rollout restart deploy/ks-installer."
        if seen.is_due(side):
            return findings.warning("access-tokens", found, "The run of ks-installer that is due writes it anew.")
        return findings.error("access-tokens", found, fix)
    return findings.ok("access-tokens", "Nothing keeps the member's access tokens from lasting.")


CHECKS: tuple[Check, ...] = (
    Check(
        clock_skew,
        "The clocks of host and member agree within 5 s (error beyond 10 s)",
        Answer.ERROR,
        "Have both keep the time.",
        "9",
    ),
    Check(
        jwt_secret,
        "The host has a jwtSecret that can be given to a member",
        Answer.ERROR,
        "Give the host one of letters and digits.",
        "7, P-15",
        waivable=False,
    ),
    Check(
        access_tokens,
        "Nothing keeps the member's access tokens from lasting for ever",
        Answer.ERROR,
        "Take accessTokenMaxAge out of the member's ClusterConfiguration.",
        "8, 10, P-11, P-12",
    ),
)
