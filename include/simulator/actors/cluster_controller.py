"""ks-controller-manager's cluster controller (kubesphere-facts 6, KubeSphere 3.4, direct connections).

It checks neither the member's role nor its
jwtSecret: a Ready cluster proves neither (6.6).
"""

from __future__ import annotations

import asyncio
import copy
import datetime
import logging
from typing import Any, Final

from include.simulator import certificates, clock, configuration, manifests, resources, store
from include.simulator.actors import federation, kubeconfigs
from include.simulator.actors.client import Change, Client, Object, RequestError
from include.simulator.actors.kubelet import Container
from include.simulator.network import SERVICE_ADDRESS

log = logging.getLogger(__name__)

FINALIZER: Final = "finalizer.cluster.kubesphere.io"
HOST_LABEL: Final = "cluster-role.kubesphere.io/host"
SERVICE_PROXY: Final = "/api/v1/namespaces/kubesphere-system/services/:ks-apiserver:80/proxy"
_RETRIES: Final = 15


class ClusterController:
    """Reconciles the Clusters of a host; `host_name` is the name of the one that stands for the host itself."""

    def __init__(self, container: Container, *, host_name: str) -> None:
        self._container = container
        self._client = container.client
        self._host_name = host_name
        self._pending: set[str] = set()
        self._failures: dict[str, int] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._known: dict[str, Object] = {}

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(tasks))
            tasks.create_task(self._resync(tasks))

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        async for change in self._client.follow(resources.CLUSTERS):
            name = change.object["metadata"]["name"]
            if change.type == "DELETED":
                self._known.pop(name, None)
            else:
                self._known[name] = change.object
            if self._matters(change):
                self._enqueue(name, tasks=tasks)

    async def _resync(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                await self._ensure_host_cluster()
            except RequestError as error:
                self._container.log(f"Error create host cluster, error {error}")
            await asyncio.sleep(self._container.timing.resync)
            for name in list(self._known):
                self._enqueue(name, tasks=tasks)

    def _matters(self, change: Change) -> bool:
        """Say whether a change is worth a round: new, other spec, or being deleted (6.2)."""
        if change.type != "MODIFIED" or change.old is None:
            return change.type != "DELETED"
        return change.old.get("spec") != change.object.get("spec") or "deletionTimestamp" in change.object["metadata"]

    def _enqueue(self, name: str, *, tasks: asyncio.TaskGroup) -> None:
        """Note that a Cluster needs a round; rounds of one Cluster never overlap."""
        self._pending.add(name)
        if name not in self._busy:
            self._busy[name] = tasks.create_task(self._work(name, tasks=tasks))

    async def _work(self, name: str, *, tasks: asyncio.TaskGroup) -> None:
        try:
            while name in self._pending:
                self._pending.discard(name)
                try:
                    await self._sync(name)
                except Exception as error:
                    # Whatever a Cluster makes go wrong must not stop the work on others.
                    log.debug("Syncing cluster %s failed", name, exc_info=True)
                    self._container.log(f"error syncing cluster {name}: {error}")
                    tasks.create_task(self._retry(name, tasks=tasks))
                else:
                    self._failures.pop(name, None)
        finally:
            del self._busy[name]

    async def _retry(self, name: str, *, tasks: asyncio.TaskGroup) -> None:
        """Enqueue a Cluster once more after a growing delay; after 15 times it waits for an event or the resync."""
        failures = self._failures.pop(name, 0)
        if failures < _RETRIES:
            self._failures[name] = failures + 1
            await asyncio.sleep(0.005 * 2**failures)
            self._enqueue(name, tasks=tasks)

    async def _ensure_host_cluster(self) -> None:
        found = await self._client.select(resources.CLUSTERS, labels=HOST_LABEL)
        if len(found) > 1:
            raise RequestError(f"there MUST not be more than one host clusters, while there are {len(found)}")
        if not found:
            config = await self._client.get(resources.CONFIGMAPS, name="kube-root-ca.crt", namespace="kube-system")
            text = host_kubeconfig(config["data"]["ca.crt"])
            await self._client.create(
                resources.CLUSTERS, content=manifests.cluster(self._host_name, kubeconfig=text, host=True)
            )

    async def _sync(self, name: str) -> None:
        """Do one round for a Cluster (kubesphere-facts 6.3). Raises RequestError and KubeconfigError."""
        cluster = await self._client.find(resources.CLUSTERS, name=name)
        if cluster is None:
            return
        metadata = cluster["metadata"]
        if "deletionTimestamp" in metadata:
            await self._finalize(cluster)
            return
        if FINALIZER not in (metadata.get("finalizers") or []):
            metadata["finalizers"] = [*(metadata.get("finalizers") or []), FINALIZER]
            cluster = await self._write(cluster)
        spec = cluster.get("spec") or {}
        connection = spec.get("connection") or {}
        if not spec.get("joinFederation") or not connection.get("kubeconfig"):
            return
        access = kubeconfigs.parse(kubeconfigs.decode(connection["kubeconfig"]))
        member = connect(self._container, access)
        try:
            await self._join(cluster, member=member, access=access)
        finally:
            await member.close()

    async def _join(self, cluster: Object, *, member: Client, access: kubeconfigs.Access) -> None:
        name = cluster["metadata"]["name"]
        labels = cluster["metadata"].get("labels") or {}
        before = copy.deepcopy(cluster)
        status: Object = cluster.setdefault("status", {})
        try:
            await federation.join(host=self._client, member=member, access=access, name=name, labels=labels)
        except (RequestError, federation.WorkspaceConflictError) as error:
            self._container.log(f"Failed to join federation for cluster {name}, error {error}")
            set_condition(
                status,
                type_="Federated",
                value="False",
                reason=str(error),
                message="Cluster can not join federation control plane",
            )
            set_condition(
                status,
                type_="Ready",
                value="False",
                reason="Cluster join federation control plane failed",
                message="Cluster is Not Ready now",
            )
            await self._write(cluster)
            return
        await asyncio.sleep(self._container.timing.sync)
        set_condition(
            status,
            type_="Federated",
            value="True",
            reason="",
            message="Cluster has joined federation control plane successfully",
        )
        cluster["spec"]["connection"].setdefault("kubernetesAPIEndpoint", access.server)
        await self._describe(cluster, member=member)
        set_condition(status, type_="Ready", value="True", reason="Ready", message="Cluster is available now")
        is_host = HOST_LABEL in (cluster["metadata"].get("labels") or {})
        if cluster["spec"]["connection"].get("type") == "direct" and not is_host:
            self._check_certificate(status, access=access)
        if cluster != before:
            await self._write(cluster)
        await _write_cluster_name(member, name=name)

    async def _describe(self, cluster: Object, *, member: Client) -> None:
        """Fill in what can be read of the cluster; only versions, nodes and the uid are necessary."""
        await self._describe_nodes(cluster, member=member)
        status = cluster["status"]
        version = await _read_proxied(member, path="/kapis/version")
        if version is not None:
            reported = version.get("gitVersion") or "unknown"
            # What the builds of 3.0 say of themselves (kubesphere-facts 5.1).
            status["kubeSphereVersion"] = "v3.0.0" if reported == "v0.0.0" else reported
        system = await member.get(resources.NAMESPACES, name="kube-system")
        status["uid"] = system["metadata"]["uid"]

    async def _describe_nodes(self, cluster: Object, *, member: Client) -> None:
        """Fill in the version of Kubernetes, the nodes and the enabled components, and mark the host itself."""
        status = cluster["status"]
        answer = await member.request("GET", path="/version")
        status["kubernetesVersion"] = str(answer.json().get("gitVersion", ""))
        nodes = await member.select(resources.NODES)
        if nodes:
            status["nodeCount"] = len(nodes)
        components = await _read_proxied(member, path="/kapis/config.kubesphere.io/v1alpha2/configs/configz")
        if components is not None:
            status["configz"] = components
        if (components or {}).get("multicluster") and await self._are_own_nodes(nodes):
            cluster["metadata"].setdefault("labels", {})[HOST_LABEL] = ""

    async def _are_own_nodes(self, nodes: list[Object]) -> bool:
        """Say whether these are the host's nodes: as many, and the first is the same machine (5.3)."""
        own = await self._client.select(resources.NODES)
        return (
            bool(nodes)
            and len(own) == len(nodes)
            and (own[0]["status"]["nodeInfo"]["machineID"] == nodes[0]["status"]["nodeInfo"]["machineID"])
        )

    def _check_certificate(self, status: Object, *, access: kubeconfigs.Access) -> None:
        """Set KubeConfigCertExpiresInSevenDays; without a client certificate there is no date to tell (6.1)."""
        soon, text = False, ""
        if access.certificate:
            try:
                expiry = certificates.expiry(access.certificate)
            except ValueError as error:
                self._container.log(f"sync KubeConfig expiration date failed: {error}")
                return
            soon = expiry < clock.now() + datetime.timedelta(days=7)
            text = expiry.strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
        kind = "KubeConfigCertExpiresInSevenDays"
        set_condition(status, type_=kind, value="True" if soon else "False", reason=kind, message=text)

    async def _finalize(self, cluster: Object) -> None:
        """Clean up on the host and let the object go; the member keeps everything (6.7)."""
        name = cluster["metadata"]["name"]
        finalizers = cluster["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            return
        await federation.leave(self._client, name=name)
        cluster["metadata"]["finalizers"] = [finalizer for finalizer in finalizers if finalizer != FINALIZER]
        await self._write(cluster)

    async def _write(self, cluster: Object) -> Object:
        return await self._client.replace(resources.CLUSTERS, content=marshal(cluster))


def connect(container: Container, access: kubeconfigs.Access) -> Client:
    """Return a client for a kubeconfig; one that refers to this pod's own account gets this pod's client."""
    if access.server == f"https://{SERVICE_ADDRESS}:443" and access.token is None and access.certificate is None:
        return container.connect()
    return kubeconfigs.connect(access, network=container.network, cluster=container.cluster)


def marshal(cluster: Object) -> Object:
    """Return a Cluster as a Go program writes it: empty strings are omitted, `status` is there even when empty."""
    written = copy.deepcopy(cluster)
    spec = written.get("spec") or {}
    connection = {key: value for key, value in (spec.get("connection") or {}).items() if value not in ("", None)}
    written["spec"] = {key: value for key, value in spec.items() if value not in ("", None, False)}
    written["spec"]["connection"] = connection
    written["status"] = written.get("status") or {}
    return written


def host_kubeconfig(authority: str) -> str:
    """Return the kubeconfig in the host's own Cluster: the pod's service account, useless outside the pod."""
    document = kubeconfigs.build(
        name="local",
        server=f"https://{SERVICE_ADDRESS}:443",
        authority=authority,
        user_name="kubesphere",
        user={"tokenFile": kubeconfigs.ACCOUNT_FILE},
    )
    return kubeconfigs.dump(document)


def set_condition(status: Object, *, type_: str, value: str, reason: str, message: str) -> None:
    """Replace a condition: taken out and appended with fresh times, as KubeSphere 3.1 and later do (6.1)."""
    now = store.timestamp()
    condition = {"type": type_, "status": value, "lastUpdateTime": now, "lastTransitionTime": now}
    condition |= {"reason": reason} if reason else {}
    condition |= {"message": message} if message else {}
    kept = [entry for entry in status.get("conditions") or [] if entry["type"] != type_]
    status["conditions"] = [*kept, condition]


async def _read_proxied(member: Client, *, path: str) -> dict[str, Any] | None:
    """Return what the cluster's ks-apiserver answers through its service proxy; None where there is no answer."""
    try:
        answer = await member.request("GET", path=SERVICE_PROXY + path, patience=5)
    except RequestError as error:
        log.debug("ks-apiserver cannot be asked: %s", error)
        return None
    return dict(answer.json()) if answer.status_code == 200 else None


async def _write_cluster_name(member: Client, *, name: str) -> None:
    """Write the Cluster's name into the cluster's own ConfigMap, unless it is there (3.2). Raises RequestError."""
    config = await member.get(resources.CONFIGMAPS, name=configuration.NAME, namespace=configuration.NAMESPACE)
    loaded = configuration.parse(config)
    if configuration.read_multicluster(loaded).get("clusterName") != name:
        config["data"][configuration.KEY] = configuration.rewrite(loaded, cluster_name=name)
        await member.replace(resources.CONFIGMAPS, content=config)
