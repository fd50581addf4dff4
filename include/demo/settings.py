"""The environment that every process of the local Airflow gets, alike."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography import fernet

ROOT = Path(__file__).parents[2]
"""The repository: DAGs import `include.` from here."""
FENCED = ROOT / "include/simulator/fenced"
"""On PYTHONPATH it keeps what runs off the real network, where the simulated addresses are somebody else's."""
USERNAME = "admin"
PASSWORDS = "passwords.json"
"""The file below AIRFLOW_HOME from which the login is taken."""


def environment(home: Path, *, port: int, database_url: str, dags: Path) -> dict[str, str]:
    """Build the environment of the local Airflow, with new secrets that all its processes share.

    An Airflow that the user has configured in the environment must not shine through.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return inherited | _python(inherited) | _airflow(home, port=port, dags=dags) | _database(database_url)


def _python(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what Python and its HTTP clients look at."""
    loopback = "127.0.0.1,localhost"
    return {
        "PYTHONPATH": os.pathsep.join(map(str, (FENCED, ROOT))),
        "PYTHONUNBUFFERED": "1",
        # A proxy for the outside world cannot reach clusters on our loopback.
        **{
            name: f"{inherited[name]},{loopback}" if inherited.get(name) else loopback
            for name in ("NO_PROXY", "no_proxy")
        },
    }


def _database(url: str) -> dict[str, str]:
    scheme, _, rest = url.partition("://")
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{scheme}+psycopg2://{rest}",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"{scheme}+asyncpg://{rest}",
    }


def _airflow(home: Path, *, port: int, dags: Path) -> dict[str, str]:
    base = f"http://127.0.0.1:{port}"
    return {
        "AIRFLOW_HOME": str(home),
        # All secrets are given: left to itself, each process makes up its own, and they refuse each other.
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
        "AIRFLOW__CORE__FERNET_KEY": fernet.Fernet.generate_key().decode(),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USERNAME}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / PASSWORDS),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": base,
        "AIRFLOW__API__INSTANCE_NAME": "Cluster fleet",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{base}/execution/",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # A run of a paused DAG stays queued for ever and says nothing.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # By default the UI and the REST API show a connection's kubeconfig with its token.
        "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES": "kube_config,kubeconfig",
        "AIRFLOW__CORE__EXECUTOR": "include.fleet.executors.PreloadingExecutor",
        # A slot stays busy for 2-3 s after its task has ended, so there must be more of them than cores.
        "AIRFLOW__CORE__PARALLELISM": "16",
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "32",
        # The default of 1 s is paid between any two tasks: ten of them take 12 s, with this 3 s.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    }
