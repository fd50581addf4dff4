"""The table of rights says what deploy/rbac grants."""

from include.fleet import rights
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
