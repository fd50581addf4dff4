"""Causes of the third rank: words with one meaning only, of agents, credentials, rights, certificates and names."""

from __future__ import annotations

from collections.abc import Mapping

from include.fleet import evidence as seen
from include.fleet import matching
from include.fleet.evidence import HOST, HOST_SAYS, MEMBER, Evidence, Line, Rollout, Source
from include.fleet.matching import Cause, Match


def _not_federating(evidence: Evidence) -> Match | None:
    cluster = evidence.cluster
    if cluster is None or cluster.federates or evidence.step not in matching.IMPORTED:
        return None
    return Match(f"spec.joinFederation of Cluster {evidence.name} is not true")


def _who(line: Line, evidence: Evidence) -> str:
    """Return who was trying to get somewhere when a line was written."""
    if line.source is Source.REQUEST:
        return "Airflow's processes"
    return "the member's pods" if line.source is Source.AGENT else f"the pods of the {evidence.host.name or 'host'}"


def _no_api_server(evidence: Evidence) -> Match | None:
    said = matching.words(
        evidence,
        r'no endpoints available for service "?:?(?:https?:)?ks-apiserver|Deployment ks-apiserver is not rolled out'
        r"|make sure (?:kubesphere-system|ks-apiserver)\.\S+ of member cluster is up",
        Source.ANSWER,
        *HOST_SAYS,
    )
    if said is not None or evidence.step != matching.PROVING:
        return said
    down = matching.deployment(evidence, MEMBER, "ks-apiserver", how=matching.DOWN)
    return down or matching.deployment(evidence, HOST, "ks-apiserver", how=matching.DOWN)


def _unauthorized_agent(evidence: Evidence) -> Match | None:
    said = matching.agent(evidence, r"Unauthorized agent|Authentication failed|Config verification failed")
    differing = sorted({"--token", "--name"} & set(evidence.agent_differences))
    if said is None and (not differing or not evidence.proxy or evidence.connected):
        return None
    told = [said.seen] if said else []
    if differing:
        told.append(f"{' and '.join(differing)} of Deployment cluster-agent on the member differ from the Cluster")
    return Match("; ".join(told))


def _address_form(evidence: Evidence) -> Match | None:
    forms = (
        (r"invalid proxy server url|first path segment in URL|missing protocol scheme|unsupported protocol scheme",
         "it is not of the form http://host:port"),
        (r"first record does not look like a TLS handshake|server gave HTTP response to HTTPS client",
         "it says https, and what answers there speaks plain http, as tower does"),
        (r"malformed HTTP response|HTTP request to an HTTPS server", "it says http, and https answers there"),
    )  # fmt: skip
    for pattern, why in forms:
        said = matching.agent(evidence, pattern)
        if said is not None:
            return Match(said.seen, {**said.names, "why": why})
    return None


def _address_pending(evidence: Evidence) -> Match | None:
    said = matching.words(
        evidence, r"tower has no address|has no public address|has lost its address", Source.ERROR, Source.ANSWER
    )
    port = str(evidence.node_port or 8080)
    if said is not None:
        return Match(said.seen, {**said.names, "port": port})
    waits = evidence.proxy and evidence.address == "" and evidence.balanced is False and not evidence.connected
    if not waits or evidence.step in matching.INSTALLING:
        return None
    shown = "Service tower on the host has no LoadBalancer ingress, and no proxyPublishAddress is set"
    return Match(shown, {"port": port})


def _crashing(evidence: Evidence) -> Match | None:
    if matching.waits_for_host(evidence):
        return matching.deployment(evidence, HOST, "tower", how=(Rollout.UNAVAILABLE,))
    if not evidence.proxy:
        return None
    if evidence.step in matching.IMPORTED:
        down = matching.deployment(evidence, HOST, "tower", how=(Rollout.UNAVAILABLE,))
        if down is not None:
            return down
    said = matching.words(
        evidence,
        r"session already allocated for this client|^panic: |nil pointer dereference",
        Source.AGENT,
        Source.TOWER,
    )
    if said is not None:
        of = "tower" if "tower's log" in said.seen else "cluster-agent"
        return Match(said.seen, {**said.names, "name": of, "how": "not getting its connection"})
    if evidence.step not in ("wait_agent_ready", matching.PROVING) or evidence.connected:
        return None
    return matching.deployment(evidence, MEMBER, "cluster-agent", how=matching.DOWN)


def _unreadable_kubeconfig(evidence: Evidence) -> Match | None:
    cluster = evidence.cluster
    if not evidence.proxy and cluster is not None and cluster.credential is seen.Credential.UNREADABLE:
        return Match(f"spec.connection.kubeconfig of Cluster {evidence.name} does not parse")
    if evidence.proxy:
        return None
    return matching.words(
        evidence,
        r"failed to (?:create|load) cluster config for|couldn't get version/kind; json parse error"
        r"|error loading config|no configuration has been provided|has no usable kubeconfig",
        *HOST_SAYS,
    )


def _plugin(evidence: Evidence) -> Match | None:
    said = matching.words(
        evidence,
        r"getting credentials: |exec: [\"']?[\w./-]+[\"']?: executable file not found|executable \S+ not found"
        r"|no Auth Provider found for name|unable to read (?:client-cert|client-key|certificate-authority)"
        r"|open (?:/\S+|[A-Za-z]:\\\S+): no such file or directory",
        *HOST_SAYS,
        Source.REQUEST,
        names={"kind": "a plugin or files"},
    )
    cluster = evidence.cluster
    if said is not None or evidence.proxy or cluster is None or cluster.is_true("Ready"):
        return said
    if cluster.credential not in (seen.Credential.PLUGIN, seen.Credential.FILES):
        return None
    return Match(f"the kubeconfig in Cluster {evidence.name} has {cluster.credential.value}",
                 {"kind": cluster.credential.value})  # fmt: skip


def _empty_token(evidence: Evidence) -> Match | None:
    cluster = evidence.cluster
    if evidence.proxy or cluster is None or cluster.is_true("Ready"):
        return None
    if cluster.credential is not seen.Credential.NONE:
        return None
    said = matching.words(evidence, r"system:anonymous|provide credentials|Unauthorized", *HOST_SAYS)
    shown = f"the kubeconfig in Cluster {evidence.name} has {cluster.credential.value}"
    return Match(f"{shown}; {said.seen}" if said else shown)


def _no_right(evidence: Evidence) -> Match | None:
    pattern = (
        r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) (?:resource|path) "(?P<what>[^"]+)"'
        r"|Proxy upgrade error, status code 403"
        r"|attempting to grant RBAC permissions not currently held"
    )
    unnamed = {"user": "its user", "verb": "do", "what": "what a join needs"}
    waiting = evidence.kind in ("NotReadyError", "DeadlineError", "VerificationError")
    said = matching.words(evidence, pattern, *(HOST_SAYS if waiting else HOST_SAYS[:3]), names=unnamed)
    if said is not None:
        whose, mend = f"the credential in Cluster {evidence.name}", "Bind it to cluster-admin on the member"
        return Match(
            said.seen, {**said.names, "whose": whose, "mend": mend, "side": matching.named(evidence.member, MEMBER)}
        )
    said = matching.words(evidence, pattern, Source.ERROR, names=unnamed)
    if said is None:
        return None
    whose, mend = "the connection's user", "Grant it, as the error says"
    return Match(said.seen, {**said.names, "whose": whose, "mend": mend})


_REFUSED_CREDENTIAL = (
    r"the server has asked for the client to provide credentials|You must be logged in to the server"
    r"|\bUnauthorized\b(?! agent|:)|remote error: tls: (?:expired|bad|unknown) certificate|invalid bearer token"
)


def _frozen_token(evidence: Evidence) -> Match | None:
    if not evidence.proxy:
        return None
    return matching.words(evidence, _REFUSED_CREDENTIAL, *HOST_SAYS[:3])


def _clock(evidence: Evidence) -> Match | None:
    return matching.words(
        evidence,
        r"[Tt]oken (?:is )?used before i|token is not valid yet|not yet valid: current time \S+ is before"
        r"|certificate is not yet valid",
        Source.ANSWER,
        *matching.ANYWHERE,
    )


def _expired(evidence: Evidence) -> Match | None:
    dated = r"certificate has expired(?! or is not yet valid: current time \S+ is before)"
    hit = evidence.find(dated, *_SOURCES_OF_TLS, without=matching.WEBHOOK)
    if hit is not None and not (hit[0].source is Source.AGENT and evidence.connected):
        return Match(hit[0].quoted(hit[1]), _whose_certificate(evidence, hit[0]))
    if not evidence.proxy:
        what = f"the credential in Cluster {evidence.name}"
        said = matching.words(evidence, _REFUSED_CREDENTIAL, *HOST_SAYS[:3], names={"what": what})
        if said is not None:
            return Match(said.seen, {**said.names, "side": matching.named(evidence.member, MEMBER)})
    if evidence.kind != "CredentialError":
        return None
    return matching.words(evidence, r".", Source.ERROR, names={"what": "the credential of the connection"})


def _whose_certificate(evidence: Evidence, line: Line) -> Mapping[str, str]:
    """Return whose certificate somebody was shown: the host's pods dial the member, the agent dials tower."""
    if line.source is Source.AGENT:
        return {
            "what": f"the certificate at {evidence.address or 'the address of tower'}",
            "side": matching.named(evidence.host, HOST),
        }
    of = matching.side_of(evidence, line) if line.source is Source.REQUEST else matching.named(evidence.member, MEMBER)
    return {"what": "the certificate that the API server shows", "side": of}


_SOURCES_OF_TLS = (*HOST_SAYS, Source.AGENT, Source.REQUEST)


def _wrong_name(evidence: Evidence) -> Match | None:
    return _reached(
        evidence,
        r"certificate is valid for [^\n]*?, not [\w.:-]*\w|not valid for any names, but wanted to match"
        r"|cannot validate certificate for \S+ because it doesn't contain any IP SANs"
        r"|relies on legacy Common Name|Hostname mismatch|IP address mismatch",
        *_SOURCES_OF_TLS,
    )


def _unknown_authority(evidence: Evidence) -> Match | None:
    return _reached(
        evidence,
        r"signed by unknown authority|self[- ]signed certificate|unable to get (?:local )?issuer certificate"
        r"|certificate is not trusted|unknown certificate authority|unable to verify the first certificate",
        *_SOURCES_OF_TLS,
    )


def _no_name(evidence: Evidence) -> Match | None:
    return _reached(
        evidence,
        r"lookup [^\s:]+(?: on \S+)?: (?:no such host|server misbehaving|Temporary failure|read udp[^\n]*timeout)"
        r"|no such host|Name or service not known|nodename nor servname|Temporary failure in name resolution"
        r"|No address associated with hostname",
        *_SOURCES_OF_TLS,
    )


def _reached(evidence: Evidence, pattern: str, *sources: Source) -> Match | None:
    """Match what happened at an address, and say whose it is and who went there."""
    hit = evidence.find(pattern, *sources, without=matching.WEBHOOK)
    if hit is None or (hit[0].source is Source.AGENT and evidence.connected):
        return None
    line, found = hit
    if line.source is Source.AGENT:
        names = {"at": evidence.address or "tower's address", "of": "tower", "object": _ADDRESS_OBJECT,
                 "side": matching.named(evidence.host, HOST), "mend": "set proxy_publish_address"}  # fmt: skip
    elif line.source is Source.REQUEST:
        side = evidence.host if line.side == HOST else evidence.member
        named = matching.named(side, line.side)
        names = {"at": "the server of the connection", "of": f"the {named}", "object": "the Airflow connection",
                 "side": named, "mend": "correct the connection"}  # fmt: skip
    else:
        server = (evidence.cluster.server if evidence.cluster else "") or "the server in its kubeconfig"
        names = {"at": server, "of": matching.named(evidence.member, MEMBER), "object": f"Cluster {evidence.name}",
                 "side": matching.named(evidence.host, HOST), "mend": "set member_server"}  # fmt: skip
    return Match(line.quoted(found), {**names, "who": _who(line, evidence)})


_ADDRESS_OBJECT = "spec.multicluster.proxyPublishAddress of ClusterConfiguration ks-installer"


def _handshake(evidence: Evidence) -> Match | None:
    return matching.agent(evidence, r"bad handshake")


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="failures-34",
        sentence="Cluster {cluster} does not ask to be federated, so tower and the controller leave it alone.",
        shows="no conditions at all",
        next_step="Clear import_cluster, which sets joinFederation to true, and do not take it out.",
        object="Cluster {cluster}",
        on="{host}",
        match=_not_federating,
    ),
    Cause(
        id="failures-37",
        sentence="Tower does not know the agent on the {member}: its token or name is not that of Cluster {cluster}.",
        shows="Unauthorized agent in the agent's log; --token differs from the Cluster",
        next_step="Clear deploy_agent, which gives it the right ones.",
        object="Deployment cluster-agent in kubesphere-system",
        on="{member}",
        match=_unauthorized_agent,
    ),
    Cause(
        id="P-17",
        sentence="Tower's address {address} has the wrong form: {why}.",
        shows="invalid proxy server url, or a TLS or HTTP error in the agent's log",
        next_step="Set proxy_publish_address to http://host:port with the right scheme and run the join again.",
        object="Deployment cluster-agent in kubesphere-system",
        on="{member}",
        match=_address_form,
    ),
    Cause(
        id="failures-4",
        sentence="Tower on the {host} has no address at which agents find it: its LoadBalancer is pending.",
        shows="Service tower without ingress and no proxyPublishAddress",
        next_step="Give it one that the member reaches with proxy_publish_address; port {port} of the host's nodes "
        "leads to tower.",
        object="Service tower in kubesphere-system",
        on="{host}",
        match=_address_pending,
    ),
    Cause(
        id="failures-35",
        sentence="Deployment {name} on the {side} is {how}.",
        shows="tower or the agent is not available, or cannot hold its connection",
        next_step="See the pods of Deployment {name} in kubesphere-system there, their events and their log.",
        object="Deployment {name} in kubesphere-system",
        on="{side}",
        match=_crashing,
    ),
    Cause(
        id="failures-17",
        sentence="The ks-apiserver of the {side} is down, so nothing can be asked of KubeSphere there.",
        shows='no endpoints available for service ":ks-apiserver:"; its Deployment is not available',
        next_step="See Deployment ks-apiserver in kubesphere-system there, its pods and its log.",
        object="Deployment ks-apiserver in kubesphere-system",
        on="{side}",
        match=_no_api_server,
    ),
    Cause(
        id="failures-14",
        sentence="The kubeconfig in Cluster {cluster} rests on {kind}, which the host's pods do not have.",
        shows="executable not found, no Auth Provider, no such file",
        next_step="Give the connection a kubeconfig with a token or a certificate inside, and run the join again.",
        object="Cluster {cluster}",
        on="{host}",
        match=_plugin,
    ),
    Cause(
        id="failures-13",
        sentence="The kubeconfig in Cluster {cluster} has an empty token, so the member takes the host for nobody.",
        shows='User "system:anonymous"; a kubeconfig without token and certificate',
        next_step="Make a token on the member (Kubernetes 1.24 and later make none by themselves), put it into the "
        "connection, and run the join again with import_conn_id.",
        object="Cluster {cluster}",
        on="{host}",
        match=_empty_token,
    ),
    Cause(
        id="P-25",
        sentence="The kubeconfig in Cluster {cluster} is none, and the host's controller says nothing about it.",
        shows="the Cluster gets a finalizer and no condition",
        next_step="Delete the Cluster and run the join again.",
        object="Cluster {cluster}",
        on="{host}",
        match=_unreadable_kubeconfig,
    ),
    Cause(
        id="failures-15",
        sentence="A right is missing on the {side}: {whose} (user {user}) may not {verb} {what}.",
        shows='is forbidden: User "..." cannot ...',
        next_step="{mend}, " + matching.RUN_AGAIN + ".",
        object="user {user}",
        on="{side}",
        match=_no_right,
    ),
    Cause(
        id="failures-38",
        sentence="The agent on the {member} uses a token that has expired: it reads its own only when it starts.",
        shows="Unauthorized by proxy although the agent is connected",
        next_step="Restart Deployment cluster-agent in kubesphere-system on the member.",
        object="Deployment cluster-agent in kubesphere-system",
        on="{member}",
        match=_frozen_token,
    ),
    Cause(
        id="failures-9",
        sentence="The clocks of the clusters differ: what one signs is not valid yet for the other.",
        shows="token used before issued; not yet valid: current time ... is before ...",
        next_step="Set the clocks of both clusters' nodes (NTP), " + matching.RUN_AGAIN + ".",
        object="the clocks of its nodes",
        on="{side}",
        match=_clock,
    ),
    Cause(
        id="failures-11",
        sentence="On the {side}, {what} has expired or is not taken any more.",
        shows="certificate has expired; Unauthorized; asked for the client to provide credentials",
        next_step="Renew it; for the one in a Cluster run the join again with import_conn_id.",
        object="{what}",
        on="{side}",
        match=_expired,
    ),
    Cause(
        id="failures-2",
        sentence="The certificate at {at} is not made out to that address, so {who} do not trust it.",
        shows="certificate is valid for ..., not ...; no IP SANs",
        next_step="Add the address to the certificate of the {of}, or {mend} to one that is in it.",
        object="{object}",
        on="{side}",
        match=_wrong_name,
    ),
    Cause(
        id="failures-3",
        sentence="The certificate at {at} is of an authority that {who} do not know: the cluster behind it was made "
        "anew, or something else answers.",
        shows="certificate signed by unknown authority",
        next_step="Take a new kubeconfig of the {of} with its present authority, or {mend} where something else "
        "answers.",
        object="{object}",
        on="{side}",
        match=_unknown_authority,
    ),
    Cause(
        id="failures-1",
        sentence="The address {at} has a name that cannot be resolved where it is needed, by {who}.",
        shows="no such host",
        next_step="Use an address of the {of} that is known there: {mend}.",
        object="{object}",
        on="{side}",
        match=_no_name,
    ),
    Cause(
        id="failures-6",
        sentence="What answers at {address} is not tower, or something on the way lets no websockets through.",
        shows="websocket: bad handshake in the agent's log",
        next_step="Let /version at that address answer from the member with tower's version; correct the port, or have "
        "proxy and firewall pass websockets.",
        object="Deployment cluster-agent in kubesphere-system",
        on="{member}",
        match=_handshake,
    ),
)
