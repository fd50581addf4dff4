"""The fleet page in a browser: what is seen, found, opened and pressed. Nothing runs behind it but the API server."""

import datetime
import zoneinfo

import pytest

from include.fleet import records
from tests.ui import fleets

# Airflow's own answer on a DAG has a field that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

MINUTE, SECOND = datetime.timedelta(minutes=1), datetime.timedelta(seconds=1)


@pytest.fixture
def fleet(remember):
    """Thirty members and two that nobody has declared, seen three minutes ago; one has a join behind it."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    remember.record(fleets.mixed(now=now - 3 * MINUTE) | {"run_id": "reconcile-1"}, at=now - 3 * MINUTE)
    remember.due(now + 7 * MINUTE)
    conf = {"cluster": "berlin-00", "host_conn_id": "ks_host"}
    began = now - 8 * MINUTE
    remember.run("join_member_cluster", "join_berlin", "failed", started=began, ended=now - 4 * MINUTE, conf=conf)
    for task_id, (start, end, state) in PHASES.items():
        times = {"started": began + start * SECOND, "ended": began + end * SECOND}
        remember.task("join_member_cluster", "join_berlin", task_id, state, **times)
    remember.task("join_member_cluster", "join_berlin", "verify_join", "upstream_failed")
    return remember


PHASES = {
    "preflight": (0, 4, "success"),
    "plan": (4, 9, "success"),
    "take_turn": (9, 10, "success"),
    "fetch_jwt": (10, 11, "success"),
    "configure_host": (11, 13, "success"),
    "configure_member": (11, 14, "success"),
    "wait_installer": (14, 96, "success"),
    "choose_connection": (96, 97, "success"),
    "resolve_tower_address": (97, 98, "success"),
    "import_cluster": (98, 101, "success"),
    "deploy_agent": (101, 103, "success"),
    "wait_agent_ready": (103, 220, "failed"),
}
"""Seconds after its begin at which each task of a join has begun and ended, and how."""


def names(frame):
    return frame.locator(".opener").all_inner_texts()


def test_the_navigation_leads_to_all_members_the_worst_first(visit, address, tokens, fleet):
    seen = visit(address, tokens["otto"])
    seen.page.goto(address)
    frame = seen.navigate()
    assert frame.locator("#shown").inner_text() == "32 members"
    assert frame.locator(".host h2").all_inner_texts() == ["europe", "asia"]
    assert names(frame)[0] == "berlin-00"
    assert frame.locator(".row .badge").first.inner_text() == "failed"
    assert frame.locator("#only-healthy .count").inner_text() == "21"
    assert "3 min ago" in frame.locator("#age").inner_text()


def test_a_cluster_that_is_described_as_a_script_is_shown_and_not_run(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    frame = seen.fleet("q=script")
    assert fleets.HOSTILE in frame.locator(".description").all_inner_texts()
    frame.locator(".opener").first.click()
    frame.locator(".detail").wait_for()
    assert seen.titled() == "Fleet"


def test_members_are_found_by_text_by_state_and_by_host_and_put_in_order(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    frame = seen.fleet()
    frame.locator("#search").fill("tower connection")
    assert names(frame) == ["berlin-00"]
    frame.locator("#search").fill("no such member")
    frame.get_by_role("button", name="Show all").click()
    frame.locator("#only-unreachable").click()
    assert names(frame) == ["madrid-02", "paris-22"]
    frame.locator("#only-unreachable").click()
    frame.locator("#host").select_option("asia")
    assert frame.locator("#shown").inner_text() == "11 of 32 members"
    frame.locator("#by-asia-cluster").click()
    assert names(frame) == sorted(names(frame))


def test_an_opened_row_has_the_reason_the_phases_and_links_into_the_runs(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    frame = seen.fleet()
    frame.locator("tr.row", has_text="berlin-00").click()
    detail = frame.locator(".detail")
    assert detail.locator("h3").all_inner_texts() == [
        "Drift",
        "Phases of the last join",
        "Conditions",
        "History",
        "Facts",
    ]
    assert detail.locator(".timeline li").count() == 12
    assert "Not begun: verify_join" in detail.inner_text()
    detail.get_by_role("link", name="wait_agent_ready").click()
    seen.page.wait_for_url("**/dags/join_member_cluster/runs/join_berlin/tasks/wait_agent_ready**")
    assert seen.page.locator("iframe").count() == 0, "the run is Airflow's page, not one in the frame"


def test_a_long_reason_is_cut_after_three_lines_until_its_row_is_opened(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    seen.page.set_viewport_size({"width": 390, "height": 844})
    frame = seen.fleet()
    row = frame.locator("tr.row", has_text="berlin-00")
    said = row.locator(".of-why p").first
    lines = "p => Math.round(p.clientHeight / parseFloat(getComputedStyle(p).lineHeight))"
    assert said.evaluate(lines) == 3
    row.locator(".opener").click()
    assert said.evaluate(lines) > 3
    assert said.evaluate("p => p.scrollHeight <= p.clientHeight")


def test_times_are_written_as_airflow_writes_them_in_the_zone_that_was_picked_there(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    seen.page.add_init_script("localStorage.setItem('timezone', 'Asia/Shanghai')")
    frame = seen.fleet()
    time = frame.locator("#age time").first
    moment = datetime.datetime.fromisoformat(time.get_attribute("datetime"))
    there = moment.astimezone(zoneinfo.ZoneInfo("Asia/Shanghai"))
    assert time.get_attribute("title") == f"{there:%Y-%m-%d %H:%M:%S}"


def test_a_viewer_is_offered_nothing_to_start(visit, address, tokens, fleet):
    frame = visit(address, tokens["vera"]).fleet()
    assert frame.locator("#buttons").inner_text() == "You may look, and start nothing."
    frame.locator(".opener").first.click()
    frame.locator(".detail h3").first.wait_for()
    assert frame.locator(".detail button").count() == 0


def test_join_opens_a_form_that_is_filled_in_and_starts_the_run(visit, address, tokens, fleet, client):
    seen = visit(address, tokens["otto"])
    frame = seen.fleet("host=europe&cluster=berlin-14")
    frame.locator(".detail").get_by_role("button", name="Join again").click()
    form = frame.locator("dialog")
    assert form.locator("#field-cluster").input_value() == "berlin-14"
    assert form.locator("#field-host_conn_id").input_value() == "ks_host"
    assert form.locator("#field-connection").input_value() == "proxy"
    form.locator("#field-description").fill("x" * 257)
    form.get_by_role("button", name="Join", exact=True).click()
    form.get_by_role("alert").wait_for()
    assert "description" in form.get_by_role("alert").inner_text()
    form.locator("#field-description").fill("Line 4")
    form.get_by_role("button", name="Join", exact=True).click()
    form.get_by_role("heading", name="The run has begun").wait_for()
    (run,) = [run for run in _runs(client) if run["dag_run_id"].startswith("fleet__berlin-14__")]
    assert run["conf"]["description"] == "Line 4"
    assert run["triggering_user_name"] == "otto"
    assert run["note"] == "Join berlin-14 (host connection ks_host). Started on the fleet page. It was healthy."
    form.get_by_role("button", name="Close").click()
    frame.locator("tr.row", has_text="berlin-14").locator(".badge.joining").wait_for()


def _runs(client):
    return client["otto"].get("/api/v2/dags/join_member_cluster/dagRuns").json()["dag_runs"]


def test_a_task_leads_to_its_member_and_says_what_to_do_when_it_fails(visit, address, tokens, fleet, picture):
    seen = visit(address, tokens["vera"])
    seen.page.goto(f"{address}/dags/join_member_cluster/tasks/wait_agent_ready")
    seen.page.get_by_role("button", name="Documentation").click()
    seen.page.get_by_text("When this task fails").wait_for()
    picture(seen.page, "task-documentation")
    seen.page.goto(f"{address}/dags/join_member_cluster/runs/join_berlin/tasks/wait_agent_ready/details")
    seen.page.get_by_role("link", name="KubeSphere console").wait_for()
    picture(seen.page, "task-links")
    seen.page.get_by_role("link", name="Fleet page").click()
    frame = seen.frame()
    frame.locator(".detail h3").first.wait_for()
    assert names(frame) == ["berlin-00"]
    assert seen.page.url == f"{address}/plugin/fleet/fleet/page?host=europe&cluster=berlin-00"


def test_the_graph_of_a_join_is_five_nodes_of_which_groups_open(visit, address, tokens, fleet, picture):
    for theme in ("light", "dark"):
        seen = visit(address, tokens["vera"], theme=theme)
        seen.page.goto(f"{address}/dags/join_member_cluster/runs/join_berlin")
        seen.page.get_by_role("button", name="Show Graph").click()
        graph = seen.page.locator(".react-flow")
        graph.get_by_text("end_turn").wait_for()
        found = graph.locator(".react-flow__node").all_inner_texts()
        titles = ("Check and plan", "Configure both clusters", "Connect", "verify_join", "end_turn")
        assert [[title for title in titles if title in text] for text in found] == [[title] for title in titles]
        picture(seen.page, f"graph-join-{theme}")
        graph.get_by_text("+ 7 Tasks").click()
        graph.get_by_text("prepare_kubeconfig").wait_for()
        picture(seen.page, f"graph-join-open-{theme}")


def test_the_page_follows_airflows_theme_at_once(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"], theme="light")
    frame = seen.fleet()
    assert frame.locator("html.dark").count() == 0
    assert _colours(frame.locator("body"), "bg") == _colours(seen.page.locator("body"), "bg")
    light = _colours(frame.locator("body"), "fg")
    seen.page.evaluate("() => document.documentElement.classList.replace('light', 'dark')")
    frame.locator("html.dark").wait_for(state="attached")
    assert _colours(frame.locator("body"), "fg") == _colours(seen.page.locator("body"), "fg") != light


def _colours(element, name):
    """The value of one of Airflow's colours where an element is."""
    return element.evaluate(f"each => getComputedStyle(each).getPropertyValue('--chakra-colors-{name}').trim()")


def test_nothing_to_show_says_what_to_do(visit, address, tokens, remember):
    frame = visit(address, tokens["otto"]).fleet()
    assert frame.locator(".empty h2").inner_text() == "No fleet to show yet"
    assert "Declare it in the inventory" in frame.locator(".empty").inner_text()
    assert frame.locator(".empty").get_by_role("button", name="Reconcile now").count() == 1


def test_data_that_gets_no_younger_is_said_to_be_old(visit, address, tokens, fleet):
    fleet.due(datetime.datetime.now(datetime.UTC) - 20 * MINUTE)
    frame = visit(address, tokens["otto"]).fleet()
    assert "has not begun. Does the scheduler run?" in frame.locator(".notice.warning").inner_text()
    assert frame.locator(".row").count() == 32


def test_without_an_answer_the_page_keeps_what_it_has_and_says_so(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"])
    frame = seen.fleet()
    seen.page.route("**/fleet/data", lambda route: route.abort())
    seen.page.clock.install()
    frame.locator("#shown").wait_for()
    frame.locator("body").evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    assert "What you see is from before: Airflow does not answer." in frame.get_by_role("alert").first.inner_text()
    assert frame.locator(".row").count() == 32
    seen.said.clear()  # the browser says that it was refused, as it was told to


def test_the_page_keeps_nobody_out(looked, fleet, picture):
    """The pictures are for people to look at."""
    seen, how = looked
    frame = seen.fleet()
    picture(seen.page, f"fleet-{how}")
    frame.locator("tr.row", has_text="berlin-00").locator(".opener").click()
    frame.locator(".timeline").wait_for()
    picture(seen.page, f"fleet-row-{how}")
    found = seen.barriers()
    frame.locator(".detail").get_by_role("button", name="Join", exact=True).click()
    frame.locator("#field-cluster").wait_for()
    picture(seen.page, f"fleet-form-{how}")
    assert found + seen.barriers() == []


def test_a_thousand_members_are_all_shown_and_found(visit, address, tokens, remember):
    """How long that takes is in make bench."""
    remember.record(fleets.mixed(1000))
    frame = visit(address, tokens["vera"]).fleet()
    assert frame.locator(".row").count() == 1002
    frame.locator("#search").fill("madrid-0975")
    assert names(frame) == ["madrid-0975"]


def test_every_state_has_a_colour(static):
    style = (static / "fleet.css").read_text()
    script = (static / "fleet.js").read_text()
    for state in records.STATES:
        assert f".{state}" in style
        assert f'"{state}"' in script


def test_an_opened_row_is_no_wider_than_a_narrow_window(visit, address, tokens, fleet):
    seen = visit(address, tokens["vera"], size="narrow")
    frame = seen.fleet("host=europe&cluster=berlin-00")
    frame.locator(".timeline").wait_for()
    assert frame.locator("html").evaluate("each => each.scrollWidth - each.clientWidth") == 0
