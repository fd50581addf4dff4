"""Objects as rows of a `Table`, for clients that ask for one: what `kubectl get` prints is made by the server."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from starlette.requests import Request

from include.simulator import columns, resources, status
from include.simulator.columns import Column, Layout
from include.simulator.resources import Resource
from include.simulator.store import Object, Store

_INCLUDED: Final = {"Metadata", "None", "Object"}
_STEP: Final = re.compile(r"""\.(\w+)|\[\?\(@\.(\w+)\s*==\s*["']([^"']*)["']\)\]""")


class Table:
    """Shows the objects of one kind; `include` says what each row has of its object besides the cells."""

    def __init__(self, layout: Layout, *, version: str, include: str) -> None:
        self._layout = layout
        self._version = version
        self._include = include

    def render(self, items: list[Object], *, metadata: Object, headed: bool = True) -> Object:
        """Return the table; `headed` says whether it tells its columns."""
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{self._version}",
            "metadata": {key: value for key, value in metadata.items() if value},
            "columnDefinitions": [column.describe() for column in self._layout.columns] if headed else [],
            "rows": [self._row(item) for item in items],
        }

    def _row(self, item: Object) -> Object:
        row: Object = {"cells": self._layout.fill(item)}
        if self._include == "Object":
            row["object"] = item
        elif self._include == "Metadata":
            row["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": f"meta.k8s.io/{self._version}",
                "metadata": item["metadata"],
            }
        return row


def choose(request: Request, *, resource: Resource, store: Store, version: str) -> Table:
    """Return the table of a kind. Raises ApiError 400 for rows that hold what there is not."""
    include = request.query_params.get("includeObject") or "Metadata"
    if include not in _INCLUDED:
        raise status.bad_request(
            f'Unable to convert to Table as requested: includeObject: Invalid value: "{include}": must be '
            "'Metadata', 'Object', 'None', or empty"
        )
    layout = columns.LAYOUTS.get(resource) or _custom_layout(resource, store=store)
    return Table(layout, version=version, include=include)


def _custom_layout(resource: Resource, *, store: Store) -> Layout:
    """Return the layout that the CustomResourceDefinition tells."""
    definition = store.get(resources.DEFINITIONS, name=resource.qualified)
    described: list[Object] = []
    for version in definition["spec"].get("versions") or []:
        if version["name"] == resource.version:
            described = version.get("additionalPrinterColumns") or []
    described = described or [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
    shown = [
        Column(
            name=entry["name"],
            type=entry["type"],
            format=entry.get("format", ""),
            priority=entry.get("priority", 0),
        )
        for entry in described
    ]
    return Layout(
        columns=(columns.NAME, *shown),
        fill=lambda item: [item["metadata"]["name"], *(_cell(item, column=entry) for entry in described)],
    )


def _cell(item: Object, *, column: Object) -> Any:
    """Return what a column shows; nothing for what is not of its type."""
    found, type_ = _find(item, path=column["jsonPath"]), column["type"]
    if found is None:
        return None
    if type_ == "string":
        return found if isinstance(found, str) else json.dumps(found, separators=(",", ":"))
    if type_ == "date":
        return columns.human_age(found) if isinstance(found, str) else None
    if type_ == "boolean":
        return found if isinstance(found, bool) else None
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def _find(item: Any, *, path: str) -> Any:
    """Return what a simple JSONPath leads to: fields, and the first entry of a list that has some field's value."""
    for field, key, value in _STEP.findall(path):
        if field:
            item = item.get(field) if isinstance(item, dict) else None
        else:
            listed = item if isinstance(item, list) else []
            item = next((entry for entry in listed if isinstance(entry, dict) and entry.get(key) == value), None)
    return item
