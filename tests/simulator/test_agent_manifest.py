"""The agent's manifest as the host's ks-apiserver makes it (kubesphere-facts 4.1, 7.4, 7.6)."""

import base64
from pathlib import Path

import pytest
import yaml

RECORDED = Path(__file__).parents[1] / "data" / "recordings" / "agent-deployment.yaml"
SYSTEM = "kubesphere-system"
PATH = "/kapis/cluster.kubesphere.io/v1alpha1/clusters/{}/agent/deployment"


@pytest.fixture
def ask(connect, call, wait_for):
    """Ask a host's ks-apiserver for the manifest of a Cluster; returns the code and the text."""

    def send(host, name):
        proxy = f"/api/v1/namespaces/{SYSTEM}/services/:ks-apiserver:80/proxy"
        client = connect(host)
        wait_for(lambda: call(client, "GET", proxy + "/healthz")[0] == 200)
        token = base64.b64decode(host.object("secrets", "kubesphere-secret", SYSTEM)["data"]["token"]).decode()
        return call(client, "GET", proxy + PATH.format(name), headers={"X-KubeSphere-Authorization": f"Bearer {token}"})

    return send


def put(host, name, **connection):
    host.put("clusters", {"metadata": {"name": name}, "spec": {"joinFederation": True, "connection": connection}})


def test_the_manifest_is_that_of_the_real_one_and_from_the_second_time_on_a_document_begins(simulate, ask):
    host = simulate(host={"role": "host", "load_balancer": "139.198.110.23"}).clusters["host"]
    put(host, "v1", type="proxy", token="given")
    (code, first), second = ask(host, "v1"), ask(host, "v1")
    assert yaml.safe_load(first) == yaml.safe_load(RECORDED.read_text().replace("<token>", "given"))
    assert first.startswith("apiVersion: apps/v1\n")
    assert (code, second) == (200, (200, f"---\n{first}"))


def test_a_configured_address_comes_before_that_of_the_load_balancer(simulate, ask):
    address = "http://139.198.120.120:8080"
    host = {
        "role": "host",
        "load_balancer": "139.198.110.23",
        "published": ["139.198.120.120:8080"],
        "proxy_address": address,
    }
    host = simulate(host=host).clusters["host"]
    put(host, "v1", type="proxy", token="given")
    assert f"--proxy-server={address}\n" in ask(host, "v1")[1]


PENDING = (
    "cannot generate agent deployment yaml for member cluster  because tower.kubesphere-system.svc service has no "
    "public address, please check tower.kubesphere-system.svc status, or set address  mannually in ClusterConfiguration"
)


@pytest.mark.parametrize(
    ("role", "name", "text"),
    [
        ("host", "none", 'cluster.cluster.kubesphere.io "none" not found'),
        ("host", "direct", "cluster direct is not using proxy connection"),
        ("none", "proxy", "neither proxy address nor proxy service provided"),
        ("host", "proxy", PENDING),
    ],
    ids=["no such Cluster", "direct", "no host", "pending"],
)
def test_without_a_manifest_the_answer_says_why(simulate, ask, role, name, text):
    host = simulate(host={"role": role}).clusters["host"]
    put(host, "direct", type="direct")
    put(host, "proxy", type="proxy", token="given")
    assert ask(host, name) == (404, f"{text}\n")


def test_an_address_that_is_none_is_an_error_of_the_server(simulate, ask, wait_for):
    host = simulate(host={"role": "host"}).clusters["host"]
    put(host, "proxy", type="proxy", token="given")
    change = {"spec": {"multicluster": {"proxyPublishAddress": "139.198.120.120:8080"}}}
    host.edit("clusterconfigurations", "ks-installer", change, SYSTEM)
    sentence = "invalid proxy address 139.198.120.120:8080, should format like http[s]://1.2.3.4:123\n"
    wait_for(lambda: ask(host, "proxy") == (500, sentence))
