"""The scale subresource of Deployments: how many replicas there are to be, as an object of its own."""

from __future__ import annotations

from typing import Any, Final

from include.simulator import columns

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
    """Return the Deployment that a Scale asks for, based on the version that the Scale is based on."""
    version = (scale.get("metadata") or {}).get("resourceVersion")
    return {
        **deployment,
        "metadata": {**deployment["metadata"], "resourceVersion": version},
        "spec": {**deployment["spec"], "replicas": (scale.get("spec") or {}).get("replicas", 0)},
    }
