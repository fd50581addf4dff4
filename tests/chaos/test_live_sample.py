"""A sample of what `live` plays, on a live Airflow; `make chaos` plays all of it."""

import pytest

from tests.chaos import live

SAMPLE = ("triggerer", "cancel")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with live.stage(tmp_path_factory.mktemp("chaos"), names=SAMPLE) as running:
        yield running


def test_a_join_goes_on_when_its_triggerer_is_killed(stage):
    assert live.play(stage, "triggerer").outcome == "joined"


def test_a_cancelled_run_lets_go_of_the_clusters_and_its_cleared_task_takes_it_up(stage):
    assert live.play(stage, "cancel").outcome.endswith("cleared: joined")


@pytest.mark.parametrize("component", ["scheduler", "triggerer", "api-server", "worker"])
def test_the_full_run_kills_each_component(component):
    assert component in live.CASES


@pytest.mark.parametrize("way", ["direct", "proxy"])
def test_the_full_run_kills_a_task_after_a_write_of_each_way(way):
    assert way in {case.connection for name, case in live.CASES.items() if name.startswith("task")}
