"""kubectl changes things: what it writes, what a simulation makes of it, and what it says where it may not."""

import json

import pytest

from include.simulator.simulation import Simulation

SYSTEM = "kubesphere-system"
CREATE, APPLY = "kubectl create -f -", "kubectl apply -f -"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    scenario = {
        "host": {"role": "host"},
        "timing": {"queue": 0, "run": 0.1, "reload": 0, "sync": 0, "kubelet": 0},
    }
    with Simulation(scenario, directory=tmp_path_factory.mktemp("kubectl")) as simulation:
        yield simulation.clusters["host"]


@pytest.fixture
def shell(terminal, host):
    """Type a command at the host; an object is what the command reads from its standard input."""

    def run(command, content=None, **options):
        return terminal(host, command, stdin=json.dumps(content) if content else None, **options)

    return run


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def cluster(name, **spec):
    return {
        "apiVersion": "cluster.kubesphere.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": spec,
    }


def deployment(name, *containers, replicas=1, **spec):
    described = [{"name": "main", "image": "one"}, *containers]
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": described, **spec}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def pods(host, name):
    """Return the names of the pods of a Deployment that are not going away."""
    return {
        pod["metadata"]["name"]
        for pod in host.objects("pods", "default")
        if pod["metadata"]["labels"].get("app") == name and "deletionTimestamp" not in pod["metadata"]
    }


def pod_spec(host, name):
    return host.object("deployments", name, "default")["spec"]["template"]["spec"]


def test_create_makes_an_object_once(shell):
    assert shell(CREATE, config_map("once", a="1")) == "configmap/once created\n"
    assert shell(CREATE, config_map("once", a="1"), fails=True).endswith(
        'Error from server (AlreadyExists): error when creating "STDIN": configmaps "once" already exists\n'
    )


def test_create_is_refused_what_is_invalid(shell):
    said = shell(CREATE, cluster("Bad_Name"), fails=True)
    assert said.startswith('The Cluster "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase')
    lacking = deployment("lacking")
    del lacking["spec"]["selector"]
    said = shell(CREATE, lacking, fails=True)
    assert said == 'The Deployment "lacking" is invalid: spec.selector: Required value\n'


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (deployment("misspelt", nodeNames="x"), "spec.template.spec.nodeNames"),
        (deployment("misspelt", {"name": "b", "image": "two", "imge": "x"}), "spec.template.spec.containers[1].imge"),
        (cluster("misspelt", connection={"kubeconfg": "x"}), "spec.connection.kubeconfg"),
    ],
    ids=["of a pod", "of a container", "of a custom object"],
)
def test_a_misspelt_field_is_refused(shell, host, content, field):
    said = shell(APPLY, content, fails=True)
    assert f'strict decoding error: unknown field "{field}"' in said


def test_a_misspelt_field_is_refused_to_an_object_that_is_there(shell):
    shell(APPLY, config_map("spelt"))
    said = shell(APPLY, {**config_map("spelt"), "dta": {"a": "1"}}, fails=True)
    assert 'strict decoding error: unknown field "dta"' in said


def test_create_needs_the_namespace(shell):
    said = shell("kubectl -n absent create -f -", config_map("homeless"), fails=True)
    assert 'namespaces "absent" not found' in said


def test_a_kind_that_is_not_there_is_told_before_anything_is_sent(shell):
    said = shell(CREATE, {"apiVersion": "none.example.com/v1", "kind": "None", "metadata": {"name": "x"}}, fails=True)
    assert said == (
        'error: resource mapping not found for name: "x" namespace: "" from "STDIN": no matches for kind "None" in '
        'version "none.example.com/v1"\nensure CRDs are installed first\n'
    )


def test_several_documents_and_generated_names_are_created(shell, terminal, host):
    text = "".join(
        f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{generateName: made-}}\ndata: {{n: '{n}'}}\n" for n in "12"
    )
    lines = terminal(host, "kubectl create -f several.yaml", files={"several.yaml": text}).splitlines()
    assert [line[:15] + line[-8:] for line in lines] == ["configmap/made- created"] * 2


def test_a_dry_run_of_the_server_stores_nothing(shell):
    assert shell(f"{CREATE} --dry-run=server", config_map("dry")) == "configmap/dry created (server dry run)\n"
    assert shell("kubectl get cm dry", fails=True).startswith("Error from server (NotFound)")


def test_what_kubectl_builds_itself_is_created_by_way_of_its_text(shell):
    """Its own builders send protobuf, which is not read here."""
    said = shell("kubectl create namespace built", fails=True)
    assert "the body of the request was in an unknown format" in said
    assert shell(f"kubectl create namespace built --dry-run=client -o yaml | {CREATE}") == "namespace/built created\n"
    assert shell("kubectl delete namespace built") == 'namespace "built" deleted\n'


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (config_map("applied", a="1", b="2"), config_map("applied", a="1", c="3"), "configmap/applied"),
        (
            cluster("applied", provider="x", enable=True),
            cluster("applied", provider="y"),
            "cluster.cluster.kubesphere.io/applied",
        ),
        (
            deployment("applied", {"name": "other", "image": "two"}, replicas=0),
            deployment("applied", {"name": "third", "image": "three"}, replicas=0, serviceAccountName="x"),
            "deployment.apps/applied",
        ),
    ],
    ids=["ConfigMap", "Cluster", "Deployment"],
)
def test_apply_creates_changes_and_leaves_alone(shell, first, second, name):
    assert shell(APPLY, first) == f"{name} created\n"
    assert shell(APPLY, first) == f"{name} unchanged\n"
    assert shell(APPLY, second) == f"{name} configured\n"
    assert shell(APPLY, second) == f"{name} unchanged\n"
    present = json.loads(shell(f"kubectl get {name} -o json"))
    for part in ("data", "spec"):
        assert _within(second.get(part, {}), present.get(part, {}))
    gone = {"a": "1", "b": "2"}.items() <= present.get("data", {}).items() or "enable" in present.get("spec", {})
    assert not gone, "what is no longer in the manifest is taken away"
    applied = json.loads(present["metadata"]["annotations"][LAST_APPLIED])
    assert applied.get("spec") == second.get("spec")


def _within(expected, present):
    """Say whether a manifest's fields are there; lists have to be equal in length and order."""
    if isinstance(expected, dict):
        return all(key in present and _within(value, present[key]) for key, value in expected.items())
    if isinstance(expected, list):
        return len(expected) == len(present) and all(map(_within, expected, present))
    return expected == present


def test_a_merge_patch_changes_a_custom_object_and_starts_a_run(shell, host, wait_for):
    before = host.object("clusterconfigurations", "ks-installer", SYSTEM)["status"]["core"]
    patch = '{"spec":{"multicluster":{"proxyPublishAddress":"http://139.198.120.120:8080"}}}'
    said = shell(f"kubectl -n {SYSTEM} patch cc ks-installer --type merge -p '{patch}'")
    assert said == "clusterconfiguration.installer.kubesphere.io/ks-installer patched\n"
    config = f"kubectl -n {SYSTEM} get cm kubesphere-config -o yaml"
    wait_for(lambda: "proxyPublishAddress: http://139.198.120.120:8080" in shell(config))
    assert host.object("clusterconfigurations", "ks-installer", SYSTEM)["status"]["core"] != before
    said = shell(f"kubectl -n {SYSTEM} patch cc ks-installer --type merge -p '{patch}'")
    assert said == "clusterconfiguration.installer.kubesphere.io/ks-installer patched (no change)\n"


def test_a_strategic_patch_is_for_built_in_kinds(shell, host):
    shell(CREATE, deployment("strategic", {"name": "side", "image": "two"}, replicas=0))
    patch = '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"three"}]}}}}'
    assert shell(f"kubectl patch deploy strategic -p '{patch}'") == "deployment.apps/strategic patched\n"
    images = {entry["name"]: entry["image"] for entry in pod_spec(host, "strategic")["containers"]}
    assert images == {"main": "one", "side": "three"}
    shell(CREATE, cluster("custom"))
    said = shell("kubectl patch cluster custom -p '{}'", fails=True)
    assert "the body of the request was in an unknown format - accepted media types include" in said


def test_a_json_patch_is_for_all_kinds(shell, host):
    shell(CREATE, cluster("operated", provider="x"))
    replaced = '[{"op":"replace","path":"/spec/provider","value":"y"}]'
    said = shell(f"kubectl patch cluster operated --type json -p '{replaced}'")
    assert said == "cluster.cluster.kubesphere.io/operated patched\n"
    assert host.object("clusters", "operated")["spec"]["provider"] == "y"
    tested = '[{"op":"test","path":"/spec/provider","value":"x"}]'
    said = shell(f"kubectl patch cluster operated --type json -p '{tested}'", fails=True)
    assert said == "The request is invalid: the server rejected our request due to an error in our request\n"


def test_edit_changes_what_the_person_changes(shell, host):
    shell(CREATE, cluster("edited", provider="one"))
    said = shell("kubectl edit cluster edited", editor="s/provider: one/provider: two/")
    assert said == "cluster.cluster.kubesphere.io/edited edited\n"
    assert host.object("clusters", "edited")["spec"]["provider"] == "two"
    shell(CREATE, deployment("edited", {"name": "side", "image": "two"}, replicas=0))
    said = shell("kubectl edit deploy edited", editor="s/image: two/image: three/; s/replicas: 0/replicas: 2/")
    assert said == "deployment.apps/edited edited\n"
    assert host.object("deployments", "edited", "default")["spec"]["replicas"] == 2
    assert [entry["image"] for entry in pod_spec(host, "edited")["containers"]] == ["one", "three"]


def test_edit_without_a_change_writes_nothing(shell, host):
    shell(CREATE, config_map("looked-at", a="1"))
    before = host.object("configmaps", "looked-at", "default")
    shell("kubectl edit configmap looked-at", editor="")
    assert host.object("configmaps", "looked-at", "default") == before


def test_replace_is_refused_an_old_version(shell, host):
    shell(CREATE, config_map("replaced", a="1"))
    old = host.object("configmaps", "replaced", "default")
    assert shell("kubectl replace -f -", config_map("replaced", a="2")) == "configmap/replaced replaced\n"
    assert shell("kubectl replace -f -", {**old, "data": {"a": "3"}}, fails=True).endswith(
        'Operation cannot be fulfilled on configmaps "replaced": the object has been modified; please apply your '
        "changes to the latest version and try again\n"
    )
    assert host.object("configmaps", "replaced", "default")["data"] == {"a": "2"}


def test_labels_and_annotations_are_set_and_taken_away(shell, host):
    shell(CREATE, cluster("labelled"))
    assert shell("kubectl label cluster labelled a=b") == "cluster.cluster.kubesphere.io/labelled labeled\n"
    assert shell("kubectl annotate cluster labelled c=d") == "cluster.cluster.kubesphere.io/labelled annotated\n"
    metadata = host.object("clusters", "labelled")["metadata"]
    assert (metadata["labels"], metadata["annotations"]) == ({"a": "b"}, {"c": "d"})
    assert shell("kubectl label cluster labelled a=c", fails=True).startswith("error: 'a' already has a value (b)")
    shell("kubectl label cluster labelled a-")
    assert "labels" not in host.object("clusters", "labelled")["metadata"]


def test_delete_waits_until_the_object_is_gone(terminal, shell, host, wait_for):
    held = cluster("held")
    held["metadata"]["finalizers"] = ["example.com/held"]
    shell(CREATE, held)
    with terminal.begin(host, "kubectl delete cluster held") as printed:
        wait_for(lambda: "deletionTimestamp" in host.object("clusters", "held")["metadata"])
        wait_for(lambda: 'cluster.cluster.kubesphere.io "held" deleted' in printed())
        said = shell("kubectl delete cluster held --timeout=0.3s", fails=True)
        assert "timed out waiting for the condition on clusters/held" in said
        shell('kubectl patch cluster held --type merge -p \'{"metadata":{"finalizers":null}}\'')
        shell("kubectl wait cluster held --for=delete --timeout=10s")
    assert shell("kubectl delete cluster held", fails=True).startswith("Error from server (NotFound)")
    assert shell("kubectl delete cluster held --ignore-not-found") == ""


def test_a_restart_gives_new_pods_and_the_rollout_ends(shell, host):
    shell(CREATE, deployment("restarted", replicas=2))
    status = "kubectl rollout status deploy restarted --timeout=20s"
    done = 'deployment "restarted" successfully rolled out'
    assert shell(status).splitlines()[-1] == done
    before = pods(host, "restarted")
    assert shell("kubectl rollout restart deployment restarted") == "deployment.apps/restarted restarted\n"
    assert shell(status).splitlines()[-1] == done
    after = pods(host, "restarted")
    assert (len(before), len(after), before & after) == (2, 2, set())


def test_a_deployment_is_scaled_and_its_image_set(shell, host, wait_for):
    shell(CREATE, deployment("scaled"))
    assert shell("kubectl scale deploy scaled --replicas=3") == "deployment.apps/scaled scaled\n"
    shell("kubectl wait deploy scaled --for=jsonpath='{.status.readyReplicas}'=3 --timeout=20s")
    assert len(pods(host, "scaled")) == 3
    said = shell("kubectl scale deploy scaled --current-replicas=2 --replicas=1", fails=True)
    assert said == "error: Expected replicas to be 2, was 3\n"
    assert shell("kubectl set image deploy/scaled main=other") == "deployment.apps/scaled image updated\n"
    (container,) = pod_spec(host, "scaled")["containers"]
    assert (container["name"], container["image"]) == ("main", "other")
    shell("kubectl delete deploy scaled")
    wait_for(lambda: not pods(host, "scaled"))
