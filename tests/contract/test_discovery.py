"""What a server tells of itself."""

import json

import kubernetes
import pytest

from tests.contract.conftest import CUSTOM

VERBS = {"create", "delete", "get", "list", "patch", "update", "watch"}


def test_the_core_group_has_version_1(send):
    answer = send("GET", "/api").body
    assert (answer["kind"], answer["versions"]) == ("APIVersions", ["v1"])


@pytest.mark.parametrize(
    "group",
    [
        "apps/v1",
        "apiextensions.k8s.io/v1",
        "rbac.authorization.k8s.io/v1",
        "storage.k8s.io/v1",
        "cluster.kubesphere.io/v1alpha1",
        "installer.kubesphere.io/v1alpha1",
        "iam.kubesphere.io/v1alpha2",
    ],
)
def test_a_group_is_listed_and_has_a_page_of_its_own(send, group):
    name, _, version = group.partition("/")
    entry = {"groupVersion": group, "version": version}
    listed = {found["name"]: found for found in send("GET", "/apis").body["groups"]}
    assert listed[name]["preferredVersion"] == entry
    page = send("GET", f"/apis/{name}").body
    assert (page["kind"], page["apiVersion"]) == ("APIGroup", "v1")
    assert entry in page["versions"]
    assert page["preferredVersion"] == entry


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("/api/v1", {"name": "namespaces", "kind": "Namespace", "namespaced": False, "shortNames": ["ns"]}),
        ("/api/v1", {"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "shortNames": ["cm"]}),
        ("/api/v1", {"name": "services", "kind": "Service", "shortNames": ["svc"], "categories": ["all"]}),
        ("/api/v1", {"name": "pods", "kind": "Pod", "shortNames": ["po"], "categories": ["all"], "singularName": ""}),
        ("/apis/apps/v1", {"name": "deployments", "kind": "Deployment", "shortNames": ["deploy"]}),
        (
            "/apis/apiextensions.k8s.io/v1",
            {
                "name": "customresourcedefinitions",
                "kind": "CustomResourceDefinition",
                "shortNames": ["crd", "crds"],
                "categories": ["api-extensions"],
            },
        ),
        (
            "/apis/installer.kubesphere.io/v1alpha1",
            {
                "name": "clusterconfigurations",
                "kind": "ClusterConfiguration",
                "singularName": "clusterconfiguration",
                "shortNames": ["cc"],
                "namespaced": True,
            },
        ),
        ("/apis/cluster.kubesphere.io/v1alpha1", {"name": "clusters", "singularName": "cluster", "namespaced": False}),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_a_kind_is_described(send, page, expected):
    answer = send("GET", page).body
    assert (answer["kind"], answer["groupVersion"]) == (
        "APIResourceList",
        page.removeprefix("/apis/").removeprefix("/api/"),
    )
    (found,) = [entry for entry in answer["resources"] if entry["name"] == expected["name"]]
    assert {key: found.get(key) for key in expected} == expected
    assert set(found["verbs"]) >= VERBS


@pytest.mark.parametrize(
    ("page", "name", "kind", "verbs"),
    [
        ("/api/v1", "pods/log", "Pod", {"get"}),
        ("/api/v1", "pods/proxy", "PodProxyOptions", {"create", "delete", "get", "patch", "update"}),
        ("/api/v1", "services/proxy", "ServiceProxyOptions", {"create", "delete", "get", "patch", "update"}),
        ("/api/v1", "namespaces/status", "Namespace", {"get", "patch", "update"}),
        ("/apis/apps/v1", "deployments/scale", "Scale", {"get", "patch", "update"}),
        ("/apis/apps/v1", "deployments/status", "Deployment", {"get", "patch", "update"}),
        ("/apis/iam.kubesphere.io/v1alpha2", "users/status", "User", {"get", "patch", "update"}),
    ],
)
def test_a_subresource_is_described(send, page, name, kind, verbs):
    (found,) = [entry for entry in send("GET", page).body["resources"] if entry["name"] == name]
    assert (found["kind"], set(found["verbs"])) == (kind, verbs)


def test_collections_can_be_deleted_except_of_namespaces(send, kind):
    page = kind.path.partition("/namespaces")[0].removesuffix("/clusters")
    able = {entry["name"] for entry in send("GET", page).body["resources"] if "deletecollection" in entry["verbs"]}
    assert kind.plural.partition(".")[0] in able
    assert "namespaces" not in able


def test_a_group_version_that_there_is_not_has_no_page(send):
    assert send("GET", "/apis/example.com/v1").code == 404


def test_the_dynamic_client_finds_kinds_by_it(send):
    dynamic = kubernetes.dynamic.DynamicClient(send.api, discoverer=kubernetes.dynamic.discovery.EagerDiscoverer)
    kind = dynamic.resources.get(api_version=CUSTOM.api_version, kind=CUSTOM.kind)
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
def test_typed_clients_can_read_every_kind(send, api, method):
    listed = getattr(getattr(kubernetes.client, api)(send.api), method)()
    assert listed.items
    assert all(found.metadata.uid for found in listed.items)


def test_the_version_is_told(send):
    """1.22 where it is simulated, 1.24 where it is real."""
    version = kubernetes.client.VersionApi(send.api).get_code()
    assert version.git_version.startswith(f"v{version.major}.{version.minor}.")
    assert int(version.minor) in {18, 22, 24}


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_a_server_that_serves_says_that_it_is_well(send, path):
    answer = send("GET", path)
    assert (answer.code, answer.body) == (200, "ok")


def test_openapi_tells_each_group_version_and_its_kinds(send):
    """kubectl looks there whether the server looks at fields itself. A real server calls these documents text."""

    def document(path):
        body = send("GET", path).body
        return json.loads(body) if isinstance(body, str) else body

    paths = document("/openapi/v3")["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/cluster.kubesphere.io/v1alpha1"} <= paths.keys()
    patches = document("/openapi/v3/api/v1")["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"]
    assert patches["x-kubernetes-group-version-kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert "dryRun" in {parameter["name"] for parameter in patches["parameters"]}


def test_openapi_of_a_group_that_there_is_not_is_404(send):
    assert send("GET", "/openapi/v3/apis/example.com/v1").code == 404
