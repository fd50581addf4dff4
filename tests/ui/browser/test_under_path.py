"""What leads to the fleet page, in an Airflow that shares its address with others and is under a path."""

import pytest

from tests.ui import fleets

# Airflow's own answer on a DAG has a field that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def base_path():
    return "/team/airflow/"


def test_card_and_tasks_lead_to_the_page_under_the_path(visit, address, client, remember):
    remember.record(fleets.mixed())
    conf = {"cluster": "berlin-07", "host_conn_id": "ks_host"}
    remember.run("join_member_cluster", "j1", "success", conf=conf, tasks=[("preflight", "success")])
    assert address.endswith("/team/airflow")
    seen = visit(address, client["vera"].cookies["_token"])
    seen.page.goto(f"{address}/")
    seen.page.locator("#fleet-card").get_by_text("Unreachable").click()
    assert seen.frame().locator(".opener").all_inner_texts() == ["madrid-02", "paris-22"]
    assert seen.page.url == f"{address}/plugin/fleet/team/airflow/fleet/page?state=unreachable"
    seen.page.goto(f"{address}/dags/join_member_cluster/runs/j1/tasks/preflight/details")
    seen.page.get_by_role("link", name="Fleet page").click()
    assert seen.frame().locator(".opener").all_inner_texts() == ["berlin-07"]
    assert seen.page.url == f"{address}/plugin/fleet/team/airflow/fleet/page?host=europe&cluster=berlin-07"
