"""What a joined member has been checked for beyond Ready, and that nothing of it fails a join."""

import re

import pytest
from kubernetes import client, config

from include.fleet import acceptance
from include.simulator.disturbances import Disturbance, Moment, Refusal, Reset
from tests.joins import evidence

LOAD_BALANCER = "139.198.110.23"
HOST_OWN = {"role": "host", "load_balancer": LOAD_BALANCER}
FEDERATION = "kube-federation-system"


@pytest.fixture
def join_briefly(join, monkeypatch):
    """Run the DAG once; what fails is not asked again for long."""

    def run(simulation, *, seconds=4, **conf):
        monkeypatch.setenv("AIRFLOW__FLEET__ACCEPTANCE", str(seconds))
        return join(simulation, **conf)

    return run


def answers(run):
    return {finding["check"]: finding["answer"] for finding in run.reports["verify_join"]["acceptance"]}


def evidence_of(run, check):
    (text,) = (each["evidence"] for each in run.reports["verify_join"]["acceptance"] if each["check"] == check)
    return text


ALL_OK = dict.fromkeys(acceptance.CHECKS, "ok")


@pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])
@pytest.mark.parametrize("connection", ["direct", "proxy"])
def test_all_works_on_a_fresh_member(simulate, join, connection, kubesphere):
    simulation = simulate(kubesphere=kubesphere, host=HOST_OWN)
    without = ("member_server",) if connection == "proxy" else ()
    run = join(simulation, connection=connection, without=without)
    assert run.state == "success", run.error
    assert list(answers(run)) == list(acceptance.CHECKS)
    assert answers(run) == ALL_OK
    assert run.reports["verify_join"]["warnings"] == []
    assert "stayed open" in evidence_of(run, acceptance.FORWARDED_WATCH)
    assert run.reports["verify_join"]["member_uid"] in evidence_of(run, acceptance.FORWARDED_KUBERNETES)
    evidence.assert_no_secret(run, simulation)


def test_nothing_is_written_by_asking(simulate, join):
    simulation = simulate(host=HOST_OWN)
    run = join(simulation)
    before = [len(evidence.writes(cluster)) for cluster in simulation.clusters.values()]
    run = join(simulation)
    assert answers(run) == ALL_OK
    assert [len(evidence.writes(cluster)) for cluster in simulation.clusters.values()] == before


def test_what_is_not_federated_is_a_warning_and_the_member_is_joined(simulate, join_briefly):
    simulation = simulate(host=HOST_OWN)
    host = simulation.clusters["host"]
    host.edit("federatedtypeconfigs", "users.iam.kubesphere.io", {"spec": {"propagation": "Disabled"}}, FEDERATION)
    run = join_briefly(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)
    assert answers(run) == {**ALL_OK, acceptance.USERS: "error"}
    (warning,) = run.reports["verify_join"]["warnings"]
    assert warning.startswith("Acceptance failed, users-synchronise: Federatedtypeconfigs/users.iam.kubesphere.io in ")
    assert "kubefed-controller-manager" in warning
    assert "Acceptance, error: users-synchronise: Federatedtypeconfigs/users" in run.output


def test_a_kubefed_that_is_scaled_to_nothing_is_a_warning(simulate, join, join_briefly):
    simulation = simulate(host=HOST_OWN)
    assert answers(join(simulation)) == ALL_OK
    simulation.clusters["host"].scale("kubefed-controller-manager", 0, FEDERATION)
    run = join_briefly(simulation, waive=["host-processes"])
    assert run.state == "success", run.error
    assert answers(run) == {**ALL_OK, acceptance.USERS: "error", acceptance.WORKSPACES: "error"}
    assert "is scaled to 0" in evidence_of(run, acceptance.USERS)


def test_tokens_that_expire_on_the_member_are_a_warning_and_the_member_is_joined(simulate, join, join_briefly):
    """Nothing else shows it: the proof's own token is one that the member takes all the same."""
    simulation = simulate(host=HOST_OWN)
    assert answers(join(simulation)) == ALL_OK
    m1 = simulation.clusters["m1"]
    text = m1.object("configmaps", "kubesphere-config", "kubesphere-system")["data"]["kubesphere.yaml"]
    text, found = re.subn(r"accessTokenMaxAge: 0s?", "accessTokenMaxAge: 2h", text)
    assert found
    changed = {"data": {"kubesphere.yaml": text}}
    m1.edit("configmaps", "kubesphere-config", changed, "kubesphere-system")
    run = join_briefly(simulation, waive=["access-tokens"])
    assert run.state == "success", run.error
    assert answers(run) == {**ALL_OK, acceptance.LOGINS: "error"}
    assert "accessTokenMaxAge 2h, not 0" in evidence_of(run, acceptance.LOGINS)
    (warning,) = run.reports["verify_join"]["warnings"]
    assert warning.startswith("Acceptance failed, login-tokens: ")


def test_monitoring_that_is_on_and_measures_nothing_is_a_warning(simulate, join_briefly):
    simulation = simulate(host=HOST_OWN)
    with config.new_client_from_config_dict(simulation.clusters["m1"].kubeconfig("admin")) as api:
        client.CoreV1Api(api).delete_namespaced_service("prometheus-operated", "kubesphere-monitoring-system")
    run = join_briefly(simulation)
    assert run.state == "success", run.error
    assert answers(run) == {**ALL_OK, acceptance.METRICS: "error"}
    assert "no such host" in evidence_of(run, acceptance.METRICS)


def test_monitoring_that_is_off_is_not_asked(simulate, join_briefly):
    simulation = simulate(host=HOST_OWN)
    m1 = simulation.clusters["m1"]
    m1.edit("clusterconfigurations", "ks-installer", {"status": {"monitoring": None}}, "kubesphere-system")
    run = join_briefly(simulation)
    assert answers(run) == ALL_OK
    assert evidence_of(run, acceptance.METRICS).startswith("Nothing was asked")
    asked = [entry.path for entry in simulation.clusters["host"].audit()]
    assert not [path for path in asked if "monitoring.kubesphere.io" in path]


def watches(call):
    return "/proxy/api/clusters/m1/v1/namespaces?watch=" in call.path


@pytest.mark.parametrize(
    "kind", [Refusal(code=503), Reset(moment=Moment.ARRIVED)], ids=["unavailable", "connection-reset"]
)
def test_what_fails_once_is_asked_again(simulate, join, kind):
    simulation = simulate(host=HOST_OWN)
    simulation.clusters["host"].disturb(Disturbance(matches=watches, kind=kind))
    run = join(simulation)
    assert run.state == "success", run.error
    assert answers(run) == ALL_OK
    assert len([entry for entry in simulation.clusters["host"].audit() if watches(entry)]) >= (
        2 if isinstance(kind, Refusal) else 1
    )


FORWARDED = {*acceptance.CHECKS} - {acceptance.USERS, acceptance.WORKSPACES, "login-tokens"}
"""What is asked of the host's ks-apiserver, with its token."""


@pytest.mark.parametrize(
    ("right", "incomplete"),
    [
        pytest.param("get secrets", FORWARDED, id="no-token"),
        pytest.param("get services/proxy", FORWARDED, id="no-proxy"),
        pytest.param("get kubefedclusters", {acceptance.USERS, acceptance.WORKSPACES}, id="no-kubefed"),
        pytest.param("get federatedtypeconfigs", {acceptance.USERS, acceptance.WORKSPACES}, id="no-types"),
    ],
)
def test_without_a_right_a_check_is_incomplete_and_the_member_is_joined(simulate, join, right, incomplete):
    verb, resource = right.split()
    simulation = simulate(host={**HOST_OWN, "forbid": [{"verb": verb, "resource": resource}]})
    run = join(simulation)
    assert run.state == "success", run.error
    assert answers(run) == {**ALL_OK, **dict.fromkeys(incomplete, "incomplete")}
    warnings = run.reports["verify_join"]["warnings"]
    assert len(warnings) == len(set(warnings))
    assert any(right in line for line in warnings)
    assert not any("Acceptance failed" in line for line in warnings)
