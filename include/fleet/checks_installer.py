"""Preflight's checks of ks-installer, and of what its runs need."""

from __future__ import annotations

from include.fleet import findings, installer_log, kubesphere, observed
from include.fleet.checking import Check
from include.fleet.findings import Answer, Finding
from include.fleet.observed import MissingError, Observed, Side, known

_STUCK = frozenset({"ImagePullBackOff", "ErrImagePull", "CrashLoopBackOff", "CreateContainerConfigError"})


def host_installer(seen: Observed) -> Finding:
    """See whether ks-installer on the host can do what a join asks for."""
    return _installer("host-installer", seen, seen.host)


def member_installer(seen: Observed) -> Finding:
    """See whether ks-installer on the member can do what a join asks for."""
    return _installer("member-installer", seen, seen.member)


def _installer(check: str, seen: Observed, side: Side) -> Finding:
    deployment = side.deployment(kubesphere.INSTALLER.name)
    due = seen.is_due(side)
    gone = ""
    if deployment is None:
        gone = f"There is no {kubesphere.INSTALLER} on the {side}"
    elif deployment.get("spec", {}).get("replicas", 1) == 0:
        gone = f"{kubesphere.INSTALLER} on the {side} is scaled to 0"
    if gone and due:
        return findings.error(
            check, f"{gone}, so that nothing does what a join asks for.", "Bring ks-installer back, then join again."
        )
    if gone:
        return findings.warning(check, f"{gone}; this join needs no run of it.", "Bring ks-installer back.")
    pod = known(side.installer_pod)
    stuck = _stuck(pod) if pod is not None else "it has no Pod"
    if stuck:
        found = f"ks-installer on the {side} does not run: {stuck}."
        fix = "See the events of its Pod, and mend the cause."
        return findings.error(check, found, fix) if due and pod is not None else findings.warning(check, found, fix)
    doing = known(side.installer_doing)
    unmet = kubesphere.unmet(side.snapshot)
    if doing is installer_log.Activity.IDLE and unmet:
        said = "" if isinstance(side.installer_says, observed.Unread) else " | ".join(side.installer_says)
        return findings.warning(
            check,
            f"The last run of ks-installer on the {side} has ended without doing all that it was asked for: {unmet}. "
            f"Its log says: {said or 'nothing telling'}",
            "The join forces one new run; mend the cause before, or that one fails too.",
        )
    if doing is installer_log.Activity.RUNNING:
        return findings.ok(check, f"ks-installer on the {side} is at work; the join waits for it.")
    if doing is installer_log.Activity.UNKNOWN:
        raise MissingError(f"Nothing tells what ks-installer on the {side} is doing.")
    return findings.ok(check, f"ks-installer on the {side} is idle, and has done what it was asked for.")


def _stuck(pod: kubesphere.Object) -> str:
    status = pod.get("status") or {}
    for waiting in kubesphere.waiting(pod):
        if waiting.get("reason") in _STUCK:
            return f"its Pod {pod['metadata']['name']} is in {waiting['reason']}"
    return "" if status.get("phase") == "Running" else f"its Pod is {status.get('phase', 'in no phase')}"


def host_storage_class(seen: Observed) -> Finding:
    """See whether ks-installer finds a default StorageClass on the host."""
    return _storage_class("host-storage-class", seen, seen.host)


def member_storage_class(seen: Observed) -> Finding:
    """See whether ks-installer finds a default StorageClass on the member."""
    return _storage_class("member-storage-class", seen, seen.member)


def _storage_class(check: str, seen: Observed, side: Side) -> Finding:
    named = (side.asked.get("spec", {}).get("persistence") or {}).get("storageClass")
    found = {
        item["metadata"]["name"]: any(
            (item["metadata"].get("annotations") or {}).get(f"storageclass.{prefix}kubernetes.io/is-default-class")
            == "true"
            for prefix in ("", "beta.")
        )
        for item in known(side.storage_classes)
    }
    default = [name for name, is_default in found.items() if is_default]
    if default:
        return findings.ok(check, f"The default StorageClass of the {side} is {', '.join(default)}.")
    if named and named in found:
        return findings.ok(check, f"The {side} has no default StorageClass; its ClusterConfiguration names {named}.")
    evidence = f"The {side} has no default StorageClass (it has {', '.join(found) or 'none at all'})"
    fix = 'Give one the annotation storageclass.kubernetes.io/is-default-class: "true".'
    if seen.is_due(side):
        return findings.error(check, f"{evidence}, without which a run of ks-installer stops at its beginning.", fix)
    return findings.warning(check, f"{evidence}; the next run of ks-installer stops at its beginning.", fix)


CHECKS: tuple[Check, ...] = (
    Check(
        host_installer,
        "ks-installer on the host runs, and has done what it was asked for",
        Answer.ERROR,
        "Bring it back; mend what its log tells.",
        "29, P-5, P-6",
    ),
    Check(
        member_installer,
        "ks-installer on the member runs, and has done what it was asked for",
        Answer.ERROR,
        "Bring it back; mend what its log tells.",
        "P-5",
    ),
    Check(
        host_storage_class,
        "The host has a default StorageClass, without which ks-installer stops",
        Answer.ERROR,
        "Make one the default.",
        "29, P-5",
    ),
    Check(
        member_storage_class,
        "The member has a default StorageClass, without which ks-installer stops",
        Answer.ERROR,
        "Make one the default.",
        "P-5",
    ),
)
