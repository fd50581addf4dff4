"""Scenarios: what the clusters are like when the simulation begins, how long things take, and what goes wrong.

A scenario that could not occur in reality is refused, with every problem at once: a test that passes on an impossible
cluster is worse than none.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import yaml

from include.simulator import elsewhere, foundation, resources
from include.simulator import published as reach
from include.simulator.access import Rule
from include.simulator.elsewhere import Listener
from include.simulator.extra_clusters import ExtraCluster
from include.simulator.foundation import Issuer, Kubernetes
from include.simulator.issued import DATED, KNOWN, Identity, Kubeconfig
from include.simulator.leftovers import Leftovers
from include.simulator.published import Address, LeftAgent, LoadBalancer
from include.simulator.reader import Reader
from include.simulator.release import RELEASES, Release
from include.simulator.workload_states import Workload, find_problem

VERSIONS: Final = tuple(RELEASES)
HOST_CLUSTER: Final = "host"
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
_AGE: Final = re.compile(r"[1-9][0-9]*[smh]")
_SECRET: Final = re.compile(r"[A-Za-z0-9]+")
_RESOURCES: Final = {
    "*",
    *(kind.plural for kind in resources.ALL),
    *(f"{kind.plural}/{name}" for kind in resources.ALL for name in kind.subresources),
    *(f"{kind.plural}/status" for kind in resources.ALL if kind.status),
}


class ScenarioError(ValueError):
    """A scenario that is refused; `problems` has a sentence for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("impossible scenario: " + "; ".join(problems))
        self.problems = problems


class Failure(enum.Enum):
    """How a run of the installer can fail (kubesphere-facts 12.6, S-4)."""

    SILENT = "silent"
    COMPONENT = "component"
    CRASH = "crash"


class Origin(enum.Enum):
    """Whose jwtSecret is in force in a member."""

    OWN = "own"
    HOST = "host"


class Webhook(enum.Enum):
    """What asks before a Cluster of the host is changed (kubesphere-facts 6.9).

    `STALE` was left behind by an earlier KubeSphere: nothing has the certificate that it trusts, so that no Cluster can
    be changed at all.
    """

    PRESENT = True
    NONE = False
    STALE = "stale"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Durations in seconds.

    `queue`: from a changed ClusterConfiguration to its place in the installer's queue. `run`: one installer run.
    `reload`: from a changed ConfigMap to the programs using it; an agent's longest pause between two attempts is in
    proportion to it, 2 min at the default. `sync`: one round of the cluster controller. `resync`: its period.
    `kubelet`: starting a pod.
    """

    queue: float = 0.5
    run: float = 15
    reload: float = 2
    sync: float = 0.2
    resync: float = 120
    kubelet: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The first `runs` runs of the installer fail, or all when it is None."""

    failure: Failure
    runs: int | None = None


@dataclass(frozen=True, kw_only=True)
class Host:
    """The host cluster.

    `tower_ports` are what chance draws for the first members by proxy, of which those that are joined at the start come
    first: the port on which tower stands for a member's API server.
    `elsewhere` is who answers at addresses that are taken for tower's, `clusters` are Clusters that were made by hand,
    `workspaces` are federated ones with the names of the Clusters where they are placed. `webhook` is
    None for what its version of KubeSphere has.
    """

    name: str = "host"
    role: str = "none"
    jwt_in_spec: str | None = None
    load_balancer: LoadBalancer | None = None
    proxy_address: str | None = None
    published: tuple[Address, ...] = ()
    tower_ports: tuple[int, ...] = ()
    elsewhere: Mapping[Address, Listener] = field(default_factory=dict)
    clusters: Mapping[str, ExtraCluster] = field(default_factory=dict)
    workspaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    webhook: Webhook | None = None
    forbid: tuple[Rule, ...] = ()
    installer: Fault | None = None


@dataclass(frozen=True, kw_only=True)
class Member:
    """A cluster to be joined, or joined already.

    `kubeconfig_days` are those until the client certificate ends that was imported, negative when it has ended.
    `kubesphere` is its version, where that is not the scenario's. `access_token_max_age` was written into the ConfigMap
    by hand. A member of role host is a host itself.
    """

    name: str = ""
    role: str = "none"
    secret: Origin = Origin.OWN
    spec_ahead: bool = False
    joined: str | None = None
    connection: str = "direct"
    kubeconfig_days: float | None = None
    agent: LeftAgent | None = None
    other_host: str | None = None
    left: Leftovers = field(default_factory=Leftovers)
    reachable: bool = True
    reaches_tower: bool = True
    installed: bool = True
    kubesphere: str | None = None
    access_token_max_age: str | None = None
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    forbid: tuple[Rule, ...] = ()
    installer: Fault | None = None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Everything that a simulation starts from."""

    kubesphere: str = VERSIONS[0]
    timing: Timing = field(default_factory=Timing)
    host: Host = field(default_factory=Host)
    members: tuple[Member, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    connections: Mapping[str, Kubeconfig] = field(default_factory=dict)


def load(source: Mapping[str, Any] | Path | str) -> Scenario:
    """Return the scenario of a mapping, or of a YAML file. Raises ScenarioError with all problems at once."""
    if isinstance(source, (str, Path)):
        source = yaml.safe_load(Path(source).read_text(encoding="utf-8")) or {}
    reader = _Reader()
    scenario = reader.read_scenario(source)
    reader.problems += _find_contradictions(scenario)
    if reader.problems:
        raise ScenarioError(reader.problems)
    return scenario


class _Reader(Reader):
    """Turns mappings into the classes above."""

    def read_scenario(self, source: Any) -> Scenario:
        known = self._mapping(source, path="scenario", keys=_keys(Scenario))
        members = known.get("members") or []
        if not isinstance(members, list):
            self.problems.append(f"members: expected a list, got {members!r}")
            members = []
        aliases = known.get("aliases") or {}
        if not isinstance(aliases, dict):
            self.problems.append(f"aliases: expected a mapping, got {aliases!r}")
            aliases = {}
        return Scenario(
            kubesphere=self._choice(known, "kubesphere", path="", choices=VERSIONS, default=VERSIONS[0]),
            timing=self._timing(known.get("timing") or {}),
            host=self._host(known.get("host") or {}),
            members=tuple(self._member(member, path=f"members[{index}]") for index, member in enumerate(members)),
            aliases={str(key): str(value) for key, value in aliases.items()},
            connections=self._connections(known.get("connections") or {}),
        )

    def _connections(self, source: Any) -> dict[str, Kubeconfig]:
        if not isinstance(source, dict):
            self.problems.append(f"connections: expected a mapping, got {source!r}")
            return {}
        return {str(name): self._issued(each, path=f"connections.{name}") for name, each in source.items()}

    def _issued(self, source: Any, *, path: str) -> Kubeconfig:
        known = self._mapping(source, path=path, keys=_keys(Kubeconfig))
        authorities = (*(issuer.value for issuer in Issuer), "insecure")
        identities = tuple(identity.value for identity in Identity)
        authority = self._choice(known, "authority", path=f"{path}.", choices=authorities, default="own")
        return Kubeconfig(
            cluster=str(known.get("cluster", "")),
            server=str(known.get("server", Kubeconfig.server)),
            authority=None if authority == "insecure" else Issuer(authority),
            identity=Identity(self._choice(known, "identity", path=f"{path}.", choices=identities, default="token")),
            days=self._days(known, "days", path=path) or Kubeconfig.days,
            forbid=self._rules(known, path=path),
        )

    def _timing(self, source: Any) -> Timing:
        known = self._mapping(source, path="timing", keys=_keys(Timing))
        values: dict[str, float] = {}
        for key, value in known.items():
            lowest = 0.05 if key == "resync" else 0
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < lowest:
                self.problems.append(f"timing.{key}: expected seconds, at least {lowest}, got {value!r}")
            else:
                values[key] = float(value)
        return Timing(**values)

    def _host(self, source: Any) -> Host:
        known = self._mapping(source, path="host", keys=_keys(Host))
        jwt = known.get("jwt_in_spec")
        if jwt is not None and not (isinstance(jwt, str) and _SECRET.fullmatch(jwt)):
            self.problems.append("host.jwt_in_spec: expected letters and digits")
            jwt = None
        return Host(
            name=self._name(known, path="host", default="host"),
            role=self._choice(known, "role", path="host.", choices=("none", "host"), default="none"),
            jwt_in_spec=jwt,
            load_balancer=self._part(reach.read_load_balancer(known.get("load_balancer")), path="host.load_balancer"),
            proxy_address=self._proxy_address(known.get("proxy_address")),
            published=self._part(reach.read_published(known.get("published") or []), path="host.published") or (),
            tower_ports=self._part(reach.read_ports(known.get("tower_ports") or []), path="host.tower_ports") or (),
            workloads=self._workloads(known, path="host"),
            elsewhere=self._part(elsewhere.read(known.get("elsewhere") or {}), path="host.elsewhere") or {},
            clusters=self._clusters(known.get("clusters") or {}),
            workspaces=self._workspaces(known.get("workspaces") or {}),
            kubernetes=self._kubernetes(known, path="host"),
            webhook=self._webhook(known),
            forbid=self._rules(known, path="host"),
            installer=self._fault(known, path="host"),
        )

    def _webhook(self, known: dict[str, Any]) -> Webhook | None:
        wanted = known.get("webhook")
        if wanted is None:
            return None
        if wanted not in (True, False, Webhook.STALE.value) or isinstance(wanted, int) != isinstance(wanted, bool):
            self.problems.append(f"host.webhook: expected true, false or stale, got {wanted!r}")
            return None
        return Webhook(wanted)

    def _member(self, source: Any, *, path: str) -> Member:
        known = self._mapping(source, path=path, keys=_keys(Member))
        if "name" not in known:
            self.problems.append(f"{path}.name: required")
        return Member(
            name=self._name(known, path=path, default=""),
            role=self._choice(known, "role", path=f"{path}.", choices=("none", "member", "host"), default="none"),
            secret=Origin(self._choice(known, "secret", path=f"{path}.", choices=("own", "host"), default="own")),
            spec_ahead=self._flag(known, "spec_ahead", path=path, default=False),
            joined=self._optional_name(known, "joined", path=path),
            connection=self._choice(
                known, "connection", path=f"{path}.", choices=("direct", "proxy"), default="direct"
            ),
            kubeconfig_days=self._days(known, "kubeconfig_days", path=path),
            agent=self._part(reach.read_agent(known.get("agent")), path=f"{path}.agent"),
            other_host=self._optional_name(known, "other_host", path=path),
            left=self._leftovers(known.get("left") or {}, path=f"{path}.left"),
            reachable=self._flag(known, "reachable", path=path, default=True),
            reaches_tower=self._flag(known, "reaches_tower", path=path, default=True),
            installed=self._flag(known, "installed", path=path, default=True),
            kubesphere=self._version(known, path=path),
            access_token_max_age=self._age(known, path=path),
            workloads=self._workloads(known, path=path),
            kubernetes=self._kubernetes(known, path=path),
            forbid=self._rules(known, path=path),
            installer=self._fault(known, path=path),
        )

    def _leftovers(self, source: Any, *, path: str) -> Leftovers:
        known = self._mapping(source, path=path, keys=_keys(Leftovers))
        return Leftovers(
            accounts=self._names(known.get("accounts") or [], path=f"{path}.accounts"),
            namespace_terminating=self._flag(known, "namespace_terminating", path=path, default=False),
            workspaces=self._names(known.get("workspaces") or [], path=f"{path}.workspaces"),
            cluster_name=self._optional_name(known, "cluster_name", path=path),
        )

    def _clusters(self, source: Any) -> dict[str, ExtraCluster]:
        if not isinstance(source, dict):
            self.problems.append(f"host.clusters: expected a mapping, got {source!r}")
            return {}
        return {str(name): self._extra_cluster(each, path=f"host.clusters.{name}") for name, each in source.items()}

    def _extra_cluster(self, source: Any, *, path: str) -> ExtraCluster:
        known = self._mapping(source, path=path, keys=_keys(ExtraCluster))
        return ExtraCluster(
            of=self._optional_name(known, "of", path=path),
            joins=self._flag(known, "joins", path=path, default=True),
            host_label=self._flag(known, "host_label", path=path, default=False),
        )

    def _workspaces(self, source: Any) -> dict[str, tuple[str, ...]]:
        if not isinstance(source, dict):
            self.problems.append(f"host.workspaces: expected a mapping, got {source!r}")
            return {}
        return {str(name): self._names(placed, path=f"host.workspaces.{name}") for name, placed in source.items()}

    def _workloads(self, known: dict[str, Any], *, path: str) -> dict[str, Workload]:
        source, choices = known.get("workloads") or {}, tuple(workload.value for workload in Workload)
        if not isinstance(source, dict):
            self.problems.append(f"{path}.workloads: expected a mapping, got {source!r}")
            return {}
        path = f"{path}.workloads."
        return {
            name: Workload(self._choice(source, name, path=path, choices=choices, default="stopped")) for name in source
        }

    def _version(self, known: dict[str, Any], *, path: str) -> str | None:
        if known.get("kubesphere") is None:
            return None
        return self._choice(known, "kubesphere", path=f"{path}.", choices=VERSIONS, default=VERSIONS[0])

    def _age(self, known: dict[str, Any], *, path: str) -> str | None:
        age = known.get("access_token_max_age")
        if age is None or (isinstance(age, str) and _AGE.fullmatch(age)):
            return age
        self.problems.append(f"{path}.access_token_max_age: expected a duration like 2h, got {age!r}")
        return None

    def _kubernetes(self, known: dict[str, Any], *, path: str) -> Kubernetes:
        return self._part(foundation.read(known.get("kubernetes")), path=f"{path}.kubernetes") or Kubernetes()

    def _proxy_address(self, source: Any) -> str | None:
        problem = reach.find_address_problem(source)
        if problem is not None:
            self.problems.append(f"host.proxy_address: {problem}")
            return None
        return None if source is None else str(source)

    def _rules(self, known: dict[str, Any], *, path: str) -> tuple[Rule, ...]:
        rules = []
        listed = known.get("forbid") or []
        if not isinstance(listed, list):
            self.problems.append(f"{path}.forbid: expected a list, got {listed!r}")
            return ()
        for index, source in enumerate(listed):
            where = f"{path}.forbid[{index}]"
            rule = self._mapping(source, path=where, keys={"verb", "resource"})
            verb, resource = rule.get("verb"), rule.get("resource")
            if verb not in {*resources.VERBS, "*"}:
                self.problems.append(f"{where}.verb: expected one of {', '.join(resources.VERBS)}, *; got {verb!r}")
            elif resource not in _RESOURCES:
                self.problems.append(f"{where}.resource: not a resource of these clusters: {resource!r}")
            else:
                rules.append(Rule(verb=str(verb), resource=str(resource)))
        return tuple(rules)

    def _fault(self, known: dict[str, Any], *, path: str) -> Fault | None:
        source = known.get("installer", "ok")
        if source == "ok":
            return None
        fault = self._mapping(source, path=f"{path}.installer", keys={"fail", "runs"})
        choices = tuple(failure.value for failure in Failure)
        mode = self._choice(fault, "fail", path=f"{path}.installer.", choices=choices, default="silent")
        runs = fault.get("runs")
        if runs is not None and (isinstance(runs, bool) or not isinstance(runs, int) or runs < 1):
            self.problems.append(f"{path}.installer.runs: expected a number of runs, at least 1, got {runs!r}")
            runs = None
        return Fault(failure=Failure(mode), runs=runs)


def _keys(cls: type[Any]) -> set[str]:
    return {entry.name for entry in fields(cls)}


def _find_contradictions(scenario: Scenario) -> list[str]:
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
