"""Reads scenarios that a person wrote, as a mapping or a YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import yaml

from include.simulator import contradictions, elsewhere, foundation, resources
from include.simulator import published as reach
from include.simulator.access import Rule
from include.simulator.extra_clusters import ExtraCluster
from include.simulator.foundation import Issuer, Kubernetes
from include.simulator.issued import Identity, Kubeconfig
from include.simulator.leftovers import Leftovers
from include.simulator.reader import Reader
from include.simulator.scenario import (
    VERSIONS,
    Failure,
    Fault,
    Host,
    Member,
    Origin,
    Scenario,
    ScenarioError,
    Timing,
    Webhook,
)
from include.simulator.workload_states import Workload

_AGE: Final = re.compile(r"[1-9][0-9]*[smh]")
_SECRET: Final = re.compile(r"[A-Za-z0-9]+")
_RESOURCES: Final = {
    "*",
    *(kind.plural for kind in resources.ALL),
    *(f"{kind.plural}/{name}" for kind in resources.ALL for name in kind.subresources),
    *(f"{kind.plural}/status" for kind in resources.ALL if kind.status),
}


def load(source: Mapping[str, Any] | Path | str) -> Scenario:
    """Return the scenario of a mapping, or of a YAML file. Raises ScenarioError with all problems at once."""
    if isinstance(source, (str, Path)):
        source = yaml.safe_load(Path(source).read_text(encoding="utf-8")) or {}
    reader = _ScenarioReader()
    scenario = reader.read_scenario(source)
    reader.problems += contradictions.find(scenario)
    if reader.problems:
        raise ScenarioError(reader.problems)
    return scenario


class _ScenarioReader(Reader):
    """Turns mappings into the values of `scenario`."""

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
