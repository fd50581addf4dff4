"""Patches: merge, JSON and strategic merge."""

import pytest

from tests.contract.conftest import CUSTOM, JSON_PATCH, MERGE, PLAIN, STRATEGIC

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
STALE = "the object has been modified; please apply your changes to the latest version and try again"


def test_a_merge_patch_changes_what_it_names_and_null_removes(send, kind, name):
    path = kind.at(name)
    send("POST", kind.path, kind.make(name, labels={"a": "1", "b": "1", "c": "1"}))
    patch = {kind.field: {"provider": "two"}, "metadata": {"labels": {"a": None, "b": "2", "d": "2"}}}
    answer = send("PATCH", path, patch, content_type=MERGE)
    assert (answer.code, answer.body[kind.field]) == (200, {"provider": "two"})
    assert answer.body["metadata"]["labels"] == {"b": "2", "c": "1", "d": "2"}
    assert send("GET", path).body == answer.body


def test_a_merge_patch_replaces_lists(send, name):
    content = {"conditions": [{"type": "a", "status": "True"}]}
    send("POST", CUSTOM.path, {**CUSTOM.make(name), "status": content})
    more = {"status": {"conditions": [{"type": "b", "status": "True"}]}}
    assert send("PATCH", CUSTOM.at(name), more, content_type=MERGE).body["status"] == more["status"]


def test_a_null_for_what_is_not_there_is_no_change(send, kind, item):
    patch = {kind.field: {"absent": None}, "metadata": {"labels": {"absent": None}}}
    answer = send("PATCH", kind.at(item["metadata"]["name"]), patch, content_type=MERGE)
    assert answer.body["metadata"]["resourceVersion"] == item["metadata"]["resourceVersion"]
    assert "labels" not in answer.body["metadata"]


def test_a_merge_patch_with_a_stale_resource_version_is_refused_with_409_conflict(send, kind, item):
    name, version = item["metadata"]["name"], item["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, kind.field: {"provider": "two"}}
    assert send("PATCH", kind.at(name), patch, content_type=MERGE).code == 200
    answer = send("PATCH", kind.at(name), patch, content_type=MERGE)
    assert answer.refusal == (409, "Conflict")
    assert answer.body["message"] == f'Operation cannot be fulfilled on {kind.plural} "{name}": {STALE}'


def test_a_patch_without_a_resource_version_never_conflicts(send, kind, item):
    for value in ("two", "three"):
        answer = send("PATCH", kind.at(item["metadata"]["name"]), {kind.field: {"provider": value}}, content_type=MERGE)
        assert answer.code == 200


def test_a_dry_run_of_a_patch_stores_nothing(send, kind, item):
    path = kind.at(item["metadata"]["name"])
    answer = send("PATCH", path, {kind.field: {"provider": "two"}}, content_type=MERGE, dryRun="All")
    assert answer.body[kind.field] == {"provider": "two"}
    assert send("GET", path).body == item


@pytest.mark.parametrize("content_type", [MERGE, JSON_PATCH])
def test_a_patch_of_what_is_not_there_is_404(send, kind, content_type):
    answer = send("PATCH", kind.at("none"), [] if content_type == JSON_PATCH else {}, content_type=content_type)
    assert answer.refusal == (404, "NotFound")
    assert answer.body["message"] == f'{kind.plural} "none" not found'


@pytest.mark.parametrize(
    ("field", "refusal"),
    [
        ("name", (400, "the name of the object (other) does not match the name on the URL (")),
        ("uid", (422, 'metadata.uid: Invalid value: "other": field is immutable')),
    ],
)
def test_a_patch_cannot_make_another_object_of_it(send, kind, item, field, refusal):
    answer = send("PATCH", kind.at(item["metadata"]["name"]), {"metadata": {field: "other"}}, content_type=MERGE)
    assert answer.code == refusal[0]
    assert refusal[1] in answer.body["message"]


@pytest.mark.parametrize(
    ("patch", "refusal"),
    [
        ((MERGE, b"{"), (400, "Invalid JSON Patch")),
        ((MERGE, b"[]"), (422, ' "" is invalid: patch: Invalid value: "[]": ')),
        ((JSON_PATCH, b"{"), (400, "unexpected end of JSON input")),
        ((JSON_PATCH, b"{}"), (400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch")),
    ],
    ids=["merge: broken", "merge: list", "JSON: broken", "JSON: object"],
)
def test_a_body_that_is_no_patch_is_refused(send, kind, item, patch, refusal):
    content_type, body = patch
    answer = send("PATCH", kind.at(item["metadata"]["name"]), body, content_type=content_type)
    assert answer.code == refusal[0]
    assert answer.body["message"].startswith(refusal[1])


def test_a_strategic_body_that_is_no_patch_is_refused(send, name):
    send("POST", PLAIN.path, PLAIN.make(name))
    answer = send("PATCH", PLAIN.at(name), b"[]", content_type=STRATEGIC)
    assert answer.refusal == (400, "BadRequest")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_a_patch_has_to_name_its_kind_by_the_content_type(send, kind, item, content_type):
    path = kind.at(item["metadata"]["name"])
    answer = send("PATCH", path, {kind.field: {"provider": "two"}}, content_type=content_type)
    assert answer.refusal == (415, "UnsupportedMediaType")
    assert send("GET", path).body == item


def test_a_strategic_patch_of_a_custom_object_is_415(send, name):
    send("POST", CUSTOM.path, CUSTOM.make(name))
    answer = send("PATCH", CUSTOM.at(name), {"spec": {"provider": "two"}}, content_type=STRATEGIC)
    assert answer.refusal == (415, "UnsupportedMediaType")
    assert answer.body["message"] == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    )


def test_a_json_patch_does_its_operations_in_order(send, kind, item):
    operations = [
        {"op": "test", "path": f"/{kind.field}/provider", "value": "one"},
        {"op": "add", "path": f"/{kind.field}/region", "value": "r"},
        {"op": "move", "from": f"/{kind.field}/region", "path": f"/{kind.field}/zone"},
        {"op": "replace", "path": f"/{kind.field}/provider", "value": "two"},
        {"op": "add", "path": "/metadata/labels", "value": {"a~b": "c"}},
        {"op": "remove", "path": "/metadata/labels/a~0b"},
    ]
    if kind is CUSTOM:
        # `region` and `zone` are no fields of a Cluster's spec, and dropped in the end.
        operations = [operations[0], *operations[3:]]
    answer = send("PATCH", kind.at(item["metadata"]["name"]), operations, content_type=JSON_PATCH)
    assert answer.code == 200
    assert answer.body[kind.field] == {"provider": "two"} | ({"zone": "r"} if kind is PLAIN else {})


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/name", "value": "no"},
        {"op": "remove", "path": "/metadata/absent"},
        {"op": "replace", "path": "/absent/field", "value": "x"},
        {"op": "jump", "path": "/metadata"},
    ],
    ids=["test fails", "nothing to remove", "nothing to replace", "no operation"],
)
def test_a_json_patch_that_does_not_fit_changes_nothing(send, kind, item, operation):
    """The answer does not say why."""
    path = kind.at(item["metadata"]["name"])
    change = {"op": "replace", "path": f"/{kind.field}/provider", "value": "two"}
    answer = send("PATCH", path, [change, operation], content_type=JSON_PATCH)
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"] == "the server rejected our request due to an error in our request"
    assert send("GET", path).body == item


@pytest.fixture
def deployment(send, name):
    """A Deployment that nothing is done about."""
    containers = [{"name": "a", "image": "one", "ports": [{"containerPort": 80}]}, {"name": "b", "image": "two"}]
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}
    spec = {"replicas": 0, "paused": True, "selector": {"matchLabels": {"app": name}}, "template": template}
    assert send("POST", DEPLOYMENTS, {"metadata": {"name": name, "labels": {"x": "y"}}, "spec": spec}).code == 201
    return f"{DEPLOYMENTS}/{name}"


def containers(patched):
    return {item["name"]: item["image"] for item in patched.body["spec"]["template"]["spec"]["containers"]}


def pod(*entries, **directives):
    return {"spec": {"template": {"spec": {"containers": list(entries), **directives}}}}


@pytest.mark.parametrize(
    ("patch", "images"),
    [
        (pod({"name": "b", "image": "three"}), {"a": "one", "b": "three"}),
        (pod({"name": "c", "image": "three"}), {"a": "one", "b": "two", "c": "three"}),
        (pod({"name": "a", "$patch": "delete"}), {"b": "two"}),
        (pod({"$patch": "replace"}, {"name": "c", "image": "three"}), {"c": "three"}),
        (
            pod(
                {"name": "c", "image": "three"},
                **{"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}]},
            ),
            {"c": "three", "a": "one", "b": "two"},
        ),
    ],
    ids=["change", "add", "delete", "replace", "order"],
)
def test_a_strategic_patch_merges_containers_by_name(send, deployment, patch, images):
    patched = send("PATCH", deployment, patch, content_type=STRATEGIC)
    assert patched.code == 200
    assert containers(patched) == images
    if "$setElementOrder/containers" in patch["spec"]["template"]["spec"]:
        assert list(containers(patched)) == list(images)


def test_a_merge_patch_of_the_same_replaces_the_containers(send, deployment):
    patched = send("PATCH", deployment, pod({"name": "b", "image": "three"}), content_type=MERGE)
    assert containers(patched) == {"b": "three"}


def test_a_strategic_patch_adds_to_maps_and_null_removes(send, deployment):
    patch = {"metadata": {"labels": {"x": None, "z": "1"}}}
    assert send("PATCH", deployment, patch, content_type=STRATEGIC).body["metadata"]["labels"] == {"z": "1"}


def test_a_strategic_patch_with_a_stale_version_is_409_conflict(send, deployment):
    patch = {"metadata": {"resourceVersion": "1", "labels": {"z": "1"}}}
    assert send("PATCH", deployment, patch, content_type=STRATEGIC).refusal == (409, "Conflict")


def test_a_strategic_patch_that_makes_no_valid_object_is_422_invalid(send, deployment):
    answer = send("PATCH", deployment, {"spec": {"replicas": -1}}, content_type=STRATEGIC)
    assert answer.refusal == (422, "Invalid")


def test_a_strategic_patch_of_what_is_not_there_is_404(send):
    assert send("PATCH", f"{DEPLOYMENTS}/none", {}, content_type=STRATEGIC).refusal == (404, "NotFound")


def test_a_strategic_entry_without_its_key_is_an_error_of_the_server(send, deployment):
    answer = send("PATCH", deployment, pod({"image": "three"}), content_type=STRATEGIC)
    assert answer.code == 500
    assert "does not contain declared merge key: name" in answer.body["message"]


def test_a_strategic_patch_adds_finalizers(send, name):
    send("POST", PLAIN.path, PLAIN.make(name, finalizers=["example.com/one"]))
    patch = {"metadata": {"finalizers": ["example.com/two"]}}
    patched = send("PATCH", PLAIN.at(name), patch, content_type=STRATEGIC).body
    assert sorted(patched["metadata"]["finalizers"]) == ["example.com/one", "example.com/two"]
    order = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/one", "example.com/two"]}}
    assert "finalizers" not in send("PATCH", PLAIN.at(name), order, content_type=STRATEGIC).body["metadata"]
