"""The report of a run in a browser, as a tab of Airflow's page of it."""

import datetime

import pytest

from include.fleet import deciding
from include.fleet_ui import view
from tests.ui import fleets, test_report
from tests.ui.browser.test_page import MINUTE, PHASES, SECOND

# Airflow's own answers on a run have a field that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

RUN = (deciding.JOIN_DAG, "join_berlin")


@pytest.fixture
def fleet(remember):
    """A join by proxy whose agent does not reach tower, four minutes ago, and what a hostile server said."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    remember.record(fleets.mixed(now=now - 3 * MINUTE) | {"run_id": "reconcile-1"}, at=now - 3 * MINUTE)
    conf = {"cluster": "berlin-00", "host_conn_id": "ks_host", "connection": "proxy"}
    began = now - 8 * MINUTE
    remember.run(*RUN, "failed", started=began, ended=now - 4 * MINUTE, conf=conf)
    for task_id, (start, end, state) in PHASES.items():
        remember.task(*RUN, task_id, state, started=began + start * SECOND, ended=began + end * SECOND)
    remember.task(*RUN, "verify_join", "upstream_failed", started=now - 4 * MINUTE, ended=now - 4 * MINUTE)
    for task_id in ("preflight", "plan", "configure_host", "configure_member"):
        remember.xcom(*RUN, task_id, test_report.JOINED[task_id])
    error = f"Cluster berlin-00 is not Ready: {fleets.HOSTILE}\nMost likely: The agent does not reach tower."
    remember.xcom(*RUN, "wait_agent_ready", {"error": error, "changed": []}, key="failure")
    remember.xcom(*RUN, "wait_agent_ready", test_report.DIAGNOSIS, key="diagnosis")
    return remember


def test_the_tab_says_what_failed_why_and_what_to_do(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    frame = seen.report(*RUN)
    assert frame.locator("h1").inner_text() == "Join of berlin-00, host europe"
    assert frame.locator(".outcome").inner_text() == "wait_agent_ready has failed. The agent does not reach tower."
    assert frame.locator(".steps li").all_inner_texts()[0] == "Open port 8080."
    assert frame.locator(".timeline li").count() == 12
    assert "Not begun: verify_join" in frame.locator("#report").inner_text()
    assert "role none → member" in frame.locator("#report").inner_text()


def test_what_a_server_said_is_shown_and_not_run(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    frame = seen.report(*RUN)
    frame.get_by_text("The whole error").click()
    assert fleets.HOSTILE in frame.locator(".said").inner_text()
    assert seen.titled() == "Report"


def test_the_report_is_copied_as_markdown(visit, address, tokens, fleet, client):
    seen = visit(address, tokens["vera"])
    seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    frame = seen.report(*RUN)
    frame.locator("#copy").click()
    frame.get_by_role("button", name="Copied").wait_for()
    asked = {"dag_id": RUN[0], "run_id": RUN[1]}
    told = client["vera"].get("/fleet/report", params=asked).json()["markdown"]
    assert seen.page.evaluate("() => navigator.clipboard.readText()") == told


def test_the_report_leads_to_the_log_and_to_the_member(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    frame = seen.report(*RUN)
    frame.get_by_role("link", name="Its log").click()
    seen.page.wait_for_url("**/runs/join_berlin/tasks/wait_agent_ready**")
    frame = seen.report(*RUN)
    frame.get_by_role("link", name="Fleet page").click()
    page = seen.frame()
    page.locator(".detail h3").first.wait_for()
    assert page.locator(".opener").all_inner_texts() == ["berlin-00"]


def test_the_fleet_page_leads_to_the_report_of_the_last_run(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    frame = seen.fleet("host=europe&cluster=berlin-00")
    frame.locator(".detail").get_by_role("link", name="Report").click()
    seen.page.wait_for_url("**/dags/join_member_cluster/runs/join_berlin/plugin/report")
    seen.page.frame_locator("iframe[title=Report]").locator(".outcome").wait_for()


def test_a_run_of_another_dag_has_nothing_to_tell_and_says_so(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    seen.page.goto(f"{address}/fleet/run?dag=other&run=1")
    seen.page.locator(".notice").wait_for()
    assert "Runs of other have no report" in seen.page.locator(".notice").inner_text()
    seen.said.clear()  # the browser says that there is none, as it was told to


def test_a_reconcile_leads_to_each_member_that_is_not_well(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    frame = seen.report(view.RECONCILE_DAG, "reconcile-1")
    assert "The fleet: " in frame.locator(".outcome").inner_text()
    frame.get_by_role("link", name="europe/berlin-00").click()
    assert seen.frame().locator(".opener").all_inner_texts() == ["berlin-00"]


def test_the_report_keeps_nobody_out(looked, address, fleet, picture):
    """The pictures are for people to look at."""
    seen, how = looked
    frame = seen.report(*RUN)
    frame.get_by_text("The whole error").click()
    frame.get_by_text("Field by field").click()
    assert seen.barriers() == []
    if how.startswith("narrow"):
        # In so little room Airflow's own page leaves none for a tab.
        seen.page.goto(f"{address}/fleet/run?dag={RUN[0]}&run={RUN[1]}")
        seen.page.locator(".outcome").wait_for()
    else:
        seen.report(*RUN)
    picture(seen.page, f"report-{how}")
