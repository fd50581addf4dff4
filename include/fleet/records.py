"""The record that each reconcile leaves: its form, and what the next one reads out of it.

Pure. One JSON document without secrets for the whole fleet, which people, the fleet page and the next reconcile read.
It is an XCom of task `decide` of the run that wrote it, under the key `record`: Airflow's own database is the one
place that workers write through the API and the API server reads, with the rights of the DAG, without a volume or a
bucket that both would have to share. 1,000 members take about 2 MB.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

VERSION = 1
"""Of the form. A reader that finds a greater one has to be renewed; a smaller one is read as no record at all."""
KEY = "record"
"""The XCom key."""
RUNNING = frozenset({"queued", "running", "scheduled"})
"""States of a run that has not ended."""

STATES = ("healthy", "joining", "leaving", "left", "drifted", "failed", "unreachable", "paused", "undeclared")

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_TIME = {"type": "string", "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}Z$"}
_OPTIONAL_TIME = {"anyOf": [_TIME, {"type": "null"}]}
_NUMBER = {"type": "number", "minimum": 0}


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


_DRIFT = _object({"kind": _TEXT, "sentence": _TEXT, "repair": _TEXT, "change": _TEXT}, {"next": _TEXT})
_ATTEMPT = _object(
    {
        "cause": _TEXT,
        "kinds": _TEXT,
        "dag_id": _TEXT,
        "run_id": _TEXT,
        "number": {"type": "integer", "minimum": 1},
        "started": _TIME,
        "state": _TEXT,
    },
    {"diagnosis": {"type": "object", "additionalProperties": _TEXT}},
)
_CONDITION = _object({"type": _TEXT, "status": _TEXT, "reason": _TEXT, "since": {"type": ["string", "null"]}})
_MEMBER = _object(
    {
        "cluster": _TEXT,
        "state": {"enum": list(STATES)},
        "since": _TIME,
        "sentence": {**_TEXT, "description": "Why it is not healthy, in one sentence; empty if it is."},
        "next": {**_TEXT, "description": "What a person does about it."},
        "declared": {"type": "boolean"},
        "paused": {"type": "boolean"},
        "conf": {"type": "object", "description": "The conf of its join: names and ids of connections."},
        "drift": {"type": "array", "items": _DRIFT},
        "cause": {**_TEXT, "description": "Tells this drift from another one of the same member."},
        "cause_since": _OPTIONAL_TIME,
        "attempts": {"type": "array", "items": _ATTEMPT},
    },
    {
        "waits": {**_TEXT, "description": "Why nothing was started for it in this reconcile."},
        "absent_runs": {"type": "integer", "minimum": 0},
        "uid": {**_TEXT, "description": "Of its namespace kube-system."},
        "connection": _TEXT,
        "server": _TEXT,
        "kubernetes": _TEXT,
        "kubesphere": _TEXT,
        "nodes": {"type": ["integer", "null"]},
        "labels": {"type": "object", "additionalProperties": _TEXT},
        "created": {"type": ["string", "null"]},
        "deleting": {"type": ["string", "null"], "description": "Since when its Cluster is being deleted."},
        "conditions": {"type": "array", "items": _CONDITION},
        "credential_expires": _OPTIONAL_TIME,
        "role": _TEXT,
        "jwt_secret": {**_TEXT, "description": "Its fingerprint."},
    },
)
_FINDING = {"kind": _TEXT, "sentence": _TEXT, "next": _TEXT}
_HOST = _object(
    {
        "name": _TEXT,
        "conn_id": _TEXT,
        "console": {"type": ["string", "null"]},
        "error": {**_TEXT, "description": "Why nothing of it was seen; empty if it was."},
        "max_joins": {"type": "integer"},
        "prune": {"type": "boolean"},
        "paused": {"type": "boolean"},
        "open": {"type": "boolean", "description": "Whether changes may be made now, by its maintenance windows."},
        "seconds": _NUMBER,
        "findings": {"type": "array", "items": _object(_FINDING, {"holds": _TEXT})},
        "members": {"type": "array", "items": _MEMBER},
    },
    {
        "kubesphere": _TEXT,
        "role": _TEXT,
        "jwt_secret": {**_TEXT, "description": "Its fingerprint."},
        "tower_address": _TEXT,
        "turns": {"type": "array", "items": _object({"member_uid": _TEXT, "holder": _TEXT})},
    },
)
_ACTION = _object(
    {
        "host": _TEXT,
        "cluster": _TEXT,
        "dag_id": _TEXT,
        "run_id": _TEXT,
        "conf": {"type": "object"},
        "reasons": _TEXTS,
        "canary": {"type": "boolean"},
    }
)

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Record of one reconcile of the fleet",
    **_object(
        {
            "version": {"const": VERSION},
            "run_id": _TEXT,
            "recorded_at": _TIME,
            "observed_at": _TIME,
            "inventory": {**_TEXT, "description": "Path of the inventory that was read."},
            "partial": {"type": "boolean", "description": "Whether only a part of the fleet was looked at."},
            "dry_run": {"type": "boolean"},
            "seconds": _NUMBER,
            "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
            "findings": {"type": "array", "items": _object({"host": _TEXT, **_FINDING}, {"holds": _TEXT})},
            "actions": {"type": "array", "items": _ACTION},
            "hosts": {"type": "array", "items": _HOST},
        }
    ),
}
"""JSON Schema of a record; `include/fleet_record.schema.json` is the published one."""


def moment(time: datetime.datetime) -> str:
    """Return a time as records have it, to the second and in UTC."""
    return time.astimezone(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def usable(document: Any) -> Mapping[str, Any] | None:
    """Return a record that can be gone on from, None for none, for what is no record, or for one of another version."""
    return document if isinstance(document, Mapping) and document.get("version") == VERSION else None


def cut(text: str, longest: int) -> str:
    """Return a text of at most so many characters; that words are left out is told by an ellipsis."""
    if len(text) <= longest:
        return text
    begun = text[: longest - 1]
    return f"{begun.rpartition(' ')[0] or begun}…"


def unfinished(record: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return DAG and run id of every run that had not ended when the record was written."""
    return [
        (attempt["dag_id"], attempt["run_id"])
        for host in (record or {}).get("hosts", ())
        for row in host["members"]
        for attempt in row["attempts"]
        if attempt["state"] in RUNNING
    ]


def total(record: Mapping[str, Any]) -> str:
    """Return the sum: how many members are in which state, as a sentence."""
    counts = ", ".join(f"{count} {state}" for state, count in record["counts"].items()) or "no members"
    return f"The fleet: {counts}."


def lines(record: Mapping[str, Any]) -> list[str]:
    """Return what a person reads in the log: the sum, what is wrong with hosts, and each member that is not well."""
    found = [total(record)]
    found += [f"Host {each['host']}: {each['sentence']} {each['next']}".strip() for each in record["findings"]]
    for host in record["hosts"]:
        for row in host["members"]:
            if row["state"] != "healthy":
                parts = [row["sentence"], row.get("waits", ""), row["next"]]
                found.append(f"{host['name']}/{row['cluster']}, {row['state']}: {' '.join(filter(None, parts))}")
    verb = "Would start" if record["dry_run"] else "Starts"
    for action in record["actions"]:
        canary = ", as a canary" if action["canary"] else ""
        found.append(f"{verb} {action['dag_id']} for {action['host']}/{action['cluster']}{canary}: {action['run_id']}")
    return found
