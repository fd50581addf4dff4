"""The runbook against simulated clusters, with a real kubectl; what the clusters themselves show counts."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from include.simulator.simulation import Simulation
from tests.joins import evidence

RUNBOOK = Path(__file__).parents[2] / "bench" / "runbook.sh"
KUBECTL = Path(sys.executable).with_name("kubectl")
TIMING = {"queue": 0.05, "run": 0.4, "reload": 0.2, "sync": 0.05, "resync": 0.5, "kubelet": 0.05}
LOAD_BALANCER = "139.198.110.23"
JOINED = {"role": "member", "secret": "host", "joined": "m1"}


@pytest.fixture
def simulate(tmp_path):
    """Start the clusters of a scenario; they stop with the test."""
    started = []

    def start(*, member=None, host=None, timing=None, kubesphere="v3.4.1", others=()):
        scenario = {
            "kubesphere": kubesphere,
            "timing": {**TIMING, **(timing or {})},
            "host": {"load_balancer": LOAD_BALANCER, **(host or {})},
            "members": [{"name": "m1", **(member or {})}, *others],
        }
        simulation = Simulation(scenario, directory=tmp_path / "clusters")
        simulation.__enter__()
        started.append(simulation)
        return simulation

    yield start
    for simulation in started:
        simulation.__exit__(None, None, None)


@pytest.fixture
def runbook(tmp_path):
    """Run the runbook as a person does; returns the finished process, its output together."""

    def run(way, *more, name="m1", member="m1", programs=None, **limits):
        environment = {
            **os.environ,
            "HOME": str(tmp_path),
            "KUBECTL": str(KUBECTL),
            **{key.upper(): str(seconds) for key, seconds in limits.items()},
        }
        if programs:
            environment |= {"KUBECTL": str(programs / "kubectl"), "PATH": f"{programs}:{environment['PATH']}"}
        kubeconfigs = [tmp_path / "clusters" / f"{cluster}.kubeconfig" for cluster in ("host", member)]
        finished = subprocess.run(
            [RUNBOOK, way, *kubeconfigs, name, *more],
            check=False,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        sys.stdout.write(finished.stdout)  # pytest shows it when the test fails
        assert left_running(tmp_path) == []
        return finished

    return run


@pytest.fixture
def wait_for():
    """Wait until a function returns something true."""

    def wait(function, *, seconds=15):
        deadline = time.monotonic() + seconds
        while not function():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    return wait


def left_running(directory):
    """List the processes that the runbook has left behind: each knows a kubeconfig of the test."""
    return [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in word for word in process.info["cmdline"] or [])
    ]


def arguments(simulation, way):
    """Where the host's pods reach the member; by proxy tower's own address serves."""
    return [simulation.clusters["m1"].pod_server] if way == "direct" else []


def writes(simulation):
    """What kubectl has written so far, by cluster."""
    return {
        name: [
            f"{entry.verb} {entry.resource} {entry.name}"
            for entry in cluster.writes()
            if entry.agent.startswith("kubectl/")
        ]
        for name, cluster in simulation.clusters.items()
    }


@pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])
@pytest.mark.parametrize("way", ["direct", "proxy"])
def test_the_runbook_joins_a_member_and_a_second_time_writes_nothing(simulate, runbook, way, kubesphere):
    simulation = simulate(kubesphere=kubesphere)
    finished = runbook(way, *arguments(simulation, way))
    assert finished.returncode == 0
    evidence.assert_joined(simulation, identity=kubesphere == "v3.4.1")
    configured = ["patch clusterconfigurations ks-installer"]
    agent = ["create deployments cluster-agent"] if way == "proxy" else []
    written = {"host": [*configured, "create clusters m1"], "m1": [*configured, *agent]}
    assert writes(simulation) == written
    assert runbook(way, *arguments(simulation, way)).returncode == 0
    assert writes(simulation) == written


def test_a_tower_address_is_given_to_the_host_in_the_same_patch(simulate, runbook):
    address = "139.198.120.120:9000"
    simulation = simulate(host={"load_balancer": None, "published": [address]})
    assert runbook("proxy", f"http://{address}").returncode == 0
    evidence.assert_joined(simulation)
    assert evidence.config_of(simulation.clusters["host"])["multicluster"]["proxyPublishAddress"] == f"http://{address}"
    assert writes(simulation)["host"].count("patch clusterconfigurations ks-installer") == 1


def test_no_secret_is_in_the_arguments_of_a_process_or_in_the_output(simulate, runbook, tmp_path):
    programs, told = tmp_path / "programs", tmp_path / "told"
    programs.mkdir()
    for name, real in (("kubectl", KUBECTL), ("curl", shutil.which("curl"))):
        (programs / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$0 $*" >>{told}\nexec {real} "$@"\n')
        (programs / name).chmod(0o755)
    simulation = simulate()
    finished = runbook("proxy", programs=programs)
    assert finished.returncode == 0
    text = told.read_text() + finished.stdout
    assert "--kubeconfig" in text
    assert "--unix-socket" in text
    token = simulation.clusters["host"].object("clusters", "m1")["spec"]["connection"]["token"]
    secrets = {token, *(secret for cluster in simulation.clusters.values() for secret in cluster.secrets())}
    assert not [secret for secret in secrets if secret in text]


@pytest.mark.parametrize(
    ("member", "says"),
    [
        pytest.param({**JOINED, "secret": "own"}, "the jwtSecret of host and member differ", id="secret"),
        pytest.param({**JOINED, "role": "none"}, "the role of the member is none, not member", id="role"),
        pytest.param({**JOINED, "reachable": False}, "Federated is False", id="unreachable"),
        pytest.param({}, "Cluster m1 cannot be read", id="not imported"),
    ],
)
def test_verify_tells_what_makes_it_no_member(simulate, runbook, wait_for, member, says):
    # With the webhook of 3.4 a member that is away would be called Ready for ever (kubesphere-facts 6.9).
    simulation = simulate(host={"role": "host", "webhook": False}, member=member)
    if not member.get("reachable", True):
        wait_for(lambda: not evidence.is_ready(simulation.clusters["host"].object("clusters", "m1")))
    finished = runbook("verify", verify_timeout=0)
    assert finished.returncode == 1
    assert says in finished.stdout
    assert writes(simulation) == {"host": [], "m1": []}


def test_verify_accepts_a_member_that_a_person_joined(simulate, runbook):
    simulate(host={"role": "host"}, member=JOINED)
    assert runbook("verify", verify_timeout=30).returncode == 0


def test_verify_is_not_content_with_a_secret_that_is_not_in_force(simulate, runbook):
    """Both ConfigMaps hold it, and the member's ks-apiserver has not loaded it: only a forwarded request tells."""
    simulation = simulate(host={"role": "host"}, member={**JOINED, "secret": "own"}, timing={"reload": 600})
    host, member = simulation.clusters.values()
    text = member.object("configmaps", "kubesphere-config", "kubesphere-system")["data"]["kubesphere.yaml"]
    text = text.replace(evidence.secret_of(member), evidence.secret_of(host))
    member.edit("configmaps", "kubesphere-config", {"data": {"kubesphere.yaml": text}}, "kubesphere-system")
    finished = runbook("verify", verify_timeout=0)
    assert finished.returncode == 1
    assert "does not forward to the member: 401" in finished.stdout
    assert "signature is invalid" in finished.stdout


def test_verify_tells_another_cluster_under_the_same_name(simulate, runbook):
    simulate(host={"role": "host"}, member=JOINED, others=[{"name": "m2", "role": "member", "secret": "host"}])
    finished = runbook("verify", member="m2", verify_timeout=0)
    assert finished.returncode == 1
    assert "the host sees kube-system UID" in finished.stdout


@pytest.mark.parametrize(
    ("way", "member", "says"),
    [
        pytest.param("direct", {}, "Give MEMBER_SERVER", id="loopback"),
        pytest.param("proxy", JOINED, "is joined by direct", id="another way"),
        pytest.param("proxy", {**JOINED, "joined": "other"}, "is joined already, as Cluster other", id="another name"),
    ],
)
def test_what_cannot_be_joined_is_refused_before_anything_is_written(simulate, runbook, way, member, says):
    simulation = simulate(host={"role": "host" if member else "none"}, member=member)
    finished = runbook(way)
    assert finished.returncode == 1
    assert says in finished.stdout
    assert writes(simulation) == {"host": [], "m1": []}


def test_an_installer_that_has_given_up_ends_the_runbook(simulate, runbook):
    simulate(member={"installer": {"fail": "silent"}})
    finished = runbook("proxy", failed_after=2)
    assert finished.returncode == 1
    assert "ks-installer on the member is idle and has not done its work" in finished.stdout
    assert "kubectl logs -n kubesphere-system deployment/ks-installer" in finished.stdout


def test_a_tower_without_an_address_ends_the_runbook(simulate, runbook):
    simulate(host={"load_balancer": None})
    finished = runbook("proxy", tower_timeout=2)
    assert finished.returncode == 1
    assert "Give TOWER_ADDRESS" in finished.stdout


def test_without_its_arguments_the_runbook_tells_them():
    finished = subprocess.run([RUNBOOK, "sideways", "a", "b", "c"], check=False, capture_output=True, text=True)
    assert finished.returncode == 2
    assert "runbook.sh direct HOST_KUBECONFIG MEMBER_KUBECONFIG NAME [MEMBER_SERVER]" in finished.stderr
