"""Label and field selectors of list and watch requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from include.simulator.resources import Resource

Predicate = Callable[[dict[str, Any]], bool]

FIELDS: Final[dict[str, set[str]]] = {
    "events": {
        "involvedObject.apiVersion",
        "involvedObject.kind",
        "involvedObject.name",
        "involvedObject.namespace",
        "involvedObject.uid",
        "reason",
        "type",
    },
    "namespaces": {"status.phase"},
    "pods": {"spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"},
    "secrets": {"type"},
}
"""What a kind can be selected by, besides its objects' names and namespaces."""
_COMMON: Final = ("metadata.name", "metadata.namespace")
_SET = re.compile(r"^(?P<key>\S+)\s+(?P<operator>in|notin)\s+\((?P<values>[^)]*)\)$")


class SelectorError(ValueError):
    """A selector that cannot be parsed or names a field that cannot be selected by."""


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def parse_labels(text: str) -> Predicate:
    """Return a predicate on objects for a label selector. Raises SelectorError."""
    tests = [_label_test(part) for part in _split(text)]
    return lambda item: all(test((item.get("metadata") or {}).get("labels") or {}) for test in tests)


def _label_test(part: str) -> Callable[[dict[str, str]], bool]:
    matched = _SET.match(part)
    if matched:
        key = matched["key"]
        values = {value.strip() for value in matched["values"].split(",")}
        if matched["operator"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    for operator in ("!=", "==", "="):
        if operator in part:
            key, _, value = (piece.strip() for piece in part.partition(operator))
            if operator == "!=":
                return lambda labels: labels.get(key) != value
            return lambda labels: labels.get(key) == value
    if part.startswith("!"):
        absent = part[1:].strip()
        return lambda labels: absent not in labels
    if re.search(r"\s", part):
        raise SelectorError(f"unable to parse requirement: {part}")
    return lambda labels: part in labels


def parse_fields(text: str, *, resource: Resource) -> Predicate:
    """Return a predicate on objects of a kind for a field selector. Raises SelectorError."""
    own = FIELDS.get(resource.plural, set())
    tests = []
    for part in _split(text):
        operator = "!=" if "!=" in part else "==" if "==" in part else "="
        path, found, value = (piece.strip() for piece in part.partition(operator))
        if not found:
            raise SelectorError(f"invalid selector: '{part}'; can't understand '{part}'")
        if path not in {*_COMMON, *own}:
            plain = not own and not resource.custom
            raise SelectorError(
                f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
                if plain
                else f"field label not supported: {path}"
            )
        tests.append((path.split("."), operator != "!=", value))
    return lambda item: all((_read(item, path=path) == value) is wanted for path, wanted, value in tests)


def _read(item: Any, *, path: list[str]) -> str:
    for key in path:
        item = item.get(key) if isinstance(item, dict) else None
    return "" if item is None else str(item)
