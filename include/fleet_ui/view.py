"""What the fleet page shows, made of the record of the last reconcile and of the runs that Airflow knows.

Pure. The record has its form in `include.fleet.records`; what leaves here is JSON for the page's script.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from include.fleet import deciding, records

RECONCILE_DAG = "reconcile_fleet"
"""The DAG whose runs leave the records."""
RECORDING_TASK = "decide"
"""Its task that does."""
WORKING_DAGS = (deciding.JOIN_DAG, deciding.LEAVE_DAG)
"""DAGs whose runs change a member."""
VERBS = {"join": deciding.JOIN_DAG, "leave": deciding.LEAVE_DAG, "reconcile": RECONCILE_DAG}
"""What the page offers to start, and the DAG that does it."""
WORST_FIRST = ("failed", "unreachable", "drifted", "leaving", "joining", "undeclared", "paused", "left", "healthy")
"""States in the order in which people look at them; the page has the same."""
ALWAYS_COUNTED = ("failed", "drifted", "joining", "healthy")
"""States that the card counts also where no member is in them."""

_GRACE = datetime.timedelta(minutes=5)
"""So long after it was due a reconcile is late."""


@dataclass(frozen=True)
class Run:
    """A run of a DAG, and the member that it is for, if it is for one."""

    dag_id: str
    run_id: str
    state: str
    at: datetime.datetime | None = None
    """When it has ended; begun, or been queued, if it has not."""
    host: str = ""
    """Id of the connection to the member's host."""
    cluster: str = ""
    changes: bool = True
    """Whether it was meant to change anything, and not only to check or to plan."""
    started: datetime.datetime | None = None
    """This and what follows is known of the runs of an opened row."""
    by: str = ""
    """The user who has started it; empty if no person has."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.state in records.RUNNING

    @property
    def told(self) -> dict[str, Any]:
        """What a row tells of it."""
        return {"dag_id": self.dag_id, "run_id": self.run_id, "state": self.state, "at": _moment(self.at)}

    @property
    def history(self) -> dict[str, Any]:
        """What an opened row tells of it."""
        times = {"started": _moment(self.started), "ended": None if self.running else _moment(self.at)}
        # Airflow names whoever has started the reconcile.
        by = "reconcile" if self.run_id.startswith(deciding.RUN_PREFIX) else self.by
        return {**self.told, **times, "by": by, "changes": self.changes}


@dataclass(frozen=True)
class Reconciling:
    """How reconciling itself goes."""

    known: bool
    """Whether Airflow has found the DAG."""
    paused: bool = False
    due: datetime.datetime | None = None
    """When the next run is due by the clock."""
    last: Run | None = None


@dataclass(frozen=True)
class Stored:
    """What was found in Airflow's database, at a time."""

    now: datetime.datetime
    document: Any
    """The newest record as it was found, None for none."""
    reconciling: Reconciling
    runs: Sequence[Run] = field(default_factory=list)
    """Of each member the newest run of each DAG that changes members."""


def overview(stored: Stored, *, may: Mapping[str, bool]) -> dict[str, Any]:
    """Return everything that the page shows before a row is opened; *may* says by verb what the user may start."""
    record = records.usable(stored.document)
    newest = _by_member(stored.runs)
    hosts = [_host(host, newest, since=_time(record["observed_at"])) for host in record["hosts"]] if record else []
    _add_newcomers(hosts, newest)
    last = stored.reconciling.last
    return {
        "now": records.moment(stored.now),
        "record": {key: record[key] for key in _OF_RECORD} if record else None,
        "nothing": "" if record else _why_no_record(stored),
        "stale": _why_stale(stored) if record else "",
        "reconcile": {
            "dag_id": RECONCILE_DAG,
            "paused": stored.reconciling.paused,
            "due": _moment(stored.reconciling.due),
            "last": last.told if last else None,
        },
        "dags": VERBS,
        "may": dict(may),
        "counts": dict(Counter(row["state"] for host in hosts for row in host["members"])),
        "hosts": hosts,
    }


def summary(stored: Stored) -> dict[str, Any]:
    """Return what the card on Airflow's home shows: the counts, the worst first, and one reason of the worst.

    The same numbers as on the page, a few hundred bytes however many members there are.
    """
    shown = overview(stored, may={})
    counts = {state: shown["counts"].get(state, 0) for state in WORST_FIRST}
    worst = _worst(shown["hosts"])
    return {
        "now": shown["now"],
        "observed_at": shown["record"]["observed_at"] if shown["record"] else None,
        "nothing": shown["nothing"],
        "stale": shown["stale"],
        "counts": {state: count for state, count in counts.items() if count or state in ALWAYS_COUNTED},
        "worst": {**worst, "sentence": records.cut(worst["sentence"], _LONGEST_REASON)} if worst else None,
    }


_LONGEST_REASON = 300
"""Characters of a sentence on the card; the page has the whole."""
_TROUBLED = ("failed", "unreachable", "drifted")
"""States of a member of which the card tells why it is in them."""


def _worst(hosts: Sequence[Mapping[str, Any]]) -> dict[str, str] | None:
    """Return what to look at first: what is wrong with a whole host, else the worst member, longest in its state."""
    for host in hosts:
        for found in host["findings"]:
            return {"host": host["name"], "cluster": "", "state": "failed", "sentence": found["sentence"]}
    rows = [
        (WORST_FIRST.index(row["state"]), row["since"] or "", host["name"], row)
        for host in hosts
        for row in host["members"]
        if row["state"] in _TROUBLED
    ]
    if not rows:
        return None
    _, _, name, row = min(rows, key=lambda each: each[:3])
    return {"host": name, "cluster": row["cluster"], "state": row["state"], "sentence": row["sentence"]}


@dataclass(frozen=True)
class Place:
    """What a run is about, and where people look at it."""

    host: str
    """Name of the host in the inventory; the id of its connection where no record tells its name."""
    cluster: str = ""
    """Of one member; empty for all of the host."""
    console: str = ""
    """Address of the host's KubeSphere console, "" if the record has none that a link may lead to."""

    @property
    def query(self) -> str:
        """What the fleet page is asked for there."""
        asked = {"host": self.host, "cluster": self.cluster}
        return urlencode({key: value for key, value in asked.items() if value})

    @property
    def console_page(self) -> str:
        """The page of the cluster, or of all clusters, in the console; "" without a console."""
        if not self.console:
            return ""
        return (
            f"{self.console}/clusters/{quote(self.cluster, safe='')}/overview"
            if self.cluster
            else f"{self.console}/clusters"
        )


def place(document: Any, conf: Mapping[str, Any]) -> Place | None:
    """Return what a run of this conf is about, None if it is about no host.

    Of the conf only names are taken. An address comes from the record alone.
    """
    record = records.usable(document)
    key, asked = ("conn_id", conf.get("host_conn_id")) if conf.get("host_conn_id") else ("name", conf.get("host"))
    if not isinstance(asked, str) or not asked:
        return None
    cluster = conf.get("cluster")
    found = next((host for host in record["hosts"] if host[key] == asked), None) if record else None
    return Place(
        host=found["name"] if found else asked,
        cluster=cluster if isinstance(cluster, str) else "",
        console=_web_address(found["console"]) if found else "",
    )


def _web_address(console: str | None) -> str:
    """Return an address if it is one of a web site and no more than that, else ""."""
    return console if console and re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+", console) else ""


_OF_RECORD = ("run_id", "observed_at", "recorded_at", "partial", "dry_run", "inventory", "seconds")
_OF_HOST = ("name", "conn_id", "console", "error", "paused", "open", "max_joins", "findings")
_OF_ROW = ("cluster", "state", "since", "sentence", "next", "declared", "paused")
_MAYBE_OF_ROW = ("waits", "connection", "kubernetes", "kubesphere", "nodes", "credential_expires")


def _host(host: Mapping[str, Any], newest: _Newest, *, since: datetime.datetime) -> dict[str, Any]:
    rows = [_row(row, newest.pop((host["conn_id"], row["cluster"]), ()), since=since) for row in host["members"]]
    return {**{key: host[key] for key in _OF_HOST}, "kubesphere": host.get("kubesphere", ""), "members": rows}


def _row(row: Mapping[str, Any], runs: Sequence[Run], *, since: datetime.datetime) -> dict[str, Any]:
    conf = row["conf"]
    told = {
        **{key: row[key] for key in _OF_ROW},
        **{key: row[key] for key in _MAYBE_OF_ROW if row.get(key) is not None},
        "description": str(conf.get("description") or ""),
        "group": str(conf.get("group") or ""),
        "provider": str(conf.get("provider") or ""),
        "drift": [drift["kind"] for drift in row["drift"]],
    }
    told.setdefault("connection", str(conf.get("connection", "direct")) if row["declared"] else "")
    return {**told, **_named(row), **_last_run(runs), **_since_recorded(row["state"], runs, since=since)}


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run that the reason names, if this Airflow has it; the Lease of a member may name another's."""
    found = [each for each in row["attempts"] if each["run_id"] in row["sentence"]]
    return {"names": {key: found[-1][key] for key in ("dag_id", "run_id")}} if found else {}


def _last_run(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the last run that was to change the member, if there is one."""
    changing = [run for run in runs if run.changes]
    return {"last": changing[0].told} if changing else {}


def _since_recorded(state: str, runs: Sequence[Run], *, since: datetime.datetime) -> dict[str, Any]:
    """Return what runs have made of a member's state since it was recorded."""
    run = next((run for run in runs if run.changes), None)
    if run is None:
        return {}
    if run.running and state not in ("joining", "leaving"):
        return _at_work(run)
    if not run.running and run.at and run.at > since and state != "healthy":
        return {"news": f"Run {run.run_id} has ended since: {run.state}. The next reconcile tells how the member is."}
    return {}


def _at_work(run: Run) -> dict[str, Any]:
    return {
        "state": "leaving" if run.dag_id == deciding.LEAVE_DAG else "joining",
        "since": _moment(run.at),
        "sentence": f"Run {run.run_id} is at work on it.",
        "names": {"dag_id": run.dag_id, "run_id": run.run_id},
        "next": "",
        "waits": "",
    }


_Newest = dict[tuple[str, str], Sequence[Run]]


def _by_member(runs: Iterable[Run]) -> _Newest:
    """Return the runs by host connection and cluster, the newest first."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault((run.host, run.cluster), []).append(run)
    return dict(found)


def _add_newcomers(hosts: list[dict[str, Any]], left: _Newest) -> None:
    """Add those that are joined at this moment and that no reconcile has seen yet."""
    by_connection = {host["conn_id"]: host for host in hosts}
    for (conn_id, cluster), runs in left.items():
        run = runs[0]
        if not run.running or not run.changes:
            continue
        if conn_id not in by_connection:
            unseen = {"name": conn_id, "conn_id": conn_id, "console": None, "error": "", "paused": False, "open": True}
            by_connection[conn_id] = {**unseen, "max_joins": 0, "findings": [], "kubesphere": "", "members": []}
            hosts.append(by_connection[conn_id])
        row = {"cluster": cluster, "declared": False, "paused": False, "drift": []}
        texts = dict.fromkeys(("description", "group", "provider", "connection"), "")
        by_connection[conn_id]["members"].append({**row, **texts, **_at_work(run), **_last_run(runs)})


def _why_no_record(stored: Stored) -> str:
    """Return why there is nothing to show, and what to do about it."""
    if stored.document is not None:
        return (
            "The last record of the fleet is of another version of this project, or is kept where the API server does "
            "not read it. Give all parts of Airflow the same version, and XComs the database as their place."
        )
    if not stored.reconciling.known:
        return (
            f"Airflow has not found the DAG {RECONCILE_DAG} yet. Is the folder dags of this project its DAG folder, "
            "and does the DAG processor run?"
        )
    last = stored.reconciling.last
    if last is None:
        return (
            "Nobody has looked at the fleet yet. Declare it in the inventory (include/fleet.yaml; "
            "python -m include.fleet adopt writes it from what a host has), then press Reconcile now."
        )
    if last.running:
        return "The fleet is being looked at for the first time."
    return f"Run {last.run_id} has ended without a record: {last.state}. Its log says why, most often the inventory."


def _why_stale(stored: Stored) -> str:
    """Return why the data may be older than it should be, or ""."""
    reconciling = stored.reconciling
    if reconciling.paused:
        return f"The DAG {RECONCILE_DAG} is paused: nobody looks at the fleet. Unpause it to have it looked at again."
    last = reconciling.last
    if last is not None and last.running:
        return ""
    if last is not None and last.state == "failed":
        if isinstance(stored.document, dict) and stored.document.get("run_id") == last.run_id:
            return (
                f"The last reconcile, run {last.run_id}, has left this record and failed after that; its log says why."
            )
        return f"The last reconcile, run {last.run_id}, has failed. What you see is older; its log says why."
    if reconciling.due and stored.now - reconciling.due > _GRACE:
        due = records.moment(reconciling.due)
        return f"A reconcile was due at {due} and has not begun. Does the scheduler run?"
    return ""


def member(document: Any, *, host: str, cluster: str) -> dict[str, Any] | None:
    """Return what the record has on one member, by its host's name; None if it has nothing."""
    record = records.usable(document)
    found = next((each for each in record["hosts"] if each["name"] == host), None) if record else None
    row = next((each for each in found["members"] if each["cluster"] == cluster), None) if found else None
    if not record or not found or not row:
        return None
    # A dry run records what it would have started as if it had.
    unstarted = {action["run_id"] for action in record["actions"]} if record["dry_run"] else set()
    return {
        **{key: row.get(key) for key in _OF_DETAIL},
        "attempts": [each for each in reversed(row["attempts"]) if each["run_id"] not in unstarted],
        "host": {"name": found["name"], "conn_id": found["conn_id"], "console": found["console"]},
        "recorded_by": record["run_id"],
        "observed_at": record["observed_at"],
    }


_OF_DETAIL = (
    "cluster",
    "conf",
    "drift",
    "conditions",
    "labels",
    "server",
    "uid",
    "created",
    "role",
    "jwt_secret",
    "cause_since",
    "credential_expires",
)


@dataclass(frozen=True)
class Phase:
    """A task of a run, as far as it has come."""

    task_id: str
    state: str
    started: datetime.datetime | None
    ended: datetime.datetime | None
    tries: int


def phases(tasks: Iterable[Phase]) -> list[dict[str, Any]]:
    """Return the tasks of a run in the order in which they have begun, those that have not at the end."""
    last = datetime.datetime.max.replace(tzinfo=datetime.UTC)
    return [
        {
            "task_id": task.task_id,
            "state": task.state,
            "started": _instant(task.started),
            "ended": _instant(task.ended),
            "tries": task.tries,
        }
        for task in sorted(tasks, key=lambda task: (task.started or last, task.task_id))
    ]


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def _moment(time: datetime.datetime | None) -> str | None:
    return records.moment(time) if time else None


def _instant(time: datetime.datetime | None) -> str | None:
    """Return a time to the millisecond: many tasks take less than a second."""
    return time.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if time else None
