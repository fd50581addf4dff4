"""The rights of deploy/rbac on real API servers: enough for every join, and not one too many.

A join without a required right stops before anything is written, and one that loses a right later names it. Of optional
rights several are taken away at once, if none of them hides that another is missing: a rule without a case cannot be,
and one that no join needs fails its case. What a rollback can do without is in tests/joins/test_rollback.py.
"""

import contextlib
import itertools

import pytest

from include.fleet import errors
from tests.deploy import rules
from tests.envtest.pair import ACCOUNT, KS, Pair
from tests.joins import evidence

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


def _version(part):
    return "v3.0.0" if "3.0" in part.words else "v3.4.1"


def _way(part):
    return "proxy" if "proxy" in part.words else "direct"


def _begin(pair, *parts):
    """Bring the clusters to where a join needs these rights; returns what is special in its conf."""
    words = frozenset().union(*(part.words for part in parts))
    pair.begin(_way(parts[0]), words - {"rollback"} if "failed run or rollback" not in parts[0].cases else words)
    for side in {part.side for part in parts if "failed run" in part.words}:
        pair.fail_run(side)
    conf = {"description": f"joined for {parts[0]}"} if "again or shared port" in parts[0].cases else {}
    conf |= {"probe": True} if "probe" in words else {}
    return conf | ({"on_failure": "rollback"} if "rollback" in parts[0].cases else {})


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


REQUIRED = sorted(
    (part for part in PARTS if part.required and "rotation" not in part.words),
    key=lambda part: (_version(part), _way(part)),
)
LOST = [
    part
    for part in REQUIRED
    if not part.words & {"again", "failed run", "rollback"}
    and (part.verbs[0] != "get" or "3.0" in part.words or "services" in part.resources)
    and part.verbs[0] != "list"
]
"""What can be lost between take_turn and the task that needs it: what writes, and what only later tasks read."""


@pytest.mark.parametrize("part", REQUIRED, ids=str)
def test_without_a_required_right_nothing_is_written_and_it_is_named(pair_of, part):
    pair = pair_of(_version(part))
    conf = _begin(pair, part)
    before = _writes(pair)
    with pair.without(part), pytest.raises(errors.PermanentError) as caught:
        pair.play(_way(part), **conf)
    assert pair.failed in {"preflight", "plan"}
    assert _writes(pair) == before
    _assert_names(str(caught.value), part)


@pytest.mark.parametrize("part", LOST, ids=str)
def test_a_required_right_that_is_lost_later_is_named_by_the_task_that_needs_it(pair_of, part):
    pair = pair_of(_version(part))
    conf = _begin(pair, part)
    with pair.losing(part, after="take_turn"), pytest.raises(errors.PermanentError) as caught:
        pair.play(_way(part), **conf)
    assert pair.failed in part.tasks
    _assert_names(str(caught.value), part)


def _assert_names(said, part):
    (verb,), (resource,), (group,) = part.verbs, part.resources, part.groups
    assert f'cannot {verb} resource "{resource}" in API group "{group}"' in said
    assert all(name in said for name in part.names)
    assert part.namespace in said
    assert f"{part.side} cluster (connection {IDS[part.side]})" in said
    assert f"deploy/rbac/{part.side}.yaml" in said


def _writes(pair):
    """What the account has written; what it was refused, reviews and dry runs do not count."""
    return [
        (side, entry.verb, entry.resource, entry.name)
        for side, cluster in pair.clusters.items()
        for entry in cluster.writes(user=ACCOUNT)
        if entry.resource != "selfsubjectaccessreviews" and "dryRun=All" not in entry.path
    ]


def test_a_run_that_fails_is_rolled_back_with_the_rights_of_the_files(pair_of):
    pair = pair_of("v3.4.1")
    pair.begin("direct", frozenset())
    member = pair.clusters["member"]
    before = {side: len(cluster.audit()) for side, cluster in pair.clusters.items()}
    former = evidence.secret_of(member), evidence.role_of(member), _names(member)
    (lost,) = [part for part in PARTS if (part.verbs, part.resources) == (("create",), ("clusters",))]
    with pair.losing(lost, after="wait_installer"), pytest.raises(errors.PermanentError):
        pair.play("direct", on_failure="rollback")
    assert pair.failed == "import_cluster"
    assert (evidence.secret_of(member), evidence.role_of(member), _names(member)) == former
    report = pair.reports["end_turn"]
    assert report["undone"]
    # That of a host which was none stays what it has become.
    assert [line for line in report["differs"] if "on the member" in line] == []
    for side, cluster in pair.clusters.items():
        asked = [entry for entry in cluster.audit()[before[side] :] if entry.user == ACCOUNT]
        refused = {(entry.verb, entry.resource) for entry in asked if entry.code == 403}
        assert refused == ({("create", "clusters")} if side == "host" else set())


def _names(cluster):
    """The names of what a join brings."""
    found = [*cluster.objects("secrets", KS), *cluster.objects("deployments", KS), *cluster.objects("namespaces")]
    return sorted(item["metadata"]["name"] for item in found if "-token-" not in item["metadata"]["name"])


FAMILIES = (
    {"pods", "pods/log", "pods/proxy"},
    {"services/proxy", "secrets"},
    {"deployments", "kubefedclusters", "federatedtypeconfigs"},
    {"jobs"},
)
"""Where one right is missing, others on the same are not asked for."""


def _family(part):
    """What only one right of can be seen to be missing in one join."""
    (resource,) = part.resources
    family = next((number for number, family in enumerate(FAMILIES) if resource in family), resource)
    return part.side, part.namespace, family


def _circumstances(part):
    """What a join has to be like for a right to be needed, as far as one join cannot be all of it."""
    apart = part.words & {"failed run", "no address yet", "not forwarded"}
    return _version(part), _way(part), sorted(apart), part.side if "failed run" in apart else ""


def _batches():
    """The optional rights, in groups of which each shows in one join."""
    found = sorted((part for part in PARTS if not part.required and "rollback" not in part.cases), key=_circumstances)
    for _, parts in itertools.groupby(found, _circumstances):
        batches = []
        for part in parts:
            fit = [batch for batch in batches if _family(part) not in map(_family, batch)]
            (fit[0] if fit else batches.append([]) or batches[-1]).append(part)
        yield from batches


def _name(batch):
    version, way, apart, side = _circumstances(batch[0])
    return "-".join([version, way, *apart, *([side] if side else [])])


@pytest.mark.parametrize("batch", list(_batches()), ids=_name)
def test_without_optional_rights_the_join_succeeds_and_says_so_of_each(pair_of, batch):
    pair = pair_of(_version(batch[0]))
    conf = _begin(pair, *batch)
    also = [other for other in PARTS if other.side == "host" and "services/proxy" in other.resources]
    taken = [*batch, *(also if "not forwarded" in batch[0].words else [])]
    with pair.without(*taken):
        report = pair.play(_way(batch[0]), **conf)["verify_join"]
    pair.assert_joined(identity="3.0" not in batch[0].words)
    told, untold = {part: [] for part in taken}, []
    for line in report["warnings"]:
        parts = [part for part in taken if _tells(line, part)]
        for part in parts:
            told[part].append(line)
        untold += [] if parts else [line]
    assert [str(part) for part, lines in told.items() if not lines] == []
    assert untold == []
    assert len(report["warnings"]) == len(set(report["warnings"]))


def _tells(line, part):
    (resource,) = part.resources
    where = part.namespace or ("kube-federation-system" if resource == "deployments" else "")
    lacking = f"connection {IDS[part.side]} may not {part.verbs[0]} {_resource(part)}"
    return lacking in line and where in line and f"on the {part.side} cluster" in line
