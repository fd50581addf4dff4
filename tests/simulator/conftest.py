"""Simulations with near-zero durations, and the official clients to talk to them."""

import base64
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import kubernetes
import pytest
import yaml

from include.simulator.simulation import Simulation

FAST = {"queue": 0.01, "run": 0.1, "reload": 0.02, "sync": 0.01, "resync": 60, "kubelet": 0.01}
CONFIGURATION = ("clusterconfigurations", "ks-installer", "kubesphere-system")


@pytest.fixture
def simulate(tmp_path, make_cluster):
    """Start a simulation of a scenario; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(timing=None, **scenario):
            scenario["timing"] = {**FAST, **(timing or {})}
            return stack.enter_context(Simulation(scenario, directory=tmp_path, make_cluster=make_cluster))

        yield start


@pytest.fixture(scope="session")
def wait_for():
    """Wait until a function returns something true, and return that; KeyError counts as nothing yet."""

    def wait(function, *, seconds=15):
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(KeyError):
                result = function()
                if result:
                    return result
            if time.monotonic() > deadline:
                raise AssertionError("it did not happen")
            time.sleep(0.02)

    return wait


@pytest.fixture
def terminal(tmp_path_factory):
    """Run a command line with kubectl, as an administrator of a cluster types it; returns what it prints.

    One that `fails` has to fail, and what it says of that is returned. `editor` is a sed script, which stands for what
    a person does to the text in the editor; `files` are those of the folder in which the command is typed.
    """
    home = tmp_path_factory.mktemp("home")

    def environment(cluster, *, editor=""):
        kubeconfig, program = home / f"{cluster.name}.kubeconfig", home / "editor"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(yaml.safe_dump(cluster.kubeconfig("admin")))
        program.touch(mode=0o700)
        program.write_text(f"#!/bin/sh\nexec sed -i '{editor}' \"$1\"\n")
        return os.environ | {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(kubeconfig),
            "KUBE_EDITOR": str(program),
        }

    def run(cluster, command, *, fails=False, stdin=None, editor="", files=None):
        for name, text in (files or {}).items():
            (home / name).write_text(text)
        ended = subprocess.run(
            ["/bin/bash", "-o", "pipefail", "-c", command],
            env=environment(cluster, editor=editor),
            cwd=home,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode != 0) is fails, f"{command}\n{ended.stdout}{ended.stderr}"
        return ended.stderr if fails else ended.stdout

    @contextlib.contextmanager
    def begin(cluster, command):
        """Run a command that goes on; the value reads what it has printed so far."""
        printed = home / "printed"
        with printed.open("w") as output:
            running = subprocess.Popen(
                command.split(), env=environment(cluster), cwd=home, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            yield printed.read_text
        finally:
            running.terminate()
            running.wait()

    run.begin = begin
    return run


@pytest.fixture(scope="session")
def connect():
    """Return the official client for a cluster; it is closed at the end."""
    opened = []

    def open_client(cluster, user="airflow"):
        client = kubernetes.config.new_client_from_config_dict(cluster.kubeconfig(user))
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.rest_client.pool_manager.clear()
        client.close()


@pytest.fixture(scope="session")
def call():
    """Send a request with the official client's transport and return status, body as text, without raising."""

    def send(client, method, path, *, body=None, headers=None, query=None):
        client_headers = {}
        client.update_params_for_auth(client_headers, [], ["BearerToken"])
        try:
            answer = client.rest_client.request(
                method,
                client.configuration.host + path,
                query_params=query,
                body=body,
                headers={"Content-Type": "application/json", **client_headers, **(headers or {})},
            )
        except kubernetes.client.ApiException as error:
            return error.status, error.body if isinstance(error.body, str) else (error.body or b"").decode()
        return answer.status, answer.data if isinstance(answer.data, str) else answer.data.decode()

    return send


@pytest.fixture(scope="session")
def conditions():
    """Return the conditions of a Cluster by type, as status."""

    def read(cluster):
        listed = (cluster.get("status") or {}).get("conditions") or []
        return {condition["type"]: condition["status"] for condition in listed}

    return read


@pytest.fixture(scope="session")
def installer_log():
    """Return the lines of the newest ks-installer pod, read as the API gives them."""

    def read(cluster, client):
        pods = [
            pod
            for pod in cluster.objects("pods", "kubesphere-system")
            if pod["metadata"]["labels"]["app"] == "ks-installer"
        ]
        newest = max(pods, key=lambda pod: int(pod["metadata"]["resourceVersion"]))
        return (
            kubernetes.client.CoreV1Api(client)
            .read_namespaced_pod_log(newest["metadata"]["name"], "kubesphere-system", _preload_content=False)
            .data.decode()
        )

    return read


@pytest.fixture(scope="session")
def queue_length():
    """Return the length of the installer's queue, read through the pod proxy."""

    def read(cluster, client):
        pod = next(
            pod["metadata"]["name"]
            for pod in cluster.objects("pods", "kubesphere-system")
            if pod["metadata"]["labels"]["app"] == "ks-installer"
        )
        text = (
            kubernetes.client.CoreV1Api(client)
            .connect_get_namespaced_pod_proxy_with_path(
                f"{pod}:9115", "kubesphere-system", "queue", _preload_content=False
            )
            .data.decode()
        )
        return int(text.splitlines()[0].removeprefix("Queue length "))

    return read


@pytest.fixture(scope="session")
def deploy_agent():
    """Apply the agent's Deployment to a member as a person would; what is there already is changed."""

    def apply(member, *, name, token, server="http://139.198.110.23:8080", image="kubesphere/tower:v0.2.1"):
        labels = {"app": "agent", "app.kubernetes.io/part-of": "tower"}
        command = ["/agent", f"--name={name}", f"--token={token}", f"--proxy-server={server}", "--keepalive=10s"]
        container = {"name": "agent", "image": image, "command": [*command, "--v=0"]}
        manifest = {
            "metadata": {"name": "cluster-agent"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [container], "serviceAccountName": "kubesphere"},
                },
            },
        }
        try:
            member.object("deployments", "cluster-agent", "kubesphere-system")
        except KeyError:
            member.put("deployments", manifest, "kubesphere-system")
        else:
            member.edit("deployments", "cluster-agent", manifest, "kubesphere-system")

    return apply


@pytest.fixture(scope="session")
def agent_log(connect):
    """Return the log of a member's newest agent pod, as the API gives it."""

    def read(member):
        pods = [
            pod
            for pod in member.objects("pods", "kubesphere-system")
            if pod["metadata"]["labels"]["app"] == "agent"
            and pod["status"].get("podIP")
            and "deletionTimestamp" not in pod["metadata"]
        ]
        if not pods:
            return ""
        newest = max(pods, key=lambda pod: int(pod["metadata"]["resourceVersion"]))
        api = kubernetes.client.CoreV1Api(connect(member))
        try:
            answer = api.read_namespaced_pod_log(
                newest["metadata"]["name"], "kubesphere-system", _preload_content=False
            )
        except kubernetes.client.exceptions.NotFoundException:
            # A pod of the former template that goes away just now.
            return ""
        return answer.data.decode()

    return read


@pytest.fixture
def create(connect):
    """Create a Cluster on the host for a kubeconfig."""

    def send(host, name, kubeconfig, **spec):
        text = kubeconfig if isinstance(kubeconfig, str) else yaml.safe_dump(kubeconfig)
        kubernetes.client.CustomObjectsApi(connect(host)).create_cluster_custom_object(
            group="cluster.kubesphere.io",
            version="v1alpha1",
            plural="clusters",
            body={
                "apiVersion": "cluster.kubesphere.io/v1alpha1",
                "kind": "Cluster",
                "metadata": {"name": name},
                "spec": {
                    "joinFederation": True,
                    **spec,
                    "connection": {"type": "direct", "kubeconfig": base64.b64encode(text.encode()).decode()},
                },
            },
        )

    return send


@pytest.fixture
def reason(wait_for):
    """Wait for condition Federated=False and return its reason."""

    def read(host, name):
        def find():
            listed = (host.object("clusters", name).get("status") or {}).get("conditions") or []
            return next(
                (entry["reason"] for entry in listed if entry["type"] == "Federated" and entry["status"] == "False"),
                None,
            )

        return wait_for(find)

    return read


@pytest.fixture
def join(create, wait_for, conditions):
    """Join a member directly as m1, and wait until it is Ready."""

    def send(host, member):
        create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
        wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")

    return send
