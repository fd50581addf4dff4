"""What deploy/rbac says of the rights that a leave needs besides those of a join is true, for simulated clusters."""

import pytest

from include.fleet import errors, leave, triggers
from tests.chaos import cases, steps
from tests.deploy import rules, test_rbac
from tests.joins import evidence
from tests.leaves import leaving

RULES = [rule for side in rules.LEAVES for rule in rules.read(side)]
JOINED = {"role": "member", "secret": "host", "joined": "m1"}
MANAGED = {"metadata": {"labels": {"kubefed.io/managed": "true"}}}
# Kubernetes cannot limit these to names that are not known beforehand.
UNNAMED = {"services", "kubefedclusters", "namespaces", "workspaces"}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_says_which_tasks_need_it_and_is_as_narrow_as_it_can_be(rule):
    assert rule.tasks <= set(leave.STEPS)
    assert rule.words <= rules.LEAVE_CASES
    assert rule.names or UNNAMED.issuperset(rule.resources)
    assert "*" not in rule.groups + rule.resources + rule.names + rule.verbs


@pytest.mark.parametrize("file", rules.LEAVES)
def test_every_role_is_bound_to_the_account_of_joins(file):
    found = rules.objects(file)
    account = {"kind": "ServiceAccount", "name": "join-member-cluster", "namespace": "kubesphere-system"}
    where = [(item["kind"], item["metadata"].get("namespace")) for item in found]
    for item in found:
        if item["kind"].endswith("Binding"):
            assert item["subjects"] == [account]
            assert item["roleRef"]["name"] == item["metadata"]["name"]
        else:
            assert (f"{item['kind']}Binding", item["metadata"].get("namespace")) in where


def alive(stage):
    stage.simulation.clusters["m1"].edit("workspaces", "system-workspace", MANAGED)
    stage.simulation.clusters["m1"].put("namespaces", {"metadata": {"name": "shop", **MANAGED["metadata"]}})
    return {}


def dead(stage):
    leaving.kill_member(stage)
    return {"force": True, "remove_timeout": 60}


def unattended(stage):
    """Neither the host's controller nor tower works on what is deleted."""
    leaving.kill_member(stage)
    host = stage.simulation.clusters["host"]
    for deployment in ("ks-controller-manager", "tower"):
        host.scale(deployment, 0)
    names = ("ks-controller-", "tower-")
    evidence.wait_for(lambda: not any(pod["metadata"]["name"].startswith(names) for pod in host.objects("pods")))
    return {"force": True, "remove_timeout": 2}


@pytest.mark.parametrize("kind", [alive, dead, unattended])
def test_a_leave_asks_for_nothing_that_no_rule_grants_it(airflow_home, monkeypatch, kind):
    asked, run = set(), leave.run
    with cases.Stage("proxy", host={"role": "host"}, member={**JOINED, "connection": "proxy"}) as stage:

        async def watched(step, *args, **options):
            before = {name: len(cluster.audit()) for name, cluster in stage.simulation.clusters.items()}
            try:
                return await run(step, *args, **options)
            finally:
                for name, cluster in stage.simulation.clusters.items():
                    found = [entry for entry in cluster.audit()[before[name] :] if cases.mine(entry)]
                    asked.update((step, test_rbac.SIDES[name], *right(entry)) for entry in found if not free(entry))

        right, free = test_rbac.right, test_rbac.is_free
        monkeypatch.setattr(leave, "run", watched)
        steps.play_leave({**leaving.CONF, **kind(stage)}, run_id="rights")
    assert {step for step, *_ in asked} == set(leave.STEPS)
    assert [ask for ask in sorted(asked) if not is_granted(*ask)] == NOT_GRANTED[kind]
    used = {
        rule for rule in RULES if any(rule.side == f"leave-{side}" and rule.covers(*ask) for _, side, *ask in asked)
    }
    assert {rule for rule in RULES if rule.words & NEEDED[kind]} <= used


NEEDED = {alive: {"labels"}, dead: {"dead member"}, unattended: {"dead member", "controller down", "tower down"}}
TOKEN = ("remove_cluster", "host", "delete", "", "secrets", "kube-federation-system", "m1-secret")
NOT_GRANTED = {alive: [], dead: [], unattended: [TOKEN]}
"""What the files leave out, and say so."""


def is_granted(task, side, *right):
    if right in test_rbac.EVERYBODYS or any(rule.covers(*right) for rule in rules.read(side)):
        return True
    return any(task in rule.tasks and rule.covers(*right) for rule in rules.read(f"leave-{side}"))


def test_who_may_not_set_the_webhook_aside_learns_it_before_the_first_write(airflow_home):
    host = {"role": "host", "forbid": [{"verb": "patch", "resource": "validatingwebhookconfigurations"}]}
    with cases.Stage("direct", host=host, member=JOINED) as stage:
        leaving.kill_member(stage)
        conf = {**leaving.CONF, "force": True}
        with pytest.raises(errors.ForbiddenError, match=r"leave-host\.yaml has it"):
            steps.with_retries("plan", conf, run_id="rights", reports={}, work=triggers.LEAVE)
        assert leaving.written(stage)["host"] == []
