"""Airflow as its users reach it: the REST API, with a bearer token."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

FINISHED = frozenset({"success", "failed"})
"""The states in which a run stays."""


class RefusedError(Exception):
    """Airflow answered a request with an error."""

    def __init__(self, response: httpx.Response) -> None:
        """Tell what was asked and quote Airflow's reason."""
        try:
            reason = response.json().get("detail", response.text)
        except (ValueError, AttributeError):
            reason = response.text
        request = response.request
        super().__init__(f"{request.method} {request.url.path}: {response.status_code} {reason}")
        self.status = response.status_code
        self.reason = reason


class Airflow:
    """What can be asked of a running Airflow."""

    def __init__(self, url: str, *, username: str, password: str) -> None:
        """Name the API server and who we are to it; nothing is sent before the first request."""
        self.url = url
        self.username = username
        self.password = password

    @functools.cached_property
    def client(self) -> httpx.Client:
        """A client of the API that is logged in; the token is good for a day."""
        # trust_env: a proxy for the outside world cannot reach our loopback.
        login = {"username": self.username, "password": self.password}
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30) as anonymous:
            token = _checked(anonymous.post("/auth/token", json=login)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=30)

    def get(self, path: str, **query: str | int) -> Any:
        """Return the answer to a GET of /api/v2/<path>; RefusedError if it is an error."""
        return _checked(self.client.get(f"/api/v2/{path}", params=query)).json()

    def post(self, path: str, *, body: Mapping[str, Any]) -> Any:
        """Return the answer to a POST of /api/v2/<path>; RefusedError if it is an error."""
        return _checked(self.client.post(f"/api/v2/{path}", json=dict(body))).json()

    def add_connection(self, conn_id: str, *, connection: Mapping[str, Any]) -> None:
        """Put a connection into the metadata database; `extra` may be a mapping."""
        body = {"connection_id": conn_id, **connection, "extra": json.dumps(connection.get("extra", {}))}
        self.post("connections", body=body)

    def await_dag(self, dag_id: str, *, seconds: float = 60) -> None:
        """Wait until the DAG processor has found a DAG; its import error, if it has one, is raised."""
        deadline = time.monotonic() + seconds
        while True:
            errors = self.get("importErrors")["import_errors"]
            if errors:
                raise LookupError("\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors))
            if self.client.get(f"/api/v2/dags/{dag_id}").status_code == 200:
                return
            if time.monotonic() > deadline:
                raise LookupError(f"Airflow has found no DAG {dag_id} in {seconds:.0f} seconds")
            time.sleep(0.2)

    def trigger(self, dag_id: str, *, conf: Mapping[str, Any], run_id: str | None = None) -> str:
        """Start a run and return its id. Airflow refuses a conf that does not fit the DAG's parameters."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf)}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.post(f"dags/{dag_id}/dagRuns", body=body)["dag_run_id"])

    def run(self, dag_id: str, *, run_id: str) -> dict[str, Any]:
        """Return a run."""
        return dict(self.get(f"dags/{dag_id}/dagRuns/{run_id}"))

    def task_instances(self, dag_id: str, *, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self.get(path, limit=1000)["task_instances"])

    def xcom(self, dag_id: str, *, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return what a task has handed on; RefusedError with status 404 if it has not."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        # Without deserialize=true the value comes as the text that the database holds.
        return self.get(path, deserialize="true")["value"]

    def logs(self, dag_id: str, *, run_id: str, task_id: str, attempt: int = 1) -> str:
        """Return a task's log as the UI shows it, one JSON object per line."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        accept = {"Accept": "application/x-ndjson"}
        return _checked(self.client.get(path, headers=accept, params={"full_content": True})).text

    def wait(self, dag_id: str, *, run_id: str, seconds: float = 300) -> str:
        """Wait until a run has finished and return its state; TimeoutError after so many seconds."""
        deadline = time.monotonic() + seconds
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/wait"
        with self.client.stream("GET", path, params={"interval": 0.5}) as response:
            if response.is_error:
                response.read()
            # Airflow writes one line with the run's state per interval and closes after the last.
            for line in _checked(response).iter_lines():
                state = str(json.loads(line)["state"])
                if state in FINISHED:
                    return state
                if time.monotonic() > deadline:
                    break
        tasks = {task["task_id"]: task["state"] for task in self.task_instances(dag_id, run_id=run_id)}
        raise TimeoutError(f"run {run_id} of {dag_id} has not finished in {seconds:.0f} seconds: {tasks}")


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise RefusedError(response)
    return response
