"""Dry runs: a server answers as usual and stores nothing."""

import pytest

from tests.contract.conftest import CUSTOM, MERGE, PLAIN

HOLD = "example.com/hold"
SERVICES = "/api/v1/namespaces/default/services"
SERVER_MADE = ("uid", "creationTimestamp", "resourceVersion", "managedFields")
DRY = {"dryRun": "All"}


def plainly(found):
    """Return an object without what a server makes up by itself."""
    metadata = {key: value for key, value in found["metadata"].items() if key not in SERVER_MADE}
    return {**found, "metadata": metadata}


def test_a_dry_create_answers_what_a_create_does_and_has_no_version(send, kind, name):
    tried = send("POST", kind.path, kind.make(name), **DRY)
    made = send("POST", kind.path, kind.make(name))
    assert (tried.code, plainly(tried.body)) == (made.code, plainly(made.body))
    assert "resourceVersion" not in tried.body["metadata"]
    assert tried.body["metadata"]["uid"] != made.body["metadata"]["uid"]


def test_a_dry_patch_answers_what_a_patch_does_and_has_the_version_that_is_stored(send, kind, item):
    path, patch = kind.at(item["metadata"]["name"]), {kind.field: {"provider": "two"}}
    tried = send("PATCH", path, patch, content_type=MERGE, **DRY)
    done = send("PATCH", path, patch, content_type=MERGE)
    assert (tried.code, plainly(tried.body)) == (done.code, plainly(done.body))
    assert tried.body["metadata"]["resourceVersion"] == item["metadata"]["resourceVersion"]


def test_a_dry_delete_of_what_is_held_shows_it_marked(send, kind, name):
    made = send("POST", kind.path, kind.make(name, finalizers=[HOLD])).body
    tried = send("DELETE", kind.at(name), **DRY)
    assert tried.body["metadata"]["deletionTimestamp"]
    assert tried.body["metadata"].get("generation") == (2 if kind is CUSTOM else None)
    assert send("GET", kind.at(name)).body == made
    send("DELETE", kind.at(name))
    free = {"metadata": {"finalizers": None}}
    assert send("PATCH", kind.at(name), free, content_type=MERGE, **DRY).code == 200
    assert send("GET", kind.at(name)).body["metadata"]["finalizers"] == [HOLD]
    send("PATCH", kind.at(name), free, content_type=MERGE)


def test_dry_runs_are_seen_by_no_watch_and_move_no_version(send, kind, item):
    """The next real write is the first that a watch shows."""
    name, named = item["metadata"]["name"], {"labelSelector": item["metadata"]["name"]}
    path = kind.at(name)
    start = send("GET", kind.path, **named).body["metadata"]["resourceVersion"]
    for method, where, body in (
        ("POST", kind.path, kind.make(f"{name}-2", labels={name: "dry"})),
        ("PATCH", path, {"metadata": {"labels": {name: "dry"}}}),
        ("PUT", path, {**item, "metadata": {**item["metadata"], "labels": {name: "dry"}}}),
        ("DELETE", path, None),
    ):
        content_type = MERGE if method == "PATCH" else "application/json"
        assert send(method, where, body, content_type=content_type, **DRY).code in {200, 201}
    assert send("GET", path).body == item
    written = send("PATCH", path, {"metadata": {"labels": {name: "real"}}}, content_type=MERGE).body
    assert written["metadata"].get("generation") == item["metadata"].get("generation")
    ((type_, seen),) = send.watch(kind.path, events=1, resourceVersion=start, **named)
    assert (type_, seen["metadata"]["labels"]) == ("ADDED", {name: "real"})


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"metadata": {"resourceVersion": "1"}}, (409, "Conflict")),
        ({"metadata": {"labels": {"a": "-"}}}, (422, "Invalid")),
        ({"metadata": {"finalizers": "x"}}, (422, "Invalid")),
    ],
    ids=["stale", "bad label", "type"],
)
def test_what_a_patch_is_refused_for_a_dry_one_is_refused_for(send, kind, item, change, refusal):
    path = kind.at(item["metadata"]["name"])
    patch = {**change, kind.field: {"provider": "two"}}
    answers = [send("PATCH", path, patch, content_type=MERGE, **options) for options in (DRY, {})]
    assert [answer.refusal for answer in answers] == [refusal] * 2


def test_what_a_create_is_refused_for_a_dry_one_is_refused_for(send, kind, item):
    name = item["metadata"]["name"]
    assert send("POST", kind.path, kind.make(name), **DRY).refusal == (409, "AlreadyExists")
    assert send("POST", kind.path, kind.make(f"{name}.-"), **DRY).refusal == (422, "Invalid")
    nowhere = PLAIN.path.replace("default", name)
    assert send("POST", nowhere, PLAIN.make(name), **DRY).refusal == (404, "NotFound")


def test_what_a_delete_is_refused_for_a_dry_one_is_refused_for(send, kind, item):
    path = kind.at(item["metadata"]["name"])
    conditions = {"preconditions": {"uid": "other"}}
    assert send("DELETE", path, conditions, **DRY).refusal == (409, "Conflict")
    assert send("DELETE", kind.at("none"), **DRY).refusal == (404, "NotFound")


def test_a_service_of_a_dry_run_takes_no_address(send, name):
    """What it is told is the same each time, and nobody's."""
    content = {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    first, second = (send("POST", SERVICES, content, **DRY).body["spec"] for _ in range(2))
    assert first == second
    assert (first["clusterIP"], first["ports"][0]["nodePort"]) == ("10.233.0.0", 32769)
    made = send("POST", SERVICES, content).body["spec"]
    assert made["clusterIP"] != first["clusterIP"]
    assert made["ports"][0]["nodePort"] < 32768
