"""Fields of Kubernetes' own kinds, those that there are not, and types; Events and Nodes."""

import pytest

from tests.contract.conftest import MERGE, PLAIN, STRATEGIC

EVENTS = "/api/v1/namespaces/default/events"


def test_fields_that_a_kind_does_not_have_are_dropped(send, name):
    content = {"metadata": {"name": name, "misspelt": "x"}, "data": {"a": "1"}, "misspelt": "x", "spec": {}}
    created = send("POST", PLAIN.path, content).body
    assert set(created) == {"kind", "apiVersion", "metadata", "data"}
    assert "misspelt" not in created["metadata"]
    patched = send("PATCH", PLAIN.at(name), {"misspelt": "x"}, content_type=MERGE).body
    assert patched["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    "content",
    [{"data": "text"}, {"data": {"a": 1}}, {"metadata": {"labels": {"a": 1}}}, {"metadata": {"finalizers": "a"}}],
    ids=["text for a map", "number for a text", "label", "text for a list"],
)
def test_fields_of_a_kind_have_types(send, name, content):
    new = {**content, "metadata": {"name": name, **content.get("metadata", {})}}
    answer = send("POST", PLAIN.path, new)
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"].startswith(
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal '
    )
    send("POST", PLAIN.path, PLAIN.make(name))
    answer = send("PATCH", PLAIN.at(name), content, content_type=MERGE)
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"].startswith(' "" is invalid: patch: Invalid value: ')


def test_an_empty_map_is_left_out(send, name):
    assert "data" not in send("POST", PLAIN.path, {"metadata": {"name": name}, "data": {}}).body


def test_an_event_is_stored_as_it_is_written_and_counted_by_a_patch(send, name):
    subject = {"apiVersion": "cluster.kubesphere.io/v1alpha1", "kind": "Cluster", "name": name, "uid": "u"}
    event = {
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": subject,
        "type": "Warning",
        "reason": "Tried",
        "message": "it failed",
        "source": {"component": "tests"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
        "eventTime": None,
        "reportingComponent": "",
        "reportingInstance": "",
    }
    created = send("POST", EVENTS, event)
    assert created.code == 201
    assert {**event, "metadata": None}.items() <= {**created.body, "metadata": None}.items()
    patched = send("PATCH", f"{EVENTS}/{name}", {"count": 2}, content_type=MERGE)
    assert (patched.code, patched.body["count"]) == (200, 2)


def test_an_event_about_nothing_with_a_namespace_belongs_to_default(send, name):
    event = {"metadata": {"name": name}, "involvedObject": {"kind": "Cluster", "name": name}}
    answer = send("POST", "/api/v1/namespaces/kube-system/events", event)
    assert answer.refusal == (422, "Invalid")
    assert "involvedObject.namespace: Invalid value" in answer.body["message"]


def test_a_node_takes_status_through_its_subresource_only(send):
    node = send("GET", "/api/v1/nodes").body["items"][0]["metadata"]["name"]
    path = f"/api/v1/nodes/{node}"
    condition = {"type": "Tried", "status": "True"}
    patch = {"status": {"conditions": [condition]}}
    ordinary = send("PATCH", path, patch, content_type=STRATEGIC).body
    assert "Tried" not in {entry["type"] for entry in ordinary["status"]["conditions"]}
    through = send("PATCH", f"{path}/status", patch, content_type=STRATEGIC).body
    assert {"Ready", "Tried"} <= {entry["type"] for entry in through["status"]["conditions"]}
