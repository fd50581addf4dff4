"""ks-apiserver behind the service proxy of its cluster (kubesphere-facts 7.1 and 7.6)."""

import base64
import json

import pytest
import urllib3

from include.simulator import tokens

PROXY = "/api/v1/namespaces/kubesphere-system/services/:ks-apiserver:80/proxy"
ADMIN = "/kapis/iam.kubesphere.io/v1alpha2/users/admin"


def token(cluster):
    data = cluster.object("secrets", "kubesphere-secret", "kubesphere-system")["data"]
    return base64.b64decode(data["token"]).decode()


@pytest.fixture
def ask(connect, call, wait_for):
    """Ask a cluster's ks-apiserver through the service proxy; returns the code and the body as text."""

    def send(cluster, path, *, bearer=None, headers=None):
        wait_for(lambda: cluster.object("endpoints", "ks-apiserver", "kubesphere-system").get("subsets"))
        client = connect(cluster)
        wait_for(lambda: call(client, "GET", PROXY + "/healthz")[0] == 200)
        given = {"X-KubeSphere-Authorization": f"Bearer {bearer}"} if bearer else {}
        return call(client, "GET", PROXY + path, headers={**given, **(headers or {})})

    return send


def test_the_static_token_is_accepted_and_another_clusters_is_not(simulate, ask):
    simulation = simulate(members=[{"name": "m1"}])
    host, member = simulation.clusters.values()
    code, text = ask(host, ADMIN, bearer=token(host))
    assert (code, json.loads(text)["metadata"]["name"]) == (200, "admin")
    code, text = ask(member, ADMIN, bearer=token(host))
    body = json.loads(text)
    assert (code, body["kind"], body["reason"], body["message"]) == (
        401,
        "Status",
        "Unauthorized",
        "Unauthorized: signature is invalid",
    )


def test_refusals_are_told_apart_by_their_text(simulate, ask):
    host = simulate().clusters["host"]
    key = base64.b64decode(host.object("secrets", "kubesphere-secret", "kubesphere-system")["data"]["secret"]).decode()
    nobody = tokens.sign({"username": "nobody", "token_type": "static_token"}, key=key)
    login = tokens.sign({"username": "admin", "token_type": "access_token"}, key=key)
    texts = {
        "x": "token contains an invalid number of segments",
        nobody: 'user.iam.kubesphere.io "nobody" not found',
        login: "token not found in cache",
    }
    for given, text in texts.items():
        code, body = ask(host, ADMIN, bearer=given)
        assert (code, json.loads(body)["message"]) == (401, f"Unauthorized: {text}")
    code, body = ask(host, ADMIN, headers={"X-KubeSphere-Authorization": "Basic YWRtaW46eA=="})
    assert (code, json.loads(body)["message"]) == (401, "Unauthorized: incorrect password")


def test_authorization_is_stripped_by_the_proxy_so_that_the_request_is_anonymous(simulate, ask):
    """403 for system:anonymous, not 401: the token never arrives."""
    host = simulate().clusters["host"]
    code, text = ask(host, ADMIN)
    assert code == 403
    assert json.loads(text)["message"].startswith(
        'users.iam.kubesphere.io "admin" is forbidden: User "system:anonymous" cannot get resource "users"'
    )


def test_the_version_and_the_components_need_no_user(simulate, ask):
    host = simulate(host={"role": "host"}).clusters["host"]
    assert json.loads(ask(host, "/kapis/version")[1])["gitVersion"] == "v3.4.1"
    assert json.loads(ask(host, "/kapis/config.kubesphere.io/v1alpha2/configs/configz")[1])["multicluster"] is True


def test_a_forwarded_request_reaches_the_member_with_the_same_secret(simulate, ask, wait_for, conditions):
    simulation = simulate(
        host={"role": "host"},
        members=[
            {"name": "m1", "role": "member", "secret": "host", "joined": "m1"},
            {"name": "m2", "role": "member", "secret": "own", "joined": "m2"},
        ],
    )
    host, m1, _ = simulation.clusters.values()
    wait_for(lambda: all(conditions(item).get("Ready") == "True" for item in host.objects("clusters")))
    code, text = ask(host, "/api/clusters/m1/v1/namespaces/kube-system", bearer=token(host))
    assert code == 200
    assert json.loads(text)["metadata"]["uid"] == m1.object("namespaces", "kube-system")["metadata"]["uid"]
    assert ask(host, "/kapis/clusters/m1/iam.kubesphere.io/v1alpha2/users/admin", bearer=token(host))[0] == 200
    for path in (
        "/api/clusters/m2/v1/namespaces/kube-system",
        "/kapis/clusters/m2/iam.kubesphere.io/v1alpha2/users/admin",
    ):
        code, text = ask(host, path, bearer=token(host))
        assert (code, json.loads(text)["message"]) == (401, "Unauthorized: signature is invalid")
    assert ask(host, "/api/clusters/host/v1/namespaces/kube-system", bearer=token(host))[0] == 200


def test_a_cluster_that_is_not_ready_is_an_internal_error(simulate, ask, wait_for, conditions):
    simulation = simulate(
        host={"role": "host", "webhook": False},
        members=[{"name": "m1", "role": "member", "joined": "m1", "reachable": False}],
    )
    host = simulation.clusters["host"]
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "False")
    code, text = ask(host, "/api/clusters/m1/v1/namespaces/kube-system", bearer=token(host))
    assert code == 500
    assert text.strip().endswith("cluster m1 is not ready")
    assert ask(host, "/api/clusters/none/v1/namespaces/kube-system", bearer=token(host))[0] == 400


def test_a_changed_config_is_loaded_some_time_later(simulate, ask, wait_for, call, connect):
    simulation = simulate(timing={"reload": 0.6}, members=[{"name": "m1"}])
    member = simulation.clusters["m1"]
    old, new = token(member), tokens.static_admin_token("changed1")
    assert ask(member, ADMIN, bearer=new)[0] == 401
    member.edit(
        "clusterconfigurations",
        "ks-installer",
        {"spec": {"authentication": {"jwtSecret": "changed1"}}},
        "kubesphere-system",
    )
    wait_for(
        lambda: (
            "changed1"
            in member.object("configmaps", "kubesphere-config", "kubesphere-system")["data"]["kubesphere.yaml"]
        )
    )
    client, header = connect(member), {"X-KubeSphere-Authorization": f"Bearer {new}"}
    assert call(client, "GET", PROXY + ADMIN, headers=header)[0] == 401, "the ConfigMap alone proves nothing"
    codes = []

    def is_loaded():
        codes.append(call(client, "GET", PROXY + ADMIN, headers=header)[0])
        return codes[-1] == 200

    wait_for(is_loaded)
    assert set(codes) <= {401, 503, 200}
    assert ask(member, ADMIN, bearer=old)[0] == 401


def test_an_empty_secret_keeps_it_from_serving(simulate, wait_for, call, connect):
    host = simulate().clusters["host"]
    wait_for(lambda: host.object("endpoints", "ks-apiserver", "kubesphere-system").get("subsets"))
    client = connect(host)
    wait_for(lambda: call(client, "GET", PROXY + "/healthz")[0] == 200)
    host.edit(
        "configmaps", "kubesphere-config", {"data": {"kubesphere.yaml": "authentication: {}"}}, "kubesphere-system"
    )
    wait_for(lambda: call(client, "GET", PROXY + "/healthz")[0] == 503)
    pod = next(
        pod["metadata"]["name"]
        for pod in host.objects("pods", "kubesphere-system")
        if pod["metadata"]["labels"]["app"] == "ks-apiserver"
    )
    path = f"/api/v1/namespaces/kubesphere-system/pods/{pod}/log"
    wait_for(lambda: "JWT secret MUST not be empty" in call(client, "GET", path)[1])


def test_a_service_without_endpoints_is_unavailable(simulate, wait_for, call, connect):
    host = simulate().clusters["host"]
    client = connect(host)
    call(client, "DELETE", "/apis/apps/v1/namespaces/kubesphere-system/deployments/ks-apiserver")
    wait_for(lambda: not host.object("endpoints", "ks-apiserver", "kubesphere-system").get("subsets"))
    code, text = call(client, "GET", PROXY + "/kapis/version")
    assert (code, json.loads(text)["reason"], json.loads(text)["message"]) == (
        503,
        "ServiceUnavailable",
        'no endpoints available for service "ks-apiserver"',
    )


@pytest.mark.parametrize("name", [":ks-apiserver:80", "ks-apiserver:80", "ks-apiserver", "http:ks-apiserver:80"])
def test_the_service_can_be_named_in_every_form(simulate, ask, call, connect, name):
    host = simulate().clusters["host"]
    ask(host, "/kapis/version")
    path = f"/api/v1/namespaces/kubesphere-system/services/{name}/proxy/kapis/version"
    assert call(connect(host), "GET", path)[0] == 200


@pytest.fixture
def watched(connect):
    """Open a forwarded watch of namespaces at a host; what is returned reads its next event, the type and the name."""
    opened = []

    def start(host, name):
        client, sent = connect(host), {"X-KubeSphere-Authorization": f"Bearer {token(host)}"}
        client.update_params_for_auth(sent, [], ["BearerToken"])
        url = f"{client.configuration.host}{PROXY}/api/clusters/{name}/v1/namespaces?watch=true"
        response = client.rest_client.pool_manager.request("GET", url, headers=sent, preload_content=False, timeout=20)
        opened.append(response)
        assert response.status == 200
        lines = iter(response.readline, b"")

        def read():
            event = json.loads(next(lines))
            return event["type"], event["object"]["metadata"]["name"]

        return read

    yield start
    for response in opened:
        response.close()
        response.release_conn()


@pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])
@pytest.mark.parametrize("connection", ["direct", "proxy"])
def test_a_forwarded_watch_stays_open_and_shows_what_happens_on_the_member(  # noqa: PLR0917 - fixtures and cases
    simulate, watched, wait_for, conditions, ask, connection, kubesphere
):
    member = {"name": "m1", "role": "member", "secret": "host", "joined": "m1", "connection": connection}
    simulation = simulate(kubesphere=kubesphere, host={"role": "host"}, members=[member])
    host, m1 = simulation.clusters.values()
    wait_for(lambda: ask(host, "/api/clusters/m1/v1/namespaces/kube-system", bearer=token(host))[0] == 200)
    read = watched(host, "m1")
    shown = [read() for _ in m1.objects("namespaces")]
    assert sorted(shown) == sorted(("ADDED", item["metadata"]["name"]) for item in m1.objects("namespaces"))
    m1.put("namespaces", {"metadata": {"name": "made-later"}})
    assert read() == ("ADDED", "made-later")


def test_a_forwarded_watch_breaks_off_with_its_tunnel(simulate, watched, wait_for, ask):
    member = {"name": "m1", "role": "member", "secret": "host", "joined": "m1", "connection": "proxy"}
    host, m1 = simulate(host={"role": "host"}, members=[member]).clusters.values()
    wait_for(lambda: ask(host, "/api/clusters/m1/v1/namespaces/kube-system", bearer=token(host))[0] == 200)
    read = watched(host, "m1")
    for _ in m1.objects("namespaces"):
        read()
    m1.cut_tunnel(0.2)
    with pytest.raises((StopIteration, urllib3.exceptions.HTTPError)):
        read()


def test_a_watch_needs_no_member(simulate, watched):
    host = simulate(host={"role": "host"}).clusters["host"]
    assert watched(host, "host")()[0] == "ADDED"


MEASURED = "/kapis/monitoring.kubesphere.io/v1alpha3/cluster?metrics_filter=cluster_node_total"


def test_monitoring_tells_the_number_of_nodes_or_why_prometheus_does_not(simulate, ask, call, connect):
    host = simulate(host={"role": "host"}).clusters["host"]
    assert ask(host, MEASURED)[0] == 403
    code, text = ask(host, MEASURED, bearer=token(host))
    (result,) = json.loads(text)["results"]
    assert (code, result["metric_name"], result["data"]["result"][0]["value"][1]) == (200, "cluster_node_total", "1")
    path = "/api/v1/namespaces/kubesphere-monitoring-system/services/prometheus-operated"
    assert call(connect(host), "DELETE", path)[0] == 200
    code, text = ask(host, MEASURED, bearer=token(host))
    (result,) = json.loads(text)["results"]
    assert code == 200
    assert "no such host" in result["error"]
    assert "data" not in result
