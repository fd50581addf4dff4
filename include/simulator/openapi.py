"""OpenAPI, as much as kubectl needs before it writes: which kinds a group version has, and what a patch may say.

No schemas: a kind is "an object", as a custom kind without one is on a real server. kubectl asks version 3 whether the
server knows `fieldValidation`, and leaves it to a server that does to refuse unknown fields; the version of Kubernetes
that is played here would have it do that by itself, with a document of megabytes. It looks into version 2 for a kind
that is not in version 3, and finds it empty.
"""

from __future__ import annotations

from typing import Any, Final

from include.simulator import resources
from include.simulator.resources import Resource
from include.simulator.store import Store

EMPTY: Final = b"\x0a\x032.0"
"""A Swagger document that tells its version, as protobuf: the only form that kubectl takes."""
EMPTY_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_OPTIONS: Final = tuple(
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
)


def describe(path: list[str], *, store: Store) -> dict[str, Any] | None:
    """Return the document at a path below `/openapi/v3`, or None; the path's parts are `api/v1` or `apis/G/V`."""
    served = [resource for resource in resources.ALL if store.serves(resource)]
    if not path:
        bases = sorted({resource.base.strip("/") for resource in served})
        return {"paths": {base: {"serverRelativeURL": f"/openapi/v3/{base}"} for base in bases}}
    kinds = [resource for resource in served if resource.base.strip("/") == "/".join(path)]
    if not kinds:
        return None
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": {_path(resource): _operations(resource) for resource in kinds},
        "components": {"schemas": {_schema_name(resource): _schema(resource) for resource in kinds}},
    }


def _path(resource: Resource) -> str:
    return resource.path("{name}" if "get" in resource.verbs else None, namespace="{namespace}")


def _operations(resource: Resource) -> dict[str, Any]:
    answer = {"description": "OK", "content": {"application/json": {"schema": _reference(resource)}}}
    responses = {"200": answer}
    if "patch" not in resource.verbs:
        return {"post": {"responses": responses, "x-kubernetes-action": "post", **_kind(resource)}}
    return {
        "get": {"responses": responses, "x-kubernetes-action": "get", **_kind(resource)},
        "patch": {
            "parameters": list(_OPTIONS),
            "responses": responses,
            "x-kubernetes-action": "patch",
            **_kind(resource),
        },
    }


def _kind(resource: Resource) -> dict[str, Any]:
    described = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    return {"x-kubernetes-group-version-kind": described}


def _schema(resource: Resource) -> dict[str, Any]:
    return {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "x-kubernetes-group-version-kind": list(_kind(resource).values()),
    }


def _schema_name(resource: Resource) -> str:
    return ".".join([*reversed((resource.group or "core").split(".")), resource.version, resource.kind])


def _reference(resource: Resource) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{_schema_name(resource)}"}
