"""Merge patches: RFC 7386, and the part of the strategic merge that is imitated.

The strategic merge here merges maps, deletes on null, merges `containers`, `volumes`, `env`, `ports` and `conditions`
by their merge keys, and replaces every other list. Directives (`$patch`, `$retainKeys`, `$setElementOrder`) are
refused.
"""

from __future__ import annotations

from typing import Any, Final

MERGE_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "conditions": "type",
    "ports": "containerPort",
}


class DirectiveError(ValueError):
    """A strategic merge patch holds a directive that is not imitated."""


def merge(target: Any, *, patch: Any) -> Any:
    """Return target with an RFC 7386 patch applied; neither argument is changed."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), patch=value)
    return result


def merge_strategic(target: Any, *, patch: Any) -> Any:
    """Return target with a simple strategic merge patch applied. Raises DirectiveError."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith("$"):
            raise DirectiveError(f"the directive {key} is not imitated")
        if value is None:
            result.pop(key, None)
        elif isinstance(value, list) and _mergeable(value, key=MERGE_KEYS.get(key)):
            result[key] = _merge_list(result.get(key) or [], patch=value, key=MERGE_KEYS[key])
        else:
            result[key] = merge_strategic(result.get(key), patch=value)
    return result


def _mergeable(value: list[Any], *, key: str | None) -> bool:
    return key is not None and all(isinstance(item, dict) and key in item for item in value)


def _merge_list(target: list[Any], *, patch: list[Any], key: str) -> list[Any]:
    result = list(target)
    for item in patch:
        for position, existing in enumerate(result):
            if existing.get(key) == item[key]:
                result[position] = merge_strategic(existing, patch=item)
                break
        else:
            result.append(merge_strategic({}, patch=item))
    return result
