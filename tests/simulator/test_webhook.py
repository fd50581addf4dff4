"""KubeSphere 3.4 asks a member before its Cluster is changed (kubesphere-facts 6.9): what it refuses, and the way out.

Only where clusters are simulated: a real API server wants TLS of a webhook, which programs of pods do not have here.
"""

import base64
import json
import time

import kubernetes
import pytest
import yaml

from include.simulator import loading, scenario, status
from include.simulator.simulation import Simulation
from tests.simulator.conftest import FAST

DEAD = {"name": "m1", "role": "member", "joined": "m1", "reachable": False}
LIVING = {"name": "m1", "role": "member", "joined": "m1"}
INGRESS = "139.198.110.23"
BEHIND_TOWER = {**LIVING, "connection": "proxy"}
CLUSTER = "/apis/cluster.kubesphere.io/v1alpha1/clusters/m1"
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/cluster.kubesphere.io"
LABEL = {"metadata": {"labels": {"a": "b"}}}
MERGE = {"Content-Type": "application/merge-patch+json"}
DENIED = 'admission webhook "validating-cluster.kubesphere.io" denied the request: '
SYSTEM = "kubesphere-system"


@pytest.fixture
def start(tmp_path):
    """Start a simulation of a scenario; it ends with the test."""
    running = []

    def simulate(*members, timing=None, host=None, **source):
        source |= {"host": {"role": "host", **(host or {})}, "members": [*members]}
        simulation = Simulation({**source, "timing": {**FAST, **(timing or {})}}, directory=tmp_path)
        running.append(simulation)
        return simulation.__enter__()

    yield simulate
    for simulation in running:
        simulation.__exit__(None, None, None)


def connection(kubeconfig):
    """A change of a Cluster's kubeconfig."""
    text = kubeconfig if isinstance(kubeconfig, str) else yaml.safe_dump(kubeconfig)
    return {"spec": {"connection": {"kubeconfig": base64.b64encode(text.encode()).decode()}}}


def test_a_dead_members_cluster_cannot_be_changed_and_says_why(start, connect, call):
    host = start(DEAD).clusters["host"]
    code, text = call(connect(host), "PATCH", CLUSTER, body=LABEL, headers=MERGE)
    url = "https://10.20.1.1:6443/api/v1/namespaces/kube-system"
    reason = f'Get "{url}": dial tcp 10.20.1.1:6443: connect: connection refused'
    assert (code, json.loads(text)) == (
        403,
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": DENIED + reason,
            "reason": reason,
            "code": 403,
        },
    )


def test_a_dead_members_cluster_goes_on_saying_that_it_is_ready(start, conditions, wait_for):
    host = start(DEAD, timing={"resync": 0.1}).clusters["host"]
    before = host.object("clusters", "m1")
    controller = "system:serviceaccount:kubesphere-system:kubesphere"

    def refusals():
        entries = [entry for entry in host.audit() if entry.user == controller and entry.verb == "update"]
        return [entry for entry in entries if entry.name == "m1" and entry.code == 403]

    wait_for(lambda: len(refusals()) > 2)
    assert host.object("clusters", "m1") == before
    assert conditions(before)["Ready"] == "True"


def test_a_dead_members_cluster_cannot_be_deleted_until_the_webhook_is_set_aside(start, connect, call, wait_for):
    host = start(DEAD).clusters["host"]
    client = connect(host)
    api = kubernetes.client.CustomObjectsApi(client)
    kind = {"group": "cluster.kubesphere.io", "version": "v1alpha1", "plural": "clusters"}
    api.delete_cluster_custom_object(**kind, name="m1")
    code, _ = call(client, "PATCH", CLUSTER, body={"metadata": {"finalizers": None}}, headers=MERGE)
    assert code == 403
    assert host.object("clusters", "m1")["metadata"]["deletionTimestamp"]
    saved = json.loads(call(client, "GET", CONFIGURATION)[1])
    assert call(client, "DELETE", CONFIGURATION)[0] == 200
    # By hand or by the controller, whoever is first.
    assert call(client, "PATCH", CLUSTER, body={"metadata": {"finalizers": None}}, headers=MERGE)[0] in {200, 404}
    wait_for(lambda: not [item for item in host.objects("clusters") if item["metadata"]["name"] == "m1"])
    metadata = {"name": saved["metadata"]["name"]}
    path = CONFIGURATION.rpartition("/")[0]
    assert call(client, "POST", path, body={**saved, "metadata": metadata})[0] == 201


def test_a_living_members_cluster_can_be_changed(start):
    simulation = start(LIVING)
    host, member = simulation.clusters.values()
    host.edit("clusters", "m1", LABEL)
    host.edit("clusters", "m1", connection(member.kubeconfig("admin", server=member.pod_server)))


@pytest.mark.parametrize(
    ("of", "says"),
    [
        (
            lambda other: other.kubeconfig("admin", server=other.pod_server),
            (
                "this kubeconfig corresponds to a different cluster than the previous one, you need to make sure that "
                "kubeconfig is not from another cluster"
            ),
        ),
        (lambda _: "none", "failed to load cluster config for m1: couldn't get version/kind; json parse error"),
    ],
    ids=["of another cluster", "none"],
)
def test_a_kubeconfig_that_does_not_lead_to_the_member_is_denied(start, of, says):
    simulation = start(LIVING, {"name": "m2"})
    host, before = simulation.clusters["host"], simulation.clusters["host"].object("clusters", "m1")
    with pytest.raises(status.ApiError) as caught:
        host.edit("clusters", "m1", connection(of(simulation.clusters["m2"])))
    assert caught.value.code == 403
    assert str(caught.value).startswith(DENIED + says)
    assert host.object("clusters", "m1") == before


def test_a_cluster_that_was_never_joined_can_be_changed(start):
    """It tells no uid yet."""
    host = start().clusters["host"]
    host.put("clusters", {"metadata": {"name": "m1"}, "spec": {"connection": {"type": "direct"}}})
    host.edit("clusters", "m1", LABEL)


def test_a_lost_agent_does_not_show(start, conditions, wait_for):
    simulation = start(BEHIND_TOWER, host={"load_balancer": INGRESS}, timing={"resync": 0.2})
    host, member = simulation.clusters.values()
    before = conditions(host.object("clusters", "m1"))
    member.scale("cluster-agent", 0)
    wait_for(lambda: [entry for entry in host.audit() if entry.name == "m1" and entry.code == 403])
    time.sleep(0.5)
    assert conditions(host.object("clusters", "m1")) == before
    assert before["AgentAvailable"] == before["Ready"] == "True"
    kubeconfig = host.object("clusters", "m1")["spec"]["connection"]["kubeconfig"]
    member.scale("cluster-agent", 1)
    wait_for(lambda: host.object("clusters", "m1")["spec"]["connection"]["kubeconfig"] != kubeconfig)


def test_without_its_controller_manager_no_cluster_can_be_changed(start, wait_for):
    host = start(LIVING).clusters["host"]
    address = host.object("services", "ks-controller-manager", SYSTEM)["spec"]["clusterIP"]
    host.scale("ks-controller-manager", 0)
    wait_for(lambda: not host.object("endpoints", "ks-controller-manager", SYSTEM).get("subsets"))
    with pytest.raises(status.ApiError) as caught:
        host.edit("clusters", "m1", LABEL)
    assert caught.value.code == 500
    assert str(caught.value) == (
        'Internal error occurred: failed calling webhook "validating-cluster.kubesphere.io": failed to call webhook: '
        'Post "https://ks-controller-manager.kubesphere-system.svc:443/validate-cluster-kubesphere-io-v1alpha1'
        f'?timeout=30s": dial tcp {address}:443: connect: connection refused'
    )
    host.scale("ks-controller-manager", 1)

    def changed():
        try:
            return host.edit("clusters", "m1", LABEL)
        except status.ApiError:
            return None

    wait_for(changed)


def test_a_configuration_that_an_earlier_kubesphere_left_refuses_every_change(start, wait_for, conditions):
    host = start(LIVING, host={"webhook": "stale"}).clusters["host"]
    for name in ("host", "m1"):
        with pytest.raises(status.ApiError) as caught:
            host.edit("clusters", name, LABEL)
        assert (caught.value.code, caught.value.reason) == (500, "InternalError")
        failed = 'Internal error occurred: failed calling webhook "validating-cluster.kubesphere.io": failed to call '
        assert str(caught.value).startswith(failed)
        assert str(caught.value).endswith("x509: certificate signed by unknown authority")


@pytest.mark.parametrize(
    ("source", "there"),
    [({}, True), ({"host": {"webhook": False}}, False), ({"kubesphere": "v3.0.0"}, False)],
    ids=["3.4", "taken away", "3.0"],
)
def test_the_webhook_is_there_unless_a_scenario_or_the_version_says_otherwise(start, source, there):
    host = start(**source).clusters["host"]
    assert [item["metadata"]["name"] for item in host.objects("validatingwebhookconfigurations")] == (
        ["cluster.kubesphere.io"] if there else []
    )


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"host": {"webhook": "old"}}, "host.webhook: expected true, false or stale, got 'old'"),
        ({"host": {"webhook": 1}}, "host.webhook: expected true, false or stale, got 1"),
        ({"kubesphere": "v3.0.0", "host": {"webhook": "stale"}}, "host.webhook: KubeSphere v3.0.0 has none"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(source, problem):
    with pytest.raises(scenario.ScenarioError) as raised:
        loading.load(source)
    assert raised.value.problems == [problem]
