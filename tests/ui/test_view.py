"""What the page is told, made of a record and of runs: no server, no database."""

import datetime
import json
import re
from pathlib import Path

import pytest

from include.fleet import deciding, records
from include.fleet_ui import view
from tests.ui import fleets
from tests.ui.fleets import MINUTES, NOW

MAY = {"join": True, "leave": True, "reconcile": True}
GOING = view.Reconciling(known=True, due=NOW + 8 * MINUTES, last=view.Run("reconcile_fleet", "reconcile-1", "success"))


def stored(document, *runs, reconciling=GOING, now=NOW + 2 * MINUTES):
    return view.Stored(now=now, document=document, reconciling=reconciling, runs=list(runs))


def join(state, *, cluster="berlin-09", host="ks_host", at=NOW + MINUTES, **more):
    return view.Run(deciding.JOIN_DAG, "j1", state, at=at, host=host, cluster=cluster, **more)


def shown(*given, **more):
    return view.overview(stored(*given, **more), may=MAY)


def row(found, cluster):
    return next(each for host in found["hosts"] for each in host["members"] if each["cluster"] == cluster)


def test_each_member_of_the_record_has_a_row_under_its_host():
    record = fleets.mixed()
    found = shown(record)
    assert [(host["name"], len(host["members"])) for host in found["hosts"]] == [("europe", 21), ("asia", 11)]
    assert {each["connection"] for host in found["hosts"] for each in host["members"]} == {"direct", "proxy"}
    assert found["counts"] == record["counts"]
    assert sum(found["counts"].values()) == 32
    assert found["record"]["observed_at"] == "2026-11-26T12:00:00Z"
    assert (found["nothing"], found["stale"]) == ("", "")


def test_a_row_says_how_the_member_is_and_why_and_what_to_do():
    found = row(shown(fleets.mixed()), "berlin-00")
    assert found["state"] == "failed"
    assert found["since"] == "2026-11-26T12:00:00Z"
    assert found["sentence"].startswith("The agent does not reach tower at http://139.198.120.120:8080: connection ref")
    assert "Its clusterRole is none, not member. See run reconcile--join--europe--berlin-00" in found["sentence"]
    assert found["names"]["dag_id"] == "join_member_cluster"
    assert found["names"]["run_id"] in found["sentence"]
    assert found["next"] == "Open port 8080 of the host's load balancer to the member."
    assert found["waits"].startswith("Tried once for this")
    assert (found["connection"], found["nodes"], found["kubesphere"]) == ("direct", 1, "v3.4.0")
    assert found["credential_expires"] == "2026-12-01T12:00:00Z"


def test_the_fleet_of_the_tests_has_a_member_in_every_state_but_those_of_a_leave():
    assert set(fleets.mixed()["counts"]) == set(records.STATES) - {"leaving", "left"}


def test_what_the_page_reads_of_a_row_is_in_the_schema_of_records():
    members = records.SCHEMA["properties"]["hosts"]["items"]["properties"]["members"]["items"]["properties"]
    assert {*view._OF_ROW, *view._MAYBE_OF_ROW, *view._OF_DETAIL} <= set(members)
    hosts = records.SCHEMA["properties"]["hosts"]["items"]
    assert set(view._OF_HOST) <= set(hosts["required"])
    assert set(view._OF_RECORD) <= set(records.SCHEMA["required"])
    assert set(view._OF_ROW) <= set(
        records.SCHEMA["properties"]["hosts"]["items"]["properties"]["members"]["items"]["required"]
    )


def test_a_run_that_has_begun_since_shows_its_member_as_joining():
    assert row(shown(fleets.mixed()), "berlin-14")["state"] == "healthy"
    at_work = row(shown(fleets.mixed(), join("running", cluster="berlin-14")), "berlin-14")
    assert (at_work["state"], at_work["since"]) == ("joining", "2026-11-26T12:01:00Z")
    assert at_work["sentence"] == "Run j1 is at work on it."
    assert at_work["last"] == {
        "dag_id": "join_member_cluster",
        "run_id": "j1",
        "state": "running",
        "at": "2026-11-26T12:01:00Z",
    }


def test_a_leave_that_has_begun_since_shows_its_member_as_leaving():
    run = view.Run(deciding.LEAVE_DAG, "l1", "queued", at=NOW, host="ks_host", cluster="berlin-14")
    found = shown(fleets.mixed(), run)
    assert row(found, "berlin-14")["state"] == "leaving"
    assert found["counts"]["leaving"] == 1


def test_a_run_that_only_plans_changes_nothing_of_what_is_shown():
    told = row(shown(fleets.mixed(), join("running", cluster="berlin-14", changes=False)), "berlin-14")
    assert told["state"] == "healthy"
    assert "last" not in told


def test_a_run_that_has_ended_since_is_told_beside_what_was_recorded():
    told = row(shown(fleets.mixed(), join("success", cluster="berlin-00", at=NOW + MINUTES)), "berlin-00")
    assert told["state"] == "failed"
    assert told["news"] == "Run j1 has ended since: success. The next reconcile tells how the member is."
    earlier = row(shown(fleets.mixed(), join("failed", cluster="berlin-00", at=NOW - MINUTES)), "berlin-00")
    assert "news" not in earlier


def test_a_member_of_the_same_name_on_another_host_is_another_one():
    found = shown(fleets.mixed(), join("running", cluster="berlin-14", host="ks_asia"))
    assert row({"hosts": found["hosts"][:1]}, "berlin-14")["state"] == "healthy"
    assert row({"hosts": found["hosts"][1:]}, "berlin-14")["state"] == "joining"


def test_a_member_that_no_record_tells_of_is_there_while_it_is_joined():
    found = shown(fleets.mixed(), join("running", cluster="new"), join("failed", cluster="gone"))
    assert row(found, "new")["state"] == "joining"
    assert "gone" not in str(found)
    without = shown(None, join("running", cluster="new", host="ks_new"))
    assert [(host["name"], host["members"][0]["cluster"]) for host in without["hosts"]] == [("ks_new", "new")]


@pytest.mark.parametrize(
    ("reconciling", "said"),
    [
        pytest.param(view.Reconciling(known=False), "Airflow has not found the DAG", id="no-dag"),
        pytest.param(view.Reconciling(known=True), "Nobody has looked at the fleet yet", id="no-run"),
        pytest.param(
            view.Reconciling(known=True, last=view.Run("reconcile_fleet", "r", "running")),
            "is being looked at for the first time",
            id="running",
        ),
        pytest.param(
            view.Reconciling(known=True, last=view.Run("reconcile_fleet", "r", "failed")),
            "Run r has ended without a record: failed. Its log says why",
            id="failed",
        ),
    ],
)
def test_where_there_is_nothing_to_show_the_page_says_why_and_what_to_do(reconciling, said):
    found = shown(None, reconciling=reconciling)
    assert found["record"] is None
    assert said in found["nothing"]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"version": records.VERSION + 1, "hosts": []}, id="of-another-version"),
        pytest.param("s3://bucket/xcom/record", id="kept-elsewhere"),
    ],
)
def test_a_record_that_is_not_understood_is_said_to_be_one(document):
    assert "another version of this project" in shown(document)["nothing"]


@pytest.mark.parametrize(
    ("reconciling", "said"),
    [
        pytest.param(GOING, "", id="all-is-well"),
        pytest.param(view.Reconciling(known=True, paused=True), "is paused", id="paused"),
        pytest.param(
            view.Reconciling(known=True, due=NOW - 4 * MINUTES), "was due at 2026-11-26T11:56:00Z", id="nobody-begins"
        ),
        pytest.param(view.Reconciling(known=True, due=NOW - 2 * MINUTES), "", id="about-to-begin"),
        pytest.param(
            view.Reconciling(known=True, due=NOW, last=view.Run("reconcile_fleet", "r", "failed")),
            "run r, has failed. What you see is older",
            id="failed",
        ),
        pytest.param(
            view.Reconciling(known=True, due=NOW, last=view.Run("reconcile_fleet", "reconcile-1", "failed")),
            "run reconcile-1, has left this record and failed after that; its log",
            id="failed-after-its-record",
        ),
        pytest.param(
            view.Reconciling(known=True, due=NOW - 9 * MINUTES, last=view.Run("reconcile_fleet", "r", "running")),
            "",
            id="looking",
        ),
    ],
)
def test_old_data_is_said_to_be_old_and_why(reconciling, said):
    stale = shown(fleets.mixed(), reconciling=reconciling)["stale"]
    assert said in stale
    assert bool(said) == bool(stale)


def test_what_a_dry_run_would_have_started_is_not_told_as_history():
    hosts = [fleets.host("europe", "ks_host", [fleets.declared("m1", 1, "role")])]
    dry = fleets.decided(hosts, dry_run=True)
    assert len(dry["actions"]) == 1
    assert view.member(dry, host="europe", cluster="m1")["attempts"] == []
    real = fleets.decided(hosts)
    assert [each["state"] for each in view.member(real, host="europe", cluster="m1")["attempts"]] == ["queued"]


def test_a_member_that_the_record_does_not_have_is_none():
    record = fleets.mixed()
    assert view.member(record, host="europe", cluster="none") is None
    assert view.member(record, host="none", cluster="berlin-00") is None
    assert view.member(None, host="europe", cluster="berlin-00") is None


def test_phases_are_in_the_order_in_which_they_began_and_those_that_have_not_are_last():
    later = NOW + datetime.timedelta(milliseconds=250)
    tasks = [
        view.Phase("verify_join", "", None, None, 0),
        view.Phase("fetch_jwt", "success", later, later, 1),
        view.Phase("preflight", "success", NOW, later, 2),
    ]
    found = view.phases(tasks)
    assert [each["task_id"] for each in found] == ["preflight", "fetch_jwt", "verify_join"]
    assert found[0] == {
        "task_id": "preflight",
        "state": "success",
        "started": "2026-11-26T12:00:00.000Z",
        "ended": "2026-11-26T12:00:00.250Z",
        "tries": 2,
    }


def test_the_page_knows_every_state_of_a_record_by_its_place_and_its_colour():
    static = Path(view.__file__).parent / "static"
    (ordered,) = re.findall(r"^const STATES = (\[.*\]);$", (static / "fleet.js").read_text(), re.MULTILINE)
    assert sorted(json.loads(ordered)) == sorted(records.STATES)
    style = (static / "fleet.css").read_text()
    assert [
        state for state in records.STATES if not re.search(rf"^\.{state}\b|, \.{state}\b", style, re.MULTILINE)
    ] == []


def test_states_have_the_order_of_the_page_and_the_colours_of_the_page_on_the_card():
    static = Path(view.__file__).parent / "static"
    (ordered,) = re.findall(r"^const STATES = (\[.*\]);$", (static / "fleet.js").read_text(), re.MULTILINE)
    assert tuple(json.loads(ordered)) == view.WORST_FIRST
    (told,) = re.findall(r"^const PALETTES = \{([^}]*)\};$", (static / "card.js").read_text(), re.MULTILINE)
    palettes = dict(re.findall(r'(\w+): "(\w+)"', told))
    assert set(palettes) == set(records.STATES)
    style = (static / "fleet.css").read_text()
    for state, palette in palettes.items():
        (line,) = re.findall(rf"^(?=.*\.{state}\b.*--solid: ).*$", style, re.MULTILINE)
        assert f"--solid: var(--chakra-colors-{palette}-solid)" in line


def test_the_card_counts_what_people_ask_for_first_also_where_there_is_none():
    hosts = [fleets.host("europe", "ks_host", [fleets.declared("m1", 1)])]
    found = view.summary(stored(fleets.decided(hosts)))
    assert found["counts"] == {"failed": 0, "drifted": 0, "joining": 0, "healthy": 1}
    assert found["worst"] is None


def test_the_card_tells_why_the_worst_member_is_not_well_the_one_that_has_been_so_longest():
    record = fleets.mixed()
    for each in record["hosts"]:
        each["findings"] = []
    (row,) = [row for row in record["hosts"][0]["members"] if row["state"] == "failed"]
    another = {**row, "cluster": "m9", "since": "2026-11-26T11:00:00Z", "sentence": "x" * 400}
    record["hosts"][1]["members"].append(another)
    found = view.summary(stored(record))["worst"]
    assert (found["host"], found["cluster"], found["state"]) == ("asia", "m9", "failed")
    assert found["sentence"] == "x" * 299 + "…"


def test_where_there_is_nothing_to_show_the_card_says_why():
    found = view.summary(stored(None))
    assert "has ended without a record" in found["nothing"]
    assert (found["observed_at"], found["worst"]) == (None, None)


def test_a_console_may_have_a_port_or_an_address_of_ip_version_6():
    for console in ("https://console.example.com:30880", "http://[fd00::1]:30880"):
        record = fleets.mixed()
        record["hosts"][0]["console"] = console
        found = view.place(record, {"host_conn_id": "ks_host", "cluster": "m1"})
        assert found.console_page == f"{console}/clusters/m1/overview"


def test_a_run_that_a_reconcile_has_started_is_by_the_reconcile():
    """Airflow names whoever has started that."""
    assert join("success", by="otto").history["by"] == "otto"
    run = view.Run(deciding.JOIN_DAG, "reconcile--join--europe--m1--1", "success", by="otto")
    assert run.history["by"] == "reconcile"
