"""The JSON Schema of the inventory's file, and what of a file does not fit it.

Pure: no I/O. The schema of a member is made from the one of a join's conf, so that they cannot disagree.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jsonschema

from include.fleet import conf as confs
from include.fleet import documents, forms

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_UNATTENDED = "joins that the inventory starts run unattended"
REFUSED = {
    "preflight_only": f"{_UNATTENDED} and to their end; trigger join_member_cluster yourself to only check",
    "plan_only": f"{_UNATTENDED} and to their end; trigger join_member_cluster yourself to only plan",
    "approve": f"{_UNATTENDED}; pause the member, or trigger join_member_cluster yourself to be asked",
    "approve_timeout": f"{_UNATTENDED}, so that nobody is asked",
    "host_conn_id": "it is the host's, and stands there",
}
"""Keys of a join's conf that a member and defaults do not have, and why."""

OF_ONE = ("cluster", "member_conn_id", "member_server", "import_conn_id", "kubesphere_api_endpoint")
"""What defaults do not have: it is of one member."""

_NAME = f"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?{forms.END}"
_TIME = f"^([01][0-9]|2[0-3]):[0-5][0-9]{forms.END}"


def _conf_key(key: str) -> dict[str, Any]:
    """Return what an editor needs of the schema of one key of a join's conf."""
    shown = ("default", "section", "values_display")
    return {name: value for name, value in confs.SCHEMA[key].items() if name not in shown}


def _object(description: str, properties: Mapping[str, Any], *required: str, null: bool = False) -> dict[str, Any]:
    """Return the schema of a mapping; *null*: a key with nothing after it stands for an empty one."""
    return {
        "type": ["object", "null"] if null else "object",
        "description": description,
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
        "x-expected": "keys and values",
    }


def _list(description: str, definition: str) -> dict[str, Any]:
    return {
        "type": ["array", "null"],
        "description": description,
        "items": {"$ref": f"#/$defs/{definition}"},
        "x-expected": "a list",
    }


def _switch(description: str) -> dict[str, Any]:
    return {"type": "boolean", "default": False, "description": description, "x-expected": "true or false"}


_TIME_OF_DAY = {"type": "string", "pattern": _TIME, "x-expected": '"HH:MM", from "00:00" to "23:59"'}

_WINDOW = _object(
    "A time in which members may be changed.",
    {
        "days": {
            "type": "array",
            "items": {"enum": list(DAYS)},
            "uniqueItems": True,
            "description": "The days on which it begins. Without them: every day.",
            "x-expected": f"a list of days, each once: {', '.join(DAYS)}",
        },
        "start": {**_TIME_OF_DAY, "description": "When it begins, by the clock of its zone."},
        "end": {**_TIME_OF_DAY, "description": "When it ends. Where that is not after its start: on the next day."},
        "zone": {
            "type": "string",
            "default": "UTC",
            "description": "The time zone, by its IANA name, for example Europe/Berlin.",
            "x-expected": "the IANA name of a time zone, for example Europe/Berlin",
        },
    },
    "start",
    "end",
)

_MEMBER = _object(
    "A member: keys of the conf of its join.",
    {
        **{key: _conf_key(key) for key in confs.SCHEMA if key not in REFUSED},
        "paused": _switch("Leave this member as it is."),
    },
    "cluster",
)

_DEFAULTS = _object(
    "What each member has that does not say otherwise: keys of the conf of a join. What a member's connection type "
    "does not use is left out for that member; labels are added up.",
    {key: _conf_key(key) for key in confs.SCHEMA if key not in REFUSED and key not in OF_ONE},
    null=True,
)

_HOST = _object(
    "A host cluster and its members.",
    {
        "name": {
            "type": "string",
            "pattern": _NAME,
            "maxLength": 63,
            "description": "What people call it; no other host of the file has the same.",
            "x-expected": "at most 63 letters, digits, dots, dashes and underscores",
        },
        "host_conn_id": _conf_key("host_conn_id"),
        "console": {
            "type": ["null", "string"],
            "pattern": rf"^https://[^/@?#\s]+{forms.END}",
            "description": "The address of its KubeSphere console, for links.",
            "x-expected": "https://ADDRESS[:PORT] without a path",
        },
        "max_joins": {
            "type": "integer",
            "minimum": 1,
            "maximum": 32,
            "default": 4,
            "description": "So many joins of this host run at the same time at most.",
            "x-expected": "a whole number from 1 to 32",
        },
        "prune": _switch("Whether a member that has been taken out of the inventory leaves the host."),
        "paused": _switch("Leave all members of this host as they are."),
        "windows": _list("When members may be changed. Without any: at any time.", "window"),
        "defaults": {"$ref": "#/$defs/defaults"},
        "members": _list("Its members.", "member"),
    },
    "name",
    "host_conn_id",
)

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Inventory of a fleet of KubeSphere clusters",
    **_object(
        "Host clusters, and the members that each is to have.",
        {
            "version": {"const": 1, "description": "The form of this file.", "x-expected": "1"},
            "defaults": {"$ref": "#/$defs/defaults"},
            "hosts": _list("The host clusters.", "host"),
        },
        "version",
        "hosts",
    ),
    "$defs": {"window": _WINDOW, "defaults": _DEFAULTS, "member": _MEMBER, "host": _HOST},
}
"""The JSON Schema of the file, draft 2020-12. `inventory.load` checks it, and what no schema can say."""

_VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def unfit(value: Any) -> Iterator[tuple[documents.Path, str]]:
    """Yield what of a document does not fit the schema: where, and what is wrong."""
    for error in _VALIDATOR.iter_errors(value):
        yield from _told(error)


def _told(error: jsonschema.ValidationError) -> Iterator[tuple[documents.Path, str]]:
    """Yield where and what is wrong by one finding of the schema."""
    path = tuple(error.absolute_path)
    instance: Any = error.instance
    asked: Any = error.validator_value
    schema: Any = error.schema
    if error.validator == "required":
        missing = next(key for key in asked if f"'{key}' is a required" in error.message)
        yield (*path, missing), f"missing; expected {_expected([*error.absolute_schema_path][:-1], missing)}"
    elif error.validator == "additionalProperties":
        known = list(schema["properties"])
        yield from (((*path, key), _unknown(key, known)) for key in instance if key not in known)
    else:
        free = error.validator == "type" and "string" in asked and "enum" not in schema
        hint = "; put it in quotes" if free and isinstance(instance, int | float) else ""
        # Of a key of labels the path does not know.
        where = (*path, instance) if "propertyNames" in error.absolute_schema_path else path
        yield where, f"expected {_expected(error.absolute_schema_path)}, got {forms.shown(instance)}{hint}"


def _expected(way: Iterable[Any], key: str | None = None) -> str:
    """Return what the schema expects at the end of a way through it, or in *key* of it."""
    schema: Any = SCHEMA
    expected = SCHEMA["x-expected"]
    for part in [*way, *(["properties", key] if key else [])]:
        # jsonschema leaves references out of the way.
        schema = schema[part]
        if isinstance(schema, Mapping) and "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
        if isinstance(schema, Mapping) and "x-expected" in schema:
            expected = schema["x-expected"]
    return str(expected)


def _unknown(key: str, known: Sequence[str]) -> str:
    if key in REFUSED:
        return f"not in an inventory: {REFUSED[key]}"
    if key in OF_ONE:
        return "not among defaults: it is of one member, and stands there"
    near = difflib.get_close_matches(key, known, n=1)
    return "unknown key; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")
