"""Who is who, and whether this member cluster may get this name on this host cluster.

Pure: judged on what was read. A cluster is its kube-system UID, whatever it is called and however it is
reached; before the host's controller has looked at a Cluster there is only its kubeconfig to go by.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from include.fleet import kubeconfig, kubesphere


@dataclass(frozen=True)
class Sides:
    """What the two clusters say about themselves."""

    name: str
    """The name that the member is to get."""
    host_uid: str
    member_uid: str
    host_config: kubesphere.Config
    member_config: kubesphere.Config
    host_secret_in_use: bool
    """Whether the member uses the host's jwtSecret already; asked only of one that may belong to another host."""
    clusters: Sequence[kubesphere.Object]
    """All Cluster objects of the host."""
    connection: str
    """The connection type that is asked for."""
    server: str | None
    """The member's address that the host is to use; None by proxy, where tower gives it one."""
    agent_name: str
    """The name under which an agent on the member announces itself, or ""; asked only where the name is there."""
    leads_to: str = ""
    """The kube-system UID of the cluster that answers under the name, or "" where none does or can be asked."""
    leads_to_evidence: str = ""
    """How that was seen."""
    leads_others_to: Mapping[str, str] = field(default_factory=dict)
    """The same of other names whose Clusters do not tell it; asked only of those in `may_be_untold`."""

    @property
    def named(self) -> kubesphere.Object | None:
        """Return the Cluster that has the name already."""
        return next((item for item in self.clusters if item["metadata"]["name"] == self.name), None)

    @property
    def is_being_deleted(self) -> bool:
        """Tell whether the Cluster that has the name is on its way out."""
        return self.named is not None and "deletionTimestamp" in self.named["metadata"]


def refusals(sides: Sides) -> list[str]:
    """Return every reason not to go on; none means that the join mixes up no clusters."""
    same = about_same_cluster(sides.host_uid, sides.member_uid)
    if same:
        return same
    return [*about_host_name(sides), *about_name(sides), *about_other_names(sides), *about_other_host(sides)]


def about_same_cluster(host_uid: str, member_uid: str) -> list[str]:
    """Return why the two connections do not lead to two clusters; [] if they do."""
    if host_uid != member_uid:
        return []
    return [
        (
            f"both connections lead to the same cluster (kube-system UID {host_uid}); "
            "a host cluster cannot be its own member"
        )
    ]


def about_host_name(sides: Sides) -> list[str]:
    """Return why the name is the host's own; [] if it is not."""
    named = sides.named
    if named is not None and kubesphere.is_host(named):
        return [f"{sides.name} is the Cluster of the host itself; choose another name"]
    if sides.name == sides.host_config.host_cluster_name:
        return [f"{sides.name} is the name of the host cluster; choose another name"]
    return []


def about_name(sides: Sides) -> list[str]:
    """Return why the Cluster that has the name already is not this member's; [] if it is, or there is none."""
    named = sides.named
    if named is None or about_host_name(sides):
        return []
    kind = kubesphere.connection_type(named)
    if kind != sides.connection:
        return [
            (
                f"Cluster {sides.name} has connection type {kind}, this run asks for {sides.connection}; "
                "take it out of the host first, or join with the type that it has"
            )
        ]
    told = owner(named)
    if told and told != sides.member_uid:
        return [_taken(sides.name, f"kube-system UID {told}")]
    if sides.leads_to and sides.leads_to != sides.member_uid:
        return [_leads_elsewhere(sides)]
    if told:
        return []
    if kind == "proxy":
        connected = kubesphere.is_true(named, "AgentAvailable") and sides.agent_name != sides.name
        return [_taken(sides.name, "the agent that is connected runs elsewhere")] if connected else []
    text = kubesphere.cluster_kubeconfig(named)
    if kubeconfig.essence(text) is None:
        return [
            (
                f"Cluster {sides.name} exists and holds no usable kubeconfig, so the host's controller never writes "
                "a condition on it and it never becomes Ready; delete it, or choose another name"
            )
        ]
    return [] if _same_server(named, sides.server) else [_taken(sides.name, f"server {kubeconfig.server(text)}")]


def _leads_elsewhere(sides: Sides) -> str:
    return (
        f"the host reaches another cluster under the name {sides.name} (kube-system UID {sides.leads_to} instead of "
        f"{sides.member_uid}; {sides.leads_to_evidence}); choose another name, or, if it is this member's name, look "
        "where the Cluster leads: the server in its kubeconfig; by proxy, a spec.connection.kubernetesAPIServerPort "
        "that another Cluster has too"
    )


def _taken(name: str, owner: str) -> str:
    return f"Cluster {name} belongs to another cluster ({owner}); choose another name"


def about_other_names(sides: Sides) -> list[str]:
    """Return under which other names the host has this member already."""
    return doubles(
        sides.clusters, name=sides.name, uid=sides.member_uid, server=sides.server, leads_to=sides.leads_others_to
    )


def doubles(
    clusters: Iterable[kubesphere.Object], *, name: str, uid: str, server: str | None, leads_to: Mapping[str, str]
) -> list[str]:
    """Return which Clusters of other names stand for the member with this *uid*, in sentences."""
    return [
        f"the host has this cluster already, as {item['metadata']['name']} (kube-system UID {uid}); "
        "join it under that name, or delete that Cluster first"
        for item in clusters
        if item["metadata"]["name"] != name and _stands_for(item, uid=uid, server=server, leads_to=leads_to)
    ]


def may_be_untold(
    clusters: Iterable[kubesphere.Object], *, name: str, accounts: Iterable[kubesphere.Object]
) -> list[str]:
    """Return under which other names the host may have a member without saying so, as before 3.3.

    *accounts* are those in kube-federation-system of the member, where the host's controller makes one for each name
    (kubesphere-facts 6.4, 12.4).
    """
    found = {account["metadata"]["name"] for account in accounts}
    return [
        other
        for item in untold(clusters, name=name)
        if kubesphere.member_account(other := item["metadata"]["name"]).name in found
    ]


def unseen(clusters: Iterable[kubesphere.Object], *, name: str, now: datetime.datetime, since: float) -> list[str]:
    """Return the other names that somebody has given in the last *since* seconds, and whose clusters are not known yet.

    The host's controller tells that when it has looked at a Cluster, and ks-apiserver when it is Ready.
    """
    return [
        item["metadata"]["name"]
        for item in untold(clusters, name=name)
        if not kubesphere.is_true(item, kubesphere.READY)
        and (now - datetime.datetime.fromisoformat(item["metadata"]["creationTimestamp"])).total_seconds() < since
    ]


def untold(clusters: Iterable[kubesphere.Object], *, name: str) -> list[kubesphere.Object]:
    """Return the members of other names that do not tell which cluster they stand for."""
    return [
        item
        for item in clusters
        if item["metadata"]["name"] != name and not kubesphere.is_host(item) and not owner(item)
    ]


def may_belong_to_another_host(config: kubesphere.Config) -> bool:
    """Tell whether a cluster with this configuration is a member; the jwtSecret tells of whom."""
    return config.role == kubesphere.MEMBER and bool(config.cluster_name)


def about_other_host(sides: Sides) -> list[str]:
    """Return why the member is another host's; [] if it is not, or this host has it."""
    config = sides.member_config
    uid, server, leads_to = sides.member_uid, sides.server, sides.leads_others_to
    if any(_stands_for(item, uid=uid, server=server, leads_to=leads_to) for item in sides.clusters):
        return []
    if not may_belong_to_another_host(config) or sides.host_secret_in_use:
        return []
    return [
        (
            f"the member belongs to another host, which calls it {config.cluster_name}; take it out there first, "
            "then set spec.multicluster.clusterRole of its ClusterConfiguration to none and wait for ks-installer"
        )
    ]


def _stands_for(item: kubesphere.Object, *, uid: str, server: str | None, leads_to: Mapping[str, str]) -> bool:
    told = owner(item) or leads_to.get(item["metadata"]["name"])
    return told == uid if told else _same_server(item, server)


def _same_server(item: kubesphere.Object, server: str | None) -> bool:
    return server is not None and kubeconfig.server(kubesphere.cluster_kubeconfig(item)) == server


def owner(item: kubesphere.Object) -> str:
    """Return the kube-system UID that a Cluster says it stands for, or ""."""
    return kubesphere.member_uid(item) or _mark(item)


def _mark(item: kubesphere.Object) -> str:
    annotations = item["metadata"].get("annotations") or {}
    return str(annotations.get(kubesphere.MEMBER_UID_ANNOTATION) or "")
