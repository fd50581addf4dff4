"""The patches that an API server takes, by their content types: merge (RFC 7386), JSON (RFC 6902), strategic merge."""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

import jsonpatch
import jsonpointer

from include.simulator import parameters, status, strategic


class Patch(Protocol):
    """Returns an object with a patch applied, and changes neither argument. Raises ApiError."""

    def __call__(self, target: dict[str, Any], *, patch: Any) -> dict[str, Any]:
        """Apply a patch."""
        ...


def merge(target: dict[str, Any], *, patch: Any) -> dict[str, Any]:
    """Apply an RFC 7386 patch. Raises ApiError 422."""
    if not isinstance(patch, dict):
        problem = "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type struct"
        raise status.invalid_patch(json.dumps(json.dumps(patch)), problem=problem)
    result: dict[str, Any] = _merge(target, patch=patch)
    return result


def merge_strategically(target: dict[str, Any], *, patch: Any) -> dict[str, Any]:
    """Apply a strategic merge patch. Raises ApiError 400, or 500 where a real server does."""
    if not isinstance(patch, dict):
        raise status.bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
    return strategic.merge(target, patch=patch)


def follow(target: dict[str, Any], *, patch: Any) -> dict[str, Any]:
    """Apply an RFC 6902 patch. Raises ApiError 400 for one that is none, 422 for one that does not fit."""
    if not isinstance(patch, list):
        raise status.bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    try:
        result = jsonpatch.JsonPatch(patch).apply(target)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, AttributeError) as error:
        raise status.impossible_patch() from error
    if not isinstance(result, dict):
        raise status.impossible_patch()
    return result


_JSON: Final = "application/json-patch+json"
_MERGE: Final = "application/merge-patch+json"
_KINDS: Final[dict[str, Patch]] = {
    _JSON: follow,
    _MERGE: merge,
    "application/strategic-merge-patch+json": merge_strategically,
}


def choose(content_type: str, *, custom: bool) -> Patch:
    """Return the kind of a patch; custom kinds take no strategic one. Raises ApiError 415."""
    patch = _KINDS.get(content_type.partition(";")[0].strip())
    if custom and patch in {None, merge_strategically}:
        raise status.unsupported_media_type((_JSON, _MERGE, "application/apply-patch+yaml"))
    if patch is None:
        raise status.unsupported_patch()
    return patch


def parse(body: bytes, *, patch: Patch) -> Any:
    """Return what the body of a patch says. Raises ApiError 400."""
    try:
        return parameters.parse_json(body)
    except parameters.ParseError as error:
        raise status.bad_request("Invalid JSON Patch" if patch is merge else str(error)) from error


def _merge(target: Any, *, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), patch=value)
    return result
