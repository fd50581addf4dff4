"""The forms in which objects are asked for and answered: tables, metadata alone, YAML."""

import pytest
import yaml

from tests.contract.conftest import CUSTOM

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def columns(table):
    return [
        (column["name"], column["type"], column["format"], column["priority"]) for column in table["columnDefinitions"]
    ]


def test_a_table_has_a_row_for_each_object(send, kind, item):
    name = item["metadata"]["name"]
    table = send("GET", kind.path, headers={"Accept": TABLE}, fieldSelector=f"metadata.name={name}").body
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    (row,) = table["rows"]
    assert row["cells"][0] == name
    assert (row["object"]["kind"], row["object"]["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert row["object"]["metadata"]["uid"] == item["metadata"]["uid"]


def test_a_single_object_is_a_table_of_one_row(send, kind, item):
    table = send("GET", kind.at(item["metadata"]["name"]), headers={"Accept": TABLE}).body
    assert [row["cells"][0] for row in table["rows"]] == [item["metadata"]["name"]]
    assert table["metadata"]["resourceVersion"] == item["metadata"]["resourceVersion"]


def test_rows_have_as_much_of_their_object_as_is_asked_for(send, kind, item):
    path, headers = kind.at(item["metadata"]["name"]), {"Accept": TABLE}
    (row,) = send("GET", path, headers=headers, includeObject="Object").body["rows"]
    assert row["object"] == item
    (row,) = send("GET", path, headers=headers, includeObject="None").body["rows"]
    assert not row.get("object")
    answer = send("GET", path, headers=headers, includeObject="x")
    assert answer.refusal == (400, "BadRequest")


NAME = ("Name", "string", "name", 0)
AGE = ("Age", "string", "", 0)


def text(*names, priority=0):
    return [(name, "string", "", priority) for name in names]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/namespaces", [NAME, *text("Status", "Age")]),
        (
            "/api/v1/nodes",
            [
                NAME,
                *text("Status", "Roles", "Age", "Version"),
                *text("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime", priority=1),
            ],
        ),
        (
            "/api/v1/pods",
            [
                NAME,
                *text("Ready", "Status", "Restarts", "Age"),
                *text("IP", "Node", "Nominated Node", "Readiness Gates", priority=1),
            ],
        ),
        (
            "/api/v1/services",
            [
                NAME,
                *text("Type", "Cluster-IP", "External-IP", "Port(s)", "Age"),
                *text("Selector", priority=1),
            ],
        ),
        ("/api/v1/endpoints", [NAME, *text("Endpoints", "Age")]),
        ("/api/v1/configmaps", [NAME, *text("Data", "Age")]),
        ("/api/v1/secrets", [NAME, *text("Type", "Data", "Age")]),
        ("/api/v1/serviceaccounts", [NAME, *text("Secrets", "Age")]),
        (
            "/apis/apps/v1/deployments",
            [
                NAME,
                *text("Ready", "Up-to-date", "Available", "Age"),
                *text("Containers", "Images", "Selector", priority=1),
            ],
        ),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", [NAME, ("Created At", "date", "", 0)]),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            [NAME, *text("Role", "Age"), *text("Users", "Groups", "ServiceAccounts", priority=1)],
        ),
        (
            "/apis/storage.k8s.io/v1/storageclasses",
            [NAME, *text("Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age")],
        ),
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", [NAME, ("Created At", "date", "", 0)]),
        (
            CUSTOM.path,
            [
                NAME,
                ("Federated", "boolean", "", 0),
                ("Provider", "string", "", 0),
                ("Active", "boolean", "", 0),
                ("Version", "string", "", 0),
            ],
        ),
        (
            "/apis/installer.kubesphere.io/v1alpha1/clusterconfigurations",
            [NAME, ("Age", "date", "", 0)],
        ),
    ],
    ids=lambda value: value.rpartition("/")[2] if isinstance(value, str) else "",
)
def test_a_table_has_the_columns_that_kubectl_prints(send, path, expected):
    answer = send("GET", path, headers={"Accept": TABLE})
    assert (answer.code, columns(answer.body)) == (200, expected)


def test_cells_of_a_custom_kind_are_what_its_definition_points_to(send, name):
    content = {"provider": "one", "joinFederation": True}
    send("POST", CUSTOM.path, CUSTOM.make(name, content=content))
    (row,) = send("GET", CUSTOM.at(name), headers={"Accept": TABLE}).body["rows"]
    assert row["cells"] == [name, True, "one", None, None]


def test_only_the_first_table_of_a_watch_tells_its_columns(send, kind, item):
    name = item["metadata"]["name"]
    path, selector = kind.path, f"metadata.name={name}"
    send("DELETE", kind.at(name))
    events = send.watch(
        path,
        events=1,
        headers={"Accept": TABLE},
        fieldSelector=selector,
        resourceVersion=item["metadata"]["resourceVersion"],
    )
    assert [(type_, table["rows"][0]["cells"][0]) for type_, table in events] == [("DELETED", name)]
    assert columns(events[0][1])[0] == NAME


def test_metadata_can_be_asked_for_alone(send, kind, item):
    name = item["metadata"]["name"]
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
    assert send("GET", kind.at(name), headers={"Accept": METADATA}).body == partial
    listed = send("GET", kind.path, headers={"Accept": METADATA_LIST}, fieldSelector=f"metadata.name={name}").body
    assert (listed["kind"], listed["items"][0]["metadata"]) == ("PartialObjectMetadataList", item["metadata"])


def test_objects_come_as_yaml_where_that_is_accepted(send, kind, item):
    answer = send("GET", kind.at(item["metadata"]["name"]), headers={"Accept": "application/yaml"})
    assert answer.headers["Content-Type"] == "application/yaml"
    assert yaml.load(answer.body, Loader=yaml.BaseLoader)["metadata"]["uid"] == item["metadata"]["uid"]


@pytest.mark.parametrize("accepted", ["text/plain", "application/json;as=Table;v=v2;g=meta.k8s.io"])
def test_a_form_that_there_is_not_is_406(send, kind, item, accepted):
    answer = send("GET", kind.at(item["metadata"]["name"]), headers={"Accept": accepted})
    assert answer.refusal == (406, "NotAcceptable")


@pytest.mark.parametrize("accepted", ["*/*", "text/html, */*", f"text/plain,{TABLE}"])
def test_the_first_form_that_there_is_counts(send, kind, item, accepted):
    answer = send("GET", kind.at(item["metadata"]["name"]), headers={"Accept": accepted})
    assert (answer.code, answer.headers["Content-Type"]) == (200, "application/json")
