"""What a request says besides its path: the parameters of its query, and its body."""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.requests import Request

from include.simulator import selectors, status
from include.simulator.resources import Resource

_JSON: Final = "application/json"


def full_path(request: Request) -> str:
    """Return the path with the query."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def read_selector(request: Request, *, resource: Resource) -> selectors.Predicate:
    """Return what tells the objects that are asked for. Raises ApiError 400."""
    labels, fields = request.query_params.get("labelSelector", ""), request.query_params.get("fieldSelector", "")
    try:
        by_label, by_field = selectors.parse_labels(labels), selectors.parse_fields(fields, resource=resource)
    except selectors.SelectorError as error:
        raise status.bad_request(str(error)) from error
    return lambda item: by_label(item) and by_field(item)


def read_flag(request: Request, *, name: str) -> bool:
    """Read a boolean as Kubernetes does: given, and neither `false` nor `0`; clients in Python send `True`."""
    value = request.query_params.get(name)
    return value is not None and value.lower() not in {"false", "0"}


def read_integer(request: Request, *, name: str) -> int | None:
    """Return a number, or None when it is not given. Raises ApiError 400."""
    text = request.query_params.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise status.bad_request(f'invalid {name}: strconv.ParseUint: parsing "{text}": invalid syntax') from error


def is_dry_run(request: Request) -> bool:
    """Say whether nothing is to be stored."""
    return request.query_params.get("dryRun", "") == "All"


async def read_object(request: Request) -> Any:
    """Return the parsed body of a request that holds an object. Raises ApiError 400, or 415 for what is not JSON."""
    content_type = request.headers.get("content-type", _JSON).partition(";")[0].strip()
    if content_type != _JSON:
        raise status.unsupported_media_type((_JSON,))
    return await read_body(request)


async def read_body(request: Request) -> Any:
    """Return the parsed body. Raises ApiError 400."""
    try:
        return json.loads(await request.body())
    except ValueError as error:
        raise status.bad_request("couldn't get version/kind; json parse error: invalid character in body") from error


def check_body(content: Any, *, resource: Resource, name: str, namespace: str) -> None:
    """Refuse a body that is not an object of this kind, name and namespace. Raises ApiError 400."""
    if not isinstance(content, dict) or not isinstance(content.get("metadata") or {}, dict):
        raise status.bad_request("the body of the request is not an object")
    if content.get("kind", resource.kind) != resource.kind:
        raise status.bad_request(
            f'{content["kind"]} in version "{content.get("apiVersion")}" cannot be handled as a {resource.kind}: '
            f"converting ({content['kind']}) to ({resource.api_version}.{resource.kind}): unknown conversion"
        )
    if content.get("apiVersion", resource.api_version) != resource.api_version:
        raise status.bad_request(
            f"the API version in the data ({content['apiVersion']}) does not match the expected API version "
            f"({resource.api_version})"
        )
    metadata = content.get("metadata") or {}
    if metadata.get("namespace", namespace) != namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if name and metadata.get("name", name) != name:
        raise status.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )
