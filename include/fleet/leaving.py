"""What the steps of a leave have in common: who leaves whom, who still answers, and whose the member is.

A step is in `leave`; what is read or judged by more than one of them is here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from include.fleet import (
    attempts,
    clusters,
    configuring,
    errors,
    identity,
    installer,
    joining,
    kinds,
    kubesphere,
    leave_conf,
    snapshots,
    tower,
    tunnel,
    undoing,
    webhook,
)

log = logging.getLogger(__name__)

_CONTACTS = 3
"""How often a member that is said to be dead is asked before it is believed."""


@dataclass(frozen=True, kw_only=True)
class Leave(attempts.Attempt):
    """One run's leave, as one attempt at one step sees it."""

    conf: leave_conf.Conf
    host: clusters.Cluster | None
    """None where it is lost."""
    member: clusters.Cluster | None
    """None where no connection leads to it."""
    dry: bool = False
    """Whether nothing is to be persisted."""

    @property
    def cluster(self) -> kinds.Ref:
        """Return the Cluster on the host."""
        return kinds.Ref(kinds.CLUSTER, self.conf.cluster)

    @property
    def sides(self) -> Sequence[clusters.Cluster]:
        """Return the clusters to which there are connections."""
        return [side for side in (self.host, self.member) if side is not None]

    def work(self) -> undoing.Work:
        """Return the undoing of this step."""
        return undoing.Work(
            name=self.conf.cluster,
            run=self.run,
            attempt=self.attempt,
            limits=self.limits,
            changes=self.changes,
            patience=self.conf.remove_timeout,
            leave_worker=self.leave_worker,
            dry=self.dry,
        )


async def answering(leave: Leave) -> clusters.Cluster | None:
    """Return the member, or None if it is said to be dead and does not answer, asked some times.

    Raises UnreachableError, which names `force`, if it does not answer and is not said to be dead.
    """
    member = leave.member
    if member is None:
        return None
    for contact in range(_CONTACTS, 0, -1):
        try:
            await configuring.uid(member)
        except errors.UnreachableError as error:
            if not leave.conf.force:
                raise errors.UnreachableError(
                    f"{error} If the member is dead for good, run this with force: true: then the host lets go of it "
                    "all the same."
                ) from None
            if contact > 1:
                await asyncio.sleep(leave.limits.poll / 2)
        else:
            return member
    return None


async def uid_of(leave: Leave, member: clusters.Cluster | None) -> str:
    """Return the member's kube-system UID; of one that does not answer what the host says, or ""."""
    if member is not None:
        return await configuring.uid(member)
    named = await leave.host.read(leave.cluster) if leave.host is not None else None
    return identity.owner(named) if named is not None else ""


async def proven(leave: Leave, member: clusters.Cluster | None) -> kubesphere.Object | None:
    """Return the Cluster that is to leave, None if there is none; raises RefusedError if it may be another's."""
    host = leave.host
    if host is None:
        return None
    found = await host.list(kinds.CLUSTER)
    named = next((item for item in found if item["metadata"]["name"] == leave.conf.cluster), None)
    behind = await joining.behind_name(host, leave.conf.cluster, named)
    member_uid = await configuring.uid(member) if member is not None else ""
    config = await configuring.in_force(host)
    reasons = identity.leaving_refusals(
        identity.Leaving(
            name=leave.conf.cluster,
            named=named,
            others=identity.names_of(found, uid=member_uid),
            host_uid=await configuring.uid(host),
            host_name=config.host_cluster_name,
            member_uid=member_uid,
            leads_to=behind.uid,
            evidence=behind.evidence,
            answers=behind.answers,
        )
    )
    if reasons:
        raise errors.RefusedError(leave.conf.cluster, reasons, to="take out")
    return named


async def other_names(leave: Leave, member: clusters.Cluster) -> list[str]:
    """Return the other names under which the host has this member, and keeps it."""
    if leave.host is None:
        return []
    found = identity.names_of(await leave.host.list(kinds.CLUSTER), uid=await configuring.uid(member))
    return [name for name in found if name != leave.conf.cluster]


@dataclass(frozen=True)
class Owned:
    """Whose a member is, by the role and the jwtSecret that are in force there."""

    config: kubesphere.Config | None
    """What is in force; None where KubeSphere is not installed any more."""
    record: kubesphere.Object | None
    """Secret before-join."""
    secrets: frozenset[str]
    """Those that a join of this host may have written there."""
    others: str
    """Why it is to be taken for another host's, or ""."""


async def owned(leave: Leave, member: clusters.Cluster) -> Owned:
    """Find out whether the member is this host's, as far as it is anybody's.

    Where the host is lost there is nothing to compare with, and the conf is believed. Raises ForbiddenError without
    the right to read Secret before-join, without which nothing can be restored.
    """
    record = await member.read(kubesphere.BEFORE_JOIN)
    former = {kubesphere.secret_value(record, key) or "" for key in ("jwtSecret", "secretInForce")} - {""}
    await undoing.keep_secrets(leave.sides, *former)
    config_map = await member.read(kubesphere.CONFIG)
    config = kubesphere.config(config_map) if config_map is not None else None
    if config is None:
        return Owned(None, record, frozenset(), "")
    await undoing.keep_secrets(leave.sides, config.jwt_secret)
    if leave.host is None:
        asked = await member.read(kubesphere.CONFIGURATION)
        secrets = {config.jwt_secret, kubesphere.spec_secret(asked) if asked is not None else ""}
        # Where the former secret is in force again, nothing is to be taken back.
        return Owned(config, record, frozenset(secrets - {""} - former), "")
    seen = await configuring.snapshot(leave.host)
    secrets = {seen.trust.value, seen.config.jwt_secret if seen.config else ""} - {""}
    await undoing.keep_secrets(leave.sides, *secrets)
    others = ""
    if config.role == kubesphere.MEMBER and config.jwt_secret not in secrets | former:
        others = (
            "Nothing on the member was touched: it is a member, and its jwtSecret is not this host's, so that it is to "
            "be taken for another host's. If it is not, run this again with host_lost: true"
        )
    return Owned(config, record, frozenset(secrets), others)


async def keeps_agent(leave: Leave, found: Owned, agent: kubesphere.Object) -> str:
    """Return why the agent on the member is not this Cluster's, or ""."""
    name = leave.conf.cluster
    if tower.announced_name(agent) != name:
        return f"it announces itself as {tower.announced_name(agent) or 'nobody'}, not as {name}"
    if leave.host is None or (found.config is not None and found.config.jwt_secret in found.secrets):
        return ""
    address = await tunnel.address(leave.host, await configuring.in_force(leave.host))
    server = tower.arguments(agent).get("proxy-server", "")
    return "" if server == address else f"it connects to {server or 'nowhere'}, which is not this host's tower"


async def look(leave: Leave, member: clusters.Cluster | None) -> dict[str, dict[str, snapshots.Section]]:
    """Return what is compared before and after: digests by section, of the clusters that answer; no secrets."""
    found = {}
    if leave.host is not None:
        host = leave.host
        items = {item["metadata"]["name"]: item for item in await host.list(kinds.CLUSTER)}
        named = items.pop(leave.conf.cluster, None)
        others = {key: value for item in items.values() for key, value in snapshots.of_cluster(item).items()}
        more = {snapshots.CLUSTER: snapshots.of_cluster(named), "clusters": others, "webhook": await _webhook(host)}
        side = await undoing.look_at(
            host, kept=None, refs=(leave.cluster, *undoing.behind(leave.conf.cluster)), more=more
        )
        found[kubesphere.HOST] = side.sections
    if member is not None and await member.read(kubesphere.CONFIGURATION) is not None:
        await installer.read_secret(member)
        side = await undoing.look_at(member, kept=None, refs=undoing.federation(leave.conf.cluster), more={})
        found[kubesphere.MEMBER] = side.sections
    return found


async def _webhook(host: clusters.Cluster) -> snapshots.Section:
    try:
        configuration = await host.read(webhook.CONFIGURATION)
    except errors.ForbiddenError as error:
        host.do_without(error, f"{webhook.CONFIGURATION} was not compared with that before")
        return None
    hooks = (configuration or {}).get("webhooks")
    return {} if hooks is None else {str(webhook.CONFIGURATION): snapshots.digest(hooks)}


def expected(name: str) -> tuple[str, ...]:
    """Return the beginnings of the sentences about what a leave changes, on either cluster."""
    configuration, config = str(kubesphere.CONFIGURATION), str(kubesphere.CONFIG)
    fields = ("jwt_secret", "role", "cluster_name", "token_age")
    found = (
        str(kinds.Ref(kinds.CLUSTER, name)),
        *map(str, undoing.behind(name)),
        *map(str, undoing.federation(name)),
        str(tower.AGENT),
        str(kubesphere.BEFORE_JOIN),
        *(f"{path} of {configuration}" for path in ("spec.multicluster.clusterRole", "spec.authentication.jwtSecret")),
        *(f"{field} of {config}" for field in fields),
    )
    return tuple(f"{what} on the " for what in found)
