"""What preflight has seen of both clusters, as values: what was read, or why it could not be.

Pure. `preflight` fills an `Observed`, `checks` judges it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from include.fleet import conf as confs
from include.fleet import errors, identity, installer_log, kubeconfig, kubesphere, rights, tower


@dataclass(frozen=True)
class Unread:
    """Something that could not be read."""

    why: str
    """The reason, a sentence; no secrets."""
    error: errors.FleetError | None = None
    """What was raised, where it was that."""


NOT_ASKED = Unread("It was not asked for.")


class MissingError(Exception):
    """Something that a check needs could not be read; its text says why."""


Value = TypeVar("Value")


def known(value: Value | Unread) -> Value:
    """Return what was read; raises MissingError if it could not be."""
    if isinstance(value, Unread):
        raise MissingError(value.why)
    return value


@dataclass(frozen=True)
class Clock:
    """A cluster's clock against Airflow's, by the Date header of an answer."""

    offset: float
    """Seconds by which it is ahead."""
    margin: float
    """Seconds by which *offset* may be wrong: half the round trip, and half of the header's one second."""


@dataclass(frozen=True)
class Credential:
    """How a connection identifies itself, without the credential."""

    kind: str
    """token, certificate, or what else its kubeconfig has."""
    expires: datetime.datetime | None
    """When it ends, None where it does not say."""


@dataclass(frozen=True)
class Handshake:
    """What a TLS server showed."""

    address: str
    name: str
    """What a client has to find in the certificate: the address's host, or the kubeconfig's tls-server-name."""
    untrusted: str
    """Why its chain does not lead to the CA of the kubeconfig, in OpenSSL's words; "" if it does."""
    names: tuple[str, ...]
    """The entries of the certificate's subjectAltName."""
    expires: datetime.datetime
    begins: datetime.datetime
    issuer: str


@dataclass(frozen=True, repr=False)
class Side:
    """One cluster."""

    role: str
    conn_id: str
    kubernetes: str | Unread = NOT_ASKED
    """Its gitVersion."""
    clock: Clock | Unread = NOT_ASKED
    uid: str | Unread = NOT_ASKED
    configuration: kubesphere.Object | Unread | None = NOT_ASKED
    config_map: kubesphere.Object | Unread | None = NOT_ASKED
    secret: kubesphere.Object | Unread | None = NOT_ASKED
    deployments: Mapping[str, kubesphere.Object | Unread | None] = field(default_factory=dict)
    """By name."""
    installer_pod: kubesphere.Object | Unread | None = NOT_ASKED
    installer_doing: installer_log.Activity | Unread = NOT_ASKED
    installer_says: Sequence[str] | Unread = NOT_ASKED
    """The telling lines of its last run, redacted; asked only where that has failed."""
    storage_classes: Sequence[kubesphere.Object] | Unread = NOT_ASKED
    nodes: Sequence[kubesphere.Object] | Unread = NOT_ASKED
    workspaces: Sequence[kubesphere.Object] | Unread = NOT_ASKED
    endpoints: Mapping[str, kubesphere.Object | Unread | None] = field(default_factory=dict)
    """Of Services in kubesphere-system, by name."""
    reviews: Mapping[rights.Right, bool | Unread] = field(default_factory=dict)
    """Which rights its connection has."""
    credential: Credential | Unread = NOT_ASKED

    def __str__(self) -> str:
        return f"{self.role} cluster (connection {self.conn_id})"

    @property
    def config(self) -> kubesphere.Config | None:
        """Return what is in force, None where there is nothing usable; raises MissingError."""
        found = known(self.config_map)
        return None if found is None else kubesphere.config(found)

    @property
    def in_force(self) -> kubesphere.Config:
        """Return what is in force; raises MissingError where KubeSphere is not installed or cannot be read."""
        config = self.config
        if config is None:
            raise MissingError(f"The {self} has no usable {kubesphere.CONFIG}.")
        return config

    @property
    def asked(self) -> kubesphere.Object:
        """Return its ClusterConfiguration; raises MissingError where there is none or it cannot be read."""
        found = known(self.configuration)
        if found is None:
            raise MissingError(f"The {self} has no {kubesphere.CONFIGURATION}.")
        return found

    @property
    def release(self) -> kubesphere.Release:
        """Return what is particular to its KubeSphere; raises MissingError for one that is not known."""
        found = kubesphere.release(self.asked)
        if found is None:
            raise MissingError(f"The KubeSphere of the {self} is not known to this project.")
        return found

    @property
    def snapshot(self) -> kubesphere.Snapshot:
        """Return what it is asked for and has in force; raises MissingError."""
        secret = None if isinstance(self.secret, Unread) else self.secret
        return kubesphere.Snapshot(self.asked, self.config, secret)

    def deployment(self, name: str) -> kubesphere.Object | None:
        """Return a Deployment, None if there is none; raises MissingError."""
        return known(self.deployments.get(name, NOT_ASKED))

    def ready_addresses(self, name: str) -> int:
        """Return how many pods are ready behind a Service in kubesphere-system; raises MissingError."""
        found = known(self.endpoints.get(name, NOT_ASKED))
        subsets = (found or {}).get("subsets") or []
        return sum(len(subset.get("addresses") or []) for subset in subsets)


@dataclass(frozen=True, repr=False)
class Imported:
    """The connection whose kubeconfig the host receives, in a direct join."""

    conn_id: str
    kubeconfig: kubeconfig.Kubeconfig | Unread | None = None
    """What the host receives, None by proxy."""
    uid: str | Unread = NOT_ASKED
    """Of the cluster that it leads to."""
    may_everything: bool | Unread = NOT_ASKED
    credential: Credential | Unread = NOT_ASKED


@dataclass(frozen=True, repr=False)
class Observed:
    """Everything that the checks judge."""

    conf: confs.Conf
    host: Side
    member: Side
    imported: Imported
    now: datetime.datetime
    clusters: Sequence[kubesphere.Object] | Unread = NOT_ASKED
    """All Clusters of the host."""
    leads_to: str = ""
    """The kube-system UID of the cluster that answers under the name, or "" where none does or can be asked."""
    leads_to_evidence: str = ""
    """How that was seen."""
    leads_others_to: Mapping[str, str] = field(default_factory=dict)
    """The same of other names that may be this member's."""
    tower: kubesphere.Object | Unread | None = NOT_ASKED
    """Its Service."""
    federated_workspaces: Sequence[kubesphere.Object] | Unread = NOT_ASKED
    webhook: kubesphere.Object | Unread | None = NOT_ASKED
    """What the host asks before a Cluster is changed."""
    trial: Unread | None = None
    """Why the host's own Cluster could not be changed, tried without storing it."""
    agent: kubesphere.Object | Unread | None = NOT_ASKED
    """The agent's Deployment on the member."""
    account: kubesphere.Object | Unread | None = NOT_ASKED
    """The account on the member that the agent runs as."""
    federation: kubesphere.Object | Unread | None = NOT_ASKED
    """Namespace kube-federation-system of the member."""
    federation_accounts: Sequence[kubesphere.Object] | Unread = NOT_ASKED
    handshake: Handshake | Unread = NOT_ASKED
    """At the member's address for the host's pods."""
    own_handshake: Handshake | Unread = NOT_ASKED
    """At the address that Airflow uses, where it does not reach the other."""

    @property
    def named(self) -> kubesphere.Object | None:
        """Return the Cluster that has the name already; raises MissingError."""
        return next((item for item in known(self.clusters) if item["metadata"]["name"] == self.conf.cluster), None)

    @property
    def may_be_direct(self) -> bool:
        """Tell whether the join is a direct one, or may become one."""
        return self.conf.connection is not confs.Connection.PROXY

    @property
    def may_be_proxy(self) -> bool:
        """Tell whether the join is one by proxy, or may become one."""
        return self.conf.connection is not confs.Connection.DIRECT

    @property
    def host_trust(self) -> kubesphere.Trust:
        """Return the host's jwtSecret; raises MissingError."""
        return self.host.snapshot.trust

    def patch_of(self, side: Side) -> dict[str, object]:
        """Return what a join changes in a ClusterConfiguration; raises MissingError."""
        if side is self.host:
            address = self.conf.proxy_publish_address
            return kubesphere.configuration_patch(side.asked, role=kubesphere.HOST, address=address)
        return kubesphere.configuration_patch(
            side.asked, role=kubesphere.MEMBER, jwt_secret=self.host_trust.value or None
        )

    def is_due(self, side: Side) -> bool:
        """Tell whether ks-installer has something to do there; raises MissingError."""
        return bool(self.patch_of(side) or kubesphere.unmet(side.snapshot))

    @property
    def sides(self) -> identity.Sides:
        """Return what tells who is who; raises MissingError."""
        named, kind = self.named, self.conf.connection.value
        if self.conf.connection is confs.Connection.AUTO and named is not None:
            kind = kubesphere.connection_type(named)
        if self.conf.is_handed_over:
            return identity.of_host_alone(
                name=self.conf.cluster,
                host_uid=known(self.host.uid),
                host_config=self.host.in_force,
                clusters=known(self.clusters),
                leads_to=self.leads_to,
                leads_to_evidence=self.leads_to_evidence,
            )
        prepared = None if isinstance(self.imported.kubeconfig, Unread) else self.imported.kubeconfig
        host, member = self.host.in_force, self.member.in_force
        in_use = member.jwt_secret == host.jwt_secret
        if not in_use and identity.may_belong_to_another_host(member):
            in_use = member.jwt_secret == self.host_trust.value
        agent = known(self.agent) if named is not None and prepared is None else None
        return identity.Sides(
            name=self.conf.cluster,
            host_uid=known(self.host.uid),
            member_uid=known(self.member.uid),
            host_config=host,
            member_config=member,
            host_secret_in_use=in_use,
            clusters=known(self.clusters),
            connection=kind,
            server=prepared.server if prepared else None,
            agent_name=tower.announced_name(agent) if agent else "",
            leads_to=self.leads_to,
            leads_to_evidence=self.leads_to_evidence,
            leads_others_to=self.leads_others_to,
        )
