"""What deploy/rbac says of its rules is true: for simulated clusters here, for real ones in tests/envtest."""

import asyncio
import datetime
import urllib.parse

import pytest
import yaml

from bench import audit
from include.fleet import errors, inventory, join, rotation, settings, surveying
from include.simulator import resources
from tests.chaos import cases, steps
from tests.deploy import rules
from tests.joins import evidence, handing

SIDES = {"host": "host", "m1": "member"}
CLUSTER_SCOPED = {kind.plural for kind in resources.ALL if not kind.namespaced}


@pytest.mark.parametrize("rule", rules.everything(), ids=str)
def test_a_rule_says_which_tasks_need_it_and_in_which_joins(rule):
    assert rule.tasks <= rules.TASKS
    assert rule.words <= rules.CASES


# Kubernetes cannot limit to a name what is created, and lists of what has no name that is known beforehand.
@pytest.mark.parametrize("rule", rules.everything(), ids=str)
def test_a_rule_is_limited_to_names_where_kubernetes_can_do_that(rule):
    unnamed = {"clusters", "events", "jobs", "kubefedclusters", "leases", "pods", "pods/log", "pods/proxy"}
    unnamed |= {"nodes", "storageclasses", "workspaces", "federatedworkspaces"}
    if "rollback" in rule.words or rule.resources == ("serviceaccounts",):
        # Their names hold the member's, or all are compared with those before the run.
        unnamed |= {"services", "deployments", "clusterroles", "clusterrolebindings", "serviceaccounts", "namespaces"}
        assert rule.names or not {"secrets", "create"} & {*rule.resources, *rule.verbs}
    assert rule.names or rule.verbs == ("create",) or unnamed.issuperset(rule.resources)
    assert "*" not in rule.groups + rule.resources + rule.names + rule.verbs


@pytest.mark.parametrize("rule", rules.everything(), ids=str)
def test_only_what_has_no_namespace_that_is_known_to_be_there_is_granted_everywhere(rule):
    kubefed = set(rule.names) == {"kubefed-controller-manager", "kubefed-admission-webhook"}
    kubefed = kubefed or rule.groups == ("core.kubefed.io",)
    # In kube-federation-system, which may not be there.
    kubefed |= rule.resources == ("serviceaccounts",) and not rule.names
    assert (rule.role == "ClusterRole") == (CLUSTER_SCOPED.issuperset(rule.resources) or kubefed)


@pytest.mark.parametrize("side", rules.SIDES)
def test_every_role_is_bound_to_the_one_account(side):
    found = rules.objects(side)
    account = {"kind": "ServiceAccount", "name": "join-member-cluster", "namespace": "kubesphere-system"}
    where = [(item["kind"], item["metadata"].get("namespace")) for item in found]
    assert where.count(("ServiceAccount", "kubesphere-system")) == 1
    for item in found:
        if item["kind"] in ("Role", "ClusterRole"):
            assert (f"{item['kind']}Binding", item["metadata"].get("namespace")) in where
        if item["kind"].endswith("Binding"):
            assert item["subjects"] == [account]
            assert item["roleRef"]["name"] == item["metadata"]["name"] == account["name"]


@pytest.mark.parametrize("side", rules.SIDES)
def test_no_right_stands_in_two_rules(side):
    """Taking one of them out would take nothing away."""
    parts = [
        (part.role, part.namespace, part.groups, part.resources, part.names, part.verbs)
        for rule in rules.read(side)
        for part in rule.parts
    ]
    assert sorted({part for part in parts if parts.count(part) > 1}) == []


@pytest.fixture
def asked_of(monkeypatch):
    """Return what each step of a stage asks for from now on: step, side and right."""

    def watch(stage):
        asked = set()

        def watching(run):
            async def watched(step, *args, **options):
                before = {name: len(cluster.audit()) for name, cluster in stage.simulation.clusters.items()}
                try:
                    return await run(step, *args, **options)
                finally:
                    for name, cluster in stage.simulation.clusters.items():
                        entries = cluster.audit()[before[name] :]
                        asked.update(
                            (_asker(step, entry), SIDES[name], *right(entry))
                            for entry in entries
                            if cases.mine(entry) and not is_free(entry)
                        )

            return watched

        for work in (join, rotation):
            monkeypatch.setattr(work, "run", watching(work.run))
        return asked

    return watch


def _asker(step, entry):
    """Which step sent it: a watch through a proxy is audited when it has been cut off, in the step after its own."""
    is_watch = entry.subresource == "proxy" and "watch=" in entry.path
    return join.verify_join.__name__ if is_watch else step


@pytest.mark.parametrize("kubesphere", cases.KUBESPHERES)
@pytest.mark.parametrize("way", cases.WAYS)
def test_a_task_asks_for_nothing_that_no_rule_grants_it(airflow_home, asked_of, way, kubesphere):
    """The second join finds everything there and changes the Cluster, a third one the agent."""
    with cases.Stage(way, kubesphere=kubesphere) as stage:
        asked = asked_of(stage)
        stage.conf["probe"] = True
        stage.play()
        stage.conf["description"] = "joined again"
        stage.play()
        if way == "proxy":
            stage.simulation.clusters["m1"].scale("cluster-agent", 0)
            stage.play()
    assert {step for step, *_ in asked} == {*steps.order(stage.conf), "end_turn"}
    assert [ask for ask in sorted(asked) if not _is_granted(*ask)] == []


@pytest.mark.parametrize("kubesphere", cases.KUBESPHERES)
def test_a_handoff_asks_the_host_alone_and_for_nothing_that_no_rule_grants_it(
    airflow_home, asked_of, kubesphere, tmp_path, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__FLEET__HANDOFF_DIR", str(tmp_path / "handoff"))
    with cases.Stage("proxy", kubesphere=kubesphere) as stage:
        asked, member = asked_of(stage), stage.simulation.clusters["m1"]
        stage.conf["member_access"] = "handoff"
        del stage.conf["member_conn_id"]
        person = handing.Person(tmp_path / "handoff", lambda path: handing.use(path, member, "--yes", folder=tmp_path))
        person.start()
        stage.play()
        person.go()
    assert {step for step, *_ in asked} == {*steps.order(stage.conf), "end_turn"}
    assert {side for _, side, *_ in asked} == {"host"}
    assert ("end_turn", "host", "patch", "cluster.kubesphere.io", "clusters", "", "m1") in asked
    assert [ask for ask in sorted(asked) if not _is_granted(*ask)] == []


@pytest.mark.parametrize("kubesphere", cases.KUBESPHERES)
@pytest.mark.parametrize("way", cases.WAYS)
def test_a_rollback_asks_for_nothing_that_no_rule_grants_it(airflow_home, monkeypatch, asked_of, way, kubesphere):
    async def fail(joining):
        raise errors.RefusedError(joining.conf.cluster, ["not today"])

    monkeypatch.setitem(join.STEPS, "verify_join", fail)
    with cases.Stage(way, kubesphere=kubesphere, host={"role": "host"}) as stage:
        asked = asked_of(stage)
        stage.conf["on_failure"] = "rollback"
        with pytest.raises(errors.PermanentError, match="not today"):
            stage.play()
    assert ("end_turn", "host", "delete", "cluster.kubesphere.io", "clusters", "", "m1") in asked
    # What has failed reads once more what it may, to say what is wrong.
    told = {ask for ask in asked if ask[0] != "verify_join"}
    assert [ask for ask in sorted(told) if not _is_granted(*ask)] == []


@pytest.mark.parametrize("kubesphere", cases.KUBESPHERES)
def test_a_rotation_asks_for_nothing_that_no_rule_grants_it(airflow_home, tmp_path, monkeypatch, asked_of, kubesphere):
    member = {"joined": "m1", "role": "member", "secret": "host"}
    with cases.Stage("direct", kubesphere=kubesphere, host={"role": "host"}, member=member) as stage:
        host = stage.simulation.clusters["host"]
        evidence.wait_for(lambda: evidence.is_ready(host.object("clusters", "m1")), seconds=60)
        asked, path = asked_of(stage), tmp_path / "fleet.yaml"
        declared = {"name": "h", "host_conn_id": "host", "members": [{"cluster": "m1", "member_conn_id": "m1"}]}
        path.write_text(yaml.safe_dump({"version": 1, "hosts": [declared]}))
        monkeypatch.setenv("AIRFLOW__FLEET__INVENTORY", str(path))
        steps.play_rotation({"host": "h"}, run_id="rotation")
    assert {step for step, *_ in asked} == set(rotation.STEPS)
    assert [ask for ask in sorted(asked) if not _is_granted(*ask)] == []


@pytest.mark.parametrize("way", cases.WAYS)
def test_a_reconcile_asks_for_nothing_that_no_rule_grants_some_task_of_a_join(airflow_home, way):
    member = {"joined": "m1", "role": "member", "secret": "host", "connection": way}
    with cases.Stage(way, host={"role": "host"}, member=member) as stage:
        declared = {"cluster": "m1", "member_conn_id": "m1", "connection": way}
        hosts = [{"name": "h", "host_conn_id": "host", "members": [declared]}]
        fleet = inventory.load(yaml.safe_dump({"version": 1, "hosts": hosts}))
        looking = surveying.survey(
            fleet, path="fleet.yaml", limits=settings.Settings(), now=datetime.datetime.now(datetime.UTC)
        )
        (seen,) = asyncio.run(looking)["hosts"]
        assert seen["error"] == ""
        asked = {
            (SIDES[name], *right(entry))
            for name, cluster in stage.simulation.clusters.items()
            for entry in cluster.audit()
            if cases.mine(entry) and not is_free(entry)
        }
    assert {side for side, *_ in asked} == {"host", "member"}
    # What is for rollbacks alone may be taken out.
    granted = {
        side: [rule for rule in rules.read(side) if rule.tasks - {"take_turn", "end_turn"}] for side in rules.SIDES
    }
    assert [ask for ask in sorted(asked) if not any(rule.covers(*ask[1:]) for rule in granted[ask[0]])] == []


def is_free(entry):
    """Tell whether everybody may ask for it: what the server serves (ClusterRole system:discovery)."""
    return not entry.resource and audit.is_discovery(entry.path)


def right(entry):
    """What the API server's authorizer is asked: of a list with a field selector, the name that is in it."""
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(entry.path).query))
    name = entry.name or query.get("fieldSelector", "").removeprefix("metadata.name=")
    resource = f"{entry.resource}/{entry.subresource}" if entry.subresource else entry.resource
    return entry.verb, entry.group, resource, entry.namespace, name


# Every cluster grants these to everybody it knows: ClusterRoles system:basic-user and system:public-info-viewer.
EVERYBODYS = {
    ("create", "authorization.k8s.io", "selfsubjectaccessreviews", "", ""),
    ("get", "", "", "", ""),  # /version
}


def _is_granted(task, side, *right):
    return right in EVERYBODYS or any(task in rule.tasks and rule.covers(*right) for rule in rules.read(side))
