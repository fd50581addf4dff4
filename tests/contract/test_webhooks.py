"""Webhooks that a server asks before it stores an object: how they are configured, and that nothing goes without."""

import pytest

from tests.contract.conftest import MERGE, Kind

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
HOOK = "validating.example.com"
# Of a kind that no other test changes: a real server goes on asking for a moment.
WORKSPACES = Kind(
    "/apis/tenant.kubesphere.io/v1alpha1/workspaces",
    "workspaces.tenant.kubesphere.io",
    "Workspace",
    "tenant.kubesphere.io/v1alpha1",
    "spec",
)
RULE = {
    "apiGroups": ["tenant.kubesphere.io"],
    "apiVersions": ["v1alpha1"],
    "operations": ["UPDATE"],
    "resources": ["workspaces"],
}
SERVICE = {"name": "none", "namespace": "default", "path": "/validate"}


def configuration(title, **hook):
    """A configuration whose Service there is not."""
    described = {
        "name": HOOK,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"service": SERVICE},
        "rules": [RULE],
        **hook,
    }
    return {"metadata": {"name": title}, "webhooks": [described]}


@pytest.fixture
def configure(send, name):
    """Create a configuration, which goes away with the test."""

    def create(**hook):
        answer = send("POST", CONFIGURATIONS, configuration(name, **hook))
        assert answer.code == 201
        return answer.body

    yield create
    send("DELETE", f"{CONFIGURATIONS}/{name}")


@pytest.fixture
def workspace(send, name, eventually):
    """The path of a custom object, which the tests change; a real server may still ask for the test before this one."""
    path = WORKSPACES.at(name)
    eventually(lambda: send("POST", WORKSPACES.path, new(name)), lambda answer: answer.code == 201)
    eventually(lambda: change(send, path), lambda answer: answer.code == 200)
    yield path
    send("DELETE", path)


def new(name, **metadata):
    return WORKSPACES.make(name, content={"manager": "one"}, **metadata)


def change(send, path, *, manager="two", **query):
    return send("PATCH", path, {"spec": {"manager": manager}}, content_type=MERGE, **query)


def test_a_configuration_is_completed(configure):
    stored = configure()
    assert stored["metadata"]["generation"] == 1
    (hook,) = stored["webhooks"]
    assert hook == {
        "name": HOOK,
        "clientConfig": {"service": {**SERVICE, "port": 443}},
        "rules": [{**RULE, "scope": "*"}],
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "sideEffects": "None",
        "timeoutSeconds": 10,
        "admissionReviewVersions": ["v1"],
    }


def test_an_object_is_not_changed_while_its_webhook_cannot_be_asked(send, configure, workspace, name, eventually):
    configure()
    answer = eventually(lambda: change(send, workspace, manager="three"), lambda answer: answer.code != 200)
    assert answer.refusal == (500, "InternalError")
    cause = (
        f'failed calling webhook "{HOOK}": failed to call webhook: Post '
        '"https://none.default.svc:443/validate?timeout=10s": service "none" not found'
    )
    assert answer.body["message"] == f"Internal error occurred: {cause}"
    assert answer.body["details"] == {"causes": [{"message": cause}]}
    assert change(send, workspace, dryRun="All").code == 500, "a dry run asks as well"
    found = send("GET", workspace).body
    assert send("PUT", workspace, found).code == 500, "so does an update that changes nothing"
    assert send("DELETE", f"{CONFIGURATIONS}/{name}").code == 200
    eventually(lambda: change(send, workspace, manager="four"), lambda answer: answer.code == 200)


EXCEPT = {"matchExpressions": [{"key": "leaving", "operator": "DoesNotExist"}]}
ONLY = {"matchLabels": {"guarded": "yes"}}
LEAVING = {"metadata": {"labels": {"leaving": ""}}}


def test_what_a_selector_leaves_out_is_not_asked_about(send, configure, workspace, name, eventually):
    configure()
    eventually(lambda: change(send, workspace, manager="three"), lambda answer: answer.code == 500)
    narrow(send, name, ONLY)
    answer = eventually(
        lambda: send("PATCH", workspace, LEAVING, content_type=MERGE), lambda answer: answer.code == 200
    )
    assert answer.body["metadata"]["labels"]["leaving"] == ""
    narrow(send, name, EXCEPT)
    # A real server goes on with the former selector for a moment.
    other = WORKSPACES.at(f"{name}-2")
    assert send("POST", WORKSPACES.path, new(f"{name}-2")).code == 201
    eventually(lambda: change(send, other), lambda answer: answer.code == 500)
    assert change(send, workspace, manager="four").code == 200
    bare = {"metadata": {"labels": {"leaving": None}}}
    assert send("PATCH", workspace, bare, content_type=MERGE).code == 500, "what it is to be is looked at as well"
    assert send("DELETE", other).code == 200


def narrow(send, name, selector):
    """Give the one webhook of a configuration a selector."""
    path = f"{CONFIGURATIONS}/{name}"
    (hook,) = send("GET", path).body["webhooks"]
    body = {"webhooks": [{**hook, "objectSelector": selector}]}
    assert send("PATCH", path, body, content_type=MERGE).code == 200


def test_a_write_that_is_wrong_anyway_is_told_so_first(send, configure, workspace, eventually):
    configure()
    eventually(lambda: change(send, workspace, manager="three"), lambda answer: answer.code == 500)
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"manager": "x"}}
    assert send("PATCH", workspace, stale, content_type=MERGE).refusal == (409, "Conflict")
    bad = {"metadata": {"labels": {"a": "-"}}}
    assert send("PATCH", workspace, bad, content_type=MERGE).refusal == (422, "Invalid")


def test_what_no_rule_names_is_not_asked_about(send, configure, workspace, name, eventually):
    """Creating and deleting are other operations; a finalizer is taken out by an update."""
    configure()
    eventually(lambda: change(send, workspace, manager="three"), lambda answer: answer.code == 500)
    other = WORKSPACES.at(f"{name}-2")
    assert send("POST", WORKSPACES.path, new(f"{name}-2", finalizers=["example.com/hold"])).code == 201
    assert send("DELETE", other).code == 200
    free = {"metadata": {"finalizers": None}}
    assert send("PATCH", other, free, content_type=MERGE).code == 500
    assert send("GET", other).body["metadata"]["deletionTimestamp"]
    send("DELETE", f"{CONFIGURATIONS}/{name}")
    eventually(lambda: send("PATCH", other, free, content_type=MERGE), lambda answer: answer.code == 200)
    assert send("GET", other).code == 404


def test_a_new_object_is_asked_about_where_a_rule_says_so(send, configure, name, eventually):
    configure(rules=[{**RULE, "operations": ["CREATE"]}])
    tried = {"dryRun": "All"}
    eventually(lambda: send("POST", WORKSPACES.path, new(name), **tried), lambda answer: answer.code == 500)
    assert send("POST", WORKSPACES.path, new(name)).refusal == (500, "InternalError")
    assert send("GET", WORKSPACES.at(name)).code == 404


def test_a_failure_may_be_ignored(send, configure, workspace, name, eventually):
    """That the webhook is asked is seen before: the policy is changed while it is in force."""
    configure()
    eventually(lambda: change(send, workspace, manager="three"), lambda answer: answer.code == 500)
    stored = send("GET", f"{CONFIGURATIONS}/{name}").body
    stored["webhooks"][0]["failurePolicy"] = "Ignore"
    changed = send("PUT", f"{CONFIGURATIONS}/{name}", stored)
    assert (changed.code, changed.body["metadata"]["generation"]) == (200, 2)
    eventually(lambda: change(send, workspace, manager="four"), lambda answer: answer.code == 200)


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ({"sideEffects": None}, "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"),
        (
            {"sideEffects": "Some"},
            'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"',
        ),
        (
            {"admissionReviewVersions": []},
            "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
        ),
        (
            {"failurePolicy": "x"},
            'webhooks[0].failurePolicy: Unsupported value: "x": supported values: "Fail", "Ignore"',
        ),
        ({"clientConfig": {}}, "webhooks[0].clientConfig: Required value: exactly one of url or service is required"),
        (
            {"name": "x"},
            'webhooks[0].name: Invalid value: "x": should be a domain with at least three segments separated by dots',
        ),
    ],
)
def test_a_configuration_that_could_not_work_is_422_invalid(send, name, hook, words):
    answer = send("POST", CONFIGURATIONS, configuration(name, **hook))
    assert answer.refusal == (422, "Invalid")
    expected = f'ValidatingWebhookConfiguration.admissionregistration.k8s.io "{name}" is invalid: {words}'
    assert answer.body["message"] == expected


def test_a_table_of_configurations_counts_their_webhooks(send, configure, name):
    configure()
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = send("GET", f"{CONFIGURATIONS}/{name}", headers=accept).body
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Webhooks", "Age"]
    assert table["rows"][0]["cells"][:2] == [name, 1]


def test_an_update_of_a_configuration_has_to_tell_the_version(send, configure, name):
    configure()
    answer = send("PUT", f"{CONFIGURATIONS}/{name}", configuration(name))
    assert answer.refusal == (422, "Invalid")
    words = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
    assert answer.body["message"].endswith(words)
