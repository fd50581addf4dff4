"""Whole joins on real control planes: the DAG as Airflow runs it, the actors as clients of real API servers."""

import pytest

from include.simulator.simulation import Simulation
from tests.envtest.cluster import RealCluster
from tests.joins.conftest import TIMING, join  # noqa: F401 - a fixture


@pytest.fixture
def simulate(tmp_path):
    """Start a host and members with real control planes; they stop with the test."""
    started = []

    def start(*, host=None, members=None, **scenario):
        scenario = {
            "timing": TIMING,
            "host": {"name": "host", **(host or {})},
            "members": members or [{"name": "m1"}],
            **scenario,
        }
        simulation = Simulation(scenario, directory=tmp_path, make_cluster=RealCluster)
        simulation.__enter__()
        started.append(simulation)
        return simulation

    yield start
    for simulation in started:
        simulation.__exit__(None, None, None)
