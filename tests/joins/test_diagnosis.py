"""Joins that fail: their error names what is wrong first, with evidence and without secrets."""

import json
import time

import pytest
from kubernetes import client, config

from include.fleet import causes, diagnosing, errors
from tests.chaos import steps
from tests.joins import conftest, evidence

LOAD_BALANCER = "139.198.110.23"
HOST_OWN = {"role": "host", "load_balancer": LOAD_BALANCER}
SETTINGS = {**conftest.SETTINGS, "CONNECT_TIMEOUT": 1.5, "REQUEST_TIMEOUT": 1.5, "RESYNC": 5, "INLINE_WAIT": 1}
OWN_SECRET = "AnotherSecretOfTheMembersOwn0123"


@pytest.fixture
def give_up(airflow_home, monkeypatch):
    """Play the steps of a join that fails and return its error; `before` has what somebody does before a step."""
    for name, seconds in SETTINGS.items():
        monkeypatch.setenv(f"AIRFLOW__FLEET__{name}", str(seconds))
    monkeypatch.setattr(steps, "HASTE", 1000)

    def play(simulation, *, before=(), **conf):
        for conn_id, connection in simulation.connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        direct = conf.get("connection", "direct") == "direct"
        conf = {
            "cluster": "m1",
            "host_conn_id": "host",
            "member_conn_id": "m1",
            "connection": "direct",
            **({"member_server": simulation.clusters["m1"].pod_server} if direct else {}),
            # Preflight would stop these: here it is seen what would come of them.
            "waive": ["server-name", "server-expiry", "tower-port", "imported-rights", "member-rights"],
            "ready_timeout": 6,
            "verify_timeout": 4,
            "tower_timeout": 2,
            "host_installer_timeout": 60,
            "member_installer_timeout": 60,
            **conf,
        }
        with pytest.raises(errors.FleetError) as caught:
            play_steps(simulation.clusters, conf, acts=dict(before))
        error = caught.value
        told = f"{error} {error.diagnosis}"
        assert not [
            secret for cluster in simulation.clusters.values() for secret in cluster.secrets() if secret in told
        ]
        return error

    return play


def play_steps(clusters, conf, *, acts):
    reports, run_id = {}, f"r-{time.time_ns()}"
    for step in steps.ORDER[conf["connection"]]:
        if step in acts:
            acts[step](clusters)
        reports[step] = steps.with_retries(step, conf, run_id=run_id, reports=reports)


def delete_deployment(name, namespace="kubesphere-system"):
    """Somebody deletes a Deployment of the host."""

    def delete(clusters):
        with config.new_client_from_config_dict(clusters["host"].kubeconfig("admin")) as api:
            client.AppsV1Api(api).delete_namespaced_deployment(name, namespace)

    return delete


def scale(side, name):
    """Somebody scales a Deployment to nothing."""
    return lambda clusters: clusters[side].scale(name, 0)


def edit_configuration(former, latter):
    """Somebody changes the member's ConfigMap, as an installer run of another host does."""

    def edit(clusters):
        member = clusters["m1"]
        text = member.object("configmaps", "kubesphere-config", "kubesphere-system")["data"]["kubesphere.yaml"]
        former_text = former or evidence.secret_of(member)
        assert former_text in text
        changed = {"data": {"kubesphere.yaml": text.replace(former_text, latter)}}
        member.edit("configmaps", "kubesphere-config", changed, "kubesphere-system")

    return edit


def lay_conflicting_workspace(clusters):
    """The member has a workspace of a former federation, which the host has placed elsewhere."""
    labels = {"metadata": {"labels": {"kubefed.io/managed": "true"}}}
    clusters["m1"].edit("workspaces", "system-workspace", labels)
    spec = {"placement": {"clusters": [{"name": "other"}]}}
    clusters["host"].put("federatedworkspaces", {"metadata": {"name": "system-workspace"}, "spec": spec})


def give_agent_another_token(clusters):
    """Somebody applies the manifest of an earlier import again."""
    agent = clusters["m1"].object("deployments", "cluster-agent", "kubesphere-system")
    container = agent["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["--token=0ld" if word.startswith("--token=") else word for word in container["command"]]
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    clusters["m1"].edit("deployments", "cluster-agent", patch, "kubesphere-system")


PROXY = {"connection": "proxy"}
PROVEN = {"ready_timeout": 60}
"""It becomes Ready, however busy the machine is."""
CERTIFICATE = "kubernetes"
FAILURES = [
    # cause, scenario of host and member, conf, what somebody does before a step
    pytest.param("failures-1", {}, {"member_server": "https://lb.kubesphere.local:6443"}, {}, id="internal-name"),
    pytest.param(
        "failures-2", {"members": [{CERTIFICATE: {"certificate": {"names_address": False}}}]}, {}, {}, id="wrong-name"
    ),
    pytest.param(
        "failures-3",
        {"members": [{CERTIFICATE: {"certificate": {"issuer": "foreign"}}}], "kubesphere": "v3.0.0"},
        {},
        {},
        id="unknown-authority-3.0",
    ),
    pytest.param("failures-4", {"host": {"role": "host"}}, PROXY, {}, id="no-address"),
    pytest.param(
        "failures-5", {}, {**PROXY, "proxy_publish_address": f"http://{LOAD_BALANCER}:8081"}, {}, id="wrong-port"
    ),
    pytest.param(
        "failures-6", {}, {**PROXY, "proxy_publish_address": "http://10.20.0.1:6443"}, {}, id="something-else-answers"
    ),
    pytest.param(
        "failures-7",
        {},
        PROVEN,
        {"verify_join": edit_configuration("", OWN_SECRET)},
        id="secret-changed-before-the-proof",
    ),
    pytest.param(
        "failures-10",
        {},
        PROVEN,
        {"verify_join": edit_configuration("clusterRole: member", "clusterRole: none")},
        id="role-changed-before-the-proof",
    ),
    pytest.param(
        "failures-11", {"members": [{CERTIFICATE: {"certificate": {"days": -3}}}]}, {}, {}, id="certificate-expired"
    ),
    pytest.param(
        "failures-15",
        {"members": [{"forbid": [{"verb": "create", "resource": "clusterroles"}]}]},
        {},
        {},
        id="the-hosts-credential-is-no-administrator",
    ),
    pytest.param(
        "failures-15",
        {"members": [{"forbid": [{"verb": "patch", "resource": "clusterconfigurations"}]}]},
        {},
        {},
        id="a-right-of-airflow-is-missing",
    ),
    pytest.param("failures-21", {}, {}, {"import_cluster": lay_conflicting_workspace}, id="workspace-conflict"),
    pytest.param("failures-26", {}, {}, {"import_cluster": scale("host", "ks-controller-manager")}, id="no-controller"),
    pytest.param("failures-29", {"host": {"installer": {"fail": "component"}}}, {}, {}, id="multicluster-failed"),
    pytest.param("failures-35", {}, PROXY, {"wait_agent_ready": scale("m1", "cluster-agent")}, id="agent-stopped"),
    pytest.param("failures-35", {}, PROXY, {"import_cluster": scale("host", "tower")}, id="tower-stopped"),
    pytest.param("failures-37", {}, PROXY, {"wait_agent_ready": give_agent_another_token}, id="old-token"),
    pytest.param("P-5", {"members": [{"installer": {"fail": "silent"}}]}, {}, {}, id="installer-died"),
    pytest.param("P-5", {"members": [{"installer": {"fail": "crash"}}]}, {}, {}, id="installer-crashes"),
    pytest.param("P-24", {"members": [{"reachable": False}], "kubesphere": "v3.0.0"}, {}, {}, id="unreachable-3.0"),
    pytest.param("P-37", {}, PROXY, {"import_cluster": delete_deployment("tower")}, id="tower-deleted"),
]


@pytest.mark.parametrize(("cause", "scenario", "conf", "before"), FAILURES)
def test_a_join_that_fails_names_the_cause_first(  # noqa: PLR0917 - fixtures and cases
    simulate, give_up, cause, scenario, conf, before
):
    simulation = simulate(**{"host": HOST_OWN, **scenario})
    error = give_up(simulation, before=before, **conf)
    diagnosis = error.diagnosis
    assert diagnosis["cause"] == cause, str(error)
    assert str(error).splitlines()[-1] == (
        f"Most likely: {diagnosis['sentence']} ({cause}) Seen: {diagnosis['evidence']}. Next: {diagnosis['next']}"
    )


def test_a_member_that_dies_is_named_when_the_last_try_has_failed(simulate, give_up):
    """The error may pass, so only the last try explains it."""
    simulation = simulate(host=HOST_OWN)
    error = give_up(simulation, before={"wait_agent_ready": lambda clusters: clusters["m1"].restart_server(60)})
    assert isinstance(error, errors.UnreachableError)
    assert error.diagnosis["cause"] == "P-32"
    assert error.diagnosis["cluster"] == "member cluster (connection m1)"


def test_without_the_rights_to_look_the_error_stays_and_nothing_is_guessed(simulate, give_up):
    """Neither pods nor Deployments of the host may be read: nobody can say why the Cluster has no condition."""
    rights = [("list", "pods"), ("get", "pods/log"), ("get", "deployments"), ("get", "secrets"), ("get", "services")]
    forbid = [{"verb": verb, "resource": resource} for verb, resource in rights]
    simulation = simulate(host={**HOST_OWN, "forbid": forbid})
    error = give_up(simulation, before={"import_cluster": scale("host", "ks-controller-manager")}, ready_timeout=1)
    assert "Waited 1 s for Cluster m1" in str(error)
    assert error.diagnosis["cause"] == causes.UNKNOWN
    assert str(error).splitlines()[-1].startswith("No known cause fits. Seen: ")


def test_what_goes_wrong_in_finding_out_never_hides_the_error(simulate, give_up, monkeypatch):
    async def gather(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(diagnosing, "gather", gather)
    simulation = simulate(host=HOST_OWN, members=[{"reachable": False}])
    error = give_up(simulation)
    assert error.diagnosis is None
    assert "connection refused" in str(error)


def test_clusters_that_do_not_answer_are_not_waited_for(simulate, give_up, monkeypatch):
    monkeypatch.setattr(diagnosing, "_PATIENCE", 2.0)
    simulation = simulate(host=HOST_OWN, members=[{"reachable": False}])
    spent = []
    gather = diagnosing.gather

    async def timed(join, step, error):
        simulation.clusters["m1"].restart_server(4)
        began = time.monotonic()
        try:
            return await gather(join, step, error)
        finally:
            spent.append(time.monotonic() - began)

    monkeypatch.setattr(diagnosing, "gather", timed)
    error = give_up(simulation)
    assert error.diagnosis["cause"] == "P-32"
    assert max(spent) < 3


@pytest.mark.parametrize("inline", [60, 0.05])
def test_the_task_keeps_its_diagnosis_and_says_it_last(simulate, join, monkeypatch, inline):
    """In the worker, and handed on by the triggerer."""
    monkeypatch.setenv("AIRFLOW__FLEET__INLINE_WAIT", str(inline))
    simulation = simulate(host=HOST_OWN, members=[{"reachable": False}])
    run = join(simulation)
    assert run.failed == ["wait_agent_ready"]
    diagnosis = run.diagnoses["wait_agent_ready"]
    assert diagnosis["cause"] == "P-24"
    paragraph = run.error.splitlines()[-1]
    assert paragraph.startswith(f"Most likely: {diagnosis['sentence']} (P-24) Seen: ")
    assert [task for task, found in run.diagnoses.items() if found] == ["wait_agent_ready"]
    evidence.assert_no_secret(run, simulation)
    assert not any(
        secret in str(run.diagnoses) for cluster in simulation.clusters.values() for secret in cluster.secrets()
    )
