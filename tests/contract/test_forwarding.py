"""What a server forwards: logs of pods, and requests to pods and services."""

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

SYSTEM = "/api/v1/namespaces/kubesphere-system"
PODS = f"{SYSTEM}/pods"
APISERVER = f"{SYSTEM}/services/:ks-apiserver:80/proxy"
NEW = {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}


@pytest.fixture(scope="module")
def host(connect):
    """Send a request to the host as an administrator."""
    return connect("host")


@pytest.fixture(scope="module")
def installer(host):
    """The path of the installer's pod."""
    pods = host("GET", PODS, labelSelector="app in (ks-install,ks-installer)").body["items"]
    return f"{PODS}/{pods[0]['metadata']['name']}"


@pytest.fixture
def waiting(send, name):
    """The path of a pod of two containers that no node has taken."""
    path = "/api/v1/namespaces/default/pods"
    spec = {**NEW["spec"], "schedulerName": "nobody"}
    assert send("POST", path, {"metadata": {"name": name}, "spec": spec}).code == 201
    yield f"{path}/{name}"
    send("DELETE", f"{path}/{name}")


# Logs


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
    answer = send("GET", f"{PODS}/none/log")
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


@pytest.mark.parametrize(
    ("option", "code"),
    [({"tailLines": "x"}, 400), ({"tailLines": "-1"}, 422)],
    ids=["no number", "fewer than none"],
)
def test_options_of_a_log_are_looked_at(host, installer, option, code):
    assert host("GET", f"{installer}/log", **option).code == code


# Proxies


def test_a_service_answers_through_the_proxy(host):
    answer = host("GET", f"{APISERVER}/kapis/version")
    assert (answer.code, answer.body["gitVersion"]) == (200, "v3.4.1")


@pytest.mark.parametrize(
    "path",
    ["services/ks-apiserver", "services/ks-apiserver:80", "services/http:ks-apiserver:80", "services/:ks-apiserver:80"],
)
def test_a_service_is_named_with_scheme_and_port_or_without(host, path):
    assert host("GET", f"{SYSTEM}/{path}/proxy/healthz").body == "ok"


def test_a_pod_answers_through_the_proxy_at_any_of_its_ports(host, installer):
    pods = host("GET", PODS, labelSelector="app=ks-apiserver").body["items"]
    pod = f"{PODS}/{pods[0]['metadata']['name']}"
    assert host("GET", f"{pod}:9090/proxy/healthz").body == "ok"
    assert host("GET", f"{installer}:9115/proxy/queue").body.startswith("Queue length ")


@pytest.fixture(scope="module")
def echo(simulation, host):
    """The path, through the proxy, of an application that answers with the code in its path what it was sent."""

    async def application(scope, receive, send):
        request = Request(scope, receive)
        seen = {"method": request.method, "query": request.url.query, "headers": dict(request.headers)}
        seen["body"] = (await request.body()).decode()
        await JSONResponse(seen, status_code=int(request.url.path.rpartition("/")[2]))(scope, receive, send)

    (pod,) = host("GET", PODS, labelSelector="app=ks-apiserver").body["items"]
    simulation._network.listen("host", address=pod["status"]["podIP"], port=8099, application=application)
    yield f"{PODS}/{pod['metadata']['name']}:8099/proxy"
    simulation._network.close("host", address=pod["status"]["podIP"], port=8099)


@pytest.mark.parametrize("code", [200, 201, 202, 400, 401, 403, 404, 405, 409, 410, 422, 429, 500, 502, 503, 504])
def test_what_is_answered_behind_the_proxy_is_the_answer(host, echo, code):
    assert host("GET", f"{echo}/{code}").code == code


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_method_and_a_body_go_through(host, echo, method):
    answer = host(method, f"{echo}/200", {"a": "b"})
    assert answer.code == 200
    assert (answer.body["method"], answer.body["body"]) == (method, '{"a": "b"}')


def test_queries_and_headers_go_through(host, echo):
    answer = host("GET", f"{echo}/a%20b/200", headers={"X-Tried": "yes"}, a="b c").body
    assert (answer["query"], answer["headers"]["x-tried"]) == ("a=b+c", "yes")


@pytest.mark.parametrize("user", ["admin", "airflow"])
def test_the_credential_for_the_api_server_does_not_go_through(connect, echo, user):
    """Its authentication takes the header away, so that what is behind sees nobody."""
    answer = connect("host", user)("GET", f"{echo}/200")
    assert "authorization" not in answer.body["headers"]


@pytest.mark.parametrize("path", ["pods/none", "services/none", "services/:none:80", "pods/none:80"])
def test_a_proxy_to_what_is_not_there_is_404(host, path):
    answer = host("GET", f"{SYSTEM}/{path}/proxy/x")
    assert answer.refusal == (404, "NotFound")
    assert answer.body["message"] == f'{path.partition("/")[0]} "none" not found'


def test_a_proxy_to_a_name_that_is_none_is_a_bad_request(host):
    answer = host("GET", f"{SYSTEM}/services/a:b:c:d/proxy/x")
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"] == 'invalid service request "a:b:c:d"'


def test_a_service_without_pods_is_503(send, name, eventually):
    path = "/api/v1/namespaces/default/services"
    send("POST", path, {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": {"app": name}}})
    eventually(lambda: send("GET", f"/api/v1/namespaces/default/endpoints/{name}"), lambda answer: answer.code == 200)
    answer = send("GET", f"{path}/{name}:80/proxy/x")
    assert answer.refusal == (503, "ServiceUnavailable")
    assert answer.body["message"].startswith("no endpoints available for service ")


def test_a_port_that_a_service_does_not_have_is_503(host):
    answer = host("GET", f"{SYSTEM}/services/ks-apiserver:99/proxy/x")
    assert answer.refusal == (503, "ServiceUnavailable")
    assert answer.body["message"] == 'no service port 99 found for service "ks-apiserver"'


def test_a_pod_that_does_not_listen_is_503(host, installer):
    answer = host("GET", f"{installer}:81/proxy/x")
    assert answer.refusal == (503, "ServiceUnavailable")
    assert answer.body["message"].startswith("error trying to reach service: ")


def test_a_pod_without_an_address_is_refused(send, waiting):
    answer = send("GET", f"{waiting}:80/proxy/x")
    assert answer.refusal == (400, "BadRequest")
    assert answer.body["message"] == "address not allowed"
