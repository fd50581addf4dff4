"""Lists: of which moment, which objects of it, and in pieces of what size."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from include.simulator import parameters, selectors, status
from include.simulator.resources import Resource
from include.simulator.status import Problem
from include.simulator.store import Object, Store

_VERSION: Final = "meta.k8s.io/v1"
_MATCHES: Final = ("Exact", "NotOlderThan", "")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The objects of a list, and its metadata."""

    items: list[Object]
    metadata: Object


def select(request: Request, *, resource: Resource, namespace: str, store: Store) -> Listed:
    """Return what a request lists. Raises ApiError 400, 410, 422, 500, 504."""
    matches = parameters.read_selector(request, resource=resource)
    limit = parameters.read_integer(request, name="limit") or 0
    parameters.read_integer(request, name="timeoutSeconds")
    token = request.query_params.get("continue", "")
    revision, start = _read_token(token) if token else (_read_revision(request, limit=limit, store=store), "")
    found = store.select(resource, namespace=namespace, revision=revision)
    metadata: Object = {"resourceVersion": str(store.revision if revision is None else revision)}
    if resource.custom:
        metadata["continue"] = ""
    items, left = _cut(
        [item for item in found if _key(item, namespace=namespace) >= start], matches=matches, limit=limit
    )
    if left:
        metadata["continue"] = _write_token(metadata["resourceVersion"], start=_key(left[0], namespace=namespace))
        if not {"labelSelector", "fieldSelector"} & request.query_params.keys():
            metadata["remainingItemCount"] = len(left)
    return Listed(items=items, metadata=metadata)


def _read_revision(request: Request, *, limit: int, store: Store) -> int | None:
    """Return the revision that a list is to be of, or None for the newest."""
    version = parameters.read_version(request)
    match = request.query_params.get("resourceVersionMatch", "")
    problem: Problem | None = None
    if match not in _MATCHES:
        known = ", ".join(f'"{value}"' for value in _MATCHES)
        text = f'Unsupported value: "{match}": supported values: {known}'
        problem = Problem(field="resourceVersionMatch", text=text, reason="FieldValueNotSupported")
    elif match and version is None:
        text = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        problem = Problem(field="resourceVersionMatch", text=text, reason="FieldValueForbidden")
    if problem is not None:
        raise status.invalid_options("ListOptions", problems=[problem])
    if not version:
        return None
    store.check_revision(version)
    # Without a match, a version means that very one where a limit is given (documented as legacy).
    return version if match == "Exact" or (limit and not match) else None


def _cut(items: list[Object], *, matches: selectors.Predicate, limit: int) -> tuple[list[Object], list[Object]]:
    """Return as many of those that match as are wanted, and what has not been looked at."""
    chosen: list[Object] = []
    for position, item in enumerate(items):
        if limit > 0 and len(chosen) == limit:
            return chosen, items[position:]
        if matches(item):
            chosen.append(item)
    return chosen, []


def _key(item: Object, *, namespace: str) -> str:
    metadata = item["metadata"]
    return str(metadata["name"] if namespace else f"{metadata.get('namespace', '')}/{metadata['name']}")


def _write_token(version: str, *, start: str) -> str:
    content = json.dumps({"v": _VERSION, "rv": int(version), "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, str]:
    try:
        content: Any = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(content["rv"]), str(content["start"])
    except (binascii.Error, ValueError, TypeError, LookupError) as error:
        raise status.bad_request(f"invalid continue token: continue key is not valid: {error}") from error
