"""What an API server forwards: pod logs to the kubelet, and the proxy paths to pods on the cluster's network."""

from __future__ import annotations

import httpx
from starlette.requests import Request
from starlette.responses import Response

from include.simulator import parameters, resources, status
from include.simulator.network import DialError, Network
from include.simulator.status import Problem
from include.simulator.store import Store
from include.simulator.streams import read_what_ends, relay

KUBELET_PORT = 10250
_DROPPED_REQUEST_HEADERS = {"host", "authorization", "content-length", "connection", "accept-encoding"}


class Proxy:
    """Forwards requests of one cluster's API server.

    The `Authorization` header is stripped, as by the real server, whose authentication consumes it
    (kubesphere-facts 7.1); what is behind sees an anonymous request unless it looks at another header.
    """

    def __init__(self, store: Store, *, network: Network, cluster: str) -> None:
        self._store = store
        self._client = network.client(cluster)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def read_log(self, request: Request, *, namespace: str, name: str) -> Response:
        """Return a container's log, with `follow` as a stream that goes on until the container has ended.

        Raises ApiError 400 when the container cannot be told or has not started.
        """
        for option in ("tailLines", "sinceSeconds"):
            number = parameters.read_integer(request, name=option)
            if number is not None and number < 0:
                text = f"Invalid value: {number}: must be greater than or equal to 0"
                raise status.invalid_options("PodLogOptions", problems=[Problem(field=option, text=text)])
        pod = self._store.get(resources.PODS, name=name, namespace=namespace)
        names = [container["name"] for container in pod["spec"]["containers"]]
        container = request.query_params.get("container") or (names[0] if len(names) == 1 else "")
        if not container:
            raise status.bad_request(
                f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
            )
        if container not in names:
            raise status.bad_request(f"container {container} is not valid for pod {name}")
        if not pod["spec"].get("nodeName"):
            return Response(status_code=204)
        address = pod["status"].get("hostIP")
        if not address:
            raise status.bad_request(f'container "{container}" in pod "{name}" is waiting to start: ContainerCreating')
        url = f"https://{address}:{KUBELET_PORT}/containerLogs/{namespace}/{name}/{container}"
        sent = self._client.build_request("GET", url, params=dict(request.query_params))
        try:
            return await self._send(sent)
        except (DialError, httpx.HTTPError) as error:
            raise status.failure(f'Get "{sent.url}": {error}') from error

    async def forward_to_pod(self, request: Request, *, namespace: str, name: str, path: str) -> Response:
        """Forward to `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`. Raises ApiError."""
        scheme, plain_name, port = _split(name)
        pod = self._store.get(resources.PODS, name=plain_name, namespace=namespace)
        address = pod["status"].get("podIP")
        if not address:
            raise status.bad_request("address not allowed")
        return await self._forward(request, base=f"{scheme}://{address}:{port or 80}", path=path)

    async def forward_to_service(self, request: Request, *, namespace: str, name: str, path: str) -> Response:
        """Forward to a ready endpoint of `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`. Raises ApiError."""
        scheme, plain_name, port = _split(name)
        service = self._store.get(resources.SERVICES, name=plain_name, namespace=namespace)
        if port.isdecimal():
            # A number stands for the port of that number, whose name the endpoints know.
            names = [
                entry.get("name", "") for entry in service["spec"].get("ports") or [] if entry["port"] == int(port)
            ]
            if not names:
                raise status.unavailable(f'no service port {port} found for service "{plain_name}"')
            port = names[0]
        endpoints = self._store.find(resources.ENDPOINTS, name=plain_name, namespace=namespace)
        for subset in (endpoints or {}).get("subsets") or []:
            for entry in subset.get("ports") or []:
                if entry.get("name", "") == port and subset.get("addresses"):
                    base = f"{scheme}://{subset['addresses'][0]['ip']}:{entry['port']}"
                    return await self._forward(request, base=base, path=path)
        raise status.unavailable(f'no endpoints available for service "{plain_name}"')

    async def _forward(self, request: Request, *, base: str, path: str) -> Response:
        if "dryRun" in request.query_params:
            raise status.bad_request("the dryRun parameter is not supported by a proxy")
        headers = {key: value for key, value in request.headers.items() if key not in _DROPPED_REQUEST_HEADERS}
        try:
            sent = self._client.build_request(
                request.method,
                f"{base}/{path}",
                params=request.url.query,
                headers=headers,
                content=await request.body(),
            )
        except httpx.InvalidURL as error:
            raise status.bad_request(str(error)) from error
        try:
            return await self._send(sent)
        except (DialError, httpx.HTTPError) as error:
            raise status.unavailable(f"error trying to reach service: {error}") from error

    async def _send(self, sent: httpx.Request) -> Response:
        answer = await self._client.send(sent, stream=True)
        await read_what_ends(answer)
        return relay(answer)


def _split(name: str) -> tuple[str, str, str]:
    """Split `[SCHEME:]NAME[:PORT]`. Raises ApiError 400."""
    parts = name.split(":")
    if len(parts) == 1:
        return "http", parts[0], ""
    if len(parts) == 2:
        return "http", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in {"", "http", "https"}:
        return parts[0] or "http", parts[1], parts[2]
    raise status.bad_request(f'invalid service request "{name}"')
