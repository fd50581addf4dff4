"""Who is not known, what is not allowed, and what does not exist."""

import pytest

from tests.contract.conftest import CUSTOM, MERGE, PLAIN

INSTALLER = "/apis/installer.kubesphere.io/v1alpha1/namespaces/kubesphere-system/clusterconfigurations/ks-installer"
PODS = "/api/v1/namespaces/kubesphere-system/pods"
MISSING = "the server could not find the requested resource"


@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("GET", "/version", None),
        ("GET", "/api", None),
        ("GET", PLAIN.at("x"), None),
        ("GET", f"{PODS}/x/log", None),
        ("GET", f"{PODS}/x/log?follow=true", None),
        ("GET", f"{PODS}/x/proxy/", None),
        ("GET", PLAIN.path, None),
        ("GET", f"{PLAIN.path}?watch=true", None),
        ("POST", PLAIN.path, "application/json"),
        ("PUT", PLAIN.at("x"), "application/json"),
        ("PATCH", PLAIN.at("x"), MERGE),
        ("DELETE", PLAIN.at("x"), None),
        ("DELETE", PLAIN.at("x"), "application/json"),
        ("GET", "/nothing", None),
    ],
)
def test_a_credential_that_is_not_known_is_401_unauthorized(nobody, method, path, content_type):
    """Whatever it is asked for with it."""
    answer = nobody(method, path, content_type=content_type, headers={"authorization": "Bearer wrong"})
    assert answer.refusal == (401, "Unauthorized")
    assert answer.body["message"] == "Unauthorized"


ONE, ALL = 'clusters.cluster.kubesphere.io "x"', "clusters.cluster.kubesphere.io"
CLUSTERS = 'resource "clusters" in API group "cluster.kubesphere.io" at the cluster scope'
SYSTEM = 'in API group "" in the namespace "kubesphere-system"'


@pytest.mark.parametrize(
    ("method", "path", "content_type", "said"),
    [
        ("GET", CUSTOM.at("x"), None, (ONE, f"get {CLUSTERS}")),
        ("GET", CUSTOM.path, None, (ALL, f"list {CLUSTERS}")),
        ("GET", f"{CUSTOM.path}?watch=true", None, (ALL, f"watch {CLUSTERS}")),
        ("POST", CUSTOM.path, "application/json", (ALL, f"create {CLUSTERS}")),
        ("PUT", CUSTOM.at("x"), "application/json", (ONE, f"update {CLUSTERS}")),
        ("DELETE", CUSTOM.at("x"), None, (ONE, f"delete {CLUSTERS}")),
        ("DELETE", CUSTOM.at("x"), "application/json", (ONE, f"delete {CLUSTERS}")),
        ("DELETE", CUSTOM.path, "application/json", (ALL, f"deletecollection {CLUSTERS}")),
        (
            "PATCH",
            INSTALLER,
            MERGE,
            (
                'clusterconfigurations.installer.kubesphere.io "ks-installer"',
                (
                    'patch resource "clusterconfigurations" in API group "installer.kubesphere.io" in the namespace '
                    '"kubesphere-system"'
                ),
            ),
        ),
        ("GET", f"{PODS}/x/log", None, ('pods "x"', f'get resource "pods/log" {SYSTEM}')),
        ("GET", f"{PODS}/x/proxy/y", None, ('pods "x"', f'get resource "pods/proxy" {SYSTEM}')),
        ("PATCH", f"{PODS}/x/status", MERGE, ('pods "x"', f'patch resource "pods/status" {SYSTEM}')),
        (
            "GET",
            "/api/v1/configmaps",
            None,
            ("configmaps", 'list resource "configmaps" in API group "" at the cluster scope'),
        ),
        (
            "GET",
            PLAIN.path,
            None,
            ("configmaps", 'list resource "configmaps" in API group "" in the namespace "default"'),
        ),
        (
            "GET",
            "/api/v1/namespaces/default",
            None,
            ('namespaces "default"', 'get resource "namespaces" in API group "" in the namespace "default"'),
        ),
    ],
)
def test_a_request_that_is_not_allowed_is_403_and_says_who_may_not_do_what(nobody, method, path, content_type, said):
    answer = nobody(method, path, content_type=content_type)
    assert answer.refusal == (403, "Forbidden")
    subject, what = said
    assert answer.body["message"] == f'{subject} is forbidden: User "system:anonymous" cannot {what}'


@pytest.mark.parametrize("path", ["/api", "/apis", "/apis/apps/v1", "/openapi/v3", "/nothing"])
def test_nobody_in_particular_may_not_look_around(nobody, path):
    answer = nobody("GET", path)
    assert answer.refusal == (403, "Forbidden")
    assert answer.body["message"] == f'forbidden: User "system:anonymous" cannot get path "{path}"'


@pytest.mark.parametrize("path", ["/version", "/healthz", "/livez", "/readyz"])
def test_health_and_version_are_told_to_everybody(nobody, path):
    assert nobody("GET", path).code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/apis/example.com/v1/things",
        "/apis/example.com/v1",
        "/apis/example.com",
        "/apis/core.kubefed.io/v1beta1/kubefedclusters",
        "/apis/cluster.kubesphere.io/v2/clusters",
        "/apis/cluster.kubesphere.io/v1alpha1/things",
        "/apis/cluster.kubesphere.io/v1alpha1/namespaces/default/clusters",
        "/nothing",
    ],
)
def test_what_no_group_serves_is_404_as_text(send, path):
    """kubefed's kinds come with the role of a host, which the member does not have."""
    answer = send("GET", path)
    assert (answer.code, answer.body) == (404, "404 page not found\n")


@pytest.mark.parametrize(
    "path",
    ["/api/v1/things", "/api/v1/namespaces/default/clusters", "/api/v1/pods/x", "/apis/apps/v1/things", "/api/v2"],
)
def test_what_a_group_of_kubernetes_itself_does_not_serve_is_404_as_a_status(send, path):
    answer = send("GET", path)
    assert answer.refusal == (404, "NotFound")
    assert answer.body["message"] == MISSING


def test_a_subresource_that_a_kind_does_not_have_is_404(send, kind, item):
    for subresource in ("scale", "log", "nothing"):
        answer = send("GET", kind.at(item["metadata"]["name"], subresource))
        assert answer.refusal == (404, "NotFound")


@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("PATCH", PLAIN.path, MERGE),
        ("PUT", PLAIN.path, "application/json"),
        ("POST", PLAIN.at("x"), "application/json"),
        ("POST", PLAIN.at("x"), MERGE),
        ("POST", "/api/v1/configmaps", "application/json"),
        ("DELETE", "/api/v1/namespaces", None),
        ("DELETE", "/api/v1/namespaces", MERGE),
        ("POST", "/version", "application/json"),
        ("OPTIONS", PLAIN.path, None),
    ],
)
def test_a_method_that_there_is_not_is_405(send, method, path, content_type):
    answer = send(method, path, {} if content_type else None, content_type=content_type)
    assert answer.refusal == (405, "MethodNotAllowed")
    assert answer.body["message"] == "the server does not allow this method on the requested resource"


def test_objects_are_not_asked_for_by_head(send):
    assert send("HEAD", PLAIN.path).code == 405


@pytest.mark.parametrize(("method", "content_type"), [("PATCH", MERGE), ("PUT", "application/json")])
def test_a_custom_collection_is_not_written_to(send, method, content_type):
    answer = send(method, CUSTOM.path, {}, content_type=content_type)
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"] == "name must be provided"
