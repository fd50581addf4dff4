"""What the server does to kinds of Kubernetes: Namespaces, Secrets, Services, Deployments, Events, accounts."""

import base64
import re

import pytest

from tests.contract.conftest import MERGE, PLAIN, STRATEGIC

CORE = "/api/v1/namespaces/default"
SECRETS, SERVICES, PODS, ACCOUNTS = (
    f"{CORE}/{plural}" for plural in ("secrets", "services", "pods", "serviceaccounts")
)
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def encode(text):
    return base64.b64encode(text.encode()).decode()


# Fields and types


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


# Namespaces


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


# Secrets


def test_a_secret_takes_texts_and_keeps_base64(send, name):
    content = {"metadata": {"name": name}, "stringData": {"x": "y"}, "data": {"z": encode("a")}}
    created = send("POST", SECRETS, content).body
    assert (created["data"], created["type"]) == ({"x": encode("y"), "z": encode("a")}, "Opaque")
    assert "stringData" not in created
    patched = send("PATCH", f"{SECRETS}/{name}", {"stringData": {"z": "b"}, "data": {"x": None}}, content_type=MERGE)
    assert patched.body["data"] == {"z": encode("b")}


def test_a_secret_that_is_not_base64_is_a_bad_request(send, name):
    answer = send("POST", SECRETS, {"metadata": {"name": name}, "data": {"z": "not base64!"}})
    assert answer.refusal == (400, "BadRequest")
    assert "illegal base64 data at input byte 3" in answer.body["message"]


def test_the_type_of_a_secret_stays(send, name):
    send("POST", SECRETS, {"metadata": {"name": name}})
    answer = send("PATCH", f"{SECRETS}/{name}", {"type": "other"}, content_type=MERGE)
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"] == (f'Secret "{name}" is invalid: type: Invalid value: "other": field is immutable')


@pytest.mark.parametrize("path", [SECRETS, PLAIN.path], ids=["secret", "config map"])
def test_keys_of_data_are_as_file_names(send, name, path):
    answer = send("POST", path, {"metadata": {"name": name}, "data": {"a key": encode("a")}})
    assert answer.refusal == (422, "Invalid")
    assert 'data[a key]: Invalid value: "a key": a valid config key must consist of ' in answer.body["message"]


# Service accounts


def test_a_token_secret_is_filled_for_its_account(send, name, connect, eventually):
    account = send("POST", ACCOUNTS, {"metadata": {"name": name}}).body
    annotations = {"kubernetes.io/service-account.name": name}
    secret = {"metadata": {"name": name, "annotations": annotations}, "type": "kubernetes.io/service-account-token"}
    send("POST", SECRETS, secret)
    filled = eventually(
        lambda: send("GET", f"{SECRETS}/{name}"), lambda answer: "token" in answer.body.get("data", {})
    ).body
    assert filled["data"].keys() == {"token", "ca.crt", "namespace"}
    assert filled["data"]["namespace"] == encode("default")
    assert filled["metadata"]["annotations"] == {
        **annotations,
        "kubernetes.io/service-account.uid": account["metadata"]["uid"],
    }
    token = base64.b64decode(filled["data"]["token"]).decode()
    bearer = {"authorization": f"Bearer {token}"}
    nobody = connect(user=None)
    assert nobody("GET", "/api", headers=bearer).code == 200, "whoever is known may look around"
    send("DELETE", f"{ACCOUNTS}/{name}")
    eventually(lambda: nobody("GET", "/api", headers=bearer), lambda answer: answer.code == 401)


def test_a_token_secret_names_an_account(send, name):
    answer = send("POST", SECRETS, {"metadata": {"name": name}, "type": "kubernetes.io/service-account-token"})
    assert answer.refusal == (422, "Invalid")
    assert answer.body["message"].endswith("metadata.annotations[kubernetes.io/service-account.name]: Required value")


def test_a_token_secret_of_no_account_is_not_kept(send, name, eventually):
    annotations = {"kubernetes.io/service-account.name": "nobody"}
    secret = {"metadata": {"name": name, "annotations": annotations}, "type": "kubernetes.io/service-account-token"}
    assert send("POST", SECRETS, secret).code == 201
    eventually(lambda: send("GET", f"{SECRETS}/{name}"), lambda answer: answer.code == 404)


# Services


def service(name, **spec):
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": {"app": name}, **spec}}


def test_a_service_gets_an_address_and_defaults(send, name):
    spec = send("POST", SERVICES, service(name)).body["spec"]
    assert re.fullmatch(r"10\.233\.\d+\.\d+", spec.pop("clusterIP"))
    assert len(spec.pop("clusterIPs")) == 1
    assert spec == {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "selector": {"app": name},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }


@pytest.mark.parametrize("type_", ["NodePort", "LoadBalancer"])
def test_services_for_others_get_node_ports(send, name, type_):
    created = send("POST", SERVICES, service(name, type=type_)).body
    assert 30000 <= created["spec"]["ports"][0]["nodePort"] <= 32767
    assert created["spec"]["externalTrafficPolicy"] == "Cluster"
    assert created["status"] == {"loadBalancer": {}}


def test_a_service_keeps_its_address_and_loses_its_node_ports_with_its_type(send, name):
    created = send("POST", SERVICES, service(name, type="NodePort")).body
    replaced = send("PUT", f"{SERVICES}/{name}", service(name)).body
    assert replaced["spec"]["clusterIP"] == created["spec"]["clusterIP"]
    assert "nodePort" not in replaced["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in replaced["spec"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"type": "Nonsense"},
            'spec.type: Unsupported value: "Nonsense": supported values: "ClusterIP", "ExternalName"',
        ),
        ({"ports": []}, "spec.ports: Required value"),
        ({"ports": [{"port": 80}, {"port": 81}]}, "spec.ports[0].name: Required value"),
        ({"clusterIP": "10.233.0.1"}, 'spec.clusterIPs: Invalid value: []string{"10.233.0.1"}: failed to allocate IP'),
    ],
    ids=["type", "no ports", "ports without names", "address that is taken"],
)
def test_a_service_that_could_not_work_is_422_invalid(send, name, spec, words):
    answer = send("POST", SERVICES, service(name, **spec))
    assert answer.refusal == (422, "Invalid")
    assert words in answer.body["message"]


def test_the_address_of_a_service_stays(send, name):
    send("POST", SERVICES, service(name))
    answer = send("PATCH", f"{SERVICES}/{name}", {"spec": {"clusterIP": "10.233.5.5"}}, content_type=MERGE)
    assert answer.refusal == (422, "Invalid")
    assert "may not change once set" in answer.body["message"]


def test_a_service_without_an_address_has_none(send, name):
    spec = send("POST", SERVICES, service(name, clusterIP="None")).body["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


def test_a_load_balancer_is_told_by_the_status_of_a_service(send, name):
    send("POST", SERVICES, service(name, type="LoadBalancer"))
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    path = f"{SERVICES}/{name}"
    assert send("PATCH", path, status, content_type=MERGE).body["status"] == {"loadBalancer": {}}
    assert send("PATCH", f"{path}/status", status, content_type=MERGE).body["status"] == status["status"]


def test_a_service_that_is_deleted_is_told_as_it_was(send, name):
    """Where most kinds answer with a Status."""
    created = send("POST", SERVICES, service(name)).body
    assert send("DELETE", f"{SERVICES}/{name}").body["spec"] == created["spec"]


def test_a_service_gets_endpoints_of_its_name(send, name, eventually):
    send("POST", SERVICES, service(name))
    path = f"{CORE}/endpoints/{name}"
    found = eventually(lambda: send("GET", path), lambda answer: answer.code == 200).body
    assert not found.get("subsets")
    send("DELETE", f"{SERVICES}/{name}")
    eventually(lambda: send("GET", path), lambda answer: answer.code == 404)


# Deployments and pods


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


# Scale


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


# Events and nodes


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
    created = send("POST", f"{CORE}/events", event)
    assert created.code == 201
    assert {**event, "metadata": None}.items() <= {**created.body, "metadata": None}.items()
    patched = send("PATCH", f"{CORE}/events/{name}", {"count": 2}, content_type=MERGE)
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
