"""What a scenario says that could not be so in reality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from include.simulator import published as reach
from include.simulator.extra_clusters import ExtraCluster
from include.simulator.issued import DATED, KNOWN, Kubeconfig
from include.simulator.release import RELEASES, Release
from include.simulator.scenario import HOST_CLUSTER, Host, Member, Origin, Scenario, Webhook
from include.simulator.workload_states import Workload, find_problem

_OF_KUBESPHERE: Final = (
    "role",
    "secret",
    "spec_ahead",
    "joined",
    "agent",
    "other_host",
    "installer",
    "kubesphere",
    "access_token_max_age",
    "workloads",
)
"""What can be said only of a member with KubeSphere."""


def find(scenario: Scenario) -> list[str]:
    """Return what cannot be in reality, each with its path."""
    problems = _find_host_contradictions(scenario.host, release=RELEASES[scenario.kubesphere])
    names = [scenario.host.name]
    joined: list[str] = []
    for index, member in enumerate(scenario.members):
        path = f"members[{index}]"
        if member.name and member.name in names:
            problems.append(f"{path}.name: {member.name!r} is another cluster's name already")
        names.append(member.name)
        if member.joined is not None:
            if scenario.host.role != "host":
                problems.append(f"{path}.joined: nothing can be joined while host.role is none")
            if member.joined == HOST_CLUSTER:
                problems.append(f"{path}.joined: {HOST_CLUSTER!r} is the name of the host's own Cluster")
            if member.joined in joined:
                problems.append(f"{path}.joined: another member is joined as {member.joined!r}")
            joined.append(member.joined)
        problems += [f"{path}.{problem}" for problem in _find_proxy_contradictions(member, host=scenario.host)]
        release = RELEASES[member.kubesphere or scenario.kubesphere]
        found = _find_member_contradictions(member, release=release)
        problems += [f"{path}.{problem}" for problem in found]
    problems += _find_alias_contradictions(scenario.aliases, names=names)
    problems += _find_cluster_contradictions(scenario.host.clusters, taken={HOST_CLUSTER, *joined}, names=names)
    for name, issued in scenario.connections.items():
        found = _find_connection_contradictions(issued, name=name, names=names, aliases=scenario.aliases)
        problems += [f"connections.{name}.{problem}" for problem in found]
    return problems


def _find_cluster_contradictions(
    clusters: Mapping[str, ExtraCluster], *, taken: set[str], names: list[str]
) -> list[str]:
    problems = [f"host.clusters.{name}: there is a Cluster of that name" for name in clusters if name in taken]
    return problems + [
        f"host.clusters.{name}.of: there is no cluster {extra.of!r}"
        for name, extra in clusters.items()
        if extra.of is not None and extra.of not in names
    ]


def _find_connection_contradictions(
    issued: Kubeconfig, *, name: str, names: list[str], aliases: Mapping[str, str]
) -> list[str]:
    problems = []
    if name in names or name in aliases:
        problems.append("cluster: that connection id is taken")
    if issued.cluster not in names:
        problems.append(f"cluster: there is no cluster {issued.cluster!r}")
    if issued.days != Kubeconfig.days and issued.identity not in DATED:
        problems.append(f"days: nothing ends in a kubeconfig with identity {issued.identity.value}")
    if issued.forbid and issued.identity not in KNOWN:
        problems.append(f"forbid: nobody is known by identity {issued.identity.value}")
    return problems


def _find_alias_contradictions(aliases: Mapping[str, str], *, names: list[str]) -> list[str]:
    problems = [
        f"aliases.{alias}: there is no cluster {name!r}" for alias, name in aliases.items() if name not in names
    ]
    return problems + [f"aliases.{alias}: is a cluster's own connection id" for alias in aliases if alias in names]


def _find_host_contradictions(host: Host, *, release: Release) -> list[str]:
    problems = _find_workload_contradictions(host.workloads, is_host=host.role == "host", has_agent=False)
    problems = [f"host.{problem}" for problem in problems]
    if host.clusters and host.role != "host":
        problems.append("host.clusters: were made by hand on a host, and host.role is none")
    if set(host.elsewhere) & set(host.published):
        problems.append("host.elsewhere: what answers at an address of host.published is tower")
    if host.workspaces and host.role != "host":
        problems.append("host.workspaces: are federated, and host.role is none")
    if host.proxy_address is not None and host.role != "host":
        problems.append("host.proxy_address: is that of a host in force, and host.role is none")
    if host.webhook not in (None, Webhook.NONE) and not release.validates_clusters:
        problems.append(f"host.webhook: KubeSphere {release.version} has none")
    return problems


def _leads_to_tower(host: Host) -> bool:
    """Say whether an agent that uses the configured address reaches tower from the start; without one it does."""
    if host.proxy_address is None:
        return True
    known = list(host.published)
    if host.load_balancer is not None and host.load_balancer.after == 0:
        known.append((host.load_balancer.address, reach.TOWER_PORT))
    return reach.address_of(host.proxy_address) in known and host.proxy_address.startswith("http://")


def _find_proxy_contradictions(member: Member, *, host: Host) -> list[str]:
    problems = []
    if member.connection == "proxy":
        if host.workloads.get("tower") is Workload.MISSING and host.proxy_address is None:
            problems.append("connection: without tower's Service and host.proxy_address its agent has no address")
        if not _leads_to_tower(host):
            problems.append("connection: nothing leads from host.proxy_address to tower at the start")
        if member.kubeconfig_days is not None:
            problems.append("kubeconfig_days: tower makes the kubeconfig of a member that is joined by proxy")
        if member.joined is None:
            problems.append("connection: says how a member is joined, and this one is not")
        if not member.reaches_tower:
            problems.append("connection: its agent is connected at the start, and it does not reach tower")
        if member.agent is not None:
            problems.append("agent: a member that is joined by proxy has that Cluster's agent")
    return problems


def _find_workload_contradictions(workloads: Mapping[str, Workload], *, is_host: bool, has_agent: bool) -> list[str]:
    found = {
        name: find_problem(name, workload, is_host=is_host, has_agent=has_agent) for name, workload in workloads.items()
    }
    return [f"workloads.{name}: {problem}" for name, problem in found.items() if problem is not None]


def _find_leftover_contradictions(member: Member, *, release: Release) -> list[str]:
    left, problems = member.left, []
    if left.namespace_terminating and member.joined is not None:
        problems.append("namespace_terminating: a joined member's service account is in that namespace")
    if member.joined in left.accounts:
        problems.append(f"accounts: it is joined as {member.joined!r}")
    if left.cluster_name is not None and not release.states_role:
        problems.append(f"cluster_name: KubeSphere {release.version} writes no clusterName anywhere")
    if left.cluster_name is not None and (member.joined is not None or member.other_host is not None):
        problems.append("cluster_name: the ConfigMap holds one host's name for the cluster, and that is another one")
    if not member.installed and (left.workspaces or left.cluster_name is not None):
        problems.append("workspaces and cluster_name: are KubeSphere's, which is not installed")
    return problems


def _find_member_contradictions(member: Member, *, release: Release) -> list[str]:
    problems = []
    problems += [f"left.{problem}" for problem in _find_leftover_contradictions(member, release=release)]
    if member.kubeconfig_days is not None and member.joined is None:
        problems.append("kubeconfig_days: nothing was imported of a member that is not joined")
    problems += _find_ownership_contradictions(member, release=release)
    if member.access_token_max_age is not None and (member.role != "member" or not release.states_role):
        problems.append("access_token_max_age: without a 0 there, this cluster has not the role member anyway")
    has_agent = member.agent is not None or (member.joined is not None and member.connection == "proxy")
    problems += _find_workload_contradictions(member.workloads, is_host=member.role == "host", has_agent=has_agent)
    if member.spec_ahead and member.role == "member" and member.secret is Origin.HOST:
        problems.append("spec_ahead: the ConfigMap has the member role and the host's secret, so nothing is ahead")
    if not member.installed:
        default = Member(name=member.name, installed=False)
        problems += [
            f"{key}: cannot be set where KubeSphere is not installed"
            for key in _OF_KUBESPHERE
            if getattr(member, key) != getattr(default, key)
        ]
    return problems


def _find_ownership_contradictions(member: Member, *, release: Release) -> list[str]:
    """Return what cannot be of whose member a cluster is."""
    problems = []
    if member.other_host is not None:
        if not release.states_role:
            problems.append(f"other_host: KubeSphere {release.version} writes no clusterName anywhere")
        if member.role != "member":
            problems.append("other_host: a member of another host has role member")
        if member.secret is not Origin.OWN:
            problems.append("other_host: the secret of another host is not this host's")
        if member.joined is not None:
            problems.append("other_host: the ConfigMap holds one host's name for the cluster, and it is joined here")
    if member.role == "host" and (member.joined is not None or member.secret is Origin.HOST):
        problems.append("role: a host with tower and kubefed of its own is nobody's member at the start")
    return problems
