"""The report of one run, made of what its tasks have left in Airflow: what was changed, checked and found.

Pure. A run of a join, of a leave, of a rotation or of a reconcile has one, from its first minute on: what has not
happened yet is missing. It is JSON for the page's script, and Markdown for a ticket or a chat.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.fleet import deciding, errors, plans, records
from include.fleet_ui import view

ROTATION_DAG = "rotate_jwt_secret"
DAGS = (*view.WORKING_DAGS, ROTATION_DAG, view.RECONCILE_DAG)
"""The DAGs whose runs have a report."""
RETURNED = "return_value"
KEYS = (RETURNED, errors.DIAGNOSIS, errors.FAILURE, records.KEY)
"""The XComs that a report is made of, by their keys."""
SHOWN_OF_CONF = ("cluster", "host", "host_conn_id", "member_conn_id", "connection", "preflight_only", "plan_only")
"""What of a conf is shown: whatever else somebody has put there stays where it is."""

_CHECKING = (("preflight", "findings", "Before the first write"), ("verify_join", "acceptance", "As its users see it"))
"""Where checks have left their findings: task, key of its report, and what to call them."""
_ASKING = {"approve_plan": "approve the plan", "hand_over": "join the member by hand"}


@dataclass(frozen=True)
class Told:
    """What Airflow knows of one run."""

    now: datetime.datetime
    run: view.Run
    conf: Mapping[str, Any]
    """Only what is shown of it."""
    note: str = ""
    phases: Sequence[view.Phase] = ()
    xcoms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By task and key."""
    answers: Sequence[Answer] = ()
    host: str = ""
    """The host's name in the inventory, "" if no record tells it."""
    console: str | None = None
    """The address of its KubeSphere console."""


@dataclass(frozen=True)
class Answer:
    """What a person was asked by a task, and has answered if there is somebody."""

    task_id: str
    by: str = ""
    chosen: Sequence[str] = ()


def report(told: Told) -> dict[str, Any]:
    """Return the report of a run, with `markdown` for where there is no page."""
    run, conf = told.run, told.conf
    made: dict[str, Any] = {
        "now": records.moment(told.now),
        **run.history,
        "title": _title(told),
        "note": told.note,
        "host": {"name": told.host or run.host, "conn_id": run.host, "console": told.console},
        "cluster": run.cluster,
        "connection": _connection(told),
        "outcome": _outcome(told),
        "answers": [{"task_id": each.task_id, "by": each.by, "chosen": list(each.chosen)} for each in told.answers],
        "failures": _failures(told),
        "phases": view.phases(told.phases),
        "changes": _changes(told),
        "plan": _plan(told),
        "checks": _checks(told),
        "members": _members(told),
        "warnings": _of_reports(told, "warnings"),
        "left": _of_reports(told, "left", "not_undone", "differs", "not_seen"),
        "unchanged": _of_reports(told, "unchanged"),
        "proofs": _proofs(told),
        "record": _record(told),
        "only": "preflight" if conf.get("preflight_only") else "plan" if conf.get("plan_only") else "",
    }
    made["next"] = _next(made)
    made["markdown"] = markdown(made)
    return made


def _title(told: Told) -> str:
    run, host = told.run, told.host or told.run.host
    if run.dag_id == view.RECONCILE_DAG:
        return "Reconcile of the fleet"
    if run.dag_id == ROTATION_DAG:
        return f"Rotation of the jwtSecret of {told.conf.get('host') or 'a host'}"
    verb = "Leave" if run.dag_id == deciding.LEAVE_DAG else "Join"
    return f"{verb} of {run.cluster or 'a member'}" + (f", host {host}" if host else "")


def _connection(told: Told) -> str:
    found = _returned(told, "choose_connection").get("connection")
    asked = told.conf.get("connection")
    return str(found or (asked if told.run.dag_id == deciding.JOIN_DAG else "") or "")


def _returned(told: Told, task_id: str) -> Mapping[str, Any]:
    found = told.xcoms.get(task_id, {}).get(RETURNED)
    return found if isinstance(found, Mapping) else {}


def _outcome(told: Told) -> dict[str, str]:
    """Return how it stands with the run in one sentence, and of which kind that is."""
    run = told.run
    if run.running:
        return {"kind": "running", "sentence": _at_work(told)}
    if run.state == "failed":
        return {"kind": "failed", "sentence": _why_failed(told)}
    warned = _of_reports(told, "warnings", "left", "differs") or [
        each for group in _checks(told) for each in group["findings"] if each["answer"] != "ok"
    ]
    record = _record(told)
    unwell = bool(record and (record["members"] or record["findings"]))
    return {"kind": "warning" if warned or unwell else "success", "sentence": _how_ended(told)}


def _at_work(told: Told) -> str:
    states = {each.task_id: each.state for each in told.phases}
    for task_id, state in states.items():
        if state == "awaiting_input":
            return f"It waits for a person to {_ASKING.get(task_id, 'answer')}."
    retried = sorted(task_id for task_id, state in states.items() if state == "up_for_retry")
    if retried:
        return f"{' and '.join(retried)} did not succeed and will be tried again."
    at_work = sorted(task_id for task_id, state in states.items() if state in ("running", "deferred"))
    return f"It is at work in {' and '.join(at_work)}." if at_work else "It is about to go on."


def _why_failed(told: Told) -> str:
    failed = _failures(told)
    if not failed:
        return "It has failed, and no task of it has: it was ended from outside, or its time was up (run_timeout)."
    (first, *others) = failed
    more = f" {len(others)} more failed: {', '.join(each['task_id'] for each in others)}." if others else ""
    undone = str(_returned(told, "end_turn").get("result") or "")
    return f"{first['task_id']} has failed. {first['sentence']}{more}" + (f" {_capital(undone)}." if undone else "")


def _how_ended(told: Told) -> str:
    run, conf = told.run, told.conf
    if run.dag_id == view.RECONCILE_DAG:
        record = _recorded(told)
        return records.total(record) if record else "It has left no record any more: only the last ones are kept."
    if conf.get("preflight_only"):
        return "It only checked: nothing stands in the way of a join, and nothing was written."
    plan = _plan(told)
    if conf.get("plan_only"):
        return f"It only planned, and has written nothing. {plan['summary'] if plan else ''}".rstrip()
    if run.dag_id == ROTATION_DAG:
        members = _returned(told, "verify_rotation").get("members", ())
        return f"The host and {len(members)} members have the new jwtSecret in force, each proven."
    result = next((str(each["result"]) for each in _reports(told) if each.get("result")), "")
    if result and run.dag_id == deciding.JOIN_DAG:
        return f"{run.cluster} is joined to its host, and that is proven: {result}."
    return f"{run.cluster}: {result}." if result else "It has ended well."


def _failures(told: Told) -> list[dict[str, Any]]:
    """Return the tasks that have failed or are to be tried again, with why and what to do."""
    found = []
    for phase in sorted(told.phases, key=lambda phase: phase.ended or told.now):
        if phase.state not in ("failed", "up_for_retry"):
            continue
        left = told.xcoms.get(phase.task_id, {})
        diagnosis = {key: str(value) for key, value in (left.get(errors.DIAGNOSIS) or {}).items()}
        error = str((left.get(errors.FAILURE) or {}).get("error") or "")
        if diagnosis:
            # Its last line says again what the diagnosis does.
            error = error.rpartition("\n")[0] or error
        known = bool(diagnosis.get("next"))
        first = error.partition("\n")[0].rstrip(":")
        sentence = _ended(diagnosis["sentence"] if known else first or "Its log says why")
        found.append(
            {
                "task_id": phase.task_id,
                "state": phase.state,
                "tries": phase.tries,
                "sentence": sentence,
                "cause": diagnosis.get("cause", ""),
                "evidence": diagnosis.get("evidence", ""),
                "next": diagnosis.get("next", ""),
                "error": error if error != sentence else "",
            }
        )
    return found


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _reports(told: Told) -> list[Mapping[str, Any]]:
    """Return what the tasks have reported, the one that began first first."""
    begun = [phase["task_id"] for phase in view.phases(told.phases)]
    return [found for task_id in begun if (found := _returned(told, task_id))]


def _of_reports(told: Told, *keys: str) -> list[str]:
    """Return the sentences of all reports under *keys*, each once."""
    found = [report.get(key) or () for report in _reports(told) for key in keys]
    return list(dict.fromkeys(str(line) for lines in found if isinstance(lines, (list, tuple)) for line in lines))


def _changes(told: Told) -> list[dict[str, str]]:
    """Return what the run has changed, each once, with the task that has: also what a task wrote that failed then."""
    found: dict[str, str] = {}
    for phase in view.phases(told.phases):
        left = told.xcoms.get(phase["task_id"], {})
        for value in (left.get(RETURNED), left.get(errors.FAILURE)):
            for line in (value.get("changed") or ()) if isinstance(value, Mapping) else ():
                found.setdefault(str(line), phase["task_id"])
    return [{"task_id": task_id, "sentence": sentence} for sentence, task_id in found.items()]


def _plan(told: Told) -> dict[str, Any] | None:
    plan = _returned(told, "plan")
    if "entries" not in plan:
        return None
    shown = ("entries", "consequences", "notes")
    return {"summary": plans.summary(plan["entries"]), **{key: plan.get(key) or [] for key in shown}}


def _checks(told: Told) -> list[dict[str, Any]]:
    groups = [(title, _returned(told, task_id).get(key) or []) for task_id, key, title in _CHECKING]
    return [{"title": title, "findings": findings} for title, findings in groups if findings]


def _members(told: Told) -> list[dict[str, str]]:
    """Return what a rotation tells of each member."""
    found: dict[str, str] = {}
    for task_id in ("rotate", "verify_rotation"):
        for each in _returned(told, task_id).get("members") or ():
            found[str(each["cluster"])] = str(each.get("proof") or each.get("problem") or "has the new jwtSecret")
    return [{"cluster": cluster, "sentence": sentence} for cluster, sentence in sorted(found.items())]


def _proofs(told: Told) -> list[dict[str, str]]:
    proven = _returned(told, "verify_join")
    names = {"proof": "Secret and connection", "identity": "Identity"}
    return [{"of": said, "sentence": str(proven[key])} for key, said in names.items() if proven.get(key)]


def _recorded(told: Told) -> Mapping[str, Any] | None:
    found = told.xcoms.get(view.RECORDING_TASK, {}).get(records.KEY)
    return records.usable(found)


def _record(told: Told) -> dict[str, Any] | None:
    """Return what a reconcile has found: who is not well, and what it has started."""
    record = _recorded(told)
    if record is None:
        return None
    members = [
        {"host": host["name"], **{key: row.get(key, "") for key in ("cluster", "state", "sentence", "waits", "next")}}
        for host in record["hosts"]
        for row in host["members"]
        if row["state"] != "healthy"
    ]
    started = [{key: each[key] for key in ("host", "cluster", "dag_id", "run_id")} for each in record["actions"]]
    shown = ("counts", "dry_run", "partial", "findings")
    return {**{key: record[key] for key in shown}, "members": members, "actions": started}


def _next(made: Mapping[str, Any]) -> list[str]:
    """Return what a person does now."""
    found = [each["next"] for each in made["failures"] if each["next"]]
    found += [
        f"{each['check']}: {each['fix']}"
        for group in made["checks"]
        for each in group["findings"]
        if each["answer"] in ("error", "warning") and each.get("fix")
    ]
    if any(each["state"] == "awaiting_input" for each in made["phases"]):
        found.append("Answer under Required Actions of this run.")
    if any(each["state"] == "failed" for each in made["failures"]):
        mend = "Then" if found else "Mend that, then"
        found.append(f"{mend} clear the task that has failed: it begins with what it finds. Or start a new run.")
    return list(dict.fromkeys(found))


def markdown(made: Mapping[str, Any]) -> str:
    """Return a report as Markdown; what comes from clusters is shown as it is, and makes no markup."""
    parts = [f"## {_plain(made['title'])}", _plain(made["outcome"]["sentence"]), _about(made)]
    parts += _listed("What to do next", made["next"])
    for each in made["failures"]:
        cause = f" ({each['cause']})" if each["cause"] else ""
        parts.append(f"### {each['task_id']}, {each['state']}{cause}")
        if each["evidence"]:
            parts.append(f"Seen: {_plain(each['evidence'])}")
        parts += [_block(each["error"])] if each["error"] else []
    parts += _listed("Changed", [f"{each['task_id']}: {each['sentence']}" for each in made["changes"]])
    parts += _listed("Left as it is", made["left"])
    parts += _listed("Warnings", made["warnings"])
    parts += _listed("Proven", [f"{each['of']}: {each['sentence']}" for each in made["proofs"]])
    for group in made["checks"]:
        said = [f"{each['check']}, {each['answer']}: {each['evidence']}" for each in group["findings"]]
        good = sum(each["answer"] == "ok" for each in group["findings"])
        rest = [line for line, each in zip(said, group["findings"], strict=True) if each["answer"] != "ok"]
        parts += _listed(f"Checks, {group['title'].lower()}: {good} of {len(said)} passed", rest)
    parts += _listed("Members", [f"{each['cluster']}: {each['sentence']}" for each in made["members"]])
    parts += _of_record(made["record"])
    parts += _timed(made["phases"])
    return "\n\n".join(parts) + "\n"


def _about(made: Mapping[str, Any]) -> str:
    lines = [f"- run: {_plain(made['run_id'])} of {made['dag_id']}, {made['state']}"]
    lines += [f"- started by: {_plain(made['by'])}"] if made["by"] else []
    lines += [f"- note: {_plain(made['note'])}"] if made["note"] else []
    lines += [f"- connection type: {made['connection']}"] if made["connection"] else []
    lines += [f"- began: {made['started']}"] if made["started"] else []
    lines += [f"- ended: {made['ended']}"] if made["ended"] else []
    for each in made["answers"]:
        if each["by"]:
            lines.append(f"- {each['task_id']}: {_plain(each['by'])} chose {_plain(', '.join(each['chosen']))}")
    return "\n".join(lines)


def _listed(heading: str, sentences: Iterable[str]) -> list[str]:
    lines = [f"- {_plain(sentence)}" for sentence in sentences]
    passed = ": " in heading and heading.endswith("passed")
    return [f"### {heading}"] + (["\n".join(lines)] if lines else []) if lines or passed else []


def _of_record(record: Mapping[str, Any] | None) -> list[str]:
    if record is None:
        return []
    said = [f"{each['host']}: {each['sentence']} {each.get('next', '')}".rstrip() for each in record["findings"]]
    said += [
        f"{each['host']}/{each['cluster']}, {each['state']}: "
        + " ".join(filter(None, (each["sentence"], each["waits"], each["next"])))
        for each in record["members"]
    ]
    verb = "Would have started" if record["dry_run"] else "Started"
    started = [f"{each['dag_id']} for {each['host']}/{each['cluster']}: {each['run_id']}" for each in record["actions"]]
    return [*_listed("Not well", said), *_listed(verb, started)]


def _timed(phases: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = [
        f"| {each['task_id']} | {each['state']} | {_seconds(each)} | {each['tries'] or ''} |"
        for each in phases
        if each["started"]
    ]
    return (
        ["### Phases", "\n".join(["| task | state | seconds | tries |", "| --- | --- | --- | --- |", *rows])]
        if rows
        else []
    )


def _seconds(phase: Mapping[str, Any]) -> str:
    if not phase["ended"]:
        return ""
    began, ended = (datetime.datetime.fromisoformat(phase[key]) for key in ("started", "ended"))
    return f"{(ended - began).total_seconds():.1f}"


_MARKS = {ord(mark): f"\\{mark}" for mark in "\\`*_[]<>|#"}


def _plain(text: str) -> str:
    """Return text that is shown as it is, on one line."""
    return " ".join(str(text).split()).translate(_MARKS)


def _block(text: str) -> str:
    """Return text as a block of its own, in which nothing is markup."""
    return "\n".join(f"    {line}" for line in text.splitlines())
