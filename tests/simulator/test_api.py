"""The API layer, reached by the official clients."""

import asyncio
import json

import kubernetes
import kubernetes_asyncio
import pytest

from include.simulator.simulation import Simulation

CLUSTER = "/apis/cluster.kubesphere.io/v1alpha1/clusters"
CONFIGURATION = "/apis/installer.kubesphere.io/v1alpha1/namespaces/kubesphere-system/clusterconfigurations/ks-installer"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = {"Content-Type": "application/merge-patch+json"}
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}


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


def cluster(name, **metadata):
    return {
        "apiVersion": "cluster.kubesphere.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name, **metadata},
        "spec": {"provider": "x"},
    }


def test_creating_twice_is_already_exists(send):
    assert send("POST", CLUSTER, cluster("twice"))[0] == 201
    code, body = send("POST", CLUSTER, cluster("twice"))
    assert (code, body["reason"]) == (409, "AlreadyExists")
    assert body["message"] == 'clusters.cluster.kubesphere.io "twice" already exists'
    assert body["details"] == {"name": "twice", "group": "cluster.kubesphere.io", "kind": "clusters"}


def test_what_is_not_there_is_not_found(send):
    code, body = send("GET", f"{CLUSTER}/none")
    assert (code, body["reason"]) == (404, "NotFound")
    assert body["message"] == 'clusters.cluster.kubesphere.io "none" not found'


def test_a_namespace_has_to_exist(send):
    code, body = send("POST", "/api/v1/namespaces/absent/configmaps", config_map("c"))
    assert (code, body["message"]) == (404, 'namespaces "absent" not found')


def test_a_bad_name_is_invalid(send):
    code, body = send("POST", CLUSTER, cluster("Bad_Name"))
    assert (code, body["reason"]) == (422, "Invalid")
    assert body["message"].startswith(
        'Cluster.cluster.kubesphere.io "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase '
        "RFC 1123 subdomain must consist of"
    )
    assert body["details"]["causes"][0]["field"] == "metadata.name"


def test_generate_name_makes_names(send):
    body = {"metadata": {"generateName": "made-"}}
    first, second = (send("POST", CONFIG_MAPS, body)[1]["metadata"]["name"] for _ in range(2))
    assert first.startswith("made-")
    assert first != second


def test_a_stale_replace_is_a_conflict(send):
    _, created = send("POST", CLUSTER, cluster("stale"))
    changed = {**created, "spec": {"provider": "y"}}
    assert send("PUT", f"{CLUSTER}/stale", changed)[0] == 200
    code, body = send("PUT", f"{CLUSTER}/stale", changed)
    assert (code, body["reason"]) == (409, "Conflict")
    assert body["message"] == (
        'Operation cannot be fulfilled on clusters.cluster.kubesphere.io "stale": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_a_custom_object_cannot_be_replaced_without_its_version(send):
    send("POST", CLUSTER, cluster("unversioned"))
    code, body = send("PUT", f"{CLUSTER}/unversioned", cluster("unversioned"))
    assert code == 422
    assert "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update" in body["message"]


def test_a_replace_with_another_uid_is_a_conflict(send):
    _, created = send("POST", CLUSTER, cluster("identity"))
    created["metadata"]["uid"] = "another"
    code, body = send("PUT", f"{CLUSTER}/identity", created)
    assert (code, body["reason"]) == (409, "Conflict")
    assert "Precondition failed: UID in precondition: another" in body["message"]


def test_a_patch_with_an_old_version_is_a_conflict(send):
    _, created = send("POST", CONFIG_MAPS, config_map("versioned", a="1"))
    version = created["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"a": "2"}}
    assert send("PATCH", f"{CONFIG_MAPS}/versioned", patch, MERGE)[0] == 200
    assert send("PATCH", f"{CONFIG_MAPS}/versioned", patch, MERGE)[0] == 409


def test_a_merge_patch_merges_and_deletes(send):
    send("POST", CONFIG_MAPS, config_map("merged", a="1", b="2"))
    _, patched = send("PATCH", f"{CONFIG_MAPS}/merged", {"data": {"a": None, "c": "3"}}, MERGE)
    assert patched["data"] == {"b": "2", "c": "3"}


def test_a_patch_that_changes_nothing_writes_nothing(send):
    _, created = send("POST", CONFIG_MAPS, config_map("same", a="1"))
    _, patched = send("PATCH", f"{CONFIG_MAPS}/same", {"data": {"a": "1"}}, MERGE)
    _, listed = send("GET", CONFIG_MAPS)
    assert patched == created
    assert listed["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


@pytest.mark.parametrize("content_type", [STRATEGIC["Content-Type"], "application/apply-patch+yaml"])
def test_custom_objects_take_no_strategic_patch_and_nothing_is_applied_by_the_server(send, content_type):
    send("POST", CLUSTER, cluster("patched"))
    code, body = send("PATCH", f"{CLUSTER}/patched", {"spec": {}}, {"Content-Type": content_type})
    assert (code, body["reason"]) == (415, "UnsupportedMediaType")
    assert body["message"].startswith("the body of the request was in an unknown format - accepted media types include")


def test_a_json_patch_does_its_operations_in_order(send):
    send("POST", CLUSTER, cluster("operated"))
    add = {"op": "add", "path": "/spec/list", "value": ["a"]}
    more = {"op": "add", "path": "/spec/list/0", "value": "b"}
    _, patched = send("PATCH", f"{CLUSTER}/operated", [add, more], JSON_PATCH)
    assert patched["spec"] == {"provider": "x", "list": ["b", "a"]}


@pytest.mark.parametrize(
    ("operation", "code", "reason"),
    [
        ({"op": "test", "path": "/spec/provider", "value": "y"}, 422, "Invalid"),
        ({"op": "remove", "path": "/spec/absent"}, 422, "Invalid"),
        ({"op": "replace", "path": "", "value": "text"}, 422, "Invalid"),
        ({"op": "jump", "path": "/spec"}, 400, "BadRequest"),
    ],
    ids=["test fails", "nothing there", "no object left", "no operation"],
)
def test_a_json_patch_that_does_not_fit_changes_nothing(send, operation, code, reason):
    send("POST", CLUSTER, cluster("unfit"))
    change = {"op": "replace", "path": "/spec/provider", "value": "z"}
    answered, body = send("PATCH", f"{CLUSTER}/unfit", [change, operation], JSON_PATCH)
    assert (answered, body["reason"]) == (code, reason)
    assert send("GET", f"{CLUSTER}/unfit")[1]["spec"] == {"provider": "x"}


def test_a_strategic_patch_merges_containers_by_name(send):
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "a", "image": "one"}, {"name": "b", "image": "two"}]},
    }
    send(
        "POST",
        path,
        {
            "metadata": {"name": "web"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": template},
        },
    )
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "three"}]}}}}
    _, patched = send("PATCH", f"{path}/web", patch, STRATEGIC)
    images = {item["name"]: item["image"] for item in patched["spec"]["template"]["spec"]["containers"]}
    assert images == {"a": "one", "b": "three"}


def test_a_deployment_needs_a_selector(send):
    code, body = send("POST", "/apis/apps/v1/namespaces/default/deployments", {"metadata": {"name": "bare"}})
    assert (code, body["message"]) == (422, 'Deployment.apps "bare" is invalid: spec.selector: Required value')


def test_a_dry_run_stores_nothing(send):
    assert send("POST", CONFIG_MAPS, config_map("dry"), dryRun="All")[0] == 201
    assert send("GET", f"{CONFIG_MAPS}/dry")[0] == 404


def test_a_cluster_has_no_status_subresource_and_takes_status_in_ordinary_updates(send):
    send("POST", CLUSTER, cluster("stateful"))
    assert send("PATCH", f"{CLUSTER}/stateful/status", {"status": {"uid": "u"}}, MERGE)[0] == 404
    _, patched = send("PATCH", f"{CLUSTER}/stateful", {"status": {"uid": "u"}}, MERGE)
    assert patched["status"] == {"uid": "u"}
    assert patched["metadata"]["generation"] == 2


def test_labels_do_not_raise_the_generation(send):
    send("POST", CLUSTER, cluster("labelled"))
    _, patched = send("PATCH", f"{CLUSTER}/labelled", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    assert patched["metadata"]["generation"] == 1


def test_a_node_takes_status_through_its_subresource_only(send):
    path = "/api/v1/nodes/host-node1"
    _, ordinary = send("PATCH", path, {"status": {"phase": "no"}}, MERGE)
    _, through = send("PATCH", f"{path}/status", {"status": {"phase": "yes"}}, MERGE)
    assert "phase" not in ordinary["status"]
    assert through["status"]["phase"] == "yes"


def test_a_finalizer_holds_an_object_until_it_is_removed(send):
    send("POST", CLUSTER, cluster("held", finalizers=["example.com/hold"]))
    _, marked = send("DELETE", f"{CLUSTER}/held")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    assert marked["metadata"]["generation"] == 2
    code, body = send("POST", CLUSTER, cluster("held"))
    assert (code, body["message"]) == (
        409,
        'object is being deleted: clusters.cluster.kubesphere.io "held" already exists',
    )
    more = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    assert send("PATCH", f"{CLUSTER}/held", more, MERGE)[0] == 422
    send("PATCH", f"{CLUSTER}/held", {"metadata": {"finalizers": None}}, MERGE)
    assert send("GET", f"{CLUSTER}/held")[0] == 404


def test_a_delete_honours_its_preconditions(send):
    send("POST", CONFIG_MAPS, config_map("kept"))
    code, body = send("DELETE", f"{CONFIG_MAPS}/kept", {"preconditions": {"uid": "another"}})
    assert (code, body["reason"]) == (409, "Conflict")
    code, body = send("DELETE", f"{CONFIG_MAPS}/kept")
    assert (code, body["status"], body["details"]["name"]) == (200, "Success", "kept")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"labelSelector": "tier=a"}, ["s1"]),
        ({"labelSelector": "tier"}, ["s1", "s2"]),
        ({"labelSelector": "tier in (a, b),!extra"}, ["s1"]),
        ({"labelSelector": "tier!=a,tier"}, ["s2"]),
        ({"labelSelector": "tier notin (a),extra=yes"}, ["s2"]),
        ({"fieldSelector": "metadata.name=s2"}, ["s2"]),
    ],
    ids=lambda value: "/".join(value.values()) if isinstance(value, dict) else "",
)
def test_lists_are_selected(send, query, names):
    for name, labels in (("s1", {"tier": "a"}), ("s2", {"tier": "b", "extra": "yes"})):
        send("POST", CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}})
    _, listed = send("GET", CONFIG_MAPS, **query)
    assert [item["metadata"]["name"] for item in listed["items"]] == names


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (CONFIG_MAPS, '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("/api/v1/pods", "field label not supported: spec.x"),
        (CLUSTER, "field label not supported: spec.x"),
    ],
    ids=["plain kind", "kind with fields", "custom kind"],
)
def test_an_unknown_field_selector_is_a_bad_request(send, path, message):
    code, body = send("GET", path, fieldSelector="spec.x=1")
    assert (code, body["message"]) == (400, message)


def test_a_body_in_another_format_than_json_is_refused(host, call, client):
    code, text = call(client, "POST", CONFIG_MAPS, body="{}", headers={"Content-Type": "application/yaml"})
    assert (code, json.loads(text)["reason"]) == (415, "UnsupportedMediaType")


def watch(client, **options):
    """Return the events of a watch on the ConfigMaps in default that lasts a second."""
    api = kubernetes.client.CoreV1Api(client)
    stream = kubernetes.watch.Watch().stream(api.list_namespaced_config_map, "default", timeout_seconds=1, **options)
    return [(event["type"], event["raw_object"]["metadata"]["name"]) for event in stream]


def test_a_watch_without_version_begins_with_what_there_is(send, client):
    send("POST", CONFIG_MAPS, config_map("present"))
    assert watch(client, field_selector="metadata.name=present") == [("ADDED", "present")]


def test_a_watch_from_a_version_shows_what_came_after(send, client):
    _, created = send("POST", CONFIG_MAPS, config_map("followed"))
    send("PATCH", f"{CONFIG_MAPS}/followed", {"data": {"a": "1"}}, MERGE)
    send("DELETE", f"{CONFIG_MAPS}/followed")
    events = watch(
        client, resource_version=created["metadata"]["resourceVersion"], field_selector="metadata.name=followed"
    )
    assert events == [("MODIFIED", "followed"), ("DELETED", "followed")]


def test_a_watch_with_a_selector_sees_objects_enter_and_leave(send, client):
    _, created = send("POST", CONFIG_MAPS, config_map("moving"))
    for value in ("yes", "no"):
        send("PATCH", f"{CONFIG_MAPS}/moving", {"metadata": {"labels": {"in": value}}}, MERGE)
    events = watch(client, resource_version=created["metadata"]["resourceVersion"], label_selector="in=yes")
    assert events == [("ADDED", "moving"), ("DELETED", "moving")]


def test_a_watch_from_before_the_history_is_told_410(host, send, client):
    _, created = send("POST", CONFIG_MAPS, config_map("forgotten"))
    send("PATCH", f"{CONFIG_MAPS}/forgotten", {"data": {"a": "1"}}, MERGE)
    host.store.compact()
    with pytest.raises(kubernetes.client.ApiException) as raised:
        watch(client, resource_version=created["metadata"]["resourceVersion"])
    assert raised.value.status == 410
    assert "too old resource version: " in raised.value.reason


def test_an_unknown_token_is_unauthorized(send):
    code, body = send("GET", CLUSTER, headers={"authorization": "Bearer wrong"})
    assert (code, body["kind"], body["reason"], body["message"]) == (401, "Status", "Unauthorized", "Unauthorized")


def test_a_request_without_credentials_is_unauthorized(host, call, connect):
    client = connect(host)
    client.configuration.api_key.clear()
    assert call(client, "GET", "/version")[0] == 401


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


@pytest.mark.parametrize(
    "path",
    [
        "/apis/example.com/v1/things",
        "/nothing",
        "/apis/core.kubefed.io/v1beta1/kubefedclusters",
        "/api/v1/namespaces/default/clusters",
        "/apis/cluster.kubesphere.io/v1alpha1/namespaces/default/clusters",
    ],
)
def test_a_path_that_is_not_served_is_not_found_as_text(client, call, path):
    """Without kubefed, which comes with the host role, its kinds are as unknown as any other."""
    assert call(client, "GET", path) == (404, "404 page not found\n")


def test_a_bare_cluster_does_not_know_kubesphere(host, connect, call):
    assert call(connect(host.bare), "GET", CONFIGURATION)[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", CLUSTER),
        ("PATCH", CLUSTER),
        ("POST", f"{CLUSTER}/x"),
        ("POST", "/api/v1/configmaps"),
    ],
)
def test_a_method_that_is_not_supported_is_refused(send, method, path):
    code, body = send(method, path, {}, MERGE)
    assert (code, body["reason"]) == (405, "MethodNotAllowed")


def test_a_body_of_another_kind_or_name_is_a_bad_request(send):
    assert send("POST", CONFIG_MAPS, cluster("x"))[0] == 400
    send("POST", CONFIG_MAPS, config_map("named"))
    assert send("PUT", f"{CONFIG_MAPS}/named", config_map("other"))[0] == 400


def test_discovery_serves_the_dynamic_client(client):
    dynamic = kubernetes.dynamic.DynamicClient(client, discoverer=kubernetes.dynamic.discovery.EagerDiscoverer)
    kind = dynamic.resources.get(api_version="cluster.kubesphere.io/v1alpha1", kind="Cluster")
    assert (kind.name, kind.namespaced) == ("clusters", False)


@pytest.mark.parametrize(
    ("api", "method"),
    [
        ("CoreV1Api", "list_namespace"),
        ("CoreV1Api", "list_node"),
        ("CoreV1Api", "list_pod_for_all_namespaces"),
        ("CoreV1Api", "list_service_for_all_namespaces"),
        ("CoreV1Api", "list_endpoints_for_all_namespaces"),
        ("CoreV1Api", "list_secret_for_all_namespaces"),
        ("CoreV1Api", "list_config_map_for_all_namespaces"),
        ("CoreV1Api", "list_service_account_for_all_namespaces"),
        ("AppsV1Api", "list_deployment_for_all_namespaces"),
        ("ApiextensionsV1Api", "list_custom_resource_definition"),
        ("RbacAuthorizationV1Api", "list_cluster_role"),
    ],
)
def test_typed_clients_can_read_every_kind(host, client, wait_for, api, method):
    wait_for(lambda: host.objects("endpoints"))
    listed = getattr(getattr(kubernetes.client, api)(client), method)()
    assert all(item.metadata.uid for item in listed.items)


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
