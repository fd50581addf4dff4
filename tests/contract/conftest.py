"""One host and one member, simulated or real (`--real`), and the official client to ask them.

The contract is what the product, kubectl, the runbook and the actors rely on. Its tests run unchanged on both. No
cluster has a role yet, so that nothing but the tests acts on Clusters.
"""

import itertools
import json
import time
import urllib.parse
import uuid
from typing import Any, NamedTuple

import kubernetes
import pytest

from include.simulator.simulation import Simulation

TIMING = {"queue": 0.01, "run": 0.1, "reload": 0.02, "sync": 0.01, "resync": 60, "kubelet": 0.01}
SCENARIO = {"members": [{"name": "m1"}], "timing": TIMING}

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
SYSTEM_PODS = "/api/v1/namespaces/kubesphere-system/pods"
PATIENCE = 30
"""Seconds, which nothing takes that goes well."""


class Answer(NamedTuple):
    """What a server says: status, parsed body or text, headers."""

    code: int
    body: Any
    headers: Any

    @property
    def refusal(self):
        """Code and reason of a Status."""
        return self.code, self.body.get("reason")


class Caller:
    """Sends requests as one user of one cluster, with the transport of the official client."""

    def __init__(self, api):
        self.api = api
        self._pool = api.rest_client.pool_manager

    def __call__(self, method, path, body=None, *, content_type="application/json", headers=None, **query):
        """Return the answer. A body of bytes is sent as it is; without a content type none is named."""
        with self.open(method, path, body, content_type=content_type, headers=headers, **query) as response:
            text = response.data.decode()
        is_json = text and response.headers.get("Content-Type", "").startswith("application/json")
        parsed = json.loads(text) if is_json else text
        return Answer(response.status, parsed, response.headers)

    def watch(self, path, *, events, headers=None, **query):
        """Return so many events of a watch, as type and object."""
        query = {"watch": "true", "timeoutSeconds": str(PATIENCE), **query}
        with self.open("GET", path, content_type=None, headers=headers, **query) as response:
            assert response.status == 200, response.data
            lines = itertools.islice(_lines(response), events)
            return [(event["type"], event["object"]) for event in map(json.loads, lines)]

    def open(self, method, path, body=None, *, content_type=None, headers=None, **query):
        """Return an answer whose body has not been read; to be used in a with statement."""
        sent = {"Content-Type": content_type} if content_type else {}
        self.api.update_params_for_auth(sent, [], ["BearerToken"])
        url = self.api.configuration.host + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        response = self._pool.request(
            method, url, body=data, headers={**sent, **(headers or {})}, preload_content=False, timeout=PATIENCE
        )
        # Closed and not kept for another request: a stream goes on.
        return _Closing(response)


class _Closing:
    def __init__(self, response):
        self._response = response

    def __enter__(self):
        return self._response

    def __exit__(self, *_):
        self._response.close()
        self._response.release_conn()


def _lines(response):
    buffer = b""
    for chunk in response.stream(decode_content=True):
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from lines


class Kind(NamedTuple):
    """A kind to try things on."""

    path: str
    plural: str
    kind: str
    api_version: str
    field: str
    """Where an object holds what tests change: a mapping of texts."""

    def make(self, name, *, content=None, **metadata):
        """Return a new object."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {"name": name, **metadata},
            self.field: {"provider": "one"} if content is None else content,
        }

    def at(self, name, *more):
        """Return the path of an object."""
        return "/".join([self.path, name, *more])


PLAIN = Kind("/api/v1/namespaces/default/configmaps", "configmaps", "ConfigMap", "v1", "data")
CUSTOM = Kind(
    "/apis/cluster.kubesphere.io/v1alpha1/clusters",
    "clusters.cluster.kubesphere.io",
    "Cluster",
    "cluster.kubesphere.io/v1alpha1",
    "spec",
)


@pytest.fixture(scope="session")
def simulation(make_cluster, tmp_path_factory):
    """The clusters and the network of their pods."""
    directory = tmp_path_factory.mktemp("contract")
    with Simulation(SCENARIO, directory=directory, make_cluster=make_cluster) as running:
        yield running


@pytest.fixture(scope="session")
def connect(simulation, coverage):
    """Return a caller for a cluster and a user: `admin`, `airflow`, or None for nobody that the cluster knows."""
    opened = []

    def open_client(cluster="m1", user="admin"):
        kubeconfig = simulation.clusters[cluster].kubeconfig(user or "admin")
        if user is None:
            kubeconfig["users"][0]["user"] = {}
        api = kubernetes.config.new_client_from_config_dict(kubeconfig)
        coverage.record(api)
        opened.append(api)
        return Caller(api)

    yield open_client
    for api in opened:
        api.rest_client.pool_manager.clear()
        api.close()


@pytest.fixture(scope="session")
def send(connect):
    """Send a request to the member as an administrator."""
    return connect()


@pytest.fixture(scope="session")
def nobody(connect):
    """Send a request to the member without any credential."""
    return connect(user=None)


@pytest.fixture(scope="session")
def host(connect):
    """Send a request to the host as an administrator."""
    return connect("host")


@pytest.fixture(scope="session")
def installer(host):
    """The path of the installer's pod."""
    pods = host("GET", SYSTEM_PODS, labelSelector="app in (ks-install,ks-installer)").body["items"]
    return f"{SYSTEM_PODS}/{pods[0]['metadata']['name']}"


@pytest.fixture
def waiting(send, name):
    """The path of a pod of two containers that no node has taken."""
    path = "/api/v1/namespaces/default/pods"
    spec = {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}], "schedulerName": "nobody"}
    assert send("POST", path, {"metadata": {"name": name}, "spec": spec}).code == 201
    yield f"{path}/{name}"
    send("DELETE", f"{path}/{name}")


@pytest.fixture
def name():
    """A name that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture(params=[PLAIN, CUSTOM], ids=["plain kind", "custom kind"])
def kind(request):
    """A kind of Kubernetes' own and a custom one."""
    return request.param


@pytest.fixture
def item(send, kind, name):
    """An object of the kind, as the server has stored it."""
    answer = send("POST", kind.path, kind.make(name))
    assert answer.code == 201
    return answer.body


@pytest.fixture(scope="session")
def eventually():
    """Ask again until the answer is as a function wants it, and return it."""

    def ask(question, wanted):
        deadline = time.monotonic() + PATIENCE
        while not wanted(answer := question()):
            assert time.monotonic() < deadline, answer
            time.sleep(0.02)
        return answer

    return ask
