"""ks-installer's runs: whether one has done what is asked for, is at it, or has given up.

An object decides, the installer's queue tells "not yet" from "gave up", and its log only explains
(kubesphere-facts 12).
"""

from __future__ import annotations

import contextlib
import datetime
import enum
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from include.fleet import clusters, errors, kinds, kubesphere, settings, waits

log = logging.getLogger(__name__)

_QUEUE_PORT = 9115
_LOG_LINES = 3000
_CRASHES = 5
"""A hook that failed this often in a row is retried every 5 s for ever (kubesphere-facts 2.2)."""

_RUN_BEGINS = "Running hook 'kubesphere/installRunner.py'"
_RUN_SUCCEEDED = "Welcome to KubeSphere!"
_HOOK_FAILED = re.compile(r"installRunner\.py' .*failed\. Will retry after delay\. Failed count is (\d+)")
_TELLING = re.compile(
    r"fatal:|failed=[1-9]|^Task '.+' failed:|Failed to ansible-playbook|Will retry after delay"
    r"|was not found !|is not supported|Traceback|Error:"
)
_FORMER = ("jwtSecret", "secretInForce")
_LOOKS_SECRET = re.compile(r"(?i)((?:secret|token|password)\w*[\"']?\s*[=:]\s*[\"']?)([^\s\"',}]{4,})")


class Activity(enum.Enum):
    """What the installer is doing, as far as it can be told."""

    RUNNING = "running"
    IDLE = "idle"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class State:
    """One look at a cluster and its installer."""

    configuration: dict[str, Any]
    config: kubesphere.Config | None
    trust: kubesphere.Trust
    unmet: str
    """What the installer has not done yet of what is asked for, or ""."""
    following: str = ""
    """What has yet to follow on a host once the installer has done its work, or ""."""
    missing: Sequence[str] = ()
    """Deployments that are gone from a host, which no run restores."""


async def wait(
    cluster: clusters.Cluster,
    *,
    attempt: str,
    limit: waits.Limit,
    seconds: float,
    limits: settings.Settings,
    written: list[str],
) -> None:
    """Wait until ks-installer on *cluster* has done all that is asked for and is idle.

    A run that ended without that is not repeated by itself, so one new run is forced (kubesphere-facts 2.2,
    12.2), once for each *attempt*; that is added to *written*. Raises InstallerFailedError when that one fails
    too, DeadlineError after *seconds*, Longer when the wait has to leave the worker.
    """
    follower = _Follower(cluster, attempt, limits, written)
    bells = [(cluster, kubesphere.CONFIGURATION), (cluster, kubesphere.CONFIG)]
    if cluster.role == kubesphere.HOST:
        # The usual name of a host's own Cluster; under another name it is seen at the next look.
        bells.append((cluster, kinds.Ref(kinds.CLUSTER, kubesphere.HOST)))
    await waits.until(
        follower.look,
        what=f"ks-installer on the {cluster}",
        bells=bells,
        limit=limit,
        seconds=seconds,
        hint="See the log of the Pod ks-installer; raise the time-out in the conf if it is only slow.",
        limits=limits,
    )


async def state(cluster: clusters.Cluster) -> State | None:
    """Return what *cluster* asks for and has, or None while its ClusterConfiguration is away.

    The installer deletes it and makes it anew when versions differ (kubesphere-facts 2.3).
    """
    configuration = await cluster.read(kubesphere.CONFIGURATION)
    if configuration is None:
        return None
    config_map = await cluster.read(kubesphere.CONFIG)
    secret = await read_secret(cluster)
    config = kubesphere.config(config_map) if config_map else None
    trust = kubesphere.trust(configuration, config, secret)
    await cluster.keep_secret(
        kubesphere.spec_secret(configuration),
        kubesphere.secret_value(secret, "secret"),
        kubesphere.secret_value(secret, "token"),
        config.jwt_secret if config else None,
    )
    unmet = kubesphere.unmet(configuration, config, trust)
    release = kubesphere.release(configuration)
    if not unmet and release is not None and not release.reloads:
        processes = {ref.name: await cluster.read(ref) for ref in kubesphere.PROCESSES}
        following = kubesphere.restarted_unmet(processes)
        if following:
            return State(configuration, config, trust, unmet, following)
    if unmet or kubesphere.spec_role(configuration) != kubesphere.HOST:
        return State(configuration, config, trust, unmet)
    deployments = {ref.name: await cluster.read(ref) for ref in kubesphere.HOST_DEPLOYMENTS}
    own = await cluster.list(kinds.CLUSTER, label_selector=kubesphere.HOST_LABEL)
    following = kubesphere.host_unmet(deployments, own)
    missing = kubesphere.missing_deployments(deployments)
    return State(configuration, config, trust, unmet, following, missing)


async def read_secret(cluster: clusters.Cluster) -> dict[str, Any] | None:
    """Return the Secret with the jwtSecret in force, or None where it is not there or may not be read."""
    try:
        return await cluster.read(kubesphere.SECRET)
    except errors.ForbiddenError as error:
        log.info("Going on without a cross-check of the jwtSecret: %s", error)
        return None


class _Follower:
    """The looks at one installer. It remembers since when the installer has done nothing."""

    def __init__(self, cluster: clusters.Cluster, attempt: str, limits: settings.Settings, written: list[str]) -> None:
        self._cluster = cluster
        self._attempt = attempt
        self._limits = limits
        self._written = written
        self._idle_since: float | None = None
        self._log_read = time.monotonic()

    async def look(self) -> waits.Pending | None:
        found = await state(self._cluster)
        if found is None:
            return waits.Pending("its ClusterConfiguration is being made anew", self._limits.poll)
        release = kubesphere.release(found.configuration)
        selector = release.installer_selector if release else ""
        doing, pod = await _activity(self._cluster, selector)
        if doing is not Activity.IDLE:
            self._idle_since = None
        if doing is Activity.RUNNING:
            await self._stop_at_crashes(pod)
        if found.unmet:
            return await self._judge(found, doing, pod)
        if doing is Activity.RUNNING:
            return waits.Pending("all that is asked for is there, the run is still finishing", self._limits.poll)
        if not found.following:
            return None
        if found.missing and self._idle_for() >= self._limits.failed_after:
            raise errors.NotReadyError(
                f"On the {self._cluster} there is no Deployment {', '.join(found.missing)}, and ks-installer does "
                "not restore it while its status says multicluster is enabled. Set status.multicluster of "
                f"{kubesphere.CONFIGURATION} to null, restart Deployment ks-installer, then clear this task."
            )
        return waits.Pending(found.following, self._limits.poll)

    async def _judge(self, found: State, doing: Activity, pod: kinds.Ref | None) -> waits.Pending:
        if doing is not Activity.IDLE:
            return waits.Pending(f"{found.unmet}; the installer is {doing.value}", self._limits.slow_poll)
        left = self._limits.failed_after - self._idle_for()
        if left > 0:
            return waits.Pending(f"{found.unmet}; the installer is idle", left)
        # Before the patch: who is overtaken in it must not take the run that the other forced for a failed one.
        self._idle_since = None
        await self._force_run(found.unmet, pod)
        return waits.Pending(f"{found.unmet}; a new run was forced", self._limits.slow_poll)

    def _idle_for(self) -> float:
        if self._idle_since is None:
            self._idle_since = time.monotonic()
        return time.monotonic() - self._idle_since

    async def _force_run(self, unmet: str, pod: kinds.Ref | None) -> None:
        deployment = await self._cluster.get(kubesphere.INSTALLER)
        marks = deployment["metadata"].get("annotations") or {}
        if marks.get(kubesphere.FORCED_RUN_ANNOTATION) == self._attempt:
            raise errors.InstallerFailedError(
                cluster=str(self._cluster), missing=unmet, lines=await self._telling(pod), forced=True
            )
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        log.warning(
            "ks-installer on the %s ended without finishing (%s); forcing a new run. Its log says: %s",
            self._cluster,
            unmet,
            " | ".join(await self._telling(pod)) or "nothing telling",
        )
        await self._cluster.patch(
            kubesphere.INSTALLER,
            {
                # The version makes two that force at the same moment start one run, not two.
                "metadata": {
                    "resourceVersion": deployment["metadata"]["resourceVersion"],
                    "annotations": {kubesphere.FORCED_RUN_ANNOTATION: self._attempt},
                },
                "spec": {"template": {"metadata": {"annotations": {kubesphere.RESTART_ANNOTATION: now}}}},
            },
        )
        self._written.append(f"{kubesphere.INSTALLER} of the {self._cluster.role} restarted, to force a new run")

    async def _stop_at_crashes(self, pod: kinds.Ref | None) -> None:
        """Raise if the hook crashes again and again: its queue never becomes empty."""
        if pod is None or time.monotonic() - self._log_read < self._limits.slow_poll:
            return
        self._log_read = time.monotonic()
        lines = last_run(await _log(self._cluster, pod)).splitlines()
        counts = [match.group(1) for line in lines[-20:] if (match := _HOOK_FAILED.search(line))]
        if counts and int(counts[-1]) >= _CRASHES:
            raise errors.InstallerFailedError(
                cluster=str(self._cluster),
                missing=f"its hook has crashed {counts[-1]} times in a row and is tried again every 5 s",
                lines=await self._telling(pod),
                forced=False,
            )

    async def _telling(self, pod: kinds.Ref | None) -> list[str]:
        text = await _log(self._cluster, pod) if pod else ""
        # The log can be older than the secret in force, so it is searched for the one before the join, too.
        with contextlib.suppress(errors.FleetError):
            before = await self._cluster.read(kubesphere.BEFORE_JOIN)
            await self._cluster.keep_secret(*(kubesphere.secret_value(before, key) for key in _FORMER))
        return telling_lines(self._cluster.redacted(text))


async def _activity(cluster: clusters.Cluster, selector: str) -> tuple[Activity, kinds.Ref | None]:
    """Tell what the installer does: by its queue, else by its log, else unknown; and name its pod."""
    try:
        pods = await cluster.list(kinds.POD, namespace=kubesphere.NAMESPACE, label_selector=selector)
    except errors.PermanentError as error:
        log.debug("Cannot tell what the installer does: %s", error)
        return Activity.UNKNOWN, None
    living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    if not living:
        return Activity.UNKNOWN, None
    newest = max(living, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    pod = kinds.Ref(kinds.POD, newest["metadata"]["name"], kubesphere.NAMESPACE)
    path = f"{pod.path}:{_QUEUE_PORT}/proxy/queue"
    status, text = await cluster.proxied(path, what="the installer's queue")
    length = re.match(r"\s*Queue length (\d+)", text) if status == 200 else None
    if length:
        return (Activity.RUNNING if int(length.group(1)) else Activity.IDLE), pod
    return log_activity(await _log(cluster, pod)), pod


async def _log(cluster: clusters.Cluster, pod: kinds.Ref) -> str:
    try:
        return await cluster.pod_log(pod, lines=_LOG_LINES)
    except errors.FleetError as error:
        log.debug("The installer's log cannot be read: %s", error)
        return ""


def last_run(text: str) -> str:
    """Return the part of a log that belongs to the last run: the log goes on from run to run."""
    begins = text.rfind(_RUN_BEGINS)
    return text[begins:] if begins >= 0 else text


def log_activity(text: str) -> Activity:
    """Tell from a log alone what the installer does (kubesphere-facts 2.6)."""
    run = last_run(text)
    if not run.strip():
        return Activity.UNKNOWN
    if _HOOK_FAILED.search(run):
        return Activity.RUNNING
    ended = (_RUN_SUCCEEDED, "Failed to ansible-playbook")
    if any(mark in run for mark in ended) or re.search(r"(?m)^Task '.+' failed:|failed=[1-9]", run):
        return Activity.IDLE
    return Activity.RUNNING


def telling_lines(text: str) -> list[str]:
    """Return the lines of the last run that tell why it failed, shortened, at most eight.

    Redacted by the caller by value; here also by form, for a value that is a secret no longer in use.
    """
    lines = [line.strip() for line in last_run(text).splitlines() if _TELLING.search(line)]
    return [_LOOKS_SECRET.sub(r"\1<hidden>", line)[:300] for line in lines[-8:]]
