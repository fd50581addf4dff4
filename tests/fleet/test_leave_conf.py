"""The conf of a leave: what is refused, and that all of it is told at once."""

import pytest

from include.fleet import leave_conf

GOOD = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1"}


@pytest.mark.parametrize(
    "conf",
    [
        GOOD,
        {"cluster": "m1", "host_conn_id": "host", "force": True},
        {"cluster": "m1", "member_conn_id": "m1", "host_lost": True},
    ],
    ids=["both-answer", "the-member-is-dead", "the-host-is-lost"],
)
def test_what_is_lost_needs_no_connection(conf):
    assert leave_conf.problems(conf) == []
    assert leave_conf.parse(conf).remove_timeout == 300


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"force": True, "host_lost": True}, "force: the member is dead and the host is lost"),
        ({"host_conn_id": None}, "host_conn_id: missing; expected the id of an Airflow connection, or host_lost: true"),
        ({"member_conn_id": None}, "member_conn_id: missing; expected the id of an Airflow connection, or force: true"),
        ({"member_conn_id": "host"}, "member_conn_id: 'host' is the host's connection too"),
        ({"plan_only": True, "approve": True}, "approve: a run that only plans has nothing to approve"),
        ({"cluster": "host"}, "cluster: expected a name of lower-case letters"),
        ({"force": "yes"}, "force: expected true or false, got 'yes'"),
        ({"forced": True}, "forced: unknown key; known are cluster, host_conn_id"),
        ({"remove_timeout": 0}, "remove_timeout: expected a whole number of seconds"),
    ],
)
def test_a_problem_is_told_with_its_key(more, problem):
    (found,) = leave_conf.problems({**GOOD, **more})
    assert found.startswith(problem)


def test_all_problems_are_told_at_once():
    found = leave_conf.problems({"cluster": "M1", "force": 1, "who": "me"})
    assert [line.partition(":")[0] for line in found] == ["cluster", "force", "host_conn_id", "member_conn_id", "who"]


def test_the_form_has_a_title_and_a_description_for_every_key():
    assert all({"title", "description", "x-expected"} <= set(fields) for fields in leave_conf.SCHEMA.values())
