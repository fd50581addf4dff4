"""A task that does nothing: what Airflow itself takes for one."""

from __future__ import annotations

from airflow.sdk import DAG, task


@task
def nothing() -> None:
    """Do nothing."""


with DAG(dag_id="no_op", schedule=None, catchup=False):
    nothing()
