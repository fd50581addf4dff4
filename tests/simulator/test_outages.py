"""What happens to the whole API server of a cluster, and to the credentials for it."""

import base64
import itertools
import json
import socket
import stat
import threading
import time

import kubernetes
import pytest
import urllib3

SYSTEM = "kubesphere-system"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
NAMESPACES = "/api/v1/namespaces"


@pytest.fixture
def simulation(simulate):
    return simulate(members=[{"name": "m1"}], aliases={"other": "m1"})


def refuses(cluster):
    """Say whether the port refuses connections."""
    host, _, port = cluster.server.removeprefix("https://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def watch(client, **options):
    return kubernetes.watch.Watch().stream(
        kubernetes.client.CoreV1Api(client).list_namespaced_config_map, "default", _request_timeout=20, **options
    )


def test_a_restarting_server_refuses_connections_and_serves_the_same_objects_on_the_same_port(
    simulation, connect, call, wait_for
):
    host = simulation.clusters["host"]
    client, address = connect(host), host.server
    host.put("configmaps", {"metadata": {"name": "kept"}}, "default")
    host.restart_server(0.4)
    assert refuses(host)
    wait_for(lambda: not refuses(host))
    assert host.server == address
    assert call(client, "GET", f"{CONFIG_MAPS}/kept")[0] == 200


def test_a_restart_cuts_open_connections(simulation, connect):
    host = simulation.clusters["host"]
    events = watch(connect(host))
    host.put("configmaps", {"metadata": {"name": "seen"}}, "default")
    assert next(events)["object"].metadata.name == "seen"
    restarting = threading.Timer(0.2, host.restart_server, [0.1])
    restarting.start()
    with pytest.raises(urllib3.exceptions.ProtocolError):
        list(itertools.islice(events, 3))
    restarting.join()


def test_two_restarts_at_once_are_one_outage(simulation, wait_for):
    host = simulation.clusters["host"]
    host.restart_server(0.1)
    host.restart_server(0.5)
    time.sleep(0.2)
    assert refuses(host)
    wait_for(lambda: not refuses(host))


def test_the_end_does_not_wait_for_a_server_that_is_away(simulate):
    host = simulate().clusters["host"]
    host.restart_server(60)


def test_the_actors_come_back_after_a_restart(simulation, wait_for):
    """Kubelet, controllers, and the program in a pod: a crashed pod is replaced, and a new spec is installed."""
    member = simulation.clusters["m1"]
    before = {item["metadata"]["uid"] for item in member.objects("pods", SYSTEM)}
    member.restart_server(0.5)
    member.kill_pod("ks-apiserver", SYSTEM)
    member.edit("clusterconfigurations", "ks-installer", {"spec": {"multicluster": {"clusterRole": "member"}}}, SYSTEM)
    wait_for(
        lambda: (
            "clusterRole: member" in member.object("configmaps", "kubesphere-config", SYSTEM)["data"]["kubesphere.yaml"]
        )
    )
    wait_for(
        lambda: (
            member.object("deployments", "ks-apiserver", SYSTEM)["status"].get("readyReplicas")
            and {item["metadata"]["uid"] for item in member.objects("pods", SYSTEM)} - before
        )
    )


def test_a_pod_deleted_before_an_outage_is_gone_after_it(simulation, connect, wait_for):
    member = simulation.clusters["m1"]
    name = member.objects("pods", SYSTEM)[0]["metadata"]["name"]
    kubernetes.client.CoreV1Api(connect(member)).delete_namespaced_pod(name, SYSTEM)
    member.restart_server(0.3)
    wait_for(lambda: name not in {item["metadata"]["name"] for item in member.objects("pods", SYSTEM)})


def test_an_installer_run_without_its_api_server_ends_as_a_failed_playbook(simulate, connect, wait_for, installer_log):
    """The hook takes kubectl's failure for its end and exits with 0, so that nothing repeats the run."""
    member = simulate({"run": 2}, members=[{"name": "m1"}]).clusters["m1"]
    member.edit("clusterconfigurations", "ks-installer", {"spec": {"multicluster": {"clusterRole": "member"}}}, SYSTEM)
    wait_for(lambda: "preinstall : preinstall" in installer_log(member, connect(member)).rpartition("TASK_HOOK_RUN")[2])
    member.restart_server(2.5)
    wait_for(lambda: not refuses(member))
    text = wait_for(lambda: (read := installer_log(member, connect(member))) and "FAILED! =>" in read and read)
    assert "connection refused" in text.rpartition("FAILED! =>")[2]
    config = member.object("configmaps", "kubesphere-config", SYSTEM)["data"]["kubesphere.yaml"]
    assert "clusterRole: member" not in config


@pytest.mark.parametrize("side", ["host", "m1"])
def test_a_join_goes_on_after_a_restart_of_either_side(simulate, wait_for, conditions, side):
    """A 3.4 controller tries a join that has failed again at the next resync (kubesphere-facts 6.3)."""
    simulation = simulate(
        {"resync": 0.5}, host={"role": "host"}, members=[{"name": "m1", "role": "member", "secret": "host"}]
    )
    host, member = simulation.clusters.values()
    simulation.clusters[side].restart_server(0.4)
    kubeconfig = member.kubeconfig("admin", server=member.pod_server)
    host.put(
        "clusters",
        {
            "apiVersion": "cluster.kubesphere.io/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": "first"},
            "spec": {
                "joinFederation": True,
                "connection": {"type": "direct", "kubeconfig": encoded(kubeconfig)},
            },
        },
    )
    wait_for(lambda: conditions(host.object("clusters", "first")).get("Ready") == "True", seconds=20)


def encoded(kubeconfig):
    return base64.b64encode(json.dumps(kubeconfig).encode()).decode()


def test_a_watch_that_resumes_from_before_a_compaction_is_told_410(simulation, connect):
    host = simulation.clusters["host"]
    host.put("configmaps", {"metadata": {"name": "first"}}, "default")
    events = watch(connect(host), resource_version=str(host.store.revision - 1))
    assert next(events)["type"] == "ADDED"
    host.put("configmaps", {"metadata": {"name": "second"}}, "default")
    assert next(events)["type"] == "ADDED"
    host.edit("configmaps", "first", {"data": {"a": "b"}}, "default")
    host.put("namespaces", {"metadata": {"name": "elsewhere"}})
    host.compact()
    with pytest.raises(kubernetes.client.ApiException) as raised:
        list(itertools.islice(events, 3))
    assert raised.value.status == 410


def test_a_new_credential_is_in_every_file_and_connection(simulation, tmp_path):
    member = simulation.clusters["m1"]
    before, old = simulation.connections["m1"], token(member.kubeconfig())
    simulation.renew_credential("m1")
    new = token(member.kubeconfig())
    assert new != old
    assert simulation.connections["m1"] != before
    assert simulation.connections["other"] == simulation.connections["m1"]
    assert token(simulation.connections["m1"]["extra"]["kube_config"]) == new
    assert json.loads((tmp_path / "connections.json").read_text()) == simulation.connections
    text = (tmp_path / "m1.kubeconfig").read_text()
    assert new in text
    assert old not in text
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert {old, new} <= set(member.secrets())


def token(kubeconfig):
    return kubeconfig["users"][0]["user"]["token"]


def test_a_former_credential_is_unauthorized_and_the_new_one_works(simulation, connect, call):
    member = simulation.clusters["m1"]
    former = connect(member)
    assert call(former, "GET", NAMESPACES)[0] == 200
    simulation.renew_credential("m1")
    assert call(former, "GET", NAMESPACES)[0] == 401
    assert call(connect(member), "GET", NAMESPACES)[0] == 200
    assert call(connect(simulation.clusters["host"]), "GET", NAMESPACES)[0] == 200, "others keep theirs"


def test_a_watch_outlives_its_credential(simulation, connect):
    member = simulation.clusters["m1"]
    member.put("configmaps", {"metadata": {"name": "first"}}, "default")
    events = watch(connect(member))
    next(events)
    simulation.renew_credential("m1")
    member.put("configmaps", {"metadata": {"name": "second"}}, "default")
    assert next(event["object"].metadata.name for event in events if "kube" not in event["object"].metadata.name)


def test_a_refused_credential_is_taken_again(simulation, connect, call, wait_for):
    member = simulation.clusters["m1"]
    client = connect(member)
    member.refuse_credential(0.3)
    assert call(client, "GET", NAMESPACES)[0] == 401
    wait_for(lambda: call(client, "GET", NAMESPACES)[0] == 200)
