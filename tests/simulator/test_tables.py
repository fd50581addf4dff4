"""What the rows of tables say of states that a simulation rarely shows, and what a client gets that asks for tables."""

import datetime
import json

import pytest

from include.simulator import columns, resources

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def ago(seconds):
    moment = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds + 0.5)
    return moment.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("seconds", "age"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (2 * 3600, "120m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (8 * 3600 + 300, "8h"),
        (47 * 3600, "47h"),
        (2 * 86400 + 3600, "2d1h"),
        (9 * 86400, "9d"),
        (800 * 86400, "2y70d"),
        (-60, "<invalid>"),
    ],
)
def test_ages_are_written_as_kubernetes_writes_them(seconds, age):
    assert columns.human_age(ago(seconds)) == age


def pod(**state):
    return {
        "metadata": {"name": "p", "creationTimestamp": ago(5)},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
        "status": {"phase": "Running", **state},
    }


def container(*, restarts=0, ready=False, **state):
    return {"ready": ready, "restartCount": restarts, "state": state}


@pytest.mark.parametrize(
    ("item", "ready", "status", "restarts"),
    [
        (pod(phase="Pending"), "0/2", "Pending", "0"),
        (pod(containerStatuses=[container(running={}), container(running={})]), "0/2", "Running", "0"),
        (
            pod(containerStatuses=[container(ready=True, running={"startedAt": "x"}), container(restarts=3)]),
            "1/2",
            "Running",
            "3",
        ),
        (
            pod(containerStatuses=[container(restarts=2, waiting={"reason": "CrashLoopBackOff"})]),
            "0/2",
            "CrashLoopBackOff",
            "2",
        ),
        (pod(containerStatuses=[container(terminated={"reason": "Completed"})]), "0/2", "Completed", "0"),
        (pod(phase="Failed", reason="Evicted"), "0/2", "Evicted", "0"),
        (pod() | {"metadata": {"name": "p", "deletionTimestamp": ago(1)}}, "0/2", "Terminating", "0"),
    ],
    ids=["pending", "not ready", "partly", "crashing", "ended", "evicted", "going"],
)
def test_a_pod_shows_what_keeps_it(item, ready, status, restarts):
    assert columns.LAYOUTS[resources.PODS].fill(item)[1:4] == [ready, status, restarts]


def test_more_than_three_endpoints_are_counted():
    addresses = [{"ip": f"10.0.0.{number}"} for number in range(5)]
    subset = {"addresses": addresses, "ports": [{"port": 80}]}
    item = {"metadata": {"name": "e"}, "subsets": [subset]}
    shown = columns.LAYOUTS[resources.ENDPOINTS].fill(item)[1]
    assert shown == "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."


@pytest.mark.parametrize(
    ("accept", "include", "kind"),
    [
        (TABLE, None, "PartialObjectMetadata"),
        (TABLE, "Metadata", "PartialObjectMetadata"),
        (TABLE, "Object", "ConfigMap"),
        (TABLE, "None", None),
        ("application/json;as=Other;v=v1;g=meta.k8s.io," + TABLE, None, "PartialObjectMetadata"),
    ],
)
def test_a_row_has_what_was_asked_for_besides_its_cells(simulate, connect, call, *, accept, include, kind):
    client = connect(simulate().clusters["host"])
    query = [("includeObject", include)] if include else []
    path = "/api/v1/namespaces/kubesphere-system/configmaps"
    code, text = call(client, "GET", path, headers={"Accept": accept}, query=query)
    table = json.loads(text)
    assert (code, table["kind"], table["apiVersion"]) == (200, "Table", "meta.k8s.io/v1")
    assert table["rows"][0]["cells"][:2] == ["kubesphere-config", 1]
    assert table["rows"][0].get("object", {}).get("kind") == kind


@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/json," + TABLE, ""])
def test_who_prefers_objects_gets_objects(simulate, connect, call, accept):
    client = connect(simulate().clusters["host"])
    _, text = call(client, "GET", "/api/v1/namespaces", headers={"Accept": accept})
    assert json.loads(text)["kind"] == "NamespaceList"


def test_an_unknown_part_of_an_object_is_a_bad_request(simulate, connect, call):
    client = connect(simulate().clusters["host"])
    query = [("includeObject", "Half")]
    code, text = call(client, "GET", "/api/v1/namespaces", headers={"Accept": TABLE}, query=query)
    assert (code, json.loads(text)["reason"]) == (400, "BadRequest")
