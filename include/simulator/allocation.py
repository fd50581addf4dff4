"""What a proxy Cluster needs before an agent can connect: ports, a token, and a Service that leads to tower's ports.

Given by tower, in KubeSphere 3.0 by the cluster controller (kubesphere-facts 6.5).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from include.simulator.manifests import SYSTEM_NAMESPACE

FIRST_PORT: Final = 6000
LAST_PORT: Final = 7000
_PORTS: Final = range(FIRST_PORT, LAST_PORT + 1)
_DISTANCE: Final = 10000


def service_name(cluster: str) -> str:
    """Return the name of the Service that stands for a member behind tower."""
    return f"mc-{cluster}"


class Draws:
    """The ports that are drawn for the members of one host: chance decides, after the ones that a scenario names.

    Two members can get the same: the controllers' test for that compares the wrong ports. Only those that are joined
    at the start have got ports of their own, or they would not be what a scenario calls them.
    """

    def __init__(self, first: Sequence[int] = ()) -> None:
        self._first = list(first)
        self._free = list(_PORTS)

    def draw(self) -> dict[str, int]:
        """Return the two ports that tower is to listen on for a member, as fields of `spec.connection`."""
        return self._fields(_PORTS)

    def draw_apart(self) -> dict[str, int]:
        """Return what `draw` does for a member that is joined at the start: no other's, unless a scenario names it."""
        drawn = self._fields(self._free or _PORTS)
        self._free = [port for port in self._free if port != drawn["kubernetesAPIServerPort"]]
        return drawn

    def _fields(self, ports: Sequence[int]) -> dict[str, int]:
        port = self._first.pop(0) if self._first else secrets.choice(ports)
        return {"kubernetesAPIServerPort": port, "kubesphereAPIServerPort": port + _DISTANCE}


def new_token() -> str:
    """Return the token that the agent of a member has to show."""
    return secrets.token_hex(32)


def build_service(cluster: str, *, connection: dict[str, Any]) -> dict[str, Any]:
    """Return the Service for the ports of a connection."""
    name = service_name(cluster)
    ports = (("kubernetes", 6443, "kubernetesAPIServerPort"), ("kubesphere", 80, "kubesphereAPIServerPort"))
    return {
        "metadata": {
            "name": name,
            "namespace": SYSTEM_NAMESPACE,
            "labels": {"app": name, "app.kubernetes.io/name": name},
        },
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": "tower", "app.kubernetes.io/name": "tower"},
            "ports": [
                {"name": label, "port": port, "targetPort": connection[field], "protocol": "TCP"}
                for label, port, field in ports
            ],
        },
    }


def endpoints(service: dict[str, Any]) -> dict[str, str]:
    """Return the addresses that a member has through its Service, as fields of `spec.connection`."""
    address = service["spec"]["clusterIP"]
    return {"kubernetesAPIEndpoint": f"https://{address}:6443", "kubesphereAPIEndpoint": f"http://{address}:80"}
