"""What preflight finds on simulated clusters, through their APIs; it writes nothing, and takes seconds."""

import asyncio
import dataclasses
import json
import logging
import time

import pytest
from kubernetes import client, config

from include.fleet import checks, errors, findings, join, settings
from include.simulator import disturbances
from include.simulator.simulation import Simulation

LOAD_BALANCER = "139.198.110.23"
HOST = {"role": "host", "load_balancer": LOAD_BALANCER}
LIMITS = settings.Settings()
REVIEWS = "selfsubjectaccessreviews"


@dataclasses.dataclass
class Run:
    """What one preflight left behind."""

    report: dict | None
    error: Exception | None
    seconds: float
    simulation: Simulation

    @property
    def found(self):
        """The answer of each check; of an error only those that stopped."""
        if self.report is None:
            return {line.partition(":")[0]: "error" for line in getattr(self.error, "found", ())}
        return {finding["check"]: finding["answer"] for finding in self.report["findings"]}

    def told(self, check):
        """What is told of a check."""
        if self.report is None:
            return next(line for line in self.error.found if line.startswith(f"{check}:"))
        finding = next(item for item in self.report["findings"] if item["check"] == check)
        return f"{finding['evidence']} {finding.get('fix', '')}"

    @property
    def requests(self):
        """What was asked for, reviews of rights left out."""
        return [entry for entry in self._mine if entry.resource != REVIEWS]

    @property
    def writes(self):
        """What was written."""
        return [(entry.verb, entry.path) for entry in self._mine if entry.is_write]

    @property
    def _mine(self):
        every = [entry for cluster in self.simulation.clusters.values() for entry in cluster.audit()]
        return [entry for entry in every if entry.agent.startswith("join-member-cluster")]


@pytest.fixture
def preflight(tmp_path, monkeypatch):
    """Look at the clusters of a scenario, after something was done to them."""
    running = []

    def run(connection="direct", *, host=None, member=None, spoil=None, conf=None, **scenario):
        scenario = {
            "host": {**HOST, **(host or {})},
            "members": [{"name": "m1", **(member or {})}],
            **scenario,
        }
        simulation = Simulation(scenario, directory=tmp_path)
        simulation.__enter__()
        running.append(simulation)
        for conn_id, given in simulation.connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(given))
        raw = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", "connection": connection}
        if connection == "direct":
            raw["member_server"] = simulation.clusters["m1"].pod_server
        if spoil:
            spoil(simulation)
        began, report, error = time.monotonic(), None, None
        asked = join.run("preflight", {**raw, **(conf or {})}, limits=LIMITS, attempt="r/1", started=time.time())
        try:
            report = asyncio.run(asked)
        except errors.FleetError as raised:
            error = raised
        return Run(report, error, time.monotonic() - began, simulation)

    yield run
    for simulation in running:
        simulation.__exit__(None, None, None)


def edit(name, plural, obj, patch, namespace="kubesphere-system"):
    """Change an object as a person would."""
    return lambda simulation: simulation.clusters[name].edit(plural, obj, patch, namespace)


def delete_deployment(name, deployment, namespace="kubesphere-system"):
    def spoil(simulation):
        with config.new_client_from_config_dict(simulation.clusters[name].kubeconfig("admin")) as api:
            client.AppsV1Api(api).delete_namespaced_deployment(deployment, namespace)

    return spoil


def scale(name, deployment, replicas=0):
    def spoil(simulation):
        cluster = simulation.clusters[name]
        cluster.scale(deployment, replicas)
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            try:
                found = cluster.object("endpoints", deployment, "kubesphere-system")
            except KeyError:
                return
            if not found.get("subsets"):
                return
            time.sleep(0.05)

    return spoil


def no_default(name):
    return edit(
        name,
        "storageclasses",
        "local",
        {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "false"}}},
        None,
    )


def copy_machine(simulation):
    (node,) = simulation.clusters["host"].objects("nodes")
    (other,) = simulation.clusters["m1"].objects("nodes")
    info = {**other["status"]["nodeInfo"], "machineID": node["status"]["nodeInfo"]["machineID"]}
    with config.new_client_from_config_dict(simulation.clusters["m1"].kubeconfig("admin")) as api:
        client.CoreV1Api(api).patch_node_status(other["metadata"]["name"], {"status": {"nodeInfo": info}})


def forbid(*rights):
    return {"forbid": [dict(zip(("verb", "resource"), right.split(), strict=True)) for right in rights]}


def bad(**certificate):
    return {"kubernetes": {"certificate": {**certificate, "shown_to": "everybody"}}}


JOINED = {"role": "member", "secret": "host"}

ERRORS = [
    pytest.param("member-kubesphere", {"member": {"installed": False}}, "is not installed", id="member-kubesphere"),
    pytest.param(
        "member-installer",
        {"spoil": delete_deployment("m1", "ks-installer")},
        "no deployments/ks-installer",
        id="member-installer",
    ),
    pytest.param(
        "host-installer",
        {"host": {"role": "none", "load_balancer": None}, "spoil": scale("host", "ks-installer")},
        "scaled to 0",
        id="host-installer",
    ),
    pytest.param(
        "member-storage-class", {"spoil": no_default("m1")}, "no default StorageClass", id="member-storage-class"
    ),
    pytest.param(
        "same-cluster",
        {"aliases": {"again": "host"}, "conf": {"member_conn_id": "again"}},
        "its own member",
        id="same-cluster",
    ),
    pytest.param(
        "imported-cluster",
        {"members": [{"name": "m1"}, {"name": "m2"}], "conf": {"import_conn_id": "m2"}},
        "leads to another",
        id="imported-cluster",
    ),
    pytest.param(
        "name-taken",
        {"members": [{"name": "m1"}, {"name": "m2", **JOINED, "joined": "m1"}]},
        "belongs to another cluster",
        id="name-taken",
    ),
    pytest.param("other-name", {"member": {**JOINED, "joined": "old"}}, "already, as old", id="other-name"),
    pytest.param(
        "other-host", {"member": {"role": "member", "other_host": "theirs"}}, "calls it theirs", id="other-host"
    ),
    pytest.param("member-role", {"member": {"role": "host"}}, "would lose their host", id="member-role"),
    pytest.param(
        "host-kubernetes",
        {"host": {"role": "none", "kubernetes": {"version": "v1.18.8"}}},
        "stops at its beginning",
        id="host-kubernetes",
    ),
    pytest.param(
        "member-kubernetes",
        {"member": {"kubernetes": {"version": "v1.18.8"}}},
        "stops at its beginning",
        id="member-kubernetes",
    ),
    pytest.param("host-webhook", {"host": {"webhook": "stale"}}, "failed calling webhook", id="host-webhook"),
    pytest.param("machine-id", {"spoil": copy_machine}, "takes such a member for itself", id="machine-id"),
    pytest.param(
        "federation-namespace",
        {"member": {"left": {"accounts": ["old"], "namespace_terminating": True}}},
        "is being deleted",
        id="federation-namespace",
    ),
    pytest.param(
        "workspace-conflict",
        {
            "member": {"left": {"workspaces": ["dev"]}},
            "members": [{"name": "m1", "left": {"workspaces": ["dev"]}}, {"name": "m2", **JOINED, "joined": "m2"}],
            "host": {"workspaces": {"dev": ["m2"]}},
        },
        "Workspaces dev",
        id="workspace-conflict",
    ),
    pytest.param("server-name", {"member": bad(names_address=False)}, "no entry for the IP address", id="server-name"),
    pytest.param("server-trust", {"member": bad(issuer="foreign")}, "is not of the authority", id="server-trust"),
    pytest.param(
        "server-trust", {"member": bad(issuer="reinstalled")}, "is not of the authority", id="server-trust-reinstalled"
    ),
    pytest.param("server-expiry", {"member": bad(days=-3)}, "and not now", id="server-expiry"),
    pytest.param(
        "imported-credential",
        {
            "connections": {"given": {"cluster": "m1", "identity": "certificate", "days": -1}},
            "conf": {"import_conn_id": "given"},
        },
        "which is past",
        id="imported-credential",
    ),
    pytest.param(
        "member-credential",
        {
            "connections": {"given": {"cluster": "m1", "identity": "certificate", "days": -1}},
            "conf": {"member_conn_id": "given"},
        },
        "which is past",
        id="member-credential",
    ),
    pytest.param(
        "imported-rights",
        {
            "connections": {
                "given": {
                    "cluster": "m1",
                    "identity": "token",
                    "forbid": [{"verb": "get", "resource": "services/proxy"}],
                }
            },
            "conf": {"import_conn_id": "given"},
        },
        "is not cluster-admin",
        id="imported-rights",
    ),
    pytest.param(
        "imported-rights", {"member": forbid("get pods/log")}, "import_conn_id", id="imported-rights-forgotten"
    ),
    pytest.param(
        "host-rights",
        {"host": forbid("create clusters")},
        'cannot create resource "clusters" in API group "cluster.kubesphere.io"',
        id="host-rights",
    ),
    pytest.param(
        "member-rights",
        {"member": forbid("patch clusterconfigurations")},
        "deploy/rbac/member.yaml",
        id="member-rights",
    ),
    pytest.param(
        "member-rights",
        {"member": forbid("get namespaces")},
        'cannot get resource "namespaces"',
        id="member-rights-identity",
    ),
    pytest.param("clock-skew", {"member": {"kubernetes": {"clock": 120}}}, "beyond 10 s", id="clock-skew"),
    pytest.param(
        "member-apiserver", {"spoil": scale("m1", "ks-apiserver")}, "no endpoints available", id="member-apiserver"
    ),
    pytest.param(
        "tower-running", {"spoil": delete_deployment("host", "tower")}, "no Deployment tower", id="tower-running"
    ),
    pytest.param(
        "host-processes",
        {"spoil": delete_deployment("host", "kubefed-controller-manager", "kube-federation-system")},
        "no Deployment kubefed-controller-manager",
        id="host-processes",
    ),
    pytest.param(
        "tower-address",
        {"connection": "proxy", "conf": {"proxy_publish_address": "http://localhost:8080"}},
        "only one machine",
        id="tower-address",
    ),
    pytest.param(
        "tower-port",
        {"connection": "proxy", "conf": {"proxy_publish_address": f"http://{LOAD_BALANCER}:8081"}},
        "port 8080 and not 8081",
        id="tower-port",
    ),
]


@pytest.mark.parametrize(("check", "scenario", "says"), ERRORS)
def test_a_join_that_would_fail_is_stopped_before_anything_is_written(preflight, check, scenario, says):
    run = preflight(**scenario)
    assert isinstance(run.error, errors.PreflightError)
    assert run.found.get(check) == "error", str(run.error)
    assert says in run.told(check)
    assert "nothing was written" in str(run.error)
    assert run.writes == []
    assert run.seconds < 30


@pytest.mark.parametrize("connection", ["direct", "proxy"])
@pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])
def test_clusters_that_can_be_joined_have_no_errors_and_are_asked_for_each_object_once(
    preflight, kubesphere, connection
):
    run = preflight(connection, kubesphere=kubesphere)
    assert run.error is None
    assert set(run.found.values()) <= {"ok", "warning", "incomplete"}
    # What Airflow sees at the member's address for pods depends on the network that the tests run in.
    troubles = {check for check, answer in run.found.items() if answer != "ok"}
    assert troubles <= {"server-trust"}
    assert run.writes == []
    asked = [(entry.user, entry.verb, entry.path) for entry in run.requests]
    secret = "/api/v1/namespaces/kubesphere-system/secrets/kubesphere-secret"
    assert len(asked) <= 45
    twice = {path for user, verb, path in asked if asked.count((user, verb, path)) > 2}
    assert twice - {secret} == set()
    assert run.seconds < 30


def test_what_may_not_be_read_leaves_its_checks_incomplete_and_is_told(preflight):
    rights = ["list nodes", "list storageclasses", "get endpoints", "list workspaces", "list pods", "get secrets"]
    run = preflight("proxy", member=forbid(*rights))
    assert run.error is None
    missing = {check for check, answer in run.found.items() if answer == "incomplete"}
    assert missing == {
        "member-installer",
        "member-storage-class",
        "machine-id",
        "workspace-conflict",
        "workspace-names",
        "member-apiserver",
    }
    assert "connection m1 may not list nodes on the member cluster" in run.told("machine-id").replace(
        "Connection", "connection"
    )
    assert run.found["member-optional-rights"] == "warning"
    assert any("may not list nodes" in line for line in run.report["warnings"])


def test_a_read_that_fails_for_a_moment_leaves_its_check_incomplete(preflight):
    def spoil(simulation):
        fault = disturbances.Refusal(code=503)
        simulation.clusters["m1"].disturb(
            disturbances.Disturbance(matches=lambda call: call.resource == "nodes", kind=fault)
        )

    run = preflight("proxy", spoil=spoil)
    assert run.error is None
    assert {check for check, answer in run.found.items() if answer == "incomplete"} == {"machine-id"}
    assert "503" in run.told("machine-id")


def test_a_failing_answer_to_who_is_who_is_tried_again_and_not_guessed(preflight):
    def spoil(simulation):
        fault = disturbances.Refusal(code=503)
        simulation.clusters["m1"].disturb(
            disturbances.Disturbance(matches=lambda call: call.name == "kube-system", kind=fault)
        )

    run = preflight("proxy", spoil=spoil)
    assert isinstance(run.error, errors.TemporaryError)
    assert run.writes == []


def test_an_error_that_is_waived_does_not_stop_and_its_use_is_logged(preflight, caplog):
    with caplog.at_level(logging.WARNING):
        run = preflight("proxy", member={"kubernetes": {"clock": 120}}, conf={"waive": ["clock-skew"]})
    assert run.error is None
    assert run.found["clock-skew"] == "error"
    (finding,) = [item for item in run.report["findings"] if item["check"] == "clock-skew"]
    assert finding["waived"] == "yes"
    assert "Waived by the conf of this run" in caplog.text
    assert "s apart, give or take" in caplog.text


def test_a_check_that_there_is_not_is_a_problem_of_the_conf(preflight):
    run = preflight("proxy", conf={"waive": ["clocks", "same-cluster"]})
    assert isinstance(run.error, errors.ConfError)
    assert "there is no check 'clocks'" in str(run.error)
    assert "same-cluster cannot be waived" in str(run.error)


def test_nothing_secret_is_in_what_is_told(preflight, caplog):
    with caplog.at_level(logging.DEBUG, logger="include.fleet"):
        run = preflight("proxy", member={**JOINED, "joined": "m1", "connection": "proxy"})
    assert run.error is None
    told = json.dumps(run.report) + caplog.text
    assert not [
        secret for cluster in run.simulation.clusters.values() for secret in cluster.secrets() if secret in told
    ]


def test_every_error_but_those_of_pure_knowledge_is_played():
    """The others need what the simulator does not play; tests/fleet/test_checks.py has them all."""
    played = {param.values[0] for param in ERRORS}
    worst = {check.id for check in checks.CHECKS if check.answer is findings.Answer.ERROR}
    assert worst - played == {
        "host-kubesphere",
        "member-version",
        "host-storage-class",
        "host-name",
        "host-clusters",
        "agent-account",
        "host-credential",
        "jwt-secret",
        "access-tokens",
        "address-change",
    }
