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

from include.simulator import published as reach
from include.simulator import resources
from include.simulator.access import Rule
from include.simulator.published import Address, LeftAgent, LoadBalancer
from include.simulator.reader import Reader
from include.simulator.release import RELEASES, Release

VERSIONS: Final = tuple(RELEASES)
HOST_CLUSTER: Final = "host"
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
    """

    name: str = "host"
    role: str = "none"
    jwt_in_spec: str | None = None
    load_balancer: LoadBalancer | None = None
    proxy_address: str | None = None
    published: tuple[Address, ...] = ()
    tower_ports: tuple[int, ...] = ()
    forbid: tuple[Rule, ...] = ()
    installer: Fault | None = None


@dataclass(frozen=True, kw_only=True)
class Member:
    """A cluster to be joined, or joined already."""

    name: str = ""
    role: str = "none"
    secret: Origin = Origin.OWN
    spec_ahead: bool = False
    joined: str | None = None
    connection: str = "direct"
    agent: LeftAgent | None = None
    other_host: str | None = None
    reachable: bool = True
    reaches_tower: bool = True
    installed: bool = True
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
            forbid=self._rules(known, path="host"),
            installer=self._fault(known, path="host"),
        )

    def _member(self, source: Any, *, path: str) -> Member:
        known = self._mapping(source, path=path, keys=_keys(Member))
        if "name" not in known:
            self.problems.append(f"{path}.name: required")
        return Member(
            name=self._name(known, path=path, default=""),
            role=self._choice(known, "role", path=f"{path}.", choices=("none", "member"), default="none"),
            secret=Origin(self._choice(known, "secret", path=f"{path}.", choices=("own", "host"), default="own")),
            spec_ahead=self._flag(known, "spec_ahead", path=path, default=False),
            joined=self._optional_name(known, "joined", path=path),
            connection=self._choice(
                known, "connection", path=f"{path}.", choices=("direct", "proxy"), default="direct"
            ),
            agent=self._part(reach.read_agent(known.get("agent")), path=f"{path}.agent"),
            other_host=self._optional_name(known, "other_host", path=path),
            reachable=self._flag(known, "reachable", path=path, default=True),
            reaches_tower=self._flag(known, "reaches_tower", path=path, default=True),
            installed=self._flag(known, "installed", path=path, default=True),
            forbid=self._rules(known, path=path),
            installer=self._fault(known, path=path),
        )

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
    problems = _find_host_contradictions(scenario.host)
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
        found = _find_member_contradictions(member, release=RELEASES[scenario.kubesphere])
        problems += [f"{path}.{problem}" for problem in found]
    return problems + _find_alias_contradictions(scenario.aliases, names=names)


def _find_alias_contradictions(aliases: Mapping[str, str], *, names: list[str]) -> list[str]:
    problems = [
        f"aliases.{alias}: there is no cluster {name!r}" for alias, name in aliases.items() if name not in names
    ]
    return problems + [f"aliases.{alias}: is a cluster's own connection id" for alias in aliases if alias in names]


def _find_host_contradictions(host: Host) -> list[str]:
    if host.proxy_address is not None and host.role != "host":
        return ["host.proxy_address: is that of a host in force, and host.role is none"]
    return []


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
        if not _leads_to_tower(host):
            problems.append("connection: nothing leads from host.proxy_address to tower at the start")
        if member.joined is None:
            problems.append("connection: says how a member is joined, and this one is not")
        if not member.reaches_tower:
            problems.append("connection: its agent is connected at the start, and it does not reach tower")
        if member.agent is not None:
            problems.append("agent: a member that is joined by proxy has that Cluster's agent")
    return problems


def _find_member_contradictions(member: Member, *, release: Release) -> list[str]:
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
    if member.spec_ahead and member.role == "member" and member.secret is Origin.HOST:
        problems.append("spec_ahead: the ConfigMap has the member role and the host's secret, so nothing is ahead")
    if not member.installed:
        default = Member(name=member.name, installed=False)
        problems += [
            f"{key}: cannot be set where KubeSphere is not installed"
            for key in ("role", "secret", "spec_ahead", "joined", "agent", "other_host", "installer")
            if getattr(member, key) != getattr(default, key)
        ]
    return problems
