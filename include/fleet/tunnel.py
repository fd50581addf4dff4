"""Tower on the host and its agent on the member, as a proxy join needs them."""

from __future__ import annotations

import logging
from typing import Any

from include.fleet import clusters, errors, journal, kinds, kubesphere, redaction, tower

log = logging.getLogger(__name__)

_LOG_LINES = 200


async def address(host: clusters.Cluster, config: kubesphere.Config) -> str:
    """Return the address at which agents find tower, or "" while there is none.

    KubeSphere's own order: the configured address verbatim, else the LoadBalancer's (kubesphere-facts 4.1).
    """
    if config.proxy_publish_address:
        return config.proxy_publish_address
    service = await host.read(tower.SERVICE)
    return tower.load_balancer_address(service) if service else ""


async def no_address_hint(host: clusters.Cluster) -> str:
    """Return what to do about a tower without an address: the port to forward to and the line for the conf."""
    service = await host.read(tower.SERVICE)
    if service is None:
        return f"There is no {tower.SERVICE} on the {host}: ks-installer makes it on a host; look at its log."
    port = tower.node_port(service)
    reached = f"port {port} of the host's nodes" if port else "tower's Service"
    return (
        f"Its LoadBalancer is pending. Forward an address that the member reaches to {reached}, and add it to the "
        f'conf: "proxy_publish_address": "http://ADDRESS:{port or 8080}".'
    )


async def apply_agent(
    member: clusters.Cluster, wanted: dict[str, Any], *, token: str, changes: journal.Journal
) -> bool:
    """Bring the agent's Deployment onto *member*; return whether anything had to be written.

    An agent of an earlier import has an old token and never gets over it by itself (kubesphere-facts P-19).
    Raises UnsupportedError if the account that it runs as is missing.
    """
    present = await member.read(tower.AGENT)
    if present is None:
        if not await _has_account(member):
            raise errors.UnsupportedError(
                f"There is no {tower.ACCOUNT} on the {member}, which the agent runs as. Every KubeSphere 3 has it: is "
                "KubeSphere installed there, and finished?"
            )
        with changes.noted(f"{tower.AGENT} created on the member, token {redaction.fingerprint(token)}"):
            await member.create(tower.AGENT, wanted)
        return True
    differences = tower.agent_differences(present, wanted)
    if not differences:
        return False
    spec = {"replicas": 1, "template": wanted["spec"]["template"]}
    version = present["metadata"]["resourceVersion"]
    with changes.noted(f"{tower.AGENT} changed on the member: {', '.join(differences)}"):
        await member.patch(tower.AGENT, {"metadata": {"resourceVersion": version}, "spec": spec})
    return True


async def part_ports(
    host: clusters.Cluster, name: str, *, changes: journal.Journal, last: bool
) -> tuple[bool, list[str]]:
    """See to it that a new proxy Cluster has ports of tower for itself; return whether it has to be waited for again.

    Also returns what is to be told: a port that others share, or that this member shares and an agent of it is
    connected already, which has to be taken out first. Raises NotReadyError instead of drawing one more time if this
    was the *last*.
    """
    listed = await host.list(kinds.CLUSTER)
    shared = tower.shared_ports(listed)
    mine = [(one if other == name else other, port) for one, other, port in shared if name in {one, other}]
    cluster = next((item for item in listed if item["metadata"]["name"] == name), None)
    told = [_share(*pair) for pair in shared if name not in pair]
    if not mine or cluster is None:
        return False, told
    other, port = mine[0]
    if any(item.get("type") == tower.AGENT_AVAILABLE for item in kubesphere.conditions(cluster)):
        return False, [*told, _share(min(name, other), max(name, other), port)]
    if last:
        raise errors.NotReadyError(
            f"Each port of tower that was drawn for Cluster {name} is another member's; the last one, {port}, is that "
            f"of {other}. Too many members share one tower, or its ports are not drawn by chance."
        )
    log.warning("Tower's port %d was drawn for %s and is that of %s: it is drawn anew", port, name, other)
    with changes.noted(f"clusters/{name} on the host: tower's port {port} given up, which {other} has too"):
        await host.patch(kinds.Ref(kinds.CLUSTER, name), tower.redraw_patch(cluster))
    return True, told


def _share(one: str, other: str, port: int) -> str:
    return (
        f"Clusters {one} and {other} share tower's port {port} (spec.connection): requests for one of them reach the "
        "other, or nobody. Take one of them out of the host and join it again."
    )


async def _has_account(member: clusters.Cluster) -> bool:
    try:
        return await member.read(tower.ACCOUNT) is not None
    except errors.ForbiddenError as error:
        member.do_without(error, f"Whether the agent's {tower.ACCOUNT} is there was not checked")
        return True


async def agent_name(member: clusters.Cluster) -> str:
    """Return the name under which an agent on *member* announces itself, or ""."""
    present = await member.read(tower.AGENT)
    return tower.announced_name(present) if present else ""


async def agent_says(member: clusters.Cluster) -> str:
    """Return what the agent complains of, "" if it does not or cannot be asked. Its log starts with its token."""
    try:
        pod = await member.newest_pod(kubesphere.NAMESPACE, label_selector=tower.AGENT_SELECTOR)
        if pod is None:
            return "the agent has no Pod; look at the events of its Deployment"
        said = tower.complaint(member.redacted(await member.pod_log(pod, lines=_LOG_LINES)))
        return f"the agent says {said!r}" if said else ""
    except errors.ForbiddenError as error:
        member.do_without(error, "What the agent complains of was not read")
        return ""
    except errors.FleetError as error:
        log.debug("The agent cannot be asked: %s", error)
        return ""
