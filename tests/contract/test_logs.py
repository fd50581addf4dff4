"""Logs of pods, as a server hands them on from the kubelet."""

import pytest

from tests.contract.conftest import MERGE, SYSTEM_PODS


def test_a_log_is_text(host, installer):
    answer = host("GET", f"{installer}/log")
    assert answer.code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.body.endswith("\n")


def test_the_last_lines_of_a_log_can_be_asked_for(host, installer):
    lines = host("GET", f"{installer}/log").body.splitlines()
    assert host("GET", f"{installer}/log", tailLines="2").body.splitlines() == lines[-2:]
    assert host("GET", f"{installer}/log", tailLines="0").body == ""


def test_lines_can_begin_with_their_time(host, installer):
    first = host("GET", f"{installer}/log", timestamps="true").body.splitlines()[0]
    assert first[10] == "T"
    assert first.partition(" ")[0].endswith("Z")


def test_a_log_that_is_followed_begins_at_once(host, installer):
    lines = host("GET", f"{installer}/log").body.splitlines()
    with host.open("GET", f"{installer}/log", follow="true", tailLines="1") as answer:
        assert answer.status == 200
        assert next(answer.stream(decode_content=True)).decode().splitlines()[0] == lines[-1]


def test_a_log_of_no_pod_is_404(send):
    answer = send("GET", f"{SYSTEM_PODS}/none/log")
    assert answer.refusal == (404, "NotFound")
    assert answer.body["message"] == 'pods "none" not found'


def test_of_several_containers_one_has_to_be_named(send, waiting, name):
    answer = send("GET", f"{waiting}/log")
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"] == f"a container name must be specified for pod {name}, choose one of: [a b]"
    answer = send("GET", f"{waiting}/log", container="c")
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"] == f"container c is not valid for pod {name}"


@pytest.mark.parametrize("follow", ["true", "false"])
def test_a_pod_that_no_node_has_taken_has_no_log(send, waiting, follow):
    answer = send("GET", f"{waiting}/log", container="a", follow=follow)
    assert (answer.code, answer.body) == (204, "")


def test_a_log_on_a_node_that_does_not_answer_is_500(send, name):
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    assert send("POST", "/api/v1/nodes", node).code == 201
    addresses = {"status": {"addresses": [{"type": "InternalIP", "address": "10.20.99.1"}]}}
    assert send("PATCH", f"/api/v1/nodes/{name}/status", addresses, content_type=MERGE).code == 200
    pods = "/api/v1/namespaces/default/pods"
    spec = {"nodeName": name, "containers": [{"name": "a", "image": "a"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    assert send("POST", pods, pod).code == 201
    started = {"status": {"hostIP": "10.20.99.1"}}
    assert send("PATCH", f"{pods}/{name}/status", started, content_type=MERGE).code == 200
    answer = send("GET", f"{pods}/{name}/log")
    assert answer.code == 500
    assert answer.body["message"].startswith(f'Get "https://10.20.99.1:10250/containerLogs/default/{name}/a": ')


@pytest.mark.parametrize(
    ("option", "code"),
    [({"tailLines": "x"}, 400), ({"tailLines": "-1"}, 422)],
    ids=["no number", "fewer than none"],
)
def test_options_of_a_log_are_looked_at(host, installer, option, code):
    assert host("GET", f"{installer}/log", **option).code == code
