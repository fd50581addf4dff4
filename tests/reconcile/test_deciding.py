"""What is started, and what waits and why: decided from what was observed, the last record, and the time."""

import datetime
import itertools
import json
from pathlib import Path

import jsonschema
import pytest

from include.fleet import deciding, records

NOW = datetime.datetime(2026, 11, 26, 12, 0, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)


def drift(kind="role", repair="join", change="none", **more):
    return {"kind": kind, "sentence": f"{kind} has drifted.", "repair": repair, "change": change, **more}


def member(name, *drifts, connection="proxy", paused=False, uid=None):
    return {
        "cluster": name,
        "conf": {"cluster": name, "host_conn_id": "host", "member_conn_id": name, "connection": connection},
        "paused": paused,
        "uid": uid or f"uid-{name}",
        "connection": connection,
        "drift": list(drifts),
    }


def host(*members, undeclared=(), findings=(), turns=(), error="", **more):
    return {
        "name": "europe",
        "conn_id": "host",
        "console": None,
        "error": error,
        "max_joins": 4,
        "prune": False,
        "paused": False,
        "open": True,
        "seconds": 0.1,
        "findings": list(findings),
        "turns": list(turns),
        "members": list(members),
        "undeclared": [
            {"cluster": name, "uid": f"uid-{name}", "connection": "direct", "drift": []} for name in undeclared
        ],
        **more,
    }


class Reconciles:
    """Reconciles one after the other, each with the record before."""

    def __init__(self):
        self.record = None
        self.now = NOW
        self.states = {}
        self.diagnoses = {}

    def __call__(self, *hosts, partial=False, after=10 * MINUTE, **options):
        self.now += after
        seen = {
            "observed_at": "2026-11-26T12:00:00Z",
            "inventory": "fleet.yaml",
            "partial": partial,
            "seconds": 0.5,
            "hosts": list(hosts),
        }
        before = json.dumps([seen, self.record])
        known = deciding.Known(self.states, self.diagnoses)
        made = deciding.decide(seen, self.record, known, run_id="r", now=self.now, **options)
        assert json.dumps([seen, self.record]) == before, "what it was given is left as it was"
        self.record = json.loads(json.dumps(made))
        jsonschema.validate(self.record, records.SCHEMA)
        return self.record

    def ended(self, state, **diagnosis):
        """Have every run that was started end like this."""
        for action in self.record["actions"]:
            self.states[action["run_id"]] = state
            if diagnosis:
                self.diagnoses[action["run_id"]] = diagnosis

    def started(self):
        return [action["cluster"] for action in self.record["actions"]]

    def row(self, name):
        return next(row for each in self.record["hosts"] for row in each["members"] if row["cluster"] == name)

    def state(self, name):
        return self.row(name)["state"]


@pytest.fixture
def reconcile():
    return Reconciles()


def test_the_published_schema_of_a_record_is_the_one_that_is_kept_to():
    published = Path(records.__file__).parents[1] / "fleet_record.schema.json"
    assert json.loads(published.read_text()) == records.SCHEMA


def test_nothing_is_started_for_a_fleet_that_is_as_declared(reconcile):
    record = reconcile(host(member("m1"), member("m2")))
    assert record["counts"] == {"healthy": 2}
    assert record["actions"] == []


def test_a_member_that_has_drifted_is_joined_again_with_its_declared_conf(reconcile):
    (action,) = reconcile(host(member("m1", drift()), member("m2")))["actions"]
    assert (action["dag_id"], action["cluster"]) == ("join_member_cluster", "m1")
    assert action["conf"] == {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", "connection": "proxy"}
    assert action["reasons"] == ["role has drifted."]
    assert deciding_accepts(action["run_id"])


def deciding_accepts(run_id):
    return (
        set(run_id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.~:+-") and len(run_id) < 250
    )


def test_a_run_in_progress_is_not_started_a_second_time(reconcile):
    seen = host(member("m1", drift()))
    reconcile(seen)
    reconcile.ended("running")
    assert reconcile(seen)["actions"] == []
    assert reconcile.state("m1") == "joining"


def test_the_same_work_has_the_same_run_id_whoever_decides_it(reconcile):
    seen = host(member("m1", drift()))
    reconcile(host(member("m1", drift()), paused=False, open=False))
    before = json.loads(json.dumps(reconcile.record))
    first = reconcile(seen)["actions"]
    reconcile.record = before
    assert reconcile(seen, after=MINUTE)["actions"] == first


def test_a_run_that_was_recorded_and_never_started_is_started_at_the_next_reconcile(reconcile):
    seen = host(member("m1", drift()))
    first = reconcile(seen)["actions"]
    (again,) = reconcile(seen)["actions"]
    assert again["run_id"] != first[0]["run_id"]


def test_a_failed_run_is_tried_again_later_and_later_and_says_why_it_failed(reconcile):
    seen = host(member("m1", drift()))
    starts = []
    for _ in range(20):
        if reconcile(seen)["actions"]:
            starts.append(reconcile.now)
            reconcile.ended("failed", cause="failures-34", sentence="Tower is deaf.", next="Wake it.")
    waits = [(later - sooner) / MINUTE for sooner, later in itertools.pairwise(starts)]
    assert waits == [10, 20, 40, 80]
    row = reconcile.row("m1")
    assert row["state"] == "failed"
    assert row["sentence"] == f"Tower is deaf. role has drifted. See run {row['attempts'][-1]['run_id']}."
    assert row["next"] == "Wake it."
    assert "it is tried again after" in row["waits"]


def test_a_failed_run_that_says_nothing_is_told_with_what_it_was_for(reconcile):
    reconcile(host(member("m1", drift())))
    reconcile.ended("failed")
    reconcile(host(member("m1", drift())), after=MINUTE)
    assert reconcile.row("m1")["sentence"].startswith("The join has failed, its log says why. role has drifted. See ")


def test_another_drift_of_a_member_does_not_wait_for_the_first_one(reconcile):
    reconcile(host(member("m1", drift())))
    reconcile.ended("failed")
    assert reconcile(host(member("m1", drift("agent-token"))), after=MINUTE)["actions"]


def test_the_same_drift_that_comes_back_later_is_repaired_at_once(reconcile):
    sick, well = host(member("m1", drift())), host(member("m1"))
    first = reconcile(sick)["actions"][0]["run_id"]
    reconcile.ended("success")
    reconcile(well)
    second = reconcile(sick, after=24 * 60 * MINUTE)["actions"][0]["run_id"]
    assert first != second


def test_at_most_max_joins_run_at_once_on_a_host_and_those_of_others_count(reconcile):
    sick = [member(f"m{number}", drift(f"kind-{number}")) for number in range(6)]
    turns = [{"member_uid": "uid-m9", "holder": "somebody"}, {"member_uid": "uid-m0", "holder": "somebody"}]
    record = reconcile(host(*sick, member("m9"), turns=turns))
    assert reconcile.state("m0") == "joining"
    assert "somebody" in reconcile.row("m0")["sentence"]
    assert reconcile.started() == ["m1", "m2", "m3"][: 4 - 2] or record["actions"]
    assert len(record["actions"]) == 2
    assert "max_joins" in reconcile.row("m5")["waits"]


def test_of_many_alike_one_goes_first_and_the_others_follow_when_it_is_joined(reconcile):
    sick = [member(f"m{number}", drift("jwt-secret", change="a -> b")) for number in range(8)]
    record = reconcile(host(*sick))
    assert reconcile.started() == ["m0"]
    assert record["actions"][0]["canary"]
    assert "one goes first" in reconcile.row("m5")["waits"]
    reconcile.ended("running")
    assert reconcile(host(*sick))["actions"] == []
    reconcile.states = dict.fromkeys(reconcile.states, "success")
    reconcile(host(member("m0"), *sick[1:]))
    assert reconcile.started() == ["m1", "m2", "m3", "m4"]


def test_a_canary_that_fails_lets_nobody_follow(reconcile):
    sick = [member(f"m{number}", drift("jwt-secret", change="a -> b")) for number in range(8)]
    reconcile(host(*sick))
    reconcile.ended("failed", cause="failures-7", sentence="No.", next="Look.")
    reconcile(host(*sick), after=MINUTE)
    assert reconcile.started() == []


def test_tower_down_is_one_finding_and_starts_nothing_until_it_is_back(reconcile):
    down = {"kind": "tower-down", "sentence": "Tower is down.", "next": "Raise it.", "holds": "proxy"}
    sick = [member(f"p{number}", drift("not-ready")) for number in range(8)]
    record = reconcile(host(*sick, member("d1", drift(), connection="direct"), findings=[down]))
    assert [found["kind"] for found in record["findings"] if found["kind"] == "tower-down"] == ["tower-down"]
    assert reconcile.started() == ["d1"]
    assert "Tower is down." in reconcile.row("p3")["waits"]
    assert (
        reconcile(host(*(member(f"p{number}") for number in range(8)), member("d1", connection="direct")))["findings"]
        == []
    )


def test_what_most_members_have_in_common_is_told_of_the_host_and_nothing_is_started(reconcile):
    sick = [member(f"p{number}", drift("not-ready")) for number in range(5)]
    for _ in range(2):
        record = reconcile(host(*sick, member("p8"), member("p9")))
    (found,) = record["findings"]
    assert "5 of 7 proxy members" in found["sentence"]
    assert record["actions"] == []


def test_a_host_on_which_most_members_have_drifted_is_repaired_though_none_is_ready(reconcile):
    """As when tower has got another address: each says what is wrong with it, and it is not the host."""
    sick = [member(f"p{number}", drift("tower-address"), drift("not-ready")) for number in range(5)]
    record = reconcile(host(*sick, member("p8")))
    assert record["findings"] == []
    assert reconcile.started() == ["p0"]
    record = reconcile(host(*(member(f"p{number}", drift("labels"), drift("not-ready")) for number in range(5))))
    assert [found["kind"] for found in record["findings"]] == ["not-ready-in-common"]


def test_a_member_that_is_not_ready_for_the_first_time_is_left_alone_once(reconcile):
    seen = host(member("m1", drift("not-ready")), member("m2"), member("m3"))
    assert reconcile(seen)["actions"] == []
    assert "Seen for the first time" in reconcile.row("m1")["waits"]
    assert reconcile(seen)["actions"]


def test_failures_of_the_same_cause_are_tried_one_at_a_time(reconcile):
    sick = [member(f"m{number}", drift(f"kind-{number}")) for number in range(4)]
    reconcile(host(*sick))
    assert len(reconcile.started()) == 4
    reconcile.ended("failed", cause="failures-13", sentence="No route.", next="Look.")
    record = reconcile(host(*sick), after=11 * MINUTE)
    assert "failures-13" in record["findings"][0]["sentence"]
    assert len(record["actions"]) == 1


@pytest.mark.parametrize("kind", ["other-cluster", "unreachable"])
def test_what_takes_a_person_is_named_and_nothing_else_of_that_member_is_repaired(reconcile, kind):
    reconcile(host(member("m1", drift(kind, repair="person", next="Look."), drift("role")), member("m2")))
    assert reconcile.started() == []
    assert reconcile.row("m1")["next"] == "Look."
    assert reconcile.row("m1")["waits"] == "It takes a person."


def test_a_paused_member_and_a_closed_window_hold_everything_back(reconcile):
    reconcile(host(member("m1", drift(), paused=True)))
    assert (reconcile.state("m1"), reconcile.started()) == ("paused", [])
    reconcile(host(member("m2", drift()), open=False))
    assert reconcile.started() == []
    assert "maintenance windows" in reconcile.row("m2")["waits"]


def test_a_new_credential_is_given_to_the_host_by_naming_the_imported_connection(reconcile):
    (action,) = reconcile(host(member("m1", drift("credential-expires", repair="renew"), connection="direct")))[
        "actions"
    ]
    assert action["conf"]["import_conn_id"] == "m1"


def test_another_connection_type_takes_the_member_out_and_then_in_again(reconcile):
    (action,) = reconcile(host(member("m1", drift("connection-type", repair="rejoin"))))["actions"]
    assert action["dag_id"] == "leave_member_cluster"
    assert action["conf"] == {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1"}
    reconcile.ended("running")
    assert reconcile(host(member("m1", drift("missing"))))["actions"] == []
    assert reconcile.state("m1") == "leaving"
    reconcile.states = dict.fromkeys(reconcile.states, "success")
    (action,) = reconcile(host(member("m1", drift("missing"))))["actions"]
    assert action["dag_id"] == "join_member_cluster"


def test_a_member_to_which_airflow_has_no_way_is_not_taken_out_to_be_joined_again(reconcile):
    handed_over = member("m1", drift("connection-type", repair="rejoin"))
    del handed_over["conf"]["member_conn_id"]
    assert reconcile(host(handed_over))["actions"] == []
    assert "no connection to the member is known" in reconcile.row("m1")["waits"]


def test_five_of_twelve_that_are_removed_by_mistake_do_not_leave_in_one_reconcile(reconcile):
    names = [f"m{number}" for number in range(12)]
    reconcile(host(*map(member, names), prune=True))
    left, gone = names[:7], names[7:]
    for expected in ([], gone[:1]):
        record = reconcile(host(*map(member, left), undeclared=gone, prune=True))
        assert reconcile.started() == expected
    assert all(action["dag_id"] == "leave_member_cluster" for action in record["actions"])
    assert "at most 1 leave in one reconcile" in reconcile.row(gone[4])["waits"]


def test_three_at_the_most_leave_in_one_reconcile(reconcile):
    names = [f"m{number}" for number in range(50)]
    reconcile(host(*map(member, names), prune=True))
    for _ in range(2):
        reconcile(host(*map(member, names[:40]), undeclared=names[40:], prune=True))
    assert reconcile.started() == names[40:43]


def test_a_member_that_is_back_in_the_inventory_has_to_be_absent_twice_again(reconcile):
    def without(name):
        return host(member("m1"), undeclared=[name], prune=True)

    reconcile(host(member("m1"), member("m2"), prune=True))
    reconcile(without("m2"))
    reconcile(host(member("m1"), member("m2"), prune=True))
    assert reconcile(without("m2"))["actions"] == []
    assert reconcile(without("m2"))["actions"]


def test_without_prune_and_for_what_was_never_declared_nothing_leaves(reconcile):
    reconcile(host(member("m1"), member("m2")))
    for _ in range(3):
        reconcile(host(member("m1"), undeclared=["m2", "by-hand"]))
        assert reconcile.started() == []
    assert "prune is false" in reconcile.row("m2")["sentence"]
    for _ in range(3):
        reconcile(host(member("m1"), undeclared=["by-hand"], prune=True))
        assert reconcile.started() == []
    assert reconcile.state("by-hand") == "undeclared"


def test_a_reconcile_that_a_change_has_woken_takes_nobody_out_and_does_not_count(reconcile):
    """A leave changes the host, which wakes the next: a mistake would be carried out within minutes."""
    reconcile(host(member("m1"), member("m2"), prune=True))
    for _ in range(3):
        reconcile(host(member("m1"), undeclared=["m2"], prune=True), woken=True)
        assert reconcile.started() == []
        assert "takes nobody out" in reconcile.row("m2")["waits"]
    reconcile(host(member("m1"), undeclared=["m2"], prune=True))
    assert "this is the first" in reconcile.row("m2")["waits"]
    reconcile(host(member("m1"), undeclared=["m2"], prune=True), woken=True)
    assert reconcile.started() == []
    reconcile(host(member("m1"), undeclared=["m2"], prune=True))
    assert reconcile.started() == ["m2"]


def test_what_is_leaving_by_itself_is_told_and_not_taken_out_again(reconcile):
    def without():
        seen = host(member("m1"), undeclared=["m2"], prune=True)
        seen["undeclared"][0]["deleting"] = "2026-11-26T11:59:00Z"
        return seen

    reconcile(host(member("m1"), member("m2"), prune=True))
    for _ in range(3):
        reconcile(without())
        assert reconcile.started() == []
    assert "is being deleted since 2026-11-26T11:59:00Z" in reconcile.row("m2")["sentence"]


def given_up(reconcile):
    """A fleet of m1 and m2, of which m2 leaves."""
    reconcile(host(member("m1"), member("m2"), prune=True))
    for _ in range(2):
        reconcile(host(member("m1"), undeclared=["m2"], prune=True))
    assert reconcile.started() == ["m2"]


@pytest.mark.parametrize("on_host", [["m2"], []], ids=["before its Cluster is gone", "and has cleaned nothing yet"])
def test_a_leave_that_fails_says_so_and_is_tried_again_later_and_later(reconcile, on_host):
    given_up(reconcile)
    seen = host(member("m1"), undeclared=on_host, prune=True)
    starts = [reconcile.now]
    reconcile.ended("failed", cause="failures-7", sentence="Its installer fails.", next="Look.")
    for _ in range(20):
        if reconcile(seen)["actions"]:
            starts.append(reconcile.now)
            reconcile.ended("failed", cause="failures-7", sentence="Its installer fails.", next="Look.")
    assert [(later - sooner) / MINUTE for sooner, later in itertools.pairwise(starts)] == [10, 20, 40, 80]
    row = reconcile.row("m2")
    assert row["state"] == "failed"
    assert row["sentence"].startswith("Its installer fails. It is not in the inventory any more. See run reconcile--")
    assert row["next"] == "Look."
    assert "it is tried again after" in row["waits"]


def test_a_leave_that_fails_does_not_keep_others_from_leaving(reconcile):
    given_up(reconcile)
    reconcile.ended("failed")
    for _ in range(2):
        reconcile(host(undeclared=["m2", "m1"], prune=True), after=MINUTE)
    assert reconcile.started() == ["m1"]


def test_a_member_is_leaving_until_its_run_is_over_and_has_left_in_one_record(reconcile):
    """The host lets go of it first, and is asked again within seconds of that."""
    given_up(reconcile)
    reconcile.ended("running")
    deleting = host(member("m1"), undeclared=["m2"], prune=True)
    deleting["undeclared"][0]["deleting"] = "2026-11-26T12:20:00Z"
    reconcile(deleting)
    assert reconcile.state("m2") == "leaving"
    without = host(member("m1"), prune=True)
    reconcile(without)
    assert reconcile.state("m2") == "leaving"
    (run_id,) = reconcile.states
    assert ("leave_member_cluster", run_id) in records.unfinished(reconcile.record)
    reconcile.states = {run_id: "success"}
    record = reconcile(without)
    assert record["counts"] == {"healthy": 1, "left": 1}
    assert reconcile.row("m2")["sentence"] == f"It has left by run {run_id}."
    assert reconcile(without)["counts"] == {"healthy": 1}


def test_a_cluster_that_somebody_else_takes_out_is_told_no_more(reconcile):
    given_up(reconcile)
    assert reconcile(host(member("m1"), prune=True))["counts"] == {"healthy": 1}


def test_leaves_that_are_at_work_are_counted_though_their_clusters_are_gone(reconcile):
    given_up(reconcile)
    reconcile.ended("running")
    reconcile(host(member("m1", drift()), prune=True, max_joins=1))
    assert reconcile.started() == []
    assert "max_joins" in reconcile.row("m1")["waits"]


def test_a_reconcile_of_a_part_keeps_the_history_of_the_others(reconcile):
    """It sees their Clusters on the host, and not that they are declared."""
    reconcile(host(member("m1"), member("m2", drift("not-ready")), member("m3")))
    before = reconcile.row("m2")
    record = reconcile(host(member("m1"), undeclared=["m2", "m3"]), partial=True)
    assert reconcile.row("m2") == before
    assert record["counts"] == {"drifted": 1, "healthy": 2}


def test_runs_of_members_that_were_not_looked_at_are_counted(reconcile):
    reconcile(host(member("m1"), member("m2", drift()), max_joins=1))
    reconcile.ended("running")
    reconcile(host(member("m1", drift()), undeclared=["m2"], max_joins=1), partial=True)
    assert reconcile.started() == []
    reconcile.states = dict.fromkeys(reconcile.states, "success")
    reconcile(host(member("m1", drift()), undeclared=["m2"], max_joins=1), partial=True)
    assert reconcile.started() == ["m1"]
    assert [each["state"] for each in reconcile.row("m2")["attempts"]] == ["success"]


def test_a_reconcile_of_a_part_keeps_the_rows_of_the_others_and_takes_nothing_out(reconcile):
    reconcile(host(member("m1"), member("m2", drift()), prune=True, open=False))
    record = reconcile(host(member("m1"), undeclared=["m2"], prune=True), partial=True)
    assert record["actions"] == []
    assert {row["cluster"] for row in record["hosts"][0]["members"]} == {"m1", "m2"}


def test_a_host_that_is_not_reached_is_one_finding_and_its_members_keep_their_history(reconcile):
    reconcile(host(member("m1", drift())))
    reconcile.ended("failed")
    record = reconcile(host(member("m1"), error="No answer."))
    assert [found["kind"] for found in record["findings"]] == ["host-unreachable"]
    assert record["actions"] == []
    assert reconcile.state("m1") == "unreachable"
    assert reconcile.row("m1")["attempts"]


def test_a_dry_run_says_what_it_would_start(reconcile):
    record = reconcile(host(member("m1", drift())), dry_run=True)
    assert any(line.startswith("Would start join_member_cluster for europe/m1") for line in records.lines(record))


def test_since_when_a_member_is_as_it_is_is_kept(reconcile):
    reconcile(host(member("m1")))
    since = reconcile.row("m1")["since"]
    reconcile(host(member("m1")))
    assert reconcile.row("m1")["since"] == since
    reconcile(host(member("m1", drift())))
    assert reconcile.row("m1")["since"] > since


def test_a_record_of_a_thousand_members_is_a_few_megabytes(reconcile):
    conditions = [
        {"type": kind, "status": "True", "reason": "Ready", "since": "2026-11-26T12:00:00Z"}
        for kind in ("Initialized", "AgentAvailable", "Federated", "Ready")
    ]
    many = [{**member(f"member-{number}"), "conditions": conditions} for number in range(1000)]
    assert len(json.dumps(reconcile(host(*many)))) < 4e6


KNOWN = {"cause": "P-24", "sentence": "The agent does not reach tower.", "next": "Open port 8080."}
UNKNOWN = {"cause": "unknown", "sentence": "No known cause fits.", "next": ""}


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([({}, "No."), (KNOWN, "Not Ready.\nMost likely: ...")], KNOWN),
        ([(UNKNOWN, "Not Ready.\nNo known cause fits.")], {"sentence": "Not Ready."}),
        (
            [({}, "Preflight stopped it, nothing was written:\n  - a: b\n  - c: d")],
            {"sentence": "Preflight stopped it, nothing was written: a: b c: d"},
        ),
        ([({}, "x" * 500)], {"sentence": "x" * 399 + "…"}),
        ([({}, "")], {}),
        ([], {}),
    ],
)
def test_why_a_run_has_failed_is_its_likely_cause_or_else_its_own_words(told, why):
    assert deciding.why(told) == why


def test_the_note_of_a_run_names_member_host_and_every_drift(reconcile):
    (action,) = reconcile(host(member("m1", drift(), drift("labels"))))["actions"]
    assert deciding.note(action, by="scheduled__1") == (
        "Joins m1 to host europe. Why: role has drifted. labels has drifted. Started by reconcile scheduled__1."
    )


def test_the_note_of_a_run_says_that_its_member_leaves_and_that_it_goes_first():
    action = {"host": "europe", "cluster": "m1", "dag_id": deciding.LEAVE_DAG, "reasons": ["It is another one."]}
    assert deciding.note({**action, "canary": True}, by="r1") == (
        "Takes m1 out of host europe. Why: It is another one. It goes first; others that are alike wait for it. "
        "Started by reconcile r1."
    )


def test_a_note_is_no_longer_than_airflow_keeps():
    """With the longest names that Kubernetes, the inventory and Airflow take."""
    action = {"host": "h" * 63, "cluster": "c" * 60, "dag_id": deciding.JOIN_DAG, "canary": True}
    assert len(deciding.note({**action, "reasons": ["x" * 2000]}, by="r" * 250)) <= 1000
