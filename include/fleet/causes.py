"""The table of causes: what is most likely wrong when a task gives up, judged on what was seen.

Pure: `diagnose` has evidence in and diagnoses out. The ids are numbers of the project's collection of failures
(`failures-7`), or of the pitfalls in its fact sheet (`P-22`, kubesphere-facts 11) where the collection has none.

The order of the table is the ranking, and all of it: the first cause that fits is the most likely one. It goes from
what explains other causes to what other causes explain:

1. who is who, and objects that a server refuses in words of its own;
2. an installer that has not done its work, and programs that are gone or cannot start;
3. words that have one meaning only, as a program or a server says them;
4. role, jwtSecret and tokens, which let a member become Ready and keep it from being used;
5. an address at which nothing answers, which can have many reasons; and what is merely unusual.

So a tower that is gone comes before an agent that is refused a connection, and an expired certificate before a
time-out. A matcher that is not sure answers None: an unknown cause shows what was seen and guesses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from include.fleet import evidence as seen
from include.fleet.evidence import HOST, HOST_SAYS, MEMBER, Evidence, Line, Rollout, Source

UNKNOWN = "unknown"
_MOST_SHOWN = 3

_DIAL = (
    r"connection refused|i/o timeout|no route to host|network is unreachable|context deadline exceeded"
    r"|Client\.Timeout exceeded|TLS handshake timeout|connection reset by peer|\bEOF\b|host is down"
    r"|Cannot connect to host|Connect call failed|[Cc]onnection timeout|ServerDisconnected|Server disconnected"
)
_WEBHOOK = r"failed calling (?:admission )?webhook"
_ANYWHERE = (*HOST_SAYS[:3], Source.AGENT, Source.ANSWER, Source.REQUEST, Source.ERROR)
_PROVING = "verify_join"
_IMPORTED = ("import_cluster", "deploy_agent", "wait_agent_ready", _PROVING)
"""The steps that rest on the host's machinery."""
_INSTALLING = ("configure_host", "configure_member", "wait_installer")


@dataclass(frozen=True)
class Match:
    """That a cause fits, by what, and what its sentences are to be filled with."""

    seen: str
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cause:
    """One thing that can be wrong. `{names}` in its texts are filled in from the evidence."""

    id: str
    sentence: str
    """What is wrong."""
    shows: str
    """How it shows, for the page of causes."""
    next_step: str
    object: str
    """The object that is wrong."""
    on: str
    """The cluster that it is on: {host}, {member}, or {side} where the evidence tells."""
    match: Callable[[Evidence], Match | None]


@dataclass(frozen=True)
class Diagnosis:
    """What is most likely wrong, and by what that was seen; no secrets."""

    cause: str
    sentence: str
    object: str
    cluster: str
    evidence: str
    next_step: str

    @property
    def report(self) -> dict[str, str]:
        """Return it as Airflow keeps it."""
        return {
            "cause": self.cause,
            "sentence": self.sentence,
            "object": self.object,
            "cluster": self.cluster,
            "evidence": self.evidence,
            "next": self.next_step,
        }

    def __str__(self) -> str:
        if self.cause == UNKNOWN:
            return f"{self.sentence} Seen: {self.evidence}."
        return f"Most likely: {self.sentence} ({self.cause}) Seen: {self.evidence}. Next: {self.next_step}"


def diagnose(evidence: Evidence) -> list[Diagnosis]:
    """Return all causes that fit the evidence, the most likely one first; [] if none is known."""
    matches = [(cause, cause.match(evidence)) for cause in CAUSES]
    return [_filled(cause, match, evidence) for cause, match in matches if match is not None]


def unknown(evidence: Evidence) -> Diagnosis:
    """Return what there is to say where no cause fits: what was seen, beside the error itself."""
    own = (Source.ERROR, Source.REQUEST)
    lines = [line.quoted() for line in evidence.said if line.source not in own][:_MOST_SHOWN]
    shown = "; ".join(lines) or "nothing beside the error itself"
    return Diagnosis(UNKNOWN, "No known cause fits.", f"Cluster {evidence.name}", "", shown, "")


def _filled(cause: Cause, match: Match, evidence: Evidence) -> Diagnosis:
    names = {
        "cluster": evidence.name,
        "host": evidence.host.name or "host cluster",
        "member": evidence.member.name or "member cluster",
        "server": (evidence.cluster.server if evidence.cluster else "") or "its address",
        "address": evidence.address or "tower's address",
        **match.names,
    }
    return Diagnosis(
        cause=cause.id,
        sentence=cause.sentence.format_map(names),
        object=cause.object.format_map(names),
        cluster=cause.on.format_map(names),
        evidence=match.seen,
        next_step=cause.next_step.format_map(names),
    )


# What matchers are made of.


def _words(
    evidence: Evidence, pattern: str, *sources: Source, without: str = "", names: Mapping[str, str] | None = None
) -> Match | None:
    """Match what somebody said; named groups of *pattern* are names, and so is {side}."""
    hit = evidence.find(pattern, *sources, without=without)
    if hit is None:
        return None
    line, found = hit
    groups = {key: value for key, value in found.groupdict().items() if value}
    return Match(line.quoted(found), {"side": _side(evidence, line), **(names or {}), **groups})


def _side(evidence: Evidence, line: Line) -> str:
    side = evidence.host if line.side == HOST else evidence.member
    return side.name or f"{line.side} cluster"


def _who(line: Line, evidence: Evidence) -> str:
    """Return who was trying to get somewhere when a line was written."""
    if line.source is Source.REQUEST:
        return "Airflow's processes"
    return "the member's pods" if line.source is Source.AGENT else f"the pods of the {evidence.host.name or 'host'}"


def _agent(evidence: Evidence, pattern: str, *, without: str = "") -> Match | None:
    """Match what the agent complains of; one that is connected has got over it."""
    if not evidence.proxy or evidence.connected:
        return None
    return _words(evidence, pattern, Source.AGENT, without=without)


def _deployment(evidence: Evidence, side: str, *names: str, how: tuple[Rollout, ...]) -> Match | None:
    """Match the first of some Deployments that stands in one of these ways."""
    of = evidence.host if side == HOST else evidence.member
    for name in names:
        state = of.deployments.get(name)
        if state in how:
            where = of.name or f"{side} cluster"
            said = _pod_line(evidence, name)
            text = f"Deployment {name} on the {where} is {state.value}"
            return Match(f"{text}; {said}" if said else text, {"name": name, "how": state.value, "side": where})
    return None


def _pod_line(evidence: Evidence, name: str) -> str:
    pods = [line for line in evidence.said if line.source is Source.POD and line.about.startswith(f"{name}-")]
    return pods[0].quoted() if pods else ""


_DOWN = (Rollout.UNAVAILABLE, Rollout.MISSING)
_KUBEFED = ("kubefed-controller-manager", "kubefed-admission-webhook")


# 1. Who is who, and what a server refuses in words of its own.


def _same_cluster(evidence: Evidence) -> Match | None:
    return _words(
        evidence,
        r"MUST not import the same cluster twice|both connections lead to the same cluster"
        r"|has this cluster already, as",
        *_ANYWHERE,
    )


def _other_host(evidence: Evidence) -> Match | None:
    said = _words(
        evidence,
        r"belongs to another host, which calls it (?P<other>[^;\s]+)|managed by another host cluster",
        *_ANYWHERE,
        names={"other": "another name"},
    )
    if said is not None or evidence.step != _PROVING:
        return said
    member = evidence.member
    differ = _secrets_differ(evidence)
    if not differ or not member.cluster_name or member.cluster_name in {evidence.name, HOST}:
        return None
    return Match(
        f"ConfigMap kubesphere-config of the member has clusterName {member.cluster_name}; {differ}",
        {"other": member.cluster_name},
    )


def _taken_for_host(evidence: Evidence) -> Match | None:
    if evidence.cluster is not None and evidence.cluster.labelled_host:
        return Match(f"Cluster {evidence.name} has the label cluster-role.kubesphere.io/host")
    return _words(evidence, r"MUST not be more than one host clusters", Source.CONTROLLER, Source.ERROR)


def _crossed(evidence: Evidence) -> Match | None:
    behind = "tower's ports of two members clash" if evidence.proxy else "the address in its kubeconfig leads there"
    mend = (
        "give spec.connection.kubernetesAPIServerPort of the Cluster a port that no other one has, or delete it and "
        "join again"
        if evidence.proxy
        else "set member_server to the member's own address and run the join again"
    )
    names = {"why": behind, "mend": mend}
    cluster = evidence.cluster
    if cluster is not None and cluster.uid and evidence.uid and cluster.uid != evidence.uid:
        seen_ = f"status.uid of Cluster {evidence.name} is {cluster.uid}, the member's kube-system has {evidence.uid}"
        return Match(seen_, names)
    pattern = (
        r"to another cluster: kube-system UID|corresponds to a different cluster|listen tcp :\d+: bind: address"
        r"|Each port of tower that was drawn for"
    )
    return _words(evidence, pattern, Source.ERROR, Source.ANSWER, Source.TOWER, Source.AGENT, *HOST_SAYS, names=names)


def _workspace(evidence: Evidence) -> Match | None:
    return _words(evidence, r"[Tt]he workspace (?P<workspace>\S+) is found in the target member cluster", *HOST_SAYS)


def _stale_webhook(evidence: Evidence) -> Match | None:
    return _words(evidence, _WEBHOOK + r' "?validating-cluster\.kubesphere\.io', *HOST_SAYS, Source.TOWER)


def _dead_member_locked(evidence: Evidence) -> Match | None:
    said = _words(
        evidence,
        r'"?validating-cluster\.kubesphere\.io"? denied the request(?!: this kubeconfig corresponds)',
        *HOST_SAYS,
        Source.TOWER,
    )
    waits = evidence.cluster is not None and evidence.cluster.deleting and evidence.step == "import_cluster"
    if said is not None or not waits:
        return said
    return Match(f"Cluster {evidence.name} on the host has a deletionTimestamp and is still there")


def _webhook(evidence: Evidence) -> Match | None:
    return _words(
        evidence,
        _WEBHOOK + r' "?(?P<webhook>[\w.-]+)',
        *HOST_SAYS,
        Source.TOWER,
        without=r"kubefed|validating-cluster\.kubesphere\.io",
    )


def _no_kubesphere(evidence: Evidence) -> Match | None:
    return _words(
        evidence,
        r'services "?:?(?:https?:)?ks-apiserver:?\d*"? not found|namespaces "kubesphere-system" not found'
        r"|could not find the requested resource \(\w+ workspaces"
        r'|no matches for kind "Workspace"|KubeSphere 3\.x is not installed there'
        r"|There is no serviceaccounts/kubesphere in kubesphere-system",
        *_ANYWHERE,
    )


def _left_over(evidence: Evidence) -> Match | None:
    return _words(
        evidence,
        r"already exists in joining cluster|because it is being terminated|is Terminating"
        r"|object is being deleted: (?!clusters)",
        *HOST_SAYS,
        Source.INSTALLER,
    )


# 2. The installer, and programs that are gone or cannot start.


def _installer_ended(evidence: Evidence) -> bool:
    return evidence.kind == "InstallerFailedError" or (
        evidence.kind == "DeadlineError" and evidence.step in _INSTALLING
    )


def _installer_says(evidence: Evidence, pattern: str) -> Match | None:
    """Match the words of the installer that the error is about; the other one's may be of an earlier run."""
    if not _installer_ended(evidence):
        return None
    about = {line.side for line in evidence.said if line.source is Source.ERROR} or {HOST, MEMBER}
    lines = tuple(line for line in evidence.said if line.source is not Source.INSTALLER or line.side in about)
    return _words(replace(evidence, said=lines), pattern, Source.ERROR, Source.INSTALLER)


def _old_kubernetes(evidence: Evidence) -> Match | None:
    said = _installer_says(evidence, r"The current (?:k8s|Kubernetes) version is not supported")
    return said or _words(
        evidence,
        r"(?:batch|policy|extensions|autoscaling|(?:apiextensions|rbac\.authorization|networking|admissionregistration)"
        r"\.k8s\.io)/v\d+(?:alpha|beta)\d",
        *HOST_SAYS,
        Source.ANSWER,
        Source.INSTALLER,
        without=r"deprecated",
    )


def _multicluster_failed(evidence: Evidence) -> Match | None:
    said = _installer_says(
        evidence, r'Task .multicluster. failed|task multicluster status is failed|"?kubefed"? has no deployed releases'
    )
    if said is not None or not _waits_for_host(evidence):
        return said
    return _deployment(evidence, HOST, *_KUBEFED, how=(Rollout.UNAVAILABLE,))


def _waits_for_host(evidence: Evidence) -> bool:
    """Tell whether the time was up while ks-installer was making a host."""
    about = any(line.side == HOST for line in evidence.said if line.source is Source.ERROR)
    return evidence.kind == "DeadlineError" and evidence.step in _INSTALLING and about


def _unsafe_secret(evidence: Evidence) -> Match | None:
    said = _words(evidence, r"characters that ks-installer cannot pass on", Source.ERROR)
    return said or _installer_says(
        evidence, r"(?is)(?:jwt\.sh|init-token|kubesphere token).*(?:syntax error|unterminated quoted|unexpected EOF)"
    )


def _no_role_key(evidence: Evidence) -> Match | None:
    return _installer_says(evidence, r"(?:has no attribute|undefined)[^\n]*'?clusterRole")


_INSTALLER_HINTS = (
    (r"StorageClass was not found", "there is no default StorageClass", "Make one StorageClass the default"),
    (
        r"has no attribute '?jwtSecret",
        "the key spec.authentication.jwtSecret is missing",
        'Set it to "" (that keeps the secret in force)',
    ),
    (r"Failed count is \d+|Will retry after delay|Traceback|has crashed", "its hook crashes each time", "Mend that"),
    (r"fatal:|failed=[1-9]|Failed to ansible-playbook|Task '.+' failed:|Error:", "a task of it failed", "Mend that"),
)


def _installer_died(evidence: Evidence) -> Match | None:
    for side in (HOST, MEMBER):
        about = any(line.side == side for line in evidence.said if line.source is Source.ERROR)
        down = _deployment(evidence, side, "ks-installer", how=_DOWN) if about else None
        if down is not None and _installer_ended(evidence):
            return Match(down.seen, {**down.names, "why": "it does not run", "mend": "Bring its Deployment back"})
    for pattern, why, mend in _INSTALLER_HINTS:
        said = _installer_says(evidence, pattern)
        if said is not None:
            return Match(said.seen, {**said.names, "why": why, "mend": mend})
    return None


def _made_anew(evidence: Evidence) -> Match | None:
    return _words(evidence, r"ks-installer (?:of|on) the .* is being made anew|is being made anew", Source.ERROR)


def _image(evidence: Evidence) -> Match | None:
    hit = evidence.find(r"ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull", Source.POD)
    if hit is None:
        return None
    line, found = hit
    return Match(line.quoted(found), {"pod": line.about, "side": _side(evidence, line)})


def _no_tower(evidence: Evidence) -> Match | None:
    said = _words(evidence, r"no Deployment (?:[\w, -]*, )?tower\b|There is no services/tower", Source.ERROR)
    if said is not None or not evidence.proxy or evidence.step in _INSTALLING:
        return said
    gone = _deployment(evidence, HOST, "tower", how=(Rollout.MISSING,))
    if gone is None and evidence.service_missing:
        return Match("there is no Service tower in kubesphere-system on the host")
    return gone


def _no_kubefed(evidence: Evidence) -> Match | None:
    said = _words(
        evidence,
        r'no matches for kind "(?:KubeFedCluster|Federated\w+)"|' + _WEBHOOK + r' "?[^"]*kubefed'
        r"|could not find the requested resource \(\w+ (?:kubefedclusters|federated)"
        r"|Deployments? (?:[\w, -]*, )?kubefed-[\w-]+(?: is not available)?(?=[ ,.;])",
        *HOST_SAYS,
    )
    if said is not None or evidence.step not in _IMPORTED or not _host_is_stuck(evidence):
        return said
    return _deployment(evidence, HOST, *_KUBEFED, how=_DOWN)


def _host_is_stuck(evidence: Evidence) -> bool:
    """Tell whether the host itself has not got the member federated."""
    return evidence.cluster is not None and not evidence.cluster.is_true("Federated")


def _no_controller(evidence: Evidence) -> Match | None:
    if evidence.step in _IMPORTED:
        down = _deployment(evidence, HOST, "ks-controller-manager", how=_DOWN)
        if down is not None:
            return down
    untouched = r"controller has not touched Cluster|Deployment ks-controller-manager is not rolled out"
    if not evidence.member.silent and not evidence.proxy:
        untouched += r"|has not been refreshed since"
    return _words(evidence, untouched, Source.ERROR, names={"how": "not at work"})


def _no_api_server(evidence: Evidence) -> Match | None:
    said = _words(
        evidence,
        r'no endpoints available for service "?:?(?:https?:)?ks-apiserver|Deployment ks-apiserver is not rolled out'
        r"|make sure (?:kubesphere-system|ks-apiserver)\.\S+ of member cluster is up",
        Source.ANSWER,
        *HOST_SAYS,
    )
    if said is not None or evidence.step != _PROVING:
        return said
    down = _deployment(evidence, MEMBER, "ks-apiserver", how=_DOWN)
    return down or _deployment(evidence, HOST, "ks-apiserver", how=_DOWN)


# 3. Words that have one meaning only.


def _unauthorized_agent(evidence: Evidence) -> Match | None:
    said = _agent(evidence, r"Unauthorized agent|Authentication failed|Config verification failed")
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
        said = _agent(evidence, pattern)
        if said is not None:
            return Match(said.seen, {**said.names, "why": why})
    return None


def _address_pending(evidence: Evidence) -> Match | None:
    said = _words(
        evidence, r"tower has no address|has no public address|has lost its address", Source.ERROR, Source.ANSWER
    )
    port = str(evidence.node_port or 8080)
    if said is not None:
        return Match(said.seen, {**said.names, "port": port})
    waits = evidence.proxy and evidence.address == "" and evidence.balanced is False and not evidence.connected
    if not waits or evidence.step in _INSTALLING:
        return None
    shown = "Service tower on the host has no LoadBalancer ingress, and no proxyPublishAddress is set"
    return Match(shown, {"port": port})


def _crashing(evidence: Evidence) -> Match | None:
    if _waits_for_host(evidence):
        return _deployment(evidence, HOST, "tower", how=(Rollout.UNAVAILABLE,))
    if not evidence.proxy:
        return None
    if evidence.step in _IMPORTED:
        down = _deployment(evidence, HOST, "tower", how=(Rollout.UNAVAILABLE,))
        if down is not None:
            return down
    said = _words(
        evidence,
        r"session already allocated for this client|^panic: |nil pointer dereference",
        Source.AGENT,
        Source.TOWER,
    )
    if said is not None:
        of = "tower" if "tower's log" in said.seen else "cluster-agent"
        return Match(said.seen, {**said.names, "name": of, "how": "not getting its connection"})
    if evidence.step not in ("wait_agent_ready", _PROVING) or evidence.connected:
        return None
    return _deployment(evidence, MEMBER, "cluster-agent", how=_DOWN)


def _unreadable_kubeconfig(evidence: Evidence) -> Match | None:
    cluster = evidence.cluster
    if not evidence.proxy and cluster is not None and cluster.credential is seen.Credential.UNREADABLE:
        return Match(f"spec.connection.kubeconfig of Cluster {evidence.name} does not parse")
    if evidence.proxy:
        return None
    return _words(
        evidence,
        r"failed to (?:create|load) cluster config for|couldn't get version/kind; json parse error"
        r"|error loading config|no configuration has been provided|has no usable kubeconfig",
        *HOST_SAYS,
    )


def _plugin(evidence: Evidence) -> Match | None:
    said = _words(
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
    said = _words(evidence, r"system:anonymous|provide credentials|Unauthorized", *HOST_SAYS)
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
    said = _words(evidence, pattern, *(HOST_SAYS if waiting else HOST_SAYS[:3]), names=unnamed)
    if said is not None:
        whose, mend = f"the credential in Cluster {evidence.name}", "Bind it to cluster-admin on the member"
        return Match(said.seen, {**said.names, "whose": whose, "mend": mend, "side": _named(evidence.member, MEMBER)})
    said = _words(evidence, pattern, Source.ERROR, names=unnamed)
    if said is None:
        return None
    whose, mend = "the connection's user", "Grant it, as the error says"
    return Match(said.seen, {**said.names, "whose": whose, "mend": mend})


def _named(side: seen.Side, role: str) -> str:
    return side.name or f"{role} cluster"


_REFUSED_CREDENTIAL = (
    r"the server has asked for the client to provide credentials|You must be logged in to the server"
    r"|\bUnauthorized\b(?! agent|:)|remote error: tls: (?:expired|bad|unknown) certificate|invalid bearer token"
)


def _frozen_token(evidence: Evidence) -> Match | None:
    if not evidence.proxy:
        return None
    return _words(evidence, _REFUSED_CREDENTIAL, *HOST_SAYS[:3])


def _clock(evidence: Evidence) -> Match | None:
    return _words(
        evidence,
        r"[Tt]oken (?:is )?used before i|token is not valid yet|not yet valid: current time \S+ is before"
        r"|certificate is not yet valid",
        Source.ANSWER,
        *_ANYWHERE,
    )


def _expired(evidence: Evidence) -> Match | None:
    dated = r"certificate has expired(?! or is not yet valid: current time \S+ is before)"
    hit = evidence.find(dated, *_SOURCES_OF_TLS, without=_WEBHOOK)
    if hit is not None and not (hit[0].source is Source.AGENT and evidence.connected):
        return Match(hit[0].quoted(hit[1]), _whose_certificate(evidence, hit[0]))
    if not evidence.proxy:
        what = f"the credential in Cluster {evidence.name}"
        said = _words(evidence, _REFUSED_CREDENTIAL, *HOST_SAYS[:3], names={"what": what})
        if said is not None:
            return Match(said.seen, {**said.names, "side": _named(evidence.member, MEMBER)})
    if evidence.kind != "CredentialError":
        return None
    return _words(evidence, r".", Source.ERROR, names={"what": "the credential of the connection"})


def _whose_certificate(evidence: Evidence, line: Line) -> Mapping[str, str]:
    """Return whose certificate somebody was shown: the host's pods dial the member, the agent dials tower."""
    if line.source is Source.AGENT:
        return {
            "what": f"the certificate at {evidence.address or 'the address of tower'}",
            "side": _named(evidence.host, HOST),
        }
    of = _side(evidence, line) if line.source is Source.REQUEST else _named(evidence.member, MEMBER)
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
    hit = evidence.find(pattern, *sources, without=_WEBHOOK)
    if hit is None or (hit[0].source is Source.AGENT and evidence.connected):
        return None
    line, found = hit
    if line.source is Source.AGENT:
        names = {"at": evidence.address or "tower's address", "of": "tower", "object": _ADDRESS_OBJECT,
                 "side": _named(evidence.host, HOST), "mend": "set proxy_publish_address"}  # fmt: skip
    elif line.source is Source.REQUEST:
        side = evidence.host if line.side == HOST else evidence.member
        named = _named(side, line.side)
        names = {"at": "the server of the connection", "of": f"the {named}", "object": "the Airflow connection",
                 "side": named, "mend": "correct the connection"}  # fmt: skip
    else:
        server = (evidence.cluster.server if evidence.cluster else "") or "the server in its kubeconfig"
        names = {"at": server, "of": _named(evidence.member, MEMBER), "object": f"Cluster {evidence.name}",
                 "side": _named(evidence.host, HOST), "mend": "set member_server"}  # fmt: skip
    return Match(line.quoted(found), {**names, "who": _who(line, evidence)})


_ADDRESS_OBJECT = "spec.multicluster.proxyPublishAddress of ClusterConfiguration ks-installer"


def _handshake(evidence: Evidence) -> Match | None:
    return _agent(evidence, r"bad handshake")


def _not_federating(evidence: Evidence) -> Match | None:
    cluster = evidence.cluster
    if cluster is None or cluster.federates or evidence.step not in _IMPORTED:
        return None
    return Match(f"spec.joinFederation of Cluster {evidence.name} is not true")


# 4. Role, jwtSecret and tokens.


def _secrets_differ(evidence: Evidence) -> str:
    host, member = evidence.host.fingerprint, evidence.member.fingerprint
    if not host or not member or host == member:
        return ""
    return f"jwtSecret in ConfigMap kubesphere-config is {host} on the host and {member} on the member"


def _other_secret(evidence: Evidence) -> Match | None:
    differ = _secrets_differ(evidence)
    said = _words(
        evidence, r"hostcluster Jwt is not equal|signature is invalid|jwtSecret of host and member differ",
        Source.ANSWER, *HOST_SAYS,
    )  # fmt: skip
    if differ and (evidence.step == _PROVING or said):
        return Match(f"{differ}; {said.seen}" if said and Source.ERROR.value not in said.seen else differ)
    equal = evidence.host.fingerprint and evidence.host.fingerprint == evidence.member.fingerprint
    return None if equal else said


def _old_process(evidence: Evidence) -> Match | None:
    if not evidence.host.fingerprint or evidence.host.fingerprint != evidence.member.fingerprint:
        return None
    return _words(evidence, r"signature is invalid|has not loaded the jwtSecret yet", Source.ANSWER, Source.ERROR)


def _wrong_role(evidence: Evidence) -> Match | None:
    said = _words(evidence, r"clusterRole of the member cluster must be 'member'", *_ANYWHERE)
    wanted = ((evidence.host, HOST), (evidence.member, MEMBER))
    names = {"side": _named(evidence.member, MEMBER), "role": MEMBER}
    if said is not None:
        return Match(said.seen, {**names, "is": "another one"})
    if evidence.step != _PROVING:
        return None
    for side, role in wanted:
        # Of an older KubeSphere the ConfigMap names no role: there only the age of tokens tells a member.
        told = side.asked_role if role == MEMBER and side.token_age is not None and side.release == "3.0" else side.role
        if told is not None and told != role:
            shown = f"role {told or 'none'} is in force by ConfigMap kubesphere-config of the {_named(side, role)}"
            return Match(shown, {"side": _named(side, role), "role": role, "is": told or "none"})
    return None


def _token_age(evidence: Evidence) -> str:
    """Return that the member's tokens expire, as its configuration shows it, or ""."""
    member = evidence.member
    lasting = member.token_age in {"0", "0s"}
    if member.token_age is None or lasting or (member.token_age == "" and member.release != "3.0"):
        return ""
    return f"accessTokenMaxAge is {member.token_age or 'not set'} in ConfigMap kubesphere-config of the member"


def _own_oauth(evidence: Evidence) -> Match | None:
    found = _ages(evidence) if evidence.member.own_oauth else None
    if found is None:
        return None
    return Match(f"{found.seen}; spec.authentication.oauthOptions is set in ClusterConfiguration ks-installer there")


def _ages(evidence: Evidence) -> Match | None:
    said = _words(evidence, r"token not found in cache", Source.ANSWER, *HOST_SAYS)
    age = _token_age(evidence)
    if age and (said or evidence.step == _PROVING):
        return Match(f"{age}; {said.seen}" if said else age)
    return said


def _unseen_member(evidence: Evidence) -> Match | None:
    if evidence.cluster is None or not evidence.cluster.is_true("Ready"):
        return None
    return _words(evidence, r"cluster \S+ is not ready|does not see the member as ready", Source.ANSWER, Source.ERROR)


# 5. Nothing answers, and what is merely unusual.


def _dead_member(evidence: Evidence) -> Match | None:
    silent = evidence.member.silent
    if not silent and evidence.kind == "UnreachableError":
        said = _words(evidence, _DIAL, Source.REQUEST)
        hit = evidence.find(_DIAL, Source.REQUEST)
        about_member = hit is not None and hit[0].side == MEMBER
        return Match(said.seen, {"who": "Airflow"}) if said and about_member else None
    if not silent:
        return None
    told = f'Airflow asked it just now: "{silent}"'
    said = _words(evidence, _DIAL + r"|has not been refreshed since|failed to connect", *HOST_SAYS)
    if said is not None:
        return Match(f"{told}; {said.seen}", {"who": "the host and to Airflow"})
    return Match(told, {"who": "Airflow"}) if evidence.kind == "UnreachableError" else None


def _stale_tower(evidence: Evidence) -> Match | None:
    cluster = evidence.cluster
    if not evidence.proxy or cluster is None or evidence.step not in _IMPORTED:
        return None
    by = "ks-controller-manager" if evidence.host.release == "3.0" else "tower"
    if not cluster.is_true("Initialized"):
        shown = f"Cluster {evidence.name} has no condition Initialized that is True"
        return Match(shown, {"what": f"{by} has not initialised the Cluster", "name": by})
    if not evidence.connected:
        return None
    said = _words(evidence, _DIAL, *HOST_SAYS[:3])
    what = "tower does not lead to the member any more, although AgentAvailable says that the agent is connected"
    return Match(said.seen, {"what": what, "name": "tower"}) if said else None


def _nothing_at_tower(evidence: Evidence) -> Match | None:
    said = _agent(evidence, _DIAL, without=r"lookup \S+")
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
    if evidence.proxy or evidence.step not in _IMPORTED:
        return None
    lines = (*HOST_SAYS[:3], *([Source.ERROR] if evidence.kind in ("NotReadyError", "DeadlineError") else []))
    return _words(evidence, _DIAL, *lines, without=_WEBHOOK)


def _endless_token(evidence: Evidence) -> Match | None:
    if evidence.host.release != "3.0" or (evidence.proxy and not evidence.connected):
        return None
    said = _words(evidence, r"timed out waiting for the condition", *HOST_SAYS[:3])
    if said is None:
        return None
    kubernetes = evidence.cluster.kubernetes if evidence.cluster else ""
    return None if _minor(kubernetes) in range(1, 24) else said


def _minor(version: str) -> int:
    parts = version.lstrip("v").split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def _skew(evidence: Evidence) -> Match | None:
    host, member = evidence.host.release, evidence.member.release
    if not host or not member or host == member or evidence.step not in ("wait_agent_ready", _PROVING):
        return None
    return Match(f"the host runs KubeSphere {host}, the member {member}", {"theirs": member, "ours": host})


_RUN_AGAIN = "then clear this task"

CAUSES = (
    Cause(
        id="failures-20",
        sentence="The host has this very cluster already, or is it itself.",
        shows="MUST not import the same cluster twice",
        next_step="Join it under the name that it has, or delete that Cluster first.",
        object="Cluster {cluster}",
        on="{host}",
        match=_same_cluster,
    ),
    Cause(
        id="failures-18",
        sentence="The {member} belongs to another host, which calls it {other}.",
        shows="clusterName of another host in the member's ConfigMap; the secrets differ",
        next_step="Take it out there first and set its role to none, " + _RUN_AGAIN + ".",
        object="ConfigMap kubesphere-config",
        on="{member}",
        match=_other_host,
    ),
    Cause(
        id="P-31",
        sentence="The host takes Cluster {cluster} for itself: nodes of both have the same machine-id, as clones have.",
        shows="label cluster-role.kubesphere.io/host on the member's Cluster",
        next_step="Give the member's nodes a machine-id of their own, delete the Cluster, run the join again.",
        object="Cluster {cluster}",
        on="{host}",
        match=_taken_for_host,
    ),
    Cause(
        id="failures-36",
        sentence="Under the name {cluster} the host reaches another cluster: {why}.",
        shows="status.uid, or a forwarded request, has another kube-system UID than the member",
        next_step="Stop using Cluster {cluster}; {mend}.",
        object="Cluster {cluster}",
        on="{host}",
        match=_crossed,
    ),
    Cause(
        id="failures-21",
        sentence="Workspace {workspace} is on the member with the label kubefed.io/managed, and on the host, placed "
        "elsewhere.",
        shows="Federated=False: The workspace ... is found in the target member cluster",
        next_step="Rename or delete it on one side, or remove the label on the member, " + _RUN_AGAIN + ".",
        object="Workspace {workspace}",
        on="{member}",
        match=_workspace,
    ),
    Cause(
        id="failures-28",
        sentence="Cluster {cluster} cannot be changed or removed: the host's webhook asks its dead member first.",
        shows="validating-cluster.kubesphere.io denied the request; a Cluster that stays in deletion",
        next_step="Bring the member's old address back, or save and delete ValidatingWebhookConfiguration "
        "cluster.kubesphere.io, remove the Cluster's finalizer, and apply the saved one again.",
        object="Cluster {cluster}",
        on="{host}",
        match=_dead_member_locked,
    ),
    Cause(
        id="failures-27",
        sentence="The webhook that checks Clusters does not answer with a certificate that the host trusts.",
        shows='failed calling webhook "validating-cluster.kubesphere.io"',
        next_step="After an upgrade to KubeSphere 4 delete ValidatingWebhookConfiguration cluster.kubesphere.io; else "
        "see that ks-controller-manager runs, " + _RUN_AGAIN + ".",
        object="ValidatingWebhookConfiguration cluster.kubesphere.io",
        on="{host}",
        match=_stale_webhook,
    ),
    Cause(
        id="P-34",
        sentence="Webhook {webhook} is not served, as happens while ks-installer runs.",
        shows="failed calling webhook ... x509, connection refused",
        next_step="Wait until ks-installer is done and ks-controller-manager runs, " + _RUN_AGAIN + ".",
        object="webhook {webhook}",
        on="{side}",
        match=_webhook,
    ),
    Cause(
        id="failures-16",
        sentence="KubeSphere is missing, or half of it, on the {side}.",
        shows='services "ks-apiserver" not found; no Workspace kind; no ClusterConfiguration',
        next_step="Install KubeSphere there with the role none, wait until it is finished, run the join again.",
        object="namespace kubesphere-system",
        on="{side}",
        match=_no_kubesphere,
    ),
    Cause(
        id="failures-24",
        sentence="The version of Kubernetes on the {side} does not fit this KubeSphere.",
        shows="The current Kubernetes version is not supported; batch/v1beta1 and its like not found",
        next_step="Compare both with KubeSphere's support matrix and upgrade the one that is too old.",
        object="the Kubernetes version",
        on="{side}",
        match=_old_kubernetes,
    ),
    Cause(
        id="P-27",
        sentence="The host's KubeSphere waits for a token that Kubernetes from 1.24 on makes for no account.",
        shows="timed out waiting for the condition, for ever, on a host with KubeSphere 3.0",
        next_step="Upgrade KubeSphere on the host to 3.3 or later.",
        object="ServiceAccount {cluster}-kubesphere in kube-federation-system",
        on="{member}",
        match=_endless_token,
    ),
    Cause(
        id="failures-22",
        sentence="Left-overs of an earlier join are in the way, or are still being deleted.",
        shows="already exists in joining cluster; because it is being terminated",
        next_step="Clean up namespace kube-federation-system there (finalizers that nobody serves), "
        + _RUN_AGAIN
        + ".",
        object="namespace kube-federation-system",
        on="{member}",
        match=_left_over,
    ),
    Cause(
        id="failures-23",
        sentence="The image of Pod {pod} cannot be pulled on the {side}.",
        shows="ErrImagePull or ImagePullBackOff of KubeSphere's pods or the agent's",
        next_step="Make the image available there; the agent's can be named in the conf (agent_image). "
        "Then clear this task.",
        object="Pod {pod} in kubesphere-system",
        on="{side}",
        match=_image,
    ),
    Cause(
        id="failures-29",
        sentence="No host could be made of the {host}: component multicluster failed, most often the kubefed chart.",
        shows="Task 'multicluster' failed; status.multicluster is not enabled",
        next_step="Mend what the log names (a failed helm release kubefed is to be deleted), " + _RUN_AGAIN + ".",
        object="Deployment ks-installer in kubesphere-system",
        on="{host}",
        match=_multicluster_failed,
    ),
    Cause(
        id="P-15",
        sentence="The jwtSecret has characters that break ks-installer's shell command.",
        shows="a shell's syntax error in init-token; or a refusal before anything is written",
        next_step="Give the host a jwtSecret of letters and digits (spec.authentication.jwtSecret).",
        object="ClusterConfiguration ks-installer",
        on="{side}",
        match=_unsafe_secret,
    ),
    Cause(
        id="P-14",
        sentence="The key clusterRole is missing under spec.multicluster, without which ks-installer fails.",
        shows="Failed to ansible-playbook ks-config.yaml",
        next_step="Set spec.multicluster.clusterRole, " + _RUN_AGAIN + ".",
        object="ClusterConfiguration ks-installer",
        on="{side}",
        match=_no_role_key,
    ),
    Cause(
        id="P-37",
        sentence="Tower is gone from the {host}, and ks-installer does not restore it by itself.",
        shows="no Deployment or Service tower; proxy Clusters without conditions, agents refused",
        next_step="Set status.multicluster of ClusterConfiguration ks-installer to null there and restart Deployment "
        "ks-installer, " + _RUN_AGAIN + ".",
        object="Deployment tower in kubesphere-system",
        on="{host}",
        match=_no_tower,
    ),
    Cause(
        id="P-6",
        sentence="Kubefed is missing or not at work on the {host}, so it can federate no cluster.",
        shows='no matches for kind "KubeFedCluster"; its webhook fails; its Deployments are not available',
        next_step="See the pods of kube-federation-system there; if they are gone, set status.multicluster of "
        "ClusterConfiguration ks-installer to null and restart Deployment ks-installer, " + _RUN_AGAIN + ".",
        object="Deployments kubefed-* in kube-federation-system",
        on="{host}",
        match=_no_kubefed,
    ),
    Cause(
        id="P-5",
        sentence="The installer on the {side} does not finish: {why}.",
        shows="fatal: or failed=1 in its log and no banner; no default StorageClass; a hook that crashes; no Pod",
        next_step="{mend}, " + _RUN_AGAIN + ": it forces a new run.",
        object="Deployment ks-installer in kubesphere-system",
        on="{side}",
        match=_installer_died,
    ),
    Cause(
        id="P-7",
        sentence="The ClusterConfiguration stays away: ks-installer has deleted it and not made it anew.",
        shows="404 for clusterconfigurations/ks-installer while Deployment ks-installer is there",
        next_step="See the log of Pod ks-installer on the {side}; apply the ClusterConfiguration again if it crashed.",
        object="ClusterConfiguration ks-installer",
        on="{side}",
        match=_made_anew,
    ),
    Cause(
        id="failures-26",
        sentence="Nobody on the host looks at Cluster {cluster}: ks-controller-manager is {how}.",
        shows="a Cluster without conditions, or with old ones, and no reason",
        next_step="See Deployment ks-controller-manager in kubesphere-system on the {host}, its pods and its log.",
        object="Deployment ks-controller-manager in kubesphere-system",
        on="{host}",
        match=_no_controller,
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
        next_step="{mend}, " + _RUN_AGAIN + ".",
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
        next_step="Set the clocks of both clusters' nodes (NTP), " + _RUN_AGAIN + ".",
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
        id="failures-7",
        sentence="The {member} has another jwtSecret than the host, so it takes none of the host's requests.",
        shows="signature is invalid; hostcluster Jwt is not equal; fingerprints differ",
        next_step="Clear configure_member, which asks for the host's, and find out who changes it.",
        object="ConfigMap kubesphere-config",
        on="{member}",
        match=_other_secret,
    ),
    Cause(
        id="P-10",
        sentence="A ks-apiserver still runs with a former jwtSecret, although both ConfigMaps hold the same.",
        shows="signature is invalid although the fingerprints are equal",
        next_step="Restart Deployment ks-apiserver in kubesphere-system on both clusters, " + _RUN_AGAIN + ".",
        object="Deployment ks-apiserver in kubesphere-system",
        on="{side}",
        match=_old_process,
    ),
    Cause(
        id="failures-10",
        sentence="The {side} has role {is} in force, not {role}.",
        shows="clusterRole of the member cluster must be 'member'; ConfigMap with another role",
        next_step="Clear the task that configures it and wait_installer, and find out who changes the role.",
        object="ConfigMap kubesphere-config",
        on="{side}",
        match=_wrong_role,
    ),
    Cause(
        id="P-12",
        sentence="The {member} has oauthOptions of its own, which take the place of what a member needs.",
        shows="token not found in cache, although role and jwtSecret are right",
        next_step="Take oauthOptions out of spec.authentication there, or set accessTokenMaxAge in them to 0.",
        object="ClusterConfiguration ks-installer",
        on="{member}",
        match=_own_oauth,
    ),
    Cause(
        id="failures-8",
        sentence="Tokens expire on the {member}, and so it looks in its own cache for those of the host.",
        shows="token not found in cache; accessTokenMaxAge is not 0",
        next_step="Set accessTokenMaxAge to 0 in ConfigMap kubesphere-config there and restart ks-apiserver.",
        object="ConfigMap kubesphere-config",
        on="{member}",
        match=_ages,
    ),
    Cause(
        id="failures-33",
        sentence="The host's ks-apiserver has not noticed that Cluster {cluster} is Ready.",
        shows="cluster ... is not ready, although its condition says so",
        next_step="Restart Deployment ks-apiserver in kubesphere-system on the {host}, " + _RUN_AGAIN + ".",
        object="Deployment ks-apiserver in kubesphere-system",
        on="{host}",
        match=_unseen_member,
    ),
    Cause(
        id="P-32",
        sentence="The API server of the {member} is down or cut off: it gives no answer to {who}.",
        shows="Ready that is old, or a dial error of the host; Airflow gets no answer either",
        next_step="Bring the member's API server back, " + _RUN_AGAIN + ".",
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
"""Most likely first, see above."""
