"""The conf of a rotation of the jwtSecret: its schema, which is also the trigger form, and the checked value.

Pure: no I/O, as `conf` is that of a join.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.fleet import conf as confs
from include.fleet import forms

SCHEMA: dict[str, dict[str, Any]] = {
    "host": {
        "type": "string",
        "pattern": f"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?{forms.END}",
        "maxLength": 63,
        "title": "Host",
        "description": "Its name in the inventory. Its members follow.",
        "x-expected": "the name of a host in the inventory",
    },
    "leave_out": {
        "default": [],
        "type": "array",
        "items": {"type": "string"},
        "title": "Left out",
        "description": "Names of Clusters that do not follow now, a line each. The host's requests to them are refused "
        "until they get the new secret, by reconcile_fleet or by a join.",
        "x-expected": "a list of names of Clusters",
    },
    "plan_only": {
        **confs.SCHEMA["plan_only"],
        "description": "Say which clusters would change and what users would notice, and end.",
    },
    "approve": {**confs.SCHEMA["approve"], "default": True},
    "approve_timeout": dict(confs.SCHEMA["approve_timeout"]),
    "turn_timeout": forms.timeout(
        "Until other runs are over", 3600, "Joins of this host's members, and runs that change the host, end first."
    ),
    "host_installer_timeout": forms.timeout(
        "ks-installer on the host cluster", 3600, "A run on a host usually takes minutes."
    ),
    "member_installer_timeout": dict(confs.SCHEMA["member_installer_timeout"]),
    "verify_timeout": forms.timeout(
        "Until each member is proven",
        300,
        "Counted from when ks-installer is done; ks-apiserver loads a new jwtSecret up to 2 minutes after that.",
    ),
}


@dataclass(frozen=True)
class Conf:
    """One checked conf."""

    host: str
    leave_out: tuple[str, ...]
    plan_only: bool
    approve: bool
    approve_timeout: int
    turn_timeout: int
    host_installer_timeout: int
    member_installer_timeout: int
    verify_timeout: int


def problems(raw: Mapping[str, Any]) -> list[str]:
    """Return every problem of *raw*, each beginning with its key; none means that `parse` succeeds."""
    return sorted(forms.unfit(raw, SCHEMA))


def parse(raw: Mapping[str, Any]) -> Conf:
    """Return the conf that *raw*, a mapping without problems, stands for."""
    values = {key: raw.get(key, fields.get("default")) for key, fields in SCHEMA.items()}
    return Conf(**{**values, "leave_out": tuple(values["leave_out"])})
