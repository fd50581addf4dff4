"""The network of the simulated machines: which address reaches what, seen from a pod of a given cluster.

Nothing outside this process can use these addresses. API servers are reached over their real TLS sockets,
with the name in the URL as the name to verify; ports of pods and nodes are ASGI applications of this process.
A pod's 127.0.0.1 is the pod itself, so a kubeconfig made for the machine where it was written is refused here as in
reality. Errors read as Go's, because KubeSphere copies them into conditions.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import ipaddress
import ssl
import weakref
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.types import ASGIApp

from include.simulator import elsewhere
from include.simulator.applications import Applications
from include.simulator.elsewhere import Listener
from include.simulator.published import TOWER_PORT, Address
from include.simulator.tunnel import Acceptor, Tunnel

SERVICE_ADDRESS = "10.233.0.1"
_TOWER = "tower.kubesphere-system.svc"
SERVICE_NAMES = frozenset(
    {"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
)


class DialError(Exception):
    """No connection came about; the text is what a Go program on the calling machine reports."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """An API server as others see it: its pod-side address, its real socket, and whether other clusters reach it.

    `names` and `addresses` are those in its certificate, `expiry` is its end, `issuer` the name of its authority.
    `outside` is the same server as it is seen at its address, where that differs: with another certificate. A
    `firewall` drops what the pods of other clusters send.
    """

    cluster: str
    address: str
    port: int
    real_host: str
    real_port: int
    reachable: bool
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    expiry: datetime.datetime | None = None
    issuer: str = ""
    outside: Server | None = None
    firewall: bool = False


class Network:
    """Knows every server and listening pod of the simulation."""

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}
        self._elsewhere: Mapping[Address, Listener] = {}
        self._gateway_to = ""
        self._applications: dict[tuple[str, str, int], ASGIApp] = {}
        self._inside: dict[str, Mapping[Address, Address | None]] = {}
        self._outside: dict[str, Mapping[Address, Address | None]] = {}
        self._isolated: collections.Counter[str] = collections.Counter()
        self._tunnels: dict[str, weakref.WeakSet[Tunnel]] = collections.defaultdict(weakref.WeakSet)

    def add_server(self, server: Server) -> None:
        """Make an API server known."""
        self._servers[server.cluster] = server

    def listen(self, cluster: str, *, address: str, port: int, application: ASGIApp) -> None:
        """Serve a port of a pod or node of a cluster; only that cluster's machines reach it."""
        self._applications[cluster, address, port] = application

    def close(self, cluster: str, *, address: str, port: int | None = None) -> None:
        """Stop serving a port of an address, or all of its ports."""
        for key in list(self._applications):
            if key[:2] == (cluster, address) and port in {None, key[2]}:
                del self._applications[key]

    def forward(
        self, cluster: str, *, inside: Mapping[Address, Address | None], outside: Mapping[Address, Address | None]
    ) -> None:
        """Say where the Services of a cluster lead: to an address of a pod, or None for a Service without one.

        `inside` holds for the cluster's own pods, `outside` for everybody. Replaces what was said before.
        """
        self._inside[cluster], self._outside[cluster] = inside, outside

    def answer_elsewhere(self, cluster: str, *, listeners: Mapping[Address, Listener]) -> None:
        """Let somebody answer at further addresses; a gateway leads to the tower of that cluster."""
        self._gateway_to, self._elsewhere = cluster, listeners

    def isolate(self, cluster: str) -> None:
        """Let no packet of a cluster's pods leave the cluster; its tunnels break. To be undone as often as done."""
        self._isolated[cluster] += 1
        for tunnel in list(self._tunnels[cluster]):
            tunnel.close()

    def reconnect(self, cluster: str) -> None:
        """Undo `isolate`."""
        self._isolated[cluster] -= 1

    def raise_firewall(self, cluster: str) -> None:
        """Drop from now on what the pods of other clusters send to a cluster's API server."""
        self._servers[cluster] = dataclasses.replace(self._servers[cluster], firewall=True)

    async def open(self, tunnel: Tunnel, *, cluster: str, host: str, port: int, tls: bool) -> None:
        """Open a tunnel from a pod of a cluster. Raises DialError and RefusedError."""
        found = self.route(cluster, host=host, port=port)
        if isinstance(found, Server):
            raise DialError("x509: certificate signed by unknown authority" if tls else "websocket: bad handshake")
        if tls:
            raise DialError("tls: first record does not look like a TLS handshake")
        if not isinstance(found, Acceptor):
            raise DialError("websocket: bad handshake")
        await found.accept(tunnel)
        self._tunnels[cluster].add(tunnel)

    def route(self, cluster: str, *, host: str, port: int) -> Server | ASGIApp:
        """Return what a pod of that cluster reaches there. Raises DialError."""
        application = self._applications.get((cluster, host, port))
        if application is not None:
            return application
        if (host == SERVICE_ADDRESS or host in SERVICE_NAMES) and port == 443:
            return self._servers[cluster]
        inside = self._inside.get(cluster, {})
        if (host, port) in inside:
            return self._find(cluster, host=host, port=port, target=inside[host, port])
        if self._isolated[cluster] > 0 and not self._is_own(cluster, host=host):
            raise DialError(f"dial tcp {_shown(host, port=port)}: i/o timeout")
        if (host, port) in self._elsewhere:
            return self._meet(self._elsewhere[host, port], host=host, port=port)
        for owner, outside in self._outside.items():
            if (host, port) in outside:
                return self._find(owner, host=host, port=port, target=outside[host, port])
        return self._reach_server(cluster, host=host, port=port)

    def _reach_server(self, cluster: str, *, host: str, port: int) -> Server:
        """Return the API server at an address of a machine. Raises DialError."""
        for server in self._servers.values():
            if server.address != host:
                continue
            if server.firewall and server.cluster != cluster:
                raise DialError(f"dial tcp {host}:{port}: i/o timeout")
            if server.port == port and (server.reachable or server.cluster == cluster):
                return server.outside or server
            raise DialError(f"dial tcp {host}:{port}: connect: connection refused")
        raise DialError(self._explain_absence(host, port=port))

    def _find(self, cluster: str, *, host: str, port: int, target: Address | None) -> ASGIApp:
        application = self._applications.get((cluster, *target)) if target is not None else None
        if application is None:
            raise DialError(f"dial tcp {_shown(host, port=port)}: connect: connection refused")
        return application

    def _meet(self, listener: Listener, *, host: str, port: int) -> ASGIApp:
        """Return what answers there. Raises DialError."""
        if listener is Listener.FIREWALL:
            raise DialError(f"dial tcp {_shown(host, port=port)}: i/o timeout")
        if listener is Listener.WEBSITE:
            return elsewhere.website
        found = self.route(self._gateway_to, host=_TOWER, port=TOWER_PORT)
        return elsewhere.website if isinstance(found, Server) else elsewhere.gateway(found)

    def _is_own(self, cluster: str, *, host: str) -> bool:
        return host in {self._servers[cluster].address, "localhost"} or host.startswith(("127.", "10.233."))

    def _explain_absence(self, host: str, *, port: int) -> str:
        """Return Go's words for an address where nothing is."""
        shown = _shown(host, port=port)
        if any(host == known for outside in self._outside.values() for known, _ in outside):
            # A load balancer drops what comes to a port that it does not have.
            return f"dial tcp {shown}: i/o timeout"
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            if host == "localhost":
                return f"dial tcp 127.0.0.1:{port}: connect: connection refused"
            return f"dial tcp: lookup {host} on 169.254.25.10:53: no such host"
        if address.is_loopback or host.startswith("10.233."):
            return f"dial tcp {shown}: connect: connection refused"
        return f"dial tcp {shown}: connect: no route to host"

    def client(
        self, cluster: str, *, context: ssl.SSLContext | None = None, server_name: str | None = None, **options: Any
    ) -> httpx.AsyncClient:
        """Return an HTTP client as a pod of that cluster has it.

        `context` verifies and identifies for TLS; `server_name` is verified instead of the name in the URL.
        """
        transport = _Transport(self, cluster=cluster, context=context, server_name=server_name)
        return httpx.AsyncClient(transport=transport, trust_env=False, timeout=30, **options)


class _Transport(httpx.AsyncBaseTransport):
    """Sends each request to what the network finds at its address.

    A request over a socket goes on when its sender is cancelled, and is waited for on closing: httpcore loses the
    socket of a connection whose TLS handshake is cancelled.
    """

    def __init__(
        self, network: Network, *, cluster: str, context: ssl.SSLContext | None, server_name: str | None
    ) -> None:
        self._network = network
        self._server_name = server_name
        self._under_way: set[asyncio.Task[httpx.Response]] = set()
        self._cluster = cluster
        self._applications = Applications()
        limits = httpx.Limits(max_connections=None)
        self._context = context or tls_context()
        self._sockets = httpx.AsyncHTTPTransport(verify=self._context, trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        found = self._network.route(self._cluster, host=host, port=port)
        if not isinstance(found, Server):
            return await self._applications.send(found, request=request)
        routed = httpx.Request(
            request.method,
            request.url.copy_with(host=found.real_host, port=found.real_port),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": self._server_name or host},
        )
        sending = asyncio.create_task(self._sockets.handle_async_request(routed))
        self._under_way.add(sending)
        try:
            response = await asyncio.shield(sending)
        except httpx.ConnectError as error:
            self._under_way.discard(sending)
            trusted = _trusted_names(self._context)
            raise DialError(explain(error, server=found, name=self._server_name or host, trusted=trusted)) from error
        except httpx.HTTPError:
            self._under_way.discard(sending)
            raise
        self._under_way.discard(sending)
        return response

    async def aclose(self) -> None:
        await self._applications.close()
        for outcome in await asyncio.gather(*self._under_way, return_exceptions=True):
            if isinstance(outcome, httpx.Response):
                await outcome.aclose()
        await self._sockets.aclose()


def _shown(host: str, *, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tls_context(*, authority: str | None = None) -> ssl.SSLContext:
    """Return a verifying TLS context that trusts one authority (PEM), or none. Raises ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is not None:
        context.load_verify_locations(cadata=authority)
    return context


def _trusted_names(context: ssl.SSLContext) -> set[str]:
    """Return the common names of the authorities that a context trusts."""
    subjects: Any = [entry["subject"] for entry in context.get_ca_certs()]
    return {value for subject in subjects for part in subject for key, value in part if key == "commonName"}


def explain(error: BaseException, *, server: Server, name: str, trusted: Collection[str] = ()) -> str:
    """Return Go's words for a failed connection to a server that was to be verified as `name`.

    `trusted` are the names of the authorities that the client knows: one of the issuer's name, and with another key,
    is mentioned.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            # OpenSSL's codes: 10 expired, 62 host name, 64 IP address.
            if cause.verify_code in {62, 64}:
                valid = server.names if cause.verify_code == 62 else server.addresses
                return f"x509: certificate is valid for {', '.join(valid)}, not {name}"
            if cause.verify_code == 10:
                return _explain_expiry(server)
            hint = (
                ' (possibly because of "x509: ECDSA verification failure" while trying to verify candidate authority '
                f'certificate "{server.issuer}")'
            )
            return "x509: certificate signed by unknown authority" + (hint if server.issuer in trusted else "")
        if isinstance(cause, ssl.SSLError):
            return f"remote error: tls: {cause.reason or 'handshake failure'}"
        cause = cause.__cause__ or cause.__context__
    return f"dial tcp {server.address}:{server.port}: connect: connection refused"


def _explain_expiry(server: Server) -> str:
    now = datetime.datetime.now(datetime.UTC)
    text = "x509: certificate has expired or is not yet valid"
    if server.expiry is None:
        return text
    return f"{text}: current time {now:%Y-%m-%dT%H:%M:%SZ} is after {server.expiry:%Y-%m-%dT%H:%M:%SZ}"
