"""Joins with a right missing: a required one ends the run by its name, an optional one is done without and told."""

import json

import pytest

from tests.joins import evidence

LOAD_BALANCER = "139.198.110.23"
HOST_OWN = {"role": "host", "load_balancer": LOAD_BALANCER}
COMPARED = "The jwtSecret was not compared with Secret kubesphere-secret"
PROVEN = "ks-apiserver was not asked for a proof"
FEDERATED = "Whether users and workspaces reach the member was not checked"
DOING = "What ks-installer was doing was not seen"
LATE = "Changes of {} were seen late, at the next look"


def simulate_without(simulate, *, host=None, member=None, on_host=(), on_member=(), **scenario):
    """Start a host and a member where Airflow's user lacks rights, each as `verb resource`."""

    def forbid(rights):
        return [dict(zip(("verb", "resource"), right.split(), strict=True)) for right in rights]

    host = {**HOST_OWN, **(host or {}), "forbid": forbid(on_host)}
    return simulate(host=host, members=[{**(member or {}), "forbid": forbid(on_member)}], **scenario)


@pytest.fixture
def join(join, monkeypatch):
    """Run the DAG with a connection of its own for what the host receives: that has to be cluster-admin."""

    def run(simulation, **conf):
        document = simulation.clusters["m1"].kubeconfig("admin")
        imported = {"conn_type": "kubernetes", "extra": {"kube_config": document}}
        monkeypatch.setenv("AIRFLOW_CONN_IMPORTED", json.dumps(imported))
        direct = conf.get("connection") != "proxy"
        return join(
            simulation,
            without=() if direct else ("member_server",),
            **({"import_conn_id": "imported"} if direct else {}),
            **conf,
        )

    return run


@pytest.mark.parametrize(
    ("side", "right", "task"),
    [
        pytest.param("m1", "patch clusterconfigurations", "plan", id="configure"),
        pytest.param("m1", "create secrets", "plan", id="what-was-there-before"),
        pytest.param("host", "create clusters", "plan", id="import"),
        pytest.param("host", "list clusters", "preflight", id="who-is-taken"),
        pytest.param("m1", "get namespaces", "preflight", id="identity"),
    ],
)
def test_a_missing_right_that_is_waived_ends_the_task_that_needs_it_and_is_named(simulate, join, side, right, task):
    on = {"host": "on_host", "m1": "on_member"}[side]
    simulation = simulate_without(simulate, **{on: [right]})
    run = join(simulation, waive=["host-rights", "member-rights"])
    assert run.failed == [task]
    verb, resource = right.split()
    assert f'User "airflow" cannot {verb} resource "{resource}"' in run.error
    assert f"(connection {side})" in run.error
    assert f"deploy/rbac/{'host' if side == 'host' else 'member'}.yaml" in run.error


def test_a_member_that_cannot_be_recorded_is_not_changed(simulate, join):
    simulation = simulate_without(simulate, on_member=["create secrets"])
    former = evidence.secret_of(simulation.clusters["m1"])
    join(simulation, waive=["member-rights"])
    assert evidence.writes(simulation.clusters["m1"]) == []
    assert evidence.secret_of(simulation.clusters["m1"]) == former


def test_a_run_that_must_not_be_forced_ends_with_the_right_and_the_installers_words(simulate, join):
    simulation = simulate_without(
        simulate, on_member=["patch deployments"], member={"installer": {"fail": "silent", "runs": 1}}
    )
    run = join(simulation)
    assert run.failed == ["wait_installer"]
    assert "No new run can be forced: patch deployments/ks-installer in kubesphere-system" in run.error
    assert "deploy/rbac/member.yaml" in run.error
    assert "Its log says" in run.error
    assert "could not be read" not in run.error


def lacking(loss, right, *, side):
    return f"{loss}: connection {'host' if side == 'host' else 'm1'} may not {right} on the {side} cluster."


IN = "in kubesphere-system"


@pytest.mark.parametrize(
    ("connection", "scenario", "proof", "told"),
    [
        pytest.param(
            "direct",
            {
                "on_host": ["get services/proxy", "get secrets", "list pods", "watch clusters", "get deployments"],
                "on_member": ["get secrets", "list clusterconfigurations", "watch configmaps"],
            },
            "both ConfigMaps",
            [
                (COMPARED, f"get secrets {IN}", "host"),
                (COMPARED, f"get secrets {IN}", "member"),
                (f"{PROVEN}, which takes the token in Secret kubesphere-secret", f"get secrets {IN}", "host"),
                (DOING, f"list pods {IN}", "host"),
                (FEDERATED, "get deployments.apps in kube-federation-system", "host"),
                (LATE.format("clusters.cluster.kubesphere.io"), "watch clusters.cluster.kubesphere.io", "host"),
                (
                    LATE.format("clusterconfigurations.installer.kubesphere.io"),
                    f"list clusterconfigurations.installer.kubesphere.io {IN}",
                    "member",
                ),
                (LATE.format("configmaps"), f"watch configmaps {IN}", "member"),
                *(
                    (f"Whether deployments/{name} in {namespace} is rolled out was not checked", right, "host")
                    for name, namespace, right in (
                        ("ks-installer", "kubesphere-system", f"get deployments.apps {IN}"),
                        ("ks-controller-manager", "kubesphere-system", f"get deployments.apps {IN}"),
                        ("tower", "kubesphere-system", f"get deployments.apps {IN}"),
                        (
                            "kubefed-controller-manager",
                            "kube-federation-system",
                            "get deployments.apps in kube-federation-system",
                        ),
                        (
                            "kubefed-admission-webhook",
                            "kube-federation-system",
                            "get deployments.apps in kube-federation-system",
                        ),
                    )
                ),
            ],
            id="direct",
        ),
        pytest.param(
            "proxy",
            {"on_host": ["get services/proxy"], "on_member": ["get serviceaccounts", "get pods/log", "get pods/proxy"]},
            "a token signed with the host's jwtSecret",
            [
                (PROVEN, f"get services/proxy {IN}", "host"),
                ("The log of ks-installer was not read", f"get pods/log {IN}", "member"),
                ("The queue of ks-installer was not asked", f"get pods/proxy {IN}", "member"),
                (
                    "Whether the agent's serviceaccounts/kubesphere in kubesphere-system is there was not checked",
                    f"get serviceaccounts {IN}",
                    "member",
                ),
            ],
            id="proxy",
        ),
        pytest.param(
            "direct",
            {"on_member": ["get secrets"], "member": {"installer": {"fail": "silent", "runs": 1}}},
            "forwarded",
            [
                (COMPARED, f"get secrets {IN}", "member"),
                (
                    "The log of a failed run was not quoted, as it may hold a former jwtSecret",
                    f"get secrets {IN}",
                    "member",
                ),
            ],
            id="failed-run",
        ),
    ],
)
def test_without_optional_rights_the_join_says_once_what_it_could_not_check(  # noqa: PLR0917 - fixtures and cases
    simulate, join, connection, scenario, proof, told
):
    simulation = simulate_without(simulate, **scenario)
    run = join(simulation, connection=connection)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)
    report = run.reports["verify_join"]
    assert proof in report["proof"]
    expected = [lacking(loss, right, side=side) for loss, right, side in told]
    assert sorted(report["warnings"]) == sorted(expected)
    assert all(line in run.output for line in expected)


def test_without_the_events_of_an_older_host_the_join_says_that_it_did_not_read_them(simulate, join, monkeypatch):
    """They are asked for once a member has not been Ready for 2 s."""
    monkeypatch.setenv("AIRFLOW__FLEET__RESYNC", "5")
    simulation = simulate_without(
        simulate, on_host=["list events"], kubesphere="v3.0.0", timing={"run": 0.4, "reload": 0.2, "sync": 3}
    )
    run = join(simulation)
    assert run.state == "success", run.error
    loss = "The host's Events, which tell why it cannot join a member, were not read"
    assert run.reports["verify_join"]["warnings"] == [lacking(loss, "list events in default", side="host")]


def test_the_record_of_a_member_whose_secret_may_not_be_read_holds_the_one_in_force(simulate, join):
    simulation = simulate_without(simulate, on_member=["get secrets"])
    former = evidence.secret_of(simulation.clusters["m1"])
    assert join(simulation).state == "success"
    assert evidence.before_join(simulation.clusters["m1"])["secretInForce"] == former
