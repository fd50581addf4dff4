"""KubeSphere 3.0, where it differs from 3.4."""

import base64
import json

import kubernetes
import pytest
import yaml

NAMESPACE = "kubesphere-system"
CONFIGURATION = ("clusterconfigurations", "ks-installer")
HOST = {"spec": {"multicluster": {"clusterRole": "host"}}}
KIND = {"group": "cluster.kubesphere.io", "version": "v1alpha1", "plural": "clusters"}
PROCESSES = ("ks-apiserver", "ks-controller-manager")
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


@pytest.fixture
def start(simulate):
    """Start a simulation of 3.0."""

    def run(**scenario):
        return simulate(kubesphere="v3.0.0", **scenario)

    return run


@pytest.fixture
def create(connect):
    """Create a Cluster on the host, direct with a kubeconfig, else by proxy."""

    def send(host, name, kubeconfig=None, **spec):
        connection = {"type": "proxy"}
        if kubeconfig is not None:
            encoded = base64.b64encode(yaml.safe_dump(kubeconfig).encode()).decode()
            connection = {"type": "direct", "kubeconfig": encoded}
        kubernetes.client.CustomObjectsApi(connect(host)).create_cluster_custom_object(
            **KIND,
            body={
                "apiVersion": "cluster.kubesphere.io/v1alpha1",
                "kind": "Cluster",
                "metadata": {"name": name},
                "spec": {"joinFederation": True, **spec, "connection": {**connection, **spec.get("connection", {})}},
            },
        )

    return send


@pytest.fixture
def events(connect):
    """Return the Events on a Cluster, read as the API selects them."""

    def read(host, name):
        fields = f"involvedObject.name={name},involvedObject.kind=Cluster"
        api = kubernetes.client.CoreV1Api(connect(host))
        return api.list_namespaced_event("default", field_selector=fields).items

    return read


def settings(cluster):
    return yaml.safe_load(cluster.object("configmaps", "kubesphere-config", NAMESPACE)["data"]["kubesphere.yaml"])


def configuration(cluster):
    return cluster.object(*CONFIGURATION, NAMESPACE)


def entries(cluster, type_):
    return [
        (entry["type"], entry["status"])
        for entry in (cluster.get("status") or {}).get("conditions") or []
        if entry["type"] == type_
    ]


def is_ready(host, name):
    return entries(host.object("clusters", name), "Ready")[-1:] == [("Ready", "True")]


def stamps(cluster):
    return [
        (cluster.object("deployments", name, NAMESPACE)["spec"]["template"]["metadata"].get("annotations") or {}).get(
            RESTARTED_AT
        )
        for name in PROCESSES
    ]


def test_the_objects_of_a_fresh_cluster_are_those_of_3_0(start):
    host = start().clusters["host"]
    laid = configuration(host)
    assert laid["metadata"]["labels"] == {"version": "v3.0.0"}
    assert "version" not in laid["status"]["core"]
    installer = host.object("deployments", "ks-installer", NAMESPACE)
    assert installer["spec"]["selector"]["matchLabels"] == {"app": "ks-install"}
    assert installer["spec"]["template"]["spec"]["containers"][0]["name"] == "installer"
    assert set(host.object("secrets", "kubesphere-secret", NAMESPACE)["data"]) == {"secret", "token"}
    assert "multicluster" not in settings(host)
    assert "oauthOptions" not in settings(host)["authentication"]


def test_a_run_as_host_writes_the_config_and_restarts_both_processes_twice(start, wait_for):
    host = start().clusters["host"]
    before = configuration(host)["status"]["core"]
    patch = {"spec": {"multicluster": {"clusterRole": "host", "proxyPublishAddress": "http://1.2.3.4:8080"}}}
    host.edit(*CONFIGURATION, patch, NAMESPACE)
    wait_for(lambda: is_ready(host, "host"))
    assert settings(host)["multicluster"] == {
        "enable": True,
        "agentImage": "kubesphere/tower:v0.1.0",
        "proxyPublishService": "tower.kubesphere-system.svc",
        "proxyPublishAddress": "http://1.2.3.4:8080",
    }
    wait_for(lambda: len([entry for entry in host.audit() if is_restart(entry)]) == 4)
    assert [entry.name for entry in host.audit() if is_restart(entry)] == [*PROCESSES, *PROCESSES]
    wait_for(lambda: host.object("deployments", "ks-apiserver", NAMESPACE)["metadata"]["generation"] == 3)
    assert configuration(host)["status"]["core"] == before
    assert configuration(host)["status"]["multicluster"]["status"] == "enabled"


def is_restart(entry):
    return (
        entry.resource == "deployments" and entry.name in PROCESSES and entry.verb == "patch" and not entry.subresource
    )


def test_a_member_shows_its_role_in_the_age_of_tokens_only(start, wait_for):
    member = start(members=[{"name": "m1"}]).clusters["m1"]
    patch = {"spec": {"multicluster": {"clusterRole": "member"}, "authentication": {"jwtSecret": "abc"}}}
    member.edit(*CONFIGURATION, patch, NAMESPACE)
    wait_for(lambda: settings(member)["authentication"]["jwtSecret"] == "abc")
    assert settings(member)["authentication"]["oauthOptions"] == {"accessTokenMaxAge": 0}
    assert "multicluster" not in settings(member)


def test_the_log_of_a_run_is_that_of_3_0(start, wait_for, connect):
    host = start().clusters["host"]
    host.edit(*CONFIGURATION, {"spec": {"multicluster": {"clusterRole": "member"}}}, NAMESPACE)
    api = kubernetes.client.CoreV1Api(connect(host))
    pod = api.list_namespaced_pod(NAMESPACE, label_selector="app in (ks-install, ks-installer)").items[0]

    def log():
        text = api.read_namespaced_pod_log(pod.metadata.name, NAMESPACE, container="installer", _preload_content=False)
        return text.data.decode()

    wait_for(lambda: log().count("Welcome to KubeSphere!") == 2)
    assert "task multicluster status is successful\ntotal: 2     completed:2\n" in log()
    assert "Collecting installation results" not in log()


@pytest.mark.parametrize("mode", ["silent", "component", "crash"])
def test_a_failing_run_shows_as_in_3_0(start, wait_for, connect, mode):
    host = start(host={"installer": {"fail": mode}}).clusters["host"]
    api = kubernetes.client.CoreV1Api(connect(host))
    pod = api.list_namespaced_pod(NAMESPACE, label_selector="app=ks-install").items[0].metadata.name
    texts = {
        "silent": "/root/jwt-script/jwt.sh",
        "component": "task multicluster status is failed\ntotal: 2     completed:2",
        "crash": "in generateConfig",
    }

    def log():
        return api.read_namespaced_pod_log(pod, NAMESPACE, _preload_content=False).data.decode()

    host.edit(*CONFIGURATION, HOST, NAMESPACE)
    wait_for(lambda: texts[mode] in log())
    if mode == "component":
        # The config follows whatever failed, and with it the restarts.
        wait_for(lambda: settings(host)["multicluster"]["enable"])
        wait_for(lambda: len([entry for entry in host.audit() if is_restart(entry)]) == 4)
    elif mode == "crash":
        wait_for(lambda: "Failed count is 2" in log())
    assert log().count("Welcome to KubeSphere!") == 1
    assert "multicluster" not in configuration(host)["status"]
    assert ("multicluster" in settings(host)) is (mode == "component")


@pytest.mark.parametrize(
    ("secret", "answer"), [("host", (200, "")), ("own", (401, "signature is invalid"))], ids=["same", "another"]
)
def test_what_the_host_forwards_tells_whether_the_secrets_are_equal(start, connect, call, secret, answer):
    member = {"name": "m1", "role": "member", "secret": secret, "joined": "m1"}
    host = start(host={"role": "host"}, members=[member]).clusters["host"]
    token = base64.b64decode(host.object("secrets", "kubesphere-secret", NAMESPACE)["data"]["token"]).decode()
    path = "/api/v1/namespaces/kubesphere-system/services/:ks-apiserver:80/proxy/kapis/clusters/m1/iam.kubesphere.io"
    headers = {"X-KubeSphere-Authorization": f"Bearer {token}"}
    code, text = call(connect(host), "GET", f"{path}/v1alpha2/users/admin", headers=headers)
    assert (code, answer[1] in text) == (answer[0], True)


def test_what_cannot_be_forwarded_yet_is_an_error_of_the_host(start, connect, call, create):
    host = start(host={"role": "host"}, members=[{"name": "m1"}]).clusters["host"]
    create(host, "m1")
    path = "/api/v1/namespaces/kubesphere-system/services/:ks-apiserver:80/proxy/kapis/clusters/m1/version"
    code, text = call(connect(host), "GET", path)
    assert code == 500
    assert "cluster m1 is not ready" in text


def test_processes_keep_what_they_read_at_their_start(start, connect, call, wait_for):
    host = start().clusters["host"]
    token = base64.b64decode(host.object("secrets", "kubesphere-secret", NAMESPACE)["data"]["token"]).decode()
    path = (
        "/api/v1/namespaces/kubesphere-system/services/:ks-apiserver:80/proxy"
        "/kapis/iam.kubesphere.io/v1alpha2/users/admin"
    )

    def probe():
        return call(connect(host), "GET", path, headers={"X-KubeSphere-Authorization": f"Bearer {token}"})[0]

    text = host.object("configmaps", "kubesphere-config", NAMESPACE)["data"]["kubesphere.yaml"]
    secret = settings(host)["authentication"]["jwtSecret"]
    host.edit(
        "configmaps", "kubesphere-config", {"data": {"kubesphere.yaml": text.replace(secret, "other")}}, NAMESPACE
    )
    old = [pod["metadata"]["uid"] for pod in host.objects("pods", NAMESPACE)]
    assert [probe() for _ in range(20)] == [200] * 20
    patch = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: "2026-01-31T10:00:00Z"}}}}}
    host.edit("deployments", "ks-apiserver", patch, NAMESPACE)
    wait_for(lambda: probe() == 401)
    assert [pod["metadata"]["uid"] for pod in host.objects("pods", NAMESPACE)] != old


def test_it_tells_no_version_of_its_own(start, connect, call):
    host = start().clusters["host"]
    path = "/api/v1/namespaces/kubesphere-system/services/:ks-apiserver:80/proxy/kapis/version"
    assert json.loads(call(connect(host), "GET", path)[1])["gitVersion"] == "v0.0.0"


def test_a_fresh_host_and_a_fresh_member_join_to_ready(start, create, events, wait_for):
    host, member = start(members=[{"name": "m1"}]).clusters.values()
    host.edit(*CONFIGURATION, HOST, NAMESPACE)
    wait_for(lambda: is_ready(host, "host"))
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    wait_for(lambda: is_ready(host, "m1"))
    joined = host.object("clusters", "m1")
    assert [entry["type"] for entry in joined["status"]["conditions"]] == ["Federated", "Ready"]
    assert not {"uid", "kubeSphereVersion"} & set(joined["status"])
    assert joined["spec"]["connection"]["kubernetesAPIEndpoint"] == member.pod_server
    told = wait_for(lambda: events(host, "m1"))[0]
    assert (told.type, told.reason, told.message) == ("Normal", "JoinFederation", "Cluster has joined federation.")
    assert told.source.component == "cluster-controller"
    assert "clusterName" not in str(settings(member)) + str(settings(host))


def test_a_failing_join_is_an_event_and_no_condition_and_is_tried_again(start, create, events, wait_for):
    simulation = start(host={"role": "host"}, members=[{"name": "m1", "reachable": False}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    told = wait_for(lambda: [event for event in events(host, "m1") if event.count > 2])[0]
    assert (told.type, told.reason) == ("Warning", "JoinFederation")
    assert told.message.endswith("dial tcp 10.20.1.1:6443: connect: connection refused")
    assert len(events(host, "m1")) == 1
    assert not (host.object("clusters", "m1").get("status") or {}).get("conditions")


def test_a_cluster_without_kubesphere_is_joined(start, create, wait_for):
    simulation = start(host={"role": "host"}, members=[{"name": "m1", "installed": False}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    wait_for(lambda: is_ready(host, "m1"))


def test_what_stays_true_keeps_its_times_and_what_changed_is_there_thrice(start, wait_for):
    simulation = start(
        timing={"resync": 0.1}, host={"role": "host"}, members=[{"name": "m1", "role": "member", "joined": "m1"}]
    )
    host = simulation.clusters["host"]
    before = host.object("clusters", "m1")["status"]["conditions"]
    # A person's write is what changes a status here; the controller appends to it.
    conditions = [{**entry, "status": "False"} if entry["type"] == "Ready" else entry for entry in before]
    reads = len([entry for entry in host.audit() if entry.name == "m1" and entry.verb == "get"])
    wait_for(lambda: len([entry for entry in host.audit() if entry.name == "m1" and entry.verb == "get"]) > reads + 3)
    assert host.object("clusters", "m1")["status"]["conditions"] == before
    host.edit("clusters", "m1", {"status": {"conditions": conditions}})
    wait_for(lambda: is_ready(host, "m1"))
    changed = host.object("clusters", "m1")
    assert entries(changed, "Ready") == [("Ready", "False"), ("Ready", "False"), ("Ready", "True")]
    assert entries(changed, "Federated") == [("Federated", "True")]


def test_join_federation_false_takes_the_member_out(start, wait_for):
    host, member = start(
        host={"role": "host"}, members=[{"name": "m1", "role": "member", "joined": "m1"}]
    ).clusters.values()
    host.edit("clusters", "m1", {"spec": {"joinFederation": False}})
    wait_for(lambda: [item["metadata"]["name"] for item in host.objects("kubefedclusters")] == ["host"])
    wait_for(
        lambda: not [item for item in member.objects("clusterroles") if "m1-kubesphere" in item["metadata"]["name"]]
    )
    wait_for(
        lambda: "kube-federation-system" not in [item["metadata"]["name"] for item in member.objects("namespaces")]
    )
    assert host.object("clusters", "m1")


def test_the_controller_initialises_a_proxy_cluster_and_keeps_what_was_given(start, create, wait_for):
    host = start(host={"role": "host"}, members=[{"name": "m1"}]).clusters["host"]
    given = {"token": "abc", "kubernetesAPIServerPort": 6111, "kubesphereAPIServerPort": 16111}
    create(host, "m1", connection=given)
    wait_for(lambda: entries(host.object("clusters", "m1"), "Initialized"))
    connection = host.object("clusters", "m1")["spec"]["connection"]
    assert given.items() <= connection.items()
    service = host.object("services", "mc-m1", NAMESPACE)
    assert [port["targetPort"] for port in service["spec"]["ports"]] == [6111, 16111]
    assert connection["kubernetesAPIEndpoint"] == f"https://{service['spec']['clusterIP']}:6443"
    assert connection["kubesphereAPIEndpoint"] == f"http://{service['spec']['clusterIP']}:80"
    created = [entry for entry in host.audit() if entry.path.endswith("/services") and entry.verb == "create"]
    users = {entry.user for entry in created if entry.name == "mc-m1"}
    assert users == {"system:serviceaccount:kubesphere-system:kubesphere"}


def test_a_proxy_cluster_gets_ports_and_a_token(start, create, wait_for):
    host = start(host={"role": "host"}, members=[{"name": "m1"}]).clusters["host"]
    create(host, "m1")
    wait_for(lambda: entries(host.object("clusters", "m1"), "Initialized"))
    connection = host.object("clusters", "m1")["spec"]["connection"]
    assert len(connection["token"]) == 64
    assert 6000 <= connection["kubernetesAPIServerPort"] <= 7000
    assert connection["kubesphereAPIServerPort"] == connection["kubernetesAPIServerPort"] + 10000


def test_deleting_a_proxy_cluster_deletes_its_service(start, create, connect, wait_for):
    host = start(host={"role": "host"}, members=[{"name": "m1"}]).clusters["host"]
    create(host, "m1")
    wait_for(lambda: entries(host.object("clusters", "m1"), "Initialized"))
    kubernetes.client.CustomObjectsApi(connect(host)).delete_cluster_custom_object(**KIND, name="m1")
    wait_for(lambda: [item["metadata"]["name"] for item in host.objects("clusters")] == ["host"])
    assert "mc-m1" not in [item["metadata"]["name"] for item in host.objects("services", NAMESPACE)]


def test_the_start_states_are_in_the_words_of_3_0(start):
    simulation = start(
        host={"role": "host", "jwt_in_spec": "abc"},
        members=[
            {"name": "m1", "role": "member", "secret": "host", "joined": "first"},
            {"name": "m2", "spec_ahead": True},
        ],
    )
    host, joined, ahead = simulation.clusters.values()
    assert settings(host)["multicluster"]["enable"] is True
    assert host.object("deployments", "tower", NAMESPACE)["spec"]["template"]["spec"]["containers"][0]["command"] == [
        "/proxy",
        "--ca-cert=/ca.crt",
        "--ca-key=/ca.key",
        "--v=2",
    ]
    assert "clusterName" not in str(settings(joined))
    assert "uid" not in host.object("clusters", "first")["status"]
    assert settings(joined)["authentication"]["oauthOptions"] == {"accessTokenMaxAge": 0}
    assert configuration(ahead)["spec"]["multicluster"]["clusterRole"] == "member"
    assert "oauthOptions" not in settings(ahead)["authentication"]
