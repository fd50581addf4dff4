"""Pod logs that are followed, through kubelet and API server to a client."""

import threading
import time

import kubernetes
import pytest

from include.simulator.simulation import Simulation

SYSTEM = "kubesphere-system"
CONFIGURATION = ("clusterconfigurations", "ks-installer", SYSTEM)


@pytest.fixture
def host(simulate):
    return simulate().clusters["host"]


def pod(cluster, app="ks-installer"):
    return next(
        item["metadata"]["name"]
        for item in cluster.objects("pods", SYSTEM)
        if item["metadata"]["labels"]["app"] == app and "deletionTimestamp" not in item["metadata"]
    )


def follow(cluster, connect, app="ks-installer", **options):
    api = kubernetes.client.CoreV1Api(connect(cluster))
    return api.read_namespaced_pod_log(
        pod(cluster, app), SYSTEM, follow=True, _preload_content=False, _request_timeout=20, **options
    )


def start_run(cluster):
    cluster.edit(*CONFIGURATION[:2], {"spec": {"etcd": {"monitoring": True}}}, SYSTEM)


def lines(answer):
    """Return a function that gives the next line, or "" at the end."""
    buffered = b""

    def read():
        nonlocal buffered
        while b"\n" not in buffered:
            chunk = next(chunks, b"")
            if not chunk:
                return ""
            buffered += chunk
        line, _, buffered = buffered.partition(b"\n")
        return line.decode()

    chunks = answer.stream(65536)
    return read


def test_a_followed_log_shows_lines_as_they_are_written(host, connect, installer_log):
    before = installer_log(host, connect(host)).splitlines()
    with follow(host, connect) as answer:
        read = lines(answer)
        assert [read() for _ in before] == before
        start_run(host)
        seen = []
        while not seen or "Welcome to KubeSphere" not in seen[-1]:
            seen.append(read())
    assert any("PLAY RECAP" in line for line in seen)


def test_a_followed_log_begins_with_the_last_lines_and_stamps_all(host, connect):
    with follow(host, connect, tail_lines=1, timestamps=True) as answer:
        read = lines(answer)
        first = read()
        start_run(host)
        second = read()
    assert "TASK_RUN" not in first
    assert second[:4] == str(time.gmtime().tm_year)
    assert second.split(" ", 1)[0].endswith("000Z")


def test_the_headers_of_a_followed_log_come_before_any_line(host, connect):
    """Read without a line to read: a client that waits for the head must not wait for the first line."""
    with follow(host, connect, tail_lines=0) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "Content-Length" not in answer.headers


def test_a_followed_log_ends_with_its_pod(host, connect):
    with follow(host, connect, tail_lines=0) as answer:
        host.kill_pod("ks-installer")
        assert lines(answer)() == ""


def test_a_followed_log_ends_when_a_person_deletes_the_pod(host, connect):
    """With a grace period, which the kubelet ends."""
    name = pod(host)
    with follow(host, connect, tail_lines=0) as answer:
        kubernetes.client.CoreV1Api(connect(host)).delete_namespaced_pod(name, SYSTEM)
        assert lines(answer)() == ""


def test_a_followed_log_ends_when_the_container_ends(simulate, connect, deploy_agent, wait_for):
    """An agent without a usable address exits at once, and its container starts again and again."""
    member = simulate(members=[{"name": "m1"}]).clusters["m1"]
    deploy_agent(member, name="m1", token="t", server="http://127.0.0.1:99999")
    wait_for(lambda: any(item["metadata"]["labels"]["app"] == "agent" for item in member.objects("pods", SYSTEM)))
    wait_for(lambda: member.object("deployments", "cluster-agent", SYSTEM)["status"].get("readyReplicas"))
    with follow(member, connect, "agent", tail_lines=0) as answer:
        read, seen = lines(answer), []
        while line := read():
            seen.append(line)
    assert sum("invalid port" in line for line in seen) <= 1


def test_a_client_that_goes_away_ends_its_stream(host, connect, wait_for):
    followers = host._proxy._client._transport._applications._answering
    with follow(host, connect, tail_lines=0) as answer:
        assert len(followers) == 1
        answer.close()
    wait_for(lambda: not followers)


def test_the_end_of_the_simulation_ends_followed_logs(tmp_path, connect):
    with Simulation({}, directory=tmp_path) as simulation:
        answer = follow(simulation.clusters["host"], connect, tail_lines=0)
        ended = []
        reader = threading.Thread(target=lambda: ended.append(lines(answer)()))
        reader.start()
        started = time.monotonic()
    reader.join(timeout=5)
    assert ended == [""]
    assert time.monotonic() - started < 3


def test_a_log_is_read_whole_when_following_is_off(host, connect):
    api = kubernetes.client.CoreV1Api(connect(host))
    answer = api.read_namespaced_pod_log(pod(host), SYSTEM, follow=False, _preload_content=False)
    assert answer.data.endswith(b"\n")
