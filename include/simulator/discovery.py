"""What an API server tells of itself: its health, its version, and which groups, versions and kinds it serves."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from include.simulator import openapi, resources, status
from include.simulator.resources import Resource
from include.simulator.store import Store

_BUILD = {
    "major": "1",
    "gitCommit": "b058e1760c79f46a834ba59bd7a3486ecf28237d",
    "gitTreeState": "clean",
    "buildDate": "2022-07-13T14:53:39Z",
    "goVersion": "go1.16.15",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def answer(request: Request, *, store: Store, version: str) -> Response:
    """Answer a request for a path that names no object of a kind."""
    path = request.url.path.strip("/").split("/")
    document: dict[str, Any] | None = None
    if request.method not in {"GET", "HEAD"}:
        if path == ["version"]:
            raise status.method_not_allowed()
    elif path in (["healthz"], ["readyz"], ["livez"]):
        return PlainTextResponse("ok")
    elif path == ["openapi", "v2"]:
        return Response(openapi.EMPTY, media_type=openapi.EMPTY_TYPE)
    elif path[:2] == ["openapi", "v3"]:
        document = openapi.describe(path[2:], store=store)
    elif path == ["version"]:
        document = describe_version(version)
    elif (path[0] == "api" and len(path) <= 2) or (path[0] == "apis" and len(path) <= 3):
        document = describe(path, store=store)
    return PlainTextResponse("404 page not found\n", status_code=404) if document is None else JSONResponse(document)


def describe_version(version: str) -> dict[str, Any]:
    """Return the document at `/version`."""
    return {**_BUILD, "minor": version.split(".")[1], "gitVersion": version}


def describe(path: list[str], *, store: Store) -> dict[str, Any] | None:
    """Return the document at a discovery path (`/api`, `/apis`, a group, a group version), or None."""
    served = [resource for resource in resources.ALL if store.serves(resource)]
    if path == ["api"]:
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.233.0.1:443"}],
        }
    if path == ["apis"]:
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups(served)}
    if len(path) == 2 and path[0] == "apis":
        for group in _groups(served):
            if group["name"] == path[1]:
                return {"kind": "APIGroup", "apiVersion": "v1", **group}
        return None
    wanted = path[1] if path[0] == "api" else f"{path[1]}/{path[2]}"
    kinds = [resource for resource in served if resource.api_version == wanted]
    if not kinds:
        return None
    listed = [entry for resource in kinds for entry in _entries(resource)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": kinds[0].api_version, "resources": listed}


def _groups(served: list[Resource]) -> list[dict[str, Any]]:
    versions = {resource.group: resource.version for resource in served if resource.group}
    groups = []
    for group, version in sorted(versions.items()):
        entry = {"groupVersion": f"{group}/{version}", "version": version}
        groups.append({"name": group, "versions": [entry], "preferredVersion": entry})
    return groups


def _entries(resource: Resource) -> list[dict[str, Any]]:
    kept = {"deletecollection"} if resource == resources.NAMESPACES else set()
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular if resource.custom else "",
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": [verb for verb in resource.verbs if verb not in kept],
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    entries = [entry]
    for name in (("status",) if resource.status else ()) + resource.subresources:
        described = _SUBRESOURCES.get(name, {})
        kind = f"{resource.kind}ProxyOptions" if name == "proxy" else resource.kind
        entries.append(
            {
                "name": f"{resource.plural}/{name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind,
                "verbs": ["get", "patch", "update"],
                **described,
            }
        )
    return entries


_SUBRESOURCES: Final[dict[str, dict[str, Any]]] = {
    "log": {"verbs": ["get"]},
    "proxy": {"verbs": ["create", "delete", "get", "patch", "update"]},
    "finalize": {"verbs": ["update"]},
    "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
}
