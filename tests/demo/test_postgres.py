import contextlib
import socket
import subprocess

import pytest
import sqlalchemy

from include.demo import postgres


def test_the_server_answers_while_the_context_lasts_and_is_gone_after(tmp_path):
    with postgres.Postgres(log=tmp_path / "log") as server:
        engine = sqlalchemy.create_engine(server.url.replace("postgresql:", "postgresql+psycopg2:"))
        with engine.connect() as connection:
            assert connection.scalar(sqlalchemy.text("select 6 * 7")) == 42
            folder = connection.scalar(sqlalchemy.text("show unix_socket_directories"))
            assert connection.scalar(sqlalchemy.text("show listen_addresses")) == ""
        engine.dispose()
    assert not postgres.Path(folder).exists()
    with pytest.raises(RuntimeError, match="only while it runs"):
        _ = server.url


def test_through_the_network_only_a_password_lets_in(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with postgres.Postgres(log=tmp_path / "log", port=port) as server:
        engine = sqlalchemy.create_engine(server.url.replace("postgresql:", "postgresql+psycopg2:"))
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("alter role airflow password 'right'"))
        engine.dispose()
        refused = pytest.raises(sqlalchemy.exc.OperationalError, match="password authentication failed")
        for password, outcome in {"right": contextlib.nullcontext(), "wrong": refused}.items():
            engine = sqlalchemy.create_engine(f"postgresql+psycopg2://airflow:{password}@127.0.0.1:{port}/postgres")
            with outcome, engine.connect() as connection:
                assert connection.scalar(sqlalchemy.text("select 1")) == 1
            engine.dispose()


def test_a_server_that_cannot_start_is_reported_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setitem(postgres._SETTINGS, "max_connections", "many")
    with pytest.raises(postgres.processes.ProcessDiedError, match="max_connections"):
        postgres.Postgres(log=tmp_path / "log").__enter__()


def test_the_servers_programs_run_from_a_copy(tmp_path):
    """As root the server runs as nobody, who may not enter a virtual environment below /root."""
    package = postgres.copied(postgres._package(), folder=tmp_path)
    shown = subprocess.check_output([package / "pginstall" / "bin" / "initdb", "--version"], text=True)
    assert shown.startswith("initdb (PostgreSQL) 18.")
