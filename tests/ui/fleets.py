"""Records of fleets for the page, made by the product's own decision out of what a survey would have told."""

import datetime
import json

import jsonschema

from include.fleet import deciding, records

NOW = datetime.datetime(2026, 11, 26, 12, 0, tzinfo=datetime.UTC)
MINUTES = datetime.timedelta(minutes=1)
HOSTILE = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
"""What a page that does not escape would run."""
DRIFTS = {
    "role": ("Its clusterRole is none, not member.", "join", "none to member"),
    "not-ready": ("The host does not call it Ready: ClusterNotReady.", "join", "not ready"),
    "unreachable": ("Airflow gets no answer from it: connect to 10.0.0.7:6443: timed out.", "person", "no answer"),
    "labels": ("Label site is berlin, not paris.", "join", "site=berlin to site=paris"),
}
"""Kinds: sentence, repair, change."""


def drift(kind):
    sentence, repair, change = DRIFTS[kind]
    found = {"kind": kind, "sentence": sentence, "repair": repair, "change": change}
    return {**found, "next": "See whether it runs, and what is in between."} if repair == "person" else found


def facts(name, number, *, ready=True):
    """What a host tells of a member."""
    since = records.moment(NOW - number * MINUTES)
    return {
        "uid": f"uid-{name}",
        "connection": "proxy" if number % 3 else "direct",
        "server": f"https://10.0.{number // 250}.{number % 250}:6443",
        "kubernetes": "v1.26.12",
        "kubesphere": "v3.4.1" if number % 4 else "v3.4.0",
        "nodes": 1 + number % 9,
        "labels": {"cluster.kubesphere.io/group": "production", "site": "berlin"},
        "created": "2026-03-01T08:00:00Z",
        "conditions": [
            {"type": "Initialized", "status": "True", "reason": "Initialized", "since": "2026-03-01T08:01:00Z"},
            {"type": "Ready", "status": "True" if ready else "False", "reason": "Ready", "since": since},
        ],
        "credential_expires": records.moment(NOW + datetime.timedelta(days=5 + 7 * (number % 50))),
        "role": "member",
        "jwt_secret": "sha256:4be0fb9d",
    }


def declared(name, number, *drifts, paused=False, host="ks_host", **conf):
    """What a survey tells of a member of the inventory."""
    given = {"cluster": name, "host_conn_id": host, "member_conn_id": name.replace("-", "_"), **conf}
    told = facts(name, number, ready=not drifts)
    return {
        "cluster": name,
        "conf": {"connection": told["connection"], "group": "production", **given},
        "paused": paused,
        "drift": [drift(kind) for kind in drifts],
        **told,
    }


def host(name, conn_id, members, *, undeclared=(), turns=(), findings=(), error="", **more):
    return {
        "name": name,
        "conn_id": conn_id,
        "console": f"https://console.{name}.example.com",
        "error": error,
        "max_joins": 4,
        "prune": False,
        "paused": False,
        "open": True,
        "seconds": 1.5,
        "findings": list(findings),
        "kubesphere": "v3.4.1",
        "role": "host",
        "jwt_secret": "sha256:4be0fb9d",
        "tower_address": "http://139.198.120.120:8080",
        "turns": [{"member_uid": f"uid-{each}", "holder": holder} for each, holder in turns],
        "members": list(members),
        "undeclared": [{"cluster": each, **facts(each, number)} for number, each in enumerate(undeclared)],
        **more,
    }


def decided(hosts, last=None, *, known=None, run_id="reconcile-1", now=NOW, dry_run=False):
    """The record that a reconcile leaves of these hosts, after the last one."""
    seen = {
        "observed_at": records.moment(now),
        "inventory": "include/fleet.yaml",
        "partial": False,
        "seconds": 1.9,
        "hosts": hosts,
    }
    made = deciding.decide(seen, last, known or deciding.Known(), run_id=run_id, now=now, dry_run=dry_run)
    record = json.loads(json.dumps(made))
    jsonschema.validate(record, records.SCHEMA)
    return record


def mixed(number=30, *, now=NOW):
    """The record of a fleet with a member in every state; most are healthy, as in life."""
    names = [f"{PLACES[index % len(PLACES)]}-{index:0{len(str(number))}}" for index in range(number)]
    half = number * 2 // 3
    hosts = [_of(names[:half], "europe", "ks_host", turns=True), _of(names[half:], "asia", "ks_asia", turns=False)]
    before = decided(hosts, run_id="reconcile-0", now=now - 5 * MINUTES)
    started = {action["run_id"]: action for action in before["actions"]}
    states = {run_id: "failed" if "role" in _kinds(action, before) else "running" for run_id, action in started.items()}
    why = {
        "cause": "agent-cannot-connect",
        "sentence": "The agent does not reach tower at http://139.198.120.120:8080: connection refused.",
        "next": "Open port 8080 of the host's load balancer to the member.",
    }
    known = deciding.Known(states, {run_id: why for run_id, state in states.items() if state == "failed"})
    return decided(hosts, before, known=known, now=now)


PLACES = ("berlin", "paris", "madrid", "rome", "vienna", "oslo", "tallinn")


def _of(names, name, conn_id, *, turns):
    """A host of which the first members are each in another way, and the rest are well."""
    odd = {0: ("role",), 1: ("labels",), 2: ("unreachable",), 3: ("not-ready", "labels")}
    told = [
        declared(
            each,
            number,
            *odd.get(number, ()),
            paused=number == 3,
            host=conn_id,
            description=HOSTILE if number == 4 else f"The clusters of line {number % 5}",
        )
        for number, each in enumerate(names)
    ]
    held = [(names[5], "join_by_hand__2026-11-26T11-40-00")] if turns and len(names) > 5 else []
    down = {
        "kind": "controller-down",
        "sentence": "Deployment ks-controller-manager on the host has no Pod that is available.",
        "next": "Bring Deployment ks-controller-manager in kubesphere-system of the host back to life.",
    }
    findings = [] if turns else [down]
    return host(name, conn_id, told, turns=held, undeclared=[f"{name}-lab"], findings=findings, open=turns)


def _kinds(action, record):
    rows = [row for host in record["hosts"] for row in host["members"] if row["cluster"] == action["cluster"]]
    return {each["kind"] for row in rows for each in row["drift"]}
