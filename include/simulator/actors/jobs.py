"""What kube-controller-manager does with Jobs: it makes their pods, counts how they end, and takes away what is over.

One pod at a time and no pause before the next one; Jobs with indexes are not imitated.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import secrets

from include.simulator import resources, store
from include.simulator.actors.client import Client, Object, RequestError

log = logging.getLogger(__name__)

_FINISHED = ("Complete", "Failed")
_PHASES = {"Succeeded": "succeeded", "Failed": "failed"}


def build_pod(job: Object, *, node: str) -> Object:
    """Return a pod of a Job."""
    metadata, template = job["metadata"], job["spec"]["template"]
    suffix = "".join(secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "metadata": {
            "name": f"{metadata['name']}-{suffix}",
            "labels": dict(template["metadata"]["labels"]),
            "annotations": template["metadata"].get("annotations") or {},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {**template["spec"], "nodeName": node},
    }


def finished(job: Object) -> Object | None:
    """Return the condition that says how a Job ended, or None."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] in _FINISHED and entry["status"] == "True"), None)


class Jobs:
    """The controllers of one cluster: for Jobs, for finished ones whose time is up, and for pods without a Job."""

    def __init__(self, client: Client, *, node: str) -> None:
        self._client = client
        self._node = node
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for resource in (resources.JOBS, resources.PODS):
                tasks.create_task(self._notice(resource))
            tasks.create_task(self._reconcile_all())

    async def _notice(self, resource: resources.Resource) -> None:
        async with contextlib.aclosing(self._client.follow(resource)) as changes:
            async for _change in changes:
                self._wake.set()

    async def _reconcile_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                # Pods first, so that no pod's owner is missing only because it is new.
                pods = await self._client.select(resources.PODS)
                jobs = await self._client.select(resources.JOBS)
                for job in jobs:
                    await self._reconcile(job, pods=[pod for pod in pods if _owner(pod) == job["metadata"]["uid"]])
                await self._remove_orphans(pods, jobs=jobs)
            except RequestError as error:
                log.debug("Reconciling Jobs failed, trying again: %s", error)
                await asyncio.sleep(0.1)
                self._wake.set()

    async def _reconcile(self, job: Object, *, pods: list[Object]) -> None:
        if "deletionTimestamp" in job["metadata"]:
            await self._release(job, pods=pods)
        elif (end := finished(job)) is not None:
            await self._expire(job, since=end["lastTransitionTime"])
        elif not job["spec"]["suspend"]:
            await self._proceed(job, pods=pods)

    async def _release(self, job: Object, *, pods: list[Object]) -> None:
        """Let the pods of a Job go that is deleted without them, and then the Job."""
        metadata = job["metadata"]
        finalizers = metadata.get("finalizers") or []
        if "orphan" not in finalizers:
            return
        for pod in pods:
            await self._client.patch(
                resources.PODS,
                name=pod["metadata"]["name"],
                namespace=metadata["namespace"],
                patch={"metadata": {"ownerReferences": None}},
            )
        patch = {"metadata": {"finalizers": [each for each in finalizers if each != "orphan"]}}
        await self._client.patch(resources.JOBS, name=metadata["name"], namespace=metadata["namespace"], patch=patch)

    async def _expire(self, job: Object, *, since: str) -> None:
        """Delete a finished Job whose time is up."""
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        if seconds is None or self._is_early(since, seconds=seconds):
            return
        options = {"propagationPolicy": "Background", "preconditions": {"uid": job["metadata"]["uid"]}}
        await self._client.delete(
            resources.JOBS, name=job["metadata"]["name"], namespace=job["metadata"]["namespace"], options=options
        )

    async def _proceed(self, job: Object, *, pods: list[Object]) -> None:
        """Count pods, and make or delete some."""
        metadata, spec, now = job["metadata"], job["spec"], store.timestamp()
        before = job.get("status") or {}
        counts = {name: sum(pod["status"].get("phase") == phase for pod in pods) for phase, name in _PHASES.items()}
        active = [
            pod
            for pod in pods
            if pod["status"].get("phase") not in _PHASES and "deletionTimestamp" not in pod["metadata"]
        ]
        started = before.get("startTime", now)
        condition = None
        deadline = spec.get("activeDeadlineSeconds")
        if deadline is not None and not self._is_early(started, seconds=deadline):
            condition = _condition("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        elif counts["failed"] > spec["backoffLimit"]:
            condition = _condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif counts["succeeded"] >= spec.get("completions", 1):
            condition = _condition("Complete", "", "")
        if condition is not None:
            for pod in active:
                await self._client.delete(resources.PODS, name=pod["metadata"]["name"], namespace=metadata["namespace"])
            active = []
        elif not active:
            content = build_pod(job, node=self._node)
            active = [await self._client.create(resources.PODS, content=content, namespace=metadata["namespace"])]
        fresh = {"startTime": started, "active": len(active), **counts}
        fresh = {key: value for key, value in fresh.items() if value}
        if condition is not None:
            fresh["conditions"] = [condition]
            if condition["type"] == "Complete":
                fresh["completionTime"] = now
        if fresh != before:
            patch = {"status": {**dict.fromkeys(before), **fresh}}
            await self._client.patch(
                resources.JOBS,
                name=metadata["name"],
                namespace=metadata["namespace"],
                patch=patch,
                subresource="status",
            )

    def _is_early(self, since: str, *, seconds: float) -> bool:
        """Say whether so many seconds have not passed yet; when they have, it is looked again."""
        moment = datetime.datetime.fromisoformat(since) + datetime.timedelta(seconds=seconds)
        left = (moment - datetime.datetime.now(datetime.UTC)).total_seconds()
        if left > 0:
            asyncio.get_running_loop().call_later(left + 0.01, self._wake.set)
        return left > 0

    async def _remove_orphans(self, pods: list[Object], *, jobs: list[Object]) -> None:
        """Delete the pods of Jobs that are gone, which the garbage collector does in reality."""
        uids = {item["metadata"]["uid"] for item in jobs}
        for pod in pods:
            owner = _owner(pod)
            if owner and owner not in uids and "deletionTimestamp" not in pod["metadata"]:
                await self._client.delete(
                    resources.PODS, name=pod["metadata"]["name"], namespace=pod["metadata"]["namespace"]
                )


def _owner(pod: Object) -> str:
    """Return the uid of the Job that a pod belongs to, or ""."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((owner["uid"] for owner in owners if owner["kind"] == "Job"), "")


def _condition(type_: str, reason: str, message: str) -> Object:
    now = store.timestamp()
    found = {"type": type_, "status": "True", "lastProbeTime": now, "lastTransitionTime": now}
    return {**found, **({"reason": reason, "message": message} if reason else {})}
