"""Creating: what the server adds, and what it refuses."""

import pytest

from tests.contract.conftest import CUSTOM, PLAIN

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character"
)


def test_a_new_object_has_a_uid_a_version_and_a_time(send, kind, name):
    answer = send("POST", kind.path, kind.make(name))
    assert answer.code == 201
    metadata = answer.body["metadata"]
    assert {"uid", "resourceVersion", "creationTimestamp"} <= metadata.keys()
    assert (answer.body["kind"], answer.body["apiVersion"], metadata["name"]) == (kind.kind, kind.api_version, name)
    assert metadata.get("namespace") == ("default" if kind is PLAIN else None)


def test_what_the_server_knows_better_is_not_taken_from_the_client(send, kind, name):
    given = {"uid": "mine", "creationTimestamp": "2020-01-01T00:00:00Z", "selfLink": "/mine"}
    metadata = send("POST", kind.path, kind.make(name, **given)).body["metadata"]
    assert metadata["uid"] != "mine"
    assert metadata["creationTimestamp"] > "2026"
    assert "selfLink" not in metadata


def test_a_custom_object_begins_with_generation_1(send, name):
    assert send("POST", CUSTOM.path, CUSTOM.make(name, generation=7)).body["metadata"]["generation"] == 1


def test_a_new_object_must_not_have_a_version(send, kind, name):
    answer = send("POST", kind.path, kind.make(name, resourceVersion="1"))
    assert answer.code == 500
    assert answer.body["message"] == "resourceVersion should not be set on objects to be created"


def test_a_name_that_is_taken_is_409_already_exists(send, kind, item):
    name = item["metadata"]["name"]
    answer = send("POST", kind.path, kind.make(name))
    assert answer.refusal == (409, "AlreadyExists")
    assert answer.body["message"] == f'{kind.plural} "{name}" already exists'
    assert answer.body["details"]["name"] == name


def test_a_namespace_has_to_exist(send):
    answer = send("POST", "/api/v1/namespaces/absent/configmaps", PLAIN.make("c", namespace="absent"))
    assert answer.refusal == (404, "NotFound")
    assert answer.body["message"] == 'namespaces "absent" not found'


def test_a_name_that_is_none_is_422_invalid(send, kind):
    answer = send("POST", kind.path, kind.make("Bad_Name"))
    assert answer.refusal == (422, "Invalid")
    qualified = "ConfigMap" if kind is PLAIN else "Cluster.cluster.kubesphere.io"
    assert answer.body["message"].startswith(
        f'{qualified} "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": {SUBDOMAIN}'
    )
    (cause,) = answer.body["details"]["causes"]
    assert (cause["field"], cause["reason"]) == ("metadata.name", "FieldValueInvalid")


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("/api/v1/namespaces", {"metadata": {"name": "has.dot"}}, "a lowercase RFC 1123 label must consist of"),
        (
            "/api/v1/namespaces/default/services",
            {"metadata": {"name": "1st"}, "spec": {"ports": [{"port": 80}]}},
            "a DNS-1035 label must consist of",
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            {"metadata": {"name": "a/b"}},
            "may not contain '/'",
        ),
    ],
    ids=["namespace", "service", "role"],
)
def test_names_of_some_kinds_follow_other_rules(send, path, content, words):
    answer = send("POST", path, content)
    assert answer.refusal == (422, "Invalid")
    assert words in answer.body["message"]


def test_a_name_may_be_made_up_by_the_server(send, kind):
    content = kind.make("")
    content["metadata"] = {"generateName": "made-"}
    names = [send("POST", kind.path, content).body["metadata"]["name"] for _ in range(2)]
    assert [name.startswith("made-") for name in names] == [True, True]
    assert names[0] != names[1]
    assert len(names[0]) == len("made-") + 5


def test_an_object_without_a_name_is_422_invalid(send, kind):
    content = kind.make("")
    content["metadata"] = {}
    answer = send("POST", kind.path, content)
    assert answer.refusal == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "metadata.name"
    assert "Required value: name or generateName is required" in answer.body["message"]


def test_a_dry_run_answers_as_usual_and_stores_nothing(send, kind, name):
    answer = send("POST", kind.path, kind.make(name), dryRun="All")
    assert (answer.code, answer.body["metadata"]["name"]) == (201, name)
    assert send("GET", kind.at(name)).code == 404


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"dryRun": "Some"}, 'dryRun: Unsupported value: []string{"Some"}: supported values: "All"'),
        ({"fieldManager": "x" * 129}, "fieldManager: Too long: must have at most 128 bytes"),
    ],
    ids=["dry run", "field manager"],
)
def test_an_option_that_there_is_not_is_422_invalid(send, kind, name, option, words):
    answer = send("POST", kind.path, kind.make(name), **option)
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"] == f'CreateOptions.meta.k8s.io "" is invalid: {words}'


def test_a_kind_of_kubernetes_need_not_be_named_in_the_body(send, name):
    assert send("POST", PLAIN.path, {"metadata": {"name": name}}).code == 201


def test_a_custom_kind_has_to_be_named_in_the_body(send, name):
    answer = send("POST", CUSTOM.path, {"metadata": {"name": name}})
    assert answer.refusal == (400, "BadRequest")
    assert "Object 'Kind' is missing in" in answer.body["message"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (CUSTOM.make("x"), 'Cluster in version "v1alpha1" cannot be handled as a ConfigMap: '),
        ({"kind": "Secret", "apiVersion": "v1"}, 'Secret in version "v1" cannot be handled as a ConfigMap: '),
        ({"kind": "ConfigMap", "apiVersion": "v2"}, 'ConfigMap in version "v2" cannot be handled as a ConfigMap: '),
    ],
    ids=["custom kind", "other kind", "other version"],
)
def test_a_body_of_another_kind_is_a_bad_request(send, content, words):
    answer = send("POST", PLAIN.path, content)
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"].startswith(words)


def test_a_custom_body_of_another_version_is_a_bad_request(send, name):
    answer = send("POST", CUSTOM.path, {**CUSTOM.make(name), "apiVersion": "cluster.kubesphere.io/v1"})
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"] == (
        "the API version in the data (cluster.kubesphere.io/v1) does not match the expected API version "
        "(cluster.kubesphere.io/v1alpha1)"
    )


def test_a_custom_body_of_another_kind_is_422_invalid(send, name):
    answer = send("POST", CUSTOM.path, {**CUSTOM.make(name), "kind": "User"})
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"].endswith('kind: Invalid value: "User": must be Cluster')


def test_a_body_of_another_namespace_is_a_bad_request(send, name):
    answer = send("POST", PLAIN.path, PLAIN.make(name, namespace="kube-system"))
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"] == (
        "the namespace of the provided object does not match the namespace sent on the request"
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "unexpected end of JSON input"),
        (b"", "unexpected end of JSON input"),
        (b"[]", "json: cannot unmarshal array into Go value"),
        (b'"text"', "json: cannot unmarshal string into Go value"),
    ],
    ids=["broken", "empty", "list", "text"],
)
def test_a_body_that_is_no_object_is_a_bad_request(send, kind, body, words):
    answer = send("POST", kind.path, body)
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"].startswith(
        f"the object provided is unrecognized (must be of type {kind.kind}): couldn't get version/kind; "
        f"json parse error: {words}"
    )


def test_yaml_is_taken_as_well(send, kind, name):
    text = f"kind: {kind.kind}\napiVersion: {kind.api_version}\nmetadata: {{name: {name}}}\n"
    answer = send("POST", kind.path, text.encode(), content_type="application/yaml")
    assert (answer.code, answer.body["metadata"]["name"]) == (201, name)


def test_a_body_without_a_content_type_is_taken_for_json(send, kind, name):
    assert send("POST", kind.path, kind.make(name), content_type=None).code == 201


def test_other_formats_are_415(send, kind, name):
    answer = send("POST", kind.path, kind.make(name), content_type="text/plain")
    assert answer.refusal == (415, "UnsupportedMediaType")
    assert answer.body["message"] == (
        "the body of the request was in an unknown format - accepted media types include: application/json, "
        "application/yaml, application/vnd.kubernetes.protobuf"
    )


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"labels": {"a": "not a value"}}, 'metadata.labels: Invalid value: "not a value": a valid label must be'),
        ({"labels": {"not a key": "a"}}, 'metadata.labels: Invalid value: "not a key": '),
        ({"labels": {"a": "x" * 64}}, "metadata.labels: Invalid value: "),
        ({"annotations": {"not a key": "a"}}, 'metadata.annotations: Invalid value: "not a key": '),
        ({"finalizers": ["not one"]}, "metadata.finalizers"),
    ],
    ids=["label", "label's key", "long label", "annotation's key", "finalizer"],
)
def test_labels_annotations_and_finalizers_follow_rules(send, kind, name, metadata, words):
    answer = send("POST", kind.path, kind.make(name, **metadata))
    assert answer.refusal == (422, "Invalid")
    assert words in answer.body["message"]


def test_an_empty_map_of_labels_or_annotations_is_left_out(send, kind, name):
    metadata = send("POST", kind.path, kind.make(name, labels={}, annotations={}, finalizers=[])).body["metadata"]
    assert not metadata.keys() & {"labels", "annotations", "finalizers"}
