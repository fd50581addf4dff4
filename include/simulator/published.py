"""How the host's tower can be reached from outside, and agents of earlier imports: parts of a scenario."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from include.simulator import allocation

Address = tuple[str, int]

TOWER_PORT: Final = 8080

_ADDRESS: Final = re.compile(r"(?P<host>[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?):(?P<port>[0-9]{1,5})")
_PUBLISHED: Final = re.compile(r"https?://[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?(:[0-9]{1,5})?")


@dataclass(frozen=True, kw_only=True)
class LoadBalancer:
    """The address that Services of type LoadBalancer get, `after` seconds after they are there."""

    address: str
    after: float = 0


@dataclass(frozen=True, kw_only=True)
class LeftAgent:
    """A `cluster-agent` Deployment that an earlier import has left on a member."""

    name: str
    token: str
    server: str


def read_load_balancer(source: Any) -> LoadBalancer | str | None:
    """Return the load balancer of a scenario, None for one that stays pending, or what is wrong with it."""
    if source is None:
        return None
    if isinstance(source, str):
        source = {"address": source}
    if not isinstance(source, dict) or not set(source) <= {"address", "after"}:
        return f"expected an address, or a mapping with address and after, got {source!r}"
    address, after = source.get("address"), source.get("after", 0)
    if not isinstance(address, str) or not _ADDRESS.fullmatch(f"{address}:1"):
        return f"expected an address without a port, got {address!r}"
    if isinstance(after, bool) or not isinstance(after, (int, float)) or after < 0:
        return f"expected seconds in after, got {after!r}"
    return LoadBalancer(address=address, after=float(after))


def read_published(source: Any) -> tuple[Address, ...] | str:
    """Return the further addresses of tower, or what is wrong with them."""
    addresses = []
    for text in source if isinstance(source, list) else [source]:
        match = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            return f"expected a list of host:port, got {source!r}"
        addresses.append((match["host"], int(match["port"])))
    return tuple(addresses)


def read_ports(source: Any) -> tuple[int, ...] | str:
    """Return the ports that are drawn for members, or what is wrong with them."""
    drawn = range(allocation.FIRST_PORT, allocation.LAST_PORT + 1)
    if not isinstance(source, list) or not all(type(port) is int and port in drawn for port in source):
        return f"expected a list of ports from {drawn.start} to {drawn.stop - 1}, got {source!r}"
    return tuple(source)


def find_address_problem(source: Any) -> str | None:
    """Return what is wrong with `proxyPublishAddress`, or None."""
    if source is None or (isinstance(source, str) and _PUBLISHED.fullmatch(source)):
        return None
    return f"expected http[s]://host:port without a path, got {source!r}"


def read_agent(source: Any) -> LeftAgent | str | None:
    """Return the agent that an earlier import has left, None for none, or what is wrong with it."""
    if source is None:
        return None
    keys = {"name", "token", "server"}
    if not isinstance(source, dict) or set(source) != keys or not all(isinstance(v, str) for v in source.values()):
        return f"expected a mapping with name, token and server, got {source!r}"
    return LeftAgent(**source)


def address_of(url: str) -> Address:
    """Return host and port of a published address."""
    scheme, _, rest = url.partition("://")
    host, _, port = rest.partition(":")
    return host, int(port or (443 if scheme == "https" else 80))
