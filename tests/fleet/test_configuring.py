"""What KubeSphere on a cluster is asked for, where that is not there to be read."""

import asyncio
import json

import pytest

from include.fleet import clusters, configuring, errors, settings
from include.simulator.simulation import Simulation


@pytest.mark.parametrize(
    ("forbid", "error", "says"),
    [
        pytest.param([], errors.UnsupportedError, "is not installed there", id="nothing-there"),
        # It is made anew at times, and nobody could tell that from this.
        pytest.param(
            [{"verb": "get", "resource": "deployments"}], errors.UnavailableError, "is being made anew", id="no-right"
        ),
    ],
)
def test_where_nothing_is_asked_for_the_installer_tells_whether_to_wait(tmp_path, monkeypatch, forbid, error, says):
    async def run():
        async with clusters.connect("m1", role="member", limits=settings.Settings()) as cluster:
            await configuring.asked(cluster)

    scenario = {"members": [{"name": "m1", "installed": False, "forbid": forbid}]}
    with Simulation(scenario, directory=tmp_path) as simulation:
        monkeypatch.setenv("AIRFLOW_CONN_M1", json.dumps(simulation.connections["m1"]))
        with pytest.raises(error, match=says):
            asyncio.run(run())
