"""The HTTPS ports of one cluster's API server, and the certificates that are shown on them."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import ipaddress
from typing import Final

from starlette.types import ASGIApp

from include.simulator import certificates
from include.simulator.certificates import Authority
from include.simulator.foundation import Audience, Certificate, Issuer
from include.simulator.network import SERVICE_ADDRESS, SERVICE_NAMES, Server
from include.simulator.server import HttpsServer

API_PORT: Final = 6443
_FOREIGN: Final = "corporate-proxy-ca"


class Ports:
    """One port for all, and another one for those who come from outside where `certificate` says that it differs.

    `server` is what the network is to know: `machine` is the address of the node, `address` that of this machine.
    """

    def __init__(
        self,
        application: ASGIApp,
        *,
        cluster: str,
        authority: Authority,
        machine: str,
        address: str,
        reachable: bool,
        certificate: Certificate | None,
        firewall: bool,
    ) -> None:
        self._firewall = firewall
        self._application = application
        self._cluster = cluster
        self._authority = authority
        self._machine = machine
        self._address = address
        self._reachable = reachable
        self._listening: list[HttpsServer] = []
        self.keys: list[str] = []
        self.server = self._listen(Certificate())
        self.port = self.server.real_port
        if certificate is not None:
            outside = self._listen(certificate)
            self.server = dataclasses.replace(self.server, outside=outside)
            if certificate.shown_to is Audience.EVERYBODY:
                self.port = outside.real_port

    def _listen(self, certificate: Certificate) -> Server:
        names = ["localhost", *sorted(SERVICE_NAMES)]
        addresses = ["127.0.0.1", self._machine, SERVICE_ADDRESS]
        known = addresses if _is_address(self._address) else names
        if self._address not in known:
            known.append(self._address)
        if not certificate.names_address:
            seen = {self._machine}
            seen |= {self._address} if certificate.shown_to is Audience.EVERYBODY else set()
            names, addresses = ([each for each in listed if each not in seen] for listed in (names, addresses))
        issuer = choose_authority(certificate.issuer, own=self._authority)
        pair = issuer.issue_server(
            "kube-apiserver", names=names, addresses=addresses, lifetime=datetime.timedelta(days=certificate.days)
        )
        self.keys.append(pair.key)
        https = HttpsServer(self._application, pair=pair, authority=self._authority.certificate, host=self._address)
        self._listening.append(https)
        return Server(
            cluster=self._cluster,
            address=self._machine,
            port=API_PORT,
            real_host=self._address,
            real_port=https.port,
            reachable=self._reachable,
            names=tuple(names),
            addresses=tuple(addresses),
            expiry=certificates.expiry(pair.certificate),
            issuer=issuer.name,
            firewall=self._firewall,
        )

    async def open(self) -> None:
        """Open the ports."""
        for listening in self._listening:
            await listening.open()

    async def restart(self, seconds: float) -> None:
        """Close the ports, and open them again after some seconds; returns when they are closed."""
        await asyncio.gather(*(listening.restart(seconds) for listening in self._listening))

    async def stop(self) -> None:
        """Close the ports for good."""
        await asyncio.gather(*(listening.stop() for listening in self._listening))


def choose_authority(issuer: Issuer, *, own: Authority) -> Authority:
    """Return the own authority of a cluster, or a new one that is not."""
    if issuer is Issuer.OWN:
        return own
    return Authority(own.name if issuer is Issuer.REINSTALLED else _FOREIGN)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
