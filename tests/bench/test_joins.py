"""One join by runbook as `make bench` plays it; one by DAG takes an Airflow, as in tests/joins/test_live.py."""

import pytest

from bench import joins
from include.demo import processes
from include.simulator.simulation import Simulation


def test_a_join_by_runbook_is_counted_without_discovery():
    cost = joins.by_runbook("proxy", run=0)
    assert cost.requests["host: create clusters m1"] == 1
    assert cost.requests["m1: create deployments cluster-agent"] == 1
    assert cost.requests["host: get services/proxy :ks-apiserver:80"] >= 2
    assert not [name for name in cost.requests if name.endswith(" get ")]


def test_a_runbook_that_fails_is_told_with_its_own_words(monkeypatch):
    monkeypatch.setenv("TOWER_TIMEOUT", "none")
    with pytest.raises(processes.ProcessDiedError, match="tower has not initialised Cluster m1"):
        joins.by_runbook("proxy", run=0)


def test_a_join_that_the_clusters_do_not_show_has_failed(tmp_path):
    with (
        Simulation({"members": [{"name": joins.MEMBER}]}, directory=tmp_path),
        pytest.raises(joins.JoinFailedError, match="not both sign tokens with the same secret"),
    ):
        joins._check(tmp_path)
