"""Whether the member cluster is joined, by the host's word.

That is weak: Ready says nothing about role and jwtSecret (kubesphere-facts 6.6). The proofs are in `proofs`.
"""

from __future__ import annotations

import datetime
import logging
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


def readiness(
    cluster: kubesphere.Object, *, uid: str, now: datetime.datetime, resync: float, release: kubesphere.Release
) -> str:
    """Return why a Cluster is not Ready for certain, or "" (kubesphere-facts 12.3).

    *uid* is the member's kube-system UID, "" where nobody has proven it yet, *resync* the seconds between two looks of
    the host's controller, *release* the host's. An AgentAvailable that is True proves little: it stays when tower dies.
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
    if kubesphere.is_host(cluster):
        raise errors.NotReadyError(
            f"The host takes Cluster {name} for itself: it has put the label {kubesphere.HOST_LABEL} on it."
        )
    seen = kubesphere.member_uid(cluster)
    if uid and seen and seen != uid:
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
    """The member's kube-system UID; "" where only the host can ask the member, and has not proven it yet."""
    resync: float
    """Seconds between two looks of the host's controller at a Cluster."""
    release: kubesphere.Release
    """The host's."""
    limits: settings.Settings
    member_config: kubesphere.Config | None = None
    """What is in force on the member, where it was read through the host."""

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
            if isinstance(joining.member, clusters.Unreached):
                return (
                    f"; what its agent says, only the member shows: kubectl -n {kubesphere.NAMESPACE} logs "
                    f"deployment/{tower.AGENT.name}"
                )
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
