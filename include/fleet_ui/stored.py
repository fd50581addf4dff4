"""What the fleet page shows, read from Airflow's own database: the newest record, and runs.

Through Airflow's models and not its REST API, which would take a request for each member: Airflow offers a plugin's app
the API server's session for that. Each function sends one statement, however many members there are.

Rights are not checked here: `app` asks the auth manager first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun, DagRunNote
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import and_, case, func, or_, select

from include.fleet import deciding, records
from include.fleet_ui import metrics, report, view

if TYPE_CHECKING:
    import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

_HISTORY = 10
"""Of one member so many runs are shown."""
_TRUE = frozenset({"true", "1"})
"""How databases write a true value out of JSON."""


def document(session: Session) -> Any:
    """Return the newest record as it is kept, None if there is none."""
    value = session.scalar(
        select(XComModel.value)
        .where(
            XComModel.key == records.KEY,
            XComModel.dag_id == view.RECONCILE_DAG,
            XComModel.task_id == view.RECORDING_TASK,
        )
        .order_by(XComModel.timestamp.desc())
        .limit(1)
    )
    return _decoded(value)


def _decoded(value: Any) -> Any:
    """Return an XCom's value: a worker sends it as JSON text, which the database keeps as a JSON string."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def reconciling(session: Session) -> view.Reconciling:
    """Return how reconciling itself goes."""
    dag = session.execute(
        select(DagModel.is_paused, DagModel.next_dagrun_create_after).where(DagModel.dag_id == view.RECONCILE_DAG)
    ).first()
    runs = _runs(session, select(*_COLUMNS).where(DagRun.dag_id == view.RECONCILE_DAG).limit(1))
    if dag is None:
        return view.Reconciling(known=False, last=runs[0] if runs else None)
    return view.Reconciling(known=True, paused=dag[0], due=dag[1], last=runs[0] if runs else None)


def newest_runs(session: Session, dag_ids: Sequence[str]) -> list[view.Run]:
    """Return of each member the newest run of each of these DAGs, and the newest that only checks or plans."""
    newest = (
        select(func.max(DagRun.id))
        .where(DagRun.dag_id.in_(dag_ids), _CLUSTER.is_not(None))
        .group_by(DagRun.dag_id, _HOST, _CLUSTER, _ONLY_CHECKS, _ONLY_PLANS)
    )
    return _runs(session, select(*_COLUMNS).where(DagRun.id.in_(newest)))


def runs_of(session: Session, dag_ids: Sequence[str], *, host: str, cluster: str) -> list[view.Run]:
    """Return the last runs of one member, by the connection to its host."""
    of_it = and_(DagRun.dag_id.in_(dag_ids), _HOST.in_([host]), _CLUSTER.in_([cluster]))
    return _runs(session, select(*_COLUMNS, *_MORE_COLUMNS).where(of_it).limit(_HISTORY))


def conf(session: Session, dag_id: str, run_id: str) -> dict[str, Any] | None:
    """Return the conf of a run, None if there is no such run."""
    found = session.execute(select(DagRun.conf).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).first()
    return (found[0] or {}) if found else None


def phases(session: Session, run: view.Run) -> list[view.Phase]:
    """Return the tasks of a run."""
    found = session.execute(
        select(
            TaskInstance.task_id,
            TaskInstance.state,
            TaskInstance.start_date,
            TaskInstance.end_date,
            TaskInstance.try_number,
        ).where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
    )
    return [view.Phase(row[0], str(row[1] or ""), row[2], row[3], row[4]) for row in found]


def told(session: Session, dag_id: str, run_id: str, *, now: datetime.datetime) -> report.Told | None:
    """Return all that a report is made of, None if there is no such run."""
    of_it = and_(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    row = session.execute(
        select(*_COLUMNS, *_MORE_COLUMNS, DagRun.conf, DagRunNote.content)
        .outerjoin(DagRunNote, DagRunNote.dag_run_id == DagRun.id)
        .where(of_it)
    ).first()
    if row is None:
        return None
    run = _run(row[:-2])
    conf = row[-2] if isinstance(row[-2], dict) else {}
    place = view.place(document(session), conf)
    return report.Told(
        now=now,
        run=run,
        conf={key: conf[key] for key in report.SHOWN_OF_CONF if key in conf},
        note=row[-1] or "",
        phases=phases(session, run),
        xcoms=_xcoms(session, run),
        answers=_answers(session, run),
        host=place.host if place else "",
        console=(place.console if place else "") or None,
    )


def _xcoms(session: Session, run: view.Run) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    statement = select(XComModel.task_id, XComModel.key, XComModel.value).where(
        XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id, XComModel.key.in_(report.KEYS)
    )
    for task_id, key, value in session.execute(statement):
        found.setdefault(task_id, {})[key] = _decoded(value)
    return found


def _answers(session: Session, run: view.Run) -> list[report.Answer]:
    statement = (
        select(TaskInstance.task_id, HITLDetail.responded_by, HITLDetail.chosen_options)
        .join(TaskInstance, TaskInstance.id == HITLDetail.ti_id)
        .where(TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
    )
    return [
        report.Answer(task_id, str((by or {}).get("name") or ""), [str(each) for each in chosen or ()])
        for task_id, by, chosen in session.execute(statement)
    ]


def durations(session: Session) -> list[metrics.Durations]:
    """Return how long each task of the joins that have succeeded took."""
    within = [func.sum(case((TaskInstance.duration <= bound, 1), else_=0)) for bound in metrics.BUCKETS]
    found = session.execute(
        select(TaskInstance.task_id, func.count(), func.sum(TaskInstance.duration), *within)
        .join(DagRun, and_(DagRun.dag_id == TaskInstance.dag_id, DagRun.run_id == TaskInstance.run_id))
        .where(DagRun.dag_id == deciding.JOIN_DAG, DagRun.state == "success", _unset(_ONLY_CHECKS), _unset(_ONLY_PLANS))
        .where(TaskInstance.state == "success", TaskInstance.duration.is_not(None))
        .group_by(TaskInstance.task_id)
    )
    return [metrics.Durations(row[0], [int(each) for each in row[3:]], row[1], float(row[2])) for row in found]


def repairs(session: Session) -> list[metrics.Repairs]:
    """Return how many runs reconciles have started, by DAG and state."""
    found = session.execute(
        select(DagRun.dag_id, DagRun.state, func.count())
        .where(DagRun.dag_id.in_(view.WORKING_DAGS), DagRun.run_id.startswith(deciding.RUN_PREFIX, autoescape=True))
        .group_by(DagRun.dag_id, DagRun.state)
    )
    return [metrics.Repairs(row[0], str(row[1]), row[2]) for row in found]


def _unset(flag: ColumnElement[str]) -> ColumnElement[bool]:
    return or_(flag.is_(None), flag.not_in(_TRUE))


_HOST = DagRun.conf["host_conn_id"].as_string()
_CLUSTER = DagRun.conf["cluster"].as_string()
_ONLY_CHECKS = DagRun.conf["preflight_only"].as_string()
_ONLY_PLANS = DagRun.conf["plan_only"].as_string()
_BEGUN = func.coalesce(DagRun.start_date, DagRun.queued_at)
# One that was cleared keeps the end that it had before.
_AT = case((DagRun.state.in_(records.RUNNING), _BEGUN), else_=func.coalesce(DagRun.end_date, _BEGUN))
_COLUMNS = (DagRun.dag_id, DagRun.run_id, DagRun.state, _AT, _HOST, _CLUSTER, _ONLY_CHECKS, _ONLY_PLANS)
_MORE_COLUMNS = (DagRun.start_date, DagRun.triggering_user_name)


def _runs(session: Session, statement: Select[Any]) -> list[view.Run]:
    """Return the runs that a statement finds, the newest first."""
    return [_run(row) for row in session.execute(statement.order_by(DagRun.id.desc()))]


def _run(row: Sequence[Any]) -> view.Run:
    dag_id, run_id, state, at, host, cluster, checks, plans, *more = tuple[Any, ...](row)
    changes = str(checks).lower() not in _TRUE and str(plans).lower() not in _TRUE
    started, by = more or (None, None)
    return view.Run(dag_id, run_id, str(state), at, host or "", cluster or "", changes, started, by or "")
