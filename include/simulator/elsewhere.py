"""What answers at addresses that are taken for tower's: part of a scenario, and the applications that answer."""

from __future__ import annotations

import enum
from typing import Any

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from include.simulator.published import Address, read_published

_PAGE = """<html>
<head><title>404 Not Found</title></head>
<body>
<center><h1>404 Not Found</h1></center>
<hr><center>nginx/1.21.6</center>
</body>
</html>
"""


class Listener(enum.Enum):
    """Who is there.

    A web server that knows nothing of tower; a gateway that leads plain HTTP to tower and no websockets; or a firewall
    that drops whatever comes.
    """

    WEBSITE = "website"
    GATEWAY = "gateway"
    FIREWALL = "firewall"


def read(source: Any) -> dict[Address, Listener] | str:
    """Return who is where, or what is wrong with that."""
    if not isinstance(source, dict):
        return f"expected a mapping from host:port, got {source!r}"
    addresses = read_published(list(source))
    if isinstance(addresses, str):
        return addresses
    choices = [listener.value for listener in Listener]
    for value in source.values():
        if value not in choices:
            return f"expected {' or '.join(choices)}, got {value!r}"
    return dict(zip(addresses, map(Listener, source.values()), strict=True))


async def website(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as nginx does for a page that is not there."""
    response = HTMLResponse(_PAGE, status_code=404, headers={"server": "nginx/1.21.6"})
    await response(scope, receive, send)


def gateway(application: ASGIApp) -> ASGIApp:
    """Return an application that answers plain requests as another one does, and is nothing to open a tunnel to."""

    async def forward(scope: Scope, receive: Receive, send: Send) -> None:
        await application(scope, receive, send)

    return forward
