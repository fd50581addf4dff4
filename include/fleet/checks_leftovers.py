"""Preflight's checks of what is there already: the Cluster, an earlier membership's left-overs, and workspaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from include.fleet import checking, findings, kubesphere, tower
from include.fleet import conf as confs
from include.fleet.checking import Check
from include.fleet.findings import Answer, Finding
from include.fleet.observed import Observed, known

_ITS_WORKSPACES = frozenset({"system-workspace"})
"""KubeSphere's own, on every cluster."""
_MANAGED = "kubefed.io/managed"


def cluster_deletion(seen: Observed) -> Finding:
    """See whether a Cluster of that name is being deleted."""
    named = seen.named
    if named is None or "deletionTimestamp" not in named["metadata"]:
        return findings.ok("cluster-deletion", f"No Cluster {seen.conf.cluster} is being deleted.")
    return findings.warning(
        "cluster-deletion",
        f"Cluster {seen.conf.cluster} is being deleted since {named['metadata']['deletionTimestamp']}; the join waits "
        "until it is gone.",
        "If it stays, its finalizer waits for ks-controller-manager, or on 3.4 for a member that does not answer: "
        "leave_member_cluster with force takes such a one out.",
    )


def cluster_federation(seen: Observed) -> Finding:
    """See whether a Cluster of that name is one that the host takes no notice of."""
    named = seen.named
    if named is None or named.get("spec", {}).get("joinFederation") is True:
        return findings.ok("cluster-federation", f"No Cluster {seen.conf.cluster} without spec.joinFederation.")
    return findings.warning(
        "cluster-federation",
        f"Cluster {seen.conf.cluster} has no spec.joinFederation, so that the host takes no notice of it.",
        "The join sets it. Who has made this Cluster?",
    )


def federation_namespace(seen: Observed) -> Finding:
    """See whether the member's federation namespace can be used."""
    found = known(seen.federation)
    name = kubesphere.FEDERATION_NAMESPACE
    if found is None:
        return findings.ok("federation-namespace", f"The member has no namespace {name}; the host makes it.")
    if "deletionTimestamp" in found["metadata"] or (found.get("status") or {}).get("phase") == "Terminating":
        return findings.error(
            "federation-namespace",
            f"Namespace {name} of the {seen.member} is being deleted, and the host can make no account in it.",
            "See what keeps it (kubectl get namespace -o yaml, its status.conditions), finish it, then join again.",
        )
    return findings.ok("federation-namespace", f"Namespace {name} is there on the member, and can be used.")


def federation_accounts(seen: Observed) -> Finding:
    """See which hosts have accounts on the member."""
    own = kubesphere.member_account(seen.conf.cluster).name
    names = [item["metadata"]["name"] for item in known(seen.federation_accounts)]
    foreign = sorted(name for name in names if name.endswith(kubesphere.ACCOUNT_SUFFIX) and name != own)
    if not foreign:
        return findings.ok("federation-accounts", "The member has no account of another membership.")
    return findings.warning(
        "federation-accounts",
        f"The {seen.member} has accounts of other memberships in {kubesphere.FEDERATION_NAMESPACE}: "
        f"{', '.join(foreign)}. They may do everything there.",
        "If no other host has this cluster any more, delete them with their ClusterRole and ClusterRoleBinding "
        "kubefed-controller-manager:NAME.",
    )


def agent(seen: Observed) -> Finding:
    """See whether an agent of another membership runs on the member."""
    present = known(seen.agent)
    if present is None:
        return findings.ok("agent", "The member has no agent.")
    name, token = tower.credentials(present)
    if name != seen.conf.cluster:
        told = f"{tower.AGENT} on the {seen.member} announces itself as {name or 'nobody'}"
    elif seen.conf.connection is confs.Connection.DIRECT:
        told = f"{tower.AGENT} runs on the {seen.member}, which a direct connection does not use"
    else:
        named = seen.named
        wanted = named.get("spec", {}).get("connection", {}).get("token") if named else ""
        if wanted and token == wanted:
            return findings.ok("agent", "The agent on the member has the name and the token of its Cluster.")
        told = f"{tower.AGENT} on the {seen.member} has the token of an earlier Cluster {name}"
    if seen.conf.connection is confs.Connection.DIRECT:
        return findings.warning("agent", f"{told}.", "Delete it, if no host uses it.")
    return findings.warning("agent", f"{told}.", "The join gives it the name, token and address of this one.")


def agent_account(seen: Observed) -> Finding:
    """See whether the account is there that the agent runs as."""
    if known(seen.account) is not None:
        return findings.ok("agent-account", f"{tower.ACCOUNT} is there on the member.")
    return findings.error(
        "agent-account",
        f"There is no {tower.ACCOUNT} on the {seen.member}, which the agent runs as.",
        "Every KubeSphere 3 has it: is KubeSphere installed there, and finished?",
    )


def workspace_conflict(seen: Observed) -> Finding:
    """See whether the host would take workspaces from the member."""
    if seen.named is not None and kubesphere.is_true(seen.named, kubesphere.FEDERATED):
        return findings.ok("workspace-conflict", "The member is in the federation already.")
    managed = _names(item for item in known(seen.member.workspaces) if _is_managed(item))
    federated = {item["metadata"]["name"]: item for item in known(seen.federated_workspaces)}
    clashes = [name for name in managed if name in federated and not _is_placed(federated[name], seen.conf.cluster)]
    fix = (
        f"Rename or delete them on one side, or take the label {_MANAGED} off them on the member: with it the host's "
        "federation deletes what is not meant for the member."
    )
    if clashes:
        return findings.error(
            "workspace-conflict",
            f"Workspaces {', '.join(clashes)} of the {seen.member} have the label {_MANAGED}, and the host has them as "
            "FederatedWorkspaces that are not for this member.",
            fix,
        )
    if managed:
        return findings.warning(
            "workspace-conflict",
            f"Workspaces {', '.join(managed)} of the {seen.member} have the label {_MANAGED} of an earlier membership.",
            fix,
        )
    return findings.ok("workspace-conflict", f"No workspace of the member has the label {_MANAGED}.")


def workspace_names(seen: Observed) -> Finding:
    """See whether host and member have workspaces of the same names."""
    if seen.named is not None and kubesphere.is_true(seen.named, kubesphere.FEDERATED):
        return findings.ok("workspace-names", "The member is in the federation already.")
    member = _names(item for item in known(seen.member.workspaces) if not _is_managed(item))
    both = sorted({*member} & {*_names(known(seen.host.workspaces))} - _ITS_WORKSPACES)
    if not both:
        return findings.ok("workspace-names", "Host and member have no workspaces of the same names.")
    return findings.warning(
        "workspace-names",
        f"Host and member both have workspaces {', '.join(both)}, of different people.",
        "Whoever places such a workspace of the host on this member takes over the member's: rename it before.",
    )


def _names(items: Iterable[kubesphere.Object]) -> list[str]:
    return [item["metadata"]["name"] for item in items]


def _is_managed(item: kubesphere.Object) -> bool:
    return bool((item["metadata"].get("labels") or {}).get(_MANAGED) == "true")


def _is_placed(federated: kubesphere.Object, cluster: str) -> bool:
    placement = (federated.get("spec") or {}).get("placement") or {}
    if any(item.get("name") == cluster for item in placement.get("clusters") or []):
        return True
    selector = placement.get("clusterSelector")
    # One that selects everything. What labels the member will get is not known here.
    return isinstance(selector, Mapping) and not selector.get("matchLabels") and not selector.get("matchExpressions")


CHECKS: tuple[Check, ...] = (
    Check(
        cluster_deletion,
        "No Cluster of that name is being deleted",
        Answer.WARNING,
        "Wait, or see why it stays.",
        "28, P-32",
    ),
    Check(
        cluster_federation,
        "A Cluster of that name has spec.joinFederation",
        Answer.WARNING,
        "The join sets it.",
        "34, P-23",
    ),
    Check(
        federation_namespace,
        "Namespace kube-federation-system of the member is not being deleted",
        Answer.ERROR,
        "Finish the deletion.",
        "22, P-33",
    ),
    Check(
        federation_accounts,
        "No other membership has accounts on the member",
        Answer.WARNING,
        "Delete what no host uses any more.",
        "18, 22, P-33",
    ),
    Check(
        agent,
        "An agent on the member has the name and token of this join",
        Answer.WARNING,
        "By proxy the join mends it; otherwise delete it.",
        "22, 37, P-19",
    ),
    Check(
        agent_account,
        "The account is there that the agent runs as",
        Answer.ERROR,
        "Finish the installation of KubeSphere on the member.",
        "16",
        ways=checking.PROXY,
    ),
    Check(
        workspace_conflict,
        "The host's federation would delete no workspace of the member",
        Answer.ERROR,
        "Rename them, or take the label kubefed.io/managed off.",
        "21, P-28",
    ),
    Check(
        workspace_names,
        "Host and member have no workspaces of the same names",
        Answer.WARNING,
        "Rename one of them.",
        "21",
    ),
)
