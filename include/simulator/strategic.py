"""Strategic merge patches: maps merge, and so do lists whose entries have a key, or whose field is a set.

The keys are those of the kinds here, told by a field's name alone (in reality by the type it is in). A directive in a
patch orders a list, deletes from it, or replaces what is there.
"""

from __future__ import annotations

from typing import Any, Final

from include.simulator import status

MERGE_KEYS: Final = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "podIPs": ("ip",),
    "ports": ("containerPort", "port"),
    "secrets": ("name",),
    "topologySpreadConstraints": ("topologyKey",),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
"""Of two, a list has the one that its entries have: a container's ports differ from a Service's."""
SETS: Final = {"finalizers"}

_ACTION: Final = "$patch"
_KEPT: Final = "$retainKeys"
_ORDER: Final = "$setElementOrder"
_DELETED: Final = "$deleteFromPrimitiveList"


def merge(target: Any, *, patch: dict[str, Any]) -> dict[str, Any]:
    """Return target with a patch applied; neither argument is changed. Raises ApiError."""
    result = dict(target) if isinstance(target, dict) else {}
    action = patch.get(_ACTION, "merge")
    if action == "delete":
        return {}
    if action == "replace":
        return {key: value for key, value in patch.items() if key != _ACTION}
    if action != "merge":
        raise status.bad_request(f"Unknown patch type: {action}")
    if _KEPT in patch:
        result = {key: value for key, value in result.items() if key in patch[_KEPT]}
    for key, value in patch.items():
        if not key.startswith("$"):
            _set(result, key, value)
    for key, value in patch.items():
        if key.startswith("$") and key not in {_ACTION, _KEPT}:
            _direct(result, key, value)
    return result


def _direct(result: dict[str, Any], directive: str, value: Any) -> None:
    """Do to a list of a map what a directive says."""
    action, _, field = directive.partition("/")
    if action not in {_ORDER, _DELETED}:
        raise status.bad_request(f"the directive {directive} is not known")
    if field in result:
        present = result[field] or []
        kept = [item for item in present if item not in value]
        result[field] = kept if action == _DELETED else _order(present, wanted=value, field=field)


def _set(result: dict[str, Any], key: str, value: Any) -> None:
    """Merge one field of a patch into a map."""
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict):
        result[key] = merge(result.get(key), patch=value)
    elif isinstance(value, list) and key in MERGE_KEYS and _holds_maps(value, result.get(key)):
        result[key] = _merge_list(result.get(key) or [], patch=value, field=key)
    elif isinstance(value, list) and key in SETS:
        present = result.get(key) or []
        result[key] = present + [item for item in value if item not in present]
    else:
        result[key] = value


def _holds_maps(value: list[Any], present: Any) -> bool:
    return all(isinstance(item, dict) for item in [*value, *(present or [])])


def _merge_list(target: list[Any], *, patch: list[Any], field: str) -> list[Any]:
    if any(item.get(_ACTION) == "replace" for item in patch):
        return [item for item in patch if _ACTION not in item]
    result = list(target)
    for item in patch:
        key = _merge_key(item, field=field)
        position = next((index for index, held in enumerate(result) if held.get(key) == item[key]), None)
        if item.get(_ACTION) == "delete":
            result = [held for held in result if held.get(key) != item[key]]
        elif position is None:
            result.append(merge({}, patch=item))
        else:
            result[position] = merge(result[position], patch=item)
    return result


def _merge_key(item: dict[str, Any], *, field: str) -> str:
    """Return the key by which an entry of a list is known. Raises ApiError 500, as a real server answers."""
    for key in MERGE_KEYS[field]:
        if key in item:
            return key
    shown = " ".join(f"{key}:{value}" for key, value in item.items())
    raise status.ApiError(
        500,
        reason="",
        message=f"map: map[{shown}] does not contain declared merge key: {MERGE_KEYS[field][0]}",
    )


def _order(present: list[Any], *, wanted: list[Any], field: str) -> list[Any]:
    """Return a list in the order of a directive; what that does not name stays behind what it was behind."""

    def identity(item: Any) -> Any:
        return item[_merge_key(item, field=field)] if isinstance(item, dict) else item

    ranks = {identity(item): rank for rank, item in enumerate(wanted)}
    result = sorted((item for item in present if identity(item) in ranks), key=lambda item: ranks[identity(item)])
    for position, item in enumerate(present):
        if identity(item) not in ranks:
            after = result.index(present[position - 1]) + 1 if position else 0
            result.insert(after, item)
    return result
