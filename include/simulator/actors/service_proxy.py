"""What kube-proxy and the cloud's load balancer do: lead the addresses of Services to pods.

A Service's address and name lead to a pod for the pods of its cluster, its node port and its load balancer for
everybody. A load balancer stays pending unless the scenario gives it an address.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import time

from include.simulator import resources
from include.simulator.actors.client import Client, Object, RequestError
from include.simulator.network import Network
from include.simulator.published import Address, LoadBalancer

log = logging.getLogger(__name__)


class ServiceProxy:
    """The Services of one cluster. `published` are further addresses that lead to tower, as a port forward would.

    `settled` is set when the Services that were there at the start work.
    """

    def __init__(
        self,
        client: Client,
        *,
        cluster: str,
        node: str,
        network: Network,
        load_balancer: LoadBalancer | None,
        published: tuple[Address, ...],
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._node = node
        self._network = network
        self._load_balancer = load_balancer
        self._published = published
        self._seen: dict[str, float] = {}
        self._wake = asyncio.Event()
        self.settled = asyncio.Event()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        self._wake.set()
        async with asyncio.TaskGroup() as tasks:
            for resource in (resources.SERVICES, resources.ENDPOINTS):
                tasks.create_task(self._notice(resource))
            tasks.create_task(self._reconcile())

    async def _notice(self, resource: resources.Resource) -> None:
        async with contextlib.aclosing(self._client.follow(resource)) as changes:
            async for _change in changes:
                self._wake.set()

    async def _reconcile(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                services = [await self._publish(item) for item in await self._client.select(resources.SERVICES)]
                endpoints = {_key(item): item for item in await self._client.select(resources.ENDPOINTS)}
            except RequestError as error:
                log.debug("Reconciling the Services of %s failed, trying again: %s", self._cluster, error)
                await asyncio.sleep(0.1)
                self._wake.set()
                continue
            self._forward(services, endpoints=endpoints)
            self.settled.set()

    async def _publish(self, service: Object) -> Object:
        """Give a load balancer its address when the time has come. Raises RequestError."""
        balancer = self._load_balancer
        if service["spec"]["type"] != "LoadBalancer" or balancer is None or _ingress(service):
            return service
        since = self._seen.setdefault(service["metadata"]["uid"], time.monotonic())
        remaining = since + balancer.after - time.monotonic()
        if remaining > 0:
            asyncio.get_running_loop().call_later(remaining, self._wake.set)
            return service
        return await self._client.patch(
            resources.SERVICES,
            name=service["metadata"]["name"],
            namespace=service["metadata"]["namespace"],
            subresource="status",
            patch={"status": {"loadBalancer": {"ingress": [_describe(balancer.address)]}}},
        )

    def _forward(self, services: list[Object], *, endpoints: dict[tuple[str, str], Object]) -> None:
        inside: dict[Address, Address | None] = {}
        outside: dict[Address, Address | None] = dict.fromkeys(self._published)
        for service in services:
            name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
            hosts = [service["spec"].get("clusterIP", "")]
            hosts += [f"{name}.{namespace}{suffix}" for suffix in ("", ".svc", ".svc.cluster.local")]
            for port in service["spec"].get("ports") or []:
                target = _find_target(endpoints.get((namespace, name)), port=port)
                if not service["spec"].get("selector"):
                    continue
                inside |= dict.fromkeys([(host, port["port"]) for host in hosts], target)
                if "nodePort" in port:
                    outside[self._node, port["nodePort"]] = target
                outside |= {(host, port["port"]): target for host in _ingress(service)}
            if name == "tower" and service["spec"].get("ports"):
                tower = _find_target(endpoints.get((namespace, name)), port=service["spec"]["ports"][0])
                outside |= dict.fromkeys(self._published, tower)
        self._network.forward(self._cluster, inside=inside, outside=outside)


def _describe(address: str) -> dict[str, str]:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return {"hostname": address}
    return {"ip": address}


def _ingress(service: Object) -> list[str]:
    listed = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return [entry[key] for entry in listed for key in ("ip", "hostname") if entry.get(key)]


def _find_target(endpoints: Object | None, *, port: Object) -> Address | None:
    """Return the pod and port behind a port of a Service, or None when no pod is ready."""
    for subset in (endpoints or {}).get("subsets") or []:
        for entry in subset.get("ports") or []:
            if entry.get("name", "") == port.get("name", "") and subset.get("addresses"):
                return subset["addresses"][0]["ip"], entry["port"]
    return None


def _key(item: Object) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]
