"""cluster-agent: dials tower from the member and makes the host's requests there (kubesphere-facts 7.4, 8).

Nothing outside shows whether it is connected: the pod has no probe, and at the level of the generated manifest it logs
failures only.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from include.simulator import clock
from include.simulator.actors.client import Client, RequestError
from include.simulator.actors.kubelet import Container
from include.simulator.network import DialError, tls_context
from include.simulator.scenario import Timing
from include.simulator.streams import relay
from include.simulator.tunnel import RefusedError, Tunnel

_FIRST_DELAY: Final = 0.1
_FACTOR: Final = 1.4
_LONGEST_DELAY: Final = 120
_DROPPED_REQUEST_HEADERS: Final = {"host", "content-length", "connection", "accept-encoding"}


class FlagError(ValueError):
    """The command line cannot be used; the text is the agent's."""


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What the command line says, with the agent's defaults."""

    name: str = ""
    token: str = ""
    proxy_server: str = "http://127.0.0.1:8080"
    keepalive: str = "30s"
    kubesphere_service: str = "ks-apiserver.kubesphere-system.svc:80"
    kubernetes_service: str = "kubernetes.default.svc:443"

    def lines(self) -> list[str]:
        """Return what the agent prints at its start: all of it, the token included."""
        return [
            f"Name set to {self.name}",
            f"Token set to {self.token}",
            f"ProxyServer set to {self.proxy_server}",
            f"Keepalive set to {self.keepalive}",
            f"KubernetesService set to {self.kubernetes_service}",
            f"KubeSphereService set to {self.kubesphere_service}",
        ]


async def run(container: Container) -> None:
    """Keep a connection to tower until cancelled; returns at once when the address is none."""
    flags = read_flags(container.command)
    for line in flags.lines():
        _log(container, line)
    try:
        address = parse_address(flags.proxy_server)
    except FlagError as error:
        _log(container, str(error), level="F")
        container.started.set()
        return
    kubesphere = Client(
        container.network,
        cluster=container.cluster,
        server=f"http://{flags.kubesphere_service}",
        context=tls_context(),
    )
    try:
        await _Agent(container, flags=flags, address=address, kubesphere=kubesphere).run()
    finally:
        await kubesphere.close()


class _Agent:
    def __init__(self, container: Container, *, flags: Flags, address: SplitResult, kubesphere: Client) -> None:
        self._container = container
        self._flags = flags
        self._address = address
        self._kubernetes = forwarder(container.client, dropped=_DROPPED_REQUEST_HEADERS | {"authorization"})
        self._kubesphere = forwarder(kubesphere, dropped=_DROPPED_REQUEST_HEADERS)

    async def run(self) -> None:
        attempt = 0
        while True:
            tunnel = Tunnel(
                name=self._flags.name,
                token=self._flags.token,
                kubernetes=self._kubernetes,
                kubesphere=self._kubesphere,
            )
            try:
                await self._dial(tunnel)
                self._container.started.set()
                await tunnel.closed.wait()
                attempt = 0
            except (DialError, RefusedError) as error:
                self._container.started.set()
                delay = retry_delay(attempt, timing=self._container.timing)
                counted = f" (Attempt: {attempt})" if attempt else ""
                _log(self._container, f"Connection error: {error}{counted}", level="W")
                _log(self._container, f"Retrying in {format_duration(delay)}...", level="W")
                attempt += 1
                await asyncio.sleep(delay)
            finally:
                tunnel.close()
            await asyncio.sleep(0)

    async def _dial(self, tunnel: Tunnel) -> None:
        tls = self._address.scheme in {"https", "wss"}
        if not tls and self._address.scheme not in {"http", "ws"}:
            raise DialError("malformed ws or wss URL")
        # The default port is that of the scheme, not tower's.
        await self._container.network.open(
            tunnel,
            cluster=self._container.cluster,
            host=self._address.hostname or "",
            port=self._address.port or (443 if tls else 80),
            tls=tls,
        )


def forwarder(client: Client, *, dropped: set[str]) -> ASGIApp:
    """Return an application that makes the requests it gets with this client."""

    async def forward(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        headers = {key: value for key, value in request.headers.items() if key not in dropped}
        try:
            answer = await client.open(request.method, path=path, headers=headers, body=await request.body())
        except RequestError as error:
            response: Response = PlainTextResponse(f"{error}\n", status_code=502)
        else:
            response = relay(answer, dropped={"content-encoding"})
        await response(scope, receive, send)

    return forward


def read_flags(command: tuple[str, ...]) -> Flags:
    """Return the flags of a command line, `--name=value` or `--name value`; unknown ones are left out."""
    known = set(Flags.__dataclass_fields__)
    found: dict[str, str] = {}
    words = iter(command[1:])
    for word in words:
        flag, separator, value = word.lstrip("-").partition("=")
        key = flag.replace("-", "_")
        given = value if separator else next(words, "")
        if key in known:
            found[key] = given
    return Flags(**found)


def parse_address(text: str) -> SplitResult:
    """Return the address of tower. Raises FlagError for one that Go's parser refuses."""
    if not text:
        raise FlagError("invalid proxy server url: ")
    scheme, separator, _ = text.partition(":")
    if separator and (not scheme or not scheme[0].isalpha()) and "/" not in scheme:
        raise FlagError(f'parse "{text}": first path segment in URL cannot contain colon')
    try:
        address = urlsplit(text)
        address.port  # noqa: B018 - the port is parsed when it is asked for
    except ValueError as error:
        raise FlagError(f'parse "{text}": invalid port after host') from error
    return address


def retry_delay(attempt: int, *, timing: Timing) -> float:
    """Return the seconds after a failed attempt, counted from 0.

    The longest of 2 minutes is shortened in proportion to `Timing.reload`, whose default is 2 s.
    """
    delay = _FIRST_DELAY * _FACTOR ** min(attempt, 50)
    return min(delay, max(_LONGEST_DELAY * timing.reload / 2, _FIRST_DELAY))


def format_duration(seconds: float) -> str:
    """Return a duration as Go prints it: whole nanoseconds, the rest cut off."""
    nanoseconds = int(seconds * 1_000_000_000)
    if nanoseconds < 1_000_000_000:
        return f"{nanoseconds / 1_000_000:.6f}".rstrip("0").rstrip(".") + "ms"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    text = f"{rest / 1_000_000_000:.9f}".rstrip("0").rstrip(".") + "s"
    return f"{minutes}m{text}" if minutes else text


def _log(container: Container, text: str, *, level: str = "I") -> None:
    """Write a line with the header that klog gives it."""
    now = clock.now()
    container.log(f"{level}{now.strftime('%m%d %H:%M:%S.%f')}       1 agent.go:155] {text}")
