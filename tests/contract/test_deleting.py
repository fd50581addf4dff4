"""Deleting: at once, held by finalizers, on conditions, many at a time."""

import pytest

from tests.contract.conftest import CUSTOM, MERGE

HOLD = "example.com/hold"


@pytest.fixture
def held(send, kind, name):
    """The path of an object with a finalizer."""
    assert send("POST", kind.path, kind.make(name, finalizers=[HOLD])).code == 201
    yield kind.at(name)
    send("PATCH", kind.at(name), {"metadata": {"finalizers": None}}, content_type=MERGE)


def test_a_deleted_object_is_gone_and_the_answer_tells_which_it_was(send, kind, item):
    name = item["metadata"]["name"]
    answer = send("DELETE", kind.at(name))
    assert (answer.code, answer.body["kind"], answer.body["status"]) == (200, "Status", "Success")
    group = {"group": "cluster.kubesphere.io"} if kind is CUSTOM else {}
    plural = kind.plural.partition(".")[0]
    assert answer.body["details"] == {"name": name, "kind": plural, "uid": item["metadata"]["uid"], **group}
    assert send("GET", kind.at(name)).code == 404


@pytest.mark.parametrize("content_type", [None, "application/json"])
def test_a_delete_of_what_is_not_there_is_404(send, kind, content_type):
    assert send("DELETE", kind.at("none"), content_type=content_type).refusal == (404, "NotFound")


def test_a_delete_needs_no_body_and_no_content_type(send, kind, item):
    assert send("DELETE", kind.at(item["metadata"]["name"]), content_type=None).code == 200


def test_a_finalizer_holds_an_object_that_is_being_deleted(send, kind, held):
    answer = send("DELETE", held)
    assert answer.code == 200
    metadata = answer.body["metadata"]
    assert (metadata["deletionGracePeriodSeconds"], metadata["finalizers"]) == (0, [HOLD])
    assert metadata["deletionTimestamp"]
    assert metadata.get("generation") == (2 if kind is CUSTOM else None)
    assert send("DELETE", held).body == answer.body, "another delete changes nothing"
    assert send("GET", held).body == answer.body


def test_an_object_that_is_being_deleted_can_be_changed(send, kind, held):
    send("DELETE", held)
    answer = send("PATCH", held, {kind.field: {"provider": "two"}}, content_type=MERGE)
    assert (answer.code, answer.body[kind.field]) == (200, {"provider": "two"})


def test_a_name_is_taken_until_the_last_finalizer_is_gone(send, kind, held, name):
    send("DELETE", held)
    answer = send("POST", kind.path, kind.make(name))
    assert answer.refusal == (409, "AlreadyExists")
    assert answer.body["message"] == f'object is being deleted: {kind.plural} "{name}" already exists'
    gone = send("PATCH", held, {"metadata": {"finalizers": None}}, content_type=MERGE)
    assert gone.code == 200
    assert send("POST", kind.path, kind.make(name)).code == 201


def test_an_update_too_can_take_the_last_finalizer(send, kind, held):
    marked = send("DELETE", held).body
    del marked["metadata"]["finalizers"]
    assert send("PUT", held, marked).code == 200
    assert send("GET", held).code == 404


def test_no_finalizer_is_added_to_an_object_that_is_being_deleted(send, kind, held):
    send("DELETE", held)
    more = {"metadata": {"finalizers": [HOLD, "example.com/more"]}}
    answer = send("PATCH", held, more, content_type=MERGE)
    assert answer.refusal == (422, "Invalid")
    assert (
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new "
        'finalizers []string{"example.com/more"}'
    ) in answer.body["message"]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"uid": "other"}, "the UID in the precondition (other) does not match the UID in record ("),
        (
            {"resourceVersion": "1"},
            "the ResourceVersion in the precondition (1) does not match the ResourceVersion in ",
        ),
    ],
    ids=["uid", "version"],
)
def test_a_delete_on_a_condition_that_does_not_hold_is_409_conflict(send, kind, item, condition, words):
    path = kind.at(item["metadata"]["name"])
    answer = send("DELETE", path, {"preconditions": condition})
    assert answer.refusal == (409, "Conflict")
    assert words in answer.body["message"]
    assert send("GET", path).code == 200


def test_a_delete_on_conditions_that_hold_is_done(send, kind, item):
    conditions = {key: item["metadata"][key] for key in ("uid", "resourceVersion")}
    assert send("DELETE", kind.at(item["metadata"]["name"]), {"preconditions": conditions}).code == 200


@pytest.mark.parametrize(
    ("body", "query"),
    [({"dryRun": ["All"]}, {}), (None, {"dryRun": "All"})],
    ids=["in the body", "in the query"],
)
def test_a_dry_run_deletes_nothing(send, kind, item, body, query):
    path = kind.at(item["metadata"]["name"])
    assert send("DELETE", path, body, **query).code == 200
    assert send("GET", path).body == item


@pytest.mark.parametrize("options", [{"propagationPolicy": "Background"}, {"gracePeriodSeconds": 0}])
def test_options_may_be_in_the_body_or_in_the_query(send, kind, name, options):
    body = {"kind": "DeleteOptions", "apiVersion": "v1", **options}
    for given, query in ((body, {}), (None, options)):
        send("POST", kind.path, kind.make(name))
        assert send("DELETE", kind.at(name), given, **query).code == 200
        assert send("GET", kind.at(name)).code == 404


def test_a_propagation_that_there_is_not_is_422_invalid(send, kind, item):
    answer = send("DELETE", kind.at(item["metadata"]["name"]), {"propagationPolicy": "Upwards"})
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"] == (
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Upwards": supported values: '
        '"Foreground", "Background", "Orphan", "nil"'
    )


def test_options_that_are_none_are_refused(send, kind, item):
    path = kind.at(item["metadata"]["name"])
    assert send("DELETE", path, b"{}", content_type="text/plain").refusal == (415, "UnsupportedMediaType")
    assert send("DELETE", path, gracePeriodSeconds="x").refusal == (400, "BadRequest")
    assert send("DELETE", path, b"[]").code == 500
    assert send("GET", path).code == 200


def test_a_collection_is_deleted_as_far_as_it_is_selected(send, kind, name):
    for number, value in enumerate(("yes", "yes", "no")):
        send("POST", kind.path, kind.make(f"{name}-{number}", labels={name: value}))
    answer = send("DELETE", kind.path, labelSelector=f"{name}=yes")
    assert (answer.code, answer.body["kind"]) == (200, f"{kind.kind}List")
    assert [item["metadata"]["name"] for item in answer.body["items"]] == [f"{name}-0", f"{name}-1"]
    assert [item["metadata"]["name"] for item in send("GET", kind.path, labelSelector=name).body["items"]] == [
        f"{name}-2"
    ]
