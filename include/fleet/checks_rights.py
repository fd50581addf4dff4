"""Preflight's checks of rights: those of Airflow's users, and of the credential that the host receives."""

from __future__ import annotations

from include.fleet import checking, findings, installer_log, kubesphere, observed, rights
from include.fleet import conf as confs
from include.fleet.checking import Check
from include.fleet.findings import Answer, Finding
from include.fleet.observed import MissingError, Observed, Side, known

_SEE_RIGHTS = "Apply deploy/rbac/{}.yaml, or give the connection a user who has these rights."


_PROVING = frozenset({("secrets", kubesphere.SECRET.name), ("services/proxy", ":ks-apiserver:80")})
"""To ask the host's ks-apiserver with the host's static token."""


def host_rights(seen: Observed) -> Finding:
    """See whether Airflow may do on the host what the join needs."""
    return _rights("host-rights", seen, seen.host)


def member_rights(seen: Observed) -> Finding:
    """See whether Airflow may do on the member what the join needs."""
    return _rights("member-rights", seen, seen.member)


def host_optional_rights(seen: Observed) -> Finding:
    """See whether Airflow may do on the host what a join can do without."""
    return _optional_rights("host-optional-rights", seen, seen.host)


def member_optional_rights(seen: Observed) -> Finding:
    """See whether Airflow may do on the member what a join can do without."""
    return _optional_rights("member-optional-rights", seen, seen.member)


def imported_rights(seen: Observed) -> Finding:
    """See whether the credential that the host receives is cluster-admin."""
    if known(seen.imported.may_everything):
        return findings.ok("imported-rights", f"The user of connection {seen.imported.conn_id} may do everything.")
    return findings.error(
        "imported-rights",
        f"The user of connection {seen.imported.conn_id} is not cluster-admin on the member: {rights.EVERYTHING}. The "
        "host receives this credential, and KubeSphere makes roles with all verbs with it.",
        "Give the conf an import_conn_id whose user is cluster-admin on the member.",
    )


def _rights(check: str, seen: Observed, side: Side) -> Finding:
    lacking = [right for right, allowed in _reviewed(seen, side) if not allowed and _is_needed(right, seen, side)]
    unknown = [right for right, found in side.reviews.items() if isinstance(found, observed.Unread)]
    if lacking:
        told = "; ".join(str(right) for right in lacking)
        return findings.error(check, f"The user of the {side}: {told}.", _SEE_RIGHTS.format(side.role))
    if unknown:
        first = side.reviews[unknown[0]]
        raise MissingError(f"{len(unknown)} rights on the {side} are not known. {getattr(first, 'why', '')}")
    return findings.ok(check, f"The user of the {side} has all rights that this join needs.")


def _optional_rights(check: str, seen: Observed, side: Side) -> Finding:
    lacking = [right for right, allowed in _reviewed(seen, side) if not allowed and not _is_needed(right, seen, side)]
    if not lacking:
        return findings.ok(check, f"The user of the {side} has the optional rights as well.")
    return findings.warning(
        check,
        f"The user of the {side}: {'; '.join(str(right) for right in lacking)}.",
        f"The join goes on without; deploy/rbac/{side.role}.yaml says what is lost without each.",
    )


def _reviewed(seen: Observed, side: Side) -> list[tuple[rights.Right, bool]]:
    """Return the rights that are known and matter to this join; raises MissingError where none is."""
    found = [
        (right, allowed)
        for right, allowed in side.reviews.items()
        if isinstance(allowed, bool) and _concerns(right, seen)
    ]
    if not found:
        unread = next(iter(side.reviews.values()), observed.NOT_ASKED)
        raise MissingError(getattr(unread, "why", ""))
    return found


def _concerns(right: rights.Right, seen: Observed) -> bool:
    """Tell whether a right can matter to a join of this conf and of this host."""
    configuration = None if isinstance(seen.host.configuration, observed.Unread) else seen.host.configuration
    release = kubesphere.release(configuration) if configuration else None
    newer = {"3.0"} if release is not None and release.minor != "3.0" else set()
    return right.matters(rights.absent(seen.conf) | newer)


def _is_needed(right: rights.Right, seen: Observed, side: Side) -> bool:
    """Tell whether this join fails without a right, as the clusters are now."""
    # Which of them it becomes is not decided yet, and so neither is needed for certain.
    undecided = {way.value for way in checking.BOTH} if seen.conf.connection is confs.Connection.AUTO else set()
    if seen.conf.is_handed_over and (right.resource, right.name) in _PROVING:
        # Nobody but the host can ask such a member, and nothing else proves the join.
        return True
    if not right.required or not right.matters(rights.absent(seen.conf) | undecided):
        return False
    if "failed run" in right.cases:
        return side.installer_doing is installer_log.Activity.IDLE and bool(kubesphere.unmet(side.snapshot))
    if right.resource == "secrets" and side is seen.member and seen.conf.on_failure is confs.OnFailure.ROLLBACK:
        # What stands before the run is kept in one.
        return True
    if right.verb not in {"patch", "create"} or right.resource == "leases":
        return True
    if right.resource in {"clusterconfigurations", "secrets"}:
        return bool(seen.patch_of(side))
    there = seen.named if right.resource == "clusters" else known(seen.agent)
    return right.verb == "create" and there is None


CHECKS: tuple[Check, ...] = (
    Check(
        host_rights,
        "Airflow has the rights on the host that this join needs",
        Answer.ERROR,
        "Apply deploy/rbac/host.yaml.",
        "15",
    ),
    Check(
        member_rights,
        "Airflow has the rights on the member that this join needs",
        Answer.ERROR,
        "Apply deploy/rbac/member.yaml.",
        "15",
    ),
    Check(
        host_optional_rights,
        "Airflow has the optional rights on the host",
        Answer.WARNING,
        "The join goes on without; deploy/rbac/host.yaml says what is lost.",
        "15",
    ),
    Check(
        member_optional_rights,
        "Airflow has the optional rights on the member",
        Answer.WARNING,
        "The join goes on without; deploy/rbac/member.yaml says what is lost.",
        "15",
    ),
    Check(
        imported_rights,
        "The credential for the host is cluster-admin on the member",
        Answer.ERROR,
        "Give import_conn_id a connection that is.",
        "13, 15",
        ways=checking.DIRECT,
    ),
)
