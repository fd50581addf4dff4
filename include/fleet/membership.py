"""Whether the member cluster is joined: by the host's word, and by proof.

The host's word is weak: Ready says nothing about role and jwtSecret (kubesphere-facts 6.6), so a join is
done when these, the identity and the connection have been compared.
"""

from __future__ import annotations

import datetime
import enum
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.fleet import clusters, errors, kinds, kubesphere, settings, tower, tunnel, waits

log = logging.getLogger(__name__)

_STALE = 2.5
_PATIENCE = 3
"""In resync periods (kubesphere-facts 12.3)."""

_LASTING = 2.0
"""Seconds after which it is worth a question why a Cluster is not Ready: most often that passes at once."""
_LOOK_AGAIN = 1.0
"""Seconds after which a ks-apiserver that is loading its configuration is asked again, so much more each time."""

_UNASKED = "ks-apiserver was not asked for a proof"
_USER = "kapis/iam.kubesphere.io/v1alpha2/users/admin"


class Proof(enum.Enum):
    """How it was shown that the host reaches this very cluster and that the jwtSecret is in force."""

    FORWARDED = "a request that the host's ks-apiserver forwarded to the member returned the member's own UID"
    TOKEN = "the member's ks-apiserver accepts a token signed with the host's jwtSecret"  # noqa: S105
    CONFIG = "both ConfigMaps hold the same jwtSecret and have been unchanged long enough to be loaded"


def readiness(
    cluster: kubesphere.Object, *, uid: str, now: datetime.datetime, resync: float, release: kubesphere.Release
) -> str:
    """Return why a Cluster is not Ready for certain, or "" (kubesphere-facts 12.3).

    *uid* is the member's kube-system UID, *resync* the seconds between two looks of the host's controller,
    *release* the host's. An AgentAvailable that is True proves little: it stays when tower dies.
    Raises NotReadyError where waiting is useless.
    """
    _stop_if_hopeless(cluster, uid=uid)
    seen = kubesphere.member_uid(cluster)
    federated = kubesphere.condition(cluster, kubesphere.FEDERATED)
    ready = kubesphere.condition(cluster, kubesphere.READY)
    if kubesphere.connection_type(cluster) == "proxy":
        for kind in (tower.INITIALIZED, tower.AGENT_AVAILABLE):
            if not kubesphere.is_true(cluster, kind):
                return _untrue(kubesphere.condition(cluster, kind), kind)
    for condition, kind in ((federated, kubesphere.FEDERATED), (ready, kubesphere.READY)):
        if condition.get("status") != "True":
            return _untrue(condition, kind)
    unread = release.tells_identity and not seen
    if unread or not (cluster.get("status") or {}).get("kubernetesVersion"):
        return "Ready is True, but the host has not read the member's version and identity yet"
    updated = datetime.datetime.fromisoformat(ready.get("lastUpdateTime") or "1970-01-01T00:00:00Z")
    if release.refreshes_conditions and (now - updated).total_seconds() > _STALE * resync:
        return f"Ready is True, but has not been refreshed since {updated:%Y-%m-%d %H:%M:%SZ}"
    return ""


def _stop_if_hopeless(cluster: kubesphere.Object, *, uid: str) -> None:
    """Raise for what no waiting mends."""
    name = cluster["metadata"]["name"]
    federated = kubesphere.condition(cluster, kubesphere.FEDERATED)
    if str(federated.get("reason", "")).startswith("The workspace "):
        raise errors.NotReadyError(
            f"Cluster {name} cannot join the federation, and waiting changes nothing: {federated['reason']}."
        )
    if kubesphere.HOST_LABEL in (cluster["metadata"].get("labels") or {}):
        raise errors.NotReadyError(
            f"The host takes Cluster {name} for itself: it has put the label {kubesphere.HOST_LABEL} on it."
        )
    seen = kubesphere.member_uid(cluster)
    if seen and seen != uid:
        raise errors.NotReadyError(
            f"The host reaches another cluster under the name {name}: kube-system UID {seen} instead of {uid}."
        )


def _untrue(condition: Mapping[str, str], kind: str) -> str:
    if not condition:
        return f"it has no condition {kind} yet"
    return f"{kind} is {condition.get('status')}: {condition.get('reason') or condition.get('message')}"


@dataclass(frozen=True)
class Membership:
    """What the looks below have in common: who is to be a member of whom."""

    host: clusters.Cluster
    member: clusters.Cluster
    name: str
    uid: str
    """The member's kube-system UID."""
    resync: float
    """Seconds between two looks of the host's controller at a Cluster."""
    release: kubesphere.Release
    """The host's."""
    limits: settings.Settings

    @property
    def ref(self) -> kinds.Ref:
        """Return the Cluster on the host."""
        return kinds.Ref(kinds.CLUSTER, self.name)

    def readiness(self, cluster: kubesphere.Object) -> str:
        """Return why the Cluster is not Ready for certain, redacted, or ""."""
        now = datetime.datetime.now(datetime.UTC)
        text = readiness(cluster, uid=self.uid, now=now, resync=self.resync, release=self.release)
        return self.host.redacted(text)


class ReadyLook:
    """The looks at one Cluster until it is Ready; give up where no more looking helps."""

    def __init__(self, joining: Membership) -> None:
        self._joining = joining
        self._told: tuple[str, float] = ("", time.monotonic())
        """What the Cluster itself says, and since when."""
        self._since: tuple[str, float] = ("", time.monotonic())

    async def look(self) -> waits.Pending | None:
        """Look once at the Cluster."""
        joining = self._joining
        cluster = await joining.host.read(joining.ref)
        if cluster is None or "deletionTimestamp" in cluster["metadata"]:
            raise errors.NotReadyError(
                f"{joining.ref} on the {joining.host} was deleted while it was waited for. "
                "Clear import_cluster to import it again."
            )
        text = joining.readiness(cluster)
        if not text:
            return None
        explains = kubesphere.connection_type(cluster) == "proxy" or joining.release.tells_failures_by_event
        if text != self._told[0]:
            self._told = (text, time.monotonic())
        passing = _LASTING - (time.monotonic() - self._told[1])
        if explains and passing > 0:
            return waits.Pending(text, passing)
        text += await self._explained(cluster)
        self._give_up(cluster, text)
        # The Cluster is watched, what explains it is not. Without an explanation only time brings something new:
        # what to give up, and which word of the host has become old.
        return waits.Pending(text, joining.limits.slow_poll if explains else joining.resync)

    async def _explained(self, cluster: dict[str, Any]) -> str:
        """Return what else tells why: the agent's log, or the host's Events."""
        joining = self._joining
        if kubesphere.connection_type(cluster) == "proxy":
            if kubesphere.is_true(cluster, tower.AGENT_AVAILABLE):
                return ""
            said = await tunnel.agent_says(joining.member)
            return f"; {said}" if said else ""
        if not joining.release.tells_failures_by_event:
            return ""
        try:
            events = await joining.host.list(
                kinds.EVENT, namespace="default", field_selector=f"involvedObject.name={joining.name}"
            )
        except errors.ForbiddenError as error:
            joining.host.do_without(error, "The host's Events, which tell why it cannot join a member, were not read")
            return ""
        told = [item for item in events if item.get("reason") == "JoinFederation" and item.get("type") == "Warning"]
        newest = max(told, key=lambda item: str(item.get("lastTimestamp") or ""), default=None)
        return f"; the host says: {joining.host.redacted(str(newest['message']))}" if newest else ""

    def _give_up(self, cluster: dict[str, Any], text: str) -> None:
        """Raise if the same failure has lasted so long that the host will not get over it by itself."""
        joining = self._joining
        if text != self._since[0]:
            self._since = (text, time.monotonic())
        lasted = time.monotonic() - self._since[1]
        proxy = kubesphere.connection_type(cluster) == "proxy"
        if proxy and not kubesphere.conditions(cluster) and lasted >= _PATIENCE * joining.resync:
            raise errors.NotReadyError(
                f"Nobody has initialised the proxy Cluster {joining.name} on the {joining.host} in {lasted:.0f} s."
            )
        if not proxy and not kubesphere.conditions(cluster) and "the host says" not in text:
            self._give_up_without_conditions(cluster, lasted)
        federated = kubesphere.condition(cluster, kubesphere.FEDERATED)
        failed = federated.get("status") == "False" or "the host says" in text
        if not proxy and failed and lasted >= _PATIENCE * joining.resync:
            raise errors.NotReadyError(
                f"The {joining.host} cannot reach or join Cluster {joining.name}, the same for {lasted:.0f} s: {text}."
            )

    def _give_up_without_conditions(self, cluster: dict[str, Any], lasted: float) -> None:
        joining = self._joining
        if cluster["metadata"].get("finalizers"):
            if lasted >= joining.resync:
                raise errors.NotReadyError(
                    f"The host's controller has taken up Cluster {joining.name} and written no condition in "
                    f"{lasted:.0f} s."
                )
        elif lasted >= _PATIENCE * joining.resync:
            raise errors.NotReadyError(
                f"The host's controller has not touched Cluster {joining.name} on the {joining.host} in {lasted:.0f} s."
            )


@dataclass(frozen=True)
class _Answer:
    """What a question to a ks-apiserver gave; a proof if nothing is set."""

    pending: str = ""
    """Not yet, and why."""
    unreachable: str = ""
    """No way to know, and why."""
    passing: bool = False
    """Whether that is likely to pass: ks-apiserver refuses connections while it reloads."""


class ProofLook:
    """The looks at a Ready member until role, secret, identity and connection are proven.

    A check that fails once is looked at again: right after Ready the controller writes into the member's
    ConfigMap, ks-apiserver reloads, and forwarded requests fail for a moment (kubesphere-facts 7.6).
    """

    def __init__(self, joining: Membership) -> None:
        self._joining = joining
        self._host, self._member, self._limits = joining.host, joining.member, joining.limits
        self._unchanged: tuple[object, float] = (None, time.monotonic())
        self._passing_since: float | None = None
        self._asked = 0
        self.proof = Proof.CONFIG

    async def look(self) -> waits.Pending | None:
        """Compare once, and ask a ks-apiserver."""
        pending = await self._compare()
        if pending:
            self._asked = 0
            return waits.Pending(pending, self._joining.resync)
        token = await self._token()
        answer = await self._forwarded(token)
        self.proof = Proof.FORWARDED
        if answer.unreachable and not self._passes(answer):
            log.info("No forwarded request possible: %s", answer.unreachable)
            answer = await self._probe(token)
            self.proof = Proof.TOKEN
        quiet = time.monotonic() - self._unchanged[1]
        if answer.unreachable and not self._passes(answer) and quiet >= self._limits.quiet:
            self.proof = Proof.CONFIG
            return None
        text = answer.pending or answer.unreachable
        self._asked += 1
        return waits.Pending(text, min(_LOOK_AGAIN * self._asked, self._limits.poll)) if text else None

    def _passes(self, answer: _Answer) -> bool:
        """Tell whether to ask again instead of doing with less: a reload takes seconds."""
        if not answer.passing:
            return False
        self._passing_since = self._passing_since or time.monotonic()
        return time.monotonic() - self._passing_since < self._limits.failed_after

    async def _compare(self) -> str:
        """Compare the objects; return what is not as it must be, or ""."""
        cluster = await self._host.read(self._joining.ref)
        if cluster is None:
            raise errors.VerificationError(f"{self._joining.ref} is gone from the {self._host}.")
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

    async def _token(self) -> str | None:
        """Return the host's static token: a root credential, read for this request and forgotten."""
        try:
            token = kubesphere.secret_value(await self._host.read(kubesphere.SECRET), "token")
        except errors.ForbiddenError as error:
            self._host.do_without(error, f"{_UNASKED}, which takes the token in Secret {kubesphere.SECRET.name}")
            return None
        for side in (self._host, self._member):
            await side.keep_secret(token)
        return token

    async def _forwarded(self, token: str | None) -> _Answer:
        """Ask the host's ks-apiserver for the member's identity (kubesphere-facts 7.6)."""
        path = f"{kubesphere.API_SERVER}/api/clusters/{self._joining.name}/v1/namespaces/{kubesphere.IDENTITY.name}"
        status, body, answer = await self._ask(self._host, path, token)
        if answer is not None:
            return answer
        if status != 200:
            return _unanswered("the host's ks-apiserver", status, body)
        try:
            uid = json.loads(body)["metadata"]["uid"]
        except (ValueError, KeyError, TypeError):
            return _Answer(unreachable="its answer is no Namespace")
        if uid != self._joining.uid:
            raise errors.VerificationError(
                f"The host's ks-apiserver forwards requests for {self._joining.name} to another cluster: kube-system "
                f"UID {uid} instead of {self._joining.uid}."
            )
        return _Answer()

    async def _probe(self, token: str | None) -> _Answer:
        """Ask the member's ks-apiserver whether it takes a token of the host (kubesphere-facts 7.1)."""
        status, body, answer = await self._ask(self._member, f"{kubesphere.API_SERVER}/{_USER}", token)
        if answer is not None:
            return answer
        # Any answer of ks-apiserver itself to a signed token but "signature is invalid" proves the secret.
        spoke = status == 200 or (status == 401 and "Unauthorized: " in body)
        return _Answer() if spoke else _unanswered("the member's ks-apiserver", status, body)

    async def _ask(self, side: clusters.Cluster, path: str, token: str | None) -> tuple[int, str, _Answer | None]:
        """Return status and body, and an answer if these decide it for any kind of request."""
        if token is None:
            return 0, "", _Answer(unreachable=f"the static token of the {self._host} may not be read")
        headers = {kubesphere.API_TOKEN_HEADER: f"Bearer {token}"}
        try:
            status, body = await side.proxied(path, what="ks-apiserver", headers=headers)
        except errors.ForbiddenError as error:
            side.do_without(error, _UNASKED)
            return 0, "", _Answer(unreachable=error.lacking)
        if status == 401 and "signature is invalid" in body:
            return status, body, _Answer(pending="a ks-apiserver has not loaded the jwtSecret yet")
        if status == 500 and re.search(r"cluster \S+ is not ready", body):
            return (
                status,
                body,
                _Answer(pending="the host's ks-apiserver does not see the member as ready yet"),
            )
        return status, body, None


def _unanswered(who: str, status: int, body: str) -> _Answer:
    said = clusters.status_message(body)[:200]
    text = f"{who} cannot be asked: {status}" + (f" {said}" if said else "")
    return _Answer(unreachable=text, passing=status >= 500)
