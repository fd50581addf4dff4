"""Runs that fail and are rolled back: both clusters are compared with what they were, past the product."""

import pytest

from include.fleet import join
from tests.chaos import cases, steps
from tests.joins import evidence, rolling

SETTINGS = {**cases.SETTINGS, "RESYNC": 0.7, "FAILED_AFTER": 1.0}
RECORD = ("secrets", "kubesphere-system", "before-run")


@pytest.fixture(autouse=True)
def _steps(monkeypatch):
    for name, step in rolling.STEPS.items():
        monkeypatch.setitem(join.STEPS, name, step)


@pytest.fixture
def stage_of(airflow_home):
    """Start the clusters of a scenario; they end with the test."""
    running = []

    def begin(way, *, kubesphere="v3.4.1", host=None, member=None):
        stage = cases.Stage(way, kubesphere=kubesphere, settings=SETTINGS, host=host, member=member)
        running.append(stage)
        stage.__enter__()
        stage.conf["on_failure"] = "rollback"
        return stage

    yield begin
    for stage in running:
        stage.__exit__()


def photographs(stage):
    return {name: rolling.photograph(cluster) for name, cluster in stage.simulation.clusters.items()}


HOST = {"role": "host"}


@pytest.mark.parametrize("kubesphere", cases.KUBESPHERES)
@pytest.mark.parametrize(
    ("way", "step"),
    [pytest.param(way, step, id=f"{way}-{step}") for way in cases.WAYS for step in steps.ORDER[way][2:-1]],
)
def test_a_run_that_fails_after_any_step_leaves_both_clusters_as_they_were(stage_of, way, step, kubesphere):
    stage = stage_of(way, kubesphere=kubesphere, host=HOST)
    before = photographs(stage)
    reports = rolling.fail(stage, after=step)
    report = rolling.undo(stage, reports=reports)
    after = photographs(stage)
    for name in before:
        assert rolling.differences(before[name], after[name]) == []
    assert report["differs"] == []
    assert report["result"] == "rolled back: both clusters are as before"
    print(report)
