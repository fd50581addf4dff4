"""A complete Airflow on this machine for as long as a context lasts: its four components on PostgreSQL."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from include.demo import postgres, processes, rest, settings

# Logs are read from the folder that all components share: no component has to serve them.
_COMPONENTS = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
}
WORKER = "airflow worker -- LocalExecutor"
"""What the executor's worker processes call themselves."""
_GRACE = 2.0
"""Seconds to end in. The scheduler would rather wait for its workers, but their database ends with it."""
_HEALTHY_WITHIN = 120.0
"""Seconds; 15 is usual, a machine that is short of cores or compiles Python first takes longer."""


class LocalAirflow(rest.Airflow):
    """An Airflow of our own; entering starts it and leaving stops it, whatever happens in between."""

    def __init__(
        self,
        home: Path,
        *,
        port: int,
        connections: Mapping[str, Mapping[str, Any]],
        environment: Mapping[str, str] | None = None,
        dags: Path = settings.ROOT / "dags",
    ) -> None:
        """Prepare an Airflow in `home`, where its logs stay; port 0 takes a free one.

        `connections` has the form of Airflow's connections file; `environment` adds to the settings or
        overrides them.
        """
        self.home = home.absolute()
        self.connections = connections
        self.port = port or _free_port()
        self._additions = dict(environment or {})
        self._dags = dags
        self._database_url: str | None = None
        self._environment: dict[str, str] = {}
        self._launched: dict[str, datetime.datetime] = {}
        self._running: processes.Processes | None = None
        self._stack = contextlib.ExitStack()
        super().__init__(
            f"http://127.0.0.1:{self.port}", username=settings.USERNAME, password=secrets.token_urlsafe(12)
        )

    @property
    def database_url(self) -> str:
        """Return SQLAlchemy's URL of the metadata database while it is there."""
        if self._database_url is None:
            raise RuntimeError("the metadata database is there only while Airflow runs")
        return self._database_url

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.home.mkdir(parents=True, exist_ok=True)
            _write_private(self.home / settings.PASSWORDS, content=json.dumps({self.username: self.password}))
            database = stack.enter_context(postgres.Postgres(log=self._log("postgresql")))
            environment = settings.environment(self.home, port=self.port, database_url=database.url, dags=self._dags)
            environment |= self._additions
            self._environment = environment
            self._database_url = environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
            self._migrate(environment=environment)
            running = stack.enter_context(processes.Processes(grace=_GRACE))
            for name in _COMPONENTS:
                self._launch(name, running=running)
            self._await_health(running)
            stack.callback(self._disconnect)
            # Into the database, where a team's connections are, and not into the environment, which
            # would show less than they do of what the UI, the REST API and a dump of the database give away.
            for conn_id, connection in self.connections.items():
                self.add_connection(conn_id, connection=connection)
            self._running = running
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def check(self) -> None:
        """Raise processes.ProcessDiedError if a component has died."""
        if self._running is not None:
            self._running.check()

    def kill(self, component: str) -> None:
        """Kill a component with all that it started, as a container that dies: the scheduler with its workers."""
        self._processes.kill(component)

    def start(self, component: str, *, environment: Mapping[str, str] | None = None) -> None:
        """Start a component that was killed, with these settings besides; returns as soon as it is healthy."""
        self._launch(component, running=self._processes, additions=environment or {})
        self._await_health(self._processes)

    def kill_workers(self) -> None:
        """Kill the executor's worker processes, and the tasks that they run, under a scheduler that goes on.

        No task is begun any more before the scheduler is restarted: one of the idle workers holds the lock of the
        queue that all of them read, those that the executor makes in their place wait for it for ever, and the
        scheduler calls itself healthy.
        """
        for worker in map(psutil.Process, self.pids("scheduler")):
            if " ".join(worker.cmdline()).startswith(WORKER):
                for process in [*worker.children(recursive=True), worker]:
                    process.kill()

    def pids(self, component: str) -> list[int]:
        """List the processes of a component, its own and all that it started."""
        return processes.members({self._processes.pid(component)})

    def stop(self) -> None:
        """Stop everything; a second call does nothing."""
        self._database_url = None
        self._stack.close()

    @property
    def _processes(self) -> processes.Processes:
        if self._running is None:
            raise RuntimeError("the components are there only while Airflow runs")
        return self._running

    def _launch(self, name: str, *, running: processes.Processes, additions: Mapping[str, str] | None = None) -> None:
        self._launched[name.replace("-", "_")] = datetime.datetime.now(datetime.UTC)
        running.start(
            name,
            command=[sys.executable, "-m", "airflow", *_COMPONENTS[name]],
            log=self._log(name),
            environment={**self._environment, **(additions or {})},
        )

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"

    def _migrate(self, *, environment: Mapping[str, str]) -> None:
        with processes.Processes(grace=_GRACE) as running:
            migration = running.start(
                "airflow db migrate",
                command=[sys.executable, "-m", "airflow", "db", "migrate"],
                log=self._log("db-migrate"),
                environment=environment,
            )
            migration.finish()

    def _await_health(self, running: processes.Processes) -> None:
        deadline = time.monotonic() + _HEALTHY_WITHIN
        with httpx.Client(base_url=self.url, trust_env=False, timeout=10) as anonymous:
            while missing := _unhealthy(anonymous, launched=self._launched):
                running.check()
                if time.monotonic() > deadline:
                    raise processes.NotReadyError(missing, seconds=_HEALTHY_WITHIN, log=self._log(missing))
                time.sleep(0.2)
            # Built by the first request to it, which takes 4 s: not to be paid by the first task.
            anonymous.get("/execution/health", timeout=60)

    def _disconnect(self) -> None:
        self.client.close()
        del self.client


def _unhealthy(client: httpx.Client, *, launched: Mapping[str, datetime.datetime]) -> str | None:
    """Name a component that is not healthy yet; the heartbeat of one that was killed before does not count."""
    try:
        health = client.get("/api/v2/monitor/health")
    except httpx.TransportError:
        return "api-server"
    if health.is_error:
        return "api-server"
    statuses = health.json()
    for component in ("scheduler", "dag_processor", "triggerer"):
        seen = statuses[component][f"latest_{component}_heartbeat"]
        alive = seen is not None and datetime.datetime.fromisoformat(seen) >= launched[component]
        if not alive or statuses[component]["status"] != "healthy":
            return component.replace("_", "-")
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_private(path: Path, *, content: str) -> None:
    """Write a file that only we may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
