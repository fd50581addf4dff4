"""From costs to JSON lines, and from these to the page."""

import collections
import datetime
import json

import pytest

from bench import joins, lines, markdown, records, table

MACHINE = {"load": 0.5, "cores": 2, "python": "3.11.7", "airflow": "3.3.2", "kubectl": "v1.37.1"}
BEGAN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
START_UP = {"interpreter": {"seconds": 0.05, "cpu_seconds": 0.02, "max_rss_mib": 9}}


def span(task_id, *, slot=1.0):
    return records.Span(
        task_id=task_id,
        began=BEGAN,
        ended=BEGAN + datetime.timedelta(seconds=3),
        slot=slot,
        idle=0.25,
        start_up=0.5,
    )


def by_runbook(seconds):
    return joins.Cost(seconds=seconds, requests=collections.Counter({"host: get clusters m1": 40}))


def by_dag(seconds, *, checks=10, others=50, slot=1.0):
    by_task = collections.Counter({"preflight": checks, "verify_join": checks, "import_cluster": others})
    return joins.DagCost(
        seconds=seconds,
        requests=collections.Counter({"host: get clusters m1": by_task.total()}),
        requests_by_task=by_task,
        first_requests={"preflight": 0.75},
        spans=(span("preflight", slot=slot), span("verify_join", slot=slot)),
        rest=0.1,
    )


def line(*, runbooks=(20.0, 21.0, 30.0), dags=(25.0, 24.0, 26.0), run=15.0, **cost):
    return lines.of_joins(
        "direct",
        run,
        runbooks=[by_runbook(seconds) for seconds in runbooks],
        dags=[by_dag(seconds, **cost) for seconds in dags],
        on=MACHINE,
    )


def test_the_ratio_is_that_of_the_medians():
    found = line()
    assert found["runbook"]["seconds"] == {"median": 21.0, "all": [20.0, 21.0, 30.0]}
    assert found["dag"]["seconds"]["median"] == 25.0
    assert found["ratio"] == 1.19


def test_a_bar_that_is_missed_is_told():
    held = {bar["what"]: bar["holds"] for bar in line()["bars"]}
    assert held == {"ratio": True, "requests outside checks": True}
    missed = {bar["what"]: bar["holds"] for bar in line(dags=(30.0, 30.0, 30.0), others=61)["bars"]}
    assert missed == {"ratio": False, "requests outside checks": False}


def test_one_join_with_too_many_requests_misses_the_bar():
    dags = [by_dag(25.0), by_dag(25.0), by_dag(25.0, others=61)]
    found = lines.of_joins("direct", 15.0, runbooks=[by_runbook(20.0)], dags=dags, on=MACHINE)
    assert [bar["holds"] for bar in found["bars"]] == [True, False]


def test_with_an_installer_that_is_done_at_once_the_ratio_has_no_bar():
    found = line(run=0.0)
    assert found["ratio"] == 1.19
    assert [bar["what"] for bar in found["bars"]] == ["requests outside checks"]


def test_requests_of_checks_are_left_out_of_those_that_have_a_bar():
    assert line(checks=10, others=50)["dag"]["requests"]["median"] == 70
    assert line(checks=10, others=50)["dag"]["requests_outside_checks"]["median"] == 50


def test_the_seconds_of_a_task_are_told_by_what_it_waited_for():
    told = {"idle": 0.25, "start_up": 0.5, "slot": 1.5, "deferred": 1.5}
    assert line(slot=1.5)["dag"]["tasks"] == {"preflight": {**told, "to_first_request": 0.75}, "verify_join": told}
    assert line(slot=1.5)["dag"]["slot_seconds"]["median"] == 3.0


def test_the_page_is_made_of_the_lines_and_keeps_its_text(tmp_path, monkeypatch):
    page = tmp_path / "performance.md"
    page.write_text(f"Before.\n\n{table.BEGIN}\n\nformer tables\n\n{markdown.END}\nAfter.\n")
    monkeypatch.setattr(table, "DOCUMENT", page)
    start_up = lines.of_start_up(START_UP, no_op={"median": 0.4, "all": [0.4]}, on=MACHINE)
    found = [json.loads(json.dumps(each)) for each in (start_up, line(), line(run=0.0))]
    table.write(found)
    text = page.read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("After.\n")
    assert "former tables" not in text
    assert "| direct | 15 | 21.0 (20.0 to 30.0) | 25.0 (24.0 to 26.0) | 1.19 | 40 | 70 | 50 | 2.0 |" in text
    assert "| preflight | 0.2 | 0.5 | 1.0 | 0.8 | 2.0 | 10 |" in text
    assert "| direct | 15 | ratio | 1.3 | yes |" in text
    assert "| interpreter | 0.05 | 0.02 | 9 |" in text
    assert "medians of 3" in text
    table.write(found)
    assert page.read_text() == text


def test_a_page_without_a_place_for_the_tables_is_refused(tmp_path):
    (tmp_path / "page.md").write_text("Nothing.\n")
    with pytest.raises(LookupError, match="has no line"):
        markdown.replace(tmp_path / "page.md", begin=table.BEGIN, text="x")
    assert (tmp_path / "page.md").read_text() == "Nothing.\n"


def test_the_document_tells_what_the_fleet_page_costs():
    few = {"seconds": 0.0123, "bytes": 15000, "bytes_sent": 2000, "appears": 0.34}
    line = {"page": {"30 members": few, "1000 members": {**few, "seconds": 0.21}}, "members_ratio": 33.3}
    told = table.shown({**line, "ratio_to_few": 17.1, "appears": 1.25, "holds": False})
    assert "| 30 members | 12 | 2000 | 15000 | 0.3 |" in told
    assert "The data of 33.3 times as many members take 17.1 times as long (bar: 15)" in told
    assert "all of them are on the page within 1.25 s (bar: 3): NOT held." in told


def test_the_page_tells_what_a_look_at_a_fleet_costs():
    cost = {"seconds": 4.2, "cpu_seconds": 2.5, "max_rss_mib": 300, "observation_bytes": 158000}
    fleet = {"at_once": cost, "requests_of_the_host": 7, "most_requests_of_a_member": 2.0}
    told = table.look(
        {
            "reconcile": {
                "20 members": fleet,
                "200 members": {**fleet, "one_at_a_time": {**cost, "seconds": 9.9}},
            },
            "ratio_to_one_at_a_time": 2.36,
            "ratio_to_few": 7.5,
            "members_ratio": 10.0,
            "holds": True,
        }
    )
    assert "| 200 members, one after the other | 9.9 | 2.5 | 300 | 158000 | 7 | 2 |" in told
    assert "10 times as many members take 7.5 times as long" in told
