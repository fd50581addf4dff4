"""What about a member is not as the inventory declares it, in sentences; compared from what was read of both sides.

Nothing is asked for here. Drift is what a join would change, and what the host does not say of a member that is well.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.fleet import conf as confs
from include.fleet import errors, kubeconfig, kubesphere, manifests, membership, redaction, tower


class Kind(enum.Enum):
    """What can be otherwise than declared."""

    MISSING = "missing"
    OTHER_CLUSTER = "other-cluster"
    UNREACHABLE = "unreachable"
    CONNECTION_TYPE = "connection-type"
    SERVER = "server-address"
    CREDENTIAL = "credential-expires"
    SECRET = "jwt-secret"  # noqa: S105 - a name
    ROLE = "role"
    TOWER_ADDRESS = "tower-address"
    TOWER_PORT = "tower-port"
    AGENT_MISSING = "agent-missing"
    AGENT_TOKEN = "agent-token"  # noqa: S105 - a name
    AGENT_IMAGE = "agent-image"
    AGENT_ARGUMENTS = "agent-arguments"
    SHOWN = "labels"
    STALE = "stale-conditions"
    NOT_READY = "not-ready"


class Repair(enum.Enum):
    """Who or what mends it."""

    JOIN = "join"
    """A run of join_member_cluster with the declared conf."""
    RENEW = "renew"
    """The same, with a new credential for the host."""
    REJOIN = "rejoin"
    """A run of leave_member_cluster, and a join after that."""
    PERSON = "person"


@dataclass(frozen=True)
class Drift:
    """One thing that is not as declared; no secrets, also not in `change`."""

    kind: Kind
    sentence: str
    repair: Repair = Repair.JOIN
    next: str = ""
    """What a person does, where nothing here can."""
    change: str = ""
    """What it is and should be, for telling one drift of this kind from the next."""

    @property
    def report(self) -> dict[str, str]:
        """Return what a record keeps."""
        fields = {"kind": self.kind.value, "sentence": self.sentence, "repair": self.repair.value}
        return {**fields, "change": self.change, **({"next": self.next} if self.next else {})}


@dataclass(frozen=True)
class HostSeen:
    """What was read of a host cluster."""

    config: kubesphere.Config
    release: kubesphere.Release
    address: str
    """At which agents find tower, "" where there is none."""
    clusters: Sequence[kubesphere.Object] = field(repr=False)
    """All its Cluster objects."""
    tower: str = ""
    """Why tower does not run, "" if it does."""
    controller: str = ""
    """Why ks-controller-manager does not run, "" if it does."""

    def named(self, name: str) -> kubesphere.Object | None:
        """Return the Cluster of that name, or None."""
        return next((item for item in self.clusters if item["metadata"]["name"] == name), None)


@dataclass(frozen=True)
class MemberSeen:
    """What was read of a member cluster."""

    uid: str
    """Of its namespace kube-system."""
    config: kubesphere.Config | None
    """What it has in force, None where there is no KubeSphere to be seen."""
    agent: kubesphere.Object | None = field(default=None, repr=False)
    """Its Deployment cluster-agent, None where there is none or the connection is direct."""


@dataclass(frozen=True)
class Ends:
    """Until when the host's credential for a member is valid, and the one that Airflow has; None: not told."""

    used: datetime.datetime | None = None
    offered: datetime.datetime | None = None


@dataclass(frozen=True)
class Measure:
    """By what is compared."""

    now: datetime.datetime
    resync: float
    """Seconds between two looks of the host's controller, where it does not say."""
    expires_soon: float
    """Seconds: a credential that is valid for less is to be replaced."""


def compare(
    conf: Mapping[str, Any], host: HostSeen, member: MemberSeen | str | None, ends: Ends, measure: Measure
) -> list[Drift]:
    """Return what is not as *conf*, a join's, declares it; [] for a healthy member.

    *member* is what was read of it, a sentence that says why nothing was, or None where Airflow has no way to it.
    """
    name = conf["cluster"]
    cluster = host.named(name)
    found = [_unreachable(member)] if isinstance(member, str) else []
    seen = member if isinstance(member, MemberSeen) else None
    if cluster is None:
        sentence = f"The host has no Cluster {name}."
        return _without_way([Drift(Kind.MISSING, sentence), *found])
    if "deletionTimestamp" in cluster["metadata"]:
        sentence = f"Cluster {name} is being deleted since {cluster['metadata']['deletionTimestamp']}."
        return _without_way([Drift(Kind.MISSING, sentence, change="deleting"), *found])
    strangers = _stranger(name, cluster, seen)
    if strangers:
        return [*strangers, *found]
    found += [
        *_connection(conf, cluster),
        *_server(conf, cluster),
        *_credential(cluster, ends, measure, within_reach=seen is not None),
        *_host_role(host),
        *(_trust(host, seen) if seen else []),
        *_address(conf, host),
        *_ports(name, host),
        *(_agent(conf, host, cluster, seen) if seen else []),
        *_shown(conf, cluster),
    ]
    return _without_way([*found, *_not_ready(cluster, host, seen, measure)])


def _without_way(found: list[Drift]) -> list[Drift]:
    """Leave what a join would mend to a person, where Airflow does not reach the member."""
    if not any(drift.kind is Kind.UNREACHABLE for drift in found):
        return found
    return [Drift(each.kind, each.sentence, Repair.PERSON, each.next, each.change) for each in found]


def _unreachable(why: str) -> Drift:
    return Drift(
        Kind.UNREACHABLE,
        f"Airflow does not reach the member: {why}",
        Repair.PERSON,
        "Mend the member's connection in Airflow, or the way to its API server. A member that is gone for good leaves "
        "by leave_member_cluster with force.",
    )


def _stranger(name: str, cluster: kubesphere.Object, member: MemberSeen | None) -> list[Drift]:
    marks = cluster["metadata"].get("annotations") or {}
    owner = kubesphere.member_uid(cluster) or str(marks.get(kubesphere.MEMBER_UID_ANNOTATION) or "")
    if kubesphere.is_host(cluster):
        return [
            Drift(
                Kind.OTHER_CLUSTER,
                f"The host takes Cluster {name} for itself: it bears the label {kubesphere.HOST_LABEL}.",
                Repair.PERSON,
                "Do the nodes of both have the same machine-id, as cloned machines do? Give the member's one of its "
                "own, then take the label off.",
            )
        ]
    if member is None or not owner or owner == member.uid:
        return []
    return [
        Drift(
            Kind.OTHER_CLUSTER,
            f"Another cluster is behind {name} on the host: kube-system UID {owner}, where the member's connection "
            f"leads to {member.uid}.",
            Repair.PERSON,
            "Find out which of the two is meant: mend the member's connection, or take the other one out of the host.",
            f"{owner} -> {member.uid}",
        )
    ]


def _connection(conf: Mapping[str, Any], cluster: kubesphere.Object) -> list[Drift]:
    kind, wanted = kubesphere.connection_type(cluster), conf.get("connection", confs.Connection.DIRECT.value)
    if wanted in (kind, confs.Connection.AUTO.value):
        return []
    sentence = f"The connection type is {kind}, declared is {wanted}."
    return [Drift(Kind.CONNECTION_TYPE, sentence, Repair.REJOIN, change=f"{kind} -> {wanted}")]


def _server(conf: Mapping[str, Any], cluster: kubesphere.Object) -> list[Drift]:
    wanted = conf.get("member_server")
    if not wanted or kubesphere.connection_type(cluster) == "proxy":
        return []
    server = kubeconfig.server(kubesphere.cluster_kubeconfig(cluster))
    if server == wanted:
        return []
    sentence = f"The host reaches the member at {server}, declared is {wanted}."
    return [Drift(Kind.SERVER, sentence, change=f"{server} -> {wanted}")]


def _credential(cluster: kubesphere.Object, ends: Ends, measure: Measure, *, within_reach: bool) -> list[Drift]:
    if ends.used is None or (ends.used - measure.now).total_seconds() > measure.expires_soon:
        return []
    verb = "has expired" if ends.used <= measure.now else "expires"
    sentence = f"The host's credential for the member {verb} on {ends.used:%Y-%m-%d %H:%MZ}."
    change = f"{ends.used:%Y-%m-%dT%H:%MZ}"
    if kubesphere.connection_type(cluster) == "proxy" and within_reach:
        return [Drift(Kind.CREDENTIAL, f"{sentence} Tower makes another when the agent connects anew.", change=change)]
    if kubesphere.connection_type(cluster) == "proxy":
        return [
            Drift(
                Kind.CREDENTIAL,
                sentence,
                Repair.PERSON,
                "Restart the agent: tower makes a new one at each connect. On the member: kubectl -n kubesphere-system "
                "rollout restart deployment/cluster-agent.",
                change,
            )
        ]
    if ends.offered is None or ends.offered > ends.used:
        return [Drift(Kind.CREDENTIAL, sentence, Repair.RENEW, change=change)]
    return [
        Drift(
            Kind.CREDENTIAL,
            f"{sentence} Airflow's connection has none that lasts longer.",
            Repair.PERSON,
            "Put a new kubeconfig into the connection that is imported; the next reconcile gives it to the host.",
            change,
        )
    ]


def _host_role(host: HostSeen) -> list[Drift]:
    role = host.config.role or "none"
    if role == kubesphere.HOST:
        return []
    return [Drift(Kind.ROLE, f"The host has role {role} in force, not {kubesphere.HOST}.", change=f"host {role}")]


def _trust(host: HostSeen, member: MemberSeen) -> list[Drift]:
    config = member.config
    if config is None:
        sentence = f"There is no {kubesphere.CONFIG} with {kubesphere.CONFIG_KEY} on the member."
        return [Drift(Kind.ROLE, sentence, change="none")]
    found = []
    if config.role != kubesphere.MEMBER:
        sentence = f"The member has role {config.role or 'none'} in force, not {kubesphere.MEMBER}."
        found.append(Drift(Kind.ROLE, sentence, change=config.role or "none"))
    if config.jwt_secret != host.config.jwt_secret:
        has, due = redaction.fingerprint(config.jwt_secret), redaction.fingerprint(host.config.jwt_secret)
        sentence = f"The member's jwtSecret ({has}) is not the host's ({due}): it refuses what the host forwards."
        found.append(Drift(Kind.SECRET, sentence, change=f"{has} -> {due}"))
    return found


def _address(conf: Mapping[str, Any], host: HostSeen) -> list[Drift]:
    wanted, has = conf.get("proxy_publish_address"), host.config.proxy_publish_address
    if not wanted or wanted == has:
        return []
    sentence = f"The host has tower's address {has or 'unset'}, declared is {wanted}."
    return [Drift(Kind.TOWER_ADDRESS, sentence, change=f"{has} -> {wanted}")]


def _ports(name: str, host: HostSeen) -> list[Drift]:
    pairs = [(one if other == name else other, port) for one, other, port in tower.shared_ports(host.clusters)
             if name in (one, other)]  # fmt: skip
    return [
        Drift(
            Kind.TOWER_PORT,
            f"Clusters {name} and {other} share tower's port {port}: requests for one of them reach the other, or "
            "nobody.",
            Repair.REJOIN,
            change=f"{other} {port}",
        )
        for other, port in pairs
    ]


_AGENT_KINDS = {"--token": Kind.AGENT_TOKEN, "--proxy-server": Kind.TOWER_ADDRESS}


def _agent(conf: Mapping[str, Any], host: HostSeen, cluster: kubesphere.Object, member: MemberSeen) -> list[Drift]:
    if kubesphere.connection_type(cluster) != "proxy":
        return []
    name, present = conf["cluster"], member.agent
    if present is None:
        return [Drift(Kind.AGENT_MISSING, f"There is no {tower.AGENT} on the member.")]
    token = str(cluster["spec"]["connection"].get("token") or "")
    wanted = tower.agent_deployment(
        name,
        token=token,
        # Where there is neither, nobody knows a better one than the agent has.
        address=conf.get("proxy_publish_address") or host.address or tower.arguments(present).get("proxy-server", ""),
        image=conf.get("agent_image") or host.config.agent_image,
    )
    found: dict[Kind, list[str]] = {}
    for difference in tower.agent_differences(present, wanted):
        kind = Kind.AGENT_IMAGE if difference.startswith("image ") else _AGENT_KINDS.get(difference)
        found.setdefault(kind or Kind.AGENT_ARGUMENTS, []).append(difference)
    return [Drift(kind, _said(kind, words, present, wanted), change="; ".join(words)) for kind, words in found.items()]


def _said(kind: Kind, words: Sequence[str], present: kubesphere.Object, wanted: kubesphere.Object) -> str:
    if kind is Kind.AGENT_TOKEN:
        has, due = (redaction.fingerprint(tower.announced_token(item)) for item in (present, wanted))
        return f"The agent has the token of another import ({has}), the Cluster's is {due}: tower refuses it."
    if kind is Kind.TOWER_ADDRESS:
        has, due = (tower.arguments(item).get("proxy-server", "nothing") for item in (present, wanted))
        return f"The agent looks for tower at {has}, which is at {due}."
    return f"The agent is not as it must be: {', '.join(words)}."


def _shown(conf: Mapping[str, Any], cluster: kubesphere.Object) -> list[Drift]:
    text = kubesphere.cluster_kubeconfig(cluster)
    direct = kubesphere.connection_type(cluster) != "proxy"
    wanted = manifests.cluster_manifest(
        conf["cluster"],
        uid="",
        kubeconfig=text if direct else None,
        kubesphere_api_endpoint=conf.get("kubesphere_api_endpoint") if direct else None,
        provider=conf.get("provider"),
        group=conf.get("group"),
        description=conf.get("description"),
        labels=conf.get("labels") or {},
    )
    wanted["spec"]["connection"].pop("type")
    wanted["spec"]["connection"].pop("kubeconfig", None)
    del wanted["spec"]["enable"]
    patch = manifests.difference(cluster, {"metadata": wanted["metadata"], "spec": wanted["spec"]})
    if not patch:
        return []
    words = [f"{'.'.join(path)} is {_at(cluster, path)}, declared is {_at(patch, path)}" for path in _paths(patch)]
    change = "; ".join(words)
    return [Drift(Kind.SHOWN, f"On the Cluster {change}.", change=change)]


def _paths(patch: Mapping[str, Any], before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, value in patch.items():
        path = (*before, key)
        found += _paths(value, path) if isinstance(value, Mapping) else [path]
    return found


def _at(item: object, path: Sequence[str]) -> str:
    for key in path:
        item = item.get(key) if isinstance(item, Mapping) else None
    return "unset" if item is None else repr(item)


def _not_ready(cluster: kubesphere.Object, host: HostSeen, member: MemberSeen | None, measure: Measure) -> list[Drift]:
    uid = member.uid if member else kubesphere.member_uid(cluster)
    resync = host.config.resync or measure.resync
    try:
        why = membership.readiness(cluster, uid=uid, now=measure.now, resync=resync, release=host.release)
    except errors.NotReadyError as error:
        # What only the cluster's own people can mend: another run would end with the same words.
        return [Drift(Kind.NOT_READY, str(error), Repair.PERSON)]
    if not why:
        return []
    if kubesphere.is_true(cluster, kubesphere.READY) and "refreshed" in why:
        return [
            Drift(
                Kind.STALE,
                f"The host's word is old: {why}.",
                Repair.PERSON,
                "Look whether ks-controller-manager runs on the host, and whether the member answers: on 3.4 the "
                "webhook cluster.kubesphere.io refuses every change of a Cluster whose member does not.",
            )
        ]
    return [Drift(Kind.NOT_READY, f"The host does not call the member Ready: {why}.")]
