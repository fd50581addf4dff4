"""Preflight's checks of who is who, so that no two clusters are mixed up."""

from __future__ import annotations

from collections.abc import Sequence

from include.fleet import checking, errors, findings, identity, kubesphere, observed, tower
from include.fleet.checking import Check
from include.fleet.findings import Answer, Finding
from include.fleet.observed import Observed, known

_NO_MIX_UP = "Clusters would be mixed up."


def _refused(check: str, reasons: Sequence[str], otherwise: str) -> Finding:
    if not reasons:
        return findings.ok(check, otherwise)
    return Finding(check, Answer.ERROR, "".join(f"{reason}." for reason in reasons))


def same_cluster(seen: Observed) -> Finding:
    """See whether host and member are two clusters."""
    host, member = known(seen.host.uid), known(seen.member.uid)
    found = identity.about_same_cluster(host, member)
    return _refused("same-cluster", found, f"kube-system UID {host} on the host, {member} on the member.")


def imported_cluster(seen: Observed) -> Finding:
    """See whether the credential for the host leads to the member."""
    refused = getattr(seen.imported.uid, "error", None)
    if isinstance(refused, errors.CredentialError):
        return findings.error(
            "imported-cluster",
            f"The member does not know the credential of connection {seen.imported.conn_id}: {refused}",
            "The host would be given one that does not work. Give the connection one that the member knows.",
        )
    uid, member = known(seen.imported.uid), known(seen.member.uid)
    if uid == member:
        return findings.ok("imported-cluster", f"Connection {seen.imported.conn_id} leads to the member.")
    return findings.error(
        "imported-cluster",
        f"Connection {seen.imported.conn_id} leads to another cluster (kube-system UID {uid}) than connection "
        f"{seen.member.conn_id} ({member}).",
        "Give import_conn_id a connection to the member, or leave it out.",
    )


def host_name(seen: Observed) -> Finding:
    """See whether the name is the host's own."""
    found = identity.about_host_name(seen.sides)
    return _refused("host-name", found, f"{seen.conf.cluster} is not the name of the host's own Cluster.")


def name_taken(seen: Observed) -> Finding:
    """See whether the host has given the name to another cluster."""
    sides = seen.sides
    found = identity.about_name(sides)
    free = "is free" if sides.named is None else "is this member's already"
    if sides.handed_over and sides.named is not None:
        whose = f"kube-system UID {sides.member_uid}" if sides.member_uid else "which one, nobody can tell yet"
        free = f"is given already to a member by proxy ({whose})"
    return _refused("name-taken", found, f"The name {sides.name} {free} on the host.")


def other_name(seen: Observed) -> Finding:
    """See whether the host has this member under another name."""
    sides = seen.sides
    found = identity.about_other_names(sides)
    agent = None if isinstance(seen.agent, observed.Unread) else seen.agent
    name, token = tower.credentials(agent) if agent else ("", "")
    for item in sides.clusters:
        if item["metadata"]["name"] != name or name == sides.name:
            continue
        if token and item.get("spec", {}).get("connection", {}).get("token") == token:
            found.append(
                f"the agent on the member holds the token of the host's Cluster {name}, so this is that cluster; join "
                "it under that name, or delete that Cluster first"
            )
    return _refused("other-name", found, "The host has no other Cluster that stands for this member.")


def other_host(seen: Observed) -> Finding:
    """See whether the member belongs to another host."""
    found = identity.about_other_host(seen.sides)
    return _refused("other-host", found, "Nothing on the member says that it belongs to another host.")


def member_role(seen: Observed) -> Finding:
    """See whether the member is a host: the join would take that role from it, and its own members their host."""
    if seen.member.in_force.role != kubesphere.HOST:
        return findings.ok("member-role", f"The {seen.member} is no host cluster.")
    if _are_one(seen):
        return findings.ok("member-role", "The member is the host itself: see check same-cluster.")
    return findings.error(
        "member-role",
        f"The {seen.member} is a host cluster: role {kubesphere.HOST} is in force there. The join would make it a "
        "member, and the clusters that are joined to it would lose their host.",
        "Check member_conn_id. If it is meant so, take its members out there first, and waive this check.",
    )


def _are_one(seen: Observed) -> bool:
    return known(seen.host.uid) == known(seen.member.uid)


def host_clusters(seen: Observed) -> Finding:
    """See whether exactly one Cluster stands for the host itself."""
    own = [item["metadata"]["name"] for item in known(seen.clusters) if kubesphere.is_host(item)]
    if len(own) <= 1:
        return findings.ok(
            "host-clusters", f"Cluster {own[0]} stands for the host." if own else "The host is no host yet."
        )
    return findings.error(
        "host-clusters",
        f"Clusters {', '.join(own)} all have the label {kubesphere.HOST_LABEL}, and there must be one: the host's "
        "controller looks after none of them any more.",
        "Take the label off those that are members, after mending why they got it: see check machine-id.",
    )


def machine_id(seen: Observed) -> Finding:
    """See whether the host would take the member for itself: same first machine, as many nodes."""
    host, member = known(seen.host.nodes), known(seen.member.nodes)
    ours, theirs = _machine(host), _machine(member)
    if not ours or ours != theirs or len(host) != len(member):
        return findings.ok(
            "machine-id", f"{len(host)} node(s) on the host, {len(member)} on the member, not the same ones."
        )
    if _are_one(seen):
        return findings.ok("machine-id", "The member is the host itself: see check same-cluster.")
    return findings.error(
        "machine-id",
        f"The first node of both has machine id {ours}, and both have {len(host)} node(s): the host's controller takes "
        f"such a member for itself and gives it the label {kubesphere.HOST_LABEL}.",
        "Machines were copied. Give the member's nodes machine ids of their own (/etc/machine-id) and restart kubelet.",
    )


def _machine(nodes: Sequence[kubesphere.Object]) -> str:
    first = nodes[0] if nodes else {}
    return str(((first.get("status") or {}).get("nodeInfo") or {}).get("machineID") or "")


CHECKS: tuple[Check, ...] = (
    Check(
        same_cluster,
        "Host and member are two clusters",
        Answer.ERROR,
        _NO_MIX_UP + " Give member_conn_id a connection to the member.",
        "20",
        waivable=False,
    ),
    Check(
        imported_cluster,
        "The credential for the host leads to the member",
        Answer.ERROR,
        _NO_MIX_UP + " Give import_conn_id a connection to the member.",
        "3, 20",
        ways=checking.DIRECT,
        waivable=False,
    ),
    Check(
        host_name,
        "The name is not the host's own",
        Answer.ERROR,
        _NO_MIX_UP + " Choose another name.",
        "19, 34",
        waivable=False,
    ),
    Check(
        name_taken,
        "The name is free, or this member's already",
        Answer.ERROR,
        _NO_MIX_UP + " Choose another name.",
        "20, 34",
        waivable=False,
    ),
    Check(
        other_name,
        "The host has this member under no other name",
        Answer.ERROR,
        _NO_MIX_UP + " Join it under that name, or delete that Cluster first.",
        "20, 22",
        waivable=False,
    ),
    Check(
        other_host,
        "The member belongs to no other host",
        Answer.ERROR,
        _NO_MIX_UP + " Take it out there first.",
        "18",
        waivable=False,
    ),
    Check(
        member_role,
        "The member is no host cluster itself",
        Answer.ERROR,
        "Check member_conn_id; otherwise take its members out first.",
        "18, 20, 21",
    ),
    Check(
        host_clusters,
        "One Cluster at most stands for the host itself",
        Answer.ERROR,
        "Take the label off the members.",
        "20, P-31",
    ),
    Check(
        machine_id,
        "The member's first machine is not a copy of the host's, with as many nodes",
        Answer.ERROR,
        "Give the member's nodes machine ids of their own.",
        "20, P-31",
    ),
)
