"""The fleet's metrics over HTTP: who gets them, what they say, and what they cost."""

import datetime
import json
import logging
import os
import secrets
from pathlib import Path

import pytest
from prometheus_client import parser

from include.fleet import deciding, records, settings
from include.fleet_ui import metrics
from tests.ui import fleets

PATH = "/fleet/metrics"
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture
def token(tmp_path, monkeypatch):
    """The static token, in a file that the setting names."""
    made = secrets.token_urlsafe(32)
    (tmp_path / "token").write_text(f"{made}\n")
    monkeypatch.setenv("AIRFLOW__FLEET__METRICS_TOKEN_FILE", str(tmp_path / "token"))
    return made


@pytest.fixture
def scrape(client, token):
    def get():
        response = client[None].get(PATH, headers=bearer(token))
        assert response.status_code == 200, response.text
        return samples(response.text)

    return get


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def samples(text):
    """Values by name, and by the values of labels in the order of the labels' names."""
    found = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.documentation.endswith("."), family.name
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_the_static_token_opens_the_metrics(client, remember, token):
    remember.record(fleets.mixed())
    response = client[None].get(PATH, headers=bearer(token))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"


def test_the_static_token_opens_nothing_else(client, remember, token):
    remember.record(fleets.mixed())
    for path in ("/fleet/data", "/fleet/page", "/fleet/member?host=europe&cluster=m", "/fleet/x", "/api/v2/dags"):
        assert client[None].get(path, headers=bearer(token)).status_code in (401, 403), path


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param(bearer("x.y.z"), id="a-token-that-is-none"),
        pytest.param(bearer("x" * 43), id="another-token"),
        pytest.param({"Authorization": "Bearer"}, id="no-token"),
        pytest.param({"Authorization": "Basic YTpi"}, id="a-password"),
        pytest.param({"Authorization": "Bearer \u00fc".encode("latin-1")}, id="not-ascii"),
    ],
)
def test_nobody_else_gets_them_and_is_told_what_to_bring(client, token, headers):
    response = client[None].get(PATH, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert token not in response.text


def test_without_the_setting_no_static_token_opens_them(client, token, monkeypatch):
    monkeypatch.delenv("AIRFLOW__FLEET__METRICS_TOKEN_FILE")
    for given in (token, "None"):
        assert client[None].get(PATH, headers=bearer(given)).status_code == 401


def test_a_new_token_holds_at_once_and_the_former_does_not(client, token, tmp_path):
    (tmp_path / "token").write_text("n" * 32)
    assert client[None].get(PATH, headers=bearer("n" * 32)).status_code == 200
    assert client[None].get(PATH, headers=bearer(token)).status_code == 401


@pytest.mark.parametrize(
    ("write", "said"),
    [
        pytest.param(
            lambda path: path.write_text("s" * 31), "has fewer than 32 characters and opens nothing", id="short"
        ),
        pytest.param(lambda path: path.write_text(""), "has fewer than 32 characters and opens nothing", id="empty"),
        pytest.param(lambda path: path.unlink(), "No such file or directory. Make a token with", id="none"),
        pytest.param(lambda path: path.write_bytes(b"\xff" * 40), "it is not UTF-8. Make a token", id="no-text"),
    ],
)
def test_a_token_that_is_none_opens_nothing_and_the_log_names_the_setting(client, token, caplog, write, said):
    write(Path(os.environ["AIRFLOW__FLEET__METRICS_TOKEN_FILE"]))
    with caplog.at_level(logging.ERROR):
        for given in ("s" * 31, token):
            assert client[None].get(PATH, headers=bearer(given)).status_code == 401
    assert "metrics_token_file in section [fleet]" in caplog.text
    assert said in caplog.text
    assert "s" * 31 not in caplog.text


@pytest.mark.parametrize("user", ["vera", "otto", "anna"])
def test_whoever_may_read_the_record_gets_them(client, remember, user):
    remember.record(fleets.mixed())
    assert client[user].get(PATH).status_code == 200


def test_whoever_may_not_read_the_record_does_not_get_them(client, remember, monkeypatch):
    from airflow.api_fastapi.app import _AuthManagerState

    from tests.ui.test_routes import _Nothing

    monkeypatch.setattr(_AuthManagerState, "instance", _Nothing(_AuthManagerState.instance))
    assert client["vera"].get(PATH).status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_they_can_only_be_read(client, token, method):
    assert client[None].request(method, PATH, headers=bearer(token)).status_code in (401, 405)


def test_members_are_counted_by_host_and_state_with_zeros(remember, scrape):
    record = fleets.mixed()
    remember.record(record)
    members = scrape()["kubesphere_fleet_members"]
    assert set(members) == {(host, state) for host in ("europe", "asia") for state in records.STATES}
    totals = {state: members["europe", state] + members["asia", state] for state in records.STATES}
    assert {state: number for state, number in totals.items() if number} == record["counts"]


def test_what_has_drifted_and_what_is_wrong_with_hosts_is_counted_by_kind(remember, scrape):
    record = fleets.mixed()
    remember.record(record)
    found = scrape()
    rows = [(host["name"], row) for host in record["hosts"] for row in host["members"]]
    with_role = [host for host, row in rows if "role" in {drift["kind"] for drift in row["drift"]}]
    assert found["kubesphere_fleet_drifted_members"][("europe", "role")] == with_role.count("europe") == 1
    wrong = {(each["host"], each["kind"]) for each in record["findings"]}
    assert wrong
    assert set(found["kubesphere_fleet_host_findings"]) == wrong
    assert found["kubesphere_fleet_host_reached"] == {("europe",): 1, ("asia",): 1}


def test_a_host_that_did_not_answer_is_not_reached(remember, scrape):
    remember.record(fleets.decided([fleets.host("europe", "ks_host", [], error="timed out.")]))
    found = scrape()
    assert found["kubesphere_fleet_host_reached"] == {("europe",): 0}
    assert found["kubesphere_fleet_host_findings"] == {("europe", "host-unreachable"): 1}


def test_the_age_of_the_data_can_be_told(remember, scrape):
    remember.record(fleets.mixed())
    assert scrape()["kubesphere_fleet_observed_timestamp_seconds"] == {(): fleets.NOW.timestamp()}


def test_the_end_of_each_credential_is_there_as_a_time_and_in_days(remember, scrape):
    # Of this moment: the days are counted from when they are asked for.
    end = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3, hours=12)).replace(microsecond=0)
    member = fleets.declared("m1", 1) | {"credential_expires": records.moment(end)}
    unknown = fleets.declared("m2", 2) | {"credential_expires": None}
    remember.record(fleets.decided([fleets.host("europe", "ks_host", [member, unknown])]))
    found = scrape()
    assert found["kubesphere_fleet_credential_expiry_timestamp_seconds"] == {("europe", "m1"): end.timestamp()}
    assert found["kubesphere_fleet_credential_remaining_days"] == {("europe", "m1"): pytest.approx(3.5, abs=0.01)}


def test_without_a_record_there_are_the_metrics_of_runs_alone(remember, scrape):
    found = scrape()
    assert {name for name in found if not name.startswith("kubesphere_fleet_repairs")} == set()
    assert set(found["kubesphere_fleet_repairs_total"].values()) == {0}


@pytest.mark.parametrize("document", [{"version": 99, "run_id": "r"}, "kept elsewhere"], ids=["newer", "text"])
def test_a_record_that_is_not_understood_is_none(document):
    assert b"kubesphere_fleet_members{" not in metrics.text(document, durations=[], repairs=[], now=NOW)


def join(remember, run_id, seconds, state="success", **conf):
    """A join whose tasks have taken so many seconds, by id."""
    remember.run(deciding.JOIN_DAG, run_id, state, started=NOW, ended=NOW, conf={"cluster": run_id, **conf})
    for task_id, duration in seconds.items():
        remember.task(deciding.JOIN_DAG, run_id, task_id, "success", duration=duration)


def test_seconds_of_joins_are_in_buckets_by_phase(remember, scrape):
    join(remember, "j1", {"preflight": 0.8, "wait_installer": 200.5})
    join(remember, "j2", {"preflight": 2.0, "wait_installer": 5000})
    found = scrape()
    assert found["kubesphere_fleet_join_phase_duration_seconds_count"] == {("preflight",): 2, ("wait_installer",): 2}
    assert found["kubesphere_fleet_join_phase_duration_seconds_sum"][("wait_installer",)] == 5200.5
    buckets = found["kubesphere_fleet_join_phase_duration_seconds_bucket"]
    assert {le: buckets[le, "preflight"] for le in ("1.0", "2.5", "+Inf")} == {"1.0": 1, "2.5": 2, "+Inf": 2}
    assert {le: buckets[le, "wait_installer"] for le in ("120.0", "300.0", "3600.0", "+Inf")} == {
        "120.0": 0,
        "300.0": 1,
        "3600.0": 1,
        "+Inf": 2,
    }


def test_only_joins_that_have_succeeded_and_were_to_join_are_timed(remember, scrape):
    join(remember, "failed", {"preflight": 1}, state="failed")
    join(remember, "checks", {"preflight": 1}, preflight_only=True)
    join(remember, "plans", {"preflight": 1}, plan_only=True)
    join(remember, "joins", {"preflight": 1}, plan_only=False)
    remember.task(deciding.JOIN_DAG, "joins", "hand_over", "skipped", duration=0.1)
    remember.task(deciding.JOIN_DAG, "joins", "choose_connection", "success")
    assert scrape()["kubesphere_fleet_join_phase_duration_seconds_count"] == {("preflight",): 1}


def test_repairs_are_the_runs_that_reconciles_have_started(remember, scrape):
    for number, state in enumerate(["success", "success", "failed", "running", "queued"]):
        remember.run(deciding.JOIN_DAG, f"reconcile--join--europe--m{number}--0--0--1", state)
    remember.run(deciding.LEAVE_DAG, "reconcile--leave--europe--m9--0--0--1", "failed")
    remember.run(deciding.JOIN_DAG, "manual__2026", "failed")
    remember.run(deciding.JOIN_DAG, "reconcile_-by_hand", "failed")
    found = scrape()
    assert found["kubesphere_fleet_repairs_total"] == {
        ("join_member_cluster", "success"): 2,
        ("join_member_cluster", "failed"): 1,
        ("leave_member_cluster", "success"): 0,
        ("leave_member_cluster", "failed"): 1,
    }
    assert found["kubesphere_fleet_repairs_running"] == {("join_member_cluster",): 2, ("leave_member_cluster",): 0}


def test_the_ids_of_runs_that_a_reconcile_starts_begin_as_they_are_counted():
    record = fleets.decided([fleets.host("europe", "ks_host", [fleets.declared("m1", 1, "role")])])
    assert [action["run_id"].startswith(deciding.RUN_PREFIX) for action in record["actions"]] == [True]


def test_nothing_is_told_that_may_be_secret_or_hostile(client, remember, token):
    remember.record(fleets.mixed())
    conf = {"host_conn_id": "ks_host", "kubeconfig": "sentinel"}
    join(remember, "j1", {"preflight": 1}, **conf)
    text = client[None].get(PATH, headers=bearer(token)).text
    for word in ("sentinel", token, "sha256:", "<script>", "https://", "uid-"):
        assert word not in text.replace("https://prometheus.io", "")


def test_the_number_of_statements_does_not_grow_with_the_fleet(client, remember, token, airflow_database):
    from airflow import settings as airflow_settings
    from sqlalchemy import event

    def statements(number):
        seen = []
        remember.record(fleets.mixed(number) | {"run_id": f"r{number}"})
        for index in range(number):
            join(remember, f"j{number}-{index}", {"preflight": 1})
        note = lambda *given: seen.append(given[2])  # noqa: E731
        event.listen(airflow_settings.engine, "before_cursor_execute", note)
        try:
            client[None].get(PATH, headers=bearer(token)).raise_for_status()
        finally:
            event.remove(airflow_settings.engine, "before_cursor_execute", note)
        return len(seen)

    assert statements(60) == statements(12) == 3


def test_the_path_of_the_token_is_all_that_the_settings_hold(token):
    read = settings.Settings.read({"metrics_token_file": os.environ["AIRFLOW__FLEET__METRICS_TOKEN_FILE"]}.get)
    assert read.metrics_token_file.endswith("/token")
    assert token not in json.dumps(repr(read))
