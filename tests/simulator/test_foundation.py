"""Clusters whose Kubernetes is not as it should be: certificates."""

import base64
import contextlib
import datetime
import email.utils
import json
import socket
import ssl
import time

import kubernetes
import pytest
import urllib3

from include.simulator import tokens

PODS = "x509: certificate is valid for 127.0.0.1, 10.233.0.1, not 10.20.1.1"


@pytest.fixture
def import_member(simulate, create, reason):
    """Import a member whose certificate is that one; returns why it did not join, and the member."""

    def start(**certificate):
        simulation = simulate(
            host={"role": "host"}, members=[{"name": "m1", "kubernetes": {"certificate": certificate}}]
        )
        host, member = simulation.clusters.values()
        create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
        return reason(host, "m1"), member

    return start


@pytest.mark.parametrize(
    ("certificate", "error"),
    [
        ({"names_address": False}, PODS),
        ({"issuer": "foreign"}, "x509: certificate signed by unknown authority"),
        ({"issuer": "reinstalled"}, 'while trying to verify candidate authority certificate "m1-ca")'),
        ({"days": -3}, "x509: certificate has expired or is not yet valid: current time 2"),
    ],
    ids=["name", "foreign authority", "reinstalled", "expired"],
)
def test_pods_of_others_see_the_certificate_and_airflow_a_good_one(import_member, connect, certificate, error):
    said, member = import_member(**certificate)
    assert error in said
    assert said.startswith('Get "https://10.20.1.1:6443/')
    assert kubernetes.client.VersionApi(connect(member)).get_code().git_version == "v1.22.12"


@pytest.mark.parametrize(
    ("certificate", "error"),
    [
        ({"names_address": False}, "IP address mismatch"),
        ({"issuer": "reinstalled"}, "unable to get local issuer certificate"),
        ({"days": -3}, "certificate has expired"),
    ],
    ids=["name", "reinstalled", "expired"],
)
def test_a_certificate_for_everybody_is_seen_by_airflow_too(simulate, connect, certificate, error):
    shown = {**certificate, "shown_to": "everybody"}
    member = simulate(members=[{"name": "m1", "kubernetes": {"certificate": shown}}]).clusters["m1"]
    with pytest.raises(urllib3.exceptions.MaxRetryError, match=error):
        kubernetes.client.VersionApi(connect(member)).get_code(_request_timeout=5)


def test_a_certificate_that_ends_soon_is_taken(simulate, connect):
    shown = {"days": 2, "shown_to": "everybody"}
    member = simulate(members=[{"name": "m1", "kubernetes": {"certificate": shown}}]).clusters["m1"]
    assert kubernetes.client.VersionApi(connect(member)).get_code().git_version == "v1.22.12"
    address = member.server.removeprefix("https://").split(":")
    context = ssl.create_default_context(cadata=member.state.authority)
    with (
        socket.create_connection((address[0], int(address[1]))) as raw,
        context.wrap_socket(raw, server_hostname=address[0]) as wrapped,
    ):
        ends = ssl.cert_time_to_seconds(wrapped.getpeercert()["notAfter"])
        begins = ssl.cert_time_to_seconds(wrapped.getpeercert()["notBefore"])
    assert ends - begins > 360 * 86400


def test_the_own_pods_of_a_cluster_see_a_good_certificate(simulate, wait_for):
    shown = {"days": -1, "issuer": "foreign", "names_address": False, "shown_to": "everybody"}
    member = simulate(members=[{"name": "m1", "kubernetes": {"certificate": shown}}]).clusters["m1"]
    member.scale("ks-apiserver", 2)
    wait_for(lambda: member.object("deployments", "ks-apiserver", "kubesphere-system")["status"]["readyReplicas"] == 2)


@pytest.mark.parametrize("ahead", [120, -45])
def test_a_clock_that_is_wrong_shows_in_all_that_the_cluster_dates(simulate, connect, call, wait_for, ahead):
    """Also in what its programs write, and after a restart of its API server."""
    simulation = simulate(host={"role": "host", "kubernetes": {"clock": ahead}}, members=[{"name": "m1"}])
    host, member = simulation.clusters.values()

    def read_date(cluster):
        with urllib3.PoolManager(ca_cert_data=cluster.state.authority) as pool:
            answer = pool.request("GET", f"{cluster.server}/healthz", timeout=5, retries=False)
        return email.utils.parsedate_to_datetime(answer.headers.getlist("date")[0]).timestamp()

    def is_ahead(moment, seconds):
        return abs(moment - time.time() - seconds) < 15

    def parse(text):
        return datetime.datetime.fromisoformat(text).timestamp()

    assert is_ahead(read_date(host), ahead)
    assert is_ahead(read_date(member), 0)
    cluster = host.object("clusters", "host")
    assert is_ahead(parse(cluster["metadata"]["creationTimestamp"]), ahead)
    _, made = call(
        connect(host), "POST", "/api/v1/namespaces/default/configmaps", body={"metadata": {"name": "a"}, "data": {}}
    )
    assert is_ahead(parse(json.loads(made)["metadata"]["creationTimestamp"]), ahead)
    host.edit("clusters", "host", {"spec": {"provider": "other"}})
    generation = host.object("clusters", "host")["metadata"]["generation"]
    cluster = wait_for(
        lambda: (found := host.object("clusters", "host"))["metadata"]["generation"] > generation and found
    )
    assert all(is_ahead(parse(entry["lastUpdateTime"]), ahead) for entry in cluster["status"]["conditions"])
    host.restart_server(0)
    wait_for(lambda: is_up(host))
    assert is_ahead(read_date(host), ahead)


def is_up(cluster):
    address, port = cluster.server.removeprefix("https://").split(":")
    with contextlib.suppress(OSError), socket.create_connection((address, int(port))):
        return True
    return False


@pytest.mark.parametrize(
    ("ahead", "error"),
    [(0, "token not found in cache"), (8, "token not found in cache"), (30, "token used before issued")],
    ids=["not at all", "within the tolerance", "too much"],
)
def test_a_login_token_of_a_cluster_whose_clock_is_ahead_is_not_taken_yet(simulate, connect, call, ahead, error):
    member = simulate(members=[{"name": "m1"}]).clusters["m1"]
    secret = member.object("secrets", "kubesphere-secret", "kubesphere-system")["data"]["secret"]
    claims = {"username": "admin", "iat": int(time.time()) + ahead}
    token = tokens.sign(claims, key=base64.b64decode(secret).decode())
    path = "/api/v1/namespaces/kubesphere-system/services/:ks-apiserver:80/proxy/kapis/iam.kubesphere.io/v1alpha2/users"
    code, body = call(
        connect(member), "GET", f"{path}/admin", headers={"X-KubeSphere-Authorization": f"Bearer {token}"}
    )
    assert code == 401
    assert error in body
