"""The table of rights says what deploy/rbac grants."""

import pytest

from include.fleet import conf, rights
from tests.deploy import rules


def of_files():
    for rule in rules.everything():
        for part in rule.parts:
            (verb,), (resource,), (group,) = part.verbs, part.resources, part.groups
            name = part.names[0] if part.names else ""
            yield rights.Right(part.side, part.namespace, verb, resource, group, name, part.required, part.cases)


def test_the_table_and_the_files_have_the_same_rights():
    granted, asked = set(of_files()), set(rights.ALL)
    assert granted - asked == set()
    assert asked - granted == set()


def test_no_right_is_asked_for_twice():
    assert len(set(rights.ALL)) == len(rights.ALL)
    assert {right.side for right in rights.ALL} == {"host", "member"}


def test_a_right_reads_as_the_server_says_that_it_is_missing():
    right = next(right for right in rights.of("member") if right.verb == "patch")
    assert str(right) == (
        'cannot patch resource "clusterconfigurations" in API group "installer.kubesphere.io" in the namespace '
        '"kubesphere-system" (ks-installer)'
    )


CONF = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1"}


@pytest.mark.parametrize(
    ("asked", "absent"),
    [
        ({"connection": "direct"}, {"proxy", "probe", "rollback", "rotation"}),
        ({"connection": "proxy", "probe": True}, {"direct", "rollback", "rotation"}),
        ({"connection": "auto", "probe": True, "on_failure": "rollback"}, {"rotation"}),
    ],
)
def test_the_conf_tells_which_words_of_the_files_do_not_apply(asked, absent):
    assert rights.absent(conf.parse({**CONF, **asked})) == absent


def test_a_right_of_several_cases_matters_where_all_hold_and_of_alternatives_where_one_does():
    def agent(absent):
        return {right.verb for right in rights.of("member", absent=absent) if right.name == "cluster-agent"}

    assert agent({"proxy", "rollback"}) == set()
    assert agent({"proxy"}) == {"get"}
    assert agent({"rollback"}) == {"get", "patch"}
    assert agent(set()) == {"get", "patch", "delete"}
