from pathlib import Path

import pytest
from cryptography import fernet

from include.demo import settings

SECRETS = [
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__CORE__FERNET_KEY",
]


def environment():
    return settings.environment(
        Path("/home/of/airflow"), port=8099, database_url="postgresql://airflow@/postgres?host=/s", dags=Path("/dags")
    )


def test_the_secrets_that_processes_share_are_given_and_not_left_to_each_process():
    block = environment()
    assert all(len(block[name]) >= 43 for name in SECRETS)
    assert len(block["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 64  # bytes, for HS512
    fernet.Fernet(block["AIRFLOW__CORE__FERNET_KEY"])


def test_the_secrets_are_new_for_each_airflow():
    one, other = environment(), environment()
    assert [name for name in SECRETS if one[name] == other[name]] == []


def test_an_airflow_configured_around_us_does_not_shine_through(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_CONN_HOST", "http://elsewhere")
    block = environment()
    assert block["AIRFLOW__CORE__EXECUTOR"] != "CeleryExecutor"
    assert "AIRFLOW_CONN_HOST" not in block


def test_both_database_drivers_get_the_same_database():
    block = environment()
    assert block["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql+psycopg2://airflow@/postgres?host=/s"
    assert block["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"] == "postgresql+asyncpg://airflow@/postgres?host=/s"


@pytest.mark.parametrize(("before", "after"), [("", "127.0.0.1,localhost"), ("corp", "corp,127.0.0.1,localhost")])
def test_loopback_is_never_reached_through_a_proxy(monkeypatch, before, after):
    monkeypatch.setenv("NO_PROXY", before)
    assert environment()["NO_PROXY"] == after
