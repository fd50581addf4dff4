"""Preflight's checks of tower: its address, its port, and the ports that it gives to members."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from include.fleet import checking, findings, kubeconfig, kubesphere, observed, tower
from include.fleet.checking import Check
from include.fleet.findings import Answer, Finding
from include.fleet.observed import Observed, known

_NODE_PORTS = range(30000, 32768)
_ADDRESS = re.compile(r"https?://[^/@?#\s:]+:[0-9]{1,5}")


def tower_address(seen: Observed) -> Finding:
    """See whether agents get an address of tower that they can use."""
    address = _address_of_tower(seen)
    if not address:
        if seen.host.in_force.role != kubesphere.HOST:
            return findings.warning(
                "tower-address",
                "Tower comes with the host's first run as a host; its address is then its LoadBalancer's.",
                "Where there are no LoadBalancers, give the conf proxy_publish_address.",
            )
        service = known(seen.tower)
        port = (tower.node_port(service) if service else None) or 8080
        return findings.warning(
            "tower-address",
            "Tower has no address: its LoadBalancer is pending, and none is configured.",
            f"Forward an address that the member reaches to port {port} of the host's nodes, and add it to the conf: "
            f'"proxy_publish_address": "http://ADDRESS:{port}".',
        )
    if not _ADDRESS.fullmatch(address):
        return findings.error(
            "tower-address",
            f"Tower's address {address!r} is not of the form http[s]://ADDRESS:PORT, and an agent cannot use it.",
            "Give the conf proxy_publish_address, with replace_proxy_address if other members use it.",
        )
    local = kubeconfig.address_problem(address)
    if local:
        return findings.error(
            "tower-address",
            f"Tower's address {address} cannot be used by the member: {local}.",
            "Give the conf proxy_publish_address, as the member's pods reach it.",
        )
    return findings.ok("tower-address", f"Agents find tower at {address}.")


def _address_of_tower(seen: Observed) -> str:
    configured = seen.conf.proxy_publish_address or seen.host.in_force.proxy_publish_address
    if configured:
        return configured
    service = None if isinstance(seen.tower, observed.Unread) else seen.tower
    return tower.load_balancer_address(service) if service else ""


def tower_port(seen: Observed) -> Finding:
    """See whether the port in tower's address leads to tower."""
    address = _address_of_tower(seen)
    if not _ADDRESS.fullmatch(address):
        return findings.ok("tower-port", "There is no address whose port could be compared.")
    parts = urlsplit(address)
    port, service = parts.port, known(seen.tower)
    balancer = urlsplit(tower.load_balancer_address(service)) if service else urlsplit("")
    if balancer.hostname and parts.hostname == balancer.hostname and port != balancer.port:
        return findings.error(
            "tower-port",
            f"{parts.hostname} is the LoadBalancer of tower, which has port {balancer.port} and not {port}.",
            f"Set proxy_publish_address to {balancer.geturl()}, or leave it out.",
        )
    own = [
        item["address"] for node in known(seen.host.nodes) for item in (node.get("status") or {}).get("addresses") or []
    ]
    if parts.hostname not in own:
        return findings.ok("tower-port", f"{address} is no address of a node of the host.")
    wanted = tower.node_port(service) if service else None
    if port == wanted or (wanted is None and port in _NODE_PORTS):
        return findings.ok("tower-port", f"{address} is a node of the host with tower's nodePort.")
    leads = f"tower's nodePort is {wanted}" if wanted else "tower's nodePort will be one of 30000-32767"
    return findings.error(
        "tower-port",
        f"{parts.hostname} is a node of the host, and {leads}, not {port} (8080 is the port of its Service).",
        f"Set proxy_publish_address to {parts.scheme}://{parts.hostname}:{wanted or 'NODEPORT'}.",
    )


def address_change(seen: Observed) -> Finding:
    """See whether the conf would take tower's address from other members."""
    asked, used = seen.conf.proxy_publish_address, seen.host.in_force.proxy_publish_address
    others = [
        item["metadata"]["name"]
        for item in known(seen.clusters)
        if item["metadata"]["name"] != seen.conf.cluster and kubesphere.connection_type(item) == "proxy"
    ]
    if not asked or not used or asked == used or not others or seen.conf.replace_proxy_address:
        return findings.ok("address-change", "No other member loses tower's address.")
    return findings.error(
        "address-change",
        f"proxy_publish_address {asked} differs from {used}, which the host uses for {', '.join(others)}.",
        "Leave it out to use that one, or set replace_proxy_address to move all proxy members.",
    )


def tower_ports(seen: Observed) -> Finding:
    """See whether tower has given the member's ports to another one as well."""
    named = seen.named
    mine = _ports(named) if named else frozenset()
    shared = [
        item["metadata"]["name"]
        for item in known(seen.clusters)
        if item["metadata"]["name"] != seen.conf.cluster and _ports(item) & mine
    ]
    if not shared:
        return findings.ok("tower-ports", "No other member has the member's ports on tower.")
    return findings.warning(
        "tower-ports",
        f"Cluster {seen.conf.cluster} has ports on tower in common with {', '.join(shared)} "
        f"({', '.join(str(port) for port in sorted(mine))}): requests for the one may reach the other.",
        "Delete one of them on the host and join it again, which gives it other ports.",
    )


def _ports(cluster: kubesphere.Object) -> frozenset[int]:
    if kubesphere.connection_type(cluster) != "proxy":
        return frozenset()
    connection = cluster["spec"]["connection"]
    keys = ("kubernetesAPIServerPort", "kubesphereAPIServerPort")
    return frozenset(int(connection[key]) for key in keys if connection.get(key))


CHECKS: tuple[Check, ...] = (
    Check(
        tower_address,
        "Tower has an address that agents can use",
        Answer.ERROR,
        "Give the conf proxy_publish_address.",
        "4, P-16, P-17",
        ways=checking.PROXY,
    ),
    Check(
        tower_port,
        "The port in tower's address leads to tower",
        Answer.ERROR,
        "Take the nodePort with a node's address, the Service's port with the LoadBalancer's.",
        "5, P-17",
        ways=checking.PROXY,
    ),
    Check(
        address_change,
        "The conf takes tower's address from no other member",
        Answer.ERROR,
        "Leave proxy_publish_address out, or set replace_proxy_address.",
        "4",
        ways=checking.PROXY,
        waivable=False,
    ),
    Check(
        tower_ports,
        "Tower has given the member's ports to no other member",
        Answer.WARNING,
        "Delete one of the Clusters and join it again.",
        "36",
        ways=checking.PROXY,
    ),
)
