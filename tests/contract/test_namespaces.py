"""Namespaces: what they begin with, and how they go."""

import pytest

from tests.contract.conftest import MERGE, PLAIN


def test_a_namespace_is_active_and_carries_its_name_as_a_label(send, name):
    created = send("POST", "/api/v1/namespaces", {"metadata": {"name": name}}).body
    assert created["status"] == {"phase": "Active"}
    assert created["spec"] == {"finalizers": ["kubernetes"]}
    assert created["metadata"]["labels"] == {"kubernetes.io/metadata.name": name}


def test_a_namespace_takes_what_is_in_it_along(send, name, eventually):
    namespace = f"/api/v1/namespaces/{name}"
    send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    send("POST", f"{namespace}/configmaps", PLAIN.make("inside"))
    answer = send("DELETE", namespace)
    assert (answer.code, answer.body["status"]) == (200, {"phase": "Terminating"})
    assert answer.body["metadata"]["deletionTimestamp"]
    eventually(lambda: send("GET", namespace), lambda answer: answer.code == 404)
    assert send("GET", f"{namespace}/configmaps").body["items"] == []


def test_nothing_is_made_in_a_namespace_that_is_being_deleted(send, name, eventually):
    """A finalizer inside holds it."""
    namespace = f"/api/v1/namespaces/{name}"
    send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    send("POST", f"{namespace}/configmaps", PLAIN.make("inside", finalizers=["example.com/hold"]))
    send("DELETE", namespace)
    answer = send("POST", f"{namespace}/configmaps", PLAIN.make("late"))
    assert answer.refusal == (403, "Forbidden")
    assert answer.body["message"] == (
        f'configmaps "late" is forbidden: unable to create new content in namespace {name} because it is being '
        "terminated"
    )
    assert send("DELETE", namespace).code == 200
    send("PATCH", f"{namespace}/configmaps/inside", {"metadata": {"finalizers": None}}, content_type=MERGE)
    eventually(lambda: send("GET", namespace), lambda answer: answer.code == 404)


def test_a_namespace_goes_when_its_last_finalizer_is_taken(send, name, eventually):
    """They stand in its spec; that of Kubernetes is taken when nothing is left inside."""
    namespace = f"/api/v1/namespaces/{name}"
    content = {"metadata": {"name": name}, "spec": {"finalizers": ["kubernetes", "example.com/hold"]}}
    send("POST", "/api/v1/namespaces", content)
    send("DELETE", namespace)
    emptied = eventually(
        lambda: send("GET", namespace), lambda answer: answer.body["spec"] == {"finalizers": ["example.com/hold"]}
    ).body
    answer = send("PUT", f"{namespace}/finalize", {**emptied, "spec": {}})
    assert answer.code == 200
    assert send("GET", namespace).code == 404


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_namespaces_of_kubernetes_itself_stay(send, name):
    answer = send("DELETE", f"/api/v1/namespaces/{name}")
    assert answer.refusal == (403, "Forbidden")
    assert answer.body["message"] == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
