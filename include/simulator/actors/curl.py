"""curl 8.10 in a container: one GET after the other, with curl's own words, exit codes and outputs.

Only the options below. It sees the network as the pod does; what its TLS library would say of a certificate is told
from what the network says of it. There are no certificates of the system: nothing is trusted without --cacert.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpx
from starlette.types import ASGIApp

from include.simulator.actors.kubelet import Container
from include.simulator.network import DialError, Server, tls_context

_FLAGS: Final = {
    "silent": "s",
    "show-error": "S",
    "fail": "f",
    "include": "i",
    "insecure": "k",
    "http1.1": "",
}
_VALUES: Final = {
    "max-time": "m",
    "connect-timeout": "",
    "cacert": "",
    "output": "o",
    "write-out": "w",
    "connect-to": "",
}
_CONNECTING: Final = 300.0
"""Seconds that curl tries to connect by itself."""
_HTTP_TO_HTTPS: Final = "Client sent an HTTP request to an HTTPS server.\n"


class UsageError(Exception):
    """A command line that curl does not take; the text is its own."""


class TransferError(Exception):
    """A transfer failed: curl's exit code and its words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(kw_only=True)
class Transfer:
    """One URL with the options that hold for it."""

    url: str = ""
    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 0
    received: int = 0

    def seconds(self, option: str, *, default: float) -> float:
        """Return an option in seconds; 0 stands for the default, as in curl."""
        return float(self.values.get(option) or 0) or default


async def run(container: Container) -> int:
    """Run the command line and return its exit code: that of the last transfer."""
    try:
        transfers = read_command(container.command)
    except UsageError as error:
        container.log(f"curl: {error}\ncurl: try 'curl --help' or 'curl --manual' for more information")
        return 2
    shown = _Output(container)
    code = 0
    for transfer in transfers:
        message = ""
        code = 0
        try:
            await _send(container, transfer, shown=shown)
        except TransferError as error:
            code, message = error.code, str(error)
            if "silent" not in transfer.flags or "show-error" in transfer.flags:
                shown.error(f"curl: ({code}) {message}\n")
        _write_out(transfer, code=code, message=message, shown=shown)
    shown.end()
    return code


def read_command(command: Sequence[str]) -> list[Transfer]:
    """Return the transfers of a command line. Raises UsageError."""
    short = {letter: name for name, letter in {**_FLAGS, **_VALUES, "header": "H"}.items() if letter}
    transfers = [Transfer()]
    words = iter(command[1:])
    for word in words:
        transfer = transfers[-1]
        if not word.startswith("-"):
            transfer.url = word
            continue
        name = word.removeprefix("--") if word.startswith("--") else short.get(word[1:], "")
        if name == "next":
            transfers.append(Transfer())
        elif name in _FLAGS:
            transfer.flags.add(name)
        elif name in _VALUES:
            transfer.values[name] = _value(words, word)
        elif name == "header":
            key, _, value = _value(words, word).partition(":")
            transfer.headers[key.strip()] = value.strip()
        else:
            raise UsageError(f"option {word}: is unknown")
    if not all(transfer.url for transfer in transfers):
        raise UsageError("(2) no URL specified")
    return transfers


def _value(words: Iterator[str], option: str) -> str:
    value = next(words, None)
    if value is None:
        raise UsageError(f"option {option}: requires parameter")
    return value


class _Output:
    """What curl has written. No terminal reads it, so that standard output comes when curl ends, and errors at once."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._out = ""

    def out(self, text: str) -> None:
        self._out += text

    def error(self, text: str) -> None:
        self._container.log(text.removesuffix("\n"))

    def end(self) -> None:
        if self._out:
            self._container.log(self._out.removesuffix("\n"))


def _write_out(transfer: Transfer, *, code: int, message: str, shown: _Output) -> None:
    text = transfer.values.get("write-out", "").replace("\\n", "\n")
    known = {"http_code": f"{transfer.status:03}", "exitcode": str(code), "errormsg": message}
    stream = shown.out
    parts = re.split(r"%\{(\w+)\}", text)
    written = ""
    for position, part in enumerate(parts):
        if position % 2 and part in {"stderr", "stdout"}:
            stream = shown.error if part == "stderr" else shown.out
        elif position % 2 and part not in known:
            shown.error(f"curl: unknown --write-out variable: '{part}'\n")
        else:
            written += known[part] if position % 2 else part
    if written:
        stream(written)


async def _send(container: Container, transfer: Transfer, *, shown: _Output) -> None:
    """Make a transfer. Raises TransferError."""
    longest = transfer.seconds("max-time", default=_CONNECTING)
    began = time.monotonic()
    try:
        async with asyncio.timeout(longest):
            await _exchange(container, transfer, shown=shown)
    except TimeoutError:
        passed = int((time.monotonic() - began) * 1000)
        text = f"Operation timed out after {passed} milliseconds with {transfer.received} bytes received"
        raise TransferError(28, text) from None


async def _exchange(container: Container, transfer: Transfer, *, shown: _Output) -> None:
    url = urlsplit(transfer.url)
    context = _context(container, transfer) if url.scheme == "https" else None
    host, port = _connect_to(transfer, url=url)
    began = time.monotonic()
    found = await _dial(container, transfer, host=host, port=port, began=began)
    if context is not None and not isinstance(found, Server):
        raise TransferError(35, "TLS connect error: error:0A00010B:SSL routines::wrong version number")
    if context is None and isinstance(found, Server):
        # What a Go program says before it closes the connection.
        transfer.status, transfer.received = 400, len(_HTTP_TO_HTTPS)
        shown.out(_HTTP_TO_HTTPS if "output" not in transfer.values else "")
        return
    target = url._replace(netloc=f"[{host}]:{port}" if ":" in host else f"{host}:{port}").geturl()
    client = container.network.client(container.cluster, context=context, server_name=url.hostname)
    headers = {"User-Agent": "curl/8.10.1", **transfer.headers}
    try:
        async with client.stream("GET", target, headers=headers, timeout=None) as answer:
            transfer.status = answer.status_code
            if "fail" in transfer.flags and transfer.status >= 400:
                raise TransferError(22, f"The requested URL returned error: {transfer.status}")
            keeps = "output" not in transfer.values
            if keeps and "include" in transfer.flags:
                lines = [f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}"]
                lines += [f"{key}: {value}" for key, value in answer.headers.items()]
                shown.out("\n".join([*lines, "", ""]))
            async for chunk in answer.aiter_bytes():
                transfer.received += len(chunk)
                if keeps:
                    shown.out(chunk.decode(errors="replace"))
    except DialError as error:
        raise await _explain(str(error), transfer, host=url.hostname or "", port=port, began=began) from error
    except httpx.RemoteProtocolError as error:
        raise TransferError(52, "Empty reply from server") from error
    except httpx.HTTPError as error:
        raise TransferError(56, "Recv failure: Connection reset by peer") from error
    finally:
        await client.aclose()


def _context(container: Container, transfer: Transfer) -> ssl.SSLContext:
    """Return what verifies the other side. Raises TransferError."""
    path = transfer.values.get("cacert")
    authority = None if path is None else container.files.get(path)
    if path is not None and authority is None:
        raise TransferError(77, f"error setting certificate file: {path}")
    try:
        context = tls_context(authority=authority)
    except (ssl.SSLError, ValueError) as error:
        raise TransferError(77, f"error setting certificate file: {path}") from error
    if "insecure" in transfer.flags:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _connect_to(transfer: Transfer, *, url: SplitResult) -> tuple[str, int]:
    """Return where to connect to: what the URL says, or what --connect-to says instead."""
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    replaced = re.fullmatch(r"([^:]*):(\d*):(\[.*\]|[^:]*):(\d*)", transfer.values.get("connect-to", ""))
    if replaced is None or replaced[1] not in {"", host} or replaced[2] not in {"", str(port)}:
        return host, port
    return replaced[3].strip("[]") or host, int(replaced[4] or port)


async def _dial(container: Container, transfer: Transfer, *, host: str, port: int, began: float) -> Server | ASGIApp:
    """Return what is there. Raises TransferError."""
    try:
        return container.network.route(container.cluster, host=host, port=port)
    except DialError as error:
        raise await _explain(str(error), transfer, host=host, port=port, began=began) from error


async def _explain(reason: str, transfer: Transfer, *, host: str, port: int, began: float) -> TransferError:
    """Return the error of a connection that has not come about; waits as long as curl does to find out."""
    if "no such host" in reason:
        return TransferError(6, f"Could not resolve host: {host}")
    if "i/o timeout" in reason:
        await asyncio.sleep(transfer.seconds("connect-timeout", default=_CONNECTING) - (time.monotonic() - began))
        passed = int((time.monotonic() - began) * 1000)
        return TransferError(28, f"Connection timed out after {passed} milliseconds")
    if "certificate is valid for" in reason:
        kind = f"{_version(host)} address" if _version(host) else "host name"
        return TransferError(60, f"SSL: no alternative certificate subject name matches target {kind} '{host}'")
    if "expired" in reason:
        return TransferError(60, "SSL certificate problem: certificate has expired")
    if "unknown authority" in reason:
        return TransferError(60, "SSL certificate problem: unable to get local issuer certificate")
    if "tls: " in reason:
        return TransferError(35, f"TLS connect error: {reason.partition('tls: ')[2]}")
    passed = int((time.monotonic() - began) * 1000)
    return TransferError(7, f"Failed to connect to {host} port {port} after {passed} ms: Could not connect to server")


def _version(host: str) -> str:
    """Return `ipv4` or `ipv6`, or "" for a name."""
    try:
        return f"ipv{ipaddress.ip_address(host).version}"
    except ValueError:
        return ""
