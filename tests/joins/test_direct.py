"""Direct joins from beginning to end: what must come out of each situation that a person can be in."""

import base64
import threading

import pytest
from kubernetes import client, config

from tests.joins import evidence

HOST_OWN = {"role": "host"}
TIMING = {"queue": 0.05, "run": 0.4, "reload": 0.2, "resync": 0.5, "kubelet": 0.05}


@pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])
def test_a_fresh_host_and_a_fresh_member_end_joined(simulate, join, kubesphere):
    simulation = simulate(kubesphere=kubesphere)
    former = evidence.secret_of(simulation.clusters["m1"])
    run = join(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation, identity=kubesphere == "v3.4.1")
    assert run.tasks["resolve_tower_address"] == run.tasks["deploy_agent"] == "skipped"
    report = run.reports["verify_join"]
    assert report["result"] == "joined by this run"
    assert "forwarded" in report["proof"]
    assert len(report["changed"]) == 3
    assert set(report["phase_seconds"]) > {"wait_installer", "wait_agent_ready"}
    assert evidence.writes(simulation.clusters["host"]) == [
        "create secrets before-join",
        "patch clusterconfigurations ks-installer",
        "create clusters m1",
    ]
    assert evidence.writes(simulation.clusters["m1"]) == [
        "create secrets before-join",
        "patch clusterconfigurations ks-installer",
    ]
    assert evidence.before_join(simulation.clusters["m1"])["secretInForce"] == former
    assert evidence.before_join(simulation.clusters["m1"])["clusterRole"] == "none"
    evidence.assert_no_secret(run, simulation)


def test_a_host_that_is_a_host_already_is_not_configured_again(simulate, join):
    simulation = simulate(host=HOST_OWN)
    run = join(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)
    assert evidence.writes(simulation.clusters["host"]) == ["create clusters m1"]


def test_a_joined_member_is_verified_and_nothing_is_written(simulate, join):
    simulation = simulate(host=HOST_OWN)
    assert join(simulation).state == "success"
    before = [len(evidence.writes(cluster)) for cluster in simulation.clusters.values()]
    run = join(simulation)
    assert run.state == "success", run.error
    assert [len(evidence.writes(cluster)) for cluster in simulation.clusters.values()] == before
    assert run.reports["verify_join"]["result"] == "joined already, nothing was written"
    assert run.reports["verify_join"]["changed"] == []


def test_a_member_that_a_person_joined_is_verified_and_nothing_is_written(simulate, join):
    simulation = simulate(host=HOST_OWN, members=[{"role": "member", "secret": "host", "joined": "m1"}])
    run = join(simulation)
    assert run.state == "success", run.error
    assert [evidence.writes(cluster) for cluster in simulation.clusters.values()] == [[], []]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"authentication": {"jwtSecret": "AnotherSecret0fThisMember"}}, id="secret"),
        pytest.param({"multicluster": {"clusterRole": "none"}}, id="role"),
    ],
)
def test_what_changed_on_a_joined_member_is_put_right(simulate, join, spec):
    """Ready stays True through both: kubesphere-facts 6.6."""
    simulation = simulate(host=HOST_OWN)
    assert join(simulation).state == "success"
    simulation.clusters["m1"].edit("clusterconfigurations", "ks-installer", {"spec": spec}, "kubesphere-system")
    run = join(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)
    assert len(run.reports["verify_join"]["changed"]) == 1


def test_the_record_of_the_first_join_is_never_overwritten(simulate, join):
    simulation = simulate(host=HOST_OWN)
    member = simulation.clusters["m1"]
    assert join(simulation).state == "success"
    first = evidence.before_join(member)
    member.edit(
        "clusterconfigurations",
        "ks-installer",
        {"spec": {"multicluster": {"clusterRole": "none"}}},
        "kubesphere-system",
    )
    assert join(simulation).state == "success"
    assert evidence.before_join(member) == first


def test_a_run_of_the_installer_that_failed_silently_earlier_is_forced_again(simulate, join):
    simulation = simulate(host=HOST_OWN, members=[{"spec_ahead": True}])
    run = join(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)
    assert evidence.writes(simulation.clusters["m1"]) == ["patch deployments ks-installer"]
    assert "forcing a new run" in run.output
    assert "restarted, to force a new run" in str(run.reports["verify_join"]["changed"])


def test_a_run_of_the_installer_that_fails_once_is_forced_again(simulate, join):
    simulation = simulate(host=HOST_OWN, members=[{"installer": {"fail": "silent", "runs": 1}}])
    run = join(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)


@pytest.mark.parametrize(
    ("fail", "says"),
    [
        pytest.param("silent", "fatal:", id="silent"),
        pytest.param("crash", "has crashed", id="crash"),
    ],
)
def test_an_installer_that_keeps_failing_ends_the_run_with_its_own_words(simulate, join, fail, says):
    simulation = simulate(host=HOST_OWN, members=[{"installer": {"fail": fail}}])
    run = join(simulation)
    assert run.failed == ["wait_installer"]
    assert says in run.error
    assert "member cluster (connection m1)" in run.error
    evidence.assert_no_secret(run, simulation)
    assert "create clusters m1" not in evidence.writes(simulation.clusters["host"])


def test_a_host_whose_multicluster_component_fails_is_not_taken_for_finished(simulate, join):
    """The ConfigMap says host all the same: P-6."""
    simulation = simulate(host={"installer": {"fail": "component"}})
    run = join(simulation)
    assert run.failed == ["wait_installer"]
    assert "status.multicluster is not enabled" in run.error
    assert "Task 'multicluster' failed:" in run.error
    evidence.assert_no_secret(run, simulation)


def test_a_secret_that_the_host_is_about_to_get_is_waited_for(simulate, join):
    simulation = simulate(host={"jwt_in_spec": "SecretThatIsNotInForceYet"})
    run = join(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)
    assert evidence.secret_of(simulation.clusters["m1"]) == "SecretThatIsNotInForceYet"
    member = simulation.clusters["m1"]
    assert evidence.writes(member).count("patch clusterconfigurations ks-installer") == 1


@pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])
def test_a_member_that_the_host_cannot_reach_ends_with_the_hosts_own_reason(simulate, join, kubesphere):
    """3.0 has no Federated=False: there the reason is an Event."""
    simulation = simulate(kubesphere=kubesphere, host=HOST_OWN, members=[{"reachable": False}])
    run = join(simulation)
    assert run.failed == ["wait_agent_ready"]
    assert "connection refused" in run.error
    assert "member_server" in run.error


def test_a_wrong_address_is_mended_by_running_again_with_the_right_one(simulate, join):
    simulation = simulate(host=HOST_OWN)
    wrong = {"member_server": "https://10.99.99.99:6443"}
    assert join(simulation, **wrong).failed == ["preflight"]
    assert join(simulation, **wrong, waive=["server-name"]).failed == ["wait_agent_ready"]
    run = join(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)


def test_a_kubeconfig_of_loopback_is_refused_before_anything_is_written(simulate, join):
    simulation = simulate(host=HOST_OWN)
    run = join(simulation, without=["member_server"])
    assert run.failed == ["preflight"]
    assert "loopback" in run.error
    assert "Set member_server" in run.error
    assert [evidence.writes(cluster) for cluster in simulation.clusters.values()] == [[], []]


JUNK = base64.b64encode(b"this is no kubeconfig").decode()


def create_by_hand(cluster, *, name, kubeconfig):
    """Create a Cluster as a person does who pastes something into the dashboard."""
    body = {
        "apiVersion": "cluster.kubesphere.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {"joinFederation": True, "connection": {"type": "direct", "kubeconfig": kubeconfig}},
    }
    with config.new_client_from_config_dict(cluster.kubeconfig("admin")) as api:
        client.CustomObjectsApi(api).create_cluster_custom_object("cluster.kubesphere.io", "v1alpha1", "clusters", body)


def test_a_cluster_with_a_kubeconfig_that_is_none_is_refused(simulate, join):
    simulation = simulate(host=HOST_OWN)
    create_by_hand(simulation.clusters["host"], name="m1", kubeconfig=JUNK)
    run = join(simulation)
    assert run.failed == ["preflight"]
    assert "no usable kubeconfig" in run.error
    assert evidence.writes(simulation.clusters["m1"]) == []


def test_a_kubeconfig_that_becomes_none_during_the_wait_ends_the_wait(simulate, join):
    """The host's controller never writes a condition on such a Cluster, so nothing would ever happen."""
    simulation = simulate(host=HOST_OWN, timing={**TIMING, "sync": 0.7})
    host = simulation.clusters["host"]
    done = threading.Event()

    def spoil():
        while not done.wait(0.01):
            try:
                host.object("clusters", "m1")
            except KeyError:
                continue
            host.edit("clusters", "m1", {"spec": {"connection": {"kubeconfig": JUNK}}})
            return

    person = threading.Thread(target=spoil)
    person.start()
    run = join(simulation)
    done.set()
    person.join()
    assert run.failed == ["wait_agent_ready"]
    assert "written no condition" in run.error
    assert "The kubeconfig in Cluster m1 is none" in run.error


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        pytest.param(
            {"members": [{}, {"name": "m2", "role": "member", "secret": "host", "joined": "m1"}]},
            "belongs to another cluster",
            id="name-taken",
        ),
        pytest.param(
            {"members": [{"role": "member", "secret": "host", "joined": "other"}]},
            "already, as other",
            id="same-cluster-under-another-name",
        ),
        pytest.param(
            {"members": [{"role": "member", "other_host": "theirs"}]}, "belongs to another host", id="other-host"
        ),
        pytest.param({"members": [{"installed": False}]}, "KubeSphere 3.x is not installed", id="not-installed"),
    ],
)
def test_a_clash_is_refused_before_anything_is_written(simulate, join, scenario, says):
    simulation = simulate(host=HOST_OWN, **scenario)
    run = join(simulation)
    assert run.failed == ["preflight"]
    assert says in run.error
    assert not any(evidence.writes(cluster) for cluster in simulation.clusters.values())


def test_a_credential_of_another_cluster_is_not_given_to_the_host(simulate, join):
    simulation = simulate(host=HOST_OWN, members=[{}, {"name": "m2"}])
    run = join(simulation, import_conn_id="m2")
    assert run.failed == ["preflight"]
    assert "leads to another cluster" in run.error
    assert not any(evidence.writes(cluster) for cluster in simulation.clusters.values())


def test_waits_that_move_to_the_triggerer_end_the_same(simulate, join, monkeypatch):
    simulation = simulate()
    monkeypatch.setenv("AIRFLOW__FLEET__INLINE_WAIT", "0.05")
    run = join(simulation)
    assert run.state == "success", run.error
    evidence.assert_joined(simulation)
    assert "The wait goes on in the triggerer" in run.output
    assert len(run.reports["verify_join"]["changed"]) == 3
    evidence.assert_no_secret(run, simulation)


def test_a_failure_in_the_triggerer_ends_the_task_with_its_words(simulate, join, monkeypatch):
    simulation = simulate(host=HOST_OWN, members=[{"reachable": False}])
    monkeypatch.setenv("AIRFLOW__FLEET__INLINE_WAIT", "0.05")
    run = join(simulation)
    assert run.failed == ["wait_agent_ready"]
    assert "connection refused" in run.error
