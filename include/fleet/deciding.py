"""What a reconcile does about what it has observed: joins and leaves to start, each with its reason, and what waits.

Pure: an observation, the last record and the time in, a record out (`records` has its form). The same three always
give the same record, so that nothing is remembered anywhere else.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.fleet import records

JOIN_DAG = "join_member_cluster"
LEAVE_DAG = "leave_member_cluster"
RUN_PREFIX = "reconcile--"
"""With this begin the ids of all runs that are started here."""

_CANARY_ABOVE = 3
"""Members of one host with the same kinds of drift: of more than these, one goes first."""
_CANARY_HOLDS = datetime.timedelta(hours=6)
"""So long a canary that has joined speaks for the others."""
_MANY = 3
"""From so many members on, and more than half of them, a symptom in common is one finding about the host."""
_FIRST_DELAY, _LONGEST_DELAY = datetime.timedelta(minutes=10), datetime.timedelta(hours=24)
"""Before a member is tried again for the same drift: doubled each time."""
_ATTEMPTS_KEPT = 6
_ABSENT_RUNS = 2
"""In so many reconciles in a row a member has to be absent from the inventory before it leaves."""
_PRUNE_SHARE, _PRUNE_MOST = 0.1, 3
"""Of a host's members, at most so many leave in one reconcile, whichever is less; one always may."""
_SYMPTOMS = frozenset({"not-ready", "stale-conditions", "unreachable"})
"""What says that something is wrong and not what."""
_HARMLESS = frozenset({"labels"})
"""What keeps no member from being Ready."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Known:
    """What Airflow knows of the runs that earlier reconciles have started."""

    states: Mapping[str, str] = field(default_factory=dict)
    """By run id; one that is not in it does not exist."""
    diagnoses: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Why a run has failed, by run id: `cause`, `sentence`, `next`."""


def decide(
    observation: Mapping[str, Any],
    last: Mapping[str, Any] | None,
    known: Known,
    *,
    run_id: str,
    now: datetime.datetime,
    dry_run: bool = False,
    woken: bool = False,
) -> dict[str, Any]:
    """Return the record of this reconcile, with the `actions` to start and, in each row, why others wait.

    *observation* is what `surveying.survey` returns, *last* the record before, None for the first. *woken* says that a
    change on a host has started this reconcile: such ones come in quick succession, and take nobody out.
    """
    former = {host["name"]: host for host in (last or {}).get("hosts", ())}
    hosts = [
        _host(seen, former.get(seen["name"]), known, now=now, partial=bool(observation["partial"]), woken=woken)
        for seen in observation["hosts"]
    ]
    seen_names = {host["name"] for host in hosts}
    if observation["partial"]:
        # What was not asked for stands in the record as it was.
        hosts += [{**host, "actions": []} for name, host in former.items() if name not in seen_names]
    actions = [action for host in hosts for action in host.pop("actions")]
    rows = [row for host in hosts for row in host["members"]]
    return {
        "version": records.VERSION,
        "run_id": run_id,
        "recorded_at": records.moment(now),
        "observed_at": observation["observed_at"],
        "inventory": observation["inventory"],
        "partial": observation["partial"],
        "dry_run": dry_run,
        "seconds": observation["seconds"],
        "counts": dict(sorted(Counter(row["state"] for row in rows).items())),
        "findings": [{"host": host["name"], **found} for host in hosts for found in host["findings"]],
        "actions": actions,
        "hosts": hosts,
    }


def _host(
    seen: Mapping[str, Any],
    former: Mapping[str, Any] | None,
    known: Known,
    *,
    now: datetime.datetime,
    partial: bool,
    woken: bool,
) -> dict[str, Any]:
    before = {row["cluster"]: row for row in (former or {}).get("members", ())}
    told = {key: value for key, value in seen.items() if key not in ("members", "undeclared", "findings")}
    if seen["error"]:
        # Nothing is known of its members but what was: nothing is done, and the reason stands with each.
        rows = [
            _unseen(member, before.get(member["cluster"]), seen["error"], known, now=now) for member in seen["members"]
        ]
        rows += [row for name, row in before.items() if name not in {each["cluster"] for each in rows}]
        found = {"kind": "host-unreachable", "sentence": seen["error"], "next": seen.get("next", "")}
        return {**told, "findings": [found, *seen["findings"]], "members": rows, "actions": []}
    work = _Host(seen, before, known, now=now, partial=partial, woken=woken)
    rows = work.rows()
    kept = work.kept(rows)
    findings = [*seen["findings"], *work.common(rows)]
    actions = work.act(rows, findings, busy=work.busy(kept))
    rows += kept
    return {**told, "findings": findings, "members": sorted(rows, key=lambda row: row["cluster"]), "actions": actions}


def note(action: Mapping[str, Any], *, by: str) -> str:
    """Return why a run of an action was started, as its note in Airflow; *by* is the id of the reconcile."""
    does = "Takes {cluster} out of" if action["dag_id"] == LEAVE_DAG else "Joins {cluster} to"
    first = " It goes first; others that are alike wait for it." if action["canary"] else ""
    why = " ".join(action["reasons"])
    told = records.cut(why, _LONGEST_REASON)
    return f"{does.format(**action)} host {action['host']}. Why: {told}{first} Started by reconcile {by}."


_LONGEST_REASON = 500
"""Characters of a note for the reasons: Airflow keeps 1,000 in all."""


def _unseen(member: Mapping[str, Any], former: Row | None, why: str, known: Known, *, now: datetime.datetime) -> Row:
    row = {**_row(member, former, known, now=now), "drift": (former or {}).get("drift", [])}
    return _stated(row, former, "unreachable", f"Its host cluster is not reached: {why}", "", now=now)


class _Host:
    """One reconcile's work on one host cluster that has answered."""

    def __init__(
        self,
        seen: Mapping[str, Any],
        before: Mapping[str, Row],
        known: Known,
        *,
        now: datetime.datetime,
        partial: bool,
        woken: bool,
    ) -> None:
        self._seen = seen
        self._before = before
        self._known = known
        self._now = now
        self._partial = partial
        self._woken = woken
        self._turns = {turn["member_uid"]: turn["holder"] for turn in seen["turns"]}
        """Who is changing which member at this moment, from whatever Airflow."""

    def rows(self) -> list[Row]:
        """Return a row for each declared member, for each other Cluster of the host, and for each that has just left.

        A look at a part of the fleet does not tell who is not in the inventory: those left out look the same.
        """
        found = []
        for member in self._seen["members"]:
            former = self._before.get(member["cluster"])
            row = _row(member, former, self._known, now=self._now)
            found.append(_stated(row, former, *self._judged(row), now=self._now))
        if self._partial:
            return found
        found += [self._undeclared(item) for item in self._seen["undeclared"]]
        names = {row["cluster"] for row in found}
        gone = [self._gone(former) for name, former in self._before.items() if name not in names]
        return found + [row for row in gone if row is not None]

    def kept(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of those that were not looked at, as they were, but for what has become of their runs."""
        names = {row["cluster"] for row in rows}
        return [
            {**row, "attempts": [_refreshed(attempt, self._known) for attempt in row["attempts"]]}
            for name, row in self._before.items()
            if self._partial and name not in names
        ]

    def busy(self, rows: Sequence[Row]) -> int:
        """Count the members on which a run is at work."""
        return sum(1 for row in rows if self._running(row))

    def _undeclared(self, item: Mapping[str, Any]) -> Row:
        name = item["cluster"]
        former = self._before.get(name)
        row = _row({"drift": [], "paused": False, "conf": {}, **item}, former, self._known, now=self._now)
        row["declared"] = False
        if row.get("deleting") and not _tries(row):
            sentence = f"Its Cluster is being deleted since {row['deleting']}; the inventory does not have it."
            return _stated(row, former, "undeclared", sentence, _FINALIZERS, now=self._now)
        if former is None or not (former["declared"] or "absent_runs" in former):
            sentence = "The host has it, the inventory does not, and never did: nothing is done about it."
            return _stated(row, former, "undeclared", sentence, _ADOPT, now=self._now)
        row["conf"] = former["conf"]
        row["absent_runs"] = former.get("absent_runs", 0) + (0 if self._woken else 1)
        return _stated(row, former, *self._absent(row), now=self._now)

    def _gone(self, former: Row) -> Row | None:
        """Return the row of a member that is neither declared nor on the host, as long as its leave is to be told of.

        The host lets go of it first: much of the leave is still to be done then.
        """
        if not former.get("absent_runs") or former["state"] == "left":
            return None
        kept: Row = {key: former[key] for key in ("cluster", "conf", "paused", "uid", "absent_runs") if key in former}
        row = {**_row({**kept, "drift": []}, former, self._known, now=self._now), "declared": False}
        tries = _tries(row)
        if not tries:
            return None
        if tries[-1]["state"] == "success":
            return _stated(row, former, "left", f"It has left by run {tries[-1]['run_id']}.", "", now=self._now)
        return _stated(row, former, *self._absent(row), now=self._now)

    def _absent(self, row: Row) -> tuple[str, str, str]:
        """Return state, reason and next step of a member that the inventory has given up."""
        running = self._running(row)
        if running:
            return "leaving", f"Run {running} is at work on it.", ""
        sentence = "It is not in the inventory any more."
        if not self._seen["prune"]:
            sentence += " Nothing is done: prune is false on this host."
        tries = _tries(row)
        if tries and tries[-1]["state"] == "failed":
            return "failed", *_failure(tries[-1], sentence)
        return "undeclared", sentence, _ADOPT

    def _judged(self, row: Row) -> tuple[str, str, str]:
        """Return state, reason and next step of a declared member."""
        running = self._running(row)
        if running:
            leaves = any(each["run_id"] == running and each["dag_id"] == LEAVE_DAG for each in row["attempts"])
            return "leaving" if leaves else "joining", f"Run {running} is at work on it.", ""
        if not row["drift"]:
            return "healthy", "", ""
        first = row["drift"][0]
        more = f" And {len(row['drift']) - 1} more." if len(row["drift"]) > 1 else ""
        sentence = f"{first['sentence']}{more}"
        kinds = {drift["kind"] for drift in row["drift"]}
        if row["paused"]:
            return "paused", f"Paused in the inventory. {sentence}", first.get("next", "")
        last = row["attempts"][-1] if row["attempts"] else None
        if last and last["state"] == "failed" and last["cause"] == row["cause"]:
            return "failed", *_failure(last, sentence)
        state = "unreachable" if "unreachable" in kinds else "drifted"
        return state, sentence, next((drift["next"] for drift in row["drift"] if drift.get("next")), "")

    def _running(self, row: Row) -> str:
        """Return the run that is at work on a member, or ""."""
        for attempt in reversed(row["attempts"]):
            if attempt["state"] in records.RUNNING:
                return str(attempt["run_id"])
        return str(self._turns.get(row.get("uid") or "", ""))

    def common(self, rows: Sequence[Row]) -> list[dict[str, str]]:
        """Return what most members have in common, which says more of the host than of them."""
        told = {finding.get("holds") for finding in self._seen["findings"]}
        found = []
        for kind in sorted(_SYMPTOMS):
            for connection in sorted({"direct", "proxy"} - told if "host" not in told else ()):
                group = [row for row in rows if row["declared"] and row.get("connection") == connection]
                ill = [row for row in group if _suffers(row, kind)]
                if len(ill) >= _MANY and 2 * len(ill) > len(group):
                    example = next(drift["sentence"] for drift in ill[0]["drift"] if drift["kind"] == kind)
                    found.append(
                        {
                            "kind": f"{kind}-in-common",
                            "sentence": f"{len(ill)} of {len(group)} {connection} members: {example}",
                            "next": "Look at what they have in common before at each of them: the host, and the way "
                            "there. Nothing is started for them meanwhile.",
                            "holds": connection,
                        }
                    )
        failed = Counter(
            (row["attempts"][-1].get("diagnosis") or {}).get("cause") for row in rows if row["state"] == "failed"
        )
        for cause, count in sorted((cause, count) for cause, count in failed.items() if cause and count >= _MANY):
            found.append(
                {
                    "kind": "failures-in-common",
                    "sentence": f"The last runs of {count} members have failed of the same cause, {cause}.",
                    "next": "One at a time is tried again until one succeeds.",
                    "holds": f"cause {cause}",
                }
            )
        return found

    def act(self, rows: Sequence[Row], findings: Sequence[Mapping[str, str]], *, busy: int) -> list[dict[str, Any]]:
        """Return what to start, and note in the rows that wait why they do; *busy* others are being worked on."""
        seen, held = self._seen, {found.get("holds", ""): found for found in findings}
        free = seen["max_joins"] - busy - self.busy(rows)
        due: list[Row] = []
        for row in rows:
            if row["state"] not in ("drifted", "failed", "unreachable") or not row["declared"]:
                continue
            why = self._withheld(row, held)
            if why:
                row["waits"] = why
            else:
                due.append(row)
        actions = []
        for row in self._canaries_first(rows, due, held):
            if free <= 0:
                row["waits"] = f"{seen['max_joins']} runs at once are as many as this host is given (max_joins)."
                continue
            free -= 1
            actions.append(self._start(row))
        return actions + self._prune(rows, free, held.get("host"))

    def _withheld(self, row: Row, held: Mapping[str, Mapping[str, str]]) -> str:
        """Return why nothing is started for a member that has drifted, or ""."""
        for scope in (row.get("connection") or _declared_connection(row), "host"):
            if scope in held:
                return f"{held[scope]['sentence']} Nothing is started meanwhile."
        by_person = [drift["kind"] for drift in row["drift"] if drift["repair"] == "person"]
        if _STOPPING.intersection(by_person) or len(by_person) == len(row["drift"]):
            return "It takes a person."
        if _leaves(row) and not row["conf"].get("member_conn_id"):
            return _NO_WAY
        if not self._seen["open"]:
            return "Outside of this host's maintenance windows."
        backing_off = self._backing_off(row)
        if backing_off:
            return backing_off
        settling = {"not-ready"} == {drift["kind"] for drift in row["drift"]}
        if settling and row["cause_since"] == records.moment(self._now):
            return "Seen for the first time: the host may get over it by itself."
        return ""

    def _backing_off(self, row: Row) -> str:
        """Return why a member is not tried again yet, or ""."""
        same = _tries(row)
        if not same:
            return ""
        again = _time(same[-1]["started"]) + min(_FIRST_DELAY * 2 ** (len(same) - 1), _LONGEST_DELAY)
        if again <= self._now:
            return ""
        times = "once" if len(same) == 1 else f"{len(same)} times"
        return f"Tried {times} for this; it is tried again after {records.moment(again)}."

    def _canaries_first(
        self, rows: Sequence[Row], due: Sequence[Row], held: Mapping[str, Mapping[str, str]]
    ) -> Iterable[Row]:
        """Return those that may start now, of many alike only the first until it has been shown to work."""
        groups: dict[str, list[Row]] = {}
        for row in due:
            cause = (row["attempts"][-1].get("diagnosis") or {}).get("cause") if row["state"] == "failed" else None
            scope = f"cause {cause}" if f"cause {cause}" in held else _kinds(row)
            groups.setdefault(scope, []).append(row)
        for scope, group in groups.items():
            alike = [row for row in rows if row["declared"] and row["drift"] and _kinds(row) == scope]
            if not scope.startswith("cause ") and (len(alike) <= _CANARY_ABOVE or self._proven(rows, scope)):
                yield from group
                continue
            waiting = any(self._running(row) or self._failed_lately(row) for row in alike)
            # Another one than before: the canary itself may be what is wrong.
            first = [] if waiting else sorted(group, key=lambda row: len(_tries(row)))[:1]
            for row in first:
                row["canary"] = True
            yield from first
            for row in group:
                if row not in first:
                    row["waits"] = f"{len(alike or group)} members are alike: one goes first, to be seen joined."

    def _failed_lately(self, row: Row) -> bool:
        tries = _tries(row)
        return bool(tries) and tries[-1]["state"] == "failed" and _time(tries[-1]["started"]) + _FIRST_DELAY > self._now

    def _proven(self, rows: Sequence[Row], kinds: str) -> bool:
        """Tell whether a member with these kinds of drift was repaired a short time ago."""
        return any(
            attempt["state"] == "success"
            and attempt["kinds"] == kinds
            and self._now - _time(attempt["started"]) < _CANARY_HOLDS
            for row in rows
            if not row["drift"]
            for attempt in row["attempts"]
        )

    def _start(self, row: Row, *, leave: bool = False) -> dict[str, Any]:
        leaves = leave or _leaves(row)
        dag_id = LEAVE_DAG if leaves else JOIN_DAG
        conf = {**row["conf"]}
        if leaves:
            conf = {key: conf[key] for key in ("cluster", "host_conn_id", "member_conn_id") if key in conf}
        else:
            if any(drift["repair"] == "renew" for drift in row["drift"]) and not conf.get("import_conn_id"):
                conf["import_conn_id"] = conf["member_conn_id"]
            if conf.get("proxy_publish_address") and any(drift["kind"] == "tower-address" for drift in row["drift"]):
                # The inventory declares it for all of them.
                conf["replace_proxy_address"] = True
        number = 1 + sum(1 for attempt in row["attempts"] if attempt["cause"] == row["cause"])
        run_id = _run_id(self._seen["name"], row, number, verb="leave" if leaves else "join")
        attempt = {
            "cause": row["cause"],
            "kinds": _kinds(row) or "removed",
            "dag_id": dag_id,
            "run_id": run_id,
            "number": number,
            "started": records.moment(self._now),
            "state": "queued",
        }
        row["attempts"] = [*row["attempts"], attempt][-_ATTEMPTS_KEPT:]
        reasons = [drift["sentence"] for drift in row["drift"]] or [row["sentence"]]
        return {
            "host": self._seen["name"],
            "cluster": row["cluster"],
            "dag_id": dag_id,
            "run_id": run_id,
            "conf": conf,
            "reasons": reasons,
            "canary": bool(row.pop("canary", False)),
        }

    def _prune(self, rows: Sequence[Row], free: int, stopped: Mapping[str, str] | None) -> list[dict[str, Any]]:
        """Return the leaves of members that the inventory has given up, slowly: a mistake must not empty a host."""
        gone = [row for row in rows if "absent_runs" in row and row["state"] in ("undeclared", "failed")]
        if not gone or not self._seen["prune"]:
            return []
        total = sum(1 for row in rows if row["declared"] or "absent_runs" in row)
        most = max(1, min(_PRUNE_MOST, int(total * _PRUNE_SHARE)))
        actions: list[dict[str, Any]] = []
        for row in gone:
            why = self._kept_in(row, stopped)
            if why:
                row["waits"] = why
            elif len(actions) >= most or len(actions) >= free:
                row["waits"] = (
                    f"{len(gone)} of {total} members have been taken out of the inventory; at most {most} leave in one "
                    "reconcile. Put them back if that is a mistake."
                )
            else:
                actions.append(self._start(row, leave=True))
        return actions

    def _kept_in(self, row: Row, stopped: Mapping[str, str] | None) -> str:
        """Return why a member that the inventory has given up does not leave yet, or ""."""
        reasons = (
            f"{stopped['sentence']} Nothing is started meanwhile." if stopped else "",
            "A change has woken this reconcile: it takes nobody out. One by the clock or by hand does."
            if self._woken
            else "",
            f"It leaves when {_ABSENT_RUNS} reconciles in a row do not find it in the inventory; this is the first. "
            "Put it back if that is a mistake."
            if row["absent_runs"] < _ABSENT_RUNS
            else "",
            "The host is paused in the inventory." if self._seen["paused"] else "",
            "" if self._seen["open"] else "Outside of this host's maintenance windows.",
            self._backing_off(row),
            "" if row["conf"].get("member_conn_id") else _NO_WAY,
        )
        return next(filter(None, reasons), "")


_ADOPT = "Add it to the inventory (python -m include.fleet adopt writes it), or take it out with leave_member_cluster."
_FINALIZERS = "If that takes more than minutes, the host's ks-controller-manager does not run, or the member is dead."
_NO_WAY = "It takes a person: no connection to the member is known, by which it could leave."
_STOPPING = frozenset({"other-cluster", "unreachable"})
"""Kinds of drift beside which nothing else is repaired."""


def _tries(row: Row) -> list[dict[str, Any]]:
    """Return the attempts at what has drifted now that were begun."""
    return [each for each in row["attempts"] if each["cause"] == row["cause"] and each["state"] != "lost"]


def why(told: Iterable[tuple[Mapping[str, str], str]]) -> Mapping[str, str]:
    """Return why a run has failed, out of the diagnosis ({} for none) and the error ("" for none) of its failed tasks.

    That is a diagnosis, or what the first of them says itself, with `sentence` alone; {} if they say nothing.
    """
    told = list(told)
    known = next((diagnosis for diagnosis, _ in told if diagnosis.get("next")), None)
    if known:
        return known
    for diagnosis, error in told:
        # The last line of an error with a diagnosis is that: here, that no known cause fits.
        lines = error.splitlines()[:-1] if diagnosis else error.splitlines()
        said = " ".join(line.strip().removeprefix("- ") for line in lines)
        if said:
            return {"sentence": records.cut(said, _LONGEST_WHY)}
    return {}


_LONGEST_WHY = 400
"""Characters of what a task says itself; its report has the whole."""


def _failure(attempt: Mapping[str, Any], sentence: str) -> tuple[str, str]:
    """Return why a run has failed, as far as it has been diagnosed, before what it was for; and what to do."""
    diagnosis = attempt.get("diagnosis") or {}
    verb = "leave" if attempt["dag_id"] == LEAVE_DAG else "join"
    why = diagnosis.get("sentence") or f"The {verb} has failed, its log says why."
    return f"{why} {sentence} See run {attempt['run_id']}.", diagnosis.get("next", "")


def _suffers(row: Row, symptom: str) -> bool:
    """Tell whether a member has a symptom for which nothing about the member itself accounts."""
    kinds = {drift["kind"] for drift in row["drift"]}
    return symptom in kinds and ("unreachable" in kinds or kinds <= _SYMPTOMS | _HARMLESS)


def _leaves(row: Row) -> bool:
    """Tell whether a member has to leave first, to be joined again."""
    return any(drift["repair"] == "rejoin" for drift in row["drift"])


def _declared_connection(row: Row) -> str:
    return str(row["conf"].get("connection", "direct"))


def _row(member: Mapping[str, Any], former: Row | None, known: Known, *, now: datetime.datetime) -> Row:
    """Return a member's row: what was seen of it, and what earlier records know."""
    drift = list(member["drift"])
    cause = _cause(drift)
    since = (former or {}).get("cause_since") if cause == (former or {}).get("cause") else None
    return {
        **member,
        "drift": drift,
        "declared": True,
        "cause": cause,
        "cause_since": (since or records.moment(now)) if cause else None,
        "attempts": [_refreshed(attempt, known) for attempt in (former or {}).get("attempts", ())],
    }


def _refreshed(attempt: Mapping[str, Any], known: Known) -> dict[str, Any]:
    run_id = attempt["run_id"]
    if attempt["state"] not in records.RUNNING:
        return dict(attempt)
    # A run that was recorded and is not there was never started: whoever wrote it down died before.
    state = known.states.get(run_id, "lost")
    diagnosis = known.diagnoses.get(run_id)
    return {**attempt, "state": state, **({"diagnosis": dict(diagnosis)} if diagnosis else {})}


def _stated(row: Row, former: Row | None, state: str, sentence: str, advice: str, *, now: datetime.datetime) -> Row:
    same = former is not None and former["state"] == state
    since = former["since"] if same and former is not None else records.moment(now)
    return {**row, "state": state, "since": since, "sentence": sentence, "next": advice}


def _cause(drift: Sequence[Mapping[str, str]]) -> str:
    """Return what tells this drift from another: kinds, and what each is and should be."""
    if not drift:
        return ""
    text = "\n".join(sorted(f"{each['kind']} {each['change']}" for each in drift))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _kinds(row: Row) -> str:
    return "+".join(sorted({drift["kind"] for drift in row["drift"]}))


def _run_id(host: str, row: Row, number: int, *, verb: str) -> str:
    """Return the id of the run for this work: the same work has the same, a later try or a later drift another."""
    since = re.sub(r"\D", "", (row["cause_since"] or row["since"]))[:14]
    cause = row["cause"] or "removed"
    return re.sub(
        r"[^A-Za-z0-9_.~:+-]", "_", f"{RUN_PREFIX}{verb}--{host}--{row['cluster']}--{cause}--{since}--{number}"
    )


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
