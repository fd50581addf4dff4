"""Members that Airflow does not reach: a person does what the file says and nothing else, and the run ends joined."""

import pytest

from tests.joins import evidence, handing

LOAD_BALANCER = "139.198.110.23"
HOST = {"role": "host", "load_balancer": LOAD_BALANCER}
RELEASES = pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])
CONF = {"connection": "proxy", "member_access": "handoff", "tower_timeout": 20, "handoff_timeout": 90}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the files for people are."""
    monkeypatch.setenv("AIRFLOW__FLEET__HANDOFF_DIR", str(tmp_path / "handoff"))
    return tmp_path / "handoff"


@pytest.fixture
def hand_over(folder, join, tmp_path):
    """Run the DAG once for a member that Airflow does not reach, while a person does something with the file."""

    def run(simulation, act=None, **conf):
        def runs(path):
            return handing.use(path, simulation.clusters["m1"], "--yes", folder=tmp_path)

        person = handing.Person(folder, act or runs)
        person.start()
        run = join(simulation, without=("member_server", "member_conn_id"), **{**CONF, **conf})
        return run, person

    return run


def words_of(cluster):
    (container,) = cluster.object("deployments", "cluster-agent", "kubesphere-system")["spec"]["template"]["spec"][
        "containers"
    ]
    return container["command"]


@RELEASES
def test_a_member_joined_by_the_file_alone_ends_joined_and_nobody_answers(simulate, hand_over, folder, kubesphere):
    simulation = simulate(kubesphere=kubesphere, host={"load_balancer": LOAD_BALANCER})
    run, person = hand_over(simulation)
    assert person.finished.returncode == 0, person.finished.stderr + person.finished.stdout
    assert run.state == "success", run.error
    evidence.assert_joined(simulation, identity=kubesphere == "v3.4.1")
    assert run.tasks["deploy_agent"] == run.tasks["prepare_kubeconfig"] == "skipped"
    assert evidence.writes(simulation.clusters["m1"]) == []
    uid = simulation.clusters["m1"].object("namespaces", "kube-system")["metadata"]["uid"]
    report = run.reports["verify_join"]
    assert report["member_uid"] == uid
    assert "static token" in report["proof"]
    annotations = simulation.clusters["host"].object("clusters", "m1")["metadata"]["annotations"]
    assert annotations == {"join-member-cluster/member-uid": uid}
    assert simulation.clusters["host"].objects("leases") == []
    assert list(folder.iterdir()) == []
    evidence.assert_no_secret(run, simulation)
