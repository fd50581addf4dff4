"""The scale subresource of Deployments: how many replicas there are to be, as an object of its own."""

from __future__ import annotations

from typing import Any, Final

from include.simulator import columns, status
from include.simulator.resources import Resource
from include.simulator.status import Problem

SCALE: Final = Resource(group="autoscaling", version="v1", plural="scales", kind="Scale", namespaced=True)

_FIELDS: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def describe(deployment: dict[str, Any]) -> dict[str, Any]:
    """Return the Scale of a Deployment."""
    spec, metadata = deployment["spec"], deployment["metadata"]
    selector = columns.pairs(spec["selector"].get("matchLabels"))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in _FIELDS},
        "spec": {"replicas": spec["replicas"]},
        "status": {"replicas": (deployment.get("status") or {}).get("replicas", 0), "selector": selector},
    }


def rescale(deployment: dict[str, Any], *, scale: dict[str, Any]) -> dict[str, Any]:
    """Return the Deployment that a Scale asks for, based on the version that the Scale is based on.

    Raises ApiError 422 for fewer pods than none.
    """
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        text = f"Invalid value: {replicas}: must be greater than or equal to 0"
        problems = [Problem(field="spec.replicas", text=text)]
        raise status.invalid(SCALE, name=deployment["metadata"]["name"], problems=problems)
    version = (scale.get("metadata") or {}).get("resourceVersion")
    return {
        **deployment,
        "metadata": {**deployment["metadata"], "resourceVersion": version},
        "spec": {**deployment["spec"], "replicas": replicas},
    }
