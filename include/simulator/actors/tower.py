"""tower: prepares proxy Clusters, accepts their agents, leads requests to them (kubesphere-facts 6.5, 8).

Not imitated: the wire protocol (see `include/simulator/tunnel.py`), and TLS on the ports that stand for a member's API
server, except for the name in its certificate. The certificates in the kubeconfig that is written here are genuine and
never looked at.

What happens when two members have the same ports was read in tower's source and not run (kubesphere-facts 6.5, 8): the
ports belong to who connected first. The second one's listener fails, which is only logged, and its agent is reported
as connected. What is sent to the second one's Service then comes to the first member: on the port that stands for
ks-apiserver it is answered, on the one that stands for the API server a client that verifies sees that the
certificate is another Service's. Nobody listens for the second one when the first has gone, until it connects anew.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import copy
import functools
import logging
import time
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from include.simulator import allocation, resources
from include.simulator.actors import kubeconfigs
from include.simulator.actors.client import Change, Object, RequestError
from include.simulator.actors.cluster_controller import marshal, set_condition
from include.simulator.actors.kubelet import Container
from include.simulator.certificates import Authority
from include.simulator.manifests import SYSTEM_NAMESPACE
from include.simulator.network import DialError
from include.simulator.tunnel import Acceptor, RefusedError, Tunnel

log = logging.getLogger(__name__)

PORT: Final = 8080
PROTOCOL: Final = "kubesphere-v1"
CONNECTED: Final = "Agent has connected to proxy successfully."
DISCONNECTED: Final = "Agent has not connected to proxy."
_RETRY_SECONDS: Final = 0.1
_ROUTE_WAIT_SECONDS: Final = 2
_FIRST_REQUEST_SECONDS: Final = 10


async def run(container: Container, *, draws: allocation.Draws) -> None:
    """Run tower until cancelled; it then drops its agents and writes nothing, so that what it wrote gets stale."""
    tower = Tower(container, draws=draws)
    try:
        await tower.run()
    finally:
        tower.drop_all()


@functools.cache
def _authority() -> Authority:
    """Return the authority in tower's image, the same wherever tower runs."""
    return Authority("kubesphere")


def build_kubeconfig(server: str) -> str:
    """Return a kubeconfig for a member behind tower, with a client certificate of its own."""
    pair = _authority().issue_client("kubernetes-admin", groups=["system:masters"])
    encoded = {
        "client-certificate-data": base64.b64encode(pair.certificate.encode()).decode(),
        "client-key-data": base64.b64encode(pair.key.encode()).decode(),
    }
    document = kubeconfigs.build(
        name="kubernetes",
        server=server,
        authority=_authority().certificate,
        user_name="kubernetes-admin",
        user=encoded,
    )
    return kubeconfigs.dump(document)


class Tower(Acceptor):
    """One process of tower."""

    def __init__(self, container: Container, *, draws: allocation.Draws) -> None:
        self._container = container
        self._draws = draws
        self._listeners: dict[int, str] = {}
        self._client = container.client
        self._clusters: dict[str, Object] = {}
        self._tunnels: dict[str, list[Tunnel]] = collections.defaultdict(list)
        self._locks: dict[str, asyncio.Lock] = collections.defaultdict(asyncio.Lock)
        self._preparing: set[str] = set()
        self._tasks = asyncio.TaskGroup()
        # Agents that were connected before the simulation began are connected: their return changes nothing.
        self._held: set[str] = set()

    async def run(self) -> None:
        """Follow the Clusters and accept agents until cancelled."""
        async with self._tasks, contextlib.aclosing(self._client.follow(resources.CLUSTERS)) as changes:
            if self._container.resumed:
                listed = await self._client.select(resources.CLUSTERS)
                self._clusters = {item["metadata"]["name"]: item for item in listed}
                self._held = {name for name, item in self._clusters.items() if _shows(item, type_="AgentAvailable")}
            self._container.listen(PORT, application=self)
            self._container.started.set()
            try:
                async for change in changes:
                    self._handle(change)
            finally:
                self._container.close(PORT)

    def drop_all(self) -> None:
        """Close every connection."""
        for tunnels in self._tunnels.values():
            for tunnel in tunnels:
                tunnel.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a plain HTTP request."""
        request = Request(scope)
        response: PlainTextResponse | StreamingResponse = PlainTextResponse("Not Found", status_code=404)
        if _upgrades(request):
            headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": PROTOCOL}
            response = StreamingResponse(_greet(), status_code=101, headers=headers)
        elif request.url.path == "/health":
            response = PlainTextResponse("OK\n")
        elif request.url.path == "/version":
            response = PlainTextResponse(self._container.release.tower_image.rpartition(":")[2])
        await response(scope, receive, send)

    async def accept(self, tunnel: Tunnel) -> None:
        """Take an agent that knows the token of a Cluster. Raises RefusedError."""
        cluster = self._clusters.get(tunnel.name)
        connection = _connection(cluster)
        if not connection.get("token") or connection["token"] != tunnel.token or not _is_prepared(cluster):
            raise RefusedError("Unauthorized agent")
        if self._tunnels[tunnel.name] and not self._container.release.takes_several_agents:
            raise RefusedError("A session already allocated for this client.")
        if not self._tunnels[tunnel.name]:
            self._open_ports(tunnel.name, connection=connection)
        self._tunnels[tunnel.name].append(tunnel)
        self._tasks.create_task(self._serve(tunnel))

    def _handle(self, change: Change) -> None:
        cluster, name = change.object, change.object["metadata"]["name"]
        if change.type == "DELETED":
            self._clusters.pop(name, None)
            for tunnel in self._tunnels[name]:
                tunnel.close()
            self._tasks.create_task(self._remove_service(name))
            return
        self._remember(cluster)
        if "deletionTimestamp" in cluster["metadata"]:
            return
        if _is_wanted(cluster):
            if name not in self._preparing and self._container.release.tower_initialises:
                self._preparing.add(name)
                self._tasks.create_task(self._prepare(name))
        elif change.old is not None and _is_wanted(change.old):
            self._tasks.create_task(self._remove_service(name))

    def _remember(self, cluster: Object) -> None:
        """Keep what is newest: an answer to an own write can overtake the watch."""
        known = self._clusters.get(cluster["metadata"]["name"])
        if known is None or _version(known) < _version(cluster):
            self._clusters[cluster["metadata"]["name"]] = cluster

    async def _prepare(self, name: str) -> None:
        try:
            while (cluster := self._clusters.get(name)) and not _is_prepared(cluster) and _is_wanted(cluster):
                if "deletionTimestamp" in cluster["metadata"]:
                    return
                try:
                    await self._initialize(copy.deepcopy(cluster))
                except RequestError as error:
                    self._container.log(f"error syncing cluster {name}: {error}")
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            self._preparing.discard(name)

    async def _initialize(self, cluster: Object) -> None:
        """Give a Cluster its ports, token, Service and addresses, in one update. Raises RequestError.

        The update is made of what was read when the work began and carries only the newest resourceVersion, so that it
        takes back what others wrote meanwhile: as recorded, the controller's finalizer is gone until the controller
        puts it there again.
        """
        name = cluster["metadata"]["name"]
        await asyncio.sleep(self._container.timing.sync)
        connection = cluster["spec"]["connection"]
        connection |= self._draws.draw()
        connection["token"] = connection.get("token") or allocation.new_token()
        service = await self._ensure_service(name, connection=connection)
        connection |= allocation.endpoints(service)
        status = cluster.setdefault("status", {})
        set_condition(
            status, type_="Initialized", value="True", reason="Initialized", message="Cluster has been initialized"
        )
        while True:
            try:
                self._remember(await self._client.replace(resources.CLUSTERS, content=marshal(cluster)))
            except RequestError as error:
                if error.code != 409:
                    raise
                latest = await self._client.find(resources.CLUSTERS, name=name)
                if latest is None or latest["metadata"]["uid"] != cluster["metadata"]["uid"]:
                    return
                cluster["metadata"]["resourceVersion"] = latest["metadata"]["resourceVersion"]
            else:
                return

    async def _ensure_service(self, name: str, *, connection: Object) -> Object:
        content = allocation.build_service(name, connection=connection)
        found = await self._client.ensure(resources.SERVICES, content=content, namespace=SYSTEM_NAMESPACE)
        if found["spec"]["ports"] == content["spec"]["ports"]:
            return found
        found["spec"]["ports"] = content["spec"]["ports"]
        return await self._client.replace(resources.SERVICES, content=found)

    async def _remove_service(self, name: str) -> None:
        try:
            await self._client.delete(
                resources.SERVICES, name=allocation.service_name(name), namespace=SYSTEM_NAMESPACE
            )
        except RequestError as error:
            self._container.log(f"Failed to delete service of cluster {name}: {error}")

    def _open_ports(self, name: str, *, connection: Object) -> None:
        """Listen where the Cluster's Service leads; that another member has the ports is only logged."""
        own = urlsplit(connection["kubernetesAPIEndpoint"]).hostname or ""
        for port, server, verified in (
            (connection["kubernetesAPIServerPort"], "kubernetes", own),
            (connection["kubesphereAPIServerPort"], "kubesphere", ""),
        ):
            if port in self._listeners:
                error = f"listen tcp :{port}: bind: address already in use"
                self._container.log(f"Proxy server {name}-{server}: {error}")
                continue
            self._listeners[port] = name
            self._container.listen(port, application=self._forwarder(name, certified=verified))

    def _close_ports(self, name: str) -> None:
        for port in [port for port, owner in self._listeners.items() if owner == name]:
            del self._listeners[port]
            self._container.close(port)

    def _forwarder(self, name: str, *, certified: str) -> ASGIApp:
        """Return what answers on a port of a member: its ks-apiserver, or the API server under a `certified` address.

        Only the API server's own proxy, which verifies nothing, comes by the address of the pod.
        """

        async def forward(scope: Scope, receive: Receive, send: Send) -> None:
            host = scope["server"][0]
            if certified and host not in {certified, self._container.address}:
                raise DialError(f"x509: certificate is valid for {certified}, not {host}")
            # The real one takes any of a member's agents.
            tunnel = self._tunnels[name][-1]
            await tunnel.carry(tunnel.kubernetes if certified else tunnel.kubesphere, scope, receive, send)

        return forward

    async def _serve(self, tunnel: Tunnel) -> None:
        name = tunnel.name
        self._container.log(f"Connection established with {name}")
        if name in self._held:
            self._held.discard(name)
        else:
            await self._report(name)
        await tunnel.closed.wait()
        self._tunnels[name].remove(tunnel)
        self._container.log(f"Connection closed with {name}")
        if not self._tunnels[name]:
            self._close_ports(name)
            await self._report(name)

    async def _report(self, name: str) -> None:
        """Write whether an agent is connected, and with that a new kubeconfig when one is."""
        async with self._locks[name]:
            if self._tunnels[name]:
                await self._wait_for_route(name)
            while (cluster := self._clusters.get(name)) is not None:
                try:
                    cluster = await self._client.find(resources.CLUSTERS, name=name)
                    if cluster is None:
                        return
                    self._describe(cluster)
                    self._remember(await self._client.replace(resources.CLUSTERS, content=marshal(cluster)))
                except RequestError as error:
                    if error.code == 409:
                        continue
                    self._container.log(f"Failed to update cluster {name}: {error}")
                return

    def _describe(self, cluster: Object) -> None:
        connected = bool(self._tunnels[cluster["metadata"]["name"]])
        if connected:
            connection = cluster["spec"]["connection"]
            text = build_kubeconfig(connection["kubernetesAPIEndpoint"])
            connection["kubeconfig"] = base64.b64encode(text.encode()).decode()
        set_condition(
            cluster.setdefault("status", {}),
            type_="AgentAvailable",
            value="True" if connected else "False",
            reason="",
            message=CONNECTED if connected else DISCONNECTED,
        )

    async def _wait_for_route(self, name: str) -> None:
        """Wait until the Cluster's Service leads here: in reality kube-proxy is quicker than any agent.

        Without it the load of the test machine would decide whether the controller's first attempt fails.
        """
        address = urlsplit(_connection(self._clusters.get(name))["kubernetesAPIEndpoint"])
        deadline = time.monotonic() + _ROUTE_WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                self._container.network.route(
                    self._container.cluster, host=address.hostname or "", port=address.port or 443
                )
            except DialError:
                await asyncio.sleep(0.01)
            else:
                return


def _upgrades(request: Request) -> bool:
    """Say whether somebody asks for a WebSocket as an agent does; on any path."""
    headers = request.headers
    return headers.get("upgrade", "").lower() == "websocket" and headers.get("sec-websocket-protocol") == PROTOCOL


async def _greet() -> AsyncIterator[bytes]:
    """Greet as an SSH server in a WebSocket's frame does, and wait for a first request that never comes."""
    yield b"\x82\x0aSSH-2.0-Go"
    await asyncio.sleep(_FIRST_REQUEST_SECONDS)


def _connection(cluster: Object | None) -> Object:
    connection = ((cluster or {}).get("spec") or {}).get("connection")
    return connection if isinstance(connection, dict) else {}


def _is_wanted(cluster: Object) -> bool:
    """Say whether tower has to do with a Cluster."""
    spec = cluster.get("spec") or {}
    return bool(spec.get("joinFederation")) and _connection(cluster).get("type") == "proxy"


def _is_prepared(cluster: Object | None) -> bool:
    return cluster is not None and _shows(cluster, type_="Initialized")


def _shows(cluster: Object, *, type_: str) -> bool:
    """Say whether a condition is True."""
    listed = (cluster.get("status") or {}).get("conditions") or []
    return any(entry["type"] == type_ and entry["status"] == "True" for entry in listed)


def _version(cluster: Object) -> int:
    return int(cluster["metadata"]["resourceVersion"])
