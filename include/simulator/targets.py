"""What the path of a request names: a kind, an object, one of its subresources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from include.simulator import parameters, resources
from include.simulator.resources import Resource
from include.simulator.store import Store

_VERBS: Final = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_BUILT_IN: Final = {resource.group for resource in resources.ALL if not resource.custom}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a request path names; `rest` is what follows the subresource. `resource` is None for other paths.

    `is_known` says of those whether they lie in a group of Kubernetes itself, which answers for what it does not have.
    """

    verb: str
    resource: Resource | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    is_known: bool = False


def locate(request: Request, *, store: Store) -> Target:
    """Return what the path of a request names."""
    verb = _VERBS.get(request.method, request.method.lower())
    parts = request.url.path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, parts = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return Target(verb=verb, is_known=parts[0] == "api" and len(parts) == 2 and parts[1] != "v1")
    nowhere = Target(verb=verb, is_known=group in _BUILT_IN)
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in {"status", "finalize"}:
        namespace, parts = parts[1], parts[2:]
    for resource in resources.ALL:
        if (resource.group, resource.version, resource.plural) == (group, version, parts[0]):
            break
    else:
        return nowhere
    named = len(parts) > 1
    if not store.serves(resource) or (bool(namespace) != resource.namespaced and (namespace or named)):
        return nowhere
    if verb == "get" and not named:
        verb = "watch" if parameters.read_flag(request, name="watch") else "list"
    elif verb == "delete" and not named:
        verb = "deletecollection"
    return Target(
        verb=verb,
        resource=resource,
        namespace=namespace,
        name=parts[1] if named else "",
        subresource=parts[2] if len(parts) > 2 else "",
        rest="/".join(parts[3:]),
    )
