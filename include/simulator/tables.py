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

_PLAIN: Final = {"application/json", "application/*", "*/*"}
_VERSIONS: Final = {"v1", "v1beta1"}
_INCLUDED: Final = {"Metadata", "None", "Object"}
_STEP: Final = re.compile(r"""\.(\w+)|\[\?\(@\.(\w+)\s*==\s*["']([^"']*)["']\)\]""")


class Table:
    """Shows the objects of one kind; `include` says what each row has of its object besides the cells."""

    def __init__(self, layout: Layout, *, version: str, include: str) -> None:
        self._layout = layout
        self._version = version
        self._include = include

    def render(self, items: list[Object], *, revision: str, headed: bool = True) -> Object:
        """Return the table; `headed` says whether it tells its columns."""
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{self._version}",
            "metadata": {"resourceVersion": revision},
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


def negotiate(request: Request, *, resource: Resource, store: Store) -> Table | None:
    """Return the table that a client prefers to see, or None for objects as they are. Raises ApiError 400."""
    for clause in request.headers.get("accept", "").split(","):
        media_type, *pairs = (part.strip() for part in clause.split(";"))
        if media_type not in _PLAIN:
            continue
        wanted = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if "as" not in wanted:
            return None
        if wanted["as"] == "Table" and wanted.get("g") == "meta.k8s.io" and wanted.get("v") in _VERSIONS:
            include = request.query_params.get("includeObject") or "Metadata"
            if include not in _INCLUDED:
                raise status.bad_request(f'includeObject: Invalid value: "{include}": unrecognized value')
            layout = columns.LAYOUTS.get(resource) or _custom_layout(resource, store=store)
            return Table(layout, version=wanted["v"], include=include)
    return None


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
