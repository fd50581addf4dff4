"""Preflight's checks of what has to run: tower, kubefed, KubeSphere's own processes, and who is asked first."""

from __future__ import annotations

from collections.abc import Sequence

from include.fleet import findings, kubesphere
from include.fleet.checking import Check
from include.fleet.findings import Answer, Finding
from include.fleet.observed import Observed, known


def tower_running(seen: Observed) -> Finding:
    """See whether tower runs on a host that is one already."""
    return _running("tower-running", seen, (kubesphere.HOST_DEPLOYMENTS[0].name,))


def host_processes(seen: Observed) -> Finding:
    """See whether what joins members runs on a host that is one already."""
    names = [ref.name for ref in kubesphere.HOST_DEPLOYMENTS[1:]] + [kubesphere.PROCESSES[1].name]
    return _running("host-processes", seen, names)


def _running(check: str, seen: Observed, names: Sequence[str]) -> Finding:
    if seen.host.in_force.role != kubesphere.HOST or kubesphere.unmet(seen.host.snapshot):
        return findings.ok(check, "The host's next run of ks-installer brings it.")
    found = {name: seen.host.deployment(name) for name in names}
    gone = [name for name, item in found.items() if item is None]
    if gone:
        return findings.error(
            check,
            f"There is no Deployment {', '.join(gone)} on the {seen.host}, and ks-installer does not restore it while "
            "its status says multicluster is enabled.",
            f"Set status.multicluster of {kubesphere.CONFIGURATION} to null, and restart Deployment ks-installer.",
        )
    stopped = [name for name, item in found.items() if item and item.get("spec", {}).get("replicas", 1) == 0]
    if stopped:
        return findings.error(
            check, f"Deployment {', '.join(stopped)} on the {seen.host} is scaled to 0.", "Scale it to 1 again."
        )
    down = [name for name, item in found.items() if item and not kubesphere.is_available(item)]
    if down:
        return findings.warning(
            check, f"Deployment {', '.join(down)} on the {seen.host} is not available.", "See the events of its Pods."
        )
    return findings.ok(check, f"On the host is available: {', '.join(names)}.")


def host_apiserver(seen: Observed) -> Finding:
    """See whether the host's ks-apiserver runs."""
    if seen.host.ready_addresses("ks-apiserver"):
        return findings.ok("host-apiserver", "ks-apiserver runs on the host.")
    return findings.warning(
        "host-apiserver",
        f"No pod is ready behind Service ks-apiserver on the {seen.host}.",
        "The join does without it, but nobody can use the member before it runs: see the events of its Pods.",
    )


def member_apiserver(seen: Observed) -> Finding:
    """See whether the member's ks-apiserver runs."""
    if seen.member.ready_addresses("ks-apiserver"):
        return findings.ok("member-apiserver", "ks-apiserver runs on the member.")
    return findings.error(
        "member-apiserver",
        f"No pod is ready behind Service ks-apiserver on the {seen.member}, so that the host could forward nothing to "
        'it (no endpoints available for service ":ks-apiserver:").',
        "See the events and the log of its Pods.",
    )


def host_webhook(seen: Observed) -> Finding:
    """See whether what the host asks before a Cluster is changed can answer."""
    found, release = known(seen.webhook), seen.host.release
    fix = (
        "Delete ValidatingWebhookConfiguration cluster.kubesphere.io, after saving it: without the pods that answer "
        "it, no Cluster can be changed."
    )
    if found is None:
        return findings.ok("host-webhook", "Nothing is asked before a Cluster is changed.")
    if not release.has_webhook:
        return findings.error(
            "host-webhook",
            f"The {seen.host} has ValidatingWebhookConfiguration cluster.kubesphere.io, which KubeSphere "
            f"{release.minor} does not bring: it is left over from another version.",
            fix,
        )
    for hook in found.get("webhooks") or []:
        service = (hook.get("clientConfig") or {}).get("service") or {}
        name = service.get("name")
        if service.get("namespace") != kubesphere.NAMESPACE or name not in {ref.name for ref in kubesphere.PROCESSES}:
            told = f"{service.get('namespace')}/{name}" if service else "an address outside the cluster"
            return findings.warning(
                "host-webhook", f"{hook.get('name')} on the {seen.host} is answered by {told}.", fix
            )
        if not seen.host.ready_addresses(str(name)):
            return findings.error(
                "host-webhook",
                f"No pod is ready behind Service {name} on the {seen.host}, which {hook.get('name')} asks before a "
                "Cluster is changed: the host's own controller cannot write its conditions.",
                "See the events of its Pods. " + fix,
            )
    if seen.trial is not None and "failed calling webhook" in seen.trial.why:
        return findings.error(
            "host-webhook",
            "A change of the host's own Cluster was tried in a dry run, and its webhook could not be asked: "
            f"{seen.trial.why}",
            "Clusters cannot be changed, the host's controller can write none of its conditions. " + fix,
        )
    return findings.ok("host-webhook", "What is asked before a Cluster is changed can answer.")


CHECKS: tuple[Check, ...] = (
    Check(
        tower_running,
        "Tower runs on a host that is one already",
        Answer.ERROR,
        "Bring it back.",
        "35, P-22, P-37",
    ),
    Check(
        host_processes,
        "kubefed and ks-controller-manager run on a host that is one already",
        Answer.ERROR,
        "Bring them back.",
        "26, 29, P-37",
    ),
    Check(
        host_apiserver,
        "ks-apiserver on the host has a ready pod",
        Answer.WARNING,
        "See the events of its Pods.",
        "33",
    ),
    Check(
        member_apiserver,
        "ks-apiserver on the member has a ready pod",
        Answer.ERROR,
        "See the events of its Pods.",
        "17",
    ),
    Check(
        host_webhook,
        "What the host asks before a Cluster is changed can answer",
        Answer.ERROR,
        "Bring back who answers, or delete the webhook configuration.",
        "27, 28, P-32, P-34",
    ),
)
