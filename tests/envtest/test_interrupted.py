"""Joins during which a real control plane does what simulated ones are made to do: it crashes, and forgets."""

import concurrent.futures
import json

import pytest

from tests.chaos import steps
from tests.envtest.test_joins import FORWARDED
from tests.joins import evidence
from tests.joins.conftest import SETTINGS, TIMING

CONFIGURATION = ("clusterconfigurations", "ks-installer", "kubesphere-system")
SLOW = {**TIMING, "run": 4}
"""Seconds; long enough for a server to go and come within a run of the installer."""


@pytest.fixture
def play(monkeypatch):
    """Run the steps of a direct join of a member of a simulation."""
    # A controller that has lost its server has written nothing for longer than one that is well.
    for name, seconds in {**SETTINGS, "RESYNC": 5.0}.items():
        monkeypatch.setenv(f"AIRFLOW__FLEET__{name}", str(seconds))

    def play(simulation, member):
        for conn_id, connection in simulation.connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        conf = {
            "cluster": member,
            "connection": "direct",
            "host_conn_id": "host",
            "member_conn_id": member,
            "member_server": simulation.clusters[member].pod_server,
            "ready_timeout": 60,
            "verify_timeout": 60,
            "host_installer_timeout": 120,
            "member_installer_timeout": 120,
        }
        return steps.play(conf, run_id=member)["verify_join"]

    return play


@pytest.fixture
def aside():
    """Do something while the test goes on."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        yield pool.submit


def asks_for(cluster, role):
    return cluster.object(*CONFIGURATION)["spec"]["multicluster"]["clusterRole"] == role


@pytest.mark.parametrize(("name", "role"), [("host", "host"), ("m1", "member")])
def test_a_join_goes_on_when_an_api_server_crashes_and_its_history_is_compacted(simulate, play, aside, name, role):
    simulation = simulate(timing=SLOW)
    cluster = simulation.clusters[name]
    joining = aside(play, simulation, "m1")
    evidence.wait_for(lambda: asks_for(cluster, role), seconds=60)
    cluster.plane.crash_server()
    cluster.plane.compact()
    cluster.plane.start_server()
    assert joining.result()["proof"] == FORWARDED
    evidence.assert_joined(simulation)


def test_two_members_join_a_fresh_host_at_the_same_time(simulate, play, aside):
    simulation = simulate(members=[{"name": "m1"}, {"name": "m2"}])
    joining = [aside(play, simulation, name) for name in ("m1", "m2")]
    for each in joining:
        assert each.result()["proof"] == FORWARDED
    for name in ("m1", "m2"):
        evidence.assert_joined(simulation, name=name, member=name)
    asked = [write for write in evidence.writes(simulation.clusters["host"]) if write.startswith("patch cluster")]
    assert asked == ["patch clusterconfigurations ks-installer"]
