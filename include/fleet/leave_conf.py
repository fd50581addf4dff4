"""The conf of a leave: its schema, which is also the trigger form, and the checked value made from it.

Pure: no I/O, as `conf` is that of a join.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.fleet import conf as confs
from include.fleet import forms

_LOST = "Where one of the two is lost"

SCHEMA: dict[str, dict[str, Any]] = {
    "cluster": {
        **confs.SCHEMA["cluster"],
        "description": "The name that it has on the host cluster.",
    },
    "host_conn_id": {
        "default": None,
        "type": ["null", "string"],
        "pattern": forms.CONNECTION_ID,
        "title": "Host connection",
        "description": "Id of the Airflow connection (type Kubernetes) to the host cluster. Not needed where that is "
        "lost.",
        "x-expected": "the id of an Airflow connection",
    },
    "member_conn_id": {
        "default": None,
        "type": ["null", "string"],
        "pattern": forms.CONNECTION_ID,
        "title": "Member connection",
        "description": "Id of the Airflow connection (type Kubernetes) to the member cluster. Not needed where that is "
        "dead.",
        "x-expected": "the id of an Airflow connection",
    },
    "force": {
        "default": False,
        "type": "boolean",
        "title": "The member is dead",
        "section": _LOST,
        "description": "Take it out of the host without it. On KubeSphere 3.4 the host's webhook is set aside for this "
        "one Cluster and put back. A member that answers all the same is cleaned too.",
        "x-expected": "true or false",
    },
    "host_lost": {
        "default": False,
        "type": "boolean",
        "title": "The host is lost",
        "section": _LOST,
        "description": "Clean the member only, and ask the host for nothing.",
        "x-expected": "true or false",
    },
    "plan_only": {
        **confs.SCHEMA["plan_only"],
        "description": "Show every object and field that would be deleted or changed, and end.",
    },
    "approve": dict(confs.SCHEMA["approve"]),
    "approve_timeout": dict(confs.SCHEMA["approve_timeout"]),
    "turn_timeout": forms.timeout(
        "Until other runs are over", 3600, "Runs that change the same member, or the host's webhook, take turns."
    ),
    "remove_timeout": forms.timeout(
        "Until the host has let go of the member",
        300,
        "After that nobody works on it: the run says why or, if the member is dead, takes the finalizer off by hand.",
    ),
    "member_installer_timeout": dict(confs.SCHEMA["member_installer_timeout"]),
}


@dataclass(frozen=True)
class Conf:
    """One checked conf. Holds connection ids, never credentials."""

    cluster: str
    host_conn_id: str | None
    """None only where the host is lost."""
    member_conn_id: str | None
    """None only where the member is dead."""
    force: bool
    host_lost: bool
    plan_only: bool
    approve: bool
    approve_timeout: int
    turn_timeout: int
    remove_timeout: int
    member_installer_timeout: int


def problems(raw: Mapping[str, Any]) -> list[str]:
    """Return every problem of *raw*, each beginning with its key; none means that `parse` succeeds."""
    found = forms.unfit(raw, SCHEMA)
    force, host_lost = raw.get("force") is True, raw.get("host_lost") is True
    if force and host_lost:
        found.append(
            "force: the member is dead and the host is lost, so that nothing is left to be done; leave one out"
        )
    for key, needless, why in (
        ("host_conn_id", host_lost, "host_lost"),
        ("member_conn_id", force, "force"),
    ):
        if raw.get(key) is None and not needless:
            found.append(f"{key}: missing; expected {SCHEMA[key]['x-expected']}, or {why}: true")
    if raw.get("member_conn_id") is not None and raw["member_conn_id"] == raw.get("host_conn_id"):
        found.append(
            f"member_conn_id: {raw['member_conn_id']!r} is the host's connection too; a host cluster is not its own "
            "member"
        )
    if raw.get("plan_only") and raw.get("approve"):
        found.append("approve: a run that only plans has nothing to approve; leave it out")
    return sorted(found)


def parse(raw: Mapping[str, Any]) -> Conf:
    """Return the conf that *raw*, a mapping without problems, stands for."""
    return Conf(**{key: raw.get(key, fields.get("default")) for key, fields in SCHEMA.items()})
