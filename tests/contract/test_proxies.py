"""What a server forwards to services and pods."""

import asyncio
import threading

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from tests.contract.conftest import SYSTEM_PODS

SYSTEM = "/api/v1/namespaces/kubesphere-system"
APISERVER = f"{SYSTEM}/services/:ks-apiserver:80/proxy"


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
    pods = host("GET", SYSTEM_PODS, labelSelector="app=ks-apiserver").body["items"]
    pod = f"{SYSTEM_PODS}/{pods[0]['metadata']['name']}"
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

    (pod,) = host("GET", SYSTEM_PODS, labelSelector="app=ks-apiserver").body["items"]
    simulation._network.listen("host", address=pod["status"]["podIP"], port=8099, application=application)
    yield f"{SYSTEM_PODS}/{pod['metadata']['name']}:8099/proxy"
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


@pytest.fixture(scope="module")
def ticking(simulation, host):
    """The path, through the proxy, of an application whose answer goes on: a line is added when the event is set."""
    going_on = threading.Event()

    async def application(scope, receive, send):
        async def lines():
            yield b"first\n"
            await asyncio.to_thread(going_on.wait, 30)
            yield b"second\n"

        await StreamingResponse(lines())(scope, receive, send)

    (pod,) = host("GET", SYSTEM_PODS, labelSelector="app=ks-apiserver").body["items"]
    simulation._network.listen("host", address=pod["status"]["podIP"], port=8098, application=application)
    yield f"{SYSTEM_PODS}/{pod['metadata']['name']}:8098/proxy", going_on
    going_on.set()
    simulation._network.close("host", address=pod["status"]["podIP"], port=8098)


def test_what_goes_on_behind_the_proxy_comes_as_it_is_written(host, ticking):
    path, going_on = ticking
    with host.open("GET", f"{path}/x", watch="true") as response:
        assert (response.status, response.readline()) == (200, b"first\n")
        going_on.set()
        assert response.readline() == b"second\n"
        assert response.readline() == b""


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
