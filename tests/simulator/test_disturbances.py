"""What goes wrong with single requests, seen by clients over HTTPS."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import kubernetes
import psutil
import pytest
import urllib3

from include.simulator.disturbances import Act, Cut, Disturbance, Expiry, Moment, Refusal, Reset, Stall
from include.simulator.simulation import Simulation

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
SYSTEM = "kubesphere-system"
MERGE = {"Content-Type": "application/merge-patch+json"}
BEFORE_THE_ANSWER = [pytest.param(Moment.ARRIVED, id="arrived"), pytest.param(Moment.COMMITTED, id="committed")]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    timing = {"queue": 0, "run": 0.05, "reload": 0, "sync": 0, "kubelet": 0}
    with Simulation({"timing": timing}, directory=tmp_path_factory.mktemp("disturbed")) as simulation:
        yield simulation.clusters["host"]


@pytest.fixture
def connection(host):
    """A bare connection, so that nothing is tried again: (method, path, body) to (code, headers, text)."""
    user = host.kubeconfig()["users"][0]["user"]
    context = ssl.create_default_context(cadata=authority(host))
    address, _, port = host.server.removeprefix("https://").partition(":")
    opened = http.client.HTTPSConnection(address, int(port), context=context, timeout=10)

    def send(method, path, body=None, headers=None):
        given = {"Authorization": f"Bearer {user['token']}", "Content-Type": "application/json", "User-Agent": "bare"}
        content = None if body is None else json.dumps(body)
        opened.request(method, path, content, headers={**given, **(headers or {})})
        answer = opened.getresponse()
        return answer.status, answer.headers, answer.read().decode()

    send.opened = opened
    with contextlib.closing(opened):
        yield send


def authority(cluster):
    return cluster.state.authority


def config_map(name):
    return {"metadata": {"name": name}}


def creation(name):
    """Match the creation of a ConfigMap."""
    return lambda call: (call.verb, call.resource, call.name) == ("create", "configmaps", name)


def disturb(cluster, matches, kind, **options):
    disturbance = Disturbance(matches=matches, kind=kind, **options)
    cluster.disturb(disturbance)
    return disturbance


def entries(cluster, name):
    return [(entry.verb, entry.code) for entry in cluster.audit() if entry.name == name and entry.user == "airflow"]


def names(cluster):
    return {item["metadata"]["name"] for item in cluster.objects("configmaps", "default")}


def written(cluster):
    return {entry.name for entry in cluster.writes()}


@pytest.mark.parametrize(
    ("code", "reason"), [(500, "InternalError"), (503, "ServiceUnavailable")], ids=["error", "unavailable"]
)
def test_a_refused_request_is_answered_with_a_status_and_not_processed(host, connection, code, reason):
    name = f"refused-{code}"
    disturbance = disturb(host, creation(name), Refusal(code=code))
    assert not disturbance.met
    answered, _, text = connection("POST", CONFIG_MAPS, config_map(name))
    body = json.loads(text)
    assert (answered, body["kind"], body["reason"], body["code"]) == (code, "Status", reason, code)
    assert disturbance.met
    assert name not in names(host) | written(host)
    assert connection("POST", CONFIG_MAPS, config_map(name))[0] == 201, "it happens once"
    assert [entry.code for entry in host.audit() if entry.agent == "bare"][-2:] == [code, 201]


def test_a_request_too_many_is_told_as_text_when_to_come_back(host, connection):
    """The server's overload filter answers before anything makes a Status."""
    disturb(host, creation("many"), Refusal(code=429, retry_after=7))
    code, headers, text = connection("POST", CONFIG_MAPS, config_map("many"))
    assert (code, headers["Retry-After"], text) == (429, "7", "Too many requests, please try again later.\n")
    assert headers["Content-Type"].startswith("text/plain")


def test_other_refusals_do_not_exist():
    with pytest.raises(ValueError, match="418"):
        Refusal(code=418)


@pytest.mark.parametrize("moment", BEFORE_THE_ANSWER)
def test_a_reset_request_gets_no_answer_and_counts_if_it_was_processed(host, connection, moment):
    name = f"reset-{moment.name.lower()}"
    disturbance = disturb(host, creation(name), Reset(moment=moment))
    with pytest.raises(ConnectionResetError):
        connection("POST", CONFIG_MAPS, config_map(name))
    assert disturbance.wait(5)
    processed = moment is Moment.COMMITTED
    assert (name in names(host)) is processed
    assert (name in written(host)) is processed
    assert entries(host, name) == ([("create", 201)] if processed else [])


@pytest.mark.parametrize("kind", [Reset(moment=Moment.COMMITTED), Cut(seconds=0.1)], ids=["reset", "cut"])
def test_a_reset_is_one_of_tcp(host, connection, kind):
    """Looked for below TLS: Python's ssl shows a reset as an end."""
    disturbance = disturb(host, lambda call: call.verb == "watch" and call.agent == "bare", kind)
    connection.opened.connect()
    with socket.socket(fileno=os.dup(connection.opened.sock.fileno())) as bare:
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            connection("GET", f"{CONFIG_MAPS}?watch=true")
        assert disturbance.wait(5)
        assert bare.getsockopt(socket.SOL_TCP, socket.TCP_INFO, 1) == bytes([7]), "closed, without a FIN"


def test_a_reset_after_the_answer_costs_the_next_request_its_connection(host, connection):
    disturbance = disturb(host, creation("reset-late"), Reset(moment=Moment.ANSWERED))
    code = None
    with contextlib.suppress(ConnectionResetError):
        code = connection("POST", CONFIG_MAPS, config_map("reset-late"))[0]
    assert code in {201, None}, "the reset can overtake what the client has not read"
    assert disturbance.wait(5)
    assert "reset-late" in written(host)


@pytest.mark.parametrize("moment", BEFORE_THE_ANSWER)
def test_a_stalled_request_goes_on_when_the_client_waits(host, connection, moment):
    name = f"slow-{moment.name.lower()}"
    disturb(host, creation(name), Stall(seconds=0.4, moment=moment))
    started = time.monotonic()
    assert connection("POST", CONFIG_MAPS, config_map(name))[0] == 201
    assert time.monotonic() - started >= 0.4
    assert entries(host, name) == [("create", 201)]


@pytest.mark.parametrize("moment", BEFORE_THE_ANSWER)
def test_a_stalled_request_without_a_client_is_processed_only_if_it_was_before(host, connection, moment):
    name = f"left-{moment.name.lower()}"
    disturbance = disturb(host, creation(name), Stall(seconds=0.5, moment=moment))
    connection.opened.timeout = 0.2
    with pytest.raises(TimeoutError):
        connection("POST", CONFIG_MAPS, config_map(name))
    connection.opened.close()
    assert disturbance.met
    time.sleep(0.6)
    processed = moment is Moment.COMMITTED
    assert (name in names(host)) is processed
    assert entries(host, name) == ([("create", 201)] if processed else [])


@pytest.mark.parametrize("moment", BEFORE_THE_ANSWER)
def test_a_stall_does_not_hold_up_the_end(tmp_path, moment):
    """Not even one of the simulator's own requests."""
    with Simulation({}, directory=tmp_path) as simulation:
        host = simulation.clusters["host"]
        stalled = [
            disturb(host, lambda call, user=user: call.user == user, Stall(seconds=60, moment=moment))
            for user in ("system:kube-controller-manager", "system:node:host-node1")
        ]
        host.scale("ks-apiserver", 2)
        assert stalled[0].wait(10)
        host.kill_pod("ks-apiserver")
        started = time.monotonic()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("moment", list(Moment), ids=lambda moment: moment.name.lower())
def test_an_act_happens_at_its_moment(host, connection, moment):
    name, seen = f"act-{moment.name.lower()}", []
    disturbance = disturb(
        host, creation(name), Act(function=lambda call: seen.append((call, name in names(host))), moment=moment)
    )
    code, _, _ = connection("POST", CONFIG_MAPS, config_map(name))
    assert disturbance.wait(5)
    [(call, was_there)] = seen
    assert code == 201
    assert was_there is (moment is not Moment.ARRIVED)
    assert (call.user, call.agent, call.verb, call.resource, call.namespace, call.name, call.path, call.streams) == (
        "airflow",
        "bare",
        "create",
        "configmaps",
        "default",
        name,
        CONFIG_MAPS,
        False,
    )
    ends = connection.opened.sock
    assert (call.peer, call.server) == (ends.getsockname(), ends.getpeername())


def test_an_act_that_is_slow_holds_up_its_own_request_only(host, connection, connect, call):
    release = threading.Event()
    disturb(host, creation("held"), Act(function=lambda _call: release.wait(10), moment=Moment.COMMITTED))
    answers = []
    sender = threading.Thread(target=lambda: answers.append(connection("POST", CONFIG_MAPS, config_map("held"))[0]))
    sender.start()
    assert call(connect(host, "admin"), "GET", CONFIG_MAPS)[0] == 200
    assert answers == []
    release.set()
    sender.join(timeout=10)
    assert answers == [201]


@pytest.mark.parametrize("error", [ValueError, pytest.fail.Exception], ids=["error", "failure of a test"])
def test_an_act_that_raises_is_logged_and_the_request_is_answered(host, connection, caplog, error):
    def fail(call):
        raise error(f"told at {call.name}")

    name = f"raised-{error.__name__.lower()}"
    disturbance = disturb(host, creation(name), Act(function=fail, moment=Moment.COMMITTED))
    assert connection("POST", CONFIG_MAPS, config_map(name))[0] == 201
    assert disturbance.met
    assert f"told at {name}" in caplog.text


CREATE = """
import sys, kubernetes
client = kubernetes.config.new_client_from_config(sys.argv[1])
kubernetes.client.CoreV1Api(client).create_namespaced_config_map("default", {"metadata": {"name": sys.argv[2]}})
"""


def test_a_client_can_be_killed_between_commit_and_answer(host, tmp_path):
    """Found by both ends of the connection: another connection of any process may begin at the same port."""

    def kill(call):
        ends = (call.peer, call.server)
        [owner] = [found.pid for found in psutil.net_connections("tcp") if (found.laddr, found.raddr) == ends]
        os.kill(owner, signal.SIGKILL)

    disturbance = disturb(host, creation("orphan"), Act(function=kill, moment=Moment.COMMITTED))
    file = tmp_path / "kubeconfig.json"
    file.write_text(json.dumps(host.kubeconfig()))
    finished = subprocess.run(
        [sys.executable, "-c", CREATE, file, "orphan"], env={"PATH": os.environ["PATH"]}, timeout=30, check=False
    )
    assert finished.returncode == -signal.SIGKILL
    assert disturbance.wait(5)
    assert {"orphan"} <= names(host) & written(host)


def test_the_first_so_many_matching_requests_are_spared(host, connection):
    disturbance = disturb(host, lambda call: call.verb == "list" and call.agent == "bare", Refusal(code=503), skip=2)
    assert [connection("GET", CONFIG_MAPS)[0] for _ in range(4)] == [200, 200, 503, 200]
    assert disturbance.met


def test_two_of_the_same_happen_one_after_the_other(host, connection):
    for code in (503, 500):
        disturb(host, creation("twice"), Refusal(code=code))
    codes = [connection("POST", CONFIG_MAPS, config_map("twice"))[0] for _ in range(3)]
    assert codes == [503, 500, 201]


def test_nothing_happens_to_other_requests(host, connection):
    disturbance = disturb(host, creation("another"), Refusal(code=503))
    assert connection("POST", CONFIG_MAPS, config_map("this"))[0] == 201
    assert not disturbance.met


def test_an_unknown_user_can_be_disturbed_too(host, connection):
    disturbance = disturb(host, lambda call: call.user == "" and call.agent == "bare", Refusal(code=503))
    assert connection("GET", CONFIG_MAPS, headers={"Authorization": "Bearer wrong"})[0] == 503
    assert disturbance.met


def test_a_proxied_request_can_be_disturbed(host, connection):
    path = f"/api/v1/namespaces/{SYSTEM}/services/ks-apiserver:80/proxy/kapis/version"
    assert connection("GET", path)[0] == 200
    disturb(host, lambda call: (call.resource, call.subresource) == ("services", "proxy"), Refusal(code=500))
    assert connection("GET", path)[0] == 500
    disturb(host, lambda call: call.subresource == "proxy", Reset(moment=Moment.COMMITTED))
    with pytest.raises(ConnectionResetError):
        connection("GET", path)


def watch(cluster, connect, **options):
    return kubernetes.watch.Watch().stream(
        kubernetes.client.CoreV1Api(connect(cluster)).list_namespaced_config_map,
        "default",
        _request_timeout=10,
        **options,
    )


def is_watch(call):
    return call.verb == "watch" and call.user == "airflow"


def test_a_cut_watch_ends_after_its_time_in_the_middle_of_a_chunked_answer(host, connect):
    disturbance = disturb(host, is_watch, Cut(seconds=0.5))
    host.put("configmaps", config_map("before-the-cut"), "default")
    started, seen = time.monotonic(), []
    with pytest.raises(urllib3.exceptions.ProtocolError):
        seen.extend(event["object"].metadata.name for event in watch(host, connect))
    assert "before-the-cut" in seen
    assert 0.4 < time.monotonic() - started < 5
    assert disturbance.met


def test_a_stream_that_ends_before_its_cut_is_not_cut(host, connect):
    disturbance = disturb(host, is_watch, Cut(seconds=1.5))
    list(watch(host, connect, timeout_seconds=1))
    time.sleep(0.7)
    assert not disturbance.met


@pytest.mark.parametrize("events", [0, 2])
def test_an_expired_watch_is_told_410_after_some_events(host, connection, events):
    for number in range(3):
        host.put("configmaps", config_map(f"present-{events}-{number}"), "default")
    disturbance = disturb(host, is_watch, Expiry(events=events))
    code, _, text = connection("GET", f"{CONFIG_MAPS}?watch=true")
    *seen, last = [json.loads(line) for line in text.splitlines()]
    assert code == 200
    assert [event["type"] for event in seen] == ["ADDED"] * events
    assert (last["type"], last["object"]["kind"], last["object"]["code"], last["object"]["reason"]) == (
        "ERROR",
        "Status",
        410,
        "Expired",
    )
    assert disturbance.met


def test_what_happens_to_streams_waits_for_a_stream(host, connection):
    path = f"{CONFIG_MAPS}?labelSelector=unique"
    disturbances = [disturb(host, lambda call: call.path == path, kind) for kind in (Cut(seconds=0), Expiry())]
    assert connection("GET", path)[0] == 200
    assert not any(disturbance.met for disturbance in disturbances)


def test_a_followed_log_can_be_cut(host, connect):
    pod = next(
        item["metadata"]["name"]
        for item in host.objects("pods", SYSTEM)
        if item["metadata"]["labels"]["app"] == "ks-installer"
    )
    disturbance = disturb(host, lambda call: call.subresource == "log", Cut(seconds=0.3))
    answer = kubernetes.client.CoreV1Api(connect(host)).read_namespaced_pod_log(
        pod, SYSTEM, follow=True, tail_lines=0, _preload_content=False, _request_timeout=10
    )
    with pytest.raises(urllib3.exceptions.ProtocolError):
        list(answer.stream())
    assert disturbance.met


def test_a_watch_that_was_reset_before_it_began_leaves_nothing_behind(host, connection, wait_for):
    before = len(host.store._watches)
    disturb(host, lambda call: call.verb == "watch" and call.agent == "bare", Reset(moment=Moment.COMMITTED))
    with pytest.raises(ConnectionResetError):
        connection("GET", f"{CONFIG_MAPS}?watch=true")
    wait_for(lambda: len(host.store._watches) == before)


def test_the_simulators_own_requests_can_be_disturbed_and_it_recovers(simulate, wait_for):
    host = simulate().clusters["host"]
    user = "system:kube-controller-manager"
    disturbances = [
        disturb(host, lambda call: (call.user, call.verb, call.resource) == (user, "create", "pods"), kind)
        for kind in (Reset(moment=Moment.ARRIVED), Refusal(code=429), Refusal(code=500))
    ]
    host.scale("ks-apiserver", 2)
    wait_for(lambda: host.object("deployments", "ks-apiserver", SYSTEM)["status"].get("readyReplicas") == 2)
    assert all(disturbance.met for disturbance in disturbances)
