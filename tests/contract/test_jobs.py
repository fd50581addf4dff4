"""Jobs: what they are completed with, how they end, and what becomes of their pods."""

import pytest

from tests.contract.conftest import MERGE

JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"
# The one image whose program ends here: it is run by the simulator's kubelet on both servers.
CURL = {"name": "a", "image": "curlimages/curl:8.10.1", "command": ["curl", "--silent", "http://127.0.0.1:9/"]}


def job(name, *, container=None, **spec):
    pod = {"restartPolicy": "Never", "containers": [container or {"name": "a", "image": "example.com/one:1"}]}
    spec = {"backoffLimit": 0, "template": {"spec": pod}, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def pods_of(send, name):
    return send("GET", PODS, labelSelector=f"job-name={name}").body["items"]


@pytest.fixture
def made(send, name, eventually):
    """Make a Job and return its path; it is gone with its pods after the test."""
    path = f"{JOBS}/{name}"

    def make(**fields):
        assert send("POST", JOBS, job(name, **fields)).code == 201
        return path

    yield make
    send("DELETE", path, {"propagationPolicy": "Background"})
    eventually(lambda: pods_of(send, name), lambda found: found == [])


def test_a_job_gets_defaults_and_a_selector_of_its_own(send, name, made):
    made(suspend=True)
    found = send("GET", f"{JOBS}/{name}").body
    uid = found["metadata"]["uid"]
    assert {**found["spec"], "template": None} == {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 0,
        "completionMode": "NonIndexed",
        "suspend": True,
        "selector": {"matchLabels": {"controller-uid": uid}},
        "template": None,
    }
    template = found["spec"]["template"]
    assert template["metadata"] == {"creationTimestamp": None, "labels": {"controller-uid": uid, "job-name": name}}
    assert template["spec"]["restartPolicy"] == "Never"
    assert found["metadata"]["generation"] == 1


def test_a_pod_of_a_job_is_not_restarted_for_ever(send, name):
    content = job(name)
    del content["spec"]["template"]["spec"]["restartPolicy"]
    answer = send("POST", JOBS, content)
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"].startswith(f'Job.batch "{name}" is invalid: spec.template.spec.restartPolicy: ')


def test_the_pods_of_a_job_stay_as_they_are(send, made):
    path = made(suspend=True)
    patch = {"spec": {"template": {"spec": {"activeDeadlineSeconds": 5}}}}
    answer = send("PATCH", path, patch, content_type=MERGE)
    assert answer.refusal == (422, "Invalid")
    assert "spec.template: Invalid value" in answer.body["message"]
    assert "field is immutable" in answer.body["message"]


def test_a_job_ends_with_its_pod_whose_log_stays(send, name, made, eventually):
    path = made(container=CURL)
    ended = eventually(lambda: send("GET", path), lambda answer: answer.body.get("status", {}).get("conditions")).body
    (condition,) = ended["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Failed", "True")
    assert condition["reason"] == "BackoffLimitExceeded"
    assert ended["status"]["failed"] == 1
    (pod,) = pods_of(send, name)
    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
    assert pod["metadata"]["ownerReferences"][0]["uid"] == ended["metadata"]["uid"]
    assert send("GET", f"{PODS}/{pod['metadata']['name']}/log").code == 200


def test_a_watch_tells_of_a_job_by_name(send, name, made):
    path = made(container=CURL)
    since = send("GET", path).body["metadata"]["resourceVersion"]
    query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": since}
    ((kind, changed),) = send.watch(JOBS, events=1, **query)
    assert (kind, changed["metadata"]["name"]) == ("MODIFIED", name)
    assert "startTime" in changed["status"]


def test_a_job_takes_its_pods_with_it_in_the_background(send, name, made, eventually):
    path = made()
    eventually(lambda: pods_of(send, name), lambda found: found and found[0]["status"]["phase"] == "Running")
    uid = send("GET", path).body["metadata"]["uid"]
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    assert send("DELETE", path, {**options, "preconditions": {"uid": uid}}).code == 200
    assert send("GET", path).code == 404
    eventually(lambda: pods_of(send, name), lambda found: found == [])


def test_pods_outlive_a_job_that_is_deleted_without_a_policy(send, name, made, eventually):
    path = made()
    eventually(lambda: pods_of(send, name), lambda found: found and found[0]["status"]["phase"] == "Running")
    assert send("DELETE", path).code == 200
    eventually(lambda: send("GET", path), lambda answer: answer.code == 404)
    (pod,) = eventually(
        lambda: pods_of(send, name), lambda found: found and "ownerReferences" not in found[0]["metadata"]
    )
    assert "deletionTimestamp" not in pod["metadata"]
    send("DELETE", f"{PODS}/{pod['metadata']['name']}")


def test_a_job_ends_at_its_deadline_and_is_removed_after_a_while(send, name, made, eventually):
    path = made(activeDeadlineSeconds=1)
    ended = eventually(lambda: send("GET", path), lambda answer: answer.body.get("status", {}).get("conditions")).body
    reasons = {entry["type"]: entry.get("reason") for entry in ended["status"]["conditions"]}
    assert reasons["Failed"] == "DeadlineExceeded"
    eventually(lambda: pods_of(send, name), lambda found: found == [])
    assert send("PATCH", path, {"spec": {"ttlSecondsAfterFinished": 1}}, content_type=MERGE).code == 200
    eventually(lambda: send("GET", path), lambda answer: answer.code == 404)
