"""Members that Airflow does not reach: a person does what the file says and nothing else, and the run ends joined."""

from pathlib import Path

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
        person.go()
        return run, person

    return run


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


@RELEASES
def test_a_joined_member_is_verified_and_nobody_is_asked(simulate, hand_over, folder, kubesphere):
    """The first run is Airflow's, so that the Cluster has its mark."""
    joined = {"role": "member", "secret": "host", "joined": "m1", "connection": "proxy"}
    simulation = simulate(kubesphere=kubesphere, host=HOST, members=[joined])
    run, person = hand_over(simulation)
    assert run.state == "success", run.error
    assert person.path is None
    assert "the agent of clusters/m1 is connected" in str(run.reports["hand_over"])
    assert not folder.exists()
    patched = [line for line in evidence.writes(simulation.clusters["host"]) if line != "patch clusters m1"]
    assert patched == []


def agent_alone(simulation, folder):
    """What brings the agent of a file and nothing else, as somebody who takes a short cut."""

    def act(path):
        manifest = path.read_text().partition("<<'END_OF_MANIFEST'\n")[2].partition("\nEND_OF_MANIFEST")[0]
        short = folder / "short.sh"
        short.write_text(f'"$KUBECTL" "$@" apply -f - <<\'END\'\n{manifest}\nEND\n')
        return handing.use(short, simulation.clusters["m1"], folder=folder)

    return act


@pytest.mark.parametrize(
    ("member", "says"),
    [
        pytest.param({}, "a ks-apiserver has not loaded the jwtSecret yet", id="another-secret"),
        pytest.param({"secret": "host"}, "the role of the member is none, not member", id="no-role"),
    ],
)
def test_an_agent_without_secret_and_role_is_ready_and_not_joined(simulate, hand_over, tmp_path, member, says):
    simulation = simulate(host=HOST, members=[member])
    run, _ = hand_over(simulation, agent_alone(simulation, tmp_path), verify_timeout=12)
    assert run.failed == ["verify_join"]
    assert says in run.error
    assert evidence.is_ready(simulation.clusters["host"].object("clusters", "m1"))
    evidence.assert_no_secret(run, simulation)


def test_a_file_used_on_a_member_of_another_name_ends_in_a_refusal(simulate, hand_over, tmp_path):
    """On 3.0, where the member does not know its name, so that the file cannot refuse it."""
    joined = {"name": "m2", "role": "member", "secret": "host", "joined": "m2"}
    simulation = simulate(kubesphere="v3.0.0", host=HOST, members=[{}, joined])

    def act(path):
        return handing.use(path, simulation.clusters["m2"], "--yes", folder=tmp_path)

    run, _ = hand_over(simulation, act)
    assert run.failed == ["verify_join"]
    assert "the host has this cluster already, as m2" in run.error


def token_of(simulation):
    return simulation.clusters["host"].object("clusters", "m1")["spec"]["connection"]["token"]


def test_a_member_that_nobody_joins_fails_in_time_and_its_file_is_good_for_nothing(simulate, hand_over, folder):
    simulation = simulate(host=HOST)
    run, person = hand_over(simulation, lambda path: None, handoff_timeout=3)
    assert run.failed == ["hand_over"]
    assert "Nobody has joined the member in that time. Run the join again: it makes a new file." in run.error
    assert list(folder.iterdir()) == []
    assert token_of(simulation) not in person.text
    assert "annotations" not in simulation.clusters["host"].object("clusters", "m1")["metadata"]
    # The next run's file is another one.
    run, second = hand_over(simulation)
    assert run.state == "success", run.error
    assert token_of(simulation) in second.text
    evidence.assert_joined(simulation)


def test_a_name_that_waits_for_a_person_is_not_given_to_a_member_that_airflow_reaches(simulate, join):
    simulation = simulate(host=HOST)
    waiting = {"apiVersion": "cluster.kubesphere.io/v1alpha1", "kind": "Cluster", "spec": {"joinFederation": True}}
    waiting["spec"]["connection"] = {"type": "proxy"}
    waiting["metadata"] = {"name": "m1", "annotations": {"join-member-cluster/handed-over": "manual__1"}}
    simulation.clusters["host"].put("clusters", waiting)
    run = join(simulation, without=("member_server",), connection="proxy")
    assert run.failed == ["preflight"]
    assert "Cluster m1 waits for the member that a person joins under this name" in run.error
    assert "run manual__1" in run.error


def test_a_folder_that_others_can_read_gets_no_secrets(simulate, hand_over, folder):
    folder.mkdir(mode=0o755)
    simulation = simulate(host=HOST)
    run, _ = hand_over(simulation)
    assert run.failed == ["hand_over"]
    assert f"The folder {folder} is open to others" in run.error
    assert list(folder.iterdir()) == []


def test_a_person_gets_no_time_that_airflow_does_not_give_the_run(simulate, hand_over):
    run, _ = hand_over(simulate(host=HOST), handoff_timeout=21600)
    assert run.failed == ["preflight"]
    assert "Airflow ends a run after 21600 s, which leaves a person 21430 s and not 21600" in run.error


def test_a_plan_looks_at_the_host_alone_and_says_what_it_could_not_look_at(simulate, hand_over):
    simulation = simulate(host=HOST)
    run, person = hand_over(simulation, plan_only=True)
    assert run.state == "success", run.error
    assert (person.path, run.tasks["hand_over"]) == (None, "skipped")
    assert {entry["cluster"] for entry in run.reports["plan"]["entries"]} == {"host"}
    assert any("A person gets a file" in note for note in run.reports["plan"]["notes"])
    found = {finding["check"]: finding for finding in run.reports["preflight"]["findings"]}
    assert found["member-rights"]["answer"] == found["same-cluster"]["answer"] == "incomplete"
    assert "Airflow does not reach the member cluster" in found["member-rights"]["evidence"]
    assert found["host-rights"]["answer"] == found["name-taken"]["answer"] == "ok"
    assert run.reports["preflight"]["member_uid"] == ""
    assert not any(evidence.writes(cluster) for cluster in simulation.clusters.values())


def test_a_file_that_cannot_be_deleted_is_told_and_the_next_run_is_let_in(simulate, hand_over, folder, monkeypatch):
    unlink = Path.unlink

    def refuse(path, missing_ok=False):
        if path.parent == folder:
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok)

    simulation = simulate(host=HOST)
    monkeypatch.setattr(Path, "unlink", refuse)
    run, person = hand_over(simulation, lambda path: None, handoff_timeout=3)
    assert run.tasks["end_turn"] == "success"
    assert f"{person.path} could not be deleted: Operation not permitted" in str(run.reports["end_turn"]["warnings"])
    assert simulation.clusters["host"].objects("leases") == []
