"""What the steps of a join have in common: who joins whom, what was written, and the waits.

A step is in `join`; what is read, asked for or waited for by more than one of them is here.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from include.fleet import (
    attempts,
    clusters,
    configuring,
    connections,
    errors,
    identity,
    kinds,
    kubeconfig,
    kubesphere,
    membership,
    proofs,
    tower,
    tunnel,
    turn,
    waits,
)
from include.fleet import conf as confs

_LOOKS = 3
"""Of the host's controller at a Cluster: what it does not tell by then, it may never tell."""
_DRAWS = 5
"""How often tower's ports are drawn anew; among 100 members one draw in ten meets a port that is taken."""
_LOOK_AGAIN = 2.0
"""Seconds until Clusters are read again."""
_SEE_CONDITIONS = "See the conditions of the Cluster and the log of ks-controller-manager on the host."


@dataclass(frozen=True, kw_only=True)
class Join(attempts.Attempt):
    """One run's join, as one attempt at one step sees it."""

    conf: confs.Conf
    host: clusters.Cluster
    member: clusters.Cluster
    turns: turn.Turns
    """The Leases that this run holds."""

    @property
    def sides(self) -> Sequence[clusters.Cluster]:
        """Return host and member; a member that Airflow does not reach as well."""
        return (self.host, self.member)


async def ask_host(join: Join, *, address: str | None) -> attempts.Report:
    """Have the host's ClusterConfiguration ask for the role host, and for tower's *address* if one is given."""
    return await _ask_for(join, join.host, role=kubesphere.HOST, address=address)


async def ask_member(
    join: Join, trust: kubesphere.Trust, *, seen: kubesphere.Snapshot | None = None
) -> attempts.Report:
    """Have the member's ClusterConfiguration ask for the role member and the host's jwtSecret."""
    await join.member.keep_secret(trust.value)
    return await _ask_for(join, join.member, role=kubesphere.MEMBER, jwt_secret=trust.value, seen=seen)


async def _ask_for(join: Join, cluster: clusters.Cluster, *, role: str, **wanted: Any) -> attempts.Report:
    if await configuring.ask_for(cluster, role=role, attempt=join.attempt, changes=join.changes, **wanted):
        return {}
    return {"unchanged": [asks_already(cluster, role)]}


def asks_already(cluster: clusters.Cluster, role: str) -> str:
    """Return the sentence for a ClusterConfiguration that is left as it is."""
    return f"{kubesphere.CONFIGURATION} of the {cluster.role} asks for role {role} already"


async def membership_of(join: Join) -> membership.Membership:
    """Return who is to be a member of whom, as the clusters say it now.

    Of a member that nobody but the host can ask, the UID is the one that an earlier run has proven, or "".
    """
    config, release = await configuring.in_force(join.host), await configuring.release(join.host)
    return membership.Membership(
        host=join.host,
        member=join.member,
        name=join.conf.cluster,
        uid=await _member_uid(join),
        resync=config.resync or join.limits.resync,
        release=release,
        limits=join.limits,
    )


async def _member_uid(join: Join) -> str:
    if not join.conf.is_handed_over:
        return await configuring.uid(join.member)
    named = await join.host.read(kinds.Ref(kinds.CLUSTER, join.conf.cluster))
    return identity.mark(named) if named else ""


async def turn_of(join: Join) -> str:
    """Return the name of the Lease on the member: by its UID, or by its name where nobody knows the UID yet."""
    if not join.conf.is_handed_over:
        return turn.of_member(await configuring.uid(join.member))
    named = await join.host.read(kinds.Ref(kinds.CLUSTER, join.conf.cluster))
    known = identity.owner(named) if named else ""
    return turn.of_member(known) if known else turn.of_name(join.conf.cluster)


async def importable(conf: confs.Conf) -> kubeconfig.Kubeconfig | None:
    """Return the kubeconfig that the host receives, None by proxy; raises KubeconfigError if it could not use it."""
    if conf.connection is confs.Connection.PROXY:
        return None
    return await connections.importable_kubeconfig(conf.imported_conn_id, server=conf.member_server)


async def sides_of(join: Join) -> identity.Sides:
    """Return what the two clusters say about themselves."""
    conf = join.conf
    if conf.is_handed_over:
        return await _of_host_alone(join)
    host, member = await configuring.in_force(join.host), await configuring.in_force(join.member)
    prepared = await importable(conf)
    found = await join.host.list(kinds.CLUSTER)
    named = next((item for item in found if item["metadata"]["name"] == conf.cluster), None)
    behind = await behind_name(join.host, conf.cluster, named)
    return identity.Sides(
        name=conf.cluster,
        host_uid=await configuring.uid(join.host),
        member_uid=await configuring.uid(join.member),
        host_config=host,
        member_config=member,
        host_secret_in_use=await _uses_secret_of(join.host, host, member),
        clusters=found,
        connection=conf.connection.value,
        server=prepared.server if prepared else None,
        agent_name=await tunnel.agent_name(join.member) if named and prepared is None else "",
        leads_to=behind.uid,
        leads_to_evidence=behind.evidence,
        leads_others_to=await _behind_others(join, found),
    )


async def _of_host_alone(join: Join) -> identity.Sides:
    name, found = join.conf.cluster, await join.host.list(kinds.CLUSTER)
    named = next((item for item in found if item["metadata"]["name"] == name), None)
    behind = await behind_name(join.host, name, named)
    return identity.of_host_alone(
        name=name,
        host_uid=await configuring.uid(join.host),
        host_config=await configuring.in_force(join.host),
        clusters=found,
        leads_to=behind.uid,
        leads_to_evidence=behind.evidence,
    )


async def behind_name(host: clusters.Cluster, name: str, named: kubesphere.Object | None) -> proofs.Behind:
    """Ask which cluster the host reaches under a name, where it says that one answers there; *named* has the name."""
    if named is None or "deletionTimestamp" in named["metadata"] or not kubesphere.is_true(named, kubesphere.READY):
        return proofs.Behind("", "nothing answers under it")
    return await proofs.behind(host, name, cluster=named)


async def behind_others(
    host: clusters.Cluster,
    name: str,
    found: Sequence[kubesphere.Object],
    *,
    accounts: Sequence[kubesphere.Object],
) -> dict[str, str]:
    """Ask which clusters the host reaches under the other names that may be this member's and do not say so.

    *found* are all Clusters of the host, *accounts* those in kube-federation-system of the member. The value is a
    kube-system UID for each name that answers.
    """
    names = identity.may_be_untold(found, name=name, accounts=accounts)
    named = {item["metadata"]["name"]: item for item in found}
    answers = {other: await behind_name(host, other, named[other]) for other in names}
    return {other: behind.uid for other, behind in answers.items() if behind.uid}


async def _accounts(member: clusters.Cluster) -> Sequence[kubesphere.Object]:
    """Return the accounts that hosts have on a member; none where there is no such namespace, or they are not shown."""
    try:
        return await member.list(kinds.SERVICE_ACCOUNT, namespace=kubesphere.FEDERATION_NAMESPACE)
    except errors.NotFoundError:
        return []
    except errors.ForbiddenError as error:
        member.do_without(error, "Whether the host has this member under another name was not asked")
        return []


async def after_strangers(join: Join, sides: identity.Sides) -> identity.Sides:
    """Wait until Clusters that somebody else has just made tell which cluster they stand for: it may be this member.

    Not for longer than the host's controller takes for a few looks, since some never tell. Returns *sides*, read again
    if there was anything to wait for.
    """
    patience = _LOOKS * (sides.host_config.resync or join.limits.resync)

    def unseen(found: Sequence[kubesphere.Object]) -> list[str]:
        now = datetime.datetime.now(datetime.UTC)
        return identity.unseen(found, name=join.conf.cluster, now=now, since=patience)

    async def look() -> waits.Pending | None:
        names = unseen(await join.host.list(kinds.CLUSTER))
        if not names or time.time() - join.started > patience:
            return None
        return waits.Pending(f"Cluster {names[0]} is new there and does not tell yet which cluster it is", _LOOK_AGAIN)

    if not unseen(sides.clusters):
        return sides
    await waits.until(
        look,
        what=f"the Clusters that others have made on the {join.host} to tell what they are",
        bells=[],
        limit=join.limit(2 * patience),
        seconds=2 * patience,
        hint=_SEE_CONDITIONS,
        limits=join.limits,
    )
    return await sides_of(join)


async def refuse_doubles(join: Join, uid: str) -> None:
    """Raise RefusedError if the host has the member, which has this *uid*, under a name of somebody else's as well."""
    name, found = join.conf.cluster, await join.host.list(kinds.CLUSTER)
    prepared = await importable(join.conf)
    server, leads_to = prepared.server if prepared else None, await _behind_others(join, found)
    reasons = identity.doubles(found, name=name, uid=uid, server=server, leads_to=leads_to)
    if reasons:
        raise errors.RefusedError(name, reasons)


async def _behind_others(join: Join, found: Sequence[kubesphere.Object]) -> dict[str, str]:
    if join.conf.is_handed_over:
        # Nobody can ask the member which names it has: so all are asked that do not tell whose they are.
        untold = {item["metadata"]["name"]: item for item in identity.untold(found, name=join.conf.cluster)}
        answers = {name: await behind_name(join.host, name, item) for name, item in untold.items()}
        return {name: behind.uid for name, behind in answers.items() if behind.uid}
    accounts = await _accounts(join.member) if identity.untold(found, name=join.conf.cluster) else []
    return await behind_others(join.host, join.conf.cluster, found, accounts=accounts)


async def _uses_secret_of(host: clusters.Cluster, config: kubesphere.Config, member: kubesphere.Config) -> bool:
    """Tell whether the member has the jwtSecret of the host, or the one that the host is about to have."""
    if member.jwt_secret == config.jwt_secret:
        return True
    if not identity.may_belong_to_another_host(member):
        return False
    return member.jwt_secret == configuring.trust(host, await configuring.snapshot(host)).value


def address_refusals(conf: confs.Conf, sides: identity.Sides) -> list[str]:
    """Return why tower's address must not be changed: other members' agents go to the one in use."""
    asked, used = conf.proxy_publish_address, sides.host_config.proxy_publish_address
    if not asked or not used or asked == used or conf.replace_proxy_address:
        return []
    others = [
        item["metadata"]["name"]
        for item in sides.clusters
        if item["metadata"]["name"] != conf.cluster and kubesphere.connection_type(item) == "proxy"
    ]
    if not others:
        return []
    return [
        (
            f"proxy_publish_address {asked} differs from {used}, which the host uses for {', '.join(others)}; leave it "
            "out "
            "to use that one, or set replace_proxy_address to move all proxy members"
        )
    ]


async def tower_address(join: Join) -> str:
    """Wait until tower has an address at which agents find it, and return it.

    The configured one, else the LoadBalancer's, which may be pending for a while or for ever. Raises
    DeadlineError with the port to forward to and the line to add to the conf.
    """
    found = ""

    async def look() -> waits.Pending | None:
        nonlocal found
        found = await tunnel.address(join.host, await configuring.in_force(join.host))
        if found:
            return None
        hint = await tunnel.no_address_hint(join.host)
        return waits.Pending(f"tower has no address. {hint}")

    await waits.until(
        look,
        what=f"an address of tower on the {join.host}",
        bells=[waits.changes(join.host, tower.SERVICE), waits.changes(join.host, kubesphere.CONFIG)],
        limit=join.limit(join.conf.tower_timeout),
        seconds=join.conf.tower_timeout,
        hint="Or raise tower_timeout if the LoadBalancer is only slow.",
        limits=join.limits,
    )
    return found


async def initialised(join: Join) -> tuple[kubesphere.Object, list[str]]:
    """Wait until the Cluster is initialised, and return it, with the token with which its agent has to come; warnings.

    Before, the token is empty or changes (kubesphere-facts 6.5, P-18). Ports of tower that another member has too are
    drawn anew first, since the agent would be called connected all the same.
    """
    ref = kinds.Ref(kinds.CLUSTER, join.conf.cluster)
    cluster: kubesphere.Object = {}

    async def look() -> waits.Pending | None:
        nonlocal cluster
        cluster = await join.host.get(ref)
        connection = cluster["spec"].get("connection", {})
        if not kubesphere.is_true(cluster, tower.INITIALIZED):
            return waits.Pending("it is not initialised yet")
        if not connection.get("token") or not connection.get("kubernetesAPIEndpoint"):
            return waits.Pending("it is initialised and has no token or endpoint yet")
        return None

    warnings: list[str] = []
    for drawn in range(_DRAWS + 1):
        await until_joined(join, look, what="to be initialised", seconds=join.conf.ready_timeout)
        again, warnings = await tunnel.part_ports(
            join.host, join.conf.cluster, changes=join.changes, last=drawn == _DRAWS
        )
        if not again:
            break
    for side in (join.host, join.member):
        await side.keep_secret(str(cluster["spec"]["connection"]["token"]))
    return cluster, warnings


async def agent_manifest(join: Join, token: str, *, renews: str = "") -> kubesphere.Object:
    """Return the agent's Deployment as `tower.agent_deployment` makes it.

    Raises UnavailableError if tower has no address any more.
    """
    config = await configuring.in_force(join.host)
    address = await tunnel.address(join.host, config)
    if not address:
        raise errors.UnavailableError(f"Tower on the {join.host} has lost its address since resolve_tower_address.")
    image = join.conf.agent_image or config.agent_image
    return tower.agent_deployment(join.conf.cluster, token=token, address=address, image=image, renews=renews)


async def wait_until_gone(join: Join, ref: kinds.Ref) -> None:
    """Wait until a Cluster that is being deleted is gone; at once where none is."""

    async def look() -> waits.Pending | None:
        found = await join.host.read(ref)
        if found is None or "deletionTimestamp" not in found["metadata"]:
            return None
        return waits.Pending("it is being deleted")

    if await look() is None:
        return
    await until_joined(join, look, what="of an earlier join to be gone", seconds=join.conf.ready_timeout)


async def until_joined(
    join: Join,
    look: waits.Look,
    *,
    what: str,
    seconds: float,
    hint: str = _SEE_CONDITIONS,
    bells: Sequence[waits.Bell] = (),
) -> None:
    """Wait for what *look* sees of the Cluster on the host; raises what `waits.until` raises."""
    ref = kinds.Ref(kinds.CLUSTER, join.conf.cluster)
    await waits.until(
        look,
        what=f"Cluster {join.conf.cluster} on the {join.host} {what}",
        bells=[waits.changes(join.host, ref), *bells],
        limit=join.limit(seconds),
        seconds=seconds,
        hint=hint,
        limits=join.limits,
    )
