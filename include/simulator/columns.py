"""What `kubectl get` shows of each kind: the columns of a real server's tables, and how an object fills them.

Custom kinds have the columns of their CustomResourceDefinition, see `tables.py`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from include.simulator import clock, resources
from include.simulator.resources import Resource

Object = dict[str, Any]

_SHOWN_ENDPOINTS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column; those of priority 1 are for `-o wide`."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0

    def describe(self) -> dict[str, Any]:
        """Return the entry of a table's `columnDefinitions`."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": "",
            "priority": self.priority,
        }


NAME: Final = Column(name="Name", format="name")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of a kind; `fill` returns an object's cells in their order."""

    columns: tuple[Column, ...]
    fill: Callable[[Object], list[Any]]


def human_age(time: str | None) -> str:
    """Return how long ago a moment is."""
    if not time:
        return "<unknown>"
    try:
        moment = datetime.datetime.fromisoformat(time)
    except ValueError:
        return "<invalid>"
    return human_duration(int((clock.now() - moment).total_seconds()))


def human_duration(seconds: int) -> str:
    """Return a duration in as few letters as Kubernetes takes for it (apimachinery/pkg/util/duration)."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 0:
        return "0s" if seconds == -1 else "<invalid>"
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    return _two(days // 365, "y", days % 365 if days < 365 * 8 else 0, "d")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")


def created_age(item: Object) -> str:
    """Return the age of an object."""
    return human_age(item["metadata"].get("creationTimestamp"))


def _pod(item: Object) -> list[Any]:
    state, spec = item.get("status") or {}, item.get("spec") or {}
    containers = state.get("containerStatuses") or []
    ready = sum(bool(entry.get("ready")) and "running" in (entry.get("state") or {}) for entry in containers)
    shown = state.get("reason") or state.get("phase", "Unknown")
    for entry in reversed(containers):
        for held in ("waiting", "terminated"):
            shown = ((entry.get("state") or {}).get(held) or {}).get("reason") or shown
    if "deletionTimestamp" in item["metadata"]:
        shown = "Terminating"
    return [
        item["metadata"]["name"],
        f"{ready}/{len(spec.get('containers') or [])}",
        shown,
        str(sum(entry.get("restartCount", 0) for entry in containers)),
        created_age(item),
        state.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        state.get("nominatedNodeName") or "<none>",
        "<none>",
    ]


def _service(item: Object) -> list[Any]:
    spec = item["spec"]
    ports = [
        f"{port['port']}{':' + str(port['nodePort']) if port.get('nodePort') else ''}/{port['protocol']}"
        for port in spec.get("ports") or []
    ]
    return [
        item["metadata"]["name"],
        spec["type"],
        spec.get("clusterIP") or "<none>",
        _external_address(item),
        ",".join(ports) or "<none>",
        created_age(item),
        pairs(spec.get("selector")),
    ]


def _external_address(item: Object) -> str:
    spec = item["spec"]
    if spec["type"] == "ExternalName":
        return str(spec.get("externalName", ""))
    listed = list(spec.get("externalIPs") or [])
    if spec["type"] != "LoadBalancer":
        return ",".join(listed) or "<none>"
    balancer = (item.get("status") or {}).get("loadBalancer") or {}
    found = [entry.get("ip") or entry.get("hostname") for entry in balancer.get("ingress") or []]
    return ",".join([*found, *listed]) or "<pending>"


def _deployment(item: Object) -> list[Any]:
    spec, state = item["spec"], item.get("status") or {}
    containers = spec["template"]["spec"].get("containers") or []
    return [
        item["metadata"]["name"],
        f"{state.get('readyReplicas', 0)}/{spec['replicas']}",
        state.get("updatedReplicas", 0),
        state.get("availableReplicas", 0),
        created_age(item),
        ",".join(entry.get("name", "") for entry in containers),
        ",".join(entry.get("image", "") for entry in containers),
        pairs(spec["selector"].get("matchLabels")),
    ]


def _node(item: Object) -> list[Any]:
    state = item.get("status") or {}
    info = state.get("nodeInfo") or {}
    ready = {entry["type"]: entry["status"] for entry in state.get("conditions") or []}.get("Ready")
    shown = {"True": "Ready", None: "Unknown"}.get(ready, "NotReady")
    addresses = {entry["type"]: entry["address"] for entry in state.get("addresses") or []}
    prefix = "node-role.kubernetes.io/"
    labels = item["metadata"].get("labels") or {}
    roles = sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix))
    return [
        item["metadata"]["name"],
        shown + (",SchedulingDisabled" if (item.get("spec") or {}).get("unschedulable") else ""),
        ",".join(roles) or "<none>",
        created_age(item),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage", "<unknown>"),
        info.get("kernelVersion", "<unknown>"),
        info.get("containerRuntimeVersion", "<unknown>"),
    ]


def _endpoints(item: Object) -> list[Any]:
    listed = [
        f"{address['ip']}:{port['port']}"
        for subset in item.get("subsets") or []
        for port in subset.get("ports") or []
        for address in subset.get("addresses") or []
    ]
    shown = ",".join(listed[:_SHOWN_ENDPOINTS]) or "<none>"
    more = len(listed) - _SHOWN_ENDPOINTS
    return [item["metadata"]["name"], shown + (f" + {more} more..." if more > 0 else ""), created_age(item)]


def _event(item: Object) -> list[Any]:
    subject, source = item.get("involvedObject") or {}, item.get("source") or {}
    return [
        human_age(item.get("lastTimestamp") or item.get("firstTimestamp")),
        item.get("type", ""),
        item.get("reason", ""),
        f"{subject.get('kind', '').lower()}/{subject.get('name', '')}",
        subject.get("fieldPath", ""),
        ", ".join(filter(None, (source.get("component"), source.get("host")))),
        item.get("message", "").strip(),
        human_age(item.get("firstTimestamp")),
        item.get("count", 1),
        item["metadata"]["name"],
    ]


def _binding(item: Object) -> list[Any]:
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in item.get("subjects") or []:
        kind, prefix = subject.get("kind", ""), f"{subject.get('namespace', '')}/"
        subjects.setdefault(kind, []).append((prefix if kind == "ServiceAccount" else "") + subject.get("name", ""))
    role = item.get("roleRef") or {}
    return [
        item["metadata"]["name"],
        f"{role.get('kind', '')}/{role.get('name', '')}",
        created_age(item),
        *(", ".join(subjects[kind]) for kind in ("User", "Group", "ServiceAccount")),
    ]


def _storage_class(item: Object) -> list[Any]:
    annotations = item["metadata"].get("annotations") or {}
    default = annotations.get("storageclass.kubernetes.io/is-default-class") == "true"
    return [
        item["metadata"]["name"] + (" (default)" if default else ""),
        item.get("provisioner", ""),
        item.get("reclaimPolicy", "Delete"),
        item.get("volumeBindingMode", "Immediate"),
        bool(item.get("allowVolumeExpansion")),
        created_age(item),
    ]


def _named(*columns: tuple[Column, Callable[[Object], Any]]) -> Layout:
    """Return the layout of a name and columns that are filled one by one."""
    return Layout(
        columns=(NAME, *(column for column, _ in columns)),
        fill=lambda item: [item["metadata"]["name"], *(fill(item) for _, fill in columns)],
    )


def _listed(*columns: str | Column, fill: Callable[[Object], list[Any]]) -> Layout:
    """Return the layout of columns that are filled together; a plain name stands for a column of text."""
    described = (column if isinstance(column, Column) else Column(name=column) for column in columns)
    return Layout(columns=tuple(described), fill=fill)


def _wide(name: str) -> Column:
    return Column(name=name, priority=1)


def pairs(labels: dict[str, str] | None) -> str:
    """Return labels, or a selector of them, as one text."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or "<none>"


def _moment(item: Object) -> Any:
    return item["metadata"].get("creationTimestamp")


_AGE: Final = (Column(name="Age"), created_age)
DATED: Final = _named((Column(name="Created At", type="date"), _moment))

LAYOUTS: Final[dict[Resource, Layout]] = {
    resources.PODS: _listed(
        NAME,
        "Ready",
        "Status",
        "Restarts",
        "Age",
        *map(_wide, ("IP", "Node", "Nominated Node", "Readiness Gates")),
        fill=_pod,
    ),
    resources.SERVICES: _listed(
        NAME, "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", _wide("Selector"), fill=_service
    ),
    resources.DEPLOYMENTS: _listed(
        NAME,
        "Ready",
        Column(name="Up-to-date"),
        Column(name="Available"),
        "Age",
        *map(_wide, ("Containers", "Images", "Selector")),
        fill=_deployment,
    ),
    resources.NODES: _listed(
        NAME,
        "Status",
        "Roles",
        "Age",
        "Version",
        *map(_wide, ("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime")),
        fill=_node,
    ),
    resources.ENDPOINTS: _listed(NAME, "Endpoints", "Age", fill=_endpoints),
    resources.EVENTS: _listed(
        "Last Seen",
        "Type",
        "Reason",
        "Object",
        _wide("Subobject"),
        _wide("Source"),
        "Message",
        _wide("First Seen"),
        _wide("Count"),
        Column(name="Name", format="name", priority=1),
        fill=_event,
    ),
    resources.CLUSTERROLEBINDINGS: _listed(
        NAME, "Role", "Age", *map(_wide, ("Users", "Groups", "ServiceAccounts")), fill=_binding
    ),
    resources.STORAGECLASSES: _listed(
        NAME, "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age", fill=_storage_class
    ),
    resources.NAMESPACES: _named((Column(name="Status"), lambda item: item["status"]["phase"]), _AGE),
    resources.CONFIGMAPS: _named(
        (Column(name="Data"), lambda item: len(item.get("data") or {}) + len(item.get("binaryData") or {})), _AGE
    ),
    resources.SECRETS: _named(
        (Column(name="Type"), lambda item: item["type"]),
        (Column(name="Data"), lambda item: len(item.get("data") or {})),
        _AGE,
    ),
    resources.SERVICEACCOUNTS: _named((Column(name="Secrets"), lambda item: len(item.get("secrets") or [])), _AGE),
    resources.LEASES: _named((Column(name="Holder"), lambda item: item["spec"].get("holderIdentity", "")), _AGE),
    resources.WEBHOOK_CONFIGURATIONS: _named(
        (Column(name="Webhooks", type="integer"), lambda item: len(item.get("webhooks") or [])), _AGE
    ),
    resources.CLUSTERROLES: DATED,
    resources.DEFINITIONS: DATED,
}
