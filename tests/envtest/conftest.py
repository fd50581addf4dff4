"""Whole joins on real control planes: the DAG as Airflow runs it, the actors as clients of real API servers."""

from tests.joins.conftest import _schemas_checked_once, join, run_dag, simulate  # noqa: F401 - fixtures
