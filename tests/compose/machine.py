"""The services of docker-compose.yaml as processes of this machine: their own commands, settings and health checks.

What containers bring is put in their place, and nothing else:

- hosts: a service's name, or 0.0.0.0, is 127.0.0.1;
- ports: those that services listen on are free ones of this machine;
- paths: below /opt/airflow a service sees a folder of its own, where its volumes lie as symbolic links;
- the image: PATH leads to this Python's programs, AIRFLOW_HOME is /opt/airflow, and nothing of our environment is
  there. Its entrypoint, which waits for the database and runs the command, is left out, and so are `user` and `:ro`;
- PostgreSQL's image: the server of the demo, with the user, the password and the database of the file.

A service starts when what it depends on is healthy or has ended well, as the file says.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import sqlalchemy

from include.demo import postgres, processes, settings
from tests.compose import composition

_HOME = "/opt/airflow"
_PORTS = ("5432", "8080", "8974")
_HEALTHY_WITHIN = 120
"""Seconds; some 25 on two idle cores."""
_SQL = str(Path(postgres._package(), "pginstall", "bin"))


def free_ports(count):
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [str(probe.getsockname()[1]) for probe in probes]


class Machine:
    """Runs services; leaving the context stops them."""

    def __init__(self, document, *, folder):
        """Prepare to run services of an interpolated document; their files and logs are below *folder*."""
        self._services = document["services"]
        self._folder = folder
        self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        names = "|".join(map(re.escape, self._services))
        self._endpoint = re.compile(rf"\b(?:{names}|localhost|127\.0\.0\.1):({'|'.join(_PORTS)})\b")
        self._started = {}
        self._healthy = set()
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        for name in self._services:
            self._mount(name)
        self._running = self._stack.enter_context(processes.Processes(grace=2))
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def up(self, *names):
        """Start these services, after what they depend on, and wait until each is healthy or has ended well."""
        for name in names:
            self._start(name)
        for name in names:
            if "healthcheck" in self._services[name]:
                self.await_health(name)
            else:
                self._started[name].finish()

    def await_health(self, name):
        """Return when a service's own health check passes; NotReadyError or ProcessDiedError if it never does."""
        deadline = time.monotonic() + _HEALTHY_WITHIN
        while name not in self._healthy:
            if self.is_healthy(name):
                self._healthy.add(name)
                return
            self.check()
            if time.monotonic() > deadline:
                raise processes.NotReadyError(name, seconds=_HEALTHY_WITHIN, log=self.log(name))
            time.sleep(0.3)

    def is_healthy(self, name):
        """Run a service's own health check once."""
        kind, *command = self._services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        with self.log(f"{name}.health").open("ab") as output:
            ended = subprocess.run(
                [self.translated(word, service=name) for word in command],
                check=False,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return ended.returncode == 0

    def check(self):
        """Raise ProcessDiedError if a service that is to go on has died."""
        for name, process in self._started.items():
            if process is not None and self._services[name]["restart"] != "no":
                process.check()

    def path(self, service, inside):
        """Return where a file of a service is on this machine."""
        return self._folder / "containers" / service / inside.lstrip("/")

    def log(self, name):
        """Return the file that a service writes its output to."""
        return self._folder / "logs" / f"{name}.log"

    def environment(self, name):
        """Return all of a service's environment."""
        image = {"PATH": f"{Path(sys.executable).parent}:{_SQL}:{os.defpath}", "HOME": _HOME, "AIRFLOW_HOME": _HOME}
        if name == "postgres":
            image["PGPORT"] = self.ports["5432"]
        own = self._services[name].get("environment", {})
        found = {key: self.translated(value, service=name) for key, value in {**image, **own}.items()}
        if "PYTHONPATH" in found:
            found["PYTHONPATH"] = os.pathsep.join((str(settings.FENCED), found["PYTHONPATH"]))
        return found

    def translated(self, text, *, service):
        """Return a value of the file as it is to read on this machine."""
        if text in self._services or text == "0.0.0.0":
            return "127.0.0.1"
        if text in self.ports:
            return self.ports[text]
        text = self._endpoint.sub(lambda found: f"127.0.0.1:{self.ports[found[1]]}", text)
        return text.replace(_HOME, str(self.path(service, _HOME)))

    def _start(self, name):
        if name in self._started:
            return
        service = self._services[name]
        for other, demand in service.get("depends_on", {}).items():
            self._start(other)
            if demand["condition"] == "service_healthy":
                self.await_health(other)
            else:
                assert demand["condition"] == "service_completed_successfully"
                self._started[other].finish()
        if name == "postgres":
            self._start_postgres(service["environment"])
            self._started[name] = None
            return
        self._started[name] = self._running.start(
            name,
            command=[self.translated(word, service=name) for word in service["command"]],
            log=self.log(name),
            environment=self.environment(name),
        )

    def _mount(self, name):
        self.path(name, _HOME).mkdir(parents=True, exist_ok=True)
        for volume in self._services[name].get("volumes", []):
            source, target = volume.split(":")[:2]
            if source.startswith((".", "/")):
                found = composition.ROOT / source
            else:
                found = self._folder / "volumes" / source
                found.mkdir(parents=True, exist_ok=True)
            assert found.exists(), f"{name} mounts {source}, which is not there"
            place = self.path(name, target)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(found)

    def _start_postgres(self, wanted):
        """Do what PostgreSQL's image does: the user of the file is the superuser and owns the database."""
        server = postgres.Postgres(log=self.log("postgres"), port=int(self.ports["5432"]))
        self._stack.enter_context(server)
        engine = sqlalchemy.create_engine(
            server.url.replace("postgresql:", "postgresql+psycopg2:"), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            quote = engine.dialect.identifier_preparer.quote_identifier
            user, database = quote(wanted["POSTGRES_USER"]), quote(wanted["POSTGRES_DB"])
            # A statement for roles takes no parameters.
            password = wanted["POSTGRES_PASSWORD"].replace("'", "''")
            connection.exec_driver_sql(f"ALTER ROLE {user} PASSWORD '{password}'")
            connection.exec_driver_sql(f"CREATE DATABASE {database} OWNER {user}")
        engine.dispose()
