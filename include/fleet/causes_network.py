"""Causes of the last rank: an address at which nothing answers, and what is merely unusual."""

from __future__ import annotations

from include.fleet import matching
from include.fleet.evidence import HOST_SAYS, MEMBER, Evidence, Source
from include.fleet.matching import Cause, Match

_DIAL = (
    r"connection refused|i/o timeout|no route to host|network is unreachable|context deadline exceeded"
    r"|Client\.Timeout exceeded|TLS handshake timeout|connection reset by peer|\bEOF\b|host is down"
    r"|Cannot connect to host|Connect call failed|[Cc]onnection timeout|ServerDisconnected|Server disconnected"
)


def _dead_member(evidence: Evidence) -> Match | None:
    silent = evidence.member.silent
    if not silent and evidence.kind == "UnreachableError":
        said = matching.words(evidence, _DIAL, Source.REQUEST)
        hit = evidence.find(_DIAL, Source.REQUEST)
        about_member = hit is not None and hit[0].side == MEMBER
        return Match(said.seen, {"who": "Airflow"}) if said and about_member else None
    if not silent:
        return None
    told = f'Airflow asked it just now: "{silent}"'
    said = matching.words(evidence, _DIAL + r"|has not been refreshed since|failed to connect", *HOST_SAYS)
    if said is not None:
        return Match(f"{told}; {said.seen}", {"who": "the host and to Airflow"})
    return Match(told, {"who": "Airflow"}) if evidence.kind == "UnreachableError" else None


def _stale_tower(evidence: Evidence) -> Match | None:
    cluster = evidence.cluster
    if not evidence.proxy or cluster is None or evidence.step not in matching.IMPORTED:
        return None
    by = "ks-controller-manager" if evidence.host.release == "3.0" else "tower"
    if not cluster.is_true("Initialized"):
        shown = f"Cluster {evidence.name} has no condition Initialized that is True"
        return Match(shown, {"what": f"{by} has not initialised the Cluster", "name": by})
    if not evidence.connected:
        return None
    said = matching.words(evidence, _DIAL, *HOST_SAYS[:3])
    what = "tower does not lead to the member any more, although AgentAvailable says that the agent is connected"
    return Match(said.seen, {"what": what, "name": "tower"}) if said else None


def _nothing_at_tower(evidence: Evidence) -> Match | None:
    said = matching.agent(evidence, _DIAL, without=r"lookup \S+")
    if said is None:
        return None
    behind = f"nothing answers at {evidence.address or 'its address'}"
    port = evidence.node_port
    mend = "Correct the address or the port, or open the firewall, and set proxy_publish_address"
    if evidence.balanced is False and port and (evidence.address or "").endswith(":8080"):
        behind = f"port 8080 leads to tower behind a LoadBalancer only, and there is none: on the nodes it is {port}"
        mend = f"Forward the address to port {port} of the host's nodes, or set proxy_publish_address to that port"
    return Match(said.seen, {**said.names, "why": behind, "mend": mend})


def _unreachable_server(evidence: Evidence) -> Match | None:
    if evidence.proxy or evidence.step not in matching.IMPORTED:
        return None
    lines = (*HOST_SAYS[:3], *([Source.ERROR] if evidence.kind in ("NotReadyError", "DeadlineError") else []))
    return matching.words(evidence, _DIAL, *lines, without=matching.WEBHOOK)


def _skew(evidence: Evidence) -> Match | None:
    host, member = evidence.host.release, evidence.member.release
    if not host or not member or host == member or evidence.step not in ("wait_agent_ready", matching.PROVING):
        return None
    return Match(f"the host runs KubeSphere {host}, the member {member}", {"theirs": member, "ours": host})


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="P-32",
        sentence="The API server of the {member} is down or cut off: it gives no answer to {who}.",
        shows="Ready that is old, or a dial error of the host; Airflow gets no answer either",
        next_step="Bring the member's API server back, " + matching.RUN_AGAIN + ".",
        object="the API server",
        on="{member}",
        match=_dead_member,
    ),
    Cause(
        id="P-22",
        sentence="On the {host}, {what}.",
        shows="no condition Initialized; or the host cannot dial the member, although AgentAvailable is True",
        next_step="See Deployment {name} in kubesphere-system there and its log; restart it if it hangs.",
        object="Deployment {name} in kubesphere-system",
        on="{host}",
        match=_stale_tower,
    ),
    Cause(
        id="failures-5",
        sentence="The agent on the {member} does not reach tower: {why}.",
        shows="connection refused or i/o timeout in the agent's log",
        next_step="{mend}.",
        object="Deployment cluster-agent in kubesphere-system",
        on="{member}",
        match=_nothing_at_tower,
    ),
    Cause(
        id="P-24",
        sentence="The host's pods do not reach {server}, the address of the {member} in Cluster {cluster}.",
        shows="a dial error in Federated=False, or in an Event on 3.0",
        next_step="Set member_server to an address that the host's pods reach, or open the way to this one, and run "
        "the join again.",
        object="Cluster {cluster}",
        on="{host}",
        match=_unreachable_server,
    ),
    Cause(
        id="failures-25",
        sentence="The {member} runs KubeSphere {theirs} and the host {ours}: such pairs fail in many ways.",
        shows="different minor versions, and no other reason",
        next_step="Bring both to the same minor version, the host first.",
        object="ClusterConfiguration ks-installer",
        on="{member}",
        match=_skew,
    ),
)
