"""What people are told of a fleet: what is new, what is over, nothing twice; and the message that they get."""

import datetime
import json
import re

import pytest

from include.fleet import messages, news
from include.fleet.news import Heading
from tests.reconcile.test_deciding import Reconciles, drift, host, member

HOSTILE = "<script>alert(1)</script> [press](http://evil.example) **now** `x`"
UNREACHABLE = drift("unreachable", repair="person", change="", next="See whether it runs.")
EXPIRES = drift("credential-expires", change="2026-12-01", repair="person", next="Renew it.")
TOWER_DOWN = {"kind": "tower-down", "sentence": "Tower does not run.", "next": "Start tower.", "holds": "proxy"}
DEPENDS = {"cause": "dns", "sentence": "No such name.", "next": "Mend the DNS."}
LINKS = {"The fleet": "https://airflow.example.com/plugin/fleet"}


class People:
    """What people know of a fleet that is reconciled again and again."""

    def __init__(self):
        self.reconcile = Reconciles()
        self.told = None

    def after(self, *hosts, sent=True, failing=(), **options):
        """What they are told after a reconcile, as heading and name; *sent* says whether it has reached them."""
        record = self.reconcile(*hosts, **options)
        found = news.gather(record, self.told, failing=failing)
        if sent:
            self.told = json.loads(json.dumps(found.told))
        self.items = found.items
        return [(item.heading, item.cluster or item.host) for item in found.items]

    def end_all(self, state):
        """Have all runs that were ever started end like this."""
        self.reconcile.ended(state)
        self.reconcile.states = dict.fromkeys(self.reconcile.states, state)


@pytest.fixture
def people():
    return People()


def test_a_fleet_that_is_well_is_no_news(people):
    assert people.after(host(member("m1"), member("m2"))) == []


def test_a_member_that_has_drifted_is_told_of_once_and_again_when_it_is_well(people):
    ill = host(member("m1", drift()), member("m2"))
    assert people.after(ill) == [(Heading.DRIFTED, "m1")]
    (item,) = people.items
    assert item.said.startswith("(role) role has drifted. Run reconcile--join--europe--m1--")
    assert item.said.endswith("has been started for it.")
    people.reconcile.ended("running")
    assert people.after(ill) == []
    people.end_all("success")
    assert people.after(host(member("m1"), member("m2"))) == [(Heading.WELL, "m1")]
    assert people.after(host(member("m1"), member("m2"))) == []


def test_a_repair_that_fails_is_told_with_its_reason_and_once_however_often_it_is_tried(people):
    ill = host(member("m1", drift()))
    people.after(ill)
    people.reconcile.ended("failed", **DEPENDS)
    assert people.after(ill) == [(Heading.FAILED, "m1")]
    assert people.items[0].said.startswith("No such name. role has drifted. See run reconcile--join--europe--m1--")
    assert people.items[0].said.endswith("Mend the DNS.")
    for _ in range(8):
        people.reconcile.ended("failed", **DEPENDS)
        assert people.after(ill) == []
    people.reconcile.ended("success")
    assert people.after(host(member("m1"))) == [(Heading.WELL, "m1")]


def test_something_else_that_drifts_besides_is_told(people):
    people.after(host(member("m1", UNREACHABLE)))
    assert people.after(host(member("m1", UNREACHABLE, drift("labels", repair="person")))) == [
        (Heading.UNREACHABLE, "m1")
    ]
    assert people.after(host(member("m1", UNREACHABLE))) == []
    assert people.after(host(member("m1", UNREACHABLE, drift("labels", repair="person")))) == []


def test_a_member_that_is_not_reached_is_told_with_what_to_do(people):
    assert people.after(host(member("m1", UNREACHABLE))) == [(Heading.UNREACHABLE, "m1")]
    assert people.items[0].said == "unreachable has drifted. It takes a person. See whether it runs."


def test_a_member_that_the_host_may_get_ready_by_itself_is_told_of_from_the_second_look_on(people):
    ill = host(member("m1", drift("not-ready")))
    assert people.after(ill) == []
    assert people.after(ill) == [(Heading.DRIFTED, "m1")]


def test_a_member_that_was_not_told_of_is_not_told_to_be_well(people):
    people.after(host(member("m1", drift("not-ready"))))
    assert people.after(host(member("m1"))) == []


def test_a_credential_that_ends_soon_is_told_even_of_a_paused_member(people):
    paused = member("m2", EXPIRES, drift(), paused=True)
    assert people.after(host(member("m1", EXPIRES), paused)) == [(Heading.EXPIRES, "m1"), (Heading.EXPIRES, "m2")]
    assert people.items[1].said == "credential-expires has drifted. Renew it."
    assert people.after(host(member("m1", EXPIRES), paused)) == []
    assert people.after(host(member("m1"), member("m2"))) == [(Heading.WELL, "m1"), (Heading.WELL, "m2")]


def test_a_paused_member_that_has_drifted_is_no_news(people):
    assert people.after(host(member("m1", drift(), paused=True))) == []


def test_a_member_that_nobody_has_declared_is_told_of_and_not_when_it_has_been(people):
    assert people.after(host(undeclared=["m9"])) == [(Heading.UNDECLARED, "m9")]
    assert people.after(host(undeclared=["m9"])) == []
    assert people.after(host(member("m9"))) == []


def test_what_is_wrong_with_a_host_stands_for_the_members_that_it_accounts_for(people):
    ill = [member(f"m{number}", drift("not-ready")) for number in range(5)]
    down = host(*ill, member("d1", UNREACHABLE, connection="direct"), findings=[TOWER_DOWN])
    assert people.after(down) == [(Heading.HOST, "europe"), (Heading.UNREACHABLE, "d1")]
    assert people.items[0].said == (
        "Tower does not run. 5 members that are not well are not told of besides. Start tower."
    )
    assert people.after(down) == []
    up = host(*(member(f"m{number}") for number in range(5)), member("d1", UNREACHABLE, connection="direct"))
    assert people.after(up) == [(Heading.OVER, "europe")]
    assert people.items[0].said == "tower-down."


def test_a_rotation_is_no_news_and_neither_is_what_it_does_to_the_members(people):
    rotating = {"kind": "rotating", "sentence": "Run r is rotating.", "next": "Wait for it.", "holds": "host"}
    assert people.after(host(member("m1", drift("jwt-secret")), findings=[rotating])) == []
    assert people.after(host(member("m1", drift("jwt-secret")))) == [(Heading.DRIFTED, "m1")]


def test_failures_with_the_same_cause_are_told_one_by_one_until_they_are_one_finding(people):
    ill = host(*(member(f"m{number}", drift(f"k{number}")) for number in range(6)), max_joins=2)
    people.after(ill)
    told = []
    for _ in range(6):
        people.reconcile.ended("failed", **DEPENDS)
        told.append(people.after(ill))
    assert told[0] == [(Heading.FAILED, "m0"), (Heading.FAILED, "m1")]
    assert [kind for each in told[1:] for kind, _ in each] == [Heading.HOST]
    assert "failed of the same cause, dns" in messages.compose(people.items or [_host_item(people)], links={}).text


def _host_item(people):
    record = people.reconcile.record
    return next(item for item in news.gather(record, None).items if item.heading is Heading.HOST)


def test_of_a_host_that_does_not_answer_one_thing_is_told_and_its_members_are_as_they_were(people):
    people.after(host(member("m1", UNREACHABLE, connection="direct"), member("m2"), findings=[TOWER_DOWN]))
    away = host(member("m1"), member("m2"), error="connect to host: timed out.")
    assert people.after(away) == [(Heading.HOST, "europe")]
    assert people.items[0].said == ("connect to host: timed out. 2 members that are not well are not told of besides.")
    assert people.after(away) == []
    assert people.after(host(member("m1"), member("m2"), findings=[TOWER_DOWN])) == [
        (Heading.OVER, "europe"),
        (Heading.WELL, "m1"),
    ]
    assert people.items[0].said == "host-unreachable."


def test_a_look_at_a_part_tells_nothing_of_what_it_has_not_seen(people):
    common = {**TOWER_DOWN, "kind": "not-ready-in-common", "holds": ""}
    people.after(host(member("m1", UNREACHABLE), member("m2"), findings=[common]))
    assert people.after(host(member("m2", drift())), partial=True) == [(Heading.DRIFTED, "m2")]
    assert people.after(host(member("m2")), partial=True) == [(Heading.WELL, "m2")]
    assert people.after(host(member("m1"), member("m2"))) == [(Heading.OVER, "europe"), (Heading.WELL, "m1")]


def test_a_look_at_another_host_keeps_what_was_told_of_this_one(people):
    people.after(host(member("m1", UNREACHABLE)))
    people.reconcile.record = None  # as after an update to another version of the record
    assert people.after(host(member("a1"), name="asia"), partial=True) == []
    assert people.after(host(member("m1", UNREACHABLE)), host(member("a1"), name="asia")) == []


def test_a_member_that_has_left_is_forgotten_without_a_word(people):
    people.after(host(member("m1", UNREACHABLE), member("m2")))
    assert people.after(host(member("m2"))) == []
    assert people.told["members"] == {}


def test_what_could_not_be_sent_is_told_by_the_next_reconcile_with_what_has_come_up_since(people):
    ill = [member("m1", UNREACHABLE), member("m2", drift("labels", repair="person"))]
    assert people.after(host(ill[0], member("m2")), sent=False) == [(Heading.UNREACHABLE, "m1")]
    assert people.after(host(*ill)) == [(Heading.UNREACHABLE, "m1"), (Heading.DRIFTED, "m2")]
    assert people.after(host(*ill)) == []


def test_good_news_alone_waits_an_hour_at_most_while_others_are_being_repaired(people):
    ill = [member(f"m{number}", drift(f"k{number}")) for number in range(3)]
    people.after(host(*ill, max_joins=1))
    people.reconcile.ended("success")
    assert people.reconcile.started() == ["m0"]
    assert people.after(host(member("m0"), *ill[1:], max_joins=1)) == [], "m1 is being repaired by now"
    assert people.reconcile.started() == ["m1"]
    people.reconcile.ended("running")
    told = [people.after(host(member("m0"), *ill[1:], max_joins=1)) for _ in range(6)]
    assert told == [[]] * 5 + [[(Heading.WELL, "m0")]]
    people.end_all("success")
    assert people.after(host(*(member(f"m{number}") for number in range(3)))) == [
        (Heading.WELL, "m1"),
        (Heading.WELL, "m2"),
    ]


def test_good_news_is_told_with_bad_news(people):
    ill = [member(f"m{number}", drift(f"k{number}")) for number in range(3)]
    people.after(host(*ill, max_joins=1))
    people.reconcile.ended("success")
    well = host(member("m0"), *ill[1:], member("m3", UNREACHABLE), max_joins=1)
    assert people.after(well) == [(Heading.WELL, "m0"), (Heading.UNREACHABLE, "m3")]


def test_a_reconcile_that_fails_again_and_again_is_told_once_and_when_it_works_again():
    told, said = None, []
    for failing in (["observe_fleet"], ["observe_fleet"], ["decide"], [], []):
        found = news.gather(None, told, failing=failing)
        told = found.told
        said.append([(item.heading, item.sentence) for item in found.items])
    assert said == [
        [(Heading.FAILING, "Failed: observe_fleet. Nobody has looked at the fleet.")],
        [],
        [(Heading.FAILING, "Failed: decide. Nobody has looked at the fleet.")],
        [(Heading.WORKING, "The fleet is looked at again.")],
        [],
    ]


def test_a_failure_that_is_not_of_the_whole_fleet_is_neither_told_nor_the_end_of_another(people):
    assert news.gather(None, None, failing=None).items == []
    told = news.gather(None, None, failing=["observe_fleet"]).told
    assert news.gather(None, told, failing=None).told["failing"] == ["observe_fleet"]


def test_a_record_older_than_what_was_told_is_known_as_such(people):
    people.after(host(member("m1")))
    older = people.reconcile.record
    people.after(host(member("m1")))
    assert news.is_older(older, people.told)
    assert not news.is_older(people.reconcile.record, people.told)
    assert not news.is_older(older, None)


def fleet(number, *drifts, hosts=2):
    names = [f"host-{index}" for index in range(hosts)]
    return [host(*(member(f"m{index:04}", *drifts) for index in range(number)), name=name) for name in names]


def test_a_message_about_a_thousand_members_can_be_read(people):
    people.after(*fleet(500, drift("labels", repair="person")))
    message = messages.compose(people.items, links=LINKS)
    assert message.subject == "KubeSphere fleet: 1000 drifted"
    assert message.text.splitlines() == [
        "Not as declared: 1000",
        "  host-0",
        *(f"    - m{index:04}: (labels) labels has drifted. It takes a person." for index in range(6)),
        "    - and 494 more",
        "  host-1",
        *(f"    - m{index:04}: (labels) labels has drifted. It takes a person." for index in range(6)),
        "    - and 494 more",
        "",
        "The fleet: https://airflow.example.com/plugin/fleet",
    ]


def test_a_message_about_fifty_hosts_can_be_read(people):
    people.after(*fleet(20, drift("labels", repair="person"), hosts=50))
    message = messages.compose(people.items, links=LINKS)
    assert len(message.text.splitlines()) < 60
    assert "and 880 more on 44 other hosts" in message.text
    assert len(message.html) < 12_000


def test_a_reason_of_any_length_is_cut_and_the_next_step_stays():
    item = news.Item(Heading.FAILED, "word " * 1000, "europe", "m1", next="Mend it.")
    assert len(item.said) < 320
    assert item.said.endswith("word word… Mend it.")


def test_the_subject_is_one_line_and_names_a_single_member(people):
    people.after(host(member("m1", UNREACHABLE)))
    assert messages.compose(people.items, links={}).subject == "KubeSphere fleet: europe/m1 not reached"
    people.after(host(member("m1", UNREACHABLE), member("m2", drift()), member("m3", EXPIRES)), failing=["report"])
    assert messages.compose(people.items, links={}).subject == (
        "KubeSphere fleet: reconciling fails, 1 drifted, 1 with a credential that ends soon"
    )


def test_the_subject_names_trouble_of_hosts_first_and_a_single_host(people):
    people.after(host(member("m1"), findings=[TOWER_DOWN]))
    assert messages.compose(people.items, links={}).subject == "KubeSphere fleet: europe host trouble"
    people.after(host(member("m1"), findings=[]), host(member("m2", UNREACHABLE), name="asia", findings=[TOWER_DOWN]))
    assert messages.compose(people.items, links={}).subject == "KubeSphere fleet: host trouble, host trouble is over"


def test_whatever_a_cluster_is_described_as_is_text():
    item = news.Item(Heading.DRIFTED, f"Its description is\r\nBcc: x {HOSTILE}", "europe", "m1")
    message = messages.compose([item], links=LINKS)
    assert "\r" not in message.text + message.subject
    assert set(re.findall(r"<[^>]*>", message.html)) == {
        '<h3 style="margin:1em 0 0.3em">',
        '<div style="margin-left:1em">',
        '<div style="margin:0.2em 0 0.2em 2em">',
        '<a href="https://airflow.example.com/plugin/fleet">',
        *("</h3>", "</div>", "</a>", "<strong>", "</strong>", "<p>", "</p>"),
    }
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in message.html
    assert r"\<script\>alert(1)\</script\> \[press\](http://evil.example) \*\*now\*\* \`x\`" in message.markdown
    assert message.markdown.endswith("[The fleet](https://airflow.example.com/plugin/fleet)\n")


def test_times_in_records_can_be_compared_as_text(people):
    record = people.reconcile(host(member("m1")))
    assert datetime.datetime.fromisoformat(record["recorded_at"]).tzinfo is not None
    assert record["recorded_at"].endswith("Z")
