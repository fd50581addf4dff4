"""A host and a member with real control planes that are joined again and again, with the rights of deploy/rbac."""

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml
from kubernetes.client.exceptions import NotFoundException

from include.fleet import errors, join
from include.simulator import resources
from include.simulator.simulation import Simulation
from tests.chaos import steps
from tests.deploy import rules
from tests.envtest.cluster import RealCluster
from tests.joins import evidence
from tests.joins.conftest import SETTINGS, TIMING

COMMAND = rules.ROOT / "deploy" / "rbac" / "connection.sh"
KUBECTL = Path(sys.executable).with_name("kubectl")
ACCOUNT = "system:serviceaccount:kubesphere-system:join-member-cluster"
KS = "kubesphere-system"
ADDRESS_AFTER = 1.5
"""Seconds from a new Service of tower to its address."""
_GROUPS = ["system:authenticated", "system:serviceaccounts", "system:serviceaccounts:kubesphere-system"]


class Pair:
    """The clusters by their sides, and what the last join came to."""

    def __init__(self, kubesphere, *, directory, environment):
        # A host of 3.0 is asked why a member is not Ready once that has taken 2 s.
        timing = {**TIMING, **({"sync": 3.5} if kubesphere == "v3.0.0" else {})}
        scenario = {
            "kubesphere": kubesphere,
            "timing": timing,
            "host": {"load_balancer": {"address": "203.0.113.10", "after": ADDRESS_AFTER}},
            "members": [{"name": "m1"}],
        }
        self._simulation = Simulation(scenario, directory=directory, make_cluster=RealCluster)
        self._kubeconfig = directory / "kubeconfig"
        self._environment = environment
        self.failed = ""
        """The step of the last join that failed for good, the first one if its end failed too."""
        self.reports = {}
        """What the steps of the last join returned, however it ended."""
        self._then = {}
        """What happens once a step of the next join has succeeded, by step."""
        self._joined = ""
        """By which connection type; "" before any join, None if that is not known."""

    def __enter__(self):
        self._simulation.__enter__()
        self.clusters = dict(zip(rules.SIDES, self._simulation.clusters.values(), strict=True))
        # A join of 3.0 must not give up while its controller takes that long, nor any while a new pod comes.
        for name, seconds in {**SETTINGS, "RESYNC": 5.0, "FAILED_AFTER": 6.0}.items():
            self._environment.setenv(f"AIRFLOW__FLEET__{name}", str(seconds))
        imported = {"kube_config": self.clusters["member"].kubeconfig("admin")}
        made = {
            "HOST": self.connection("host"),
            "M1": self.connection("member"),
            "IMPORTED": json.dumps({"conn_type": "kubernetes", "extra": imported}),
        }
        for conn_id, connection in made.items():
            self._environment.setenv(f"AIRFLOW_CONN_{conn_id}", connection)
        run = join.run

        async def told(step, *args, **options):
            try:
                self.reports[step] = await run(step, *args, **options)
            except errors.PermanentError:
                self.failed = self.failed or step
                raise
            self._then.pop(step, lambda: None)()
            return self.reports[step]

        self._environment.setattr(join, "run", told)
        return self

    def __exit__(self, *_):
        self._simulation.__exit__(None, None, None)

    def connection(self, side):
        """Return what the command prints for one side."""
        environment = {
            **os.environ,
            "HOME": str(self._kubeconfig.parent),
            "KUBECONFIG": str(self._kubeconfig),
            "KUBECTL": str(KUBECTL),
        }
        command = [COMMAND, side, "--context", self.clusters[side].name]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout

    def assert_joined(self, *, identity):
        """Compare both clusters as a person with kubectl would."""
        evidence.assert_joined(self._simulation, identity=identity)

    def play(self, way, **conf):
        """Play a join and return its reports; raises what ends it."""
        conf = {
            "cluster": "m1",
            "host_conn_id": "host",
            "member_conn_id": "m1",
            "connection": way,
            # These Kubernetes are newer than those of 3.0.
            "waive": ["member-kubernetes"],
            **{f"{what}_timeout": 60 for what in ("host_installer", "member_installer", "tower", "ready", "verify")},
            **conf,
        }
        if way == "direct":
            conf |= {"import_conn_id": "imported", "member_server": self.clusters["member"].pod_server}
        former, self._joined = self._joined, None
        self.failed, self.reports = "", {}
        try:
            reports = steps.play(conf, run_id=f"rights-{time.time_ns()}")
        except Exception:
            if self.failed in (join.preflight.__name__, join.plan.__name__):
                self._joined = former
            raise
        self._joined = way
        return reports

    @contextlib.contextmanager
    def without(self, *parts):
        """Take rights away for a while, each a part of a rule."""
        self._take_away(parts)
        try:
            yield
        finally:
            self._give_back(parts)

    @contextlib.contextmanager
    def losing(self, *parts, after):
        """Take rights away once a step of the join that is played has succeeded."""
        self._then[after] = lambda: self._take_away(parts)
        try:
            yield
        finally:
            self._then.clear()
            self._give_back(parts)

    def _take_away(self, parts):
        gone = [*parts, *_wider(parts)]
        for part in gone:
            self._grant([rest for rule in _beside(part) for rest in rule.parts if rest not in gone], like=part)
        evidence.wait_for(lambda: not any(map(self._is_allowed, parts)))

    def _give_back(self, parts):
        for part in [*parts, *_wider(parts)]:
            self._grant(_beside(part), like=part)
        evidence.wait_for(lambda: all(map(self._is_allowed, parts)))

    def _grant(self, granted, *, like):
        kind, prefix = like.role.lower() + "s", f"namespaces/{like.namespace}/" if like.namespace else ""
        path = f"/apis/rbac.authorization.k8s.io/v1/{prefix}{kind}/join-member-cluster"
        rules_left = {"rules": [rule.manifest for rule in granted]}
        self.clusters[like.side].request("PATCH", path, body=rules_left, content_type="application/merge-patch+json")

    def _is_allowed(self, part):
        (verb,), (group,), (resource,) = part.verbs, part.groups, part.resources
        name = part.names[0] if part.names else ""
        elsewhere = {"namespaces": name, "deployments": "kube-federation-system"}
        plural, _, subresource = resource.partition("/")
        asked = {
            "verb": verb,
            "group": group,
            "resource": plural,
            "subresource": subresource,
            "name": name,
            "namespace": part.namespace or elsewhere.get(resource, ""),
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": ACCOUNT, "groups": _GROUPS, "resourceAttributes": asked},
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return self.clusters[part.side].request("POST", path, body=review)["status"]["allowed"]

    # What a join finds

    def begin(self, way, words):
        """Bring the clusters to where a join needs what is needed in the cases of rules with these words."""
        # Of a run that could not give them back.
        for lease in self.clusters["host"].objects("leases", KS):
            self._delete("host", "leases", lease["metadata"]["name"], KS)
        if not words & {"again", "failed run", "no address yet"}:
            if self._joined != "":
                self._undo()
            if "dead run" in words:
                self._leave_lease()
            return
        if self._joined != way:
            if self._joined != "":
                self._undo()
            self.play(way)
        if "again" in words and way == "proxy":
            self.clusters["member"].edit("deployments", "cluster-agent", {"spec": {"replicas": 0}}, KS)
            self._joined = None
        if "no address yet" in words:
            # What comes before takes as long as the new one is without an address.
            self._then[join.wait_installer.__name__] = self._replace_service

    def fail_run(self, side):
        """Leave a cluster as a run of ks-installer does that has died before its last step."""
        cluster = self.clusters[side]
        config = evidence.config_of(cluster)
        # A host that is none would let go of no Cluster any more.
        lost = {"proxyPublishAddress": "http://lost"} if side == "host" else {"clusterRole": "none"}
        config["multicluster"] |= lost
        self._joined = None
        cluster.edit("configmaps", "kubesphere-config", {"data": {"kubesphere.yaml": yaml.safe_dump(config)}}, KS)

    def _leave_lease(self):
        """Leave the turn of a run that has died."""
        uid = self.clusters["member"].object("namespaces", "kube-system")["metadata"]["uid"]
        spec = {"holderIdentity": "a dead run", "leaseDurationSeconds": 2}
        self.clusters["host"].put("leases", {"metadata": {"name": f"join-member-cluster-{uid}"}, "spec": spec}, KS)

    def _undo(self):
        host, member = self.clusters["host"], self.clusters["member"]
        self._delete("host", "clusters", "m1")
        self._delete("member", "deployments", "cluster-agent", KS)
        spec = {"multicluster": {"clusterRole": "none"}}
        own = f"own{time.time_ns()}"
        for side, cluster in self.clusters.items():
            self._delete(side, "secrets", "before-join", KS)
            asked = {**spec, "authentication": {"jwtSecret": own}} if side == "member" else spec
            cluster.edit("clusterconfigurations", "ks-installer", {"spec": asked}, KS)
        evidence.wait_for(lambda: evidence.role_of(host) == evidence.role_of(member) == "none")
        evidence.wait_for(lambda: evidence.secret_of(member) == own)
        self._joined = ""

    def _replace_service(self):
        service = self.clusters["host"].object("services", "tower", KS)
        self._delete("host", "services", "tower", KS)
        spec = {key: service["spec"][key] for key in ("type", "selector", "ports")}
        self.clusters["host"].put("services", {"metadata": {"name": "tower"}, "spec": spec}, KS)

    def _delete(self, side, plural, name, namespace=None):
        cluster, path = self.clusters[side], resources.find(plural).path(name, namespace=namespace)
        with contextlib.suppress(NotFoundException):
            cluster.request("DELETE", path)
            # Ends by that exception.
            evidence.wait_for(lambda: not cluster.request("GET", path))


def _wider(parts):
    """What grants the same on any name: for rollbacks alone, which are not what these parts are for."""
    found = [other for rule in rules.everything() for other in rule.parts if "rollback" in other.cases]
    return [other for other in found if other not in parts and any(map(functools.partial(_grants, other), parts))]


def _grants(other, part):
    (verb,), (group,), (resource,), (name, *_) = part.verbs, part.groups, part.resources, (*part.names, "")
    return other.side == part.side and other.covers(verb, group, resource, part.namespace, name)


def _beside(part):
    """The rules of the object that a part is in, its own among them."""
    return [rule for rule in rules.read(part.side) if (rule.role, rule.namespace) == (part.role, part.namespace)]
