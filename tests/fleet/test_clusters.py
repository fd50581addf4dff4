"""Kubernetes access, over real HTTPS: what a server answers becomes one of our errors, and no secret leaks."""

import asyncio
import copy
import json
import logging

import pytest

from include.fleet import clusters, errors, kinds, kubeconfig, kubesphere, settings
from include.fleet.connections import importable_kubeconfig
from include.simulator.simulation import Simulation

LIMITS = settings.Settings(connect_timeout=2, request_timeout=5)
TIMING = {"queue": 0.05, "run": 0.3, "reload": 0.1, "sync": 0.05, "resync": 1, "kubelet": 0.05}


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    forbid = [{"verb": "get", "resource": "secrets"}]
    scenario = {"timing": TIMING, "members": [{"name": "m1", "forbid": forbid}]}
    with Simulation(scenario, directory=tmp_path_factory.mktemp("clusters")) as running:
        yield running


@pytest.fixture
def connections(simulation, monkeypatch):
    """The simulation's connections as Airflow's environment has them; a test may change one."""

    def set_connection(conn_id, connection):
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    for conn_id, connection in simulation.connections.items():
        set_connection(conn_id, connection)
    return set_connection


def ask(conn_id, question, *, role="member"):
    """Open one cluster and ask it one thing, as a step does."""

    async def run():
        async with clusters.connect(conn_id, role=role, limits=LIMITS) as cluster:
            return await question(cluster)

    return asyncio.run(run())


def test_an_object_that_is_not_there_reads_as_none(connections):
    missing = kinds.Ref(kinds.CONFIG_MAP, "missing", "default")
    assert ask("m1", lambda cluster: cluster.read(missing)) is None


def test_an_object_that_has_to_be_there_is_missed_by_name(connections):
    missing = kinds.Ref(kinds.CONFIG_MAP, "missing", "default")
    with pytest.raises(errors.ApiRefusedError, match=r"read configmaps/missing in default on the member cluster .*404"):
        ask("m1", lambda cluster: cluster.get(missing))


def test_a_missing_right_names_verb_resource_cluster_and_what_to_do(connections):
    with pytest.raises(errors.ForbiddenError) as caught:
        ask("m1", lambda cluster: cluster.get(kubesphere.SECRET))
    for words in ("read secrets/kubesphere-secret", "(connection m1)", 'cannot get resource "secrets"', "Grant"):
        assert words in str(caught.value)


def test_a_stale_patch_is_a_conflict_that_may_be_tried_again(connections):
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"x": 1}}
    with pytest.raises(errors.ConflictError, match="409"):
        ask("m1", lambda cluster: cluster.patch(kubesphere.CONFIGURATION, stale))


def test_creating_what_is_there_is_a_conflict(connections):
    ref = kinds.Ref(kinds.NAMESPACE, "kube-system")
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    with pytest.raises(errors.ConflictError):
        ask("m1", lambda cluster: cluster.create(ref, manifest))


def test_a_wrong_token_is_told_and_is_permanent(simulation, connections):
    document = copy.deepcopy(simulation.clusters["m1"].kubeconfig())
    document["users"][0]["user"]["token"] = "n0-such-t0ken"
    connections("m1", {"conn_type": "kubernetes", "extra": {"kube_config": document}})
    with pytest.raises(errors.PermanentError, match=r"401 Unauthorized.*Renew the connection's credential"):
        ask("m1", lambda cluster: cluster.get(kubesphere.IDENTITY))


def test_a_server_that_does_not_answer_may_be_tried_again(simulation, connections):
    document = copy.deepcopy(simulation.clusters["m1"].kubeconfig())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    connections("m1", {"conn_type": "kubernetes", "extra": {"kube_config": document}})
    with pytest.raises(errors.UnreachableError, match="no answer"):
        ask("m1", lambda cluster: cluster.get(kubesphere.IDENTITY))


def test_a_server_with_another_ca_is_not_trusted(simulation, connections):
    document = copy.deepcopy(simulation.clusters["m1"].kubeconfig())
    other = simulation.clusters["host"].kubeconfig()["clusters"][0]["cluster"]["certificate-authority-data"]
    document["clusters"][0]["cluster"]["certificate-authority-data"] = other
    connections("m1", {"conn_type": "kubernetes", "extra": {"kube_config": document}})
    with pytest.raises(errors.UnreachableError, match="certificate"):
        ask("m1", lambda cluster: cluster.get(kubesphere.IDENTITY))


def test_a_connection_that_does_not_exist_is_named(connections):
    with pytest.raises(errors.ConfError, match="no Airflow connection 'nowhere'"):
        ask("nowhere", lambda cluster: cluster.get(kubesphere.IDENTITY))


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        pytest.param({"kube_config": "users: [s3cr3t-t0ken"}, "is not YAML", id="no-yaml"),
        pytest.param({"kube_config": {"users": "s3cr3t-t0ken"}}, "cannot be loaded", id="no-kubeconfig"),
        pytest.param({"kube_config_path": "/nowhere/config"}, "cannot be read: No such file", id="no-file"),
    ],
)
def test_a_kubeconfig_that_cannot_be_loaded_is_told_without_its_text(connections, extra, says):
    connections("m1", {"conn_type": "kubernetes", "extra": extra})
    with pytest.raises(errors.ConfError, match=says) as caught:
        ask("m1", lambda cluster: cluster.get(kubesphere.IDENTITY))
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_two_clusters_opened_at_once_are_never_mixed_up(simulation, connections):
    """The hooks share one configuration in the process unless each gets its own."""

    async def uid(conn_id):
        async with clusters.connect(conn_id, role="member", limits=LIMITS) as cluster:
            return (await cluster.get(kubesphere.IDENTITY))["metadata"]["uid"]

    async def run():
        return await asyncio.gather(*[uid(conn_id) for conn_id in ("host", "m1") * 10])

    expected = [
        simulation.clusters[name].object("namespaces", "kube-system")["metadata"]["uid"] for name in ("host", "m1")
    ]
    assert asyncio.run(run()) == expected * 10


def test_a_watch_rings_when_the_object_changes_and_only_then(simulation, connections):
    async def question(cluster):
        opened = asyncio.Event()
        changes = cluster.changes(kubesphere.CONFIGURATION, opened=opened)
        await anext(changes)
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        edit = {"metadata": {"annotations": {"a": "b"}}}
        await asyncio.to_thread(
            simulation.clusters["m1"].edit, "clusterconfigurations", "ks-installer", edit, "kubesphere-system"
        )
        await asyncio.wait_for(waiting, 5)
        await changes.aclose()

    ask("m1", question)


def test_response_bodies_never_reach_a_debug_log(simulation, connections, caplog):
    caplog.set_level(logging.DEBUG)
    ask("host", lambda cluster: cluster.get(kubesphere.SECRET), role="host")
    assert not [secret for secret in simulation.clusters["host"].secrets() if secret in caplog.text]


def test_a_body_that_is_no_status_is_not_quoted():
    assert clusters.status_message('{"kind": "Secret", "message": "s3cr3t"}') == ""
    assert clusters.status_message("<html>s3cr3t</html>") == ""
    assert clusters.status_message('{"kind": "Status", "message": "no"}') == "no"


def test_the_kubeconfig_for_the_host_comes_from_a_file_as_well(simulation, connections, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(simulation.clusters["m1"].kubeconfig("admin")))
    connections("m1", {"conn_type": "kubernetes", "extra": {"kube_config_path": str(path)}})
    found = asyncio.run(importable_kubeconfig("m1", server="https://10.0.0.1:6443"))
    assert found.server == "https://10.0.0.1:6443"
    assert "client-key-data" in found.document["users"][0]["user"]


def test_a_connection_without_a_kubeconfig_cannot_be_imported(connections):
    connections("m1", {"conn_type": "kubernetes", "extra": {"in_cluster": True}})
    with pytest.raises(kubeconfig.KubeconfigError, match="no kubeconfig of its own"):
        asyncio.run(importable_kubeconfig("m1", server=None))
