"""The cluster controller of KubeSphere 3.0 (kubesphere-facts 6, the columns of 3.0).

Unlike its successors it tells a failing join by an Event only, keeps conditions that are out of date in the list,
requeues a Cluster on every change of it, and gives proxy Clusters their ports, token and Service itself.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Final

from include.simulator import allocation, resources, store
from include.simulator.actors import cluster_controller, federation, kubeconfigs
from include.simulator.actors.client import Change, Client, Object, RequestError
from include.simulator.actors.cluster_controller import FINALIZER, HOST_LABEL, ClusterController
from include.simulator.actors.kubelet import Container
from include.simulator.actors.recorder import Recorder
from include.simulator.manifests import SYSTEM_NAMESPACE

COMPONENT: Final = "cluster-controller"


class EventedController(ClusterController):
    """Reconciles the Clusters of a host as 3.0 does."""

    def __init__(self, container: Container, *, host_name: str, draws: allocation.Draws) -> None:
        super().__init__(container, host_name=host_name)
        self._draws = draws
        self._recorder = Recorder(container.client, component=COMPONENT)

    def _matters(self, change: Change) -> bool:
        """Say whether a change is worth a round: every change is, also the controller's own."""
        return change.type != "DELETED"

    async def _sync(self, name: str) -> None:
        """Do one round for a Cluster (6.3). Raises RequestError and KubeconfigError."""
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
        connection = (cluster.get("spec") or {}).get("connection") or {}
        if connection.get("type") == "proxy" and not await self._initialise(cluster):
            return
        if not connection.get("kubeconfig"):
            return
        access = kubeconfigs.parse(kubeconfigs.decode(connection["kubeconfig"]))
        member = cluster_controller.connect(self._container, access)
        try:
            await self._join(cluster, member=member, access=access)
        finally:
            await member.close()

    async def _initialise(self, cluster: Object) -> bool:
        """Give a proxy Cluster what an agent needs; False when this round ends here (6.5).

        The round that creates the Service stores nothing else: ports and token are chosen anew in the next one.
        """
        name, connection = cluster["metadata"]["name"], cluster["spec"]["connection"]
        before = copy.deepcopy(cluster)
        if not connection.get("kubernetesAPIServerPort") or not connection.get("kubesphereAPIServerPort"):
            connection |= self._draws.draw()
        if not connection.get("token"):
            connection["token"] = allocation.new_token()
        wanted = allocation.build_service(name, connection=connection)
        service = await self._client.find(
            resources.SERVICES, name=wanted["metadata"]["name"], namespace=SYSTEM_NAMESPACE
        )
        if service is None:
            await self._client.create(resources.SERVICES, content=wanted, namespace=SYSTEM_NAMESPACE)
            return False
        if [port["targetPort"] for port in service["spec"]["ports"]] != [
            port["targetPort"] for port in wanted["spec"]["ports"]
        ]:
            service["spec"]["ports"] = wanted["spec"]["ports"]
            service = await self._client.replace(resources.SERVICES, content=service)
        connection |= allocation.endpoints(service)
        set_condition(
            cluster.setdefault("status", {}),
            type_="Initialized",
            value="True",
            reason="Initialized",
            message="Cluster has been initialized",
        )
        if cluster == before:
            return True
        await self._write(cluster)
        return False

    async def _join(self, cluster: Object, *, member: Client, access: kubeconfigs.Access) -> None:
        """Join or leave the federation, and tell what came of it. Raises RequestError; nothing is stored then.

        Except that a proxy Cluster whose agent is not there is not available, also when that is why it cannot join.
        """
        before = copy.deepcopy(cluster)
        status: Object = cluster.setdefault("status", {})
        connection = cluster["spec"]["connection"]
        is_connected = connection.get("type") != "proxy" or has_condition(status, type_="AgentAvailable")
        failure: RequestError | None = None
        try:
            await self._federate(cluster, member=member, access=access)
        except RequestError as error:
            if is_connected:
                raise
            failure = error
        if is_connected:
            await asyncio.sleep(self._container.timing.sync)
            connection["kubernetesAPIEndpoint"] = connection.get("kubernetesAPIEndpoint") or access.server
            await self._describe(cluster, member=member)
            set_condition(status, type_="Ready", value="True", reason="Ready", message="Cluster is available now")
        else:
            set_condition(
                status,
                type_="Ready",
                value="False",
                reason="Unable to establish connection with cluster",
                message="Cluster is not available now",
            )
        if cluster != before:
            await self._write(cluster)
        if failure is not None:
            raise failure

    async def _federate(self, cluster: Object, *, member: Client, access: kubeconfigs.Access) -> None:
        """Join the Cluster, or take it out when it is not to be joined. Raises RequestError."""
        metadata = cluster["metadata"]
        name, labels = metadata["name"], metadata.get("labels") or {}
        joins = bool(cluster["spec"].get("joinFederation"))
        reason = "JoinFederation" if joins else "UnJoinFederation"
        try:
            if joins:
                await federation.join(
                    host=self._client,
                    member=member,
                    access=access,
                    name=name,
                    labels=labels,
                    checks_workspaces=False,
                    makes_token=False,
                    # Of 30 seconds, where the resync comes every 120.
                    patience=self._container.timing.resync / 4,
                )
            else:
                await federation.leave(self._client, name=name)
                await federation.withdraw(member, name=name, keeps_namespace=HOST_LABEL in labels)
        except RequestError as error:
            self._container.log(f"Failed to {reason} for cluster {name}, error {error}")
            await self._record(cluster, type_="Warning", reason=reason, text=str(error))
            raise
        if not joins:
            return
        await self._record(cluster, type_="Normal", reason=reason, text="Cluster has joined federation.")
        set_condition(
            cluster["status"],
            type_="Federated",
            value="True",
            reason="",
            message="Cluster has joined federation control plane successfully",
        )

    async def _record(self, cluster: Object, *, type_: str, reason: str, text: str) -> None:
        await self._recorder.record(cluster, resource=resources.CLUSTERS, type_=type_, reason=reason, text=text)

    async def _describe(self, cluster: Object, *, member: Client) -> None:
        """Fill in what can be read of the cluster; 3.0 asks neither for its uid nor for its version of KubeSphere."""
        await self._describe_nodes(cluster, member=member)

    async def _finalize(self, cluster: Object) -> None:
        """Clean up on the host, the Service of a proxy Cluster included, and let the object go (6.7)."""
        if FINALIZER in (cluster["metadata"].get("finalizers") or []):
            name = allocation.service_name(cluster["metadata"]["name"])
            await self._client.delete(resources.SERVICES, name=name, namespace=SYSTEM_NAMESPACE)
        await super()._finalize(cluster)


def has_condition(status: Object, *, type_: str) -> bool:
    """Say whether a condition is True; for 3.0 one of its entries suffices, also one that is out of date."""
    entries = status.get("conditions") or []
    return any(entry["type"] == type_ and entry["status"] == "True" for entry in entries)


def set_condition(status: Object, *, type_: str, value: str, reason: str, message: str) -> None:
    """Add a condition as 3.0 does: nothing changes while its status stays, else the old entry is there twice (6.1)."""
    entries: list[Object] = list(status.get("conditions") or [])
    positions = [position for position, entry in enumerate(entries) if entry["type"] == type_]
    if positions and entries[positions[-1]]["status"] == value:
        return
    if positions:
        entries.insert(positions[-1], copy.deepcopy(entries[positions[-1]]))
    now = store.timestamp()
    condition = {"type": type_, "status": value, "lastUpdateTime": now, "lastTransitionTime": now}
    condition |= {"reason": reason} if reason else {}
    status["conditions"] = [*entries, {**condition, "message": message}]
