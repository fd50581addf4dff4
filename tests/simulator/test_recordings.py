"""The simulator against what the real KubeSphere 3.4.1 controllers did.

tests/data/recordings/ holds every watch event of one Cluster, normalised by `normalise` below. The second round of the
controller differs from the first in timestamps only, and only when the second has changed meanwhile; so repetitions are
collapsed on both sides.
"""

import base64
import itertools
import json
import re
from pathlib import Path

import kubernetes
import pytest
import yaml

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"


def normalise(event):
    """Return an event with placeholders for what differs from run to run."""
    item = event["object"]
    connection = item["spec"]["connection"]
    name = item["metadata"]["name"]
    text = json.dumps(
        {
            "type": event["type"],
            "metadata": sorted(set(item["metadata"]) - {"managedFields", "labels", "annotations"}),
            "finalizers": item["metadata"].get("finalizers", []),
            "grace": item["metadata"].get("deletionGracePeriodSeconds"),
            "spec": {**item["spec"], "connection": normalise_connection(connection)},
            "conditions": [
                {
                    key: value if key not in {"lastUpdateTime", "lastTransitionTime"} else "<time>"
                    for key, value in condition.items()
                }
                for condition in item.get("status", {}).get("conditions", [])
            ],
            "status": sorted(item["status"]) if "status" in item else None,
        },
        sort_keys=True,
    )
    text = text.replace(f"{name}-kubesphere", "<name>-kubesphere")
    text = re.sub(r"\d+\.\d+\.\d+\.\d+:\d+", "<address>", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC", "<expiry>", text)
    return json.loads(text)


def normalise_connection(connection):
    """Return a connection with placeholders; of the ports that tower listens on the distance is kept."""
    placeholders = {"kubeconfig": "<kubeconfig>", "token": "<token>"}
    shown = {key: placeholders.get(key, value) for key, value in connection.items()}
    if connection["type"] == "proxy":
        shown = {
            key: re.sub(r"\d+\.\d+\.\d+\.\d+", "<cluster IP>", value) if key.endswith("Endpoint") else value
            for key, value in shown.items()
        }
    if "kubernetesAPIServerPort" in connection:
        first = shown["kubernetesAPIServerPort"]
        shown["kubernetesAPIServerPort"] = "<port>"
        shown["kubesphereAPIServerPort"] = f"<port + {shown['kubesphereAPIServerPort'] - first}>"
    return shown


def collapse(events):
    """Return events without those that repeat the one before."""
    return [event for event, _ in itertools.groupby(events)]


def record(client, *, name, enough, extra, kubeconfig=None, act=lambda item: None):
    """Create a Cluster, by proxy without a kubeconfig; delete it when enough has been seen; return all its events."""
    connection = {"type": "proxy"}
    if kubeconfig is not None:
        connection = {"type": "direct", "kubeconfig": base64.b64encode(kubeconfig.encode()).decode()}
    api = kubernetes.client.CustomObjectsApi(client)
    kind = {"group": "cluster.kubesphere.io", "version": "v1alpha1", "plural": "clusters"}
    start = api.list_cluster_custom_object(**kind)["metadata"]["resourceVersion"]
    api.create_cluster_custom_object(
        **kind,
        body={
            "apiVersion": "cluster.kubesphere.io/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": name},
            "spec": {
                "joinFederation": True,
                **extra,
                "connection": connection,
            },
        },
    )
    events, deleted = [], False
    watch = kubernetes.watch.Watch()
    for event in watch.stream(
        api.list_cluster_custom_object,
        **kind,
        resource_version=start,
        timeout_seconds=20,
        field_selector=f"metadata.name={name}",
    ):
        events.append({"type": event["type"], "object": event["object"]})
        act(event["object"])
        if not deleted and enough(event["object"]):
            deleted = True
            api.delete_cluster_custom_object(**kind, name=name)
        if event["type"] == "DELETED":
            watch.stop()
    return events


def load(name):
    return json.loads((RECORDINGS / f"{name}.json").read_text())


@pytest.fixture
def prepared(simulate, connect, wait_for, conditions):
    """A host, and members as they were recorded: without nodes, and with a ks-apiserver that does not answer."""
    simulation = simulate(
        # Of what tower and the controller read at the same time, the controller writes first, as recorded.
        timing={"sync": 0.3},
        # The webhook on Clusters was not installed where they were recorded.
        host={"role": "host", "load_balancer": "139.198.110.23", "webhook": False},
        members=[{"name": "d1"}, {"name": "u1", "reachable": False}, {"name": "p1"}],
    )
    for name in ("d1", "u1", "p1"):
        client = connect(simulation.clusters[name])
        core = kubernetes.client.CoreV1Api(client)
        core.delete_node(f"{name}-node1")
        kubernetes.client.AppsV1Api(client).delete_namespaced_deployment("ks-apiserver", "kubesphere-system")
        wait_for(
            lambda cluster=simulation.clusters[name]: (
                not cluster.object("endpoints", "ks-apiserver", "kubesphere-system").get("subsets")
            )
        )
    wait_for(lambda: conditions(simulation.clusters["host"].object("clusters", "host")).get("Ready") == "True")
    return simulation


def test_a_direct_join_and_its_deletion_go_as_recorded(prepared, connect, conditions):
    member = prepared.clusters["d1"]
    events = record(
        connect(prepared.clusters["host"]),
        name="d1",
        extra={"enable": True, "provider": ""},
        kubeconfig=yaml.safe_dump(member.kubeconfig("admin", server=member.pod_server)),
        enough=lambda item: conditions(item).get("Ready") == "True",
    )
    assert collapse(map(normalise, events)) == collapse(load("direct-join"))


def test_a_join_to_an_unreachable_member_goes_as_recorded(prepared, connect, conditions):
    member = prepared.clusters["u1"]
    events = record(
        connect(prepared.clusters["host"]),
        name="u1",
        extra={"enable": True, "provider": ""},
        kubeconfig=yaml.safe_dump(member.kubeconfig("admin", server=member.pod_server)),
        enough=lambda item: conditions(item).get("Ready") == "False",
    )
    assert collapse(map(normalise, events)) == collapse(load("direct-unreachable"))


def test_a_kubeconfig_that_is_none_goes_as_recorded_without_any_condition(prepared, connect):
    events = record(
        connect(prepared.clusters["host"]),
        name="g1",
        kubeconfig="this is not a kubeconfig",
        extra={},
        enough=lambda item: "finalizers" in item["metadata"],
    )
    assert collapse(map(normalise, events)) == collapse(load("direct-bad-kubeconfig"))


def test_a_proxy_join_goes_as_recorded_with_the_finalizer_that_tower_takes_away(
    prepared, connect, conditions, deploy_agent
):
    """The recording ends before the deletion; what that does is in test_tower."""
    deployed = []

    def deploy(item):
        if not deployed and conditions(item) and item["metadata"].get("finalizers"):
            deployed.append(True)
            deploy_agent(prepared.clusters["p1"], name="p1", token=item["spec"]["connection"]["token"])

    events = record(
        connect(prepared.clusters["host"]),
        name="p1",
        extra={"enable": True, "provider": ""},
        act=deploy,
        enough=lambda item: conditions(item).get("Ready") == "True",
    )
    joining = [event for event in events if "deletionTimestamp" not in event["object"]["metadata"]]
    recorded = collapse(load("proxy-join"))
    assert [bool(event["finalizers"]) for event in recorded] == [False, True, False, True, True, True]
    assert collapse(map(normalise, joining)) == recorded


def test_each_event_of_a_cluster_raises_its_generation_until_it_is_deleted(prepared, connect, conditions):
    """As recorded: there is no status subresource, so that status counts, and so does the mark of deletion."""
    member = prepared.clusters["d1"]
    events = record(
        connect(prepared.clusters["host"]),
        name="d1",
        extra={},
        kubeconfig=yaml.safe_dump(member.kubeconfig("admin", server=member.pod_server)),
        enough=lambda item: conditions(item).get("Ready") == "True",
    )
    generations = [event["object"]["metadata"]["generation"] for event in events]
    assert generations[:-1] == list(range(1, len(events)))
    assert generations[-1] == generations[-2]
    assert events[-1]["object"]["metadata"]["finalizers"], "the last state is shown, finalizer included"
