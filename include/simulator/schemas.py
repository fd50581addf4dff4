"""Which fields objects have, and of which types: an API server drops the fields that it does not know.

The fields of Kubernetes' own kinds are told by the models of the official client, which belong to a later Kubernetes: a
field that came after 1.22 is kept. Those of a custom kind are told by its CustomResourceDefinition.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final

from kubernetes_asyncio.client import models

from include.simulator import times
from include.simulator.resources import Resource
from include.simulator.status import Problem

Object = dict[str, Any]

_NAMES: Final = {"Event": "CoreV1Event"}
"""Of models that are not called as their kind."""
_GO_TYPES: Final = {"str": "string", "int": "int32", "float": "float64", "bool": "bool", "datetime": "string"}
_PYTHON_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "datetime": (str,),
}
_QUANTITIES: Final = {"limits", "requests", "capacity", "allocatable", "overhead"}
"""Maps of texts that may be numbers too."""
_BYTES: Final = {("V1Secret", "data"), ("V1ConfigMap", "binaryData")}
_MICRO: Final = {("V1LeaseSpec", "acquireTime"), ("V1LeaseSpec", "renewTime"), ("CoreV1Event", "eventTime")}
"""Moments of which the client's models do not tell that they are MicroTimes."""
_LIST: Final = re.compile(r"list\[(.*)\]")
_MAP: Final = re.compile(r"dict\(str, (.*)\)")


class DecodeError(ValueError):
    """An object that no Go program can read; the text is Go's."""


def decode(resource: Resource, content: Object) -> Object:
    """Return an object as a Go program reads and writes it: without unknown fields and nulls. Raises DecodeError.

    Of a custom kind that holds for the metadata only; `prune` and `find_problems` look at the rest.
    """
    if not resource.custom:
        model = _NAMES.get(resource.kind, f"V{resource.version.removeprefix('v')}{resource.kind}")
        decoded: Object = _decode(content, type_=model, path=(), struct="")
        return decoded
    metadata = _decode(content.get("metadata") or {}, type_="V1ObjectMeta", path=("metadata",), struct="ObjectMeta")
    return {**content, "metadata": metadata}


def _decode(value: Any, *, type_: str, path: tuple[str, ...], struct: str) -> Any:
    if type_ == "object":
        return value
    if (listed := _LIST.fullmatch(type_)) is not None:
        _expect(value, list, type_=type_, path=path, struct=struct)
        return [_decode(item, type_=listed[1], path=path, struct=struct) for item in value]
    if (mapped := _MAP.fullmatch(type_)) is not None:
        _expect(value, dict, type_=type_, path=path, struct=struct)
        if path[-1] in _QUANTITIES:
            return {key: str(entry) for key, entry in value.items()}
        return {
            key: _decode(entry, type_=mapped[1], path=path, struct=struct)
            for key, entry in value.items()
            if entry is not None
        }
    if type_ in _PYTHON_TYPES:
        if not isinstance(value, _PYTHON_TYPES[type_]) or (isinstance(value, bool) and type_ != "bool"):
            raise _mismatch(value, type_=type_, path=path, struct=struct)
        return value
    _expect(value, dict, type_=type_, path=path, struct=struct)
    return _decode_model(value, model=type_, path=path)


def _decode_model(value: Object, *, model: str, path: tuple[str, ...]) -> Object:
    described = getattr(models, model)
    types = {described.attribute_map[name]: type_ for name, type_ in described.openapi_types.items()}
    struct = re.sub(r"^(Core)?V\d+", "", model)
    decoded: Object = {}
    for key, entry in value.items():
        if key not in types:
            continue
        if entry is None:
            # Go leaves out what is empty, but for times that are no pointers.
            if types[key] == "datetime" and model != "V1LeaseSpec":
                decoded[key] = None
            continue
        decoded[key] = _decode(entry, type_=types[key], path=(*path, key), struct=struct)
        if (model, key) in _MICRO:
            try:
                decoded[key] = times.read_micro(entry)
            except ValueError as error:
                raise DecodeError(str(error)) from error
        if (model, key) in _BYTES:
            for text in decoded[key].values():
                _check_base64(text)
    return decoded


def _expect(value: Any, kind: type, *, type_: str, path: tuple[str, ...], struct: str) -> None:
    if not isinstance(value, kind):
        raise _mismatch(value, type_=type_, path=path, struct=struct)


def _mismatch(value: Any, *, type_: str, path: tuple[str, ...], struct: str) -> DecodeError:
    found = _json_type(value).replace("boolean", "bool").replace("integer", "number")
    wanted = _go_type(type_)
    return DecodeError(
        f"json: cannot unmarshal {found} into Go struct field {struct}.{'.'.join(path)} of type {wanted}"
    )


def _go_type(type_: str) -> str:
    if (listed := _LIST.fullmatch(type_)) is not None:
        return f"[]{_go_type(listed[1])}"
    if (mapped := _MAP.fullmatch(type_)) is not None:
        return f"map[string]{_go_type(mapped[1])}"
    return _GO_TYPES.get(type_) or re.sub(r"^(?:Core)?V(\d+)", r"v\1.", type_)


def _json_type(value: Any) -> str:
    kinds = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def _check_base64(text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as error:
        good = re.match(r"[A-Za-z0-9+/]*", text)
        raise DecodeError(f"illegal base64 data at input byte {len(good[0]) if good else 0}") from error


def of_definition(definition: Object, *, version: str) -> Object:
    """Return the schema of a version of a custom kind; one that keeps everything where its definition has none."""
    for entry in definition["spec"].get("versions") or []:
        if entry["name"] == version and entry.get("schema"):
            return dict(entry["schema"].get("openAPIV3Schema") or {})
    return {"type": "object", _KEEPS: True}


_KEEPS: Final = "x-kubernetes-preserve-unknown-fields"
_TYPE_META: Final = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {_KEEPS: True}}


def prune(content: Object, *, schema: Object) -> Object:
    """Return a custom object without the fields that its schema does not have."""
    properties = {**(schema.get("properties") or {}), **_TYPE_META}
    pruned: Object = _prune(content, schema={**schema, "properties": properties})
    return pruned


def _prune(value: Any, *, schema: Object) -> Any:
    if isinstance(value, list) and "items" in schema:
        return [_prune(item, schema=schema["items"]) for item in value]
    if not isinstance(value, dict):
        return value
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    kept = {}
    for key, entry in value.items():
        if key in properties:
            kept[key] = _prune(entry, schema=properties[key])
        elif isinstance(others, dict):
            kept[key] = _prune(entry, schema=others)
        elif others is True or schema.get(_KEEPS):
            kept[key] = entry
    return kept


def find_problems(content: Object, *, schema: Object) -> list[Problem]:
    """Return what in a custom object is not of the type that its schema wants, and what is missing."""
    return _find_problems(
        {key: value for key, value in content.items() if key not in _TYPE_META}, schema=schema, path=""
    )


def _find_problems(value: Any, *, schema: Object, path: str) -> list[Problem]:
    wanted, found = schema.get("type"), _json_type(value)
    if value is None and schema.get("nullable"):
        return []
    if wanted and found != wanted and (wanted, found) != ("number", "integer"):
        text = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
        return [Problem(field=path, text=text)]
    problems: list[Problem] = []
    if isinstance(value, dict):
        properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
        for name in schema.get("required") or []:
            if name not in value:
                problems.append(Problem(field=_join(path, name), text="Required value", reason="FieldValueRequired"))
        for key, entry in value.items():
            described = properties.get(key, others if isinstance(others, dict) else {})
            problems += _find_problems(entry, schema=described, path=_join(path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            problems += _find_problems(item, schema=schema.get("items") or {}, path=f"{path}[{position}]")
    return problems


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def find_unknown(content: Any, *, kept: Any, path: str = "") -> list[str]:
    """Return the paths of the fields of an object that are not in what is kept of it; nulls are no fields."""
    if isinstance(content, list) and isinstance(kept, list):
        pairs = enumerate(zip(content, kept, strict=False))
        return [
            found for index, (one, other) in pairs for found in find_unknown(one, kept=other, path=f"{path}[{index}]")
        ]
    if not (isinstance(content, dict) and isinstance(kept, dict)):
        return []
    unknown = [_join(path, key) for key, entry in content.items() if key not in kept and entry is not None]
    for key, entry in content.items():
        if key in kept:
            unknown += find_unknown(entry, kept=kept[key], path=_join(path, key))
    return unknown


def shown(content: Object) -> str:
    """Return an object as Go's messages quote it."""
    return json.dumps(json.dumps(content, separators=(",", ":")))
