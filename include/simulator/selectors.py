"""Label and field selectors of list and watch requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from include.simulator import validation
from include.simulator.resources import Resource

Predicate = Callable[[dict[str, Any]], bool]
Test = Callable[[dict[str, str]], bool]

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
_TOKEN: Final = re.compile(r"\s*(?:(?P<symbol>==|!=|[=!<>(),])|(?P<word>[^\s=!<>(),]+))")
_OPERATORS: Final = ("in", "notin", "=", "==", "!=", "gt", "lt", "<", ">")


class SelectorError(ValueError):
    """A selector that cannot be parsed or names a field that cannot be selected by; the text is the server's."""


def parse_labels(text: str) -> Predicate:
    """Return a predicate on objects for a label selector. Raises SelectorError."""
    tests = _Parser(text).parse() if text.strip() else []
    return lambda item: all(test((item.get("metadata") or {}).get("labels") or {}) for test in tests)


def match(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Say whether labels meet a LabelSelector, which is an object; an empty one is met by all."""
    expressions = selector.get("matchExpressions") or []
    wanted = (selector.get("matchLabels") or {}).items()
    return all(labels.get(key) == value for key, value in wanted) and all(_meets(labels, each) for each in expressions)


def _meets(labels: dict[str, str], expression: dict[str, Any]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or []
    tests = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return tests[expression["operator"]]


class _Parser:
    """Reads a label selector as apimachinery/pkg/labels/selector.go does."""

    def __init__(self, text: str) -> None:
        self._parts = [match["symbol"] or match["word"] for match in _TOKEN.finditer(text.strip())]

    def parse(self) -> list[Test]:
        """Return what labels have to pass. Raises SelectorError."""
        tests = []
        while True:
            part = self._peek()
            if part != "!" and not _is_word(part):
                raise SelectorError(f"found '{part}', expected: !, identifier, or 'end of string'")
            try:
                tests.append(self._requirement())
            except SelectorError as error:
                raise SelectorError(f"unable to parse requirement: {error}") from error
            part = self._take()
            if not part:
                return tests
            if part != ",":
                raise SelectorError(f"found '{part}', expected: ',' or 'end of string'")
            if self._peek() != "!" and not _is_word(self._peek()):
                raise SelectorError(f"found '{self._peek()}', expected: identifier after ','")

    def _requirement(self) -> Test:
        negated = self._peek() == "!"
        if negated:
            self._take()
        key = self._take()
        problem = validation.find_key_problem(key)
        if problem is not None:
            raise SelectorError(f'<nil>: Invalid value: "{key}": {problem}')
        if self._peek() in {"", ","} or negated:
            return lambda labels: (key in labels) is not negated
        operator = self._take()
        if operator not in _OPERATORS:
            raise SelectorError(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        if operator in {"in", "notin"}:
            values = self._values()
            return lambda labels: (labels.get(key) in values) is (operator == "in")
        value = self._take() if _is_word(self._peek()) else ""
        if operator in {"gt", "lt", "<", ">"}:
            return lambda labels: _compare(labels.get(key, ""), value, more=operator in {"gt", ">"})
        return lambda labels: (labels.get(key) == value) is (operator != "!=")

    def _values(self) -> set[str]:
        part = self._take()
        if part != "(":
            raise SelectorError(f"found '{part}' expected: '('")
        values = {""} if self._peek() in {")", ","} else set()
        while (part := self._take()) != ")":
            if not part:
                raise SelectorError("found '', expected: ',', or ')'")
            if part != ",":
                values.add(part)
        return values

    def _peek(self) -> str:
        return self._parts[0] if self._parts else ""

    def _take(self) -> str:
        return self._parts.pop(0) if self._parts else ""


def _is_word(part: str) -> bool:
    return bool(part) and part[0] not in "=!<>(),"


def _compare(held: str, value: str, *, more: bool) -> bool:
    if not (held.isdecimal() and value.isdecimal()):
        return False
    return int(held) > int(value) if more else int(held) < int(value)


def parse_fields(text: str, *, resource: Resource) -> Predicate:
    """Return a predicate on objects of a kind for a field selector. Raises SelectorError."""
    own = FIELDS.get(resource.plural, set())
    common = (
        {"metadata.name", "metadata.namespace"} if resource.namespaced or not resource.custom else {"metadata.name"}
    )
    tests = []
    for part in filter(None, map(str.strip, text.split(","))):
        operator = "!=" if "!=" in part else "==" if "==" in part else "="
        path, found, value = (piece.strip() for piece in part.partition(operator))
        if not found:
            raise SelectorError(f"invalid selector: '{part}'; can't understand '{part}'")
        if path not in common | own:
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
