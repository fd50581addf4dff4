"""Airflow's own API server with the plugin, over HTTP, on the suite's database, with users of three kinds."""

import contextlib
import datetime
import json
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from include.fleet import records
from include.fleet_ui import report, view

ROLES = {"vera": "viewer", "otto": "user", "anna": "admin"}
DAGS = report.DAGS


@pytest.fixture(scope="module")
def base_path():
    """The path that Airflow is under, with slashes; a module may have another."""
    return "/"


@pytest.fixture(scope="module")
def address(airflow_database, dagbag, base_path, tmp_path_factory):
    """The address of the API server."""
    from airflow.dag_processing.dagbag import sync_bag_to_db

    passwords = tmp_path_factory.mktemp("users") / "passwords.json"
    passwords.write_text(json.dumps({user: user for user in ROLES}))
    with pytest.MonkeyPatch.context() as patch, socket.socket() as listening:
        users = ",".join(f"{user}:{role}" for user, role in ROLES.items())
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", users)
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "for these tests alone, and long enough for the algorithm" * 2)
        # Airflow reads `[api] base_url` once, when it is imported.
        patch.setattr("airflow.api_fastapi.app.API_ROOT_PATH", base_path)
        _sync(dagbag, sync_bag_to_db)
        listening.bind(("127.0.0.1", 0))
        with _serving(listening):
            yield f"http://127.0.0.1:{listening.getsockname()[1]}{base_path}".rstrip("/")


def _sync(dagbag, sync_bag_to_db):
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(dagbag, "dags-folder", None)


@contextlib.contextmanager
def _serving(listening):
    import uvicorn
    from airflow.api_fastapi.app import create_app, purge_cached_app

    purge_cached_app()
    server = uvicorn.Server(uvicorn.Config(create_app(apps="core"), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        thread.join()
        purge_cached_app()


@pytest.fixture(scope="module")
def client(address):
    """A client by user; None is somebody who is not signed in."""
    with contextlib.ExitStack() as stack:
        clients = {None: stack.enter_context(httpx.Client(base_url=address, trust_env=False))}
        for user in ROLES:
            login = {"username": user, "password": user}
            token = clients[None].post("/auth/token", json=login).raise_for_status().json()["access_token"]
            # As a browser has it, in the cookie that Airflow's UI sets.
            clients[user] = stack.enter_context(
                httpx.Client(base_url=address, cookies={"_token": token}, trust_env=False, timeout=30)
            )
        yield clients


@pytest.fixture
def remember(airflow_database):
    """Put records and runs where Airflow would; everything of these DAGs is taken out before and after."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    def forget():
        with create_session() as session:
            session.execute(delete(DagRun).where(DagRun.dag_id.in_(DAGS)))

    forget()
    yield Memory()
    forget()


class Memory:
    """Airflow's database, as its components would have filled it."""

    def run(self, dag_id, run_id, state, *, started=None, ended=None, conf=None, tasks=()):
        """A run; *tasks* are pairs of id and state."""
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import insert

        times = {"queued_at": started, "start_date": started, "end_date": ended}
        times["run_after"] = started or datetime.datetime.now(datetime.UTC)
        fields = {"dag_id": dag_id, "run_id": run_id, "state": state, "run_type": "manual", "conf": conf or {}}
        with create_session() as session:
            made = session.execute(insert(DagRun).values(**fields, **times)).inserted_primary_key[0]
        for task_id, task_state in tasks:
            self.task(dag_id, run_id, task_id, task_state, started=started, ended=ended)
        return made

    def task(self, dag_id, run_id, task_id, state, *, started=None, ended=None, duration=None):
        """A task of a run."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import insert

        fields = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "state": state, "pool": "default_pool"}
        with create_session() as session:
            session.execute(
                insert(TaskInstance).values(
                    **fields, start_date=started, end_date=ended, duration=duration, executor_config={}
                )
            )

    def xcom(self, dag_id, run_id, task_id, value, *, key="return_value", at=None):
        """What a task of a run has left, as its worker sends it: JSON in a JSON string."""
        from airflow.models.dagrun import DagRun
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import insert, select

        of_it = {"dag_id": dag_id, "run_id": run_id}
        with create_session() as session:
            run = session.scalar(select(DagRun.id).filter_by(**of_it))
            times = {"timestamp": at or datetime.datetime.now(datetime.UTC)}
            fields = {"dag_run_id": run, **of_it, "task_id": task_id, "key": key, "value": json.dumps(value)}
            session.execute(insert(XComModel).values(**fields, **times))

    def due(self, at):
        """When the scheduler would begin the next reconcile."""
        from airflow.models.dag import DagModel
        from airflow.utils.session import create_session
        from sqlalchemy import update

        with create_session() as session:
            of_it = update(DagModel).where(DagModel.dag_id == view.RECONCILE_DAG)
            session.execute(of_it.values(next_dagrun_create_after=at))

    def record(self, record, *, at=None):
        """The record of a reconcile."""
        at = at or datetime.datetime.now(datetime.UTC)
        run_id, tasks = record["run_id"], [(view.RECORDING_TASK, "success")]
        self.run(view.RECONCILE_DAG, run_id, "success", started=at, ended=at, tasks=tasks)
        self.xcom(view.RECONCILE_DAG, run_id, view.RECORDING_TASK, record, key=records.KEY, at=at)


@pytest.fixture
def static():
    """The folder of the page's files."""
    return Path(view.__file__).parent / "static"
