"""Deployments with their pods, and their scale."""

import pytest

from tests.contract.conftest import MERGE, STRATEGIC

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def deployment(name, *, replicas=0, containers=({"name": "a", "image": "example.com/one:1"},), **spec):
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": list(containers)}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"metadata": {"name": name}, "spec": spec}


def test_a_deployment_gets_defaults(send, name):
    spec = send("POST", DEPLOYMENTS, deployment(name)).body["spec"]
    template = spec.pop("template")
    assert spec == {
        "replicas": 0,
        "selector": {"matchLabels": {"app": name}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "progressDeadlineSeconds": 600,
        "revisionHistoryLimit": 10,
    }
    assert template == {
        "metadata": {"creationTimestamp": None, "labels": {"app": name}},
        "spec": {
            "containers": [
                {
                    "name": "a",
                    "image": "example.com/one:1",
                    "imagePullPolicy": "IfNotPresent",
                    "resources": {},
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                }
            ],
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
        },
    }


def test_images_without_a_tag_or_the_latest_are_pulled_always(send, name):
    containers = [
        {"name": "a", "image": "one"},
        {"name": "b", "image": "one:latest"},
        {"name": "c", "image": "r:5/one:1"},
    ]
    spec = send("POST", DEPLOYMENTS, deployment(name, containers=containers)).body["spec"]["template"]["spec"]
    assert [entry["imagePullPolicy"] for entry in spec["containers"]] == ["Always", "Always", "IfNotPresent"]


def test_an_account_is_named_twice_in_a_pod_template(send, name):
    content = deployment(name)
    content["spec"]["template"]["spec"]["serviceAccountName"] = "some"
    spec = send("POST", DEPLOYMENTS, content).body["spec"]["template"]["spec"]
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("some", "some")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"selector": None}, "spec.selector: Required value"),
        (
            {"selector": {"matchLabels": {"app": "x"}}},
            "spec.template.metadata.labels: Invalid value: map[string]string{",
        ),
        ({"template": None}, "spec.template.spec.containers: Required value"),
        ({"replicas": -1}, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
    ],
    ids=["no selector", "selector of others", "no pods", "fewer than none"],
)
def test_a_deployment_that_could_not_work_is_422_invalid(send, name, spec, field):
    answer = send("POST", DEPLOYMENTS, deployment(name, **spec))
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"].startswith(f'Deployment.apps "{name}" is invalid: ')
    assert field in answer.body["message"]


def test_the_selector_of_a_deployment_stays(send, name):
    send("POST", DEPLOYMENTS, deployment(name))
    patch = {
        "spec": {"selector": {"matchLabels": {"app": None, "b": "c"}}, "template": {"metadata": {"labels": {"b": "c"}}}}
    }
    answer = send("PATCH", f"{DEPLOYMENTS}/{name}", patch, content_type=MERGE)
    assert answer.refusal == (422, "Invalid")
    assert "field is immutable" in answer.body["message"]


def test_a_deployment_runs_pods_until_it_is_deleted(send, name, eventually):
    path, pods = f"{DEPLOYMENTS}/{name}", f"{PODS}?labelSelector=app%3D{name}"
    send("POST", DEPLOYMENTS, deployment(name, replicas=2))
    status = eventually(
        lambda: send("GET", path), lambda answer: answer.body.get("status", {}).get("availableReplicas") == 2
    ).body["status"]
    assert {"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "observedGeneration": 1}.items() <= status.items()
    conditions = {entry["type"]: entry["status"] for entry in status["conditions"]}
    assert conditions["Available"] == "True"
    found = send("GET", pods).body["items"]
    assert [pod["status"]["phase"] for pod in found] == ["Running", "Running"]
    assert all(pod["metadata"]["name"].startswith(f"{name}-") for pod in found)
    assert all("pod-template-hash" in pod["metadata"]["labels"] for pod in found)
    assert send("DELETE", path, {"propagationPolicy": "Background"}).code == 200
    eventually(lambda: send("GET", pods), lambda answer: answer.body["items"] == [])


def test_another_template_makes_other_pods(send, name, eventually):
    path, pods = f"{DEPLOYMENTS}/{name}", f"{PODS}?labelSelector=app%3D{name}"
    send("POST", DEPLOYMENTS, deployment(name, replicas=1))
    (before,) = eventually(lambda: send("GET", pods), lambda answer: len(answer.body["items"]) == 1).body["items"]
    restart = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}
    assert send("PATCH", path, restart, content_type=STRATEGIC).code == 200
    uid = before["metadata"]["uid"]
    eventually(
        lambda: send("GET", pods),
        lambda answer: (
            [pod["metadata"]["uid"] for pod in answer.body["items"]] not in ([], [uid])
            and uid not in [pod["metadata"]["uid"] for pod in answer.body["items"]]
        ),
    )
    send("DELETE", path)


def test_a_pod_is_made_of_containers(send, name):
    answer = send("POST", PODS, {"metadata": {"name": name}, "spec": {}})
    assert answer.refusal == (422, "Invalid")
    assert "spec.containers: Required value" in answer.body["message"]


@pytest.fixture
def scale(send, name):
    """The path of the scale of a Deployment that is paused."""
    send("POST", DEPLOYMENTS, deployment(name, replicas=0))
    return f"{DEPLOYMENTS}/{name}/scale"


def test_a_scale_tells_how_many_there_are_to_be(send, scale, name):
    answer = send("GET", scale).body
    assert (answer["kind"], answer["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert answer["spec"].get("replicas", 0) == 0, "a Go program leaves a zero out"
    assert answer["status"] == {"replicas": 0, "selector": f"app={name}"}
    whole = send("GET", scale.removesuffix("/scale")).body
    assert answer["metadata"]["uid"] == whole["metadata"]["uid"]


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
def test_a_patch_of_a_scale_changes_the_deployment(send, scale, content_type):
    answer = send("PATCH", scale, {"spec": {"replicas": 1}}, content_type=content_type)
    assert (answer.code, answer.body["spec"]) == (200, {"replicas": 1})
    whole = send("GET", scale.removesuffix("/scale")).body
    assert (whole["spec"]["replicas"], whole["metadata"]["generation"]) == (1, 2)
    send("DELETE", scale.removesuffix("/scale"))


def test_a_scale_can_be_replaced_with_its_version_or_without(send, scale, name, eventually):
    content = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name}, "spec": {"replicas": 0}}
    assert send("PUT", scale, content).code == 200
    answer = send("PUT", scale, {**content, "metadata": {"name": name, "resourceVersion": "1"}})
    assert answer.refusal == (409, "Conflict")
    answer = send("PUT", scale, {**content, "metadata": {"name": "other"}})
    assert answer.refusal == (400, "BadRequest")


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_scale_is_neither_created_nor_deleted(send, scale, method):
    assert send(method, scale, {}).refusal == (405, "MethodNotAllowed")


def test_a_scale_of_fewer_than_none_is_422_invalid(send, scale, name):
    answer = send("PATCH", scale, {"spec": {"replicas": -1}}, content_type=MERGE)
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"] == (
        f'Scale.autoscaling "{name}" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    )


def test_a_scale_of_what_is_not_there_is_404(send):
    assert send("GET", f"{DEPLOYMENTS}/none/scale").refusal == (404, "NotFound")
    answer = send("PATCH", f"{DEPLOYMENTS}/none/scale", {"spec": {"replicas": 1}}, content_type=MERGE)
    assert answer.refusal == (404, "NotFound")
