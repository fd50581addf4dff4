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


def test_a_server_that_cannot_start_is_reported_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setitem(postgres._SETTINGS, "max_connections", "many")
    with pytest.raises(postgres.processes.ProcessDiedError, match="max_connections"):
        postgres.Postgres(log=tmp_path / "log").__enter__()


def test_the_servers_programs_run_from_a_copy(tmp_path):
    """As root the server runs as nobody, who may not enter a virtual environment below /root."""
    package = postgres.copied(postgres._package(), folder=tmp_path)
    shown = subprocess.check_output([package / "pginstall" / "bin" / "initdb", "--version"], text=True)
    assert shown.startswith("initdb (PostgreSQL) 18.")
