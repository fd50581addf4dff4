"""The app behind the fleet page and the reports of runs: its routes, and who may see what.

Every route takes a user that is signed in, by the session of Airflow's UI or by a token: Airflow mounts a plugin's app
as it is and checks nothing. What is read takes the rights that Airflow's own REST API asks for the same: XComs of
`reconcile_fleet` for the record, runs of a DAG for its runs, task instances for phases. There is no route that writes.
Metrics alone can be had with another token, too: `scraping` says which.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from airflow.models.dag import DagModel
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse

from include.fleet_ui import report, scraping, stored, view

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "page": ("fleet.html", "text/html; charset=utf-8"),
    "run": ("report.html", "text/html; charset=utf-8"),
    "fleet.css": ("fleet.css", "text/css; charset=utf-8"),
    **{
        name: (name, "text/javascript; charset=utf-8")
        for name in ("airflow.js", "card.js", "fleet.js", "form.js", "report.js", "timeline.js")
    },
    "icon.svg": ("icon.svg", "image/svg+xml"),
    "icon-dark.svg": ("icon-dark.svg", "image/svg+xml"),
}
"""What is served as it is, and of which kind it is."""
HEADERS = {
    # Nothing but our own files; no script or style in the page itself, nobody else's frame around it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # What one user may see is not kept for the next one at the same machine.
    "Cache-Control": "no-store",
}

router = APIRouter(dependencies=[Depends(get_user)])
_READS_RECORD = Depends(scraping.reads_record)


def create() -> FastAPI:
    """Return the app, to be mounted by Airflow's API server."""
    # Without the pages that describe it, which would be open to anybody.
    app = FastAPI(title="Fleet", openapi_url=None, docs_url=None, redoc_url=None)
    app.middleware("http")(_with_headers)
    # First, since the other router takes whatever else there is for the name of a file.
    app.include_router(scraping.router)
    app.include_router(router)
    return app


async def _with_headers(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await answer(request)
    response.headers.update(HEADERS)
    return response


@router.get("/data", dependencies=[_READS_RECORD])
def data(user: GetUserDep, session: SessionDep) -> Response:
    """Return what the page shows before a row is opened."""
    found = _found(user, session)
    may = {verb: _may(user, "POST", dag_id, DagAccessEntity.RUN) for verb, dag_id in view.VERBS.items()}
    return JSONResponse(view.overview(found, may=may))


@router.get("/summary", dependencies=[_READS_RECORD])
def summary(user: GetUserDep, session: SessionDep) -> Response:
    """Return what the card on Airflow's home shows."""
    return JSONResponse(view.summary(_found(user, session)))


@router.get("/of-run", dependencies=[_READS_RECORD])
def of_run(request: Request, user: GetUserDep, session: SessionDep, dag_id: str, run_id: str) -> Response:
    """Lead to the fleet page, at what a run is about: its member, its host, or the whole fleet."""
    place = _place(user, session, dag_id, run_id)
    # Behind its own page of a plugin Airflow takes the whole path of what it is to show, with the one that it is under.
    shown = f"{request.scope['root_path']}/page?{place.query}" if place else ""
    return RedirectResponse(f"../plugin/fleet{shown}")


@router.get("/console-of-run", dependencies=[_READS_RECORD])
def console_of_run(user: GetUserDep, session: SessionDep, dag_id: str, run_id: str) -> Response:
    """Lead to the page of a run's cluster in the KubeSphere console of its host; 404 where none is known."""
    place = _place(user, session, dag_id, run_id)
    if place is None:
        return PlainTextResponse(f"The run {run_id} of {dag_id} is about no host cluster.", 404)
    if not place.console_page:
        return PlainTextResponse(
            f"The address of the KubeSphere console of host {place.host} is not known here. Write it in the inventory, "
            "at this host, as console: https://ADDRESS[:PORT]. The link works after the next reconcile.",
            404,
        )
    return RedirectResponse(place.console_page)


@router.get("/member", dependencies=[_READS_RECORD])
def member(user: GetUserDep, session: SessionDep, host: str, cluster: str, conn_id: str = "") -> Response:
    """Return what an opened row shows: a member's conditions, drift, history, and the phases of its last run.

    *host* is the host's name in the inventory; *conn_id*, the id of its connection, serves for a member of which no
    record tells yet. 404 if neither a record nor a run tells of it.
    """
    recorded = view.member(stored.document(session), host=host, cluster=cluster)
    connection = recorded["host"]["conn_id"] if recorded else conn_id
    runs = stored.runs_of(session, _readable(user), host=connection, cluster=cluster)
    if not recorded and not runs:
        raise HTTPException(404, f"Neither a record nor a run tells of a member {cluster!r} of host {host!r}.")
    last = next((run for run in runs if run.changes), None)
    shown = last is not None and _may(user, "GET", last.dag_id, DagAccessEntity.TASK_INSTANCE)
    return JSONResponse(
        {
            "member": recorded,
            "runs": [run.history for run in runs],
            "last": last.history if last else None,
            "phases": view.phases(stored.phases(session, last)) if last and shown else [],
        }
    )


@router.get("/report")
def run_report(user: GetUserDep, session: SessionDep, dag_id: str, run_id: str) -> Response:
    """Return the report of a run of one of our DAGs, to those who may read its tasks and their XComs.

    404 if there is no such run, or if the DAG is none of ours.
    """
    if dag_id not in report.DAGS:
        raise HTTPException(404, f"Runs of {dag_id} have no report: it tells of {', '.join(report.DAGS)}.")
    reads = (DagAccessEntity.RUN, DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)
    if not all(_may(user, "GET", dag_id, entity) for entity in reads):
        raise HTTPException(403, f"Forbidden: the report of a run takes the right to read the tasks of {dag_id}.")
    told = stored.told(session, dag_id, run_id, now=datetime.datetime.now(datetime.UTC))
    if told is None:
        raise HTTPException(404, f"Airflow has no run {run_id} of {dag_id} any more.")
    return JSONResponse(report.report(told))


@router.get("/{name}")
def file(name: str) -> Response:
    """Return a file of the page; it holds no data."""
    if name not in _FILES:
        raise HTTPException(404, "Not found")
    path, kind = _FILES[name]
    return FileResponse(_STATIC / path, media_type=kind)


def _found(user: BaseUser, session: SessionDep) -> view.Stored:
    """Return what there is and the user may read."""
    sees_reconciles = _may(user, "GET", view.RECONCILE_DAG, DagAccessEntity.RUN)
    return view.Stored(
        now=datetime.datetime.now(datetime.UTC),
        document=stored.document(session),
        reconciling=stored.reconciling(session) if sees_reconciles else view.Reconciling(known=True),
        runs=stored.newest_runs(session, _readable(user)),
    )


def _place(user: BaseUser, session: SessionDep, dag_id: str, run_id: str) -> view.Place | None:
    """Return what a run is about, None if it is about no host; 403 and 404 as Airflow's REST API has them."""
    if dag_id not in report.DAGS or not _may(user, "GET", dag_id, DagAccessEntity.RUN):
        raise HTTPException(403, "Forbidden")
    conf = stored.conf(session, dag_id, run_id)
    if conf is None:
        raise HTTPException(404, f"There is no run {run_id!r} of {dag_id!r}.")
    return view.place(stored.document(session), conf)


def _readable(user: BaseUser) -> list[str]:
    """Return the DAGs that change members and whose runs the user may read."""
    return [dag_id for dag_id in view.WORKING_DAGS if _may(user, "GET", dag_id, DagAccessEntity.RUN)]


def _may(user: BaseUser, method: Any, dag_id: str, entity: DagAccessEntity) -> bool:
    """Tell whether the user has a right to a DAG's runs or tasks, as Airflow's REST API would ask for it."""
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return get_auth_manager().is_authorized_dag(method=method, access_entity=entity, details=details, user=user)
