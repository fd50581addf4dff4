"""The patches that an API server takes, by their content types: merge (RFC 7386), JSON (RFC 6902), strategic merge."""

from __future__ import annotations

from typing import Any, Final, Protocol

import jsonpatch
import jsonpointer

from include.simulator import status, strategic


class Patch(Protocol):
    """Returns an object with a patch applied, and changes neither argument. Raises ApiError."""

    def __call__(self, target: dict[str, Any], *, patch: Any) -> dict[str, Any]:
        """Apply a patch."""
        ...


def merge(target: dict[str, Any], *, patch: Any) -> dict[str, Any]:
    """Apply an RFC 7386 patch. Raises ApiError 400."""
    result: dict[str, Any] = _merge(target, patch=_object(patch))
    return result


def merge_strategically(target: dict[str, Any], *, patch: Any) -> dict[str, Any]:
    """Apply a strategic merge patch. Raises ApiError 400, or 500 where a real server does."""
    return strategic.merge(target, patch=_object(patch))


def follow(target: dict[str, Any], *, patch: Any) -> dict[str, Any]:
    """Apply an RFC 6902 patch. Raises ApiError 400 for one that is none, 422 for one that does not fit."""
    try:
        operations = jsonpatch.JsonPatch(patch)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, AttributeError) as error:
        raise status.bad_request(f"error decoding patch: {error}") from error
    try:
        result = operations.apply(target)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise status.impossible_patch() from error
    if not isinstance(result, dict):
        raise status.impossible_patch()
    return result


_KINDS: Final[dict[str, Patch]] = {
    "application/json-patch+json": follow,
    "application/merge-patch+json": merge,
    "application/strategic-merge-patch+json": merge_strategically,
}


def choose(content_type: str, *, custom: bool) -> Patch:
    """Return the kind of a patch; custom kinds take no strategic one. Raises ApiError 415."""
    accepted = {name: patch for name, patch in _KINDS.items() if not custom or patch is not merge_strategically}
    patch = accepted.get(content_type.partition(";")[0].strip())
    if patch is None:
        raise status.unsupported_media_type(tuple(accepted))
    return patch


def _object(patch: Any) -> dict[str, Any]:
    if not isinstance(patch, dict):
        raise status.bad_request("json: cannot unmarshal array into Go value of type map[string]interface {}")
    return patch


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
