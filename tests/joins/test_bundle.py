"""The file for a person, used on simulated clusters with kubectl: what it refuses, keeps and repeats."""

import re
import subprocess
import time

import pytest

from include.fleet import bundle, tower
from tests.joins import evidence, handing

BALANCER = "139.198.110.23"
TOKEN = "70ken" + "0" * 59
RELEASES = pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])


@pytest.fixture
def given(simulate, tmp_path):
    """Start clusters, and make a file for m1 of their host; returns both and what uses the file."""

    def start(*, member=None, changes=None, **scenario):
        host = {"role": "host", "load_balancer": BALANCER}
        simulation = simulate(host=host, members=[member or {}], **scenario)
        values = {
            "cluster": "m1",
            "run": "manual__1",
            "valid_until": int(time.time()) + 600,
            "host_uid": uid_of(simulation.clusters["host"]),
            "member_uid": "",
            "release": simulation.clusters["m1"].object("clusterconfigurations", "ks-installer", "kubesphere-system")[
                "metadata"
            ]["labels"]["version"][1:4],
            "installer_timeout": 60,
            "jwt_secret": evidence.secret_of(simulation.clusters["host"]),
            "agent": tower.agent_deployment("m1", token=TOKEN, address=f"http://{BALANCER}:8080", image="tower:v1"),
            **(changes or {}),
        }
        path = tmp_path / "m1.sh"
        path.write_text(bundle.Bundle(**values).text())

        def use(*arguments, cluster="m1", **options):
            return handing.use(path, simulation.clusters[cluster], *arguments, folder=tmp_path, **options)

        return simulation, path, use

    return start


def uid_of(cluster):
    return cluster.object("namespaces", "kube-system")["metadata"]["uid"]


def written(cluster):
    """What a person's kubectl has written."""
    return [
        f"{entry.verb} {entry.resource} {entry.name}"
        for entry in cluster.writes(user="admin")
        if entry.agent.startswith("kubectl") and entry.resource != "selfsubjectaccessreviews"
    ]


@RELEASES
def test_the_file_asks_for_role_and_secret_keeps_what_was_there_and_brings_the_agent(given, kubesphere):
    simulation, _, use = given(kubesphere=kubesphere)
    member = simulation.clusters["m1"]
    former = evidence.secret_of(member)
    done = use("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert evidence.role_of(member) == "member"
    assert evidence.secret_of(member) == evidence.secret_of(simulation.clusters["host"])
    kept = evidence.before_join(member)
    assert (kept["clusterRole"], kept["jwtSecret"], kept["secretInForce"]) == ("none", "", former)
    assert (kept["proxyPublishAddress"], kept["recordedBy"]) == ("", "manual__1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", kept["recordedAt"])
    deployment = member.object("deployments", "cluster-agent", "kubesphere-system")
    wanted = tower.agent_deployment("m1", token=TOKEN, address=f"http://{BALANCER}:8080", image="tower:v1")
    assert tower.agent_differences(deployment, wanted) == []


def test_the_file_used_again_changes_nothing_more(given):
    simulation, _, use = given()
    assert use("--yes").returncode == 0
    member = simulation.clusters["m1"]
    kept, before = evidence.before_join(member), written(member)
    assert before.count("patch clusterconfigurations ks-installer") == 1
    done = use("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert evidence.before_join(member) == kept
    assert [line for line in written(member)[len(before) :] if "cluster-agent" not in line] == []
    assert member.object("deployments", "cluster-agent", "kubesphere-system")["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        pytest.param({"changes": {"valid_until": 1}}, "was valid until 1970-01-01 00:00:01 UTC", id="too-late"),
        pytest.param({"changes": {"member_uid": "4711"}}, "m1 is another cluster on the host", id="another-member"),
        pytest.param({"changes": {"release": "3.0"}}, "KubeSphere here is v3.4.1", id="another-version"),
        pytest.param({"member": {"role": "host"}}, "This is a host cluster itself", id="a-host"),
        pytest.param({"member": {"role": "member", "joined": "theirs"}}, "its host calls it theirs", id="another-name"),
        pytest.param(
            {"member": {"role": "member", "joined": "m1"}}, "another host, which calls it m1, too", id="another-host"
        ),
        pytest.param(
            {"member": {"agent": {"name": "other", "token": "t" * 64, "server": "http://10.9.8.7:8080"}}},
            "An agent runs here as other",
            id="an-agent-of-another-name",
        ),
        pytest.param(
            {"member": {"agent": {"name": "m1", "token": "t" * 64, "server": "http://10.9.8.7:8080"}}},
            "An agent runs here for another host, at http://10.9.8.7:8080",
            id="an-agent-for-another-host",
        ),
    ],
)
def test_a_cluster_that_cannot_become_the_member_is_left_as_it_is(given, scenario, says):
    simulation, _, use = given(**scenario)
    done = use("--yes")
    assert done.returncode == 1
    assert says in done.stderr
    assert written(simulation.clusters["m1"]) == []


def test_the_host_itself_is_refused(given):
    simulation, _, use = given()
    done = use("--yes", cluster="host")
    assert done.returncode == 1
    assert "This is the host cluster itself" in done.stderr
    assert "This is a host cluster itself" in done.stderr
    assert written(simulation.clusters["host"]) == []


def test_a_context_that_is_not_there_is_told(given):
    simulation, _, use = given()
    done = use("--yes", "--context", "nowhere")
    assert done.returncode == 1
    assert "kubectl cannot read the cluster of context nowhere" in done.stderr
    assert written(simulation.clusters["m1"]) == []


@pytest.mark.parametrize("typed", ["", "yes\n", "m2\n"])
def test_nothing_is_changed_unless_a_person_types_the_members_name(given, typed):
    simulation, _, use = given()
    done = use(typed=typed)
    assert done.returncode == 1
    assert f"(kube-system UID {uid_of(simulation.clusters['m1'])})" in done.stdout
    assert "Context:    admin@m1" in done.stdout
    assert "not confirmed; nothing was changed" in done.stderr
    assert written(simulation.clusters["m1"]) == []


def test_a_person_who_types_the_members_name_goes_on(given):
    simulation, _, use = given()
    assert use(typed="m1\n").returncode == 0
    assert evidence.role_of(simulation.clusters["m1"]) == "member"


def test_a_file_that_only_checks_changes_nothing(given):
    simulation, _, use = given()
    done = use("--check")
    assert done.returncode == 0
    assert done.stdout.endswith("All checks passed.\n")
    assert written(simulation.clusters["m1"]) == []


def test_an_installer_that_gives_up_is_told_and_no_agent_is_brought(given):
    simulation, _, use = given(member={"installer": {"fail": "silent"}})
    done = use("--yes")
    assert done.returncode == 1
    assert "ks-installer is idle and has not done its work" in done.stderr
    assert "rollout restart deployment ks-installer" in done.stderr
    assert not [item for item in written(simulation.clusters["m1"]) if "cluster-agent" in item]


def test_a_kubectl_that_takes_no_patch_from_a_file_is_refused(given, tmp_path):
    """It would take the jwtSecret as an argument, which everybody on that machine can read."""
    simulation, _, use = given()
    old = tmp_path / "kubectl"
    old.write_text(f'#!/bin/sh\nexec {handing.KUBECTL} "$@" | grep -v -e --patch-file\n')
    old.chmod(0o755)
    done = use("--yes", kubectl=old)
    assert "this kubectl has no patch --patch-file" in done.stderr
    assert written(simulation.clusters["m1"]) == []


def test_the_file_prints_no_secret_not_even_traced(given, tmp_path):
    simulation, path, use = given()
    secrets = [TOKEN, *(secret for cluster in simulation.clusters.values() for secret in cluster.secrets())]
    traced = subprocess.run(["sh", "-x", str(path), "--help"], capture_output=True, text=True, check=False)
    done = use("--yes")
    assert done.returncode == 0
    shown = traced.stdout + traced.stderr + done.stdout + done.stderr
    assert "sh THIS_FILE" in shown
    assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"]], ids=["dash", "bash"])
def test_the_file_is_a_script_of_any_shell(given, shell):
    _, path, _ = given()
    assert subprocess.run([*shell, "-n", str(path)], check=False).returncode == 0


def test_a_bundle_shows_no_secret():
    agent = tower.agent_deployment("m1", token=TOKEN, address="http://x:1", image="")
    made = bundle.Bundle("m1", "r", 1, "h", "", "3.4", 1, "aSecret0fTheHost", agent)
    assert "aSecret0fTheHost" not in repr(made)
    assert TOKEN not in repr(made)
