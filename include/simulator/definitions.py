"""The CustomResourceDefinitions of KubeSphere and kubefed, as far as the facts tell their schemas.

A Cluster has its fields and no others (kubesphere-facts 5.1), a ClusterConfiguration whatever spec and status it is
given (1.1). What the facts do not tell keeps everything. The definitions of 3.0 are apiextensions v1beta1, which prunes
nothing and which no Kubernetes from 1.22 on takes: here they are v1 without a schema, which keeps everything as well.
"""

from __future__ import annotations

from typing import Any, Final

from include.simulator import resources
from include.simulator.release import Release
from include.simulator.resources import Resource

Object = dict[str, Any]

_ANYTHING: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_TEXT: Final = {"type": "string"}
_BYTES: Final = {"type": "string", "format": "byte"}
_TIME: Final = {"type": "string", "format": "date-time"}
_FLAG: Final = {"type": "boolean"}
_NUMBER: Final = {"type": "integer"}


def _fields(required: tuple[str, ...] = (), /, **properties: Object) -> Object:
    """Return the schema of an object with these fields and no others."""
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


_CONNECTION: Final = _fields(
    type=_TEXT,
    kubeconfig=_BYTES,
    kubernetesAPIEndpoint=_TEXT,
    externalKubernetesAPIEndpoint=_TEXT,
    kubesphereAPIEndpoint=_TEXT,
    token=_TEXT,
    kubernetesAPIServerPort=_NUMBER,
    kubesphereAPIServerPort=_NUMBER,
)
_CONDITION: Final = _fields(
    ("status", "type"),
    type=_TEXT,
    status=_TEXT,
    reason=_TEXT,
    message=_TEXT,
    lastUpdateTime=_TIME,
    lastTransitionTime=_TIME,
)
_SCHEMAS: Final = {
    resources.CLUSTERS: {
        "spec": _fields(
            joinFederation=_FLAG, enable=_FLAG, provider=_TEXT, externalKubeAPIEnabled=_FLAG, connection=_CONNECTION
        ),
        "status": _fields(
            conditions={"type": "array", "items": _CONDITION},
            kubernetesVersion=_TEXT,
            kubeSphereVersion=_TEXT,
            nodeCount=_NUMBER,
            zones={"type": "array", "items": _TEXT},
            region=_TEXT,
            configz={"type": "object", "additionalProperties": _FLAG},
            uid=_TEXT,
        ),
    },
    resources.CLUSTERCONFIGURATIONS: {"spec": _ANYTHING, "status": _ANYTHING},
}


def define(kind: Resource, *, release: Release) -> Object:
    """Return the CustomResourceDefinition of a kind."""
    version: Object = {"name": kind.version, "served": True, "storage": True, "schema": _schema(kind, release=release)}
    if kind.status:
        version["subresources"] = {"status": {}}
    if kind.columns:
        version["additionalPrinterColumns"] = [
            {"name": name, "type": type_, "jsonPath": path} for name, type_, path in kind.columns
        ]
    return {
        "metadata": {"name": kind.qualified},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "plural": kind.plural,
                "singular": kind.singular,
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "shortNames": list(kind.short_names),
            },
            "versions": [version],
        },
    }


def _schema(kind: Resource, *, release: Release) -> Object:
    parts = _SCHEMAS.get(kind) if release.has_schemas else None
    if parts is None:
        return {"openAPIV3Schema": _ANYTHING}
    properties = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object"}, **parts}
    return {"openAPIV3Schema": {"type": "object", "properties": properties}}
