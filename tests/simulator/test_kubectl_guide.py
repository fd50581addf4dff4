"""The guide's own commands, as they stand in it: a join by hand, direct and by proxy, in KubeSphere 3.4 and 3.0.

What the guide does in the dashboard is done as the dashboard does it: a Cluster is created, and the agent's manifest
comes from ks-apiserver.
"""

import base64
import json

import pytest
import yaml

EDIT = "kubectl edit cc ks-installer -n kubesphere-system"
SECRET = 'kubectl -n kubesphere-system get cm kubesphere-config -o yaml | grep -v "apiVersion" | grep jwtSecret'
SERVICES = "kubectl -n kubesphere-system get svc"
EDIT_ADDRESS = "kubectl -n kubesphere-system edit clusterconfiguration ks-installer"
RESTART = "kubectl -n kubesphere-system rollout restart deployment ks-apiserver"
CREATE_AGENT = "kubectl create -f agent.yaml"

SYSTEM = "kubesphere-system"
KS_APISERVER = f"/api/v1/namespaces/{SYSTEM}/services/:ks-apiserver:80/proxy"
MANIFEST = "/kapis/cluster.kubesphere.io/v1alpha1/clusters/m1/agent/deployment"
BALANCER = "139.198.110.23"
PUBLISHED = "139.198.120.120:8080"


@pytest.fixture(params=["v3.4.1", "v3.0.0"])
def begin(request, simulate, *, terminal, connect, call, wait_for):
    """Start a host and a member that know nothing of each other, with a person in front of them."""

    def start(**host):
        simulation = simulate(kubesphere=request.param, host=host, members=[{"name": "m1"}])

        def ask(cluster, path, token):
            headers = {"X-KubeSphere-Authorization": f"Bearer {token}"}
            return call(connect(cluster), "GET", KS_APISERVER + path, headers=headers)

        return Person(*simulation.clusters.values(), terminal=terminal, ask=ask, wait_for=wait_for)

    return start


class Person:
    """Follows the guide: types its commands, edits what they show, and waits as it says."""

    def __init__(self, host, member, *, terminal, ask, wait_for):
        self.host = host
        self.member = member
        self.type = terminal
        self.wait_for = wait_for
        self._ask = ask

    def edit(self, cluster, command, script):
        """Change the ClusterConfiguration, and wait until the installer says that it has done its work."""
        done = self._count_runs(cluster)
        edited = "clusterconfiguration.installer.kubesphere.io/ks-installer edited\n"
        assert self.type(cluster, command, editor=script) == edited
        self.wait_for(lambda: self._count_runs(cluster) > done, seconds=30)

    def _count_runs(self, cluster):
        log = self.type(cluster, f"kubectl -n {SYSTEM} logs deployment/ks-installer")
        return log.count("Welcome to KubeSphere!")

    def prepare(self):
        """Make the one a host and the other its member."""
        self.edit(self.host, EDIT, "s/clusterRole: none/clusterRole: host/")
        shown = self.type(self.host, SECRET)
        assert len(shown.splitlines()) == 1
        assert shown.strip().startswith("jwtSecret: ")
        secret = yaml.safe_load(shown)["jwtSecret"]
        self.edit(self.member, EDIT, f's/jwtSecret: ""/jwtSecret: {secret}/; s/clusterRole: none/clusterRole: member/')
        assert yaml.safe_load(self.type(self.member, SECRET))["jwtSecret"] == secret

    def console(self, path):
        """Ask the host's ks-apiserver as the console does for its administrator; returns the code and the text."""
        token = self.host.object("secrets", "kubesphere-secret", SYSTEM)["data"]["token"]
        return self._ask(self.host, path, base64.b64decode(token).decode())

    def import_member(self, **connection):
        """Create the Cluster, as the console does it at the end of its form."""
        manifest = {
            "apiVersion": "cluster.kubesphere.io/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": "m1"},
            "spec": {"joinFederation": True, "connection": connection},
        }
        created = self.type(self.host, "kubectl create -f -", stdin=json.dumps(manifest))
        assert created == "cluster.cluster.kubesphere.io/m1 created\n"

    def import_by_proxy(self):
        self.import_member(type="proxy")
        self.type(self.host, "kubectl wait cluster m1 --for=condition=Initialized --timeout=30s")

    def deploy_agent(self):
        """Paste what the console shows into a file, and create it on the member."""
        code, text = self.wait_for(lambda: (answer := self.console(MANIFEST))[0] == 200 and answer)
        assert code == 200
        created = self.type(self.member, CREATE_AGENT, files={"agent.yaml": text})
        assert created == "deployment.apps/cluster-agent created\n"
        self.type(self.member, f"kubectl -n {SYSTEM} rollout status deployment cluster-agent --timeout=30s")

    def see_tower(self):
        heading, *rows = self.type(self.host, SERVICES).splitlines()
        assert heading.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
        _, type_, _, address, ports, _ = next(row.split() for row in rows if row.startswith("tower "))
        assert (type_, ports[:6], ports[-4:]) == ("LoadBalancer", "8080:3", "/TCP")
        return address

    def restart(self):
        """Restart ks-apiserver; kubectl refuses to in the second in which the installer of 3.0 has done it."""
        said = "deployment.apps/ks-apiserver restarted\n"
        self.wait_for(lambda: self.type(self.host, f"{RESTART} || true") == said)

    def expect_joined(self):
        """Find the member Ready, and the host's requests answered by that very cluster, which trusts them."""
        self.type(self.host, "kubectl wait cluster m1 --for=condition=Ready --timeout=30s")
        uid = self.member.object("namespaces", "kube-system")["metadata"]["uid"]

        def reaches():
            code, text = self.console("/api/clusters/m1/v1/namespaces/kube-system")
            return code == 200 and json.loads(text)["metadata"]["uid"] == uid

        assert self.wait_for(reaches)


def test_a_direct_join_by_hand(begin):
    person = begin()
    person.prepare()
    kubeconfig = yaml.safe_dump(person.member.kubeconfig("admin", server=person.member.pod_server))
    person.import_member(type="direct", kubeconfig=base64.b64encode(kubeconfig.encode()).decode())
    person.expect_joined()


def test_a_join_by_proxy_by_hand_where_tower_has_an_address(begin):
    person = begin(load_balancer=BALANCER)
    person.prepare()
    assert person.see_tower() == BALANCER
    person.import_by_proxy()
    person.deploy_agent()
    person.expect_joined()


def test_a_join_by_proxy_by_hand_where_the_address_has_to_be_set(begin):
    person = begin(published=[PUBLISHED])
    person.prepare()
    assert person.see_tower() == "<pending>"
    person.import_by_proxy()
    assert person.console(MANIFEST)[0] == 404, "there is no address yet"

    added = f"proxyPublishAddress: http://{PUBLISHED}"
    person.edit(person.host, EDIT_ADDRESS, rf"s#^\( *\)clusterRole: host#&\n\1{added}#")
    person.restart()
    person.type(person.host, f"kubectl -n {SYSTEM} rollout status deployment ks-apiserver --timeout=30s")
    person.deploy_agent()
    command = person.member.object("deployments", "cluster-agent", SYSTEM)["spec"]["template"]["spec"]["containers"][0]
    assert f"--proxy-server=http://{PUBLISHED}" in command["command"]
    person.expect_joined()
