"""What the API layer does for a simulation alone: rules of a scenario, the audit log, and limits of the simulator.

What it shares with a real API server is in tests/contract.
"""

import asyncio
import json

import kubernetes
import kubernetes_asyncio
import pytest

from include.simulator import resources, status
from include.simulator.simulation import Simulation

CLUSTER = "/apis/cluster.kubesphere.io/v1alpha1/clusters"
CONFIGURATION = "/apis/installer.kubesphere.io/v1alpha1/namespaces/kubesphere-system/clusterconfigurations/ks-installer"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    forbid = [
        {"verb": "patch", "resource": "clusterconfigurations"},
        {"verb": "get", "resource": "pods/log"},
        {"verb": "*", "resource": "storageclasses"},
    ]
    scenario = {
        "host": {"forbid": forbid},
        "members": [{"name": "bare", "installed": False}],
        "timing": {"queue": 0, "run": 0.05, "reload": 0, "sync": 0, "kubelet": 0},
    }
    with Simulation(scenario, directory=tmp_path_factory.mktemp("api")) as simulation:
        host = simulation.clusters["host"]
        host.bare = simulation.clusters["bare"]
        yield host


@pytest.fixture(scope="module")
def client(host, connect):
    return connect(host)


@pytest.fixture
def send(client, call):
    """Send a request and return the code and the parsed body."""

    def request(method, path, body=None, headers=None, **query):
        code, text = call(client, method, path, body=body, headers=headers, query=list(query.items()))
        return code, json.loads(text)

    return request


def config_map(name, **data):
    return {"metadata": {"name": name}, "data": data}


def test_a_forbidden_request_says_who_may_not_do_what(host, client, call):
    code, text = call(client, "PATCH", CONFIGURATION, body={"spec": {}}, headers=MERGE)
    body = json.loads(text)
    assert (code, body["reason"]) == (403, "Forbidden")
    assert body["message"] == (
        'clusterconfigurations.installer.kubesphere.io "ks-installer" is forbidden: User "airflow" cannot patch '
        'resource "clusterconfigurations" in API group "installer.kubesphere.io" in the namespace '
        '"kubesphere-system"'
    )
    assert host.audit()[-1].code == 403


def test_subresources_are_forbidden_by_their_own_name(host, send):
    pod = host.objects("pods", "kubesphere-system")[0]["metadata"]["name"]
    code, body = send("GET", f"/api/v1/namespaces/kubesphere-system/pods/{pod}/log")
    assert code == 403
    assert 'cannot get resource "pods/log" in API group "" in the namespace "kubesphere-system"' in body["message"]


def test_a_rule_binds_airflow_and_not_the_administrator(host, call, connect, send):
    path = "/apis/storage.k8s.io/v1/storageclasses"
    code, body = send("GET", path)
    assert (code, body["message"]) == (
        403,
        (
            'storageclasses.storage.k8s.io is forbidden: User "airflow" cannot list resource "storageclasses" '
            'in API group "storage.k8s.io" at the cluster scope'
        ),
    )
    assert call(connect(host, "admin"), "GET", path)[0] == 200
    assert host.audit()[-1].user == "admin", "the user of a client certificate is its common name"


def test_a_bare_cluster_does_not_know_kubesphere(host, connect, call):
    assert call(connect(host.bare), "GET", CONFIGURATION)[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("PATCH", f"{CLUSTER}/any", "application/apply-patch+yaml"),
        ("PATCH", f"{CONFIG_MAPS}/any", "application/apply-patch+yaml"),
        ("POST", CONFIG_MAPS, "application/vnd.kubernetes.protobuf"),
    ],
)
def test_nothing_is_applied_by_the_server_or_read_from_protobuf(client, call, method, path, content_type):
    code, text = call(client, method, path, body="x", headers={"Content-Type": content_type})
    assert (code, json.loads(text)["reason"]) == (415, "UnsupportedMediaType")


def test_nobody_is_told_what_was_before_the_history(host, send, client):
    _, created = send("POST", CONFIG_MAPS, config_map("forgotten"))
    send("PATCH", f"{CONFIG_MAPS}/forgotten", {"data": {"a": "1"}}, MERGE)
    host.store.compact()
    version = created["metadata"]["resourceVersion"]
    api = kubernetes.client.CoreV1Api(client)
    stream = kubernetes.watch.Watch().stream(api.list_namespaced_config_map, "default", resource_version=version)
    with pytest.raises(kubernetes.client.ApiException) as raised:
        next(stream)
    assert raised.value.status == 410
    assert "too old resource version: " in raised.value.reason
    with pytest.raises(status.ApiError) as refused:
        host.store.select(resources.CONFIGMAPS, revision=int(version))
    assert refused.value.code == 410


def test_the_version_is_served(client):
    assert kubernetes.client.VersionApi(client).get_code().git_version == "v1.22.12"


def test_the_asynchronous_client_lists_and_watches(host):
    async def use():
        loader = kubernetes_asyncio.config.kube_config.KubeConfigLoader(host.kubeconfig("admin"))
        configuration = kubernetes_asyncio.client.Configuration()
        await loader.load_and_set(configuration)
        async with kubernetes_asyncio.client.ApiClient(configuration) as client:
            api = kubernetes_asyncio.client.CoreV1Api(client)
            listed = await api.list_node()
            async with kubernetes_asyncio.watch.Watch() as stream:
                events = [event["type"] async for event in stream.stream(api.list_node, timeout_seconds=1)]
        return listed.items[0].metadata.name, events

    assert asyncio.run(use()) == ("host-node1", ["ADDED"])


def test_every_request_is_in_the_audit_log(host, send):
    send("POST", CONFIG_MAPS, config_map("audited"))
    entry = host.audit()[-1]
    assert (entry.user, entry.verb, entry.group, entry.resource, entry.subresource, entry.namespace, entry.code) == (
        "airflow",
        "create",
        "",
        "configmaps",
        "",
        "default",
        201,
    )
    assert entry.content_type == "application/json"
    send("GET", CONFIG_MAPS, labelSelector="a")
    assert host.audit()[-1].path == f"{CONFIG_MAPS}?labelSelector=a"
    assert entry in host.writes()
    assert host.audit()[-1] not in host.writes()


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("patch", CONFIGURATION),
        ("get", CONFIGURATION),
        ("list", "/api/v1/pods"),
        ("get", "/api/v1/namespaces/default/pods/x/log"),
        ("list", "/apis/storage.k8s.io/v1/storageclasses"),
        ("patch", "/apis/storage.k8s.io/v1/storageclasses/x"),
    ],
)
def test_a_review_says_what_a_request_gets(host, call, connect, verb, path):
    resource = next(kind for kind in ("clusterconfigurations", "pods", "storageclasses") if f"/{kind}" in path)
    subresource = "log" if path.endswith("/log") else ""
    method, body = ("PATCH", {}) if verb == "patch" else ("GET", None)
    for user in ("airflow", "admin"):
        client = connect(host, user)
        code, _ = call(client, method, path, body=body, headers=MERGE)
        assert code in {200, 403, 404}
        assert review(call, client, verb=verb, resource=resource, subresource=subresource) == (code != 403)


@pytest.mark.parametrize(
    ("attributes", "allowed"),
    [
        ({"verb": "*", "resource": "storageclasses"}, False),
        ({"verb": "patch", "resource": "*"}, False),
        ({"verb": "*", "resource": "pods"}, True),
        ({"verb": "list", "resource": "nodes"}, True),
    ],
)
def test_who_lacks_a_part_of_everything_lacks_everything(client, call, attributes, allowed):
    assert review(call, client, **attributes) == allowed


def review(call, client, **attributes):
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    code, text = call(client, "POST", path, body={"spec": {"resourceAttributes": attributes}})
    assert code == 201
    return json.loads(text)["status"]["allowed"]


def test_what_stores_nothing_is_no_write(host, client, call, send):
    review(call, client, verb="get", resource="secrets")
    send("POST", CONFIG_MAPS, config_map("dry"), dryRun="All")
    reviewed, tried = host.audit()[-2:]
    assert (reviewed.resource, tried.resource) == ("selfsubjectaccessreviews", "configmaps")
    assert not {reviewed, tried} & set(host.writes())
