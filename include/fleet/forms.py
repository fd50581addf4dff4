"""How the schema of a conf is written and checked, be it of a join, of a leave or of a rotation.

Pure: no I/O. One schema serves Airflow's form, the REST API's check, and the check in the run itself, so that they
cannot disagree. `x-expected` of a key is what a person is told who has got it wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema

END = r"$(?!\n)"
"""Ends a pattern: alone, Python's `$` also matches before a line break at the end."""
CONNECTION_ID = rf"^[\w.-]+{END}"
_TIMEOUTS = "Time-outs in seconds"


def timeout(title: str, default: int, why: str) -> dict[str, Any]:
    """Return the schema of a time-out in seconds."""
    return {
        "default": default,
        "type": "integer",
        "minimum": 1,
        "maximum": 86400,
        "title": title,
        "section": _TIMEOUTS,
        "description": why,
        "x-expected": "a whole number of seconds from 1 to 86400",
    }


def unfit(raw: Mapping[str, Any], schema: Mapping[str, dict[str, Any]]) -> list[str]:
    """Return what of *raw* does not fit the schemas of its keys, a sentence each; one without a default is required."""
    required = [key for key, fields in schema.items() if "default" not in fields]
    validator = jsonschema.Draft202012Validator(
        {"type": "object", "properties": schema, "required": required, "additionalProperties": False}
    )
    return [_sentence(error, raw, schema) for error in validator.iter_errors(dict(raw))]


def _sentence(error: jsonschema.ValidationError, raw: Mapping[str, Any], schema: Mapping[str, dict[str, Any]]) -> str:
    if error.validator == "required":
        missing = next(key for key in schema if f"'{key}' is a required" in error.message)
        return f"{missing}: missing; expected {schema[missing]['x-expected']}"
    if error.validator == "additionalProperties":
        unknown = sorted(set(raw) - set(schema))
        return f"{', '.join(unknown)}: unknown key; known are {', '.join(schema)}"
    key = str(error.absolute_path[0])
    return f"{key}: expected {schema[key]['x-expected']}, got {shown(error.instance)}"


def shown(value: object) -> str:
    """Return a wrong value as a message has it.

    Cut short: whoever pastes a kubeconfig into the wrong field must not find it in the log.
    """
    text = repr(value)
    return text if len(text) <= 80 else text[:20] + "..."
