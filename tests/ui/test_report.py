"""The report of a run: made of what its tasks have left, and given to those who may read that."""

import datetime
import json

import pytest

from include.fleet import deciding, findings
from include.fleet_ui import report, view
from tests.ui import fleets
from tests.ui.fleets import MINUTES, NOW

SECOND = datetime.timedelta(seconds=1)
ENTRY = {
    "cluster": "member",
    "verb": "change",
    "object": "clusterconfigurations/ks-installer in kubesphere-system",
    "fields": [{"field": "spec.multicluster.clusterRole", "old": "none", "new": "member"}],
}
ROLE = "clusterconfigurations/ks-installer in kubesphere-system of the member changed: role none -> member"
MADE = "clusters/berlin-00 created on the host, direct, server https://10.0.0.1:6443"
DIAGNOSIS = {
    "cause": "P-24",
    "sentence": "The agent does not reach tower.",
    "object": "Deployment cluster-agent",
    "cluster": "member",
    "evidence": "dial tcp 139.198.120.120:8080: connection refused",
    "next": "Open port 8080.",
}
JOINED = {
    "preflight": {
        "findings": [
            findings.ok("name-taken", "The name berlin-00 is free.").report,
            findings.warning("clocks", "The member's clock is 40 s late.", "Set it.").report,
        ]
    },
    "plan": {"entries": [ENTRY], "consequences": ["Its users are logged out."], "notes": [], "markdown": "### Plan"},
    "configure_host": {"unchanged": ["the host asks for role host already"]},
    "configure_member": {"changed": [ROLE]},
    "choose_connection": {"connection": "direct"},
    "import_cluster": {"changed": [MADE]},
    "verify_join": {
        "result": "joined by this run",
        "proof": "a forwarded request returned the member's own UID",
        "identity": "the kube-system UID is the member's",
        "changed": [ROLE, MADE],
        "warnings": ["clocks: The member's clock is 40 s late. Set it."],
        "acceptance": [findings.ok("forwarded-watch", "A watch stayed open for 2 s.").report],
    },
}


def told(state="success", *, dag_id=deciding.JOIN_DAG, reports=JOINED, states=None, left=None, conf=None, **more):
    """What Airflow knows of a run whose tasks began a second after each other."""
    states = {**dict.fromkeys(reports, "success"), **(states or {})}
    run = view.Run(dag_id, "r1", state, NOW, "ks_host", "berlin-00", started=NOW - MINUTES, by="otto")
    begun = [NOW - MINUTES + at * SECOND for at in range(len(states))]
    tasks = [
        view.Phase(task_id, each, at, at + SECOND, 1) for (task_id, each), at in zip(states.items(), begun, strict=True)
    ]
    xcoms = {task_id: {report.RETURNED: value} for task_id, value in reports.items()}
    for task_id, values in (left or {}).items():
        xcoms.setdefault(task_id, {}).update(values)
    return report.Told(NOW + MINUTES, run, conf or {}, phases=tasks, xcoms=xcoms, host="europe", **more)


def failed(left, *, states=None, reports=None):
    given = {key: JOINED[key] for key in ("preflight", "plan", "configure_member")}
    states = states or {"wait_agent_ready": "failed", "verify_join": "upstream_failed"}
    return report.report(told("failed", reports=reports or given, states=states, left=left))


def test_a_join_that_is_proven_says_so_with_what_proves_it():
    found = report.report(told())
    assert found["title"] == "Join of berlin-00, host europe"
    assert found["outcome"] == {
        "kind": "warning",
        "sentence": "berlin-00 is joined to its host, and that is proven: joined by this run.",
    }
    assert [each["of"] for each in found["proofs"]] == ["Secret and connection", "Identity"]
    assert (found["connection"], found["by"], found["started"]) == ("direct", "otto", "2026-11-26T11:59:00Z")
    assert found["next"] == ["clocks: Set it."]
    assert found["failures"] == []


def test_each_change_is_told_once_old_and_new_with_the_task_that_made_it():
    found = report.report(told())
    assert found["changes"] == [
        {"task_id": "configure_member", "sentence": ROLE},
        {"task_id": "import_cluster", "sentence": MADE},
    ]
    assert found["plan"]["summary"] == "Objects to create: 0; objects to change: 1."
    assert found["plan"]["entries"] == [ENTRY]
    assert found["unchanged"] == ["the host asks for role host already"]


def test_the_checks_are_told_by_when_they_were_made():
    groups = report.report(told())["checks"]
    assert [(group["title"], [each["answer"] for each in group["findings"]]) for group in groups] == [
        ("Before the first write", ["ok", "warning"]),
        ("As its users see it", ["ok"]),
    ]


def test_a_task_that_failed_says_the_likely_cause_what_was_seen_and_what_to_do():
    error = "Cluster berlin-00 is not Ready.\nMost likely: The agent does not reach tower. (P-24)"
    left = {"wait_agent_ready": {"diagnosis": DIAGNOSIS, "failure": {"error": error, "changed": []}}}
    found = failed(left)
    assert found["outcome"] == {
        "kind": "failed",
        "sentence": "wait_agent_ready has failed. The agent does not reach tower.",
    }
    (failure,) = found["failures"]
    assert (failure["cause"], failure["evidence"], failure["next"]) == (
        "P-24",
        DIAGNOSIS["evidence"],
        "Open port 8080.",
    )
    assert failure["error"] == "Cluster berlin-00 is not Ready."
    then = "Then clear the task that has failed: it begins with what it finds. Or start a new run."
    assert found["next"] == ["Open port 8080.", "clocks: Set it.", then]


def test_an_error_of_which_no_cause_is_known_is_told_in_its_own_words():
    error = "Preflight stopped the join of berlin-00, nothing was written:\n  - a: b\n  - c: d"
    found = failed({"preflight": {"failure": {"error": error, "changed": []}}}, states={"preflight": "failed"})
    assert found["outcome"]["sentence"] == (
        "preflight has failed. Preflight stopped the join of berlin-00, nothing was written."
    )
    assert found["failures"][0]["error"] == error


def test_a_task_that_died_without_a_word_has_its_log():
    found = failed({})
    assert found["outcome"]["sentence"] == "wait_agent_ready has failed. Its log says why."


def test_what_a_task_wrote_before_it_failed_is_among_the_changes():
    left = {"wait_agent_ready": {"failure": {"error": "no", "changed": ["secrets/a deleted on the host"]}}}
    assert {"task_id": "wait_agent_ready", "sentence": "secrets/a deleted on the host"} in failed(left)["changes"]


def test_a_run_that_was_ended_from_outside_says_that_no_task_has_failed():
    found = report.report(told("failed", reports={"preflight": JOINED["preflight"]}))
    assert "it was ended from outside" in found["outcome"]["sentence"]


def test_what_was_undone_is_told():
    reports = {"end_turn": {"result": "rolled back", "not_undone": ["the role of the host stays"]}}
    found = failed({}, reports=reports)
    assert found["outcome"]["sentence"].endswith(" Rolled back.")
    assert found["left"] == ["the role of the host stays"]


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ({"approve_plan": "awaiting_input"}, "It waits for a person to approve the plan."),
        ({"hand_over": "awaiting_input"}, "It waits for a person to join the member by hand."),
        ({"wait_installer": "deferred"}, "It is at work in wait_installer."),
        ({"fetch_jwt": "running", "plan": "deferred"}, "It is at work in fetch_jwt and plan."),
        ({"fetch_jwt": "up_for_retry"}, "fetch_jwt did not succeed and will be tried again."),
        ({"fetch_jwt": "success"}, "It is about to go on."),
    ],
)
def test_a_run_at_work_says_in_what(states, sentence):
    found = report.report(told("running", reports={}, states=states))
    assert found["outcome"] == {"kind": "running", "sentence": sentence}
    assert found["ended"] is None
    asks = any(state == "awaiting_input" for state in states.values())
    assert found["next"] == (["Answer under Required Actions of this run."] if asks else [])


def test_a_run_that_only_looked_says_that_nothing_was_written():
    checked = report.report(told(reports={"preflight": JOINED["preflight"]}, conf={"preflight_only": True}))
    assert "nothing was written" in checked["outcome"]["sentence"]
    planned = report.report(told(reports={"plan": JOINED["plan"]}, conf={"plan_only": True}))
    assert planned["outcome"]["sentence"] == (
        "It only planned, and has written nothing. Objects to create: 0; objects to change: 1."
    )


def test_a_leave_says_what_was_removed_and_what_is_left():
    reports = {
        "remove_cluster": {"changed": ["clusters/berlin-00 deleted on the host"]},
        "verify_leave": {"result": "left by this run", "left": ["the agent on the member"], "differs": []},
    }
    found = report.report(told(dag_id=deciding.LEAVE_DAG, reports=reports))
    assert (found["title"], found["outcome"]["sentence"]) == (
        "Leave of berlin-00, host europe",
        "berlin-00: left by this run.",
    )
    assert found["left"] == ["the agent on the member"]


def test_a_rotation_says_of_each_member_whether_it_follows():
    reports = {
        "rotate": {"members": [{"cluster": "b", "problem": "b does not answer."}, {"cluster": "a", "seconds": 1.0}]},
        "verify_rotation": {"members": [{"cluster": "a", "proof": "a forwarded request"}]},
    }
    found = report.report(told(dag_id=report.ROTATION_DAG, reports=reports, conf={"host": "europe"}))
    assert found["title"] == "Rotation of the jwtSecret of europe"
    assert found["members"] == [
        {"cluster": "a", "sentence": "a forwarded request"},
        {"cluster": "b", "sentence": "b does not answer."},
    ]


def test_a_reconcile_says_who_is_not_well_and_what_it_has_started():
    members = [fleets.declared("berlin", 1, "role"), fleets.declared("paris", 2)]
    record = fleets.decided([fleets.host("europe", "ks_host", members)])
    left = {view.RECORDING_TASK: {"record": record}}
    found = report.report(told(dag_id=view.RECONCILE_DAG, reports={"decide": []}, left=left))
    assert found["outcome"] == {"kind": "warning", "sentence": "The fleet: 1 drifted, 1 healthy."}
    assert [(each["host"], each["cluster"]) for each in found["record"]["members"]] == [("europe", "berlin")]
    assert [(each["cluster"], each["dag_id"]) for each in found["record"]["actions"]] == [
        ("berlin", "join_member_cluster")
    ]
    assert "### Not well\n\n- europe/berlin, drifted: Its clusterRole is none, not member." in found["markdown"]
    assert "### Started\n\n- join\\_member\\_cluster for europe/berlin: reconcile--" in found["markdown"]
    gone = report.report(told(dag_id=view.RECONCILE_DAG, reports={"decide": []}))
    assert gone["outcome"]["sentence"] == "It has left no record any more: only the last ones are kept."


def test_a_person_who_approved_is_named():
    answers = [report.Answer("approve_plan", "anna", ["Approve"]), report.Answer("hand_over")]
    found = report.report(told(answers=answers))
    assert "- approve_plan: anna chose Approve" in found["markdown"]
    assert found["answers"][1] == {"task_id": "hand_over", "by": "", "chosen": []}


def test_as_markdown_it_has_all_that_the_page_has():
    text = report.report(told(note="by hand"))["markdown"]
    assert text.startswith("## Join of berlin-00, host europe\n\nberlin-00 is joined to its host")
    for part in (
        "- started by: otto\n- note: by hand\n",
        "### What to do next\n\n- clocks: Set it.",
        "- configure\\_member: clusterconfigurations/ks-installer in",
        "role none -\\> member",
        "### Checks, before the first write: 1 of 2 passed\n\n- clocks, warning",
        "### Checks, as its users see it: 1 of 1 passed",
        "| preflight | success | 1.0 | 1 |",
    ):
        assert part in text, part


def test_what_comes_from_a_cluster_is_no_markup_in_markdown():
    left = {
        "wait_agent_ready": {
            "failure": {"error": "no `x`\n# <script>alert(1)</script>", "changed": ["[a](http://b) | *c* <b>\n## d"]}
        }
    }
    text = failed(left)["markdown"]
    assert "    # <script>alert(1)</script>" in text
    assert "- wait\\_agent\\_ready: \\[a\\](http://b) \\| \\*c\\* \\<b\\> \\#\\# d" in text


@pytest.fixture
def run(remember):
    """A join that has failed, as Airflow would have it."""
    conf = {"cluster": "berlin-00", "host_conn_id": "ks_host", "connection": "proxy", "note": fleets.HOSTILE}
    began = NOW - 5 * MINUTES
    tasks = [("preflight", "success"), ("configure_member", "success"), ("wait_agent_ready", "failed")]
    times = {"started": began, "ended": NOW}
    remember.record(fleets.mixed(), at=NOW)
    remember.run(deciding.JOIN_DAG, "j1", "failed", conf=conf, tasks=tasks, **times)
    remember.xcom(deciding.JOIN_DAG, "j1", "preflight", JOINED["preflight"])
    remember.xcom(deciding.JOIN_DAG, "j1", "configure_member", JOINED["configure_member"])
    failure = {"error": f"Cluster {fleets.HOSTILE} is not Ready.", "changed": []}
    remember.xcom(deciding.JOIN_DAG, "j1", "wait_agent_ready", failure, key="failure")
    return {"dag_id": deciding.JOIN_DAG, "run_id": "j1"}


def test_airflow_has_all_that_a_report_is_made_of(client, run):
    found = client["vera"].get("/fleet/report", params=run).raise_for_status().json()
    assert found["title"] == "Join of berlin-00, host europe"
    assert found["host"] == {"name": "europe", "conn_id": "ks_host", "console": "https://console.europe.example.com"}
    assert (found["state"], found["connection"]) == ("failed", "proxy")
    assert found["changes"] == [{"task_id": "configure_member", "sentence": ROLE}]
    assert [each["task_id"] for each in found["phases"]] == ["configure_member", "preflight", "wait_agent_ready"]
    assert fleets.HOSTILE in found["failures"][0]["sentence"]
    assert found["next"][0] == "clocks: Set it."


def test_what_somebody_put_into_a_conf_besides_is_not_sent(client, run):
    text = client["anna"].get("/fleet/report", params=run).text
    assert "note" in json.loads(text)
    assert json.loads(text)["note"] == ""


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"dag_id": "other", "run_id": "j1"}, "Runs of other have no report"),
        ({"dag_id": deciding.JOIN_DAG, "run_id": "none"}, "Airflow has no run none of join_member_cluster any more."),
    ],
)
def test_a_run_without_a_report_is_not_found_and_it_says_why(client, run, query, said):
    response = client["vera"].get("/fleet/report", params=query)
    assert response.status_code == 404
    assert said in response.json()["detail"]


def test_a_run_has_a_report_where_no_record_tells_of_its_host(client, remember):
    conf = {"cluster": "new", "host_conn_id": "ks_new"}
    remember.run(deciding.JOIN_DAG, "j1", "queued", conf=conf)
    found = client["vera"].get("/fleet/report", params={"dag_id": deciding.JOIN_DAG, "run_id": "j1"}).json()
    assert found["title"] == "Join of new, host ks_new"
    assert found["host"]["console"] is None
    assert found["outcome"]["sentence"] == "It is about to go on."


def test_the_tab_is_one_of_each_run(client):
    from airflow.plugins_manager import _get_plugins

    (plugin,) = [each for each in _get_plugins()[0] if each.name == "kubesphere_fleet"]
    (tab,) = [each for each in plugin.external_views if each["destination"] == "dag_run"]
    assert tab["href"] == "fleet/run?dag={DAG_ID}&run={RUN_ID}"
    assert client["vera"].get("/fleet/run?dag=a&run=b").headers["content-type"].startswith("text/html")
