"""What a request says besides its path: the parameters of its query, and its body."""

from __future__ import annotations

import json
from typing import Any, Final

import yaml
from starlette.requests import Request

from include.simulator import selectors, status
from include.simulator.resources import Resource
from include.simulator.status import Problem

_JSON: Final = "application/json"
_YAML: Final = "application/yaml"
_LONGEST_MANAGER: Final = 128
_VALIDATIONS: Final = ("", "Ignore", "Strict", "Warn")
_POLICIES: Final = ("Foreground", "Background", "Orphan")


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
        raise status.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def read_version(request: Request) -> int | None:
    """Return the resourceVersion that is asked for, or None when it is not given. Raises ApiError 500."""
    text = request.query_params.get("resourceVersion", "")
    if not text:
        return None
    if not text.isdecimal():
        problem = f'strconv.ParseUint: parsing "{text}": invalid syntax'
        raise status.failure(f'resourceVersion: Invalid value: "{text}": {problem}')
    return int(text)


def is_dry_run(request: Request, *, kind: str, given: Any = None) -> bool:
    """Say whether nothing is to be stored; `kind` is `CreateOptions` or another of its like, `given` those in the body.

    Raises ApiError 422 for what is not known, of this and of the other options of a write.
    """
    wanted = (given or {}).get("dryRun") or request.query_params.getlist("dryRun")
    problems = []
    if not set(wanted) <= {"All"}:
        shown = ", ".join(f'"{value}"' for value in wanted)
        text = f'Unsupported value: []string{{{shown}}}: supported values: "All"'
        problems.append(Problem(field="dryRun", text=text, reason="FieldValueNotSupported"))
    if len(request.query_params.get("fieldManager", "")) > _LONGEST_MANAGER:
        text = f"Too long: must have at most {_LONGEST_MANAGER} bytes"
        problems.append(Problem(field="fieldManager", text=text, reason="FieldValueTooLong"))
    validation = request.query_params.get("fieldValidation", "")
    if validation not in _VALIDATIONS:
        known = ", ".join(f'"{value}"' for value in _VALIDATIONS)
        text = f'Unsupported value: "{validation}": supported values: {known}'
        problems.append(Problem(field="fieldValidation", text=text, reason="FieldValueNotSupported"))
    if problems:
        raise status.invalid_options(kind, problems=problems)
    return bool(wanted)


def is_strict(request: Request) -> bool:
    """Say whether a field that there is not is to be refused."""
    return request.query_params.get("fieldValidation", "") == "Strict"


async def read_object(request: Request, *, resource: Resource) -> Any:
    """Return the parsed body of a request that holds an object. Raises ApiError 400, or 415 for another format."""
    try:
        return _parse(request, await request.body())
    except ParseError as error:
        raise status.bad_request(
            f"the object provided is unrecognized (must be of type {resource.kind}): couldn't get version/kind; json "
            f"parse error: {error}"
        ) from error


async def read_options(request: Request) -> Any:
    """Return the options of a delete. Raises ApiError 400, 415 for another format, 422, 500 for what is no object."""
    body = await request.body()
    try:
        options = _parse(request, body) if body else {}
    except ParseError as error:
        raise status.failure(f"couldn't get version/kind; json parse error: {error}") from error
    policy = options.get("propagationPolicy", request.query_params.get("propagationPolicy"))
    if policy is not None and policy not in _POLICIES:
        known = ", ".join(f'"{value}"' for value in (*_POLICIES, "nil"))
        text = f'Unsupported value: "{policy}": supported values: {known}'
        problem = Problem(field="propagationPolicy", text=text, reason="FieldValueNotSupported")
        raise status.invalid_options("DeleteOptions", problems=[problem])
    return options


class ParseError(ValueError):
    """A body that is no object; the text is about as Go tells it."""


def _parse(request: Request, body: bytes) -> dict[str, Any]:
    """Return the object in a body. Raises ParseError and ApiError 415."""
    content_type = request.headers.get("content-type", _JSON).partition(";")[0].strip()
    if content_type == _YAML:
        try:
            parsed = yaml.load(body, Loader=_Loader)  # noqa: S506 - safe, it only leaves times as they are
        except yaml.YAMLError as error:
            raise ParseError(f"error converting YAML to JSON: {error}") from error
    elif content_type == _JSON:
        parsed = parse_json(body)
    else:
        raise status.unsupported_media_type((_JSON, _YAML, "application/vnd.kubernetes.protobuf"))
    if not isinstance(parsed, dict):
        found = {list: "array", str: "string", bool: "bool"}.get(type(parsed), "number")
        raise ParseError(
            f"json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string "
            '"json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        )
    return parsed


def parse_json(body: bytes) -> Any:
    """Return what a JSON text stands for. Raises ParseError."""
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        if not error.doc[error.pos :].strip():
            raise ParseError("unexpected end of JSON input") from error
        found = error.doc[error.pos : error.pos + 1]
        raise ParseError(f"invalid character '{found}' looking for beginning of value") from error
    except ValueError as error:
        raise ParseError("invalid character in body") from error


class _Loader(yaml.SafeLoader):
    """Reads times as texts, as JSON has them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def check_body(content: dict[str, Any], *, resource: Resource, name: str, namespace: str) -> None:
    """Refuse a body that is not an object of this kind, name and namespace. Raises ApiError 400, or 422."""
    kind, version = content.get("kind"), content.get("apiVersion")
    if resource.custom:
        _check_custom(content, resource=resource)
    elif (kind or resource.kind) != resource.kind or (version or resource.api_version) != resource.api_version:
        problem = f'no kind "{kind}" is registered for version "{version}" in scheme "pkg/runtime/scheme.go:100"'
        if version == resource.api_version:
            problem = f"converting ({version}.{kind}) to ({resource.api_version}.{resource.kind}): unknown conversion"
        raise status.unreadable(resource, content=content, problem=problem)
    metadata = content.get("metadata") or {}
    if not isinstance(metadata, dict):
        problem = f"json: cannot unmarshal into Go struct field {resource.kind}.metadata of type v1.ObjectMeta"
        raise status.unreadable(resource, content=content, problem=problem)
    # Nobody minds the namespace of an object that is in none.
    if namespace and metadata.get("namespace", namespace) != namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if name and not metadata.get("name"):
        raise status.bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    if name and metadata["name"] != name:
        raise status.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )


def _check_custom(content: dict[str, Any], *, resource: Resource) -> None:
    if not content.get("kind"):
        problem = f"Object 'Kind' is missing in '{json.dumps(content)}'"
        raise status.unreadable(resource, content=content, problem=problem)
    if content.get("apiVersion") != resource.api_version:
        raise status.bad_request(
            f"the API version in the data ({content.get('apiVersion', '')}) does not match the expected API version "
            f"({resource.api_version})"
        )
    if content["kind"] != resource.kind:
        wrong = Problem(field="kind", text=f'Invalid value: "{content["kind"]}": must be {resource.kind}')
        name = (content.get("metadata") or {}).get("name", "")
        raise status.invalid(resource, name=name, problems=[wrong], kind=content["kind"])
