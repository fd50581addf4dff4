"""SelfSubjectAccessReviews: whether a request would be allowed, told without making it and without storing anything."""

from __future__ import annotations

from typing import Any

from include.simulator import status
from include.simulator.access import Access
from include.simulator.resources import SELF_REVIEWS
from include.simulator.status import Problem

Object = dict[str, Any]


def answer(content: Object, *, user: str, access: Access) -> Object:
    """Return the review with what it asks for. Raises ApiError 422 for one that asks for nothing, or for two things."""
    spec: Object = content.get("spec") or {}
    metadata: Object = content.get("metadata") or {}
    asked: Any = spec.get("resourceAttributes")
    path: Any = spec.get("nonResourceAttributes")
    problems = []
    if asked is not None and path is not None:
        shown = f'authorization.NonResourceAttributes{{Path:"{path.get("path", "")}", Verb:"{path.get("verb", "")}"}}'
        text = f"Invalid value: {shown}: cannot be specified in combination with resourceAttributes"
        problems.append(Problem(field="spec.nonResourceAttributes", text=text))
    elif asked is None and path is None:
        text = 'Invalid value: "null": exactly one of nonResourceAttributes or resourceAttributes must be specified'
        problems.append(Problem(field="spec.resourceAttributes", text=text))
    if {key for key, value in metadata.items() if value} - {"namespace"}:
        problems.append(Problem(field="metadata", text=f"Invalid value: {metadata}: must be empty"))
    if problems:
        raise status.invalid_review(problems)
    if path is not None:
        allowed = access.allows_path(user, path=path.get("path", ""))
    else:
        resource, subresource = asked.get("resource", ""), asked.get("subresource", "")
        scoped = f"{resource}/{subresource}" if subresource else resource
        allowed = access.allows(user, verb=asked.get("verb", ""), resource=scoped)
    return {
        "kind": SELF_REVIEWS.kind,
        "apiVersion": SELF_REVIEWS.api_version,
        "metadata": {"creationTimestamp": None},
        "spec": spec,
        "status": {"allowed": allowed},
    }
