"""Whether an installer is at work, has done it, or has given up."""

import asyncio
import json

import pytest

from include.fleet import clusters, installer, journal, settings
from include.simulator.simulation import Simulation

CRASHED = "installRunner.py' on 'KUBE_EVENTS' failed. Will retry after delay. Failed count is 7"
BEGINS = "Running hook 'kubesphere/installRunner.py' binding 'KUBE_EVENTS' ..."


@pytest.mark.parametrize(
    ("lines", "crashes"),
    [
        pytest.param([CRASHED], 7, id="the-last-run-crashed"),
        pytest.param([CRASHED, BEGINS], 0, id="a-new-run-has-begun"),
    ],
)
def test_crashes_before_the_last_run_do_not_count(lines, crashes):
    """Who clears the task after mending the cause finds them in the log still, beside the run that will succeed."""
    follower = installer._Follower(None, "r/1", settings.Settings(), journal.Journal(), in_worker=False)
    for line in lines:
        assert follower._heard(line)
    assert follower._crashes == crashes


def test_an_installer_that_was_idle_for_long_is_given_time_for_what_is_asked_for_now(tmp_path, monkeypatch):
    """It has been idle because it was done; another join asks for something new, and its run has yet to begin."""
    scenario = {"timing": {"queue": 30}, "host": {"role": "host"}, "members": []}
    changes = journal.Journal()

    async def look_twice(simulation):
        async with clusters.connect("host", role="host", limits=settings.Settings()) as cluster:
            follower = installer._Follower(cluster, "r/1", settings.Settings(), changes, in_worker=False)
            assert await follower.look() is None
            follower._idle_since -= 1000
            spec = {"multicluster": {"proxyPublishAddress": "http://139.198.120.120:8080"}}
            simulation.clusters["host"].edit(
                "clusterconfigurations", "ks-installer", {"spec": spec}, "kubesphere-system"
            )
            return await follower.look()

    with Simulation(scenario, directory=tmp_path) as simulation:
        for conn_id, connection in simulation.connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        pending = asyncio.run(look_twice(simulation))
    assert "proxyPublishAddress" in pending.seen
    assert pending.seen.endswith("the installer is idle")
    assert changes.notes == []
