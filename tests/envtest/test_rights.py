"""The rights of deploy/rbac on real API servers: enough for every join, and not one too many.

Each case takes one verb on one name from the account and plays a join that needs it: a rule without a case cannot be,
and one that no join needs fails its case.
"""

import contextlib

import pytest

from include.fleet import errors
from tests.deploy import rules
from tests.envtest.pair import ACCOUNT, Pair

FORWARDED = "a request that the host's ks-apiserver forwarded to the member returned the member's own UID"
PARTS = [part for rule in rules.everything() for part in rule.parts]
IDS = {"host": "host", "member": "m1"}


@pytest.fixture(scope="module")
def pair_of(tmp_path_factory):
    """Return the host and the member of a version, as an earlier case left them; those of another one end first."""
    running = {}
    with contextlib.ExitStack() as stack:

        def pair(kubesphere):
            if kubesphere not in running:
                stack.close()
                running.clear()
                environment = stack.enter_context(pytest.MonkeyPatch.context())
                directory = tmp_path_factory.mktemp("pair")
                running[kubesphere] = stack.enter_context(
                    Pair(kubesphere, directory=directory, environment=environment)
                )
            return running[kubesphere]

        yield pair


def _cases(*, required):
    """One for each part of each rule."""
    # Of a run that is rolled back, tests/joins/test_rollback.py and tests/deploy/test_rbac.py tell.
    found = [part for part in PARTS if part.required is required and "rollback" not in part.cases]
    return [pytest.param(part, id=str(part)) for part in sorted(found, key=_version, reverse=not required)]


def _version(part):
    return "v3.0.0" if "3.0" in part.cases else "v3.4.1"


def _way(part):
    return "proxy" if "proxy" in part.cases else "direct"


def _begin(pair, part):
    """Bring the clusters to where a join needs this right; returns what is special in its conf."""
    pair.begin(_way(part), part.cases)
    if "failed run" in part.cases:
        pair.fail_run(part.side)
    again = {"description": f"joined for {part}"} if "again" in part.cases else {}
    return again | ({"probe": True} if "probe" in part.cases else {})


def _resource(part):
    """The resource as errors and reports name it."""
    (resource,), (group,) = part.resources, part.groups
    plural, slash, subresource = resource.partition("/")
    return f"{plural}{group and f'.{group}'}{slash}{subresource}"


@pytest.mark.parametrize("way", ["direct", "proxy"])
@pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])
def test_the_rights_of_the_files_are_enough(pair_of, kubesphere, way):
    pair = pair_of(kubesphere)
    pair.begin(way, frozenset())
    before = {side: len(cluster.audit()) for side, cluster in pair.clusters.items()}
    report = pair.play(way)["verify_join"]
    pair.assert_joined(identity=kubesphere == "v3.4.1")
    assert (report["warnings"], report["proof"]) == ([], FORWARDED)
    for side, cluster in pair.clusters.items():
        asked = [entry for entry in cluster.audit()[before[side] :] if entry.user == ACCOUNT]
        assert asked
        assert [entry for entry in asked if entry.code == 403] == []


@pytest.mark.parametrize("part", _cases(required=True))
def test_without_a_required_right_the_join_fails_and_names_it(pair_of, part):
    pair = pair_of(_version(part))
    conf = _begin(pair, part)
    with pair.without(part), pytest.raises(errors.PermanentError) as caught:
        pair.play(_way(part), **conf)
    said = str(caught.value)
    assert pair.step in part.tasks
    (verb,), (resource,), (group,) = part.verbs, part.resources, part.groups
    assert f'cannot {verb} resource "{resource}" in API group "{group}"' in said
    assert all(name in said for name in part.names)
    assert part.namespace in said
    assert f"{part.side} cluster (connection {IDS[part.side]})" in said
    assert f"deploy/rbac/{part.side}.yaml" in said


@pytest.mark.parametrize("part", _cases(required=False))
def test_without_an_optional_right_the_join_succeeds_and_says_so(pair_of, part):
    pair = pair_of(_version(part))
    conf = _begin(pair, part)
    also = [other for other in PARTS if other.side == "host" and "services/proxy" in other.resources]
    taken = [part, *(also if "not forwarded" in part.cases else [])]
    with pair.without(*taken):
        report = pair.play(_way(part), **conf)["verify_join"]
    pair.assert_joined(identity="3.0" not in part.cases)
    warnings = report["warnings"]
    for right in taken:
        (verb,) = right.verbs
        lacking = f"connection {IDS[right.side]} may not {verb} {_resource(right)}"
        told = [line for line in warnings if lacking in line and f"on the {right.side} cluster" in line]
        assert told
        warnings = [line for line in warnings if line not in told]
    assert warnings == []
    assert len(report["warnings"]) == len(set(report["warnings"]))
