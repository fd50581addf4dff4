"""Keeps processes that work on a simulation off the real network, where its addresses are somebody else's.

The product looks at a member's address as the host is to see it, and in a simulation only simulated pods get there. So
what a process on this machine tries is answered as by a machine without a way to it: at once, and nothing is sent.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
from typing import Any


def put_up() -> None:
    """Refuse, in this process for good, every connection and name that is not of this machine.

    Raises OSError in whoever tries: ENETUNREACH for an address, socket.gaierror for a name.
    """
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _is_elsewhere(arguments[1]):
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
    if event == "socket.getaddrinfo" and not _is_ours(arguments[0]):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _is_elsewhere(address: object) -> bool:
    """Tell whether an address of a socket is on another machine; a path is not."""
    if not isinstance(address, tuple):
        return False
    try:
        return not ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return not _is_ours(address[0])


def _is_ours(name: str | bytes | None) -> bool:
    """Tell whether a name needs no name server: this machine's own, or an address."""
    text = name.decode() if isinstance(name, bytes) else name
    if not text or text in {"localhost", socket.gethostname()}:
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
