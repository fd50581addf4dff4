"""What an API server fills in by itself: service addresses and node ports, phases, and the defaults of workloads."""

from __future__ import annotations

import base64
import itertools
from typing import Any

from include.simulator import resources
from include.simulator.resources import Resource

Object = dict[str, Any]

_OPEN = {"NodePort", "LoadBalancer"}


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


class DryAllocator(Allocator):
    """Hands out what nobody gets, always the same from the start: of a dry run nothing is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._addresses = (f"10.233.0.{number}" for number in itertools.count())
        self._ports = itertools.count(32769)


def complete(resource: Resource, *, content: Object, old: Object | None, allocator: Allocator) -> None:
    """Fill in what a new object, or a new version of an old one, leaves out; in place."""
    if resource == resources.NAMESPACES:
        content.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        content.setdefault("status", {"phase": "Active"})
        content["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = content["metadata"]["name"]
    elif resource == resources.PODS:
        content.setdefault("status", {"phase": "Pending"})
        _complete_pod_spec(content.setdefault("spec", {}))
    elif resource in {resources.SECRETS, resources.CONFIGMAPS}:
        _complete_data(content)
        if resource == resources.SECRETS:
            content.setdefault("type", "Opaque")
    elif resource == resources.SERVICES:
        _complete_service(content, old=old, allocator=allocator)
    elif resource == resources.DEPLOYMENTS:
        _complete_deployment(content.setdefault("spec", {}))
    elif resource == resources.LEASES:
        content.setdefault("spec", {})
    elif resource == resources.WEBHOOK_CONFIGURATIONS:
        _complete_webhooks(content)
    elif resource == resources.DEFINITIONS:
        _establish(content)


def _complete_data(content: Object) -> None:
    written = content.pop("stringData", None) or {}
    if written:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in written.items()}
        content["data"] = {**(content.get("data") or {}), **encoded}
    for field in ("data", "binaryData"):
        if not content.get(field):
            content.pop(field, None)


def _complete_service(content: Object, *, old: Object | None, allocator: Allocator) -> None:
    spec = content.setdefault("spec", {})
    before = old["spec"] if old is not None else {}
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["type"] != "ExternalName":
        spec["clusterIP"] = spec.get("clusterIP") or before.get("clusterIP") or allocator.address()
        spec["clusterIPs"] = [spec["clusterIP"]]
        spec.setdefault("internalTrafficPolicy", "Cluster")
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec["type"] in _OPEN:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    elif before.get("type") in _OPEN:
        spec.pop("externalTrafficPolicy", None)
        for port in spec.get("ports") or []:
            port.pop("nodePort", None)
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    else:
        spec.pop("allocateLoadBalancerNodePorts", None)
    kept = {(port["port"], port["protocol"]): port.get("nodePort") for port in before.get("ports") or []}
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
        if spec["type"] in _OPEN and "nodePort" not in port:
            port["nodePort"] = kept.get((port.get("port"), port["protocol"])) or allocator.port()
    content.setdefault("status", {"loadBalancer": {}})


def _complete_deployment(spec: Object) -> None:
    spec.setdefault("replicas", 1)
    spec.setdefault("progressDeadlineSeconds", 600)
    spec.setdefault("revisionHistoryLimit", 10)
    if not spec.get("strategy"):
        spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {}).setdefault("creationTimestamp", None)
    _complete_pod_spec(template.setdefault("spec", {}))


def _complete_pod_spec(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in spec.get("containers") or []:
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        tag = str(container.get("image", "")).rpartition("/")[2].partition(":")[2]
        container.setdefault("imagePullPolicy", "Always" if tag in {"", "latest"} else "IfNotPresent")
        for port in container.get("ports") or []:
            port.setdefault("protocol", "TCP")


def _complete_webhooks(content: Object) -> None:
    for hook in content.get("webhooks") or []:
        for field, value in (
            ("failurePolicy", "Fail"),
            ("matchPolicy", "Equivalent"),
            ("namespaceSelector", {}),
            ("objectSelector", {}),
            ("timeoutSeconds", 10),
        ):
            hook.setdefault(field, value)
        service = (hook.get("clientConfig") or {}).get("service")
        if service is not None:
            service.setdefault("port", 443)
        for rule in hook.get("rules") or []:
            rule.setdefault("scope", "*")
    if not content.get("webhooks"):
        content.pop("webhooks", None)


def _establish(content: Object) -> None:
    """Tell of a CustomResourceDefinition that its kind is served, which it is at once."""
    names = content["spec"]["names"]
    names.setdefault("singular", str(names.get("kind", "")).lower())
    names.setdefault("listKind", f"{names.get('kind')}List")
    content["spec"].setdefault("conversion", {"strategy": "None"})
    since = content["metadata"].get("creationTimestamp")
    content["status"] = {
        "acceptedNames": dict(names),
        "conditions": [
            {
                "type": "NamesAccepted",
                "status": "True",
                "reason": "NoConflicts",
                "message": "no conflicts found",
                "lastTransitionTime": since,
            },
            {
                "type": "Established",
                "status": "True",
                "reason": "InitialNamesAccepted",
                "message": "the initial names have been accepted",
                "lastTransitionTime": since,
            },
        ],
        "storedVersions": [version["name"] for version in content["spec"].get("versions") or []],
    }
