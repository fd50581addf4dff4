"""CustomResourceDefinitions: kinds that come and go, and what KubeSphere's own say of their fields."""

import pytest

from tests.contract.conftest import CUSTOM, MERGE

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CONFIGURATIONS = "/apis/installer.kubesphere.io/v1alpha1/namespaces/default/clusterconfigurations"


def condition(definition, type_):
    # None at first, as Go writes a list that there is not.
    conditions = definition.get("status", {}).get("conditions") or []
    return [entry["status"] for entry in conditions if entry["type"] == type_]


def is_established(answer):
    return answer.code == 200 and condition(answer.body, "Established") == ["True"]


@pytest.mark.parametrize(
    "name",
    ["clusters.cluster.kubesphere.io", "clusterconfigurations.installer.kubesphere.io", "users.iam.kubesphere.io"],
)
def test_kubespheres_kinds_are_established(send, name):
    answer = send("GET", f"{DEFINITIONS}/{name}")
    assert is_established(answer)
    assert condition(answer.body, "NamesAccepted") == ["True"]
    assert answer.body["status"]["acceptedNames"]["plural"] == name.partition(".")[0]
    assert answer.body["status"]["storedVersions"] == [entry["name"] for entry in answer.body["spec"]["versions"]]


def test_a_kind_is_served_as_soon_as_its_definition_is_established_and_gone_with_it(send, eventually):
    """The simulator knows its kinds beforehand: a host's, here, which has them by the role that the member has not."""
    host = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "kubefedclusters.core.kubefed.io"},
        "spec": {
            "group": "core.kubefed.io",
            "scope": "Namespaced",
            "names": {"plural": "kubefedclusters", "kind": "KubeFedCluster"},
            "versions": [
                {
                    "name": "v1beta1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
    path = "/apis/core.kubefed.io/v1beta1/namespaces/default/kubefedclusters"
    assert send("GET", path).code == 404
    assert send("POST", DEFINITIONS, host).code == 201
    definition = f"{DEFINITIONS}/kubefedclusters.core.kubefed.io"
    eventually(lambda: send("GET", definition), is_established)
    eventually(lambda: send("GET", path), lambda answer: answer.code == 200)
    assert "core.kubefed.io" in {group["name"] for group in send("GET", "/apis").body["groups"]}
    made = {"apiVersion": "core.kubefed.io/v1beta1", "kind": "KubeFedCluster", "metadata": {"name": "m"}}
    assert send("POST", path, made).code == 201
    assert send("DELETE", definition).code == 200
    eventually(lambda: send("GET", path), lambda answer: (answer.code, answer.body) == (404, "404 page not found\n"))
    eventually(lambda: send("GET", definition), lambda answer: answer.code == 404)
    assert send("POST", DEFINITIONS, host).code == 201
    eventually(lambda: send("GET", path), lambda answer: answer.code == 200 and answer.body["items"] == [])
    assert send("DELETE", definition).code == 200
    eventually(lambda: send("GET", definition), lambda answer: answer.code == 404)


def test_fields_that_a_cluster_does_not_have_are_dropped(send, name):
    content = {"provider": "one", "misspelt": "x", "connection": {"type": "direct", "misspelt": "x"}}
    created = send("POST", CUSTOM.path, {**CUSTOM.make(name, content=content), "misspelt": "x"}).body
    assert created["spec"] == {"provider": "one", "connection": {"type": "direct"}}
    assert "misspelt" not in created
    patched = send("PATCH", CUSTOM.at(name), {"spec": {"misspelt": "x"}}, content_type=MERGE).body
    assert patched["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"spec": {"joinFederation": "yes"}},
            'spec.joinFederation: Invalid value: "string": spec.joinFederation in body',
        ),
        ({"spec": {"provider": 1}}, 'spec.provider: Invalid value: "integer": spec.provider in body must be of type '),
        ({"spec": {"connection": []}}, 'spec.connection: Invalid value: "array": spec.connection in body must be of '),
        ({"status": {"conditions": [{"type": "Ready"}]}}, "status.conditions[0].status: Required value"),
    ],
    ids=["text for a boolean", "number for a text", "list for a map", "missing"],
)
def test_fields_of_a_cluster_have_types(send, name, content, words):
    answer = send("POST", CUSTOM.path, {**CUSTOM.make(name), **content})
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"].startswith(f'Cluster.cluster.kubesphere.io "{name}" is invalid: ')
    assert words in answer.body["message"]
    send("POST", CUSTOM.path, CUSTOM.make(name))
    answer = send("PATCH", CUSTOM.at(name), content, content_type=MERGE)
    assert answer.refusal == (422, "Invalid")
    assert words in answer.body["message"]


def test_a_clusterconfiguration_takes_any_field_in_spec_and_status(send, name):
    content = {"apiVersion": "installer.kubesphere.io/v1alpha1", "kind": "ClusterConfiguration"}
    content |= {"metadata": {"name": name}, "spec": {"any": {"thing": [1, None]}}, "status": {"other": "x"}}
    created = send("POST", CONFIGURATIONS, content).body
    assert (created["spec"], created["status"]) == (content["spec"], content["status"])
    patched = send("PATCH", f"{CONFIGURATIONS}/{name}", {"status": {"core": {}}}, content_type=MERGE).body
    assert patched["status"] == {"other": "x", "core": {}}
    assert patched["metadata"]["generation"] == 2
