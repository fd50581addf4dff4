"""What a simulation hands out: files, connections, start states, and the command."""

import base64
import datetime
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import kubernetes
import pytest
import yaml

from include.simulator.simulation import Simulation

ROOT = Path(__file__).parents[2]
SYSTEM = "kubesphere-system"


def settings(cluster):
    return yaml.safe_load(cluster.object("configmaps", "kubesphere-config", SYSTEM)["data"]["kubesphere.yaml"])


def secret(cluster):
    return base64.b64decode(cluster.object("secrets", "kubesphere-secret", SYSTEM)["data"]["secret"]).decode()


def spec(cluster):
    return cluster.object("clusterconfigurations", "ks-installer", SYSTEM)["spec"]


def test_the_files_are_private_and_the_connections_in_airflows_form(simulate, tmp_path):
    simulation = simulate(members=[{"name": "m1"}], aliases={"other": "m1"})
    assert {path.name for path in tmp_path.iterdir()} == {
        "host.kubeconfig",
        "host.admin.kubeconfig",
        "m1.kubeconfig",
        "m1.admin.kubeconfig",
        "kubeconfig",
        "connections.json",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    connections = json.loads((tmp_path / "connections.json").read_text())
    assert connections == simulation.connections
    assert connections["host"] == {
        "conn_type": "kubernetes",
        "extra": {"kube_config_path": str(tmp_path / "host.kubeconfig")},
    }
    assert connections["m1"]["extra"]["kube_config"] == simulation.clusters["m1"].kubeconfig()
    assert connections["other"] == connections["m1"]


def test_one_kubeconfig_reaches_all_clusters_by_their_names_and_at_first_the_host(simulate, tmp_path):
    simulation = simulate(members=[{"name": "m1"}])
    for context, name in ((None, "host"), ("host", "host"), ("m1", "m1")):
        with kubernetes.config.new_client_from_config(str(tmp_path / "kubeconfig"), context=context) as client:
            found = kubernetes.client.CoreV1Api(client).read_namespace("kube-system").metadata.uid
            client.rest_client.pool_manager.clear()
        assert found == simulation.clusters[name].object("namespaces", "kube-system")["metadata"]["uid"]


def answers(address, port, *, authority):
    """Whether a server of this authority listens there; somebody else's may, with the same port at another address."""
    context = ssl.create_default_context(cafile=authority)
    context.check_hostname = False
    try:
        with socket.create_connection((address, port), timeout=10) as plain, context.wrap_socket(plain):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("address", ["127.0.0.2", "localhost"], ids=["address", "name"])
def test_the_servers_listen_at_the_given_address_only_and_are_called_by_it(tmp_path, address):
    """As another container does: by the name in the file, verified."""
    with Simulation({"members": [{"name": "m1"}]}, directory=tmp_path, address=address) as simulation:
        for name, cluster in simulation.clusters.items():
            assert cluster.server.startswith(f"https://{address}:")
            with kubernetes.config.new_client_from_config(str(tmp_path / f"{name}.kubeconfig")) as client:
                assert client.configuration.host == cluster.server
                kubernetes.client.CoreV1Api(client).list_namespace()
                client.rest_client.pool_manager.clear()
                authority, port = client.configuration.ssl_ca_cert, int(cluster.server.rpartition(":")[2])
            elsewhere = {"127.0.0.2": "127.0.0.1", "localhost": "127.0.0.2"}[address]
            assert answers(address, port, authority=authority)
            assert not answers(elsewhere, port, authority=authority)


@pytest.mark.parametrize("user", ["airflow", "admin"])
def test_a_kubeconfig_file_reaches_its_cluster(simulate, tmp_path, user):
    simulation = simulate()
    name = "host.kubeconfig" if user == "airflow" else "host.admin.kubeconfig"
    with kubernetes.config.new_client_from_config(str(tmp_path / name)) as client:
        kubernetes.client.CoreV1Api(client).list_namespace()
        client.rest_client.pool_manager.clear()
    assert user in {entry.user for entry in simulation.clusters["host"].audit()}


def test_a_fresh_cluster_starts_no_run_and_is_not_written_to(simulate, connect, installer_log, queue_length):
    host = simulate().clusters["host"]
    client = connect(host)
    assert queue_length(host, client) == 0
    assert "TASK_RUN" not in installer_log(host, client)
    assert host.writes("system:serviceaccount:kubesphere-system:ks-installer") == []


def test_a_host_that_is_one_already_has_what_the_role_brings(simulate, conditions):
    host = simulate(host={"role": "host"}).clusters["host"]
    assert settings(host)["multicluster"]["clusterRole"] == "host"
    assert conditions(host.object("clusters", "host")) == {"Federated": "True", "Ready": "True"}
    assert host.object("deployments", "tower", SYSTEM)["status"]["availableReplicas"] == 1


def test_a_secret_ahead_in_the_hosts_spec_is_not_in_force(simulate):
    host = simulate(host={"role": "host", "jwt_in_spec": "ahead1"}).clusters["host"]
    assert spec(host)["authentication"]["jwtSecret"] == "ahead1"
    assert settings(host)["authentication"]["jwtSecret"] == secret(host) != "ahead1"
    assert "ahead1" in host.secrets()


def test_a_spec_ahead_is_a_run_that_failed_silently_before(simulate, connect, installer_log, queue_length):
    simulation = simulate(members=[{"name": "m1", "spec_ahead": True}])
    host, member = simulation.clusters.values()
    assert spec(member)["multicluster"]["clusterRole"] == "member"
    assert spec(member)["authentication"]["jwtSecret"] == secret(host)
    assert settings(member)["multicluster"]["clusterRole"] == "none"
    assert secret(member) != secret(host)
    client = connect(member)
    assert queue_length(member, client) == 0
    text = installer_log(member, client)
    assert f"jwt.sh {secret(host)}" in text
    assert text.rstrip().endswith("ignored=0"), "the failed run is the last thing in the log"


def test_members_start_with_the_secret_they_are_given(simulate):
    simulation = simulate(
        host={"role": "host"},
        members=[
            {"name": "same", "role": "member", "secret": "host"},
            {"name": "own", "other_host": "elsewhere", "role": "member"},
        ],
    )
    host, same, own = simulation.clusters.values()
    assert secret(same) == settings(same)["authentication"]["jwtSecret"] == secret(host)
    assert secret(own) != secret(host)
    assert settings(own)["multicluster"]["clusterName"] == "elsewhere"


def test_a_joined_member_is_ready_and_stays_so_without_another_write_to_it(simulate, wait_for, conditions):
    simulation = simulate(
        timing={"resync": 0.2},
        host={"role": "host"},
        members=[{"name": "m1", "role": "member", "secret": "host", "joined": "first"}],
    )
    host, member = simulation.clusters.values()
    before = host.object("clusters", "first")
    assert conditions(before) == {"Federated": "True", "Ready": "True", "KubeConfigCertExpiresInSevenDays": "False"}
    assert before["status"]["uid"] == member.object("namespaces", "kube-system")["metadata"]["uid"]
    wait_for(lambda: host.object("clusters", "first")["status"]["conditions"] != before["status"]["conditions"])
    assert conditions(host.object("clusters", "first")) == conditions(before)
    config = member.object("configmaps", "kubesphere-config", SYSTEM)
    assert config["metadata"]["resourceVersion"] == next(
        item["metadata"]["resourceVersion"] for item in member.objects("configmaps", SYSTEM)
    )
    assert not [entry for entry in member.writes("admin") if entry.resource == "configmaps"]


def test_a_bare_cluster_has_kubernetes_only(simulate):
    bare = simulate(members=[{"name": "m1", "installed": False}]).clusters["m1"]
    assert bare.objects("nodes")
    assert bare.objects("customresourcedefinitions") == []
    with pytest.raises(KeyError):
        bare.object("namespaces", SYSTEM)


def test_the_secrets_of_a_cluster_are_listed(simulate):
    host = simulate().clusters["host"]
    user = host.kubeconfig("admin")["users"][0]["user"]
    listed = host.secrets()
    assert secret(host) in listed
    assert host.kubeconfig()["users"][0]["user"]["token"] in listed
    assert user["client-key-data"] in listed
    assert base64.b64decode(user["client-key-data"]).decode() in listed
    assert "" not in listed


def test_an_edit_is_a_persons_write_and_what_is_returned_is_a_copy(simulate):
    host = simulate().clusters["host"]
    edited = host.edit("configmaps", "kubesphere-config", {"metadata": {"labels": {"a": "b"}}}, SYSTEM)
    edited["metadata"]["labels"]["a"] = "changed"
    assert host.object("configmaps", "kubesphere-config", SYSTEM)["metadata"]["labels"] == {"a": "b"}
    assert [(entry.verb, entry.resource) for entry in host.writes("person")] == [("patch", "configmaps")]


def test_objects_can_be_read_after_the_end(tmp_path):
    with Simulation({}, directory=tmp_path) as simulation:
        host = simulation.clusters["host"]
    assert host.objects("nodes")
    with pytest.raises(KeyError):
        host.object("nodes", "none")


def test_clusters_differ_in_their_authorities_and_addresses(simulate):
    simulation = simulate(members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    assert host.server != member.server
    assert host.pod_server != member.pod_server
    bundles = {
        cluster.kubeconfig()["clusters"][0]["cluster"]["certificate-authority-data"]
        for cluster in simulation.clusters.values()
    }
    assert len(bundles) == 2


def run(*arguments):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "include.simulator", *map(str, arguments)],
        cwd=ROOT,
        text=True,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_one_line_when_ready_and_ends_with_a_signal(tmp_path, number):
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("members: [{name: m1}]\n")
    with run(scenario, "--directory", tmp_path / "out") as process:
        ready = json.loads(process.stdout.readline())
        assert ready["ready"] is True
        assert ready["directory"] == str(tmp_path / "out")
        assert set(ready["clusters"]) == {"host", "m1"}
        assert set(ready["clusters"]["m1"]) == {"server", "pod_server"}
        process.send_signal(number)
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_the_command_leaves_the_audit_logs_behind(tmp_path):
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("members: [{name: m1}]\n")
    with run(scenario, "--directory", tmp_path) as process:
        ready = json.loads(process.stdout.readline())
        kubeconfig = yaml.safe_load((tmp_path / "m1.kubeconfig").read_text())
        with kubernetes.config.new_client_from_config_dict(kubeconfig) as client:
            kubernetes.client.CoreV1Api(client).read_namespace("kube-system")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert set(ready["clusters"]) == {"host", "m1"}
    entries = [json.loads(line) for line in (tmp_path / "m1.audit.jsonl").read_text().splitlines()]
    (entry,) = [entry for entry in entries if entry["agent"].startswith("OpenAPI-Generator/")]
    assert (entry["user"], entry["verb"], entry["resource"], entry["name"], entry["code"]) == (
        "airflow",
        "get",
        "namespaces",
        "kube-system",
        200,
    )
    assert datetime.datetime.fromisoformat(entry["time"]).tzinfo
    assert (tmp_path / "host.audit.jsonl").exists()


def test_the_command_refuses_an_impossible_scenario_with_every_problem(tmp_path):
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("host: {role: x}\nmembers: [{}]\n")
    with run(scenario, "--directory", tmp_path) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors.splitlines() == ["host.role: expected none or host, got 'x'", "members[0].name: required"]


def test_the_command_says_why_it_cannot_listen(tmp_path):
    (tmp_path / "scenario.yaml").write_text("{}\n")
    with run(tmp_path / "scenario.yaml", "--directory", tmp_path, "--address", "192.0.2.1") as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "cannot begin at 192.0.2.1" in errors
    assert "Cannot assign requested address" in errors
