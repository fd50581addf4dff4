"""The forms in which objects can be asked for: as they are, as a table, their metadata alone; as JSON or as YAML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from include.simulator import status, tables
from include.simulator.resources import Resource
from include.simulator.store import Object, Store
from include.simulator.tables import Table

_JSON: Final = ("application/json", "application/*", "*/*")
_YAML: Final = "application/yaml"
_PARTIAL: Final = "PartialObjectMetadata"
_VERSIONS: Final = {"v1", "v1beta1"}


@dataclass(frozen=True, kw_only=True)
class Form:
    """What an answer looks like: `table` for rows, `partial` for metadata, which is the version of that form."""

    table: Table | None = None
    partial: str = ""
    as_yaml: bool = False

    def show(self, item: Object, *, headed: bool = True) -> Object:
        """Return an object in this form; `headed` says whether a table tells its columns."""
        if self.table is not None:
            return self.table.render([item], metadata={"resourceVersion": _version(item)}, headed=headed)
        return self._partial(item) if self.partial else item

    def show_list(self, items: list[Object], *, resource: Resource, metadata: Object) -> Object:
        """Return a list in this form. Kubernetes' own kinds do not repeat in each item what the list says."""
        if self.table is not None:
            return self.table.render(items, metadata=metadata)
        if self.partial:
            described = {"kind": f"{_PARTIAL}List", "apiVersion": f"meta.k8s.io/{self.partial}"}
            return {**described, "metadata": metadata, "items": [self._partial(item) for item in items]}
        if not resource.custom:
            items = [{key: value for key, value in item.items() if key not in {"kind", "apiVersion"}} for item in items]
        described = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        return {**described, "metadata": metadata, "items": items}

    def answer(self, content: Object) -> Response:
        """Return the response that holds it."""
        if self.as_yaml:
            return Response(yaml.safe_dump(content, sort_keys=False), media_type=_YAML)
        return JSONResponse(content)

    def _partial(self, item: Object) -> Object:
        return {"kind": _PARTIAL, "apiVersion": f"meta.k8s.io/{self.partial}", "metadata": item["metadata"]}


def negotiate(request: Request, *, resource: Resource, store: Store, single: bool) -> Form:
    """Return the first form that a client accepts and there is. Raises ApiError 400, and 406 when there is none."""
    for clause in (request.headers.get("accept") or "*/*").split(","):
        media_type, *pairs = (part.strip() for part in clause.split(";"))
        as_yaml = media_type == _YAML
        if media_type not in _JSON and not as_yaml:
            continue
        wanted = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if "as" not in wanted:
            return Form(as_yaml=as_yaml)
        if wanted.get("g") != "meta.k8s.io" or wanted.get("v") not in _VERSIONS:
            continue
        form = _form(request, wanted, resource=resource, store=store, single=single)
        if form is not None:
            return form
    raise status.not_acceptable()


def _form(request: Request, wanted: dict[str, Any], *, resource: Resource, store: Store, single: bool) -> Form | None:
    if wanted["as"] == "Table":
        return Form(table=tables.choose(request, resource=resource, store=store, version=wanted["v"]))
    if wanted["as"] == (_PARTIAL if single else f"{_PARTIAL}List"):
        return Form(partial=wanted["v"])
    return None


def _version(item: Object) -> str:
    return str(item["metadata"]["resourceVersion"])
