"""Taking back what a join has brought onto clusters: what a rollback and a leave have in common.

Each part reads, compares, and writes only what differs. What cannot be undone, or is somebody else's by now, is left
alone, and said.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from include.fleet import (
    clusters,
    configuring,
    errors,
    installer,
    journal,
    kinds,
    kubesphere,
    settings,
    snapshots,
    waits,
)

log = logging.getLogger(__name__)

OVERTAKEN = 5
"""How often to read again after somebody else was faster."""
GONE = 300.0
"""Seconds that a deleted object may take to be gone: after that nobody works on it (kubesphere-facts 12.5)."""


@dataclass(kw_only=True)
class Work:
    """One undoing: for whom, how long it waits, where it notes what it writes, and what it leaves."""

    name: str
    """Of the Cluster on the host."""
    run: str
    """Names the run whose restarts of ks-installer are told."""
    attempt: str
    """Names this attempt in the marks that it leaves on clusters."""
    limits: settings.Settings
    changes: journal.Journal
    patience: float
    """Seconds after which a wait for an object to be gone ends, if not earlier."""
    leave_worker: float | None
    """When a wait has to leave the worker, or None if it need not."""
    dry: bool = False
    """Whether nothing is persisted: then nothing is waited for."""
    left: list[str] = field(default_factory=list)
    """A sentence for each thing that stays as it is now, with the reason."""

    @property
    def cluster(self) -> kinds.Ref:
        """The Cluster on the host."""
        return kinds.Ref(kinds.CLUSTER, self.name)

    def leave(self, *sentences: str) -> None:
        """Say what stays."""
        for sentence in sentences:
            if sentence not in self.left:
                self.left.append(sentence)
                log.warning("Not undone: %s", sentence)

    async def delete(self, cluster: clusters.Cluster, ref: kinds.Ref, present: Mapping[str, Any]) -> bool:
        """Delete an object on which nothing else rests, and tell whether that could be.

        It is said where the right is missing. One that has changed hands since *present* was read is left alone by the
        UID, and tried again.
        """
        try:
            with self.changes.noted(f"{ref} deleted on the {cluster.role}"):
                await delete(cluster, ref, uid=present["metadata"]["uid"])
        except errors.ForbiddenError as error:
            self.leave(f"{ref} on the {cluster.role} stays: {error.lacking}.")
            return False
        return True

    async def free(self, cluster: clusters.Cluster, ref: kinds.Ref, body: Mapping[str, Any]) -> None:
        """Take kubefed's labels off an object by a merge patch; it is said where the right is missing."""
        try:
            with self.changes.noted(f"{ref} freed of kubefed's labels on the {cluster.role}"):
                await cluster.patch(ref, body)
        except errors.ForbiddenError as error:
            self.leave(f"The labels of kubefed on {ref} of the {cluster.role} stay: {error.lacking}.")

    async def wait_until_gone(
        self, cluster: clusters.Cluster, ref: kinds.Ref, *, hint: str, seconds: float = GONE, uid: str = ""
    ) -> None:
        """Wait until an object that is being deleted is gone; raises what `waits.until` raises.

        With *uid* one that has been made anew is not waited for.
        """
        if self.dry:
            return
        seconds = min(seconds, self.patience)
        bells = [waits.changes(cluster, ref)] if ref.kind is kinds.CLUSTER else []

        async def look() -> waits.Pending | None:
            found = await readable(cluster, ref)
            if found is None or (uid and found["metadata"]["uid"] != uid):
                return None
            return waits.Pending("it is being deleted", None if bells else self.limits.poll)

        await waits.until(
            look,
            what=f"{ref} on the {cluster} to be gone",
            bells=bells,
            limit=self.limit(seconds),
            seconds=seconds,
            hint=hint,
            limits=self.limits,
        )

    async def patch_configuration(
        self,
        cluster: clusters.Cluster,
        restoring: Callable[[kubesphere.Object], tuple[dict[str, Any], list[str]]],
        what: str,
    ) -> bool:
        """Change a ClusterConfiguration back by the patch that *restoring* makes of it; return whether one was due.

        *restoring* also returns sentences about what is left. Raises ConflictError after some who were faster.
        """
        left = OVERTAKEN
        while True:
            left -= 1
            configuration = await configuring.asked(cluster)
            patch, sentences = restoring(configuration)
            if not patch:
                self.leave(*sentences)
                return False
            version = {"metadata": {"resourceVersion": configuration["metadata"]["resourceVersion"]}}
            try:
                with self.changes.noted(f"{kubesphere.CONFIGURATION} of the {cluster.role} changed back: {what}"):
                    await cluster.patch(kubesphere.CONFIGURATION, {**version, **patch})
            except (errors.ConflictError, errors.NotFoundError):
                if not left:
                    raise
                continue
            self.leave(*sentences)
            return True

    async def wait_for_installer(self, cluster: clusters.Cluster, *, seconds: float) -> None:
        """Wait until ks-installer has done all that is asked for; raises what `installer.wait` raises."""
        if self.dry:
            return
        await installer.wait(
            cluster,
            attempt=self.attempt,
            limit=self.limit(seconds),
            seconds=seconds,
            limits=self.limits,
            changes=self.changes,
        )

    async def tell_restarts(self, cluster: clusters.Cluster) -> None:
        """Say it if the run has restarted ks-installer, whose mark stays."""
        try:
            deployment = await cluster.read(kubesphere.INSTALLER)
        except errors.ForbiddenError:
            return
        marks = (deployment or {"metadata": {}})["metadata"].get("annotations") or {}
        if str(marks.get(kubesphere.FORCED_RUN_ANNOTATION) or "").startswith(f"{self.run}/"):
            self.leave(
                f"{kubesphere.INSTALLER} of the {cluster.role} has been restarted by this run, and is marked so."
            )

    def limit(self, seconds: float) -> waits.Limit:
        """Return the limit of one of several waits: each has its time from now on."""
        return waits.Limit(deadline=time.time() + seconds, leave_worker=self.leave_worker)


async def delete(cluster: clusters.Cluster, ref: kinds.Ref, *, uid: str) -> None:
    """Delete an object, if it is still there and the same; one of this name that came since is somebody else's."""
    try:
        await cluster.delete(ref, uid=uid)
    except errors.NotFoundError:
        log.debug("%s on the %s is gone already", ref, cluster)


async def keep_secrets(sides: Iterable[clusters.Cluster], *values: str | None) -> None:
    """Have values of one cluster masked in what is said of any."""
    for cluster in sides:
        await cluster.keep_secret(*values)


async def readable(cluster: clusters.Cluster, ref: kinds.Ref) -> dict[str, Any] | None:
    """Return an object, None if there is none or it may not be seen, which is told."""
    try:
        return await cluster.read(ref)
    except errors.ForbiddenError as error:
        cluster.do_without(error, f"{ref} was not looked at")
        return None


async def listed(
    cluster: clusters.Cluster, kind: kinds.Kind, *, namespace: str | None = None
) -> list[dict[str, Any]] | None:
    """Return the objects of a kind, [] where there is no such kind, None where they may not be seen, which is told."""
    try:
        return await cluster.list(kind, namespace=namespace)
    except errors.NotFoundError:
        return []
    except errors.ForbiddenError as error:
        cluster.do_without(error, f"The {kind.plural} were not compared with those before this run")
        return None


# What stands on a cluster


async def look_at(
    cluster: clusters.Cluster,
    *,
    kept: dict[str, Any] | None,
    refs: Iterable[kinds.Ref],
    more: Mapping[str, snapshots.Section],
) -> snapshots.Side:
    """Return how a cluster is now: what may be changed by a join, and what is compared.

    *kept* is kept as it is, *refs* are looked for, and *more* is compared besides.
    """
    seen = await configuring.snapshot(cluster)
    in_force = kubesphere.secret_value(seen.secret, "secret") or (seen.config.jwt_secret if seen.config else "")
    spec = seen.configuration.get("spec") or {}
    multicluster, authentication = spec.get("multicluster") or {}, spec.get("authentication") or {}
    there = {str(ref): await _is_there(cluster, ref) for ref in (*refs, kubesphere.BEFORE_JOIN)}
    workspaces, namespaces = await _tied(cluster, kinds.WORKSPACE), await _tied(cluster, kinds.NAMESPACE)
    deployments = await listed(cluster, kinds.DEPLOYMENT, namespace=kubesphere.NAMESPACE)
    labelled = None if workspaces is None or namespaces is None else {**workspaces, **namespaces}
    compared: dict[str, snapshots.Section] = {
        "configuration": snapshots.of_configuration(seen.configuration, in_force=in_force),
        "config": snapshots.of_config(seen.config),
        "deployments": None if deployments is None else snapshots.of_deployments(deployments),
        "workspaces": workspaces and {name: snapshots.digest(tied) for name, tied in workspaces.items()},
        "namespaces": namespaces and {name: snapshots.digest(tied) for name, tied in namespaces.items()},
    }
    for name, is_there in there.items():
        compared[name] = None if is_there is None else {name: ""} if is_there else {}
    return snapshots.Side(
        role=multicluster.get("clusterRole"),
        jwt_secret=authentication.get("jwtSecret"),
        in_force=in_force,
        address=multicluster.get("proxyPublishAddress"),
        met=not kubesphere.unmet(seen),
        kept=kept,
        there=there,
        labelled=labelled,
        sections={**compared, **more},
    )


async def _is_there(cluster: clusters.Cluster, ref: kinds.Ref) -> bool | None:
    try:
        return await cluster.read(ref) is not None
    except errors.ForbiddenError as error:
        cluster.do_without(error, f"Whether {ref} is there was not seen, nor will it be undone")
        return None


async def _tied(cluster: clusters.Cluster, kind: kinds.Kind) -> dict[str, Any] | None:
    found = await listed(cluster, kind)
    if found is None:
        return None
    return {str(kinds.Ref(kind, item["metadata"]["name"])): snapshots.labels_of(item) for item in found}


# What a membership brings with it


def federation(name: str) -> tuple[kinds.Ref, ...]:
    """Return what the host's controller makes on a member when it joins it (kubesphere-facts 6.4)."""
    role = kubesphere.member_role(name)
    return (
        kinds.Ref(kinds.NAMESPACE, kubesphere.FEDERATION_NAMESPACE),
        kubesphere.member_account(name),
        kinds.Ref(kinds.CLUSTER_ROLE_BINDING, role),
        kinds.Ref(kinds.CLUSTER_ROLE, role),
    )


def behind(name: str) -> tuple[kinds.Ref, ...]:
    """Return what stands behind a Cluster on the host, and goes with it (kubesphere-facts 6.4, 6.5, 6.7).

    The KubeFedCluster's Secret goes just before it, and is not looked at: beside it are those of all members.
    """
    return (
        kinds.Ref(kinds.KUBEFED_CLUSTER, name, kubesphere.FEDERATION_NAMESPACE),
        kinds.Ref(kinds.SERVICE, f"mc-{name}", kubesphere.NAMESPACE),
    )


async def delete_federation(work: Work, member: clusters.Cluster, found: Mapping[kinds.Ref, Mapping[str, Any]]) -> None:
    """Delete what the host's controller has made on the member for this join: no deletion of a Cluster does (6.7).

    *found* are those of `federation` that are to go. The namespace takes along what is in it, and stays if somebody
    else uses it by now.
    """
    gone = False
    for ref, present in found.items():
        if ref.kind is kinds.NAMESPACE:
            gone = await _delete_namespace(work, member, ref, present)
        elif not (gone and ref.namespace == kubesphere.FEDERATION_NAMESPACE):
            await work.delete(member, ref, present)


async def _delete_namespace(work: Work, member: clusters.Cluster, ref: kinds.Ref, present: Mapping[str, Any]) -> bool:
    if "deletionTimestamp" not in present["metadata"]:
        others = await other_accounts(work, member)
        if others:
            work.leave(f"{ref} on the member stays: {others}.")
            return False
        if not await work.delete(member, ref, present):
            return False
    # A host that still has this member makes it anew within seconds.
    await work.wait_until_gone(member, ref, hint="Its conditions tell what holds it.", uid=present["metadata"]["uid"])
    return True


async def other_accounts(work: Work, member: clusters.Cluster) -> str:
    """Return who else uses the member's federation namespace, or ""."""
    own = kubesphere.member_account(work.name).name
    try:
        found = await member.list(kinds.SERVICE_ACCOUNT, namespace=kubesphere.FEDERATION_NAMESPACE)
    except errors.ForbiddenError as error:
        return f"whether somebody else uses it cannot be seen, {error.lacking}"
    names = [item["metadata"]["name"] for item in found if item["metadata"]["name"] not in (own, "default")]
    return f"{', '.join(names)} is in it, which this run has not made" if names else ""
