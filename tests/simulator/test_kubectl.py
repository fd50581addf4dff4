"""kubectl looks: what it prints of a simulation, as it does of a real cluster."""

import json
import re

import pytest

from include.simulator.simulation import Simulation

SYSTEM = "kubesphere-system"
BALANCER = "139.198.110.23"


@pytest.fixture(scope="module")
def clusters(tmp_path_factory):
    scenario = {
        "host": {"role": "host", "load_balancer": BALANCER},
        "members": [{"name": "m1", "role": "member", "secret": "host", "joined": "m1"}],
        "timing": {"queue": 0, "run": 0.1, "reload": 0, "sync": 0, "kubelet": 0},
    }
    with Simulation(scenario, directory=tmp_path_factory.mktemp("kubectl")) as simulation:
        yield simulation.clusters


@pytest.fixture
def shell(terminal, clusters):
    """Type a command at the host."""

    def run(command, **options):
        return terminal(clusters["host"], command, **options)

    return run


AGE = r"\d+\w*"


@pytest.mark.parametrize(
    ("command", "heading", "row"),
    [
        ("clusters", "NAME FEDERATED PROVIDER ACTIVE VERSION", r"host +true +kubesphere +true +v1\.22\.12"),
        ("clusters m1", "NAME FEDERATED PROVIDER ACTIVE VERSION", r"m1 +true +true +v1\.22\.12"),
        ("users", "NAME EMAIL STATUS", r"admin +admin@kubesphere\.io +Active"),
        ("cc -A", "NAMESPACE NAME AGE", rf"kubesphere-system +ks-installer +{AGE}"),
        ("kubefedclusters -A", "NAMESPACE NAME AGE READY", rf"kube-federation-system +m1 +{AGE}( +True)? *"),
        ("pods -n kubesphere-system", "NAME READY STATUS RESTARTS AGE", rf"tower-\S+ +1/1 +Running +0 +{AGE}"),
        (
            "po -A -o wide",
            "NAMESPACE NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
            rf"kubesphere-system +tower-\S+ +1/1 +Running +0 +{AGE} +10\.\S+ +host-node1 +<none> +<none>",
        ),
        (
            "svc -n kubesphere-system",
            "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
            rf"tower +LoadBalancer +10\.\S+ +{BALANCER} +8080:3\d+/TCP +{AGE}",
        ),
        (
            "svc -o wide",
            "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR",
            rf"kubernetes +ClusterIP +10\.233\.0\.1 +<none> +443/TCP +{AGE} +<none>",
        ),
        (
            "deploy -n kubesphere-system",
            "NAME READY UP-TO-DATE AVAILABLE AGE",
            rf"tower +1/1 +1 +1 +{AGE}",
        ),
        (
            "deployments.apps -n kubesphere-system -o wide",
            "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
            rf"ks-installer +1/1 +1 +1 +{AGE} +installer +kubesphere/ks-installer:v3\.4\.1 +app=ks-installer",
        ),
        ("cm -n kubesphere-system", "NAME DATA AGE", rf"kubesphere-config +1 +{AGE}"),
        ("secrets -n kubesphere-system", "NAME TYPE DATA AGE", rf"kubesphere-secret +Opaque +3 +{AGE}"),
        ("ns", "NAME STATUS AGE", rf"kubesphere-system +Active +{AGE}"),
        ("nodes", "NAME STATUS ROLES AGE VERSION", rf"host-node1 +Ready +control-plane +{AGE} +v1\.22\.12"),
        ("sa -n kubesphere-system", "NAME SECRETS AGE", rf"kubesphere +0 +{AGE}"),
        ("ep -n kubesphere-system", "NAME ENDPOINTS AGE", rf"ks-apiserver +10\.\S+:9090 +{AGE}"),
        (
            "sc",
            "NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE",
            rf"local \(default\) +openebs\.io/local +Delete +Immediate +false +{AGE}",
        ),
        ("crd", "NAME CREATED AT", r"clusters\.cluster\.kubesphere\.io +\S+Z"),
        ("clusterroles", "NAME CREATED AT", r"kubefed-controller-manager:host-kubesphere +\S+Z"),
        (
            "clusterrolebindings -o wide",
            "NAME ROLE AGE USERS GROUPS SERVICEACCOUNTS",
            rf"(\S+:host-kubesphere) +ClusterRole/\1 +{AGE} +kube-federation-system/host-kubesphere",
        ),
        ("ns default --show-labels", "NAME STATUS AGE LABELS", rf"default +Active +{AGE} +kubernetes\.io/\S+=default"),
        ("deploy -n kubesphere-system -L app", "NAME READY UP-TO-DATE AVAILABLE AGE APP", rf"tower .* {AGE} +tower"),
    ],
    ids=lambda value: value.split()[0] if " " not in value[:2] else None,
)
def test_get_prints_the_columns_of_a_real_server(shell, command, heading, row):
    first, *rows = shell(f"kubectl get {command}").splitlines()
    assert re.sub(" +", " ", first).strip() == heading
    assert [line for line in rows if re.fullmatch(row, line.strip())], "\n".join(rows)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cc", "clusterconfiguration.installer.kubesphere.io"),
        ("clusterconfiguration", "clusterconfiguration.installer.kubesphere.io"),
        ("clusterconfigurations.v1alpha1.installer.kubesphere.io", "clusterconfiguration.installer.kubesphere.io"),
        ("cluster", "cluster.cluster.kubesphere.io"),
        ("cm", "configmap"),
        ("configmap", "configmap"),
        ("deploy", "deployment.apps"),
        ("po", "pod"),
        ("svc", "service"),
        ("ns", "namespace"),
        ("no", "node"),
        ("crds", "customresourcedefinition.apiextensions.k8s.io"),
    ],
)
def test_short_and_singular_names_are_known(shell, name, kind):
    assert {line.split("/")[0] for line in shell(f"kubectl get {name} -A -o name").splitlines()} == {kind}


def test_get_all_shows_what_runs(shell):
    kinds = {line.split("/")[0] for line in shell(f"kubectl -n {SYSTEM} get all -o name").splitlines()}
    assert kinds == {"pod", "service", "deployment.apps"}


def test_objects_are_printed_as_they_are(shell, clusters):
    assert json.loads(shell("kubectl get user admin -o json")) == clusters["host"].object("users", "admin")
    assert "apiVersion: cluster.kubesphere.io/v1alpha1\n" in shell("kubectl get cluster m1 -o yaml")
    uid = shell("kubectl get cluster m1 -o jsonpath='{.status.uid}'")
    assert uid == clusters["m1"].object("namespaces", "kube-system")["metadata"]["uid"]
    assert shell("kubectl get clusters -o custom-columns=N:.metadata.name") == "N\nhost\nm1\n"
    assert shell("kubectl get clusters --sort-by='{.status.nodeCount}' --no-headers").split()[0] == "host"


def test_selectors_choose(shell):
    pods = f"kubectl -n {SYSTEM} get pods -o name"
    assert len(shell(f"{pods} -l 'app in (ks-install, ks-installer)'").splitlines()) == 1
    assert len(shell("kubectl get pods -A -o name --field-selector spec.nodeName=none").splitlines()) == 0
    assert shell("kubectl get ns -o name --field-selector metadata.name=default") == "namespace/default\n"


def test_a_watch_prints_a_row_for_each_change(terminal, clusters, wait_for):
    """It begins with what kubectl got before: a change between that and the watch is not shown, as in reality."""
    host = clusters["host"]
    host.put("users", {"metadata": {"name": "watched"}, "spec": {"email": "one"}})
    with terminal.begin(host, "kubectl get users watched -w") as printed:
        wait_for(lambda: [entry for entry in host.audit() if entry.verb == "watch" and "Dwatched" in entry.path])
        host.edit("users", "watched", {"spec": {"email": "two"}})
        wait_for(lambda: "two" in printed())
        host.edit("users", "watched", {"spec": {"email": "three"}})
        wait_for(lambda: "three" in printed())
        lines = [line.split() for line in printed().splitlines()]
    assert lines == [["NAME", "EMAIL", "STATUS"], ["watched", "one"], ["watched", "two"], ["watched", "three"]]


def test_a_load_balancer_without_an_address_is_pending(terminal, simulate):
    host = simulate(host={"role": "host"}).clusters["host"]
    assert "<pending>" in terminal(host, f"kubectl -n {SYSTEM} get svc tower")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("cluster m1", r"Kubernetes APIEndpoint: +https://10\.20\.1\.1:6443"),
        (f"cc ks-installer -n {SYSTEM}", r"Cluster Role: +host"),
        (f"deploy tower -n {SYSTEM}", r"Replicas: +1 desired \| 1 updated \| 1 total \| 1 available \| 0 unavailable"),
        (f"pods -n {SYSTEM} -l app=tower", r"Controlled By: +Deployment/tower"),
        (f"svc tower -n {SYSTEM}", rf"LoadBalancer Ingress: +{BALANCER}"),
        (f"cm kubesphere-config -n {SYSTEM}", r"authentication:"),
        (f"secret kubesphere-secret -n {SYSTEM}", r"secret: +32 bytes"),
        ("node host-node1", r"Roles: +control-plane"),
        ("ns default", r"Status: +Active"),
        ("crd clusters.cluster.kubesphere.io", r"Kind: +CustomResourceDefinition"),
    ],
)
def test_describe_tells_of_an_object(shell, command, line):
    assert [found for found in shell(f"kubectl describe {command}").splitlines() if re.fullmatch(line, found.strip())]


def test_describe_tells_the_events_of_an_object(shell, clusters):
    host = clusters["host"]
    host.put("clusters", {"metadata": {"name": "eventful"}, "spec": {}})
    uid = host.object("clusters", "eventful")["metadata"]["uid"]
    for name, other in (("own", uid), ("foreign", "another")):
        subject = {"kind": "Cluster", "name": "eventful", "uid": other}
        event = {"type": "Warning", "reason": "JoinFederation", "message": f"the {name} one", "involvedObject": subject}
        host.put("events", {"metadata": {"name": name}, **event}, "default")
    shown = shell("kubectl describe cluster eventful")
    assert "the own one" in shown
    assert "the foreign one" not in shown
    listed = shell("kubectl get events --field-selector reason=JoinFederation")
    assert listed.split("\n")[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert len(re.findall(r"Warning +JoinFederation +cluster/eventful +the \w+ one", listed)) == 2


def test_logs_are_read_in_every_way(shell, clusters):
    logs = f"kubectl -n {SYSTEM} logs"
    whole = shell(f"{logs} deployment/ks-installer")
    assert "Welcome to KubeSphere!" in whole
    last = "".join(f"{line}\n" for line in whole.splitlines()[-2:])
    assert shell(f"{logs} deploy/ks-installer -c installer --tail=2") == last
    assert shell(f"{logs} -l app=ks-installer --tail=2") == last
    assert shell(f"{logs} deploy/ks-installer --since=1s") == ""
    said = shell(f"{logs} deploy/ks-installer -c other", fails=True)
    assert said.startswith("error: container other is not valid for pod ks-installer-")


def test_a_log_is_followed(terminal, clusters, wait_for):
    member = clusters["m1"]
    with terminal.begin(member, f"kubectl -n {SYSTEM} logs -f deploy/ks-installer --tail=0") as printed:
        wait_for(lambda: [entry for entry in member.audit() if "follow=true" in entry.path])
        member.edit("clusterconfigurations", "ks-installer", {"spec": {"changed": True}}, SYSTEM)
        wait_for(lambda: "Welcome to KubeSphere!" in printed())
        assert "QUEUE add TASK_HOOK_RUN@KUBE_EVENTS" in printed()


def test_wait_sees_conditions_and_fields_that_hold(shell):
    met = "cluster.cluster.kubesphere.io/m1 condition met\n"
    assert shell("kubectl wait cluster/m1 --for=condition=Ready --timeout=20s") == met
    assert shell("kubectl wait cluster/m1 --for=jsonpath='{.status.nodeCount}'=1 --timeout=20s") == met
    failed = shell("kubectl wait cluster/m1 --for=condition=Absent --timeout=0.2s", fails=True)
    assert failed == "error: timed out waiting for the condition on clusters/m1\n"


def test_wait_goes_on_until_it_holds(terminal, clusters, wait_for):
    host = clusters["host"]
    host.put("clusters", {"metadata": {"name": "later"}, "spec": {}})

    def watches():
        return [
            entry for entry in host.audit() if entry.verb == "watch" and entry.code == 200 and "later" in entry.path
        ]

    with terminal.begin(host, "kubectl wait cluster/later --for=jsonpath={.spec.provider}=here") as printed:
        wait_for(watches)
        host.edit("clusters", "later", {"spec": {"provider": "here"}})
        wait_for(lambda: printed() == "cluster.cluster.kubesphere.io/later condition met\n")
    seen = len(watches())
    with terminal.begin(host, "kubectl wait cluster/later --for=delete") as printed:
        wait_for(lambda: len(watches()) > seen)
        terminal(host, "kubectl delete cluster later")
        wait_for(lambda: printed() == "cluster.cluster.kubesphere.io/later condition met\n")


def test_discovery_lists_kinds_and_versions(shell):
    rows = [line.split() for line in shell("kubectl api-resources").splitlines()]
    assert ["clusterconfigurations", "cc", "installer.kubesphere.io/v1alpha1", "true", "ClusterConfiguration"] in rows
    assert ["clusters", "cluster.kubesphere.io/v1alpha1", "false", "Cluster"] in rows
    assert {"v1", "apps/v1", "core.kubefed.io/v1beta1"} <= set(shell("kubectl api-versions").split())
    assert "Server Version: v1.22.12" in shell("kubectl version")
    assert "is running at" in shell("kubectl cluster-info")
    assert re.search(r"KIND: +ClusterConfiguration\nVERSION: +v1alpha1", shell("kubectl explain cc"))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("get pod none", 'Error from server (NotFound): pods "none" not found'),
        ("get cluster none", 'Error from server (NotFound): clusters.cluster.kubesphere.io "none" not found'),
        ("get nothing", 'error: the server doesn\'t have a resource type "nothing"'),
        ("delete ns none", 'Error from server (NotFound): namespaces "none" not found'),
        (
            "get cc -A --field-selector=spec.x=1",
            (
                'Error from server (BadRequest): Unable to find "installer.kubesphere.io/v1alpha1, '
                'Resource=clusterconfigurations" that match label selector "", field selector "spec.x=1": field label '
                "not supported: spec.x"
            ),
        ),
    ],
)
def test_what_is_not_there_is_told_as_by_a_real_server(shell, command, said):
    assert shell(f"kubectl {command}", fails=True) == f"{said}\n"
