"""The conf of a join: its schema, which is also the trigger form, and the checked value made from it.

Pure: no I/O. One schema serves Airflow's form, the REST API's check, and the check in the run itself,
so that they cannot disagree.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.fleet import forms

HOST_NAME = "host"
"""The name that a host cluster gives its own Cluster object by default (kubesphere-facts 5.3)."""

_URL = rf"^{{scheme}}://[^/@?#\s]+{forms.END}"
_LABEL_DOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
LONGEST_HANDOFF = 7 * 86400
"""Seconds."""
_ENDING = 120
"""Seconds that the tasks after a handoff take besides their waits."""
_DIRECT = "More for a direct connection"
_PROXY = "More for a proxy connection"
_SHOWN = "Shown in the KubeSphere console"
CAREFUL = "Before anything is written, and when it fails"


class Connection(enum.Enum):
    """How the host cluster reaches the member cluster."""

    DIRECT = "direct"
    PROXY = "proxy"
    AUTO = "auto"
    """Not decided yet: found out by the run itself."""


class MemberAccess(enum.Enum):
    """Who works on the member cluster."""

    AIRFLOW = "airflow"
    HANDOFF = "handoff"
    """A person, with a bundle that the run makes: Airflow does not reach the member."""


class OnFailure(enum.Enum):
    """What to do with what a run has written when it fails."""

    KEEP = "keep"
    ROLLBACK = "rollback"


SCHEMA: dict[str, dict[str, Any]] = {
    "cluster": {
        "type": "string",
        "pattern": f"^[a-z0-9]([-a-z0-9]*[a-z0-9])?{forms.END}",
        "maxLength": 60,
        "not": {"const": HOST_NAME},
        "title": "Member cluster's name",
        "description": "The name that it gets on the host cluster: lower-case letters, digits and dashes, at most 60 "
        "characters. Not the host cluster's own name.",
        "x-expected": f"a name of lower-case letters, digits and dashes, at most 60 characters, and not {HOST_NAME!r}",
    },
    "host_conn_id": {
        "type": "string",
        "pattern": forms.CONNECTION_ID,
        "title": "Host connection",
        "description": "Id of the Airflow connection (type Kubernetes) to the host cluster.",
        "x-expected": "the id of an Airflow connection",
    },
    "member_conn_id": {
        "default": None,
        "type": ["null", "string"],
        "pattern": forms.CONNECTION_ID,
        "title": "Member connection",
        "description": "Id of the Airflow connection (type Kubernetes) that Airflow itself uses for the "
        "member cluster. Needed, unless Airflow does not reach it: see member_access.",
        "x-expected": "the id of an Airflow connection",
    },
    "connection": {
        "default": Connection.DIRECT.value,
        "type": "string",
        "enum": [kind.value for kind in Connection],
        "values_display": {
            Connection.DIRECT.value: "direct: the host's pods reach the member",
            Connection.PROXY.value: "proxy: an agent on the member connects to the host",
            Connection.AUTO.value: "auto: direct if the host's pods reach the member, else proxy",
        },
        "title": "Connection type",
        "description": "Take proxy for a member cluster that reaches the host cluster but is not reached from there, "
        "as in a private network. Auto finds out by asking the clusters' own pods, which takes probe.",
        "x-expected": "direct, proxy or auto",
    },
    "member_server": {
        "default": None,
        "type": ["null", "string"],
        "pattern": _URL.format(scheme="https"),
        "title": "Member's API server",
        "description": "Direct only: its address as the host's pods reach it, for example https://192.168.10.5:6443. "
        "Empty: the server of the imported kubeconfig, which must not be a loopback, link-local or *.local address.",
        "x-expected": "https://ADDRESS[:PORT] without a path",
    },
    "proxy_publish_address": {
        "default": None,
        "type": ["null", "string"],
        "pattern": rf"^https?://[^/@?#\s:]+:[0-9]{{1,5}}{forms.END}",
        "title": "Tower's address",
        "description": "Proxy only: as the member's pods reach it, for example http://139.198.120.120:8080. Empty: "
        "the address that the host is configured with, else the one of tower's LoadBalancer.",
        "x-expected": "http[s]://HOST:PORT without a path",
    },
    "import_conn_id": {
        "default": None,
        "type": ["null", "string"],
        "pattern": forms.CONNECTION_ID,
        "title": "Imported connection",
        "section": _DIRECT,
        "description": "Id of the Airflow connection whose kubeconfig the host receives. KubeSphere needs a "
        "cluster-admin of the member here. Empty: the member connection, which then has to be one.",
        "x-expected": "the id of an Airflow connection",
    },
    "kubesphere_api_endpoint": {
        "default": None,
        "type": ["null", "string"],
        "pattern": _URL.format(scheme="https?"),
        "title": "Member's KubeSphere API",
        "section": _DIRECT,
        "description": "Optional, as in the guide: http[s]://ADDRESS[:PORT]. Empty: the host goes through "
        "the member's API server.",
        "x-expected": "http[s]://ADDRESS[:PORT] without a path",
    },
    "member_access": {
        "default": MemberAccess.AIRFLOW.value,
        "type": "string",
        "enum": [access.value for access in MemberAccess],
        "values_display": {
            MemberAccess.AIRFLOW.value: "airflow: Airflow, with the member connection",
            MemberAccess.HANDOFF.value: "handoff: a person, with a file that the run makes",
        },
        "title": "Who works on the member",
        "section": _PROXY,
        "description": "Take handoff for a member that Airflow does not reach: the run makes one file for a person, "
        "shows under Required Actions what to do with it, and goes on by itself when the agent connects.",
        "x-expected": "airflow or handoff",
    },
    "replace_proxy_address": {
        "default": False,
        "type": "boolean",
        "title": "Replace tower's address",
        "section": _PROXY,
        "description": "For all proxy members of the host. Without it, an address that differs from the one in use is "
        "refused while other proxy members depend on that one.",
        "x-expected": "true or false",
    },
    "agent_image": {
        "default": None,
        "type": ["null", "string"],
        "pattern": rf"^[^\s]+{forms.END}",
        "title": "Agent's image",
        "section": _PROXY,
        "description": "For a member that pulls from a registry of its own. Empty: the image that the "
        "host is configured with.",
        "x-expected": "the name of an image",
    },
    "provider": {
        "default": None,
        "type": ["null", "string"],
        "maxLength": 63,
        "title": "Provider",
        "section": _SHOWN,
        "description": "Free text, for example the cloud or the data centre.",
        "x-expected": "at most 63 characters",
    },
    "group": {
        "default": None,
        "type": ["null", "string"],
        "pattern": f"^{_LABEL}{forms.END}",
        "maxLength": 63,
        "title": "Group",
        "section": _SHOWN,
        "description": "The cluster's tag, for example production.",
        "x-expected": "a Kubernetes label value of at most 63 characters",
    },
    "labels": {
        "default": {},
        "type": "object",
        "propertyNames": {
            "pattern": rf"^(?=[^/]{{1,253}}/[^/]{{1,63}}$|[^/]{{1,63}}$)({_LABEL_DOMAIN}/)?{_LABEL}{forms.END}",
            "not": {"pattern": r"^([^/]*\.)?(kubesphere|kubefed)\.io/"},
        },
        "additionalProperties": {"type": "string", "pattern": f"^({_LABEL})?{forms.END}", "maxLength": 63},
        "title": "Labels",
        "section": _SHOWN,
        "description": 'Kubernetes labels of the Cluster besides its group, for example {"site": "berlin"}. Labels '
        "that others have put there stay, and so does one that is taken out here.",
        "x-expected": "Kubernetes label keys with label values, and none of kubesphere.io or kubefed.io",
    },
    "description": {
        "default": None,
        "type": ["null", "string"],
        "maxLength": 256,
        "title": "Description",
        "section": _SHOWN,
        "description": "At most 256 characters.",
        "x-expected": "at most 256 characters",
    },
    "preflight_only": {
        "default": False,
        "type": "boolean",
        "title": "Only check",
        "section": CAREFUL,
        "description": "Look at both clusters, say what would stop or trouble the join, and end.",
        "x-expected": "true or false",
    },
    "plan_only": {
        "default": False,
        "type": "boolean",
        "title": "Only plan",
        "section": CAREFUL,
        "description": "Check, show every object and field that the join would create or change, and end.",
        "x-expected": "true or false",
    },
    "approve": {
        "default": False,
        "type": "boolean",
        "title": "Ask a person",
        "section": CAREFUL,
        "description": "Show the plan under Required Actions and go on when a person approves it.",
        "x-expected": "true or false",
    },
    "approve_timeout": {
        **forms.timeout(
            "Until a person approves", 3600, "Without an answer the plan is rejected. The run's own time-out goes on."
        ),
        "section": CAREFUL,
    },
    "probe": {
        "default": False,
        "type": "boolean",
        "title": "Probe from the clusters' pods",
        "section": CAREFUL,
        "description": "Run a short-lived Job on host and member, which finds out what their pods reach. Without a "
        "credential, and always removed; what it finds stops no run.",
        "x-expected": "true or false",
    },
    "probe_image": {
        "default": None,
        "type": ["null", "string"],
        "pattern": rf"^[^\s]+{forms.END}",
        "title": "Probe's image",
        "section": CAREFUL,
        "description": "An image with curl 7.75 or newer, for clusters that pull from a registry of their own. Empty: "
        "curlimages/curl, or what Airflow is configured with.",
        "x-expected": "the name of an image",
    },
    "waive": {
        "default": [],
        "type": "array",
        "items": {"type": "string"},
        "title": "Waived checks",
        "section": CAREFUL,
        "description": "Ids of preflight checks whose error must not stop this run. The log names each.",
        "x-expected": "a list of ids of checks",
    },
    "on_failure": {
        "default": OnFailure.KEEP.value,
        "type": "string",
        "enum": [kind.value for kind in OnFailure],
        "values_display": {
            OnFailure.KEEP.value: "keep: leave what was written; the next run goes on from there",
            OnFailure.ROLLBACK.value: "rollback: undo what this run has written",
        },
        "title": "When the join fails",
        "section": CAREFUL,
        "description": "Rollback brings back what was recorded before the first write, and compares.",
        "x-expected": "keep or rollback",
    },
    "turn_timeout": forms.timeout(
        "Until other runs are over", 3600, "Runs that change the same member, or the host's configuration, take turns."
    ),
    "host_installer_timeout": forms.timeout(
        "ks-installer on the host cluster", 3600, "The first run as a host pulls images and installs kubefed."
    ),
    "member_installer_timeout": forms.timeout(
        "ks-installer on the member cluster", 1800, "A run on a member usually takes minutes."
    ),
    "tower_timeout": forms.timeout(
        "Until tower has an address", 300, "A LoadBalancer that never gets an address needs proxy_publish_address."
    ),
    "handoff_timeout": {
        **forms.timeout(
            "Until a person has joined the member",
            0,
            "Handoff only; the file is valid as long. Empty: as long as the run may take (run_timeout), at most 7 "
            "days.",
        ),
        "default": None,
        "type": ["null", "integer"],
        "maximum": LONGEST_HANDOFF,
        "x-expected": f"a whole number of seconds from 1 to {LONGEST_HANDOFF}",
    },
    "ready_timeout": forms.timeout(
        "Until the member cluster is Ready",
        1200,
        "The host's controller looks at a member that failed only every 120 seconds.",
    ),
    "verify_timeout": forms.timeout(
        "Until the join is proven",
        300,
        "ks-apiserver on the member loads a new jwtSecret up to 2 minutes after it was written.",
    ),
}

REQUIRED = tuple(key for key, fields in SCHEMA.items() if "default" not in fields)

DIRECT_ONLY = ("member_server", "import_conn_id", "kubesphere_api_endpoint")
PROXY_ONLY = ("proxy_publish_address", "replace_proxy_address", "agent_image")
UNUSED = {Connection.DIRECT.value: PROXY_ONLY, Connection.PROXY.value: DIRECT_ONLY}
"""What a connection type does not use."""

DECIDING = ("choose_connection", "preflight")
"""The steps that may find out which connection type it is, the one that knows best first."""


@dataclass(frozen=True)
class Conf:
    """One checked conf. Holds connection ids, never credentials."""

    cluster: str
    host_conn_id: str
    member_conn_id: str
    """"" where Airflow does not reach the member."""
    connection: Connection
    member_server: str | None
    proxy_publish_address: str | None
    import_conn_id: str | None
    kubesphere_api_endpoint: str | None
    member_access: MemberAccess
    replace_proxy_address: bool
    agent_image: str | None
    provider: str | None
    group: str | None
    labels: Mapping[str, str]
    description: str | None
    preflight_only: bool
    plan_only: bool
    approve: bool
    approve_timeout: int
    probe: bool
    probe_image: str | None
    waive: tuple[str, ...]
    on_failure: OnFailure
    turn_timeout: int
    host_installer_timeout: int
    member_installer_timeout: int
    tower_timeout: int
    handoff_timeout: int | None
    """None: as long as the run may take."""
    ready_timeout: int
    verify_timeout: int

    @property
    def imported_conn_id(self) -> str:
        """Return the connection whose kubeconfig the host receives."""
        return self.import_conn_id or self.member_conn_id

    @property
    def is_handed_over(self) -> bool:
        """Tell whether a person works on the member, which Airflow does not reach."""
        return self.member_access is MemberAccess.HANDOFF


def problems(raw: Mapping[str, Any]) -> list[str]:
    """Return every problem of *raw*, each beginning with its key; none means that `parse` succeeds."""
    return sorted(forms.unfit(raw, SCHEMA) + contradictions(raw))


def contradictions(raw: Mapping[str, Any]) -> list[str]:
    """Return those problems of *raw*, each beginning with its key, that are none of one key alone."""
    found = []
    if raw.get("member_conn_id") is not None and raw["member_conn_id"] == raw.get("host_conn_id"):
        found.append(
            f"member_conn_id: {raw['member_conn_id']!r} is the host's connection too; "
            "a host cluster cannot be its own member"
        )
    kind = raw.get("connection", Connection.DIRECT.value)
    unused = UNUSED.get(str(kind), ())
    found += [f"{key}: a {kind} connection does not use it; leave it out" for key in unused if raw.get(key)]
    found += _access_problems(raw)
    if raw.get("plan_only") and raw.get("approve"):
        found.append("approve: a run that only plans has nothing to approve; leave it out")
    return found


def _access_problems(raw: Mapping[str, Any]) -> list[str]:
    """Return what does not fit to who works on the member."""
    if raw.get("member_access", MemberAccess.AIRFLOW.value) != MemberAccess.HANDOFF.value:
        found = [f"handoff_timeout: only member_access {MemberAccess.HANDOFF.value} uses it; leave it out"]
        found = found if raw.get("handoff_timeout") is not None else []
        if raw.get("member_conn_id") is None:
            found.append(f"member_conn_id: missing; expected {SCHEMA['member_conn_id']['x-expected']}")
        return found
    unfit = {
        "connection: a member that Airflow does not reach is handed over by proxy only; set it to proxy": raw.get(
            "connection", Connection.DIRECT.value
        )
        != Connection.PROXY.value,
        "member_conn_id: with member_access handoff Airflow does not reach the member; leave it out": raw.get(
            "member_conn_id"
        ),
        "probe: its Job would run on the member, which Airflow does not reach; leave it out": raw.get("probe"),
        (
            "on_failure: rollback has to undo what was done on the member, which Airflow does not reach; set it to keep"
        ): raw.get("on_failure") == OnFailure.ROLLBACK.value,
    }
    return [problem for problem, holds in unfit.items() if holds]


def after_handoff(raw: Mapping[str, Any]) -> int:
    """Return how many seconds a run of this conf has to have left when a person has joined the member."""
    return sum(int(raw.get(key) or SCHEMA[key]["default"]) for key in ("ready_timeout", "verify_timeout")) + _ENDING


def parse(raw: Mapping[str, Any]) -> Conf:
    """Return the conf that *raw*, a mapping without problems, stands for."""
    values = {key: raw.get(key, fields.get("default")) for key, fields in SCHEMA.items()}
    values["member_conn_id"] = values["member_conn_id"] or ""
    values["connection"] = Connection(values["connection"])
    values["member_access"] = MemberAccess(values["member_access"])
    values["on_failure"] = OnFailure(values["on_failure"])
    values["waive"] = tuple(values["waive"])
    values["labels"] = dict(values["labels"])
    return Conf(**values)


def decided(raw: Mapping[str, Any], reports: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *raw* with the connection type that the run has found, if it has, where it says auto.

    *reports* are those of earlier steps. What only the other type uses is left out.
    """
    if raw.get("connection") != Connection.AUTO.value:
        return raw
    for step in DECIDING:
        found = (reports.get(step) or {}).get("connection")
        if found in UNUSED:
            kept = {key: value for key, value in raw.items() if key not in UNUSED[found]}
            return {**kept, "connection": found}
    return raw
