"""The plugin's routes over HTTP: who gets what, and that nobody gets more."""

import datetime
import json
import re

import pytest

from include.fleet import deciding
from include.fleet_ui import view
from tests.ui import fleets

SCRIPTS = ("airflow.js", "card.js", "fleet.js", "form.js", "report.js", "timeline.js")
FILES = ("page", "run", "fleet.css", *SCRIPTS, "icon.svg", "icon-dark.svg")
RUN = "dag_id=join_member_cluster&run_id=link"
READING = (
    "data",
    "summary",
    "member?host=europe&cluster=berlin-00",
    "report?dag_id=reconcile_fleet&run_id=reconcile-1",
    *FILES,
)
LEADING = (f"of-run?{RUN}", f"console-of-run?{RUN}")
WRITING = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
def fleet(remember):
    remember.record(fleets.mixed())
    remember.run("join_member_cluster", "link", "success", conf={"cluster": "berlin-07", "host_conn_id": "ks_host"})
    return remember


def test_every_route_and_every_file_is_walked_here(airflow_database, static):
    from include.fleet_ui import app

    walked = {f"/{path.partition('?')[0]}" for path in (*READING, *LEADING)} - {f"/{name}" for name in FILES}
    assert {route.path for route in app.create().routes} == {*walked, "/metrics", "/{name}"}
    assert {path.name for path in static.iterdir()} == {"fleet.html", "report.html", *FILES} - {"page", "run"}


def test_every_route_but_that_of_the_metrics_takes_a_user_that_is_signed_in(airflow_database):
    """Whatever routes there are: one that is added is not forgotten."""
    from airflow.api_fastapi.core_api.security import get_user

    from include.fleet_ui import app

    open_to_others = {
        route.path
        for route in app.create().routes
        if get_user not in {dependency.call for dependency in route.dependant.dependencies}
    }
    assert open_to_others == {"/metrics"}, "which has a test of its own, test_metrics.py"


@pytest.mark.parametrize("path", [*READING, *LEADING])
def test_nobody_gets_anything_without_signing_in(client, fleet, path):
    response = client[None].get(f"/fleet/{path}")
    assert response.status_code == 401
    assert response.json() == {"detail": "Not authenticated"}


@pytest.mark.parametrize("path", ["data", "page", "openapi.json", "docs", "redoc", "static/fleet.js"])
def test_a_token_that_is_none_opens_nothing(client, path):
    assert client[None].get(f"/fleet/{path}", headers={"Authorization": "Bearer x.y.z"}).status_code in (401, 403, 404)


@pytest.mark.parametrize("user", ["vera", "otto", "anna"])
@pytest.mark.parametrize("path", READING)
def test_whoever_may_read_the_dags_sees_the_page(client, fleet, path, user):
    response = client[user].get(f"/fleet/{path}")
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("user", [None, "vera", "otto"])
@pytest.mark.parametrize("method", WRITING)
def test_no_route_writes(client, fleet, method, user):
    for path in (*READING, *LEADING):
        assert client[user].request(method, f"/fleet/{path}").status_code == 405


def test_a_viewer_is_offered_nothing_and_gets_nothing_started(client, fleet):
    assert client["vera"].get("/fleet/data").json()["may"] == {"join": False, "leave": False, "reconcile": False}
    body = {"logical_date": None, "conf": {}}
    for dag_id in (deciding.JOIN_DAG, deciding.LEAVE_DAG, "reconcile_fleet"):
        assert client["vera"].post(f"/api/v2/dags/{dag_id}/dagRuns", json=body).status_code == 403


def test_an_operator_starts_a_join_with_what_the_page_offers(client, fleet):
    assert client["otto"].get("/fleet/data").json()["may"] == {"join": True, "leave": True, "reconcile": True}
    found = client["otto"].get("/fleet/member", params={"host": "europe", "cluster": "berlin-00"}).json()
    body = {"logical_date": None, "conf": found["member"]["conf"], "dag_run_id": "join_berlin"}
    started = client["otto"].post(f"/api/v2/dags/{deciding.JOIN_DAG}/dagRuns", json=body)
    assert started.status_code == 200, started.text
    (host, *_) = client["otto"].get("/fleet/data").json()["hosts"]
    row = next(row for row in host["members"] if row["cluster"] == "berlin-00")
    assert (row["state"], row["sentence"]) == ("joining", "Run join_berlin is at work on it.")
    again = client["otto"].get("/fleet/member", params={"host": "europe", "cluster": "berlin-00"}).json()
    assert [(run["run_id"], run["by"]) for run in again["runs"]] == [("join_berlin", "otto")]


class _NoRuns:
    """An auth manager whose users may read records, and no runs."""

    def __init__(self, real):
        self._real = real

    def __getattr__(self, name):
        return getattr(self._real, name)

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        reads_xcoms = method == "GET" and access_entity is not None and access_entity.name == "XCOM"
        return bool(reads_xcoms and details and details.id == "reconcile_fleet")


class _Nothing(_NoRuns):
    """An auth manager whose users may sign in."""

    def is_authorized_dag(self, **_):
        return False


def test_what_a_user_may_not_read_in_airflow_is_not_read_here_either(client, fleet, monkeypatch):
    from airflow.api_fastapi.app import _AuthManagerState

    fleet.run("join_member_cluster", "j1", "failed", conf={"cluster": "berlin-00", "host_conn_id": "ks_host"})
    asked = {"host": "europe", "cluster": "berlin-00"}
    real = _AuthManagerState.instance
    assert "j1" in client["vera"].get("/fleet/data").text
    monkeypatch.setattr(_AuthManagerState, "instance", _NoRuns(real))
    shown = client["vera"].get("/fleet/data")
    assert shown.status_code == 200
    assert "j1" not in shown.text
    assert shown.json()["reconcile"]["last"] is None
    found = client["vera"].get("/fleet/member", params=asked).json()
    assert (found["runs"], found["phases"], found["last"]) == ([], [], None)
    monkeypatch.setattr(_AuthManagerState, "instance", _Nothing(real))
    assert client["vera"].get("/fleet/data").status_code == 403
    assert client["vera"].get("/fleet/member", params=asked).status_code == 403
    report = {"dag_id": "join_member_cluster", "run_id": "j1"}
    assert client["vera"].get("/fleet/report", params=report).status_code == 403
    assert client["vera"].get("/fleet/summary").status_code == 403


def test_every_answer_says_what_the_page_may_load_and_that_nobody_may_keep_it(client, fleet):
    for path in (*READING, *LEADING, "nothing", "member"):
        headers = client["vera"].get(f"/fleet/{path}").headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy.pop("default-src") == "'none'"
        assert set(policy.values()) <= {"'self'", "'none'"}
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("page", ["fleet.html", "report.html"])
def test_the_pages_hold_no_script_and_no_style_of_their_own_and_name_no_other_host(static, page):
    page = (static / page).read_text()
    assert "<style" not in page
    assert " style=" not in page
    assert "<script>" not in page
    assert not re.search(r"\son\w+=", page)
    for path in static.iterdir():
        text = path.read_text()
        assert "http://" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "https://" not in text
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert way not in text, "text becomes nodes, never markup"


def test_nothing_secret_is_sent(client, fleet):
    """A conf may hold what somebody has mistaken it for: of a run's conf only the member's name leaves."""
    conf = {"cluster": "berlin-00", "host_conn_id": "ks_host", "kubeconfig": "sentinel-token", "note": "sentinel-note"}
    fleet.run("join_member_cluster", "j1", "failed", conf=conf)
    asked = client["anna"].get("/fleet/member", params={"host": "europe", "cluster": "berlin-00"}).text
    report = client["anna"].get("/fleet/report", params={"dag_id": "join_member_cluster", "run_id": "j1"}).text
    sent = client["anna"].get("/fleet/data").text + asked + report
    assert "j1" in sent
    assert "sentinel" not in sent


def test_what_a_cluster_is_described_as_is_sent_as_json_text(client, fleet):
    response = client["vera"].get("/fleet/data")
    assert response.headers["content-type"] == "application/json"
    described = [row["description"] for host in response.json()["hosts"] for row in host["members"]]
    assert fleets.HOSTILE in described


def test_a_member_that_nobody_knows_is_not_found(client, fleet):
    response = client["vera"].get("/fleet/member", params={"host": "europe", "cluster": "none"})
    assert response.status_code == 404
    assert response.json()["detail"] == "Neither a record nor a run tells of a member 'none' of host 'europe'."


def test_an_opened_row_has_conditions_drift_history_and_the_phases_of_the_last_run(client, fleet):
    began = datetime.datetime(2026, 11, 26, 11, 50, tzinfo=datetime.UTC)
    ended = began + datetime.timedelta(seconds=71.25)
    conf = {"cluster": "berlin-00", "host_conn_id": "ks_host"}
    tasks = [("preflight", "success"), ("fetch_jwt", "failed")]
    fleet.run("join_member_cluster", "j1", "failed", started=began, ended=ended, conf=conf, tasks=tasks)
    fleet.run("join_member_cluster", "j2", "success", conf={**conf, "plan_only": True})
    fleet.run("join_member_cluster", "other", "success", conf={**conf, "host_conn_id": "ks_asia"})
    found = client["vera"].get("/fleet/member", params={"host": "europe", "cluster": "berlin-00"}).json()
    assert [(run["run_id"], run["changes"]) for run in found["runs"]] == [("j2", False), ("j1", True)]
    assert found["last"]["run_id"] == "j1"
    assert [(each["task_id"], each["state"]) for each in found["phases"]] == [
        ("fetch_jwt", "failed"),
        ("preflight", "success"),
    ]
    assert (found["last"]["started"], found["last"]["ended"]) == ("2026-11-26T11:50:00Z", "2026-11-26T11:51:11Z")
    assert found["phases"][0]["ended"] == "2026-11-26T11:51:11.250Z"
    assert [each["type"] for each in found["member"]["conditions"]] == ["Initialized", "Ready"]
    assert [each["kind"] for each in found["member"]["drift"]] == ["role"]
    assert [each["state"] for each in found["member"]["attempts"]] == ["failed"]


def test_a_member_that_is_joined_for_the_first_time_is_there_before_a_record_tells_of_it(client, remember):
    conf = {"cluster": "new", "host_conn_id": "ks_host"}
    remember.run("join_member_cluster", "j1", "running", conf=conf, tasks=[("preflight", "running")])
    (host,) = client["vera"].get("/fleet/data").json()["hosts"]
    assert [(row["cluster"], row["state"]) for row in host["members"]] == [("new", "joining")]
    asked = {"host": host["name"], "cluster": "new", "conn_id": host["conn_id"]}
    found = client["vera"].get("/fleet/member", params=asked).json()
    assert found["member"] is None
    assert [each["task_id"] for each in found["phases"]] == ["preflight"]


def test_the_number_of_statements_does_not_grow_with_the_fleet(client, remember, airflow_database):
    from airflow import settings
    from sqlalchemy import event

    def statements(number):
        seen = []
        remember.record(fleets.mixed(number) | {"run_id": f"r{number}"})
        for index in range(number):
            conf = {"cluster": f"c{index}", "host_conn_id": "ks_host"}
            remember.run("join_member_cluster", f"j{number}-{index}", "success", conf=conf)
        note = lambda *given: seen.append(given[2])  # noqa: E731
        event.listen(settings.engine, "before_cursor_execute", note)
        try:
            client["vera"].get("/fleet/data").raise_for_status()
        finally:
            event.remove(settings.engine, "before_cursor_execute", note)
        return len(seen)

    assert statements(60) == statements(12) < 12


def test_the_newest_record_is_shown(client, remember):
    now = datetime.datetime.now(datetime.UTC)
    remember.record(fleets.mixed(12) | {"run_id": "newer"}, at=now)
    remember.record(fleets.mixed(12) | {"run_id": "older"}, at=now - datetime.timedelta(minutes=10))
    assert json.loads(client["vera"].get("/fleet/data").text)["record"]["run_id"] == "newer"


def test_the_card_has_the_numbers_of_the_page_the_worst_first_and_one_reason(client, fleet):
    shown, page = client["vera"].get("/fleet/summary").json(), client["vera"].get("/fleet/data").json()
    assert shown["counts"] == page["counts"]
    assert list(shown["counts"]) == [state for state in view.WORST_FIRST if state in page["counts"]]
    assert shown["observed_at"] == page["record"]["observed_at"]
    assert shown["worst"] == {
        "host": "asia",
        "cluster": "",
        "state": "failed",
        "sentence": "Deployment ks-controller-manager on the host has no Pod that is available.",
    }


def test_the_card_of_a_thousand_members_takes_a_few_hundred_bytes(client, remember):
    remember.record(fleets.mixed(1000))
    sent = client["vera"].get("/fleet/summary")
    assert sum(sent.json()["counts"].values()) == 1002
    assert len(sent.content) < 700


def test_the_card_of_whoever_may_read_no_runs_has_what_was_recorded(client, fleet, monkeypatch):
    from airflow.api_fastapi.app import _AuthManagerState

    fleet.run("join_member_cluster", "j1", "running", conf={"cluster": "berlin-14", "host_conn_id": "ks_host"})
    seen = client["vera"].get("/fleet/summary").json()["counts"]
    monkeypatch.setattr(_AuthManagerState, "instance", _NoRuns(_AuthManagerState.instance))
    recorded = client["vera"].get("/fleet/summary").json()["counts"]
    assert (seen["joining"], seen["healthy"]) == (recorded["joining"] + 1, recorded["healthy"] - 1)


@pytest.mark.parametrize("user", ["vera", "otto", "anna"])
def test_a_run_leads_to_its_member_on_the_page_and_in_the_console(client, fleet, user):
    """With Airflow's own address before it, which may have a path."""
    page, console = (client[user].get(f"/fleet/{path}") for path in LEADING)
    assert (page.status_code, console.status_code) == (307, 307)
    assert page.headers["location"] == "../plugin/fleet/fleet/page?host=europe&cluster=berlin-07"
    assert console.headers["location"] == "https://console.europe.example.com/clusters/berlin-07/overview"


@pytest.mark.parametrize(
    ("run", "page", "console"),
    [
        pytest.param(
            ("rotate_jwt_secret", {"host": "asia"}),
            "../plugin/fleet/fleet/page?host=asia",
            "https://console.asia.example.com/clusters",
            id="host",
        ),
        pytest.param(("reconcile_fleet", {}), "../plugin/fleet", None, id="fleet"),
        pytest.param(
            ("join_member_cluster", {"cluster": "new", "host_conn_id": "ks_new"}),
            "../plugin/fleet/fleet/page?host=ks_new&cluster=new",
            None,
            id="host-that-no-record-has",
        ),
    ],
)
def test_a_run_leads_where_what_it_is_about_is_shown(client, fleet, run, page, console):
    dag_id, conf = run
    fleet.run(dag_id, "about", "success", conf=conf)
    asked = {"dag_id": dag_id, "run_id": "about"}
    assert client["vera"].get("/fleet/of-run", params=asked).headers["location"] == page
    led = client["vera"].get("/fleet/console-of-run", params=asked)
    assert led.headers.get("location") == console
    assert led.status_code == (307 if console else 404)


@pytest.mark.parametrize(
    "console",
    [
        pytest.param(None, id="none"),
        pytest.param("javascript:alert(1)//", id="script"),
        pytest.param("https://console.example.com@evil.example.com", id="with-a-user"),
        pytest.param("https://console.example.com/\r\nSet-Cookie: a=b", id="with-a-header"),
        pytest.param("//evil.example.com", id="without-a-scheme"),
    ],
)
def test_an_address_that_is_none_of_a_web_site_leads_nowhere_and_it_is_said_what_to_write(client, fleet, console):
    record = fleets.mixed()
    record["hosts"][0]["console"] = console
    fleet.record(record | {"run_id": "newer"})
    led = client["vera"].get(f"/fleet/console-of-run?{RUN}")
    assert led.status_code == 404
    assert led.text == (
        "The address of the KubeSphere console of host europe is not known here. Write it in the inventory, at this "
        "host, as console: https://ADDRESS[:PORT]. The link works after the next reconcile."
    )


def test_no_address_is_taken_from_a_query_or_from_a_conf(client, fleet):
    conf = {"cluster": "../../x", "host_conn_id": "ks_host", "console": "https://evil.example.com"}
    fleet.run("join_member_cluster", "odd", "success", conf=conf)
    asked = {"dag_id": "join_member_cluster", "run_id": "odd", "console": "https://evil.example.com"}
    led = client["vera"].get("/fleet/console-of-run", params=asked)
    assert led.headers["location"] == "https://console.europe.example.com/clusters/..%2F..%2Fx/overview"


def test_a_run_that_may_not_be_read_leads_nowhere(client, fleet, monkeypatch):
    from airflow.api_fastapi.app import _AuthManagerState

    for dag_id, status in (("join_member_cluster", 404), ("another", 403), ("~", 403)):
        asked = {"dag_id": dag_id, "run_id": "none"}
        assert client["vera"].get("/fleet/of-run", params=asked).status_code == status
    monkeypatch.setattr(_AuthManagerState, "instance", _NoRuns(_AuthManagerState.instance))
    assert [client["vera"].get(f"/fleet/{path}").status_code for path in LEADING] == [403, 403]


@pytest.mark.parametrize("state", ["running", "deferred", "awaiting_input", "success", "failed", "skipped", None])
def test_a_task_has_its_links_whatever_state_it_is_in(client, fleet, state):
    fleet.task("join_member_cluster", "link", "take_turn", state)
    links = client["vera"].get("/api/v2/dags/join_member_cluster/dagRuns/link/taskInstances/take_turn/links")
    assert links.status_code == 200, links.text
    assert links.json()["extra_links"] == {
        "Fleet page": "fleet/of-run?dag_id=join_member_cluster&run_id=link",
        "KubeSphere console": "fleet/console-of-run?dag_id=join_member_cluster&run_id=link",
    }
