"""Scenarios: what the clusters are like when the simulation begins, how long things take, and what goes wrong.

`loading` reads them, and `contradictions` finds those that could not occur in reality: they are refused, with every
problem at once, for a test that passes on an impossible cluster is worse than none.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from include.simulator.access import Rule
from include.simulator.elsewhere import Listener
from include.simulator.extra_clusters import ExtraCluster
from include.simulator.foundation import Kubernetes
from include.simulator.issued import Kubeconfig
from include.simulator.leftovers import Leftovers
from include.simulator.published import Address, LeftAgent, LoadBalancer
from include.simulator.release import RELEASES
from include.simulator.workload_states import Workload

VERSIONS: Final = tuple(RELEASES)
HOST_CLUSTER: Final = "host"


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
    first: the port on which tower stands for a member's API server. Where none is named, those have ports of their own.
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
