"""Replacing whole objects, and what versions, generations and status are about."""

import pytest

from tests.contract.conftest import CUSTOM, MERGE, PLAIN

USERS = "/apis/iam.kubesphere.io/v1alpha2/users"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
STALE = "the object has been modified; please apply your changes to the latest version and try again"


def user(name):
    return {
        "apiVersion": "iam.kubesphere.io/v1alpha2",
        "kind": "User",
        "metadata": {"name": name},
        "spec": {"email": "one@example.com"},
        "status": {"state": "Active"},
    }


def test_an_update_replaces_what_is_there(send, kind, item):
    path = kind.at(item["metadata"]["name"])
    answer = send("PUT", path, {**item, kind.field: {"provider": "two"}})
    assert (answer.code, answer.body[kind.field]) == (200, {"provider": "two"})
    assert int(answer.body["metadata"]["resourceVersion"]) > int(item["metadata"]["resourceVersion"])
    assert send("GET", path).body == answer.body


def test_an_update_with_a_stale_version_is_409_conflict(send, kind, item):
    name, path = item["metadata"]["name"], kind.at(item["metadata"]["name"])
    changed = {**item, kind.field: {"provider": "two"}}
    assert send("PUT", path, changed).code == 200
    answer = send("PUT", path, changed)
    assert answer.refusal == (409, "Conflict")
    assert answer.body["message"] == f'Operation cannot be fulfilled on {kind.plural} "{name}": {STALE}'


def test_an_update_without_a_version_overwrites_objects_of_kubernetes(send, name):
    send("POST", PLAIN.path, PLAIN.make(name))
    assert send("PUT", PLAIN.at(name), PLAIN.make(name, content={"provider": "two"})).code == 200


def test_an_update_of_a_custom_object_needs_a_version(send, name):
    send("POST", CUSTOM.path, CUSTOM.make(name))
    answer = send("PUT", CUSTOM.at(name), CUSTOM.make(name))
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"] == (
        f'clusters.cluster.kubesphere.io "{name}" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be '
        "specified for an update"
    )


def test_an_update_of_another_object_of_the_same_name_is_409_conflict(send, kind, item):
    """The uid in it is that of one which is gone."""
    name = item["metadata"]["name"]
    send("DELETE", kind.at(name))
    again = send("POST", kind.path, kind.make(name)).body
    metadata = {**item["metadata"], "resourceVersion": again["metadata"]["resourceVersion"]}
    answer = send("PUT", kind.at(name), {**item, "metadata": metadata})
    assert answer.refusal == (409, "Conflict")
    assert "Precondition failed: UID in precondition: " in answer.body["message"]


def test_an_update_of_what_is_not_there_is_404(send, kind):
    answer = send("PUT", kind.at("none"), kind.make("none", resourceVersion="1"))
    assert answer.refusal == (404, "NotFound")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"name": "other"}, "the name of the object (other) does not match the name on the URL ("),
        ({}, "undeterminable: name must be provided"),
    ],
    ids=["other name", "no name"],
)
def test_an_update_names_its_object_as_the_path_does(send, kind, item, metadata, words):
    answer = send("PUT", kind.at(item["metadata"]["name"]), {**item, "metadata": metadata})
    assert answer.refusal == (400, "BadRequest")
    assert words in answer.body["message"]


def test_an_update_that_changes_nothing_writes_nothing(send, kind, item):
    answer = send("PUT", kind.at(item["metadata"]["name"]), item)
    assert (answer.code, answer.body) == (200, item)


def test_a_dry_run_of_an_update_stores_nothing(send, kind, item):
    path = kind.at(item["metadata"]["name"])
    assert send("PUT", path, {**item, kind.field: {"provider": "two"}}, dryRun="All").code == 200
    assert send("GET", path).body == item


def test_an_update_cannot_change_what_the_server_keeps(send, kind, item):
    metadata = {**item["metadata"], "creationTimestamp": "2020-01-01T00:00:00Z", "generation": 9}
    answer = send("PUT", kind.at(item["metadata"]["name"]), {**item, "metadata": metadata})
    assert answer.code == 200
    for field in ("creationTimestamp", "generation"):
        assert answer.body["metadata"].get(field) == item["metadata"].get(field)


def test_plain_objects_have_no_generation(send, name):
    assert "generation" not in send("POST", PLAIN.path, PLAIN.make(name)).body["metadata"]


def test_every_change_of_a_custom_object_without_a_status_subresource_raises_its_generation(send, name):
    """Of its status too; only metadata does not count."""
    send("POST", CUSTOM.path, CUSTOM.make(name))
    steps = [
        ({"metadata": {"labels": {"a": "b"}}}, 1),
        ({"spec": {"provider": "two"}}, 2),
        ({"status": {"uid": "u"}}, 3),
    ]
    for patch, generation in steps:
        answer = send("PATCH", CUSTOM.at(name), patch, content_type=MERGE)
        assert answer.body["metadata"]["generation"] == generation
    assert answer.body["status"] == {"uid": "u"}


def test_a_status_is_lost_to_an_update_that_leaves_it_out_where_it_is_an_ordinary_field(send, name):
    send("POST", CUSTOM.path, CUSTOM.make(name))
    told = send("PATCH", CUSTOM.at(name), {"status": {"uid": "u"}}, content_type=MERGE).body
    del told["status"]
    assert "status" not in send("PUT", CUSTOM.at(name), told).body


def test_a_kind_without_a_status_subresource_has_none(send, kind, item):
    name = item["metadata"]["name"]
    path = kind.at(name, "status")
    answers = [send("GET", path), send("PUT", path, item), send("PATCH", path, {"status": {}}, content_type=MERGE)]
    assert [answer.refusal for answer in answers] == [(404, "NotFound")] * 3
    said = "the server could not find the requested resource" if kind is PLAIN else f'{kind.plural} "{name}" not found'
    assert {answer.body["message"] for answer in answers} == {said}


def test_a_status_subresource_keeps_status_and_the_rest_apart(send, name):
    created = send("POST", USERS, user(name)).body
    assert "status" not in created, "a new object has none"
    both = {"spec": {"email": "two@example.com"}, "status": {"state": "Disabled"}}
    main = send("PATCH", f"{USERS}/{name}", both, content_type=MERGE).body
    assert (main["spec"], "status" in main) == ({"email": "two@example.com"}, False)
    through = send("PATCH", f"{USERS}/{name}/status", {**both, "spec": {"email": "x"}}, content_type=MERGE).body
    assert (through["spec"], through["status"]) == ({"email": "two@example.com"}, {"state": "Disabled"})
    assert through["metadata"]["generation"] == main["metadata"]["generation"] == 2


def test_a_status_is_replaced_and_read_by_its_own_path(send, name):
    created = send("POST", USERS, user(name)).body
    path = f"{USERS}/{name}/status"
    answer = send("PUT", path, {**created, "status": {"state": "Active"}})
    assert (answer.code, answer.body["status"]) == (200, {"state": "Active"})
    assert send("GET", path).body == answer.body == send("GET", f"{USERS}/{name}").body
    stale = send("PUT", path, {**created, "status": {"state": "Disabled"}})
    assert stale.refusal == (409, "Conflict")


def test_a_status_of_what_is_not_there_is_404(send):
    answer = send("PATCH", f"{USERS}/none/status", {"status": {}}, content_type=MERGE)
    assert answer.refusal == (404, "NotFound")


def test_a_deployment_counts_changes_of_its_spec_and_annotations(send, name):
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "a", "image": "one"}]}}
    spec = {"replicas": 0, "paused": True, "selector": {"matchLabels": {"app": name}}, "template": template}
    send("POST", DEPLOYMENTS, {"metadata": {"name": name}, "spec": spec})
    generations = [
        send("PATCH", f"{DEPLOYMENTS}/{name}", patch, content_type=MERGE).body["metadata"]["generation"]
        for patch in (
            {"metadata": {"labels": {"a": "b"}}},
            {"status": {"replicas": 7}},
            {"metadata": {"annotations": {"a": "b"}}},
            {"spec": {"minReadySeconds": 1}},
        )
    ]
    assert [later - generations[0] for later in generations] == [0, 0, 1, 2]
