"""What the pods of host and member reach: a Job with curl asks, and is gone afterwards.

Whether the host reaches the member is a question about the host's pods, not about Airflow. An answer is a Finding: ok,
warning with the reason, or incomplete with what kept the Job from running. None of them stops a join.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any

from include.fleet import (
    attempts,
    clusters,
    configuring,
    curl,
    errors,
    findings,
    joining,
    kinds,
    kubeconfig,
    kubesphere,
    tunnel,
    waits,
)
from include.fleet import conf as confs

log = logging.getLogger(__name__)

HOST_REACHES_MEMBER = "host-reaches-member"
MEMBER_REACHES_TOWER = "member-reaches-tower"

_LOG_LINES = 50
_AGAIN = 2.0
"""Seconds between two looks at a Job: no change of it tells that its image cannot be pulled."""


async def probes(join: joining.Join) -> list[findings.Finding]:
    """Return what can be found out before anything is written; holds its worker for a minute at most.

    The way to tower is among it where the host is a host already and tower has an address.
    """
    join = replace(join, leave_worker=None)
    asked: list[Awaitable[findings.Finding]] = []
    try:
        prepared = await joining.importable(join.conf)
        if prepared is not None:
            asked.append(from_host(join, curl.target(prepared)))
    except kubeconfig.KubeconfigError as error:
        log.debug("The host could not use the kubeconfig: %s", error)
    if join.conf.connection is not confs.Connection.DIRECT:
        address = await _address(join)
        if address:
            asked.append(from_member(join, address))
    return list(await asyncio.gather(*asked))


async def _address(join: joining.Join) -> str:
    """Return the address at which tower is to be reached, "" as long as there is none, or no tower."""
    config = await configuring.in_force(join.host)
    if config.role != kubesphere.HOST:
        return ""
    return join.conf.proxy_publish_address or await tunnel.address(join.host, config)


def report(found: Sequence[findings.Finding]) -> attempts.Report:
    """Return the part of a step's report that tells of probes."""
    if not found:
        return {}
    told = {finding.check: finding.report for finding in found}
    warnings = [str(finding) for finding in found if finding.answer is not findings.Answer.OK]
    return {"probed": told, **({"warnings": warnings} if warnings else {})}


async def from_host(join: joining.Join, target: curl.Target) -> findings.Finding:
    """Return whether the host's pods reach the member's API server, with a certificate that they accept.

    Raises Longer when the wait has to leave the worker; the Job then stays, and the next attempt goes on with it.
    """
    check, who = HOST_REACHES_MEMBER, "The host's pods"
    command = curl.version_command(target, seconds=join.limits.connect_timeout)
    said, reason = await _run(join, join.host, command, authority=target.authority)
    answer = curl.answers(said).get(curl.VERSION)
    if answer is None:
        return _incomplete(check, who, target.server, reason)
    why, what = curl.trouble(answer)
    if why:
        return findings.warning(check, f"{who} do not get to {target.server}: {why}.", what)
    if not curl.is_api_server(answer):
        evidence = f"{who} reach {target.server}, but what answers there with HTTP {answer.status} is no API server."
        return findings.warning(check, evidence, "Check address and port of the member's API server.")
    checked = "which nobody verifies, as the kubeconfig wants it" if target.insecure else "with a valid certificate"
    evidence = f"{who} reach {target.server}, {checked} (GET /version: HTTP {answer.status})."
    return findings.ok(check, evidence)


async def from_member(join: joining.Join, address: str) -> findings.Finding:
    """Return whether the member's pods reach tower, as an agent does: by a WebSocket (kubesphere-facts 8).

    Raises Longer when the wait has to leave the worker; the Job then stays, and the next attempt goes on with it.
    """
    check, who = MEMBER_REACHES_TOWER, "The member's pods"
    said, reason = await _run(join, join.member, curl.tower_command(address, seconds=join.limits.connect_timeout))
    found = curl.answers(said)
    upgrade, health = found.get(curl.UPGRADE), found.get(curl.HEALTH)
    if upgrade is None or health is None:
        return _incomplete(check, who, f"tower at {address}", reason)
    why, what = curl.trouble(health)
    if why:
        return findings.warning(check, f"{who} do not get to tower at {address}: {why}.", what)
    if health.status != 200 or not curl.is_well(said):
        return findings.warning(
            check,
            f"{who} reach {address}, but something else than tower answers there (GET /health: HTTP {health.status}).",
            "Check port and forwarding: tower listens on 8080 behind its Service, on the nodePort of a node.",
        )
    if upgrade.status != 101:
        answered = f"HTTP {upgrade.status}" if upgrade.status else curl.trouble(upgrade)[0]
        return findings.warning(
            check,
            f"{who} reach tower at {address}, but no WebSocket comes about: {answered}.",
            "Let proxies and firewalls between member and host pass upgrades to WebSockets.",
        )
    evidence = f"{who} reach tower at {address}: it is well and opens a WebSocket."
    return findings.ok(check, evidence)


def _incomplete(check: str, who: str, where: str, reason: str) -> findings.Finding:
    evidence = f"Whether {who[0].lower()}{who[1:]} reach {where} was not found out: {reason.rstrip('.')}."
    fix = "The Job needs the rights for probe in deploy/rbac, and an image that its cluster can pull (probe_image)."
    return findings.incomplete(check, evidence, fix)


async def _run(
    join: joining.Join, cluster: clusters.Cluster, command: list[str], *, authority: str = ""
) -> tuple[str, str]:
    """Run a command in a pod of a cluster; return its log, and why it has none. Nothing of it stays on the cluster."""
    running = _Running(join, cluster, command, authority=authority)
    seconds = join.limits.probe_timeout
    limit = waits.Limit(deadline=time.time() + seconds, leave_worker=join.leave_worker)
    goes_on = False
    try:
        await running.remove_others()
        await waits.until(
            running.look,
            what=f"{running.ref} on the {cluster}",
            bells=[],
            limit=limit,
            seconds=seconds,
            hint="",
            limits=join.limits,
        )
    except waits.Longer:
        goes_on = True
        raise
    except errors.DeadlineError:
        return "", f"{running.ref} has not run within {seconds:.0f} s: {running.seen}"
    except errors.ForbiddenError as error:
        return "", error.lacking or str(error)
    except errors.FleetError as error:
        return "", str(error)
    finally:
        if not goes_on:
            await running.remove()
    return running.said, running.trouble


class _Running:
    """The Job of one probe, looked at until its container has ended."""

    def __init__(self, join: joining.Join, cluster: clusters.Cluster, command: list[str], *, authority: str) -> None:
        image = join.conf.probe_image or join.limits.probe_image
        asked = json.dumps([command, authority, image])
        self.ref = kinds.Ref(kinds.JOB, _name(cluster.role, join.run, join.conf.cluster), kubesphere.NAMESPACE)
        self.said = ""
        self.trouble = ""
        self.seen = "it was not looked at"
        self._cluster = cluster
        self._member = join.conf.cluster
        self._again = min(_AGAIN, join.limits.poll)
        self._question = hashlib.sha256(asked.encode()).hexdigest()[:16]
        self._manifest = curl.job(
            self.ref,
            command,
            member=join.conf.cluster,
            authority=authority,
            image=image,
            question=self._question,
            seconds=join.limits.probe_timeout,
        )
        self._known: set[str] = set()
        """The uids of Jobs that were seen before they had finished."""
        self._may_be_there = False

    async def look(self) -> waits.Pending | None:
        """Return None when there is an answer, or when there will be none; makes the Job where there is none."""
        found = await self._cluster.read(self.ref)
        self._may_be_there = self._may_be_there or found is not None
        if found is None:
            self._known.add(await self._create())
            return self._pending("it has been made")
        uid, over = found["metadata"]["uid"], curl.is_over(found)
        if "deletionTimestamp" in found["metadata"]:
            return self._pending("an earlier one is going away")
        if self._asks_else(found) or (over and uid not in self._known):
            # What an earlier attempt has found out may not be true any more.
            await self._cluster.delete(self.ref, uid=uid)
            return self._pending("an earlier one is going away")
        self._known.add(uid)
        return await self._look_at_pods(uid, over=over)

    async def _look_at_pods(self, uid: str, *, over: str) -> waits.Pending | None:
        selector = f"controller-uid={uid}"
        pods = await self._cluster.list(kinds.POD, namespace=kubesphere.NAMESPACE, label_selector=selector)
        for pod in pods:
            ended = curl.ending(pod)
            if ended:
                ref = kinds.Ref(kinds.POD, pod["metadata"]["name"], kubesphere.NAMESPACE)
                said = self._cluster.redacted(await self._cluster.pod_log(ref, lines=_LOG_LINES))
                self.said = said if curl.answers(said) else ""
                self.trouble = f"the container of {self.ref} ended without an answer of curl ({ended})"
                return None
        if over:
            self.trouble = f"{self.ref} ended without an answer ({over}); last seen: {self.seen}"
            return None
        if not pods:
            return self._pending(f"it has no pod; see the events of {self.ref}")
        seen, stuck = curl.pod_state(pods[0])
        if stuck:
            self.trouble = f"{self.ref}: {self._cluster.redacted(seen)}"
            return None
        return self._pending(self._cluster.redacted(seen))

    async def remove(self) -> None:
        """Take the Job away with its pods."""
        if self._may_be_there:
            await self._remove(self.ref)

    async def remove_others(self) -> None:
        """Take away what probes of this member have left whose run was killed: it is the only run for it."""
        labels = {**curl.COMPONENT, curl.MEMBER_LABEL: self._member}
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        try:
            found = await self._cluster.list(kinds.JOB, namespace=kubesphere.NAMESPACE, label_selector=selector)
        except errors.ForbiddenError as error:
            self._cluster.do_without(error, "What killed probes have left was not looked for")
            return
        except errors.TemporaryError as error:
            log.info("What killed probes have left was not looked for: %s", error)
            return
        for item in found:
            if item["metadata"]["name"] != self.ref.name and "deletionTimestamp" not in item["metadata"]:
                await self._remove(replace(self.ref, name=item["metadata"]["name"]))

    async def _create(self) -> str:
        self._may_be_there = True
        try:
            made = await self._cluster.create(self.ref, self._manifest)
        except errors.ApiRefusedError:
            self._may_be_there = False
            raise
        return str(made["metadata"]["uid"])

    async def _remove(self, ref: kinds.Ref) -> None:
        try:
            await self._cluster.delete(ref)
        except errors.NotFoundError:
            return
        except errors.ForbiddenError as error:
            self._cluster.do_without(error, "The Job of a probe stays until Kubernetes removes it")
        except errors.FleetError as error:
            log.warning("%s on the %s stays until Kubernetes or a later run removes it: %s", ref, self._cluster, error)

    def _asks_else(self, found: dict[str, Any]) -> bool:
        annotations = found["metadata"].get("annotations") or {}
        return annotations.get(curl.QUESTION_ANNOTATION) != self._question

    def _pending(self, seen: str) -> waits.Pending:
        self.seen = seen
        return waits.Pending(seen, again=self._again)


def _name(role: str, run: str, member: str) -> str:
    """Return a name that is the same in each attempt of a run, and in no other run."""
    return f"join-probe-{role}-{hashlib.sha256(f'{run}/{member}'.encode()).hexdigest()[:10]}"
