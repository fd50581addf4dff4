"""What kube-controller-manager does with Deployments, Services and service account tokens.

No ReplicaSets and no scheduler: a Deployment's pods are made directly, on the cluster's only node. A new template gives
new pods first and removes the old ones when the new are ready, as RollingUpdate does with one replica.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import secrets

from include.simulator import resources, store, tokens
from include.simulator.actors.client import Client, Object, RequestError

log = logging.getLogger(__name__)

HASH_LABEL = "pod-template-hash"
_ACCOUNT = "kubernetes.io/service-account.name"
_ACCOUNT_UID = "kubernetes.io/service-account.uid"


def template_hash(deployment: Object) -> str:
    """Return the value of the label that tells the pods of one template from those of another."""
    return hashlib.sha256(json.dumps(deployment["spec"]["template"], sort_keys=True).encode()).hexdigest()[:10]


def is_ready(pod: Object) -> bool:
    """Say whether a pod may get traffic."""
    conditions = pod.get("status", {}).get("conditions") or []
    return "deletionTimestamp" not in pod["metadata"] and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


def build_pod(deployment: Object, *, node: str) -> Object:
    """Return a pod of a Deployment's present template."""
    metadata, template = deployment["metadata"], deployment["spec"]["template"]
    digest = template_hash(deployment)
    suffix = "".join(secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))
    return {
        "metadata": {
            "name": f"{metadata['name']}-{digest}-{suffix}",
            "labels": {**template["metadata"].get("labels", {}), HASH_LABEL: digest},
            "annotations": template["metadata"].get("annotations") or {},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {**template["spec"], "nodeName": node},
    }


def build_status(deployment: Object, *, pods: list[Object]) -> Object:
    """Return the status of a Deployment that has these pods; None stands for a field to be removed."""
    wanted, digest = deployment["spec"]["replicas"], template_hash(deployment)
    ready = sum(is_ready(pod) for pod in pods)
    updated = sum(pod["metadata"]["labels"].get(HASH_LABEL) == digest for pod in pods)
    available = ready >= wanted
    reason = (
        ("MinimumReplicasAvailable", "Deployment has minimum availability.")
        if available
        else ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    )
    value = "True" if available else "False"
    known = {entry["type"]: entry for entry in deployment.get("status", {}).get("conditions") or []}
    now = store.timestamp()
    since = known.get("Available", {})
    condition = {
        "type": "Available",
        "status": value,
        "reason": reason[0],
        "message": reason[1],
        "lastUpdateTime": since.get("lastUpdateTime", now) if since.get("status") == value else now,
        "lastTransitionTime": since.get("lastTransitionTime", now) if since.get("status") == value else now,
    }
    return {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": len(pods) or None,
        "updatedReplicas": updated or None,
        "readyReplicas": ready or None,
        "availableReplicas": ready or None,
        "unavailableReplicas": max(wanted - ready, 0) or None,
        "conditions": [condition],
    }


def build_subsets(service: Object, *, pods: list[Object]) -> list[Object]:
    """Return the subsets of a Service's Endpoints: one with the ready pods that it selects, or none."""
    selector = service["spec"].get("selector") or {}
    chosen = [
        pod
        for pod in pods
        if selector and is_ready(pod) and selector.items() <= (pod["metadata"].get("labels") or {}).items()
    ]
    if not chosen:
        return []
    ports = []
    for port in service["spec"].get("ports") or []:
        entry = {"port": port["targetPort"], "protocol": port["protocol"]}
        ports.append({"name": port["name"], **entry} if port.get("name") else entry)
    addresses = [{"ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"]} for pod in chosen]
    return [{"addresses": addresses, "ports": ports}]


class Workloads:
    """The controllers of one cluster. `signing_key` signs service account tokens."""

    def __init__(self, client: Client, *, node: str, signing_key: str) -> None:
        self._client = client
        self._node = node
        self._signing_key = signing_key
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for resource in (resources.DEPLOYMENTS, resources.PODS, resources.SERVICES):
                tasks.create_task(self._notice(resource))
            tasks.create_task(self._reconcile())
            tasks.create_task(self._fill_tokens())
            tasks.create_task(self._remove_tokens())

    async def _notice(self, resource: resources.Resource) -> None:
        async for _change in self._client.follow(resource):
            self._wake.set()

    async def _reconcile(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                pods = await self._client.select(resources.PODS)
                deployments = await self._client.select(resources.DEPLOYMENTS)
                for deployment in deployments:
                    await self._reconcile_deployment(deployment, pods=pods)
                await self._remove_orphans(pods, deployments=deployments)
                services = await self._client.select(resources.SERVICES)
                for service in services:
                    await self._reconcile_service(service, pods=pods)
                await self._remove_endpoints(services)
            except RequestError as error:
                log.debug("Reconciling workloads failed, trying again: %s", error)
                await asyncio.sleep(0.1)
                self._wake.set()

    async def _reconcile_deployment(self, deployment: Object, *, pods: list[Object]) -> None:
        metadata = deployment["metadata"]
        owned = [
            pod
            for pod in pods
            if any(owner["uid"] == metadata["uid"] for owner in pod["metadata"].get("ownerReferences") or [])
            and "deletionTimestamp" not in pod["metadata"]
        ]
        digest, wanted = template_hash(deployment), deployment["spec"]["replicas"]
        current = [pod for pod in owned if pod["metadata"]["labels"].get(HASH_LABEL) == digest]
        outdated = [pod for pod in owned if pod not in current]
        for _ in range(wanted - len(current)):
            await self._client.create(
                resources.PODS, content=build_pod(deployment, node=self._node), namespace=metadata["namespace"]
            )
        surplus = current[wanted:] + (outdated if sum(map(is_ready, current)) >= wanted else [])
        for pod in surplus:
            await self._client.delete(resources.PODS, name=pod["metadata"]["name"], namespace=metadata["namespace"])
        fresh = build_status(deployment, pods=[pod for pod in owned if pod not in surplus])
        if {key: value for key, value in fresh.items() if value is not None} != deployment.get("status"):
            await self._client.patch(
                resources.DEPLOYMENTS,
                name=metadata["name"],
                patch={"status": fresh},
                namespace=metadata["namespace"],
                subresource="status",
            )

    async def _remove_orphans(self, pods: list[Object], *, deployments: list[Object]) -> None:
        """Delete the pods of Deployments that are gone, which the garbage collector does in reality.

        The pods were listed before the Deployments, so that no pod's owner is missing only because it is new.
        """
        uids = {item["metadata"]["uid"] for item in deployments}
        for pod in pods:
            owners = [owner for owner in pod["metadata"].get("ownerReferences") or [] if owner["kind"] == "Deployment"]
            if owners and not any(owner["uid"] in uids for owner in owners):
                await self._client.delete(
                    resources.PODS, name=pod["metadata"]["name"], namespace=pod["metadata"]["namespace"]
                )

    async def _reconcile_service(self, service: Object, *, pods: list[Object]) -> None:
        if not service["spec"].get("selector"):
            return
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        subsets = build_subsets(service, pods=[pod for pod in pods if pod["metadata"]["namespace"] == namespace])
        existing = await self._client.find(resources.ENDPOINTS, name=name, namespace=namespace)
        if existing is None:
            await self._client.create(
                resources.ENDPOINTS, namespace=namespace, content={"metadata": {"name": name}, "subsets": subsets}
            )
        elif existing.get("subsets", []) != subsets:
            await self._client.patch(resources.ENDPOINTS, name=name, namespace=namespace, patch={"subsets": subsets})

    async def _remove_endpoints(self, services: list[Object]) -> None:
        """Delete the Endpoints of Services that are gone; they were listed after these."""
        names = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in services}
        for item in await self._client.select(resources.ENDPOINTS):
            name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
            if (namespace, name) in names:
                continue
            if await self._client.find(resources.SERVICES, name=name, namespace=namespace) is None:
                await self._client.delete(resources.ENDPOINTS, name=name, namespace=namespace)

    async def _fill_tokens(self) -> None:
        async with contextlib.aclosing(self._client.follow(resources.SECRETS)) as changes:
            async for change in changes:
                secret = change.object
                if change.type == "DELETED" or _account_of(secret) is None:
                    continue
                if "token" not in (secret.get("data") or {}):
                    await self._fill_token(secret)

    async def _fill_token(self, secret: Object) -> None:
        """Put a token into a Secret, as soon as the API server answers."""
        while True:
            try:
                await self._try_to_fill_token(secret)
                return
            except RequestError as error:
                log.debug("Filling the token of %s failed: %s", secret["metadata"]["name"], error)
                if error.code == 404:
                    # It, its namespace or what it needs is gone; a change of it comes back here.
                    return
            await asyncio.sleep(0.1)

    async def _try_to_fill_token(self, secret: Object) -> None:
        """Put the token of its service account into a Secret, or delete it without an account. Raises RequestError."""
        name, namespace = secret["metadata"]["name"], secret["metadata"]["namespace"]
        account_name = secret["metadata"]["annotations"][_ACCOUNT]
        account = await self._client.find(resources.SERVICEACCOUNTS, name=account_name, namespace=namespace)
        if account is None:
            options = {"preconditions": {"uid": secret["metadata"]["uid"]}}
            await self._client.delete(resources.SECRETS, name=name, namespace=namespace, options=options)
            return
        authority = await self._client.get(resources.CONFIGMAPS, name="kube-root-ca.crt", namespace="kube-system")
        token = tokens.service_account_token(namespace=namespace, name=account_name, key=self._signing_key)
        data = {"token": token, "namespace": namespace, "ca.crt": authority["data"]["ca.crt"]}
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        patch = {"metadata": {"annotations": {_ACCOUNT_UID: account["metadata"]["uid"]}}, "data": encoded}
        await self._client.patch(resources.SECRETS, name=name, patch=patch, namespace=namespace)

    async def _remove_tokens(self) -> None:
        """Delete the token Secrets of service accounts that are deleted."""
        async with contextlib.aclosing(self._client.follow(resources.SERVICEACCOUNTS)) as changes:
            async for change in changes:
                if change.type != "DELETED":
                    continue
                metadata = change.object["metadata"]
                with contextlib.suppress(RequestError):
                    for secret in await self._client.select(resources.SECRETS, namespace=metadata["namespace"]):
                        if _account_of(secret) == metadata["name"]:
                            await self._client.delete(
                                resources.SECRETS, name=secret["metadata"]["name"], namespace=metadata["namespace"]
                            )


def _account_of(secret: Object) -> str | None:
    """Return the service account that a Secret has the token of."""
    is_token = secret.get("type") == "kubernetes.io/service-account-token"
    return (secret["metadata"].get("annotations") or {}).get(_ACCOUNT) if is_token else None
