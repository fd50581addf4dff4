"""The proofs of a join: that the host reaches this very member, and that the jwtSecret is in force there.

Asked of the host's ks-apiserver where that is possible, since a user's requests go the same way; of other witnesses
where it is not.
"""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import re
import time
from dataclasses import dataclass, replace
from typing import Any

import yaml

from include.fleet import clusters, documents, errors, kinds, kubeconfig, kubesphere, membership, refusals, tower, waits

log = logging.getLogger(__name__)

_LOOK_AGAIN = 1.0
"""Seconds after which a ks-apiserver that is loading its configuration is asked again, so much more each time."""
UNASKED = "ks-apiserver was not asked for a proof"
USER = "kapis/iam.kubesphere.io/v1alpha2/users/admin"
"""The path of what everybody who is signed in may read, and nobody else."""


class Proof(enum.Enum):
    """How it was shown that the host reaches this very cluster and that the jwtSecret is in force."""

    FORWARDED = "a request that the host's ks-apiserver forwarded to the member returned the member's own UID"
    TOKEN = "the member's ks-apiserver accepts a token signed with the host's jwtSecret"  # noqa: S105
    ACCEPTED = (
        "the member accepted a request with the host's static token, which the host's ks-apiserver forwarded to it"
    )
    CONFIG = "both ConfigMaps hold the same jwtSecret and have been unchanged long enough to be loaded"


class Identity(enum.Enum):
    """How it was shown that the name leads the host to this very cluster; `Proof` shows it in its first form only."""

    FORWARDED = "a request that the host's ks-apiserver forwarded returned the member's own UID"
    READ = "the host's controller has read the member's own UID, and not long ago"
    KUBECONFIG = "the kubeconfig that the host has leads to the member"
    SERVICE = "the host's service proxy, through tower, returned the member's own UID"
    TOLD = "the cluster that answers under the name returned its UID, and nobody else could ask the member"
    BOTH = "the UID that a forwarded request returned is the one that the host's controller has read"
    TOKENS = "the token that the host has for the member is that of the member's own service account"


@dataclass(frozen=True)
class Behind:
    """Which cluster the name of a Cluster leads to."""

    uid: str
    """Its kube-system UID, or "" where that cannot be told."""
    evidence: str
    """How that was seen, or why it cannot be told."""
    answers: bool = False
    """Whether it has answered just now, by a request that the host forwarded."""


async def behind(host: clusters.Cluster, name: str, *, cluster: kubesphere.Object | None = None) -> Behind:
    """Find out which cluster the host reaches under a name that exists, whatever its Cluster says of itself.

    Two members that share a tower port, or a Service or an address that leads elsewhere, show here and nowhere else.
    *cluster* is the Cluster if it has just been read. Nothing is raised for what cannot be asked.
    """
    cluster = cluster or await host.read(kinds.Ref(kinds.CLUSTER, name))
    if cluster is None:
        return Behind("", f"there is no Cluster {name} on the {host}")
    read = kubesphere.member_uid(cluster)
    why = "it is not Ready"
    if kubesphere.is_true(cluster, kubesphere.READY):
        answer = await _forwarded(host, name, await static_token(host))
        if answer.uid:
            return Behind(answer.uid, "a request that the host's ks-apiserver forwarded returned it", answers=True)
        why = answer.unreachable or answer.pending
    if read:
        seen = kubesphere.condition(cluster, kubesphere.READY).get("lastUpdateTime") or "an unknown time"
        return Behind(
            read, f"the host's controller read it, at {seen} for the last time; no request was forwarded: {why}"
        )
    return Behind("", f"the host does not tell, and no request was forwarded: {why}")


async def static_token(host: clusters.Cluster, *others: clusters.Cluster) -> str | None:
    """Return the static token of a cluster, most often the host; None if it may not be read.

    It is a root credential, read for this request and forgotten. It is kept secret on that cluster and on *others*.
    """
    try:
        token = kubesphere.secret_value(await host.read(kubesphere.SECRET), "token")
    except errors.ForbiddenError as error:
        host.do_without(error, f"{UNASKED}, which takes the token in Secret {kubesphere.SECRET.name}")
        return None
    for side in (host, *others):
        await side.keep_secret(token)
    return token


@dataclass(frozen=True)
class _Answer:
    """What a question to a ks-apiserver gave; a proof if neither of the first two is set."""

    pending: str = ""
    """Not yet, and why."""
    unreachable: str = ""
    """No way to know, and why."""
    passing: bool = False
    """Whether that is likely to pass: ks-apiserver refuses connections while it reloads."""
    uid: str = ""
    """The identity of the cluster that has answered, if it was asked for."""


class _Look:
    """What the looks at a Ready member have in common: who joins whom, and what has been proven of it so far."""

    def __init__(self, joining: membership.Membership, proof: Proof) -> None:
        self._joining = joining
        self._host, self._limits = joining.host, joining.limits
        self._asked = 0
        """How often a ks-apiserver was asked since the Cluster was last not as it must be."""
        self.proof = proof
        self.identity: Identity | None = None
        self.not_seen: list[str] = []
        """What could not be looked at, a sentence each."""

    @property
    def proven(self) -> membership.Membership:
        """Return who has joined whom, with the UID that was proven."""
        return self._joining

    async def _cluster(self) -> dict[str, Any]:
        """Return the Cluster on the host; raises VerificationError if it is gone."""
        cluster = await self._host.read(self._joining.ref)
        if cluster is None:
            raise errors.VerificationError(f"{self._joining.ref} is gone from the {self._host}.")
        return cluster

    def _not_ready(self, why: str) -> waits.Pending:
        """Return that the Cluster is not as it must be: its controller looks again in a while."""
        self._asked = 0
        return waits.Pending(why, self._joining.resync)

    def _not_proven(self, why: str) -> waits.Pending:
        """Return that a ks-apiserver does not prove it yet: soon again, and later each time."""
        return waits.Pending(why, min(_LOOK_AGAIN * self._asked, self._limits.poll))


class ProofLook(_Look):
    """The looks at a Ready member until role, secret, identity and connection are proven.

    A check that fails once is looked at again: right after Ready the controller writes into the member's
    ConfigMap, ks-apiserver reloads, and forwarded requests fail for a moment (kubesphere-facts 7.6).
    """

    def __init__(self, joining: membership.Membership) -> None:
        super().__init__(joining, Proof.CONFIG)
        self._member = joining.member
        self._unchanged: tuple[object, float] = (None, time.monotonic())
        self._passing_since: float | None = None

    async def look(self) -> waits.Pending | None:
        """Compare once, and ask a ks-apiserver; without one that proves the identity, ask others for it."""
        cluster = await self._cluster()
        pending = await self._compare(cluster)
        if pending:
            return self._not_ready(pending)
        token = await static_token(self._host, self._member)
        answer = await _forwarded(self._host, self._joining.name, token)
        self.proof, self.identity = Proof.FORWARDED, Identity.FORWARDED
        if answer.uid and answer.uid != self._joining.uid:
            raise self._elsewhere(f"The host's ks-apiserver forwards requests for {self._joining.name}", answer.uid)
        if answer.unreachable and not self._passes(answer):
            log.info("No forwarded request possible: %s", answer.unreachable)
            answer = await self._probe(token)
            self.proof, self.identity = Proof.TOKEN, None
        quiet = time.monotonic() - self._unchanged[1]
        if answer.unreachable and not self._passes(answer) and quiet >= self._limits.quiet:
            self.proof, answer = Proof.CONFIG, _Answer()
        text = answer.pending or answer.unreachable
        if not text and self.identity is None:
            text = await self._identify(cluster)
        self._asked += 1
        return self._not_proven(text) if text else None

    def _passes(self, answer: _Answer) -> bool:
        """Tell whether to ask again instead of doing with less: a reload takes seconds."""
        if not answer.passing:
            return False
        self._passing_since = self._passing_since or time.monotonic()
        return time.monotonic() - self._passing_since < self._limits.failed_after

    async def _compare(self, cluster: dict[str, Any]) -> str:
        """Compare the objects; return what is not as it must be, or ""."""
        text = self._joining.readiness(cluster)
        if text:
            return text
        found = []
        for side in (self._host, self._member):
            config_map = await side.get(kubesphere.CONFIG)
            config = kubesphere.config(config_map)
            if config is None:
                return f"ConfigMap {kubesphere.CONFIG.name} of the {side} holds no usable {kubesphere.CONFIG_KEY}"
            await side.keep_secret(config.jwt_secret)
            found.append((config, config_map["metadata"]["resourceVersion"]))
        (host, host_version), (member, member_version) = found
        if (host_version, member_version) != self._unchanged[0]:
            self._unchanged = ((host_version, member_version), time.monotonic())
        if not host.jwt_secret or host.jwt_secret != member.jwt_secret:
            return "the jwtSecret of host and member differ"
        if host.role != kubesphere.HOST:
            return f"the role of the host is {host.role or 'none'}, not {kubesphere.HOST}"
        if member.role != kubesphere.MEMBER:
            return f"the role of the member is {member.role or 'none'}, not {kubesphere.MEMBER}"
        return ""

    def _elsewhere(self, who: str, uid: str) -> errors.VerificationError:
        return errors.VerificationError(
            f"{who} to another cluster: kube-system UID {uid} instead of {self._joining.uid}. Check the server in the "
            "Cluster's kubeconfig; by proxy, whether another Cluster has the same spec.connection."
            "kubernetesAPIServerPort."
        )

    async def _probe(self, token: str | None) -> _Answer:
        """Ask the member's ks-apiserver whether it takes a token of the host (kubesphere-facts 7.1)."""
        return await _takes(self._member, token, who="the member's ks-apiserver")

    # The secret alone proves no identity: two members of one host share it.

    async def _identify(self, cluster: dict[str, Any]) -> str:
        """Prove the identity without a forwarded request; return why that cannot be done, or "".

        From 3.3 on the host's controller writes what it has read over its own way to the member, and `_compare` has
        seen to it that this is the member's UID and fresh (kubesphere-facts 12.3, 6.9). Before, others know
        (kubesphere-facts 12.4).
        """
        if self._joining.release.tells_identity:
            self.identity = Identity.READ
            return ""
        by_proxy = kubesphere.connection_type(cluster) == "proxy"
        reasons = [await (self._ask_service() if by_proxy else self._ask_kubeconfig(cluster))]
        if self.identity is None:
            reasons.append(await self._compare_tokens())
        if self.identity is not None:
            return ""
        return (
            f"nobody proves that Cluster {self._joining.name} is this member, and no request was forwarded: "
            + "; ".join(reasons)
        )

    def _judge(self, found: str, identity: Identity, who: str) -> None:
        if found != self._joining.uid:
            raise self._elsewhere(who, found)
        self.identity = identity

    async def _ask_kubeconfig(self, cluster: dict[str, Any]) -> str:
        """Go where the host goes; that it is the same place is shown by the authority in the kubeconfig."""
        text = kubesphere.cluster_kubeconfig(cluster)
        try:
            document = documents.load(text)
            server = kubeconfig.server(text)
            taken = kubeconfig.self_contained(document, context=None, server=server, read_file=_no_file)
        except (yaml.YAMLError, kubeconfig.KubeconfigError):
            return "the Cluster's kubeconfig cannot be used outside the host"
        (entry,) = taken.document["clusters"]
        if not entry["cluster"].get("certificate-authority-data"):
            return "the Cluster's kubeconfig names no authority by which its server can be known"
        try:
            async with clusters.connect_by(taken.document, role=kubesphere.MEMBER, limits=self._limits) as reached:
                found = (await reached.get(kubesphere.IDENTITY))["metadata"]["uid"]
        except errors.FleetError as error:
            log.debug("The Cluster's kubeconfig cannot be asked: %s", self._host.redacted(str(error)))
            return f"Airflow does not reach {taken.server}, where the Cluster's kubeconfig leads, or is refused there"
        self._judge(found, Identity.KUBECONFIG, f"The kubeconfig in Cluster {self._joining.name} leads")
        return ""

    async def _ask_service(self) -> str:
        """Ask the API server at tower's end of the tunnel, through the host's service proxy.

        That proxy does not look at certificates, so that two members which share a port are told apart by what
        answers.
        """
        service = tower.service_name(self._joining.name)
        base = f"/api/v1/namespaces/{kubesphere.NAMESPACE}/services/https:{service}:6443/proxy"
        path = f"{base}{kubesphere.IDENTITY.path}"
        try:
            status, body = await self._host.proxied(path, what=f"Service {service}")
        except errors.ForbiddenError as error:
            self._host.do_without(error, f"Service {service} was not asked which member is behind it")
            return error.lacking
        found = _uid(body) if status == 200 else ""
        if not found:
            return _unanswered(f"Service {service} of the host", status, body).unreachable
        self._judge(found, Identity.SERVICE, f"Service {service} of the host leads")
        return ""

    async def _compare_tokens(self) -> str:
        """Compare what the host keeps of the member with what the member has: the host got it over its own way."""
        name = self._joining.name
        theirs = kinds.Ref(kinds.SECRET, f"{name}-secret", kubesphere.FEDERATION_NAMESPACE)
        account = kubesphere.member_account(name)
        loss = "The token that the host has for the member was not compared with the member's own"
        try:
            kept = kubesphere.secret_value(await self._host.read(theirs), "token")
        except errors.ForbiddenError as error:
            self._host.do_without(error, loss)
            return error.lacking
        own = []
        try:
            for reference in (await self._member.read(account) or {}).get("secrets") or []:
                ref = kinds.Ref(kinds.SECRET, reference["name"], kubesphere.FEDERATION_NAMESPACE)
                own.append(kubesphere.secret_value(await self._member.read(ref), "token"))
        except errors.ForbiddenError as error:
            self._member.do_without(error, loss)
            return error.lacking
        for side in (self._host, self._member):
            await side.keep_secret(kept, *own)
        if kept and kept in own:
            self.identity = Identity.TOKENS
            return ""
        return f"the token in {theirs} of the host is not that of {account} of the member"


class HostLook(_Look):
    """The looks at a Ready member that only the host reaches, until secret, role and identity are proven through it.

    A request that the host's ks-apiserver forwards with the host's static token is taken by a member with the same
    jwtSecret only, and returns the member's UID (kubesphere-facts 7.6). That token cannot test the role: so the
    member's ConfigMap is read the same way. Of a namespace that was seen on real components, of a ConfigMap it is
    inferred; where it is refused, `not_seen` says so.
    """

    def __init__(self, joining: membership.Membership, host_uid: str) -> None:
        super().__init__(joining, Proof.ACCEPTED)
        self._host_uid = host_uid

    async def look(self) -> waits.Pending | None:
        """Compare what the host has, ask the member through it, and compare what the member says."""
        name, self.not_seen = self._joining.name, []
        cluster = await self._cluster()
        text = self._joining.readiness(cluster)
        if text:
            return self._not_ready(text)
        own = kubesphere.config(await self._host.get(kubesphere.CONFIG))
        await self._host.keep_secret(own.jwt_secret if own else None)
        if own is None or own.role != kubesphere.HOST or not own.jwt_secret:
            return waits.Pending(f"ConfigMap {kubesphere.CONFIG.name} of the {self._host} is not that of a host")
        self._asked += 1
        token = await static_token(self._host)
        answer = await _forwarded(self._host, name, token)
        if not answer.uid:
            return self._not_proven(answer.pending or answer.unreachable)
        self._judge(answer.uid, told=kubesphere.member_uid(cluster))
        text, config = await self._member_config(token, own)
        if text:
            return self._not_proven(text)
        self._joining = replace(self._joining, uid=answer.uid, member_config=config)
        return None

    def _judge(self, uid: str, *, told: str) -> None:
        """Raise VerificationError unless *uid* is that of one member, and of no other cluster that is known."""
        name, wanted = self._joining.name, self._joining.uid
        wrong = ""
        if uid == self._host_uid:
            wrong = "the host itself"
        elif wanted and uid != wanted:
            wrong = f"another cluster than an earlier run has joined, kube-system UID {wanted}"
        elif told and uid != told:
            wrong = f"another cluster than the host's controller, which has read kube-system UID {told}"
        if wrong:
            raise errors.VerificationError(
                f"The host's ks-apiserver forwards requests for {name} to {wrong}: kube-system UID {uid}. Was the file "
                "run on the right cluster? If so, see whether another Cluster has the same "
                "spec.connection.kubernetesAPIServerPort."
            )
        self.identity = Identity.BOTH if told else Identity.TOLD

    async def _member_config(self, token: str | None, own: kubesphere.Config) -> tuple[str, kubesphere.Config | None]:
        """Return what in the member's ConfigMap is not as it must be, or "", and the ConfigMap, if it can be read."""
        ref = kubesphere.CONFIG
        path = f"{kubesphere.API_SERVER}/api/clusters/{self._joining.name}/{ref.path.removeprefix('/api/')}"
        status, body, answer = await _ask(self._host, path, token)
        if answer is not None:
            return answer.pending or answer.unreachable, None
        if status >= 500:
            return _unanswered("the host's ks-apiserver", status, body).unreachable, None
        config = kubesphere.config(_document(body)) if status == 200 else None
        if config is None:
            self.not_seen.append(f"The role in {ref} of the member was not seen: the host was answered {status}.")
            return "", None
        await self._host.keep_secret(config.jwt_secret)
        if config.jwt_secret != own.jwt_secret:
            return "the jwtSecret of host and member differ", None
        if config.role != kubesphere.MEMBER:
            return f"the role of the member is {config.role or 'none'}, not {kubesphere.MEMBER}", None
        return "", config


async def not_loaded(side: clusters.Cluster, token: str | None) -> str | None:
    """Return why the ks-apiserver of *side* has not loaded the jwtSecret that signed *token*, "" if it has.

    None where it cannot be asked, nor will be in a moment: that says nothing.
    """
    answer = await _takes(side, token, who="ks-apiserver")
    if answer.unreachable and not answer.passing:
        return None
    return answer.pending or answer.unreachable


async def _takes(side: clusters.Cluster, token: str | None, *, who: str) -> _Answer:
    status, body, answer = await _ask(side, f"{kubesphere.API_SERVER}/{USER}", token)
    if answer is not None:
        return answer
    # Any answer of ks-apiserver itself to a signed token but "signature is invalid" proves the secret.
    spoke = status == 200 or (status == 401 and "Unauthorized: " in body)
    return _Answer() if spoke else _unanswered(who, status, body)


async def _forwarded(host: clusters.Cluster, name: str, token: str | None) -> _Answer:
    """Ask the host's ks-apiserver for the identity of a member (kubesphere-facts 7.6)."""
    path = f"{kubesphere.API_SERVER}/api/clusters/{name}/v1/namespaces/{kubesphere.IDENTITY.name}"
    status, body, answer = await _ask(host, path, token)
    if answer is not None:
        return answer
    if status != 200:
        return _unanswered("the host's ks-apiserver", status, body)
    found = _uid(body)
    return _Answer(uid=found) if found else _Answer(unreachable="its answer is no Namespace")


async def _ask(side: clusters.Cluster, path: str, token: str | None) -> tuple[int, str, _Answer | None]:
    """Return status and body, and an answer if these decide it for any kind of request."""
    if token is None:
        return 0, "", _Answer(unreachable="the host's static token may not be read or is not there")
    try:
        status, body = await side.proxied(path, what="ks-apiserver", headers=signed(token))
    except errors.ForbiddenError as error:
        side.do_without(error, UNASKED)
        return 0, "", _Answer(unreachable=error.lacking)
    if status == 401 and "signature is invalid" in body:
        return status, body, _Answer(pending="a ks-apiserver has not loaded the jwtSecret yet")
    if status == 500 and re.search(r"cluster \S+ is not ready", body):
        return status, body, _Answer(pending="the host's ks-apiserver does not see the member as ready yet")
    return status, body, None


def signed(token: str) -> dict[str, str]:
    """Return the headers of a request to ks-apiserver behind a service proxy."""
    return {kubesphere.API_TOKEN_HEADER: f"Bearer {token}"}


def _uid(body: str) -> str:
    """Return the UID of the object in an answer, "" if there is none."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["metadata"]["uid"])
    return ""


def _document(body: str) -> dict[str, Any]:
    """Return an object that was answered, {} if it is none."""
    with contextlib.suppress(ValueError):
        found = json.loads(body)
        return found if isinstance(found, dict) else {}
    return {}


def _unanswered(who: str, status: int, body: str) -> _Answer:
    said = refusals.status_message(body)[:200]
    text = f"{who} cannot be asked: {status}" + (f" {said}" if said else "")
    return _Answer(unreachable=text, passing=status >= 500)


def _no_file(name: str) -> bytes:
    raise FileNotFoundError(name)
