"""ks-installer's runs: whether one has done what is asked for, is at it, or has given up.

An object decides, the installer's queue tells "not yet" from "gave up", and its log only explains
(kubesphere-facts 12). Objects are watched and the log is followed; the queue, which cannot be watched, is asked when
the log says that a run has begun or is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import re
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from include.fleet import clusters, errors, installer_log, journal, kinds, kubesphere, settings, waits

log = logging.getLogger(__name__)

_QUEUE_PORT = 9115
_LOG_LINES = 3000
_LOG_CONTEXT = 50
"""Lines written before the log is followed, in case a run has just ended."""
_CRASHES = 5
"""A hook that failed this often in a row is retried every 5 s for ever (kubesphere-facts 2.2)."""
_OWN = kinds.Ref(kinds.CLUSTER, kubesphere.HOST)
"""A host's own Cluster under its usual name; under another one it is seen at the next look."""
_FORMER = ("jwtSecret", "secretInForce")
UNSEEN = "What ks-installer was doing was not seen"
"""What is lost without the right to list Pods."""
_LOG_UNREAD = "The log of ks-installer was not read"


async def wait(
    cluster: clusters.Cluster,
    *,
    attempt: str,
    limit: waits.Limit,
    seconds: float,
    limits: settings.Settings,
    changes: journal.Journal,
) -> kubesphere.Snapshot:
    """Wait until ks-installer on *cluster* has done all that is asked for and is idle; return what was seen last.

    A run that ended without that is not repeated by itself, so one new run is forced (kubesphere-facts 2.2,
    12.2), once for each *attempt*; that is noted in *changes*. Raises InstallerFailedError when that one fails
    too, DeadlineError after *seconds*, Longer when the wait has to leave the worker: at once when a run is due,
    which takes minutes.
    """
    follower = _Follower(cluster, attempt, limits, changes, in_worker=limit.leave_worker is not None)
    bells = [
        waits.changes(cluster, kubesphere.CONFIGURATION),
        waits.changes(cluster, kubesphere.CONFIG),
        follower.follow_log,
    ]
    if cluster.role == kubesphere.HOST:
        bells.append(waits.changes(cluster, _OWN))
    await waits.until(
        follower.look,
        what=f"ks-installer on the {cluster}",
        bells=bells,
        limit=limit,
        seconds=seconds,
        hint="See the log of the Pod ks-installer; raise the time-out in the conf if it is only slow.",
        limits=limits,
    )
    if follower.seen is None:
        raise RuntimeError("a wait is over only when the cluster has been looked at")
    return follower.seen


async def read_secret(cluster: clusters.Cluster) -> kubesphere.Object | None:
    """Return the Secret with the jwtSecret in force, or None where it is not there or may not be read."""
    try:
        secret = await cluster.read(kubesphere.SECRET)
    except errors.ForbiddenError as error:
        cluster.do_without(error, f"The jwtSecret was not compared with Secret {kubesphere.SECRET.name}")
        return None
    await cluster.keep_secret(kubesphere.secret_value(secret, "secret"), kubesphere.secret_value(secret, "token"))
    return secret


async def ask_queue(cluster: clusters.Cluster, pod: kinds.Ref) -> installer_log.Activity | None:
    """Return what the installer's queue tells that it does, None if it tells nothing or may not be asked."""
    path = f"{pod.path}:{_QUEUE_PORT}/proxy/queue"
    try:
        status, text = await cluster.proxied(path, what="the installer's queue")
    except errors.ForbiddenError as error:
        cluster.do_without(error, "The queue of ks-installer was not asked")
        return None
    length = re.match(r"\s*Queue length (\d+)", text) if status == 200 else None
    if length is None:
        return None
    return installer_log.Activity.RUNNING if int(length.group(1)) else installer_log.Activity.IDLE


async def read_log(cluster: clusters.Cluster, pod: kinds.Ref) -> str:
    """Return the end of the installer's log, not redacted; "" where it cannot or may not be read."""
    try:
        return await cluster.pod_log(pod, lines=_LOG_LINES)
    except errors.ForbiddenError as error:
        cluster.do_without(error, _LOG_UNREAD)
        return ""
    except errors.FleetError as error:
        log.debug("The installer's log cannot be read: %s", error)
        return ""


async def telling(cluster: clusters.Cluster, text: str) -> Sequence[str]:
    """Return the lines of the installer's log *text* that tell why its last run failed, redacted.

    The log can quote any secret that is or was in force: [] where these cannot be known.
    """
    try:
        await read_secret(cluster)
        before = await cluster.read(kubesphere.BEFORE_JOIN)
    except errors.ForbiddenError as error:
        cluster.do_without(error, "The log of a failed run was not quoted, as it may hold a former jwtSecret")
        return []
    except errors.FleetError as error:
        log.warning("The installer's log is not quoted, as it may hold a former jwtSecret: %s", error)
        return []
    await cluster.keep_secret(*(kubesphere.secret_value(before, key) for key in _FORMER))
    return installer_log.telling_lines(cluster.redacted(text))


class _Follower:
    """The looks at one installer. It remembers what the log has told, and since when nothing is done."""

    def __init__(
        self,
        cluster: clusters.Cluster,
        attempt: str,
        limits: settings.Settings,
        changes: journal.Journal,
        *,
        in_worker: bool,
    ) -> None:
        self._cluster = cluster
        self._attempt = attempt
        self._limits = limits
        self._changes = changes
        self._in_worker = in_worker
        self._pod: kinds.Ref | None = None
        self.seen: kubesphere.Snapshot | None = None
        """What the last look saw that found the installer's work done."""
        self._versions: list[str] = []
        """Of the ClusterConfiguration and the ConfigMap in it."""
        self._idle_since: float | None = None
        self._following = False
        self._run_ended = False
        self._crashes = 0
        self._known: installer_log.Activity | None = None
        """What the installer does until the log tells of a run's beginning or end; None if it has to be asked."""

    async def look(self) -> waits.Pending | None:
        """Look once at what is asked for and what is in force, and if need be at the installer."""
        configuration = await self._cluster.read(kubesphere.CONFIGURATION)
        if configuration is None:
            # A new installer deletes it and makes it anew (kubesphere-facts 2.3).
            return waits.Pending("its ClusterConfiguration is being made anew")
        met = self.seen is not None
        unmet = await self._unmet(configuration)
        if unmet and met:
            # Something else is asked for by now, and the installer is idle with that from now on.
            self._idle_since = self._known = None
        if unmet:
            return waits.Pending(unmet, long=True) if self._in_worker else await self._judge(unmet)
        doing = await self._activity()
        if doing is installer_log.Activity.RUNNING:
            return waits.Pending("all that is asked for is there, the run is still finishing", self._next_question())
        following = await self._yet_to_follow(configuration)
        return waits.Pending(following, self._limits.poll) if following else None

    async def _unmet(self, configuration: kubesphere.Object) -> str:
        """Return what the installer has not done yet of what is asked for, or ""."""
        config_map = await self._cluster.read(kubesphere.CONFIG)
        config = kubesphere.config(config_map) if config_map else None
        await self._cluster.keep_secret(kubesphere.spec_secret(configuration), config.jwt_secret if config else None)
        versions = [item["metadata"]["resourceVersion"] for item in (configuration, config_map) if item]
        if self.seen is not None and versions == self._versions:
            return ""
        self.seen = None
        unmet = kubesphere.unmet(kubesphere.Snapshot(configuration, config, None))
        if unmet:
            return unmet
        # The Secret is written before the ConfigMap, so it is worth a question only when that is right.
        seen = kubesphere.Snapshot(configuration, config, await read_secret(self._cluster))
        unmet = kubesphere.unmet(seen)
        if not unmet:
            self.seen, self._versions = seen, versions
        return unmet

    async def _judge(self, unmet: str) -> waits.Pending:
        """Tell whether the installer is at it, may begin, or has failed; then force a run."""
        if self._crashes >= _CRASHES:
            raise errors.InstallerFailedError(
                cluster=str(self._cluster),
                missing=f"its hook has crashed {self._crashes} times in a row and is tried again every 5 s",
                lines=await self._telling(),
                forced=False,
            )
        doing = await self._activity()
        if doing is not installer_log.Activity.IDLE:
            return waits.Pending(f"{unmet}; the installer is {doing.value}", self._next_question())
        left = self._limits.failed_after - self._idle_for()
        if left > 0:
            return waits.Pending(f"{unmet}; the installer is idle", left)
        # Before the patch: who is overtaken in it must not take the run that the other forced for a failed one.
        self._idle_since = None
        await self._force_run(unmet)
        return waits.Pending(f"{unmet}; a new run was forced", self._limits.slow_poll)

    async def _yet_to_follow(self, configuration: kubesphere.Object) -> str:
        """Return what has yet to follow once the installer has done its work, or ""."""
        release = kubesphere.release(configuration)
        if release is not None and not release.reloads:
            processes = {ref.name: await self._cluster.read(ref) for ref in kubesphere.PROCESSES}
            following = kubesphere.restarted_unmet(processes)
            if following:
                return following
        if kubesphere.spec_role(configuration) != kubesphere.HOST:
            return ""
        own = await self._own_clusters()
        late = self._idle_for() >= self._limits.failed_after
        following = kubesphere.host_cluster_unmet(own)
        if following and not late:
            return following
        deployments = await self._host_deployments()
        missing = kubesphere.missing_deployments(deployments)
        if missing and late:
            raise errors.NotReadyError(
                f"On the {self._cluster} there is no Deployment {', '.join(missing)}, and ks-installer does "
                "not restore it while its status says multicluster is enabled."
            )
        return kubesphere.deployments_unmet(deployments) or following

    async def _host_deployments(self) -> dict[str, kubesphere.Object | None]:
        """Return what a run adds on a host, by name; without what may not be read."""
        found: dict[str, kubesphere.Object | None] = {}
        for ref in kubesphere.HOST_DEPLOYMENTS:
            try:
                found[ref.name] = await self._cluster.read(ref)
            except errors.ForbiddenError as error:
                self._cluster.do_without(error, f"Whether {ref} is rolled out was not checked")
        return found

    async def _own_clusters(self) -> list[dict[str, Any]]:
        """Return the Clusters that stand for the host itself."""
        usual = await self._cluster.read(_OWN)
        if usual is not None and kubesphere.is_host(usual):
            return [usual]
        return await self._cluster.list(kinds.CLUSTER, label_selector=kubesphere.HOST_LABEL)

    def _idle_for(self) -> float:
        if self._idle_since is None:
            self._idle_since = time.monotonic()
        return time.monotonic() - self._idle_since

    def _next_question(self) -> float | None:
        """Return after how many seconds to ask the queue again, None if the log will tell when."""
        if not self._following:
            return self._limits.slow_poll
        return self._limits.poll if self._run_ended else None

    async def follow_log(self, opened: asyncio.Event) -> AsyncGenerator[None, None]:
        """Ring when the log is followed, and when it tells that a run begins, is over, or has crashed."""
        pod = self._pod = await self._newest_pod()
        if pod is None:
            raise errors.UnavailableError(f"There is no Pod of ks-installer on the {self._cluster}.")
        try:
            async with contextlib.aclosing(self._cluster.log_lines(pod, last=_LOG_CONTEXT, opened=opened)) as lines:
                async for line in lines:
                    if self._heard(line) or not self._following:
                        self._following = True
                        yield None
        except errors.ForbiddenError as error:
            self._cluster.do_without(error, _LOG_UNREAD)
            raise
        finally:
            self._following, self._known = False, None

    def _heard(self, line: str) -> bool:
        """Remember what a line of the log tells; True if that is worth a look."""
        begins, ends, crashes = (
            installer_log.begins_run(line),
            installer_log.ends_run(line),
            installer_log.crashes(line),
        )
        if begins or ends:
            self._run_ended = ends
            # Of a run that begins after the queue was idle nobody else need tell.
            new = begins and self._idle_since is not None
            self._known = installer_log.Activity.RUNNING if new else None
        self._crashes = 0 if begins else crashes or self._crashes
        return begins or ends or crashes > 0

    async def _activity(self) -> installer_log.Activity:
        """Tell what the installer does: by its queue, else by its log, else unknown."""
        doing = self._known or await self._ask()
        lasts = self.seen is not None if doing is installer_log.Activity.IDLE else not self._run_ended
        known = doing is not installer_log.Activity.UNKNOWN and self._following and lasts
        self._known = doing if known else None
        if doing is not installer_log.Activity.IDLE:
            self._idle_since = None
        return doing

    async def _ask(self) -> installer_log.Activity:
        try:
            doing = await ask_queue(self._cluster, self._pod) if self._pod else None
            if doing is None:
                former, self._pod = self._pod, await self._newest_pod()
                doing = await ask_queue(self._cluster, self._pod) if self._pod and self._pod != former else None
        except errors.PermanentError as error:
            log.debug("Cannot tell what the installer does: %s", error)
            return installer_log.Activity.UNKNOWN
        return doing or installer_log.activity(await self._log())

    async def _newest_pod(self) -> kinds.Ref | None:
        try:
            return await self._cluster.newest_pod(kubesphere.NAMESPACE, label_selector=kubesphere.INSTALLER_SELECTOR)
        except errors.ForbiddenError as error:
            self._cluster.do_without(error, UNSEEN)
            raise

    async def _log(self) -> str:
        return "" if self._pod is None else await read_log(self._cluster, self._pod)

    async def _force_run(self, unmet: str) -> None:
        try:
            await self._restart(unmet)
        except errors.ForbiddenError as error:
            raise errors.InstallerFailedError(
                cluster=str(self._cluster),
                missing=unmet,
                lines=await self._telling(),
                forced=False,
                forbidden=str(error),
            ) from None

    async def _restart(self, unmet: str) -> None:
        deployment = await self._cluster.get(kubesphere.INSTALLER)
        marks = deployment["metadata"].get("annotations") or {}
        if marks.get(kubesphere.FORCED_RUN_ANNOTATION) == self._attempt:
            raise errors.InstallerFailedError(
                cluster=str(self._cluster), missing=unmet, lines=await self._telling(), forced=True
            )
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        log.warning(
            "ks-installer on the %s ended without finishing (%s); forcing a new run. Its log says: %s",
            self._cluster,
            unmet,
            " | ".join(await self._telling()) or "nothing telling",
        )
        with self._changes.noted(f"{kubesphere.INSTALLER} of the {self._cluster.role} restarted, to force a new run"):
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

    async def _telling(self) -> Sequence[str]:
        """Return the lines of the log that tell why the last run failed, redacted."""
        return await telling(self._cluster, await self._log())
