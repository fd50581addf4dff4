"""What a server says of one's own rights, and that it does what it says."""

import pytest

from tests.contract.conftest import CUSTOM, PLAIN

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


def review(**attributes):
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }


def plainly(body):
    """Return a review without what tells who has written which field."""
    return {**body, "metadata": {key: value for key, value in body["metadata"].items() if key != "managedFields"}}


@pytest.mark.parametrize("user", ["admin", "airflow"])
@pytest.mark.parametrize(
    ("method", "path", "attributes"),
    [
        ("GET", PLAIN.at("kube-root-ca.crt"), {"verb": "get", "resource": "configmaps", "namespace": "default"}),
        ("GET", PLAIN.path, {"verb": "list", "resource": "configmaps", "namespace": "default"}),
        ("DELETE", PLAIN.at("none"), {"verb": "delete", "resource": "configmaps", "namespace": "default"}),
        ("GET", CUSTOM.path, {"verb": "list", "group": "cluster.kubesphere.io", "resource": "clusters"}),
        ("GET", "/api/v1/namespaces/kube-system", {"verb": "get", "resource": "namespaces", "name": "kube-system"}),
        ("GET", f"{LEASES}/none", {"verb": "get", "group": "coordination.k8s.io", "resource": "leases"}),
        (
            "GET",
            "/api/v1/namespaces/default/pods/none/log",
            {"verb": "get", "resource": "pods", "subresource": "log", "namespace": "default", "name": "none"},
        ),
    ],
)
def test_who_is_told_that_a_request_is_allowed_is_not_refused(connect, user, method, path, attributes):
    send = connect(user=user)
    answer = send("POST", REVIEWS, review(**attributes))
    assert (answer.code, plainly(answer.body)) == (
        201,
        {
            **review(**attributes),
            "metadata": {"creationTimestamp": None},
            "status": {"allowed": True},
        },
    )
    assert send(method, path).code in {200, 404}


def test_a_path_of_no_kind_can_be_asked_for(send):
    asked = {"spec": {"nonResourceAttributes": {"path": "/apis", "verb": "get"}}}
    answer = send("POST", REVIEWS, asked)
    assert (answer.code, answer.body["status"]) == (201, {"allowed": True})


def test_who_is_not_known_may_not_even_ask(nobody):
    answer = nobody("POST", REVIEWS, review(verb="get", resource="secrets"))
    assert answer.refusal == (403, "Forbidden")
    assert answer.body["message"] == (
        'selfsubjectaccessreviews.authorization.k8s.io is forbidden: User "system:anonymous" cannot create resource '
        '"selfsubjectaccessreviews" in API group "authorization.k8s.io" at the cluster scope'
    )


def test_an_answer_is_not_taken_from_the_question(send):
    asked = {**review(verb="get", resource="secrets"), "status": {"allowed": False}}
    assert send("POST", REVIEWS, asked).body["status"] == {"allowed": True}


def test_a_review_is_not_stored(send):
    before = send("GET", PLAIN.path).body["metadata"]["resourceVersion"]
    assert send("POST", REVIEWS, review(verb="get", resource="secrets"), dryRun="All").code == 201
    assert send("POST", REVIEWS, review(verb="get", resource="secrets")).code == 201
    assert send("GET", REVIEWS).refusal == (405, "MethodNotAllowed")
    assert send("GET", f"{REVIEWS}/x").refusal == (404, "NotFound")
    assert send("DELETE", f"{REVIEWS}/x").refusal == (404, "NotFound")
    assert before


def test_the_namespace_of_what_is_in_none_is_of_no_weight(send):
    assert send("POST", REVIEWS, {**review(verb="get"), "metadata": {"namespace": "x"}}).code == 201


EXACTLY_ONE = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
PATH = {"path": "/version", "verb": "get"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, f'spec.resourceAttributes: Invalid value: "null": {EXACTLY_ONE}'),
        ({"spec": {}}, f'spec.resourceAttributes: Invalid value: "null": {EXACTLY_ONE}'),
        (
            {"spec": {"resourceAttributes": {"verb": "get"}, "nonResourceAttributes": PATH}},
            (
                'spec.nonResourceAttributes: Invalid value: authorization.NonResourceAttributes{Path:"/version", '
                'Verb:"get"}: cannot be specified in combination with resourceAttributes'
            ),
        ),
    ],
    ids=["nothing", "no attributes", "both"],
)
def test_a_review_is_about_one_thing(send, content, words):
    answer = send("POST", REVIEWS, content)
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"] == f'.authorization.k8s.io "" is invalid: {words}'


def test_a_review_has_no_name(send):
    answer = send("POST", REVIEWS, {**review(verb="get", resource="secrets"), "metadata": {"name": "x"}})
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"].startswith('.authorization.k8s.io "" is invalid: metadata: Invalid value: ')
    assert answer.body["message"].endswith(": must be empty")


def test_the_attributes_of_a_review_have_types(send):
    answer = send("POST", REVIEWS, review(verb=5, resource="secrets"))
    assert answer.refusal == (400, "BadRequest")
    assert (
        "cannot unmarshal number into Go struct field ResourceAttributes.spec.resourceAttributes.verb"
        in (answer.body["message"])
    )


def test_reviews_are_described_as_what_can_only_be_created(send):
    listed = {found["name"]: found for found in send("GET", "/apis/authorization.k8s.io/v1").body["resources"]}
    found = listed["selfsubjectaccessreviews"]
    assert (found["kind"], found["namespaced"], found["verbs"]) == ("SelfSubjectAccessReview", False, ["create"])
