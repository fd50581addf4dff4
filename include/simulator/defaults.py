"""What an API server fills in by itself: service addresses and node ports, phases, Deployment defaults.

Only the fields that something in the simulation, or a client that joins clusters, reads.
"""

from __future__ import annotations

import base64
import itertools
from typing import Any

from include.simulator import resources
from include.simulator.resources import Resource


class Allocator:
    """Hands out service addresses and node ports of one cluster."""

    def __init__(self) -> None:
        self._addresses = (f"10.233.{a}.{b}" for a, b in itertools.product(range(1, 60), range(2, 255)))
        self._ports = itertools.count(30721)

    def address(self) -> str:
        """Return the next free service address."""
        return next(self._addresses)

    def port(self) -> int:
        """Return the next free node port."""
        return next(self._ports)


def complete(resource: Resource, *, content: dict[str, Any], allocator: Allocator) -> None:
    """Fill in defaults, in place; safe to repeat."""
    if resource == resources.NAMESPACES:
        content.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        content.setdefault("status", {"phase": "Active"})
        content["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = content["metadata"]["name"]
    elif resource == resources.PODS:
        content.setdefault("status", {"phase": "Pending"})
    elif resource == resources.SECRETS:
        content.setdefault("type", "Opaque")
        written = content.pop("stringData", None) or {}
        if written:
            encoded = {key: base64.b64encode(value.encode()).decode() for key, value in written.items()}
            content["data"] = {**(content.get("data") or {}), **encoded}
    elif resource == resources.SERVICES:
        _complete_service(content, allocator=allocator)
    elif resource == resources.DEPLOYMENTS:
        spec = content.setdefault("spec", {})
        spec.setdefault("replicas", 1)
        spec.setdefault("progressDeadlineSeconds", 600)
        spec.setdefault("revisionHistoryLimit", 10)
        if not spec.get("strategy"):
            spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}


def find_missing(resource: Resource, *, content: dict[str, Any]) -> str | None:
    """Return the path of a required field that a new object lacks, or None; only what the controllers need."""
    spec = content.get("spec") or {}
    if resource == resources.DEPLOYMENTS and not spec.get("selector"):
        return "spec.selector"
    if resource == resources.DEPLOYMENTS and not ((spec.get("template") or {}).get("metadata") or {}).get("labels"):
        return "spec.template.metadata.labels"
    template = spec.get("template") or {}
    described = spec if resource == resources.PODS else template.get("spec") or {}
    if resource in {resources.DEPLOYMENTS, resources.PODS} and not described.get("containers"):
        return "spec.containers" if resource == resources.PODS else "spec.template.spec.containers"
    return None


def _complete_service(content: dict[str, Any], *, allocator: Allocator) -> None:
    spec = content.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if not spec.get("clusterIP"):
        spec["clusterIP"] = allocator.address()
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])
        if spec["type"] in {"NodePort", "LoadBalancer"}:
            port.setdefault("nodePort", allocator.port())
    content.setdefault("status", {"loadBalancer": {}})
