"""Clusters of which a member leaves; what the product says of them is looked through for secrets in the end."""

import json

import pytest

from tests.chaos import cases
from tests.joins import rolling

HOST = {"role": "host"}


@pytest.fixture
def stage_of(airflow_home):
    """Start the clusters of a scenario; they end with the test."""
    running = []

    def begin(way="direct", *, host=HOST, **scenario):
        stage = cases.Stage(way, host=host, **scenario)
        stage.__enter__()
        running.append(stage)
        stage.before = photographs(stage)
        stage.reports = []
        return stage

    yield begin
    for stage in running:
        told = "\n".join([*stage.said, json.dumps(stage.reports)])
        leaks = [secret for cluster in stage.simulation.clusters.values() for secret in cluster.secrets()]
        stage.__exit__()
        assert [secret for secret in leaks if secret in told] == []


def photographs(stage):
    return {name: rolling.photograph(cluster) for name, cluster in stage.simulation.clusters.items()}
