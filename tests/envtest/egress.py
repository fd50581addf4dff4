"""What a real API server reaches inside its cluster: an HTTP CONNECT proxy that leads to the simulated pods and nodes.

kube-apiserver's egress selector sends through it whatever goes to kubelets, pods and Services, so that pod logs and the
proxies answer though no such address exists on this machine, and nothing is dialled for real.
"""

import asyncio
import ssl

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from include.simulator.network import DialError, Server
from include.simulator.proxy import KUBELET_PORT

_LONGEST_HEAD = 8192
"""Bytes."""


class Egress:
    """The proxy of one cluster, at a Unix socket. While `answers` is False it refuses everything."""

    def __init__(self, path, *, network, cluster, kubelet):
        """*kubelet* is the certificate pair with which the node serves TLS."""
        self.answers = True
        self._path = path
        self._network = network
        self._cluster = cluster
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        kubelet.load_into(self._context)
        self._state = ServerState()
        self._server = None

    async def open(self):
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Connect(self), self._path)

    async def close(self):
        """Close the socket and all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._state.tasks):
            task.cancel()
        for connection in list(self._state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    def find(self, host, port):
        """Return the application at an address; raises DialError."""
        if not self.answers:
            raise DialError(f"dial tcp {host}:{port}: i/o timeout")
        found = self._network.route(self._cluster, host=host, port=port)
        if isinstance(found, Server):
            raise DialError(f"dial tcp {host}:{port}: not a pod or node")
        return found

    def serve(self, application):
        """Return a protocol that serves an application on a connection."""
        config = uvicorn.Config(
            application, http=H11Protocol, ws="none", lifespan="off", log_config=None, access_log=False
        )
        config.load()
        return _Serving(config=config, server_state=self._state, app_state={})

    async def hand_over(self, transport, protocol, *, tls):
        """Let a protocol have a connection, behind TLS where wanted."""
        if tls:
            loop = asyncio.get_running_loop()
            transport = await loop.start_tls(transport, protocol, self._context, server_side=True)
        else:
            transport.set_protocol(protocol)
            transport.resume_reading()
        if transport is not None:
            protocol.connection_made(transport)


class _Serving(H11Protocol):
    """Keeps what comes before it has its connection: with TLS that is told after the handshake."""

    _early = b""

    def connection_made(self, transport):
        super().connection_made(transport)
        if self._early:
            super().data_received(self._early)

    def data_received(self, data):
        if self.transport is None:
            self._early += data
        else:
            super().data_received(data)


class _Connect(asyncio.Protocol):
    """A connection until its CONNECT is answered."""

    def __init__(self, egress):
        self._egress = egress
        self._head = b""

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._head += data
        if b"\r\n\r\n" not in self._head:
            if len(self._head) > _LONGEST_HEAD:
                self._transport.abort()
            return
        # The client speaks again only when it has its answer.
        self._transport.pause_reading()
        host, _, port = self._head.split(b" ")[1].decode().rpartition(":")
        try:
            application = self._egress.find(host, int(port))
        except DialError as error:
            text = str(error).encode()
            self._transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
            )
            self._transport.close()
            return
        self._transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        protocol = self._egress.serve(application)
        self._handing_over = asyncio.ensure_future(
            self._egress.hand_over(self._transport, protocol, tls=int(port) == KUBELET_PORT)
        )
