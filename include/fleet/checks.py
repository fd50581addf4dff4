"""Preflight's checks: each looks at what was seen of both clusters, and answers with what it saw and what to do.

Pure. A check is a function from one `observed.Observed` to one `findings.Finding`; what it needs and could not be read
makes it incomplete (`judge`). CHECKS is the table of them all: docs/preflight.md is made from it.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from include.fleet import conf as confs
from include.fleet import identity, installer_log, kubeconfig, kubesphere, observed, rights, tower
from include.fleet.findings import Answer, Finding
from include.fleet.observed import MissingError, Observed, Side, known

BOTH = frozenset({confs.Connection.DIRECT, confs.Connection.PROXY})
DIRECT = frozenset({confs.Connection.DIRECT})
PROXY = frozenset({confs.Connection.PROXY})

_SKEW_ERROR = 10.0
"""Seconds: KubeSphere's maximumClockSkew (kubesphere-facts 3.1)."""
_SKEW_WARNING = 5.0
_EXPIRES_SOON = datetime.timedelta(days=30)
_NODE_PORTS = range(30000, 32768)
_ADDRESS = re.compile(r"https?://[^/@?#\s:]+:[0-9]{1,5}")
_STUCK = frozenset({"ImagePullBackOff", "ErrImagePull", "CrashLoopBackOff", "CreateContainerConfigError"})
_ACCOUNT_SUFFIX = "-kubesphere"
"""What ends the name of the account that a host makes on a member (kubesphere-facts 6.4)."""
_ITS_WORKSPACES = frozenset({"system-workspace"})
"""KubeSphere's own, on every cluster."""
_MANAGED = "kubefed.io/managed"

_UPGRADE = "Upgrade the host first, then the members, to the same minor version."
_SEE_RIGHTS = "Apply deploy/rbac/{}.yaml, or give the connection a user who has these rights."


@dataclass(frozen=True)
class Check:
    """One row of the table."""

    look: Callable[[Observed], Finding]
    title: str
    """What it looks at, as one line."""
    answer: Answer
    """The worst that it answers."""
    fix: str
    """What to do when it fails, in general; a finding says it for the case at hand."""
    about: str
    """Numbers of shared/failures.md, and P-n of kubesphere-facts, that it is about."""
    ways: frozenset[confs.Connection] = BOTH
    """The connection types that it is about."""
    waivable: bool = True
    """Whether the conf may say to go on in spite of its error; never where clusters would be mixed up."""

    @property
    def id(self) -> str:
        """Return its name, as the conf and reports have it."""
        return self.look.__name__.replace("_", "-")


def judge(seen: Observed, *, checks: Iterable[Check] | None = None) -> list[Finding]:
    """Return the answers of all checks that are about this connection type, in the table's order."""
    return [_judged(check, seen) for check in (CHECKS if checks is None else checks) if applies(check, seen.conf)]


def applies(check: Check, conf: confs.Conf) -> bool:
    """Tell whether a check is about the connection type of a run."""
    return conf.connection is confs.Connection.AUTO or conf.connection in check.ways


def _judged(check: Check, seen: Observed) -> Finding:
    try:
        found = check.look(seen)
    except MissingError as error:
        return Finding(check.id, Answer.INCOMPLETE, str(error))
    if found.answer is not Answer.ERROR:
        return found
    if seen.conf.connection is confs.Connection.AUTO and check.ways != BOTH:
        (way,) = check.ways
        return replace(found, answer=Answer.WARNING, evidence=f"{found.evidence} This rules out {way.value}.")
    return replace(found, waived=check.waivable and check.id in seen.conf.waive)


def waive_problems(waive: object) -> list[str]:
    """Return what is wrong with the conf's list of waived checks."""
    if not isinstance(waive, (list, tuple)):
        return []
    by_id = {check.id: check for check in CHECKS}
    unknown = [name for name in waive if name not in by_id]
    fixed = [name for name in waive if name in by_id and not by_id[name].waivable]
    return [
        *(f"waive: there is no check {name!r}; the checks are {', '.join(by_id)}" for name in unknown),
        *(f"waive: {name} cannot be waived; {by_id[name].fix}" for name in fixed),
    ]


def _ok(check: str, evidence: str) -> Finding:
    return Finding(check, Answer.OK, evidence)


def _warning(check: str, evidence: str, fix: str) -> Finding:
    return Finding(check, Answer.WARNING, evidence, fix)


def _error(check: str, evidence: str, fix: str) -> Finding:
    return Finding(check, Answer.ERROR, evidence, fix)


# Versions


def host_kubesphere(seen: Observed) -> Finding:
    """See whether the host runs a KubeSphere that this project knows."""
    return _kubesphere("host-kubesphere", seen.host)


def member_kubesphere(seen: Observed) -> Finding:
    """See whether the member runs a KubeSphere that this project knows."""
    return _kubesphere("member-kubesphere", seen.member)


def _kubesphere(check: str, side: Side) -> Finding:
    configuration = known(side.configuration)
    if configuration is None:
        return _error(
            check,
            f"The {side} has no {kubesphere.CONFIGURATION}: KubeSphere 3.x is not installed there.",
            "Install KubeSphere with ks-installer, with the role none, wait until it is finished, then run the join "
            "again.",
        )
    version = kubesphere.version(configuration) or "of unknown version"
    if kubesphere.release(configuration) is None:
        supported = ", ".join(kubesphere.RELEASES)
        return _error(check, f"The {side} runs KubeSphere {version}; supported is {supported}.", _UPGRADE)
    if side.config is None:
        return _error(
            check,
            f"{kubesphere.CONFIG} of the {side} is not there, or holds no usable {kubesphere.CONFIG_KEY}.",
            "Has ks-installer finished? See the log of Pod ks-installer there.",
        )
    return _ok(check, f"The {side} runs KubeSphere {version}.")


def member_version(seen: Observed) -> Finding:
    """See whether the member's KubeSphere fits the host's: same minor version, and not newer."""
    host, member = kubesphere.version(seen.host.asked), kubesphere.version(seen.member.asked)
    told = f"The host runs KubeSphere {host or 'of unknown version'}, the member {member or 'of unknown version'}"
    if not _numbers(host) or not _numbers(member):
        raise MissingError(f"{told}.")
    if _numbers(member) > _numbers(host):
        return _error("member-version", f"{told}: a member must not be newer than its host.", _UPGRADE)
    if _numbers(member)[:2] != _numbers(host)[:2]:
        return _error("member-version", f"{told}: they have to be of one minor version.", _UPGRADE)
    return _ok("member-version", f"{told}.")


def host_kubernetes(seen: Observed) -> Finding:
    """See whether the host's Kubernetes is one that its KubeSphere is made for."""
    return _kubernetes("host-kubernetes", seen.host, seen.host.release)


def member_kubernetes(seen: Observed) -> Finding:
    """See whether the member's Kubernetes is one that its KubeSphere is made for, and the host's can join."""
    version, release = known(seen.member.kubernetes), seen.host.release
    if release.needs_account_tokens and _numbers(version) >= (1, 24):
        return _error(
            "member-kubernetes",
            f"The {seen.member} runs Kubernetes {version}, whose accounts get no token by themselves; KubeSphere "
            f"{release.minor} on the host waits for one for ever (timed out waiting for the condition).",
            "Upgrade KubeSphere to 3.3 or later on both, or give the member Kubernetes 1.23 or earlier.",
        )
    return _kubernetes("member-kubernetes", seen.member, seen.member.release)


def _kubernetes(check: str, side: Side, release: kubesphere.Release) -> Finding:
    version, (oldest, newest) = known(side.kubernetes), release.kubernetes
    told = f"The {side} runs Kubernetes {version}, and KubeSphere {release.minor} is made for 1.{oldest} to 1.{newest}."
    if (1, oldest) <= _numbers(version)[:2] <= (1, newest):
        return _ok(check, told)
    return _warning(check, told, "Expect parts of KubeSphere not to work there; move to a version in this range.")


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(number or 0) for number in found.groups()) if found else ()


# The installer


def host_installer(seen: Observed) -> Finding:
    """See whether ks-installer on the host can do what a join asks for."""
    return _installer("host-installer", seen, seen.host)


def member_installer(seen: Observed) -> Finding:
    """See whether ks-installer on the member can do what a join asks for."""
    return _installer("member-installer", seen, seen.member)


def _installer(check: str, seen: Observed, side: Side) -> Finding:
    deployment = side.deployment(kubesphere.INSTALLER.name)
    due = seen.is_due(side)
    gone = ""
    if deployment is None:
        gone = f"There is no {kubesphere.INSTALLER} on the {side}"
    elif deployment.get("spec", {}).get("replicas", 1) == 0:
        gone = f"{kubesphere.INSTALLER} on the {side} is scaled to 0"
    if gone and due:
        return _error(
            check, f"{gone}, so that nothing does what a join asks for.", "Bring ks-installer back, then join again."
        )
    if gone:
        return _warning(check, f"{gone}; this join needs no run of it.", "Bring ks-installer back.")
    pod = known(side.installer_pod)
    stuck = _stuck(pod) if pod is not None else "it has no Pod"
    if stuck:
        found = f"ks-installer on the {side} does not run: {stuck}."
        fix = "See the events of its Pod, and mend the cause."
        return _error(check, found, fix) if due and pod is not None else _warning(check, found, fix)
    doing = known(side.installer_doing)
    unmet = kubesphere.unmet(side.snapshot)
    if doing is installer_log.Activity.IDLE and unmet:
        said = "" if isinstance(side.installer_says, observed.Unread) else " | ".join(side.installer_says)
        return _warning(
            check,
            f"The last run of ks-installer on the {side} has ended without doing all that it was asked for: {unmet}. "
            f"Its log says: {said or 'nothing telling'}",
            "The join forces one new run; mend the cause before, or that one fails too.",
        )
    if doing is installer_log.Activity.RUNNING:
        return _ok(check, f"ks-installer on the {side} is at work; the join waits for it.")
    if doing is installer_log.Activity.UNKNOWN:
        raise MissingError(f"Nothing tells what ks-installer on the {side} is doing.")
    return _ok(check, f"ks-installer on the {side} is idle, and has done what it was asked for.")


def _stuck(pod: kubesphere.Object) -> str:
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _STUCK:
            return f"its Pod {pod['metadata']['name']} is in {waiting['reason']}"
    return "" if status.get("phase") == "Running" else f"its Pod is {status.get('phase', 'in no phase')}"


def host_storage_class(seen: Observed) -> Finding:
    """See whether ks-installer finds a default StorageClass on the host."""
    return _storage_class("host-storage-class", seen, seen.host)


def member_storage_class(seen: Observed) -> Finding:
    """See whether ks-installer finds a default StorageClass on the member."""
    return _storage_class("member-storage-class", seen, seen.member)


def _storage_class(check: str, seen: Observed, side: Side) -> Finding:
    named = (side.asked.get("spec", {}).get("persistence") or {}).get("storageClass")
    found = {
        item["metadata"]["name"]: any(
            (item["metadata"].get("annotations") or {}).get(f"storageclass.{prefix}kubernetes.io/is-default-class")
            == "true"
            for prefix in ("", "beta.")
        )
        for item in known(side.storage_classes)
    }
    default = [name for name, is_default in found.items() if is_default]
    if default:
        return _ok(check, f"The default StorageClass of the {side} is {', '.join(default)}.")
    if named and named in found:
        return _ok(check, f"The {side} has no default StorageClass; its ClusterConfiguration names {named}.")
    evidence = f"The {side} has no default StorageClass (it has {', '.join(found) or 'none at all'})"
    fix = 'Give one the annotation storageclass.kubernetes.io/is-default-class: "true".'
    if seen.is_due(side):
        return _error(check, f"{evidence}, without which a run of ks-installer stops at its beginning.", fix)
    return _warning(check, f"{evidence}; the next run of ks-installer stops at its beginning.", fix)


# Who is who


def _refused(check: str, reasons: Sequence[str], otherwise: str) -> Finding:
    if not reasons:
        return _ok(check, otherwise)
    return Finding(check, Answer.ERROR, "".join(f"{reason}." for reason in reasons))


def same_cluster(seen: Observed) -> Finding:
    """See whether host and member are two clusters."""
    host, member = known(seen.host.uid), known(seen.member.uid)
    found = identity.about_same_cluster(host, member)
    return _refused("same-cluster", found, f"kube-system UID {host} on the host, {member} on the member.")


def imported_cluster(seen: Observed) -> Finding:
    """See whether the credential for the host leads to the member."""
    uid, member = known(seen.imported.uid), known(seen.member.uid)
    if uid == member:
        return _ok("imported-cluster", f"Connection {seen.imported.conn_id} leads to the member.")
    return _error(
        "imported-cluster",
        f"Connection {seen.imported.conn_id} leads to another cluster (kube-system UID {uid}) than connection "
        f"{seen.member.conn_id} ({member}).",
        "Give import_conn_id a connection to the member, or leave it out.",
    )


def host_name(seen: Observed) -> Finding:
    """See whether the name is the host's own."""
    found = identity.about_host_name(seen.sides)
    return _refused("host-name", found, f"{seen.conf.cluster} is not the name of the host's own Cluster.")


def name_taken(seen: Observed) -> Finding:
    """See whether the host has given the name to another cluster."""
    sides = seen.sides
    found = identity.about_name(sides)
    free = "is free" if sides.named is None else "is this member's already"
    return _refused("name-taken", found, f"The name {sides.name} {free} on the host.")


def other_name(seen: Observed) -> Finding:
    """See whether the host has this member under another name."""
    sides = seen.sides
    found = identity.about_other_names(sides)
    agent = None if isinstance(seen.agent, observed.Unread) else seen.agent
    name, token = tower.credentials(agent) if agent else ("", "")
    for item in sides.clusters:
        if item["metadata"]["name"] != name or name == sides.name:
            continue
        if token and item.get("spec", {}).get("connection", {}).get("token") == token:
            found.append(
                f"the agent on the member holds the token of the host's Cluster {name}, so this is that cluster; join "
                "it under that name, or delete that Cluster first"
            )
    return _refused("other-name", found, "The host has no other Cluster that stands for this member.")


def other_host(seen: Observed) -> Finding:
    """See whether the member belongs to another host."""
    found = identity.about_other_host(seen.sides)
    return _refused("other-host", found, "Nothing on the member says that it belongs to another host.")


def host_clusters(seen: Observed) -> Finding:
    """See whether exactly one Cluster stands for the host itself."""
    own = [
        item["metadata"]["name"]
        for item in known(seen.clusters)
        if kubesphere.HOST_LABEL in (item["metadata"].get("labels") or {})
    ]
    if len(own) <= 1:
        return _ok("host-clusters", f"Cluster {own[0]} stands for the host." if own else "The host is no host yet.")
    return _error(
        "host-clusters",
        f"Clusters {', '.join(own)} all have the label {kubesphere.HOST_LABEL}, and there must be one: the host's "
        "controller looks after none of them any more.",
        "Take the label off those that are members, after mending why they got it: see check machine-id.",
    )


def machine_id(seen: Observed) -> Finding:
    """See whether the host would take the member for itself: same first machine, as many nodes."""
    host, member = known(seen.host.nodes), known(seen.member.nodes)
    ours, theirs = _machine(host), _machine(member)
    if not ours or ours != theirs or len(host) != len(member):
        return _ok("machine-id", f"{len(host)} node(s) on the host, {len(member)} on the member, not the same ones.")
    return _error(
        "machine-id",
        f"The first node of both has machine id {ours}, and both have {len(host)} node(s): the host's controller takes "
        f"such a member for itself and gives it the label {kubesphere.HOST_LABEL}.",
        "Machines were copied. Give the member's nodes machine ids of their own (/etc/machine-id) and restart kubelet.",
    )


def _machine(nodes: Sequence[kubesphere.Object]) -> str:
    first = nodes[0] if nodes else {}
    return str(((first.get("status") or {}).get("nodeInfo") or {}).get("machineID") or "")


# The Cluster that is there, and what an earlier membership has left


def cluster_deletion(seen: Observed) -> Finding:
    """See whether a Cluster of that name is being deleted."""
    named = seen.named
    if named is None or "deletionTimestamp" not in named["metadata"]:
        return _ok("cluster-deletion", f"No Cluster {seen.conf.cluster} is being deleted.")
    return _warning(
        "cluster-deletion",
        f"Cluster {seen.conf.cluster} is being deleted since {named['metadata']['deletionTimestamp']}; the join waits "
        "until it is gone.",
        "If it stays, its finalizer waits for ks-controller-manager, or on 3.4 for a member that does not answer: see "
        "docs/real-clusters.md.",
    )


def cluster_federation(seen: Observed) -> Finding:
    """See whether a Cluster of that name is one that the host takes no notice of."""
    named = seen.named
    if named is None or named.get("spec", {}).get("joinFederation") is True:
        return _ok("cluster-federation", f"No Cluster {seen.conf.cluster} without spec.joinFederation.")
    return _warning(
        "cluster-federation",
        f"Cluster {seen.conf.cluster} has no spec.joinFederation, so that the host takes no notice of it.",
        "The join sets it. Who has made this Cluster?",
    )


def federation_namespace(seen: Observed) -> Finding:
    """See whether the member's federation namespace can be used."""
    found = known(seen.federation)
    name = kubesphere.FEDERATION_NAMESPACE
    if found is None:
        return _ok("federation-namespace", f"The member has no namespace {name}; the host makes it.")
    if "deletionTimestamp" in found["metadata"] or (found.get("status") or {}).get("phase") == "Terminating":
        return _error(
            "federation-namespace",
            f"Namespace {name} of the {seen.member} is being deleted, and the host can make no account in it.",
            "See what keeps it (kubectl get namespace -o yaml, its status.conditions), finish it, then join again.",
        )
    return _ok("federation-namespace", f"Namespace {name} is there on the member, and can be used.")


def federation_accounts(seen: Observed) -> Finding:
    """See which hosts have accounts on the member."""
    own = f"{seen.conf.cluster}{_ACCOUNT_SUFFIX}"
    names = [item["metadata"]["name"] for item in known(seen.federation_accounts)]
    foreign = sorted(name for name in names if name.endswith(_ACCOUNT_SUFFIX) and name != own)
    if not foreign:
        return _ok("federation-accounts", "The member has no account of another membership.")
    return _warning(
        "federation-accounts",
        f"The {seen.member} has accounts of other memberships in {kubesphere.FEDERATION_NAMESPACE}: "
        f"{', '.join(foreign)}. They may do everything there.",
        "If no other host has this cluster any more, delete them with their ClusterRole and ClusterRoleBinding "
        "kubefed-controller-manager:NAME.",
    )


def agent(seen: Observed) -> Finding:
    """See whether an agent of another membership runs on the member."""
    present = known(seen.agent)
    if present is None:
        return _ok("agent", "The member has no agent.")
    name, token = tower.credentials(present)
    if name != seen.conf.cluster:
        told = f"{tower.AGENT} on the {seen.member} announces itself as {name or 'nobody'}"
    elif seen.conf.connection is confs.Connection.DIRECT:
        told = f"{tower.AGENT} runs on the {seen.member}, which a direct connection does not use"
    else:
        named = seen.named
        wanted = named.get("spec", {}).get("connection", {}).get("token") if named else ""
        if wanted and token == wanted:
            return _ok("agent", "The agent on the member has the name and the token of its Cluster.")
        told = f"{tower.AGENT} on the {seen.member} has the token of an earlier Cluster {name}"
    if seen.conf.connection is confs.Connection.DIRECT:
        return _warning("agent", f"{told}.", "Delete it, if no host uses it.")
    return _warning("agent", f"{told}.", "The join gives it the name, token and address of this one.")


def agent_account(seen: Observed) -> Finding:
    """See whether the account is there that the agent runs as."""
    if known(seen.account) is not None:
        return _ok("agent-account", f"{tower.ACCOUNT} is there on the member.")
    return _error(
        "agent-account",
        f"There is no {tower.ACCOUNT} on the {seen.member}, which the agent runs as.",
        "Every KubeSphere 3 has it: is KubeSphere installed there, and finished?",
    )


def workspace_conflict(seen: Observed) -> Finding:
    """See whether the host would take workspaces from the member."""
    if seen.named is not None and kubesphere.is_true(seen.named, kubesphere.FEDERATED):
        return _ok("workspace-conflict", "The member is in the federation already.")
    managed = _names(item for item in known(seen.member.workspaces) if _is_managed(item))
    federated = {item["metadata"]["name"]: item for item in known(seen.federated_workspaces)}
    clashes = [name for name in managed if name in federated and not _is_placed(federated[name], seen.conf.cluster)]
    fix = (
        f"Rename or delete them on one side, or take the label {_MANAGED} off them on the member: with it the host's "
        "federation deletes what is not meant for the member."
    )
    if clashes:
        return _error(
            "workspace-conflict",
            f"Workspaces {', '.join(clashes)} of the {seen.member} have the label {_MANAGED}, and the host has them as "
            "FederatedWorkspaces that are not for this member.",
            fix,
        )
    if managed:
        return _warning(
            "workspace-conflict",
            f"Workspaces {', '.join(managed)} of the {seen.member} have the label {_MANAGED} of an earlier membership.",
            fix,
        )
    return _ok("workspace-conflict", f"No workspace of the member has the label {_MANAGED}.")


def workspace_names(seen: Observed) -> Finding:
    """See whether host and member have workspaces of the same names."""
    if seen.named is not None and kubesphere.is_true(seen.named, kubesphere.FEDERATED):
        return _ok("workspace-names", "The member is in the federation already.")
    member = _names(item for item in known(seen.member.workspaces) if not _is_managed(item))
    both = sorted({*member} & {*_names(known(seen.host.workspaces))} - _ITS_WORKSPACES)
    if not both:
        return _ok("workspace-names", "Host and member have no workspaces of the same names.")
    return _warning(
        "workspace-names",
        f"Host and member both have workspaces {', '.join(both)}, of different people.",
        "Whoever places such a workspace of the host on this member takes over the member's: rename it before.",
    )


def _names(items: Iterable[kubesphere.Object]) -> list[str]:
    return [item["metadata"]["name"] for item in items]


def _is_managed(item: kubesphere.Object) -> bool:
    return bool((item["metadata"].get("labels") or {}).get(_MANAGED) == "true")


def _is_placed(federated: kubesphere.Object, cluster: str) -> bool:
    placement = (federated.get("spec") or {}).get("placement") or {}
    if any(item.get("name") == cluster for item in placement.get("clusters") or []):
        return True
    selector = placement.get("clusterSelector")
    # One that selects everything. What labels the member will get is not known here.
    return isinstance(selector, Mapping) and not selector.get("matchLabels") and not selector.get("matchExpressions")


# The credential and the address for the host


def server_address(seen: Observed) -> Finding:
    """See whether the member's address and credential have a form that the host's pods can use."""
    prepared = known(seen.imported.kubeconfig)
    if prepared is None:
        raise MissingError("There is no kubeconfig for the host.")
    if not prepared.warnings:
        return _ok("server-address", f"The host gets {prepared.server}, with nothing that is outside the kubeconfig.")
    told = "; ".join(prepared.warnings)
    return _warning("server-address", f"Of connection {seen.imported.conn_id}: {told}.", "Is this meant so?")


def server_trust(seen: Observed) -> Finding:
    """See whether the member's certificate is of the authority that the kubeconfig names."""
    prepared = known(seen.imported.kubeconfig)
    if prepared is not None and "insecure-skip-tls-verify" in prepared.cluster:
        return _warning(
            "server-trust",
            f"The host will not verify {prepared.server}: the kubeconfig of connection {seen.imported.conn_id} has "
            "insecure-skip-tls-verify.",
            "Give it certificate-authority-data instead.",
        )
    shown, there = _shown(seen), seen.handshake
    if shown.untrusted:
        return _error(
            "server-trust",
            f"The certificate at {shown.address}, issued by {shown.issuer}, is not of the authority in the kubeconfig "
            f"of connection {seen.imported.conn_id}: {shown.untrusted}.",
            "The member was installed anew, or something else answers there. Take its present kubeconfig into the "
            "connection.",
        )
    if not isinstance(there, observed.Unread) and there.untrusted:
        return _warning(
            "server-trust",
            f"From where Airflow runs, {there.address} shows a certificate issued by {there.issuer}, which is not the "
            f"member's ({there.untrusted}): something else answers there, or stands in between.",
            "The host's pods may see another: set probe to have them look.",
        )
    return _ok("server-trust", f"The certificate at {shown.address} is of the authority in the kubeconfig.")


def server_name(seen: Observed) -> Finding:
    """See whether the member's certificate is for the address that the host uses."""
    shown = _shown(seen)
    if covers(shown.names, shown.name):
        return _ok("server-name", f"The certificate at {shown.address} is for {shown.name}.")
    kind = "IP address" if _is_ip(shown.name) else "name"
    evidence = (
        f"The certificate at {shown.address} has no entry for the {kind} {shown.name}; its entries are: "
        f"{', '.join(shown.names) or 'none'}."
    )
    fix = (
        f"Add {shown.name} to the API server's certificate, or set member_server to one of its entries, or "
        "tls-server-name in the kubeconfig."
    )
    if seen.named is not None and kubesphere.is_true(seen.named, kubesphere.READY):
        return _warning("server-name", f"{evidence} Yet the host calls the member Ready.", fix)
    return _error("server-name", evidence, fix)


def server_expiry(seen: Observed) -> Finding:
    """See whether the member's certificate is valid today, and for how long."""
    shown = _shown(seen)
    until = f"The certificate at {shown.address} is valid from {shown.begins:%Y-%m-%d} to {shown.expires:%Y-%m-%d}"
    fix = "Renew the API server's certificates on the member (kubeadm certs renew)."
    if not shown.begins <= seen.now <= shown.expires:
        return _error("server-expiry", f"{until}, and not now.", fix)
    if shown.expires - seen.now < _EXPIRES_SOON:
        return _warning("server-expiry", f"{until}: less than 30 days.", fix)
    return _ok("server-expiry", f"{until}.")


def _shown(seen: Observed) -> observed.Handshake:
    """Return what the member shows at the host's address, or else at the one that Airflow uses.

    An address can be another machine's where Airflow runs: what is shown there counts only if it can be the member's.
    """
    there, own = seen.handshake, seen.own_handshake
    if isinstance(own, observed.Unread):
        return known(there)
    if isinstance(there, observed.Unread) or (there.untrusted and not own.untrusted):
        return own
    return there


def covers(names: Iterable[str], name: str) -> bool:
    """Tell whether a certificate with these entries is for *name*, as Go and OpenSSL see it."""
    if _is_ip(name):
        return any(_is_ip(entry) and ipaddress.ip_address(entry) == ipaddress.ip_address(name) for entry in names)
    wanted = name.rstrip(".").lower()
    return any(
        entry.lower() == wanted
        or (entry.startswith("*.") and entry[1:].lower() == "." + wanted.partition(".")[2] and "." in wanted)
        for entry in names
    )


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def host_credential(seen: Observed) -> Finding:
    """See how long Airflow's credential for the host is valid."""
    return _credential("host-credential", seen, seen.host.conn_id, known(seen.host.credential))


def member_credential(seen: Observed) -> Finding:
    """See how long Airflow's credential for the member is valid."""
    return _credential("member-credential", seen, seen.member.conn_id, known(seen.member.credential))


def imported_credential(seen: Observed) -> Finding:
    """See whether the host can use the credential that it receives, and for how long."""
    credential, release = known(seen.imported.credential), seen.host.release
    if credential.kind == "token" and not release.takes_tokens:
        return _error(
            "imported-credential",
            f"Connection {seen.imported.conn_id} has a token, and KubeSphere {release.minor} on the host needs a "
            "client certificate: with a token a member never becomes Ready (empty CertData).",
            "Give it a kubeconfig with client-certificate-data, or upgrade the host to 3.4.",
        )
    return _credential("imported-credential", seen, seen.imported.conn_id, credential)


def _credential(check: str, seen: Observed, conn_id: str, credential: observed.Credential) -> Finding:
    if credential.expires is None:
        return _ok(check, f"The {credential.kind} of connection {conn_id} does not say that it ends.")
    told = f"The {credential.kind} of connection {conn_id} is valid until {credential.expires:%Y-%m-%d %H:%MZ}"
    fix = "Renew it in the connection."
    if credential.expires <= seen.now:
        return _error(check, f"{told}, which is past.", fix)
    if credential.expires - seen.now < _EXPIRES_SOON:
        return _warning(check, f"{told}: less than 30 days.", fix)
    return _ok(check, f"{told}.")


# Rights


def host_rights(seen: Observed) -> Finding:
    """See whether Airflow may do on the host what the join needs."""
    return _rights("host-rights", seen, seen.host)


def member_rights(seen: Observed) -> Finding:
    """See whether Airflow may do on the member what the join needs."""
    return _rights("member-rights", seen, seen.member)


def host_optional_rights(seen: Observed) -> Finding:
    """See whether Airflow may do on the host what a join can do without."""
    return _optional_rights("host-optional-rights", seen, seen.host)


def member_optional_rights(seen: Observed) -> Finding:
    """See whether Airflow may do on the member what a join can do without."""
    return _optional_rights("member-optional-rights", seen, seen.member)


def imported_rights(seen: Observed) -> Finding:
    """See whether the credential that the host receives is cluster-admin."""
    if known(seen.imported.may_everything):
        return _ok("imported-rights", f"The user of connection {seen.imported.conn_id} may do everything.")
    return _error(
        "imported-rights",
        f"The user of connection {seen.imported.conn_id} is not cluster-admin on the member: {rights.EVERYTHING}. The "
        "host receives this credential, and KubeSphere makes roles with all verbs with it.",
        "Give the conf an import_conn_id whose user is cluster-admin on the member.",
    )


def _rights(check: str, seen: Observed, side: Side) -> Finding:
    lacking = [right for right, allowed in _reviewed(seen, side) if not allowed and _is_needed(right, seen, side)]
    unknown = [right for right, found in side.reviews.items() if isinstance(found, observed.Unread)]
    if lacking:
        told = "; ".join(str(right) for right in lacking)
        return _error(check, f"The user of the {side}: {told}.", _SEE_RIGHTS.format(side.role))
    if unknown:
        first = side.reviews[unknown[0]]
        raise MissingError(f"{len(unknown)} rights on the {side} are not known. {getattr(first, 'why', '')}")
    return _ok(check, f"The user of the {side} has all rights that this join needs.")


def _optional_rights(check: str, seen: Observed, side: Side) -> Finding:
    lacking = [right for right, allowed in _reviewed(seen, side) if not allowed and not _is_needed(right, seen, side)]
    if not lacking:
        return _ok(check, f"The user of the {side} has the optional rights as well.")
    return _warning(
        check,
        f"The user of the {side}: {'; '.join(str(right) for right in lacking)}.",
        f"The join goes on without; deploy/rbac/{side.role}.yaml says what is lost without each.",
    )


def _reviewed(seen: Observed, side: Side) -> list[tuple[rights.Right, bool]]:
    """Return the rights that are known and matter to this join; raises MissingError where none is."""
    found = [
        (right, allowed)
        for right, allowed in side.reviews.items()
        if isinstance(allowed, bool) and _concerns(right, seen)
    ]
    if not found:
        unread = next(iter(side.reviews.values()), observed.NOT_ASKED)
        raise MissingError(getattr(unread, "why", ""))
    return found


def _concerns(right: rights.Right, seen: Observed) -> bool:
    """Tell whether a right can matter to a join of this conf and of this host."""
    configuration = None if isinstance(seen.host.configuration, observed.Unread) else seen.host.configuration
    release = kubesphere.release(configuration) if configuration else None
    newer = {"3.0"} if release is not None and release.minor != "3.0" else set()
    return right.matters(rights.absent(seen.conf) | newer)


def _is_needed(right: rights.Right, seen: Observed, side: Side) -> bool:
    """Tell whether this join fails without a right, as the clusters are now."""
    # Which of them it becomes is not decided yet, and so neither is needed for certain.
    undecided = {way.value for way in BOTH} if seen.conf.connection is confs.Connection.AUTO else set()
    if not right.required or not right.matters(rights.absent(seen.conf) | undecided):
        return False
    if "failed run" in right.cases:
        return side.installer_doing is installer_log.Activity.IDLE and bool(kubesphere.unmet(side.snapshot))
    if right.resource == "secrets" and side is seen.member and seen.conf.on_failure is confs.OnFailure.ROLLBACK:
        # What stands before the run is kept in one.
        return True
    if right.verb not in {"patch", "create"} or right.resource == "leases":
        return True
    if right.resource in {"clusterconfigurations", "secrets"}:
        return bool(seen.patch_of(side))
    there = seen.named if right.resource == "clusters" else known(seen.agent)
    return right.verb == "create" and there is None


# Clocks, tokens, secrets


def clock_skew(seen: Observed) -> Finding:
    """See whether the clocks of host and member agree."""
    host, member = known(seen.host.clock), known(seen.member.clock)
    apart, margin = abs(host.offset - member.offset), host.margin + member.margin
    told = f"The clocks of host and member are {apart:.0f} s apart, give or take {margin:.1f} s"
    fix = "Have both keep the time with the same NTP servers (chronyc tracking on their nodes)."
    if apart - margin > _SKEW_ERROR:
        return _error(
            "clock-skew",
            f"{told}: beyond 10 s the member refuses the host's requests (token used before issued).",
            fix,
        )
    if apart - margin > _SKEW_WARNING:
        return _warning("clock-skew", f"{told}; beyond 10 s the member refuses the host's requests.", fix)
    return _ok("clock-skew", f"{told}.")


def jwt_secret(seen: Observed) -> Finding:
    """See whether the host's jwtSecret can be given to a member."""
    trust = seen.host_trust
    if not trust.value:
        return _error(
            "jwt-secret",
            f"The {seen.host} has no jwtSecret in {kubesphere.CONFIG}.",
            "Look at the log of Pod ks-installer there.",
        )
    if not kubesphere.can_be_passed_on(trust.value):
        return _error(
            "jwt-secret",
            f"The jwtSecret of the {seen.host} has characters that ks-installer cannot pass on to a member.",
            "Give the host one of letters and digits: spec.authentication.jwtSecret of its ClusterConfiguration.",
        )
    if trust.pending:
        return _warning(
            "jwt-secret", f"The host's jwtSecret is about to change: {trust.pending}.", "The join waits for it."
        )
    return _ok("jwt-secret", "The host's jwtSecret is in force, and can be given to a member.")


def access_tokens(seen: Observed) -> Finding:
    """See whether the member takes the host's logins: as a member its access tokens must never expire."""
    side, asked = seen.member, kubesphere.spec_token_age(seen.member.asked)
    config = side.in_force
    if asked and asked not in {"0", "0s"} and side.release.minor != "3.0":
        return _error(
            "access-tokens",
            f"{kubesphere.CONFIGURATION} of the {side} sets authentication.oauthOptions.accessTokenMaxAge to {asked}; "
            "a member needs 0, and ks-installer then writes the field twice.",
            "Take the field out of the member's ClusterConfiguration.",
        )
    if config.role == kubesphere.MEMBER and not config.has_lasting_tokens:
        found = (
            f"{kubesphere.CONFIG} of the {side} has role member and accessTokenMaxAge {config.token_age or 'unset'}, "
            "not 0: the host's logins are refused there (token not found in cache)."
        )
        fix = "Have ks-installer write it anew: kubectl -n kubesphere-system rollout restart deploy/ks-installer."
        if seen.is_due(side):
            return _warning("access-tokens", found, "The run of ks-installer that is due writes it anew.")
        return _error("access-tokens", found, fix)
    return _ok("access-tokens", "Nothing keeps the member's access tokens from lasting.")


# Tower


def tower_address(seen: Observed) -> Finding:
    """See whether agents get an address of tower that they can use."""
    address = _address_of_tower(seen)
    if not address:
        if seen.host.in_force.role != kubesphere.HOST:
            return _warning(
                "tower-address",
                "Tower comes with the host's first run as a host; its address is then its LoadBalancer's.",
                "Where there are no LoadBalancers, give the conf proxy_publish_address.",
            )
        service = known(seen.tower)
        port = (tower.node_port(service) if service else None) or 8080
        return _warning(
            "tower-address",
            "Tower has no address: its LoadBalancer is pending, and none is configured.",
            f"Forward an address that the member reaches to port {port} of the host's nodes, and add it to the conf: "
            f'"proxy_publish_address": "http://ADDRESS:{port}".',
        )
    if not _ADDRESS.fullmatch(address):
        return _error(
            "tower-address",
            f"Tower's address {address!r} is not of the form http[s]://ADDRESS:PORT, and an agent cannot use it.",
            "Give the conf proxy_publish_address, with replace_proxy_address if other members use it.",
        )
    local = kubeconfig.address_problem(address)
    if local:
        return _error(
            "tower-address",
            f"Tower's address {address} cannot be used by the member: {local}.",
            "Give the conf proxy_publish_address, as the member's pods reach it.",
        )
    return _ok("tower-address", f"Agents find tower at {address}.")


def _address_of_tower(seen: Observed) -> str:
    configured = seen.conf.proxy_publish_address or seen.host.in_force.proxy_publish_address
    if configured:
        return configured
    service = None if isinstance(seen.tower, observed.Unread) else seen.tower
    return tower.load_balancer_address(service) if service else ""


def tower_port(seen: Observed) -> Finding:
    """See whether the port in tower's address leads to tower."""
    address = _address_of_tower(seen)
    if not _ADDRESS.fullmatch(address):
        return _ok("tower-port", "There is no address whose port could be compared.")
    parts = urlsplit(address)
    port, service = parts.port, known(seen.tower)
    balancer = urlsplit(tower.load_balancer_address(service)) if service else urlsplit("")
    if balancer.hostname and parts.hostname == balancer.hostname and port != balancer.port:
        return _error(
            "tower-port",
            f"{parts.hostname} is the LoadBalancer of tower, which has port {balancer.port} and not {port}.",
            f"Set proxy_publish_address to {balancer.geturl()}, or leave it out.",
        )
    own = [
        item["address"] for node in known(seen.host.nodes) for item in (node.get("status") or {}).get("addresses") or []
    ]
    if parts.hostname not in own:
        return _ok("tower-port", f"{address} is no address of a node of the host.")
    wanted = tower.node_port(service) if service else None
    if port == wanted or (wanted is None and port in _NODE_PORTS):
        return _ok("tower-port", f"{address} is a node of the host with tower's nodePort.")
    leads = f"tower's nodePort is {wanted}" if wanted else "tower's nodePort will be one of 30000-32767"
    return _error(
        "tower-port",
        f"{parts.hostname} is a node of the host, and {leads}, not {port} (8080 is the port of its Service).",
        f"Set proxy_publish_address to {parts.scheme}://{parts.hostname}:{wanted or 'NODEPORT'}.",
    )


def address_change(seen: Observed) -> Finding:
    """See whether the conf would take tower's address from other members."""
    asked, used = seen.conf.proxy_publish_address, seen.host.in_force.proxy_publish_address
    others = [
        item["metadata"]["name"]
        for item in known(seen.clusters)
        if item["metadata"]["name"] != seen.conf.cluster and kubesphere.connection_type(item) == "proxy"
    ]
    if not asked or not used or asked == used or not others or seen.conf.replace_proxy_address:
        return _ok("address-change", "No other member loses tower's address.")
    return _error(
        "address-change",
        f"proxy_publish_address {asked} differs from {used}, which the host uses for {', '.join(others)}.",
        "Leave it out to use that one, or set replace_proxy_address to move all proxy members.",
    )


def tower_ports(seen: Observed) -> Finding:
    """See whether tower has given the member's ports to another one as well."""
    named = seen.named
    mine = _ports(named) if named else frozenset()
    shared = [
        item["metadata"]["name"]
        for item in known(seen.clusters)
        if item["metadata"]["name"] != seen.conf.cluster and _ports(item) & mine
    ]
    if not shared:
        return _ok("tower-ports", "No other member has the member's ports on tower.")
    return _warning(
        "tower-ports",
        f"Cluster {seen.conf.cluster} has ports on tower in common with {', '.join(shared)} "
        f"({', '.join(str(port) for port in sorted(mine))}): requests for the one may reach the other.",
        "Delete one of them on the host and join it again, which gives it other ports.",
    )


def _ports(cluster: kubesphere.Object) -> frozenset[int]:
    if kubesphere.connection_type(cluster) != "proxy":
        return frozenset()
    connection = cluster["spec"]["connection"]
    keys = ("kubernetesAPIServerPort", "kubesphereAPIServerPort")
    return frozenset(int(connection[key]) for key in keys if connection.get(key))


# What has to run


def tower_running(seen: Observed) -> Finding:
    """See whether tower runs on a host that is one already."""
    return _running("tower-running", seen, (kubesphere.HOST_DEPLOYMENTS[0].name,))


def host_processes(seen: Observed) -> Finding:
    """See whether what joins members runs on a host that is one already."""
    names = [ref.name for ref in kubesphere.HOST_DEPLOYMENTS[1:]] + [kubesphere.PROCESSES[1].name]
    return _running("host-processes", seen, names)


def _running(check: str, seen: Observed, names: Sequence[str]) -> Finding:
    if seen.host.in_force.role != kubesphere.HOST or kubesphere.unmet(seen.host.snapshot):
        return _ok(check, "The host's next run of ks-installer brings it.")
    found = {name: seen.host.deployment(name) for name in names}
    gone = [name for name, item in found.items() if item is None]
    if gone:
        return _error(
            check,
            f"There is no Deployment {', '.join(gone)} on the {seen.host}, and ks-installer does not restore it while "
            "its status says multicluster is enabled.",
            f"Set status.multicluster of {kubesphere.CONFIGURATION} to null, and restart Deployment ks-installer.",
        )
    stopped = [name for name, item in found.items() if item and item.get("spec", {}).get("replicas", 1) == 0]
    if stopped:
        return _error(
            check, f"Deployment {', '.join(stopped)} on the {seen.host} is scaled to 0.", "Scale it to 1 again."
        )
    down = [name for name, item in found.items() if item and not kubesphere.is_available(item)]
    if down:
        return _warning(
            check, f"Deployment {', '.join(down)} on the {seen.host} is not available.", "See the events of its Pods."
        )
    return _ok(check, f"On the host is available: {', '.join(names)}.")


def host_apiserver(seen: Observed) -> Finding:
    """See whether the host's ks-apiserver runs."""
    if seen.host.ready_addresses("ks-apiserver"):
        return _ok("host-apiserver", "ks-apiserver runs on the host.")
    return _warning(
        "host-apiserver",
        f"No pod is ready behind Service ks-apiserver on the {seen.host}.",
        "The join does without it, but nobody can use the member before it runs: see the events of its Pods.",
    )


def member_apiserver(seen: Observed) -> Finding:
    """See whether the member's ks-apiserver runs."""
    if seen.member.ready_addresses("ks-apiserver"):
        return _ok("member-apiserver", "ks-apiserver runs on the member.")
    return _error(
        "member-apiserver",
        f"No pod is ready behind Service ks-apiserver on the {seen.member}, so that the host could forward nothing to "
        'it (no endpoints available for service ":ks-apiserver:").',
        "See the events and the log of its Pods.",
    )


def host_webhook(seen: Observed) -> Finding:
    """See whether what the host asks before a Cluster is changed can answer."""
    found, release = known(seen.webhook), seen.host.release
    fix = (
        "Delete ValidatingWebhookConfiguration cluster.kubesphere.io, after saving it: without the pods that answer "
        "it, no Cluster can be changed."
    )
    if found is None:
        return _ok("host-webhook", "Nothing is asked before a Cluster is changed.")
    if not release.has_webhook:
        return _error(
            "host-webhook",
            f"The {seen.host} has ValidatingWebhookConfiguration cluster.kubesphere.io, which KubeSphere "
            f"{release.minor} does not bring: it is left over from another version.",
            fix,
        )
    for hook in found.get("webhooks") or []:
        service = (hook.get("clientConfig") or {}).get("service") or {}
        name = service.get("name")
        if service.get("namespace") != kubesphere.NAMESPACE or name not in {ref.name for ref in kubesphere.PROCESSES}:
            told = f"{service.get('namespace')}/{name}" if service else "an address outside the cluster"
            return _warning("host-webhook", f"{hook.get('name')} on the {seen.host} is answered by {told}.", fix)
        if not seen.host.ready_addresses(str(name)):
            return _error(
                "host-webhook",
                f"No pod is ready behind Service {name} on the {seen.host}, which {hook.get('name')} asks before a "
                "Cluster is changed: the host's own controller cannot write its conditions.",
                "See the events of its Pods. " + fix,
            )
    return _ok("host-webhook", "What is asked before a Cluster is changed can answer.")


_NO_MIX_UP = "Clusters would be mixed up."

CHECKS: tuple[Check, ...] = (
    Check(
        host_kubesphere,
        "KubeSphere is installed on the host, in a version that this project knows",
        Answer.ERROR,
        "Install KubeSphere 3.4 or 3.0 there.",
        "24, 25",
        waivable=False,
    ),
    Check(
        member_kubesphere,
        "KubeSphere is installed on the member, in a version that this project knows",
        Answer.ERROR,
        "Install KubeSphere 3.4 or 3.0 there.",
        "16, 24, 25",
        waivable=False,
    ),
    Check(
        member_version,
        "The member's KubeSphere is of the host's minor version, and not newer",
        Answer.ERROR,
        _UPGRADE,
        "25, P-38",
    ),
    Check(
        host_kubernetes,
        "The host's Kubernetes is one that its KubeSphere is made for",
        Answer.WARNING,
        "Move to a Kubernetes in the range that is named.",
        "24",
    ),
    Check(
        member_kubernetes,
        "The member's Kubernetes is one that its KubeSphere is made for, and that the host can join",
        Answer.ERROR,
        "Upgrade KubeSphere, or take an earlier Kubernetes for the member.",
        "13, 24, P-27",
    ),
    Check(
        host_installer,
        "ks-installer on the host runs, and has done what it was asked for",
        Answer.ERROR,
        "Bring it back; mend what its log tells.",
        "29, P-5, P-6",
    ),
    Check(
        member_installer,
        "ks-installer on the member runs, and has done what it was asked for",
        Answer.ERROR,
        "Bring it back; mend what its log tells.",
        "P-5",
    ),
    Check(
        host_storage_class,
        "The host has a default StorageClass, without which ks-installer stops",
        Answer.ERROR,
        "Make one the default.",
        "29, P-5",
    ),
    Check(
        member_storage_class,
        "The member has a default StorageClass, without which ks-installer stops",
        Answer.ERROR,
        "Make one the default.",
        "P-5",
    ),
    Check(
        same_cluster,
        "Host and member are two clusters",
        Answer.ERROR,
        _NO_MIX_UP + " Give member_conn_id a connection to the member.",
        "20",
        waivable=False,
    ),
    Check(
        imported_cluster,
        "The credential for the host leads to the member",
        Answer.ERROR,
        _NO_MIX_UP + " Give import_conn_id a connection to the member.",
        "3, 20",
        ways=DIRECT,
        waivable=False,
    ),
    Check(
        host_name,
        "The name is not the host's own",
        Answer.ERROR,
        _NO_MIX_UP + " Choose another name.",
        "19, 34",
        waivable=False,
    ),
    Check(
        name_taken,
        "The name is free, or this member's already",
        Answer.ERROR,
        _NO_MIX_UP + " Choose another name.",
        "20, 34",
        waivable=False,
    ),
    Check(
        other_name,
        "The host has this member under no other name",
        Answer.ERROR,
        _NO_MIX_UP + " Join it under that name, or delete that Cluster first.",
        "20, 22",
        waivable=False,
    ),
    Check(
        other_host,
        "The member belongs to no other host",
        Answer.ERROR,
        _NO_MIX_UP + " Take it out there first.",
        "18",
        waivable=False,
    ),
    Check(
        host_clusters,
        "One Cluster at most stands for the host itself",
        Answer.ERROR,
        "Take the label off the members.",
        "20, P-31",
    ),
    Check(
        machine_id,
        "The member's first machine is not a copy of the host's, with as many nodes",
        Answer.ERROR,
        "Give the member's nodes machine ids of their own.",
        "20, P-31",
    ),
    Check(
        cluster_deletion,
        "No Cluster of that name is being deleted",
        Answer.WARNING,
        "Wait, or see why it stays.",
        "28, P-32",
    ),
    Check(
        cluster_federation,
        "A Cluster of that name has spec.joinFederation",
        Answer.WARNING,
        "The join sets it.",
        "34, P-23",
    ),
    Check(
        federation_namespace,
        "Namespace kube-federation-system of the member is not being deleted",
        Answer.ERROR,
        "Finish the deletion.",
        "22, P-33",
    ),
    Check(
        federation_accounts,
        "No other membership has accounts on the member",
        Answer.WARNING,
        "Delete what no host uses any more.",
        "18, 22, P-33",
    ),
    Check(
        agent,
        "An agent on the member has the name and token of this join",
        Answer.WARNING,
        "By proxy the join mends it; otherwise delete it.",
        "22, 37, P-19",
    ),
    Check(
        agent_account,
        "The account is there that the agent runs as",
        Answer.ERROR,
        "Finish the installation of KubeSphere on the member.",
        "16",
        ways=PROXY,
    ),
    Check(
        workspace_conflict,
        "The host's federation would delete no workspace of the member",
        Answer.ERROR,
        "Rename them, or take the label kubefed.io/managed off.",
        "21, P-28",
    ),
    Check(
        workspace_names,
        "Host and member have no workspaces of the same names",
        Answer.WARNING,
        "Rename one of them.",
        "21",
    ),
    Check(
        server_address,
        "Address and kubeconfig for the host have nothing that only Airflow can use",
        Answer.WARNING,
        "Set member_server, or mend the kubeconfig; exec, files and loopback are errors of the conf.",
        "1, 14, P-24, P-25",
        ways=DIRECT,
    ),
    Check(
        server_trust,
        "The member's certificate is of the authority in the kubeconfig",
        Answer.ERROR,
        "Take the member's present kubeconfig into the connection.",
        "3",
        ways=DIRECT,
    ),
    Check(
        server_name,
        "The member's certificate has an entry for the address that the host uses",
        Answer.ERROR,
        "Add the entry, or use an address that has one.",
        "2",
        ways=DIRECT,
    ),
    Check(
        server_expiry,
        "The member's certificate is valid, for 30 days and more",
        Answer.ERROR,
        "Renew the API server's certificates.",
        "3, 11",
        ways=DIRECT,
    ),
    Check(
        host_credential,
        "Airflow's credential for the host is valid, for 30 days and more",
        Answer.ERROR,
        "Renew it in the connection.",
        "11",
    ),
    Check(
        member_credential,
        "Airflow's credential for the member is valid, for 30 days and more",
        Answer.ERROR,
        "Renew it in the connection.",
        "11",
    ),
    Check(
        imported_credential,
        "The credential for the host is of a kind that its KubeSphere takes, and valid for 30 days and more",
        Answer.ERROR,
        "Renew it in the connection, or give another one.",
        "11, 12, 13, P-26",
        ways=DIRECT,
    ),
    Check(
        host_rights,
        "Airflow has the rights on the host that this join needs",
        Answer.ERROR,
        "Apply deploy/rbac/host.yaml.",
        "15",
    ),
    Check(
        member_rights,
        "Airflow has the rights on the member that this join needs",
        Answer.ERROR,
        "Apply deploy/rbac/member.yaml.",
        "15",
    ),
    Check(
        host_optional_rights,
        "Airflow has the optional rights on the host",
        Answer.WARNING,
        "The join goes on without; deploy/rbac/host.yaml says what is lost.",
        "15",
    ),
    Check(
        member_optional_rights,
        "Airflow has the optional rights on the member",
        Answer.WARNING,
        "The join goes on without; deploy/rbac/member.yaml says what is lost.",
        "15",
    ),
    Check(
        imported_rights,
        "The credential for the host is cluster-admin on the member",
        Answer.ERROR,
        "Give import_conn_id a connection that is.",
        "13, 15",
        ways=DIRECT,
    ),
    Check(
        clock_skew,
        "The clocks of host and member agree within 5 s (error beyond 10 s)",
        Answer.ERROR,
        "Have both keep the time.",
        "9",
    ),
    Check(
        jwt_secret,
        "The host has a jwtSecret that can be given to a member",
        Answer.ERROR,
        "Give the host one of letters and digits.",
        "7, P-15",
        waivable=False,
    ),
    Check(
        access_tokens,
        "Nothing keeps the member's access tokens from lasting for ever",
        Answer.ERROR,
        "Take accessTokenMaxAge out of the member's ClusterConfiguration.",
        "8, 10, P-11, P-12",
    ),
    Check(
        tower_address,
        "Tower has an address that agents can use",
        Answer.ERROR,
        "Give the conf proxy_publish_address.",
        "4, P-16, P-17",
        ways=PROXY,
    ),
    Check(
        tower_port,
        "The port in tower's address leads to tower",
        Answer.ERROR,
        "Take the nodePort with a node's address, the Service's port with the LoadBalancer's.",
        "5, P-17",
        ways=PROXY,
    ),
    Check(
        address_change,
        "The conf takes tower's address from no other member",
        Answer.ERROR,
        "Leave proxy_publish_address out, or set replace_proxy_address.",
        "4",
        ways=PROXY,
        waivable=False,
    ),
    Check(
        tower_ports,
        "Tower has given the member's ports to no other member",
        Answer.WARNING,
        "Delete one of the Clusters and join it again.",
        "36",
        ways=PROXY,
    ),
    Check(
        tower_running,
        "Tower runs on a host that is one already",
        Answer.ERROR,
        "Bring it back.",
        "35, P-22, P-37",
    ),
    Check(
        host_processes,
        "kubefed and ks-controller-manager run on a host that is one already",
        Answer.ERROR,
        "Bring them back.",
        "26, 29, P-37",
    ),
    Check(
        host_apiserver,
        "ks-apiserver on the host has a ready pod",
        Answer.WARNING,
        "See the events of its Pods.",
        "33",
    ),
    Check(
        member_apiserver,
        "ks-apiserver on the member has a ready pod",
        Answer.ERROR,
        "See the events of its Pods.",
        "17",
    ),
    Check(
        host_webhook,
        "What the host asks before a Cluster is changed can answer",
        Answer.ERROR,
        "Bring back who answers, or delete the webhook configuration.",
        "27, 28, P-32, P-34",
    ),
)
