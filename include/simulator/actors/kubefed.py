"""kubefed's controller manager: says whether joined clusters answer, and which kinds it federates (6.4).

A second health signal beside the Cluster's conditions: it uses the token and the address that the join has stored in
the host, not the Cluster's kubeconfig. Not imitated: federating anything, zones and regions, leader election, Events,
and the finalizer and the checks of a FederatedTypeConfig. The webhook, of the same image, does nothing here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from typing import Final

from include.simulator import resources, store
from include.simulator.actors import kubeconfigs
from include.simulator.actors.client import Client, Object, RequestError
from include.simulator.actors.kubelet import Container
from include.simulator.manifests import FEDERATION_NAMESPACE, KUBEFED_COMMANDS

log = logging.getLogger(__name__)

_PERIODS_PER_RESYNC: Final = 12
"""kubefed asks each cluster every 10 s, where the resync of the cluster controller is 120 s."""
_SHORTEST_PERIOD: Final = 0.25
_PATIENCE: Final = 3
_FAILURES: Final = 3
"""A cluster that was ready has to fail so often before it is said not to be."""


async def run(container: Container) -> None:
    """Do what the command names until cancelled."""
    if container.command[:1] == KUBEFED_COMMANDS["kubefed-controller-manager"][:1]:
        await _Health(container).run()
    container.started.set()
    await asyncio.Event().wait()


class _Health:
    """The state of the KubeFedClusters, asked for again and again."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._client = container.client
        self._period = max(container.timing.resync / _PERIODS_PER_RESYNC, _SHORTEST_PERIOD)
        self._failures: dict[str, int] = {}
        self._members: dict[str, tuple[kubeconfigs.Access, Client]] = {}

    async def run(self) -> None:
        """Ask until cancelled."""
        self._container.started.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._enable())
                tasks.create_task(self._monitor())
        finally:
            for _, member in self._members.values():
                await member.close()

    async def _monitor(self) -> None:
        while True:
            try:
                found = await self._client.select(resources.KUBEFEDCLUSTERS, namespace=FEDERATION_NAMESPACE)
            except RequestError as error:
                # As long as the definitions are not there, too.
                self._container.log(f"Error monitoring cluster status: {error}")
                found = []
            await asyncio.gather(*(self._update(item) for item in found))
            await asyncio.sleep(self._period)

    async def _enable(self) -> None:
        """Say of each kind that is to be federated that its controller runs."""
        async for change in self._client.follow(resources.FEDERATEDTYPECONFIGS, namespace=FEDERATION_NAMESPACE):
            item = change.object
            status = {
                "observedGeneration": item["metadata"].get("generation", 1),
                "propagationController": "Running",
                "statusController": "NotRunning",
            }
            if change.type != "DELETED" and item.get("status") != status:
                try:
                    await self._client.replace(
                        resources.FEDERATEDTYPECONFIGS, content={**item, "status": status}, subresource="status"
                    )
                except RequestError as error:
                    self._container.log(f"Failed to update the status of {item['metadata']['name']}: {error}")

    async def _update(self, cluster: Object) -> None:
        name = cluster["metadata"]["name"]
        before = (cluster.get("status") or {}).get("conditions") or []
        entries = await self._ask(cluster)
        ready, was_ready = _is_ready(entries), _is_ready(before)
        self._failures[name] = 0 if ready else self._failures.get(name, 0) + 1
        if was_ready and not ready and self._failures[name] < _FAILURES:
            entries = [{**entry, "lastProbeTime": store.timestamp()} for entry in before]
        elif before and ready is was_ready:
            entries = [{**entry, "lastTransitionTime": before[0]["lastTransitionTime"]} for entry in entries]
        try:
            await self._client.replace(
                resources.KUBEFEDCLUSTERS, content={**cluster, "status": {"conditions": entries}}, subresource="status"
            )
        except RequestError as error:
            self._container.log(f'Failed to update the status of cluster "{name}": {error}')

    async def _ask(self, cluster: Object) -> list[Object]:
        """Return the conditions by what the cluster answers now."""
        name = cluster["metadata"]["name"]
        try:
            member = await self._connect(cluster)
        except (RequestError, KeyError, kubeconfigs.KubeconfigError, binascii.Error, ValueError) as error:
            self._container.log(f"The configuration for cluster {name} may be malformed: {error}")
            return [_condition("ConfigMalformed", "ClusterConfigMalformed", "cluster's configuration may be malformed")]
        try:
            answer = await member.request("GET", path="/healthz", patience=_PATIENCE)
            answer.raise_for_status()
        except Exception as error:  # noqa: BLE001 - whatever it is, the cluster cannot be reached
            self._container.log(f"Failed to do cluster health check for cluster {name}: {error}")
            return [_condition("Offline", "ClusterNotReachable", "cluster is not reachable")]
        if answer.text.lower() == "ok":
            return [_condition("Ready", "ClusterReady", "/healthz responded with ok")]
        return [
            _condition("Ready", "ClusterNotReady", "/healthz responded without ok", value="False"),
            _condition("Offline", "ClusterReachable", "cluster is reachable", value="False"),
        ]

    async def _connect(self, cluster: Object) -> Client:
        """Return a client of a cluster, by what its join has stored; the same one while that is the same.

        Raises what such data can raise.
        """
        spec = cluster["spec"]
        secret = await self._client.get(
            resources.SECRETS, name=spec["secretRef"]["name"], namespace=FEDERATION_NAMESPACE
        )
        access = kubeconfigs.Access(
            server=spec["apiEndpoint"],
            authority=base64.b64decode(spec.get("caBundle") or "").decode() or None,
            insecure=spec.get("disabledTLSValidations") == ["*"],
            server_name=None,
            token=base64.b64decode(secret["data"]["token"]).decode(),
            certificate=None,
            key=None,
        )
        name = cluster["metadata"]["name"]
        known = self._members.get(name)
        if known is not None and known[0] == access:
            return known[1]
        member = kubeconfigs.connect(access, network=self._container.network, cluster=self._container.cluster)
        self._members[name] = access, member
        if known is not None:
            await known[1].close()
        return member


def _is_ready(conditions: list[Object]) -> bool:
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _condition(type_: str, reason: str, message: str, *, value: str = "True") -> Object:
    now = store.timestamp()
    times = {"lastProbeTime": now, "lastTransitionTime": now}
    return {"type": type_, "status": value, "reason": reason, "message": message, **times}
