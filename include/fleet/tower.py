"""What this project knows about tower and its agent: the address, the agent's Deployment, its complaints.

Pure: dictionaries in, values out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from include.fleet import kinds, kubesphere

SERVICE = kinds.Ref(kinds.SERVICE, "tower", kubesphere.NAMESPACE)
AGENT = kinds.Ref(kinds.DEPLOYMENT, "cluster-agent", kubesphere.NAMESPACE)
AGENT_LABELS = {"app": "agent", "app.kubernetes.io/part-of": "tower"}
AGENT_SELECTOR = ",".join(f"{key}={value}" for key, value in AGENT_LABELS.items())
ACCOUNT = kinds.Ref(kinds.SERVICE_ACCOUNT, "kubesphere", kubesphere.NAMESPACE)
"""The agent runs as this; every KubeSphere 3.x has it, bound to cluster-admin (kubesphere-facts 7.4)."""

INITIALIZED = "Initialized"
AGENT_AVAILABLE = "AgentAvailable"

_DEFAULT_IMAGE = "kubesphere/tower:v1.0"
"""What KubeSphere itself takes when its configuration names no image (kubesphere-facts 3.3)."""

_COMPLAINS = re.compile(
    r"Connection error:|Authentication failed|Config verification failed|invalid proxy server url"
    r"|first path segment in URL|missing protocol scheme|unsupported protocol scheme"
)
"""What only an agent says that gets no connection (kubesphere-facts 8); `causes` has what it means."""


def service_name(cluster: str) -> str:
    """Return the name of the host's Service that stands for a member behind tower (kubesphere-facts 6.5)."""
    return f"mc-{cluster}"


def shared_ports(clusters: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """Return the pairs of proxy Clusters that have a port of tower in common, and the first such port.

    Whoever draws the ports compares a new one with others' ports of the other kind, so that it never sees that it is
    taken (kubesphere-facts 6.5). Only one of the two can be listened on: tower logs that and goes on.
    """
    drawn = [(str(item["metadata"]["name"]), _ports(item)) for item in clusters]
    drawn = sorted((name, ports) for name, ports in drawn if ports)
    return [
        (one, other, min(set(ports) & set(others)))
        for (one, ports), (other, others) in itertools.combinations(drawn, 2)
        if set(ports) & set(others)
    ]


def _ports(cluster: Mapping[str, Any]) -> tuple[int, ...]:
    connection = (cluster.get("spec") or {}).get("connection") or {}
    if connection.get("type") != "proxy" or "deletionTimestamp" in cluster["metadata"]:
        return ()
    found = (connection.get("kubernetesAPIServerPort"), connection.get("kubesphereAPIServerPort"))
    return tuple(int(port) for port in found if port)


def redraw_patch(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch after which the ports of a proxy Cluster are drawn anew; its token stays.

    Tower draws as long as Initialized is not True, the controller of 3.0 as long as there are no ports; either then
    leads the Service to the new ones (kubesphere-facts 6.5). So nothing has to be deleted, and no port and no Service
    to be written by us, which a tower that is at it would overwrite. There is no status subresource (5).
    """
    conditions = (cluster.get("status") or {}).get("conditions") or []
    return {
        "metadata": {"resourceVersion": cluster["metadata"]["resourceVersion"]},
        "spec": {"connection": {"kubernetesAPIServerPort": None, "kubesphereAPIServerPort": None}},
        "status": {"conditions": [item for item in conditions if item.get("type") != INITIALIZED]},
    }


def load_balancer_address(service: Mapping[str, Any]) -> str:
    """Return the address that KubeSphere makes of a LoadBalancer, or "" while it is pending.

    Its own rule: the last ingress, IP over hostname, and the port of the Service (kubesphere-facts 4.1).
    """
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    ports = service.get("spec", {}).get("ports") or []
    if not ingress or not ports:
        return ""
    host = ingress[-1].get("ip") or ingress[-1].get("hostname")
    return f"http://{host}:{ports[0]['port']}" if host else ""


def node_port(service: Mapping[str, Any]) -> int | None:
    """Return the port on every node that leads to tower, or None."""
    ports = service.get("spec", {}).get("ports") or [{}]
    found = ports[0].get("nodePort")
    return int(found) if found else None


def agent_deployment(name: str, *, token: str, address: str, image: str, renews: str = "") -> dict[str, Any]:
    """Return the agent's Deployment exactly as ks-apiserver would hand it out (kubesphere-facts 7.4).

    Made here, since it needs nothing but the Cluster's name and token, the address and the image: no login to
    KubeSphere, and no restart of ks-apiserver to make it see a new address (kubesphere-facts 4.2).

    *renews* is when the credential ends that tower has made for the host, if it is to make another: it does so at each
    connect (kubesphere-facts 8), and agents whose Pods have another mark are started anew.
    """
    marks = {"annotations": {kubesphere.RENEWAL_ANNOTATION: renews}} if renews else {}
    container = {
        "name": "agent",
        "image": image or _DEFAULT_IMAGE,
        "command": [
            "/agent",
            f"--name={name}",
            f"--token={token}",
            f"--proxy-server={address}",
            "--keepalive=10s",
            "--kubesphere-service=ks-apiserver.kubesphere-system.svc:80",
            "--kubernetes-service=kubernetes.default.svc:443",
            "--v=0",
        ],
        "resources": {"limits": {"cpu": "1", "memory": "200M"}, "requests": {"cpu": "100m", "memory": "100M"}},
    }
    return {
        "apiVersion": kinds.DEPLOYMENT.api_version,
        "kind": kinds.DEPLOYMENT.name,
        "metadata": {"name": AGENT.name, "namespace": AGENT.namespace},
        "spec": {
            "selector": {"matchLabels": dict(AGENT_LABELS)},
            "template": {
                "metadata": {"labels": dict(AGENT_LABELS), **marks},
                "spec": {"serviceAccountName": ACCOUNT.name, "containers": [container]},
            },
        },
    }


def agent_differences(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return what about a running agent is not as wanted, in words without its token; [] if nothing."""
    differences = [f"--{key}" for key, value in arguments(wanted).items() if arguments(present).get(key) != value]
    have, want = _container(present), _container(wanted)
    if have.get("image") != want["image"]:
        differences.append(f"image {have.get('image')} -> {want['image']}")
    if have.get("resources") != want["resources"]:
        differences.append("resources")
    account = _template(present).get("spec", {}).get("serviceAccountName")
    if account != ACCOUNT.name:
        differences.append(f"serviceAccountName {account} -> {ACCOUNT.name}")
    if present.get("spec", {}).get("replicas", 1) == 0:
        differences.append("replicas 0 -> 1")
    renews = kubesphere.annotation(_template(wanted), kubesphere.RENEWAL_ANNOTATION)
    if renews and kubesphere.annotation(_template(present), kubesphere.RENEWAL_ANNOTATION) != renews:
        differences.append(f"started anew, for a credential in place of the one that ends at {renews}")
    return differences


def announced_name(deployment: Mapping[str, Any]) -> str:
    """Return the name under which an agent announces itself."""
    return arguments(deployment).get("name", "")


def announced_token(deployment: Mapping[str, Any]) -> str:
    """Return the token with which an agent announces itself."""
    return arguments(deployment).get("token", "")


def credentials(deployment: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and token with which an agent announces itself; the token is a secret."""
    words = arguments(deployment)
    return words.get("name", ""), words.get("token", "")


def complaint(log: str) -> str:
    """Return the agent's last complaint in its own words, or "" if it does not complain.

    Connecting is not told at the verbosity that the manifest has: no complaint is the sign of success
    (kubesphere-facts 8).
    """
    for line in reversed(log.splitlines()):
        if _COMPLAINS.search(line):
            return re.sub(r"^.*?(?=Connection error:|invalid proxy|parse )", "", line).strip()[:200]
    return ""


def _template(deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = deployment.get("spec", {}).get("template", {})
    return found


def _container(deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = _template(deployment).get("spec", {}).get("containers") or [{}]
    return next((item for item in containers if item.get("name") == "agent"), containers[0])


def arguments(deployment: Mapping[str, Any]) -> dict[str, str]:
    """Return the flags of an agent by name, its token among them."""
    words = [*(_container(deployment).get("command") or []), *(_container(deployment).get("args") or [])]
    pairs = (word.lstrip("-").partition("=") for word in words if word.startswith("-"))
    return {key: value for key, _, value in pairs}
