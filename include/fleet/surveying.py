"""One look at a whole fleet: each host with a handful of requests, its members at the same time, nothing written.

What is returned has no secrets: it is stored by Airflow and shown to people.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from include.fleet import (
    certificates,
    clusters,
    configuring,
    connections,
    drift,
    errors,
    inventory,
    kinds,
    kubeconfig,
    kubesphere,
    records,
    redaction,
    settings,
    tower,
    tunnel,
    turn,
)

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_CONTROLLER = "ks-controller-manager"


def part(fleet: inventory.Inventory, *, hosts: Sequence[str] = (), members: Sequence[str] = ()) -> inventory.Inventory:
    """Return the hosts and members of these names; without names, all of them.

    Raises ConfError with every name that the inventory does not have.
    """
    known = {member.cluster for host in fleet.hosts for member in host.members}
    named = {host.name for host in fleet.hosts}
    unknown = [f"hosts: there is no host {name!r} in the inventory" for name in hosts if name not in named]
    unknown += [f"members: there is no member {name!r} in the inventory" for name in members if name not in known]
    if unknown:
        raise errors.ConfError(unknown)
    chosen = [
        dataclasses.replace(
            host, members=tuple(each for each in host.members if not members or each.cluster in members)
        )
        for host in fleet.hosts
        if not hosts or host.name in hosts
    ]
    return inventory.Inventory(tuple(host for host in chosen if host.members or not members))


async def survey(
    fleet: inventory.Inventory, *, path: str, limits: settings.Settings, now: datetime.datetime, partial: bool = False
) -> dict[str, Any]:
    """Return what each host and each member of *fleet* is like, and how that differs from what is declared.

    *partial* says that *fleet* is not the whole inventory. A cluster that does not answer in time is told as such, and
    keeps nobody else from being looked at. Of the secrets there are fingerprints.
    """
    began = time.monotonic()
    at_once = asyncio.Semaphore(limits.survey_at_once)
    found = await asyncio.gather(
        *(_Survey(host, limits=limits, now=now, at_once=at_once).look() for host in fleet.hosts)
    )
    return {
        "observed_at": records.moment(now),
        "inventory": path,
        "partial": partial,
        "seconds": round(time.monotonic() - began, 1),
        "hosts": list(found),
    }


class _Survey:
    """The look at one host cluster and its members."""

    def __init__(
        self, host: inventory.Host, *, limits: settings.Settings, now: datetime.datetime, at_once: asyncio.Semaphore
    ) -> None:
        self._host = host
        self._limits = limits
        self._at_once = at_once
        self._measure = drift.Measure(now=now, resync=limits.resync, expires_soon=limits.expires_soon)

    async def look(self) -> dict[str, Any]:
        """Return what the host is like, with its members; `error` says why nothing could be seen, or is ""."""
        host, began = self._host, time.monotonic()
        told = {
            "name": host.name,
            "conn_id": host.conn_id,
            "console": host.console,
            "max_joins": host.max_joins,
            "prune": host.prune,
            "paused": host.paused,
            "open": inventory.is_open(host.windows, self._measure.now),
        }
        try:
            seen, more = await self._in_time(
                host.conn_id, self._look_at_host, role=kubesphere.HOST, what="its configuration and Clusters"
            )
        except errors.FleetError as error:
            members = [_declared(member, {"drift": [], "uid": ""}) for member in host.members]
            nothing = {"findings": [], "turns": [], "undeclared": [], "members": members}
            return {**told, **nothing, "error": _first_line(error), "seconds": round(time.monotonic() - began, 1)}
        members = await asyncio.gather(*(self._member(member, seen) for member in host.members))
        names = {member.cluster for member in host.members}
        others = [item for item in seen.clusters if item["metadata"]["name"] not in names]
        own, rotating = seen.config.host_cluster_name, more.pop("rotating")
        undeclared = [
            {"cluster": item["metadata"]["name"], **_facts(item)}
            for item in others
            if not kubesphere.is_host(item) and item["metadata"]["name"] != own
        ]
        return {
            **told,
            **more,
            "error": "",
            "findings": _findings(seen, rotating=rotating),
            "members": list(members),
            "undeclared": undeclared,
            "seconds": round(time.monotonic() - began, 1),
        }

    async def _look_at_host(self, host: clusters.Cluster) -> tuple[drift.HostSeen, dict[str, Any]]:
        # One after the other, over one connection: the hosts and members are looked at at the same time.
        configuration = await configuring.asked(host)
        config = await configuring.in_force(host)
        found = await host.list(kinds.CLUSTER)
        tower_runs = await _reason_not_to_run(host, tower.SERVICE.name)
        controller_runs = await _reason_not_to_run(host, _CONTROLLER)
        release = kubesphere.release(configuration)
        if release is None:
            raise errors.UnsupportedError(
                f"The {host} runs KubeSphere {kubesphere.version(configuration) or 'of unknown version'}; "
                f"supported is {', '.join(kubesphere.RELEASES)}."
            )
        seen = drift.HostSeen(
            config=config,
            release=release,
            address=await tunnel.address(host, config),
            clusters=found,
            tower=tower_runs,
            controller=controller_runs,
        )
        return seen, {
            "kubesphere": kubesphere.version(configuration),
            "role": config.role,
            "jwt_secret": redaction.fingerprint(config.jwt_secret),
            "tower_address": seen.address,
            **await self._turns(host),
        }

    async def _turns(self, host: clusters.Cluster) -> dict[str, Any]:
        """Return which members runs are changing now, from whatever Airflow, and which run changes all of them."""
        try:
            leases = await host.list(kinds.LEASE, namespace=kubesphere.NAMESPACE)
        except errors.ForbiddenError as error:
            host.do_without(error, "Runs of other Airflows are not counted, nor waited for before more are started")
            return {"turns": [], "rotating": ""}
        now = self._measure.now
        turns = [{"member_uid": uid, "holder": holder} for uid, holder in turn.held(leases, now=now)]
        return {"turns": turns, "rotating": turn.rotating(leases, now=now)}

    async def _member(self, member: inventory.Member, host: drift.HostSeen) -> dict[str, Any]:
        conf, cluster = member.conf, host.named(member.cluster)
        seen = await self._seen(member, proxy=conf.get("connection") == "proxy")
        ends = await self._ends(conf, cluster)
        found = drift.compare(conf, host, seen, ends, self._measure)
        facts = {
            "uid": seen.uid if isinstance(seen, drift.MemberSeen) else kubesphere.member_uid(cluster or {}),
            **(_facts(cluster) if cluster else {}),
            "credential_expires": records.moment(ends.used) if ends.used else None,
            "drift": [each.report for each in found],
        }
        if isinstance(seen, drift.MemberSeen) and seen.config:
            facts |= {"role": seen.config.role, "jwt_secret": redaction.fingerprint(seen.config.jwt_secret)}
        return _declared(member, facts)

    async def _seen(self, member: inventory.Member, *, proxy: bool) -> drift.MemberSeen | str | None:
        """Return what the member says of itself, or why it says nothing; None where Airflow has no way to it."""
        conn_id = member.conf.get("member_conn_id")
        if not conn_id:
            return None
        try:
            async with self._at_once:
                return await self._in_time(
                    conn_id,
                    functools.partial(_look_at_member, proxy=proxy),
                    role=kubesphere.MEMBER,
                    what="its identity, configuration and agent",
                )
        except errors.FleetError as error:
            return _first_line(error)

    async def _ends(self, conf: Mapping[str, Any], cluster: kubesphere.Object | None) -> drift.Ends:
        """Return until when the credential that the host uses is valid, and the one that it could be given."""
        used = certificates.ends(kubesphere.cluster_kubeconfig(cluster)) if cluster else None
        soon = used is not None and (used - self._measure.now).total_seconds() <= self._measure.expires_soon
        if not soon or kubesphere.connection_type(cluster or {"spec": {}}) == "proxy":
            return drift.Ends(used)
        conn_id = conf.get("import_conn_id") or conf["member_conn_id"]
        with contextlib.suppress(kubeconfig.KubeconfigError, errors.FleetError):
            offered = await connections.importable_kubeconfig(conn_id, server=conf.get("member_server"))
            return drift.Ends(used, certificates.ends(offered.text))
        return drift.Ends(used, used)

    async def _in_time(
        self, conn_id: str, ask: Callable[[clusters.Cluster], Awaitable[Answer]], *, role: str, what: str
    ) -> Answer:
        """Return what a cluster answers; raises UnreachableError if all of it together takes too long."""
        limits = self._limits
        async with clusters.connect(conn_id, role=role, limits=limits, run="reconcile_fleet") as cluster:
            return await cluster.by(time.monotonic() + limits.survey_timeout, ask(cluster), what=what)


async def _look_at_member(member: clusters.Cluster, *, proxy: bool) -> drift.MemberSeen:
    uid = await configuring.uid(member)
    config_map = await member.read(kubesphere.CONFIG)
    config = kubesphere.config(config_map) if config_map else None
    await member.keep_secret(config.jwt_secret if config else None)
    agent = await member.read(tower.AGENT) if proxy else None
    return drift.MemberSeen(uid=uid, config=config, agent=agent)


def _declared(member: inventory.Member, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"cluster": member.cluster, "conf": dict(member.conf), "paused": member.paused, **facts}


def _facts(cluster: kubesphere.Object) -> dict[str, Any]:
    """Return what people want to know of a Cluster."""
    status, metadata = cluster.get("status") or {}, cluster["metadata"]
    kept = {item.get("type"): item for item in kubesphere.conditions(cluster)}
    return {
        "connection": kubesphere.connection_type(cluster),
        "server": kubeconfig.server(kubesphere.cluster_kubeconfig(cluster)) or "",
        "kubernetes": str(status.get("kubernetesVersion") or ""),
        "kubesphere": str(status.get("kubeSphereVersion") or ""),
        "nodes": status.get("nodeCount"),
        "labels": dict(metadata.get("labels") or {}),
        "created": metadata.get("creationTimestamp"),
        "deleting": metadata.get("deletionTimestamp"),
        "conditions": [
            {
                "type": kind,
                "status": str(item.get("status") or ""),
                "reason": str(item.get("reason") or "")[:_LONGEST],
                "since": item.get("lastTransitionTime"),
            }
            for kind, item in kept.items()
        ],
    }


_LONGEST = 300


def _findings(host: drift.HostSeen, *, rotating: str) -> list[dict[str, str]]:
    """Return what is wrong with the host itself; `holds` is the connection type for which nothing is started.

    *rotating* is the run that is rotating its jwtSecret, or "".
    """
    found = []
    if rotating:
        found.append(
            {
                "kind": "rotating",
                "sentence": f"Run {rotating} is rotating the jwtSecret of the host and its members.",
                "next": "Wait for it: whoever has not followed then is repaired.",
                "holds": "host",
            }
        )
    if host.controller:
        found.append(
            {
                "kind": "controller-down",
                "sentence": f"{host.controller} Nobody looks at the host's Clusters: what they say is old.",
                "next": f"Bring Deployment {_CONTROLLER} in kubesphere-system of the host back to life.",
                "holds": "host",
            }
        )
    if host.tower and any(kubesphere.connection_type(item) == "proxy" for item in host.clusters):
        found.append(
            {
                "kind": "tower-down",
                "sentence": f"{host.tower} No proxy member is reached through it.",
                "next": "Bring Deployment tower in kubesphere-system of the host back to life; the agents connect by "
                "themselves.",
                "holds": "proxy",
            }
        )
    return found


async def _reason_not_to_run(host: clusters.Cluster, name: str) -> str:
    """Return why a Deployment of KubeSphere on the host does not run, "" if it does or is not shown."""
    try:
        deployment = await host.read(kinds.Ref(kinds.DEPLOYMENT, name, kubesphere.NAMESPACE))
    except errors.ForbiddenError as error:
        host.do_without(error, f"Whether {name} runs was not seen")
        return ""
    if deployment is None:
        return f"There is no Deployment {name} on the host."
    if int((deployment.get("status") or {}).get("availableReplicas") or 0) > 0:
        return ""
    return f"Deployment {name} on the host has no Pod that is available."


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
