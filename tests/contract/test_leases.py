"""Leases: what a holder writes, and that of two writers one is refused."""

import pytest

from tests.contract.conftest import MERGE

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
TIME = "2026-01-01T00:00:00.000000Z"
LATER = "2026-01-01T00:00:10.123456Z"
STALE = "the object has been modified; please apply your changes to the latest version and try again"
AS_TIME = 'as "2006-01-02T15:04:05.000000Z07:00": cannot parse '


def lease(name, **spec):
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def held(send, name):
    """A lease that somebody holds, as the server has stored it."""
    spec = {"holderIdentity": "one", "leaseDurationSeconds": 30, "acquireTime": TIME, "renewTime": TIME}
    answer = send("POST", LEASES, lease(name, leaseTransitions=0, **spec))
    assert answer.code == 201
    yield answer.body
    send("DELETE", f"{LEASES}/{name}")


def test_a_lease_is_stored_as_it_is_written(send, held, name):
    assert held["spec"] == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 30,
        "acquireTime": TIME,
        "renewTime": TIME,
        "leaseTransitions": 0,
    }
    assert "generation" not in held["metadata"]
    assert send("GET", f"{LEASES}/{name}").body == held


def test_a_lease_that_is_taken_is_409_already_exists(send, held, name):
    answer = send("POST", LEASES, lease(name, holderIdentity="two"))
    assert answer.refusal == (409, "AlreadyExists")
    assert answer.body["message"] == f'leases.coordination.k8s.io "{name}" already exists'
    assert send("GET", f"{LEASES}/{name}").body == held


def test_a_holder_renews_by_a_patch_that_names_the_version_it_knows(send, held, name):
    version = held["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "spec": {"renewTime": LATER}}
    answer = send("PATCH", f"{LEASES}/{name}", patch, content_type=MERGE)
    assert (answer.code, answer.body["spec"]) == (200, {**held["spec"], "renewTime": LATER})
    assert int(answer.body["metadata"]["resourceVersion"]) > int(version)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_of_two_who_have_seen_the_same_version_one_takes_a_lease_and_the_other_gets_409(send, held, name, method):
    def take(holder):
        """Write with the version that both have seen."""
        spec = {**held["spec"], "holderIdentity": holder, "leaseTransitions": 1}
        return send(method, f"{LEASES}/{name}", {**held, "spec": spec}, content_type=content_type)

    content_type = MERGE if method == "PATCH" else "application/json"
    assert take("two").code == 200
    answer = take("three")
    assert answer.refusal == (409, "Conflict")
    assert answer.body["message"] == f'Operation cannot be fulfilled on leases.coordination.k8s.io "{name}": {STALE}'
    assert send("GET", f"{LEASES}/{name}").body["spec"]["holderIdentity"] == "two"


def test_a_lease_is_given_back_only_as_the_holder_knows_it(send, held, name):
    """Conditions of a delete: another holder's lease is not taken from it."""
    conditions = {key: held["metadata"][key] for key in ("uid", "resourceVersion")}
    send("PATCH", f"{LEASES}/{name}", {"spec": {"holderIdentity": "two"}}, content_type=MERGE)
    assert send("DELETE", f"{LEASES}/{name}", {"preconditions": conditions}).refusal == (409, "Conflict")
    conditions["resourceVersion"] = send("GET", f"{LEASES}/{name}").body["metadata"]["resourceVersion"]
    assert send("DELETE", f"{LEASES}/{name}", {"preconditions": conditions}).code == 200
    assert send("GET", f"{LEASES}/{name}").code == 404


def test_a_lease_of_that_name_that_was_made_since_is_not_deleted(send, held, name):
    send("DELETE", f"{LEASES}/{name}")
    send("POST", LEASES, lease(name))
    answer = send("DELETE", f"{LEASES}/{name}", {"preconditions": {"uid": held["metadata"]["uid"]}})
    assert answer.refusal == (409, "Conflict")
    assert f"the UID in the precondition ({held['metadata']['uid']}) does not match" in answer.body["message"]


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ("2026-01-01T00:00:00Z", f'{AS_TIME}"Z" as ".000000"'),
        ("2026-01-01T00:00:00.123Z", f'{AS_TIME}".123Z" as ".000000"'),
        ("2026-01-01T00:00:00.1234567Z", f'{AS_TIME}"7Z" as "Z07:00"'),
        ("2026-01-01T00:00:00.123456", f'{AS_TIME}"" as "Z07:00"'),
        ("2026-01-01 00:00:00.123456Z", f'{AS_TIME}" 00:00:00.123456Z" as "T"'),
        ("", f'{AS_TIME}"" as "2006"'),
        ("2026-13-01T00:00:00.123456Z", ": month out of range"),
        ("2026-02-30T00:00:00.123456Z", ": day out of range"),
        ("2026-02-03T24:00:00.123456Z", ": hour out of range"),
        (f"{TIME}x", ': extra text: "x"'),
    ],
)
def test_a_time_has_six_digits_after_the_second(send, held, name, time, words):
    answer = send("POST", LEASES, lease(f"{name}-2", renewTime=time))
    assert answer.refusal == (400, "BadRequest")
    prefix = 'Lease in version "v1" cannot be handled as a Lease: '
    assert answer.body["message"].startswith(f'{prefix}parsing time "{time}"')
    assert answer.body["message"].endswith(words)
    answer = send("PATCH", f"{LEASES}/{name}", {"spec": {"renewTime": time}}, content_type=MERGE)
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"].endswith(words)
    assert send("GET", f"{LEASES}/{name}").body == held


def test_a_time_is_no_number(send, name):
    answer = send("POST", LEASES, lease(name, renewTime=5))
    assert answer.refusal == (400, "BadRequest")
    words = "json: cannot unmarshal number into Go struct field LeaseSpec.spec.renewTime of type string"
    assert answer.body["message"].endswith(words)


@pytest.mark.parametrize("time", ["2026-01-01T02:00:10.123456+02:00", "2025-12-31T19:00:10.123456-05:00"])
def test_times_are_kept_in_utc(send, held, name, time):
    answer = send("PATCH", f"{LEASES}/{name}", {"spec": {"renewTime": time}}, content_type=MERGE)
    assert answer.body["spec"]["renewTime"] == LATER


def test_the_time_of_an_event_has_six_digits_too(send, name):
    event = {"metadata": {"name": name}, "involvedObject": {"kind": "Cluster", "name": name}}
    answer = send("POST", "/api/v1/namespaces/default/events", {**event, "eventTime": "2026-01-01T00:00:00Z"})
    assert answer.refusal == (400, "BadRequest")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"leaseDurationSeconds": 0}, "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
        ({"leaseTransitions": -1}, "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"),
    ],
)
def test_a_lease_that_makes_no_sense_is_422_invalid(send, name, spec, words):
    answer = send("POST", LEASES, lease(name, **spec))
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"] == f'Lease.coordination.k8s.io "{name}" is invalid: {words}'


def test_a_lease_may_have_no_holder_and_no_spec(send, name):
    assert send("POST", LEASES, {"metadata": {"name": name}}).body["spec"] == {}
    path = f"{LEASES}/{name}"
    for given, kept in (("", {"holderIdentity": ""}), (None, {})):
        patch = {"spec": {"holderIdentity": given, "renewTime": None}}
        assert send("PATCH", path, patch, content_type=MERGE).body["spec"] == kept


def test_an_update_makes_a_lease_that_is_not_there(send, name):
    path = f"{LEASES}/{name}"
    assert send("PUT", path, lease(name, holderIdentity="one"), dryRun="All").code == 201
    assert send("GET", path).code == 404
    made = send("PUT", path, lease(name, holderIdentity="one"))
    assert (made.code, made.body["spec"]) == (201, {"holderIdentity": "one"})
    send("DELETE", path)
    gone = send("PUT", path, made.body)
    assert gone.refusal == (409, "Conflict")
    uid = made.body["metadata"].pop("uid")
    assert f"UID in precondition: {uid}, UID in object meta: " in gone.body["message"]
    again = send("PUT", path, made.body)
    assert again.code == 201, "a version alone is of no weight"
    assert again.body["metadata"]["uid"] != uid


def test_an_update_of_a_lease_has_to_tell_the_version(send, held, name):
    answer = send("PUT", f"{LEASES}/{name}", lease(name, holderIdentity="two"))
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"] == (
        f'leases.coordination.k8s.io "{name}" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be '
        "specified for an update"
    )


def test_a_patch_of_a_lease_that_is_not_there_is_404(send):
    answer = send("PATCH", f"{LEASES}/none", {"spec": {}}, content_type=MERGE)
    assert answer.refusal == (404, "NotFound")


def test_one_lease_is_listed_and_watched_by_its_name(send, held, name):
    send("POST", LEASES, lease(f"{name}-2"))
    named = {"fieldSelector": f"metadata.name={name}"}
    listed = send("GET", LEASES, **named).body
    assert listed["kind"] == "LeaseList"
    assert [found["metadata"]["name"] for found in listed["items"]] == [name]
    send("DELETE", f"{LEASES}/{name}-2")
    send("PATCH", f"{LEASES}/{name}", {"spec": {"holderIdentity": "two"}}, content_type=MERGE)
    send("DELETE", f"{LEASES}/{name}")
    events = send.watch(LEASES, events=2, resourceVersion=listed["metadata"]["resourceVersion"], **named)
    assert [(type_, found["spec"]["holderIdentity"]) for type_, found in events] == [
        ("MODIFIED", "two"),
        ("DELETED", "two"),
    ]


def test_a_table_of_leases_tells_who_holds_them(send, held, name):
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = send("GET", f"{LEASES}/{name}", headers=accept).body
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Holder", "Age"]
    assert table["rows"][0]["cells"][:2] == [name, "one"]
