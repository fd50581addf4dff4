"""What a reconcile finds on a simulated fleet, and what it starts."""

import base64
import copy
import datetime
import json

import yaml
from kubernetes import client, config

from include.fleet import deciding, records
from tests.joins import evidence
from tests.reconcile.conftest import TIMING


def reasons(record):
    return [f"{row['cluster']}: {row['sentence']}" for host in record["hosts"] for row in host["members"]]


def members(*names, **more):
    return [{"name": name, **more} for name in names]


def test_a_fleet_that_is_as_declared_is_healthy_and_nothing_is_written(make_fleet):
    fleet = make_fleet([*members("m1", "m2"), *members("p1", "p2", connection="proxy")])
    record = fleet.reconcile()
    assert record["counts"] == {"healthy": 4}, reasons(record)
    assert record["actions"] == record["findings"] == []
    assert not any(fleet.writes().values())


DRIFTS = {
    "m-missing": "missing",
    "m-secret": "jwt-secret",
    "m-role": "role",
    "m-server": "server-address",
    "m-expires": "credential-expires",
    "m-shown": "labels",
    "p-address": "tower-address",
    "p-gone": "agent-missing",
    "p-token": "agent-token",
    "p-image": "agent-image",
    "p-words": "agent-arguments",
    "m-type": "connection-type",
    "m-other": "other-cluster",
}
"""What happens to a member, by its name."""
WELL = ("m-well", "p-well")
AGENT = ("deployments", "cluster-agent")
SYSTEM = "kubesphere-system"


def change_agent(member, change):
    """Edit the one container of a member's agent as a person does."""
    container = member.object(*AGENT, SYSTEM)["spec"]["template"]["spec"]["containers"][0]
    change(container)
    member.edit(*AGENT, {"spec": {"template": {"spec": {"containers": [container]}}}}, SYSTEM)


def flag(name, value):
    """A change of one flag of an agent."""

    def change(container):
        container["command"] = [
            f"--{name}={value}" if word.startswith(f"--{name}=") else word for word in container["command"]
        ]

    return change


def change_server(host, name, server):
    """Have a Cluster's kubeconfig lead to another server."""
    connection = host.object("clusters", name)["spec"]["connection"]
    document = yaml.safe_load(base64.b64decode(connection["kubeconfig"]))
    document["clusters"][0]["cluster"]["server"] = server
    text = base64.b64encode(yaml.safe_dump(document).encode()).decode()
    host.edit("clusters", name, {"spec": {"connection": {"kubeconfig": text}}})


def let_all_drift(fleet):
    """Give each member named in DRIFTS the drift that it is named for."""
    clusters, host = fleet.simulation.clusters, fleet.host
    evidence.delete(host, "m-missing")
    ask_for(clusters["m-secret"], {"authentication": {"jwtSecret": OTHER_SECRET}})
    ask_for(clusters["m-role"], {"multicluster": {"clusterRole": "none"}})
    change_server(host, "m-server", "https://10.99.0.1:6443")
    fleet.member("m-shown").update(description="The shop", labels={"team": "shop"})
    change_agent(clusters["p-address"], flag("proxy-server", "http://203.0.113.9:8080"))
    delete_agent(clusters["p-gone"])
    change_agent(clusters["p-token"], flag("token", "of-another-import"))
    change_agent(clusters["p-image"], lambda container: container.update(image="kubesphere/tower:old"))
    change_agent(clusters["p-words"], flag("keepalive", "99s"))
    declare_proxy(fleet.member("m-type"))
    fleet.member("m-other")["member_conn_id"] = "stranger"
    evidence.wait_for(lambda: evidence.secret_of(clusters["m-secret"]) == OTHER_SECRET, seconds=60)
    evidence.wait_for(lambda: evidence.role_of(clusters["m-role"]) == "none", seconds=60)


def declare_proxy(member):
    """Declare another connection type than the member was joined by."""
    member["connection"] = "proxy"
    del member["member_server"]


OTHER_SECRET = "somebodys0wnSecret1"


def ask_for(cluster, spec):
    cluster.edit("clusterconfigurations", "ks-installer", {"spec": spec}, SYSTEM)


def delete_agent(member):
    with config.new_client_from_config_dict(member.kubeconfig("admin")) as api:
        client.AppsV1Api(api).delete_namespaced_deployment("cluster-agent", SYSTEM)


def fleet_with_all_drifts(make_fleet):
    """A fleet of the members in DRIFTS, of healthy ones, and a cluster that is no member."""
    described = [
        {
            "name": name,
            **({"kubeconfig_days": 3} if name == "m-expires" else {}),
            **({"connection": "proxy"} if name.startswith("p-") else {}),
        }
        for name in (*DRIFTS, *WELL)
    ]
    fleet = make_fleet(
        [*described, {"name": "stranger", "joined": None, "role": "none", "secret": "own"}],
        # A host that looks at a dozen members twice a second has no time for anything else.
        timing={**TIMING, "resync": 5},
        # The webhook would refuse what happens to m-server.
        host={"webhook": False},
        declared={"max_joins": 12},
    )
    fleet.declared["hosts"][0]["members"].remove(fleet.member("stranger"))
    let_all_drift(fleet)
    return fleet


def test_one_drift_of_each_kind_is_found_and_named_and_all_that_can_be_is_repaired(make_fleet):
    """Nobody else is touched, and then nothing is left to do but what takes a person."""
    fleet = fleet_with_all_drifts(make_fleet)
    record = fleet.reconcile()
    found = {row["cluster"]: kinds(row) for row in record["hosts"][0]["members"]}
    assert {name for name, kinds in found.items() if kinds} == set(DRIFTS)
    assert [name for name, kind in DRIFTS.items() if kind not in found[name]] == []
    told = "\n".join(records.lines(record))
    assert [
        name for name in DRIFTS if f"europe/{name}, drifted: {fleet.row(name)['drift'][0]['sentence']}" not in told
    ] == []
    started = {action["cluster"]: action["dag_id"] for action in record["actions"]}
    assert started.pop("m-type") == deciding.LEAVE_DAG
    assert started == dict.fromkeys(set(DRIFTS) - {"m-type", "m-other"}, deciding.JOIN_DAG)
    assert not any(fleet.writes().values())

    fleet.repair()
    await_ready(fleet)
    record = fleet.reconcile()
    assert kinds(fleet.row("m-type")) == {"missing"}
    assert [(action["cluster"], action["dag_id"]) for action in record["actions"]] == [("m-type", deciding.JOIN_DAG)]
    assert record["counts"] == {"drifted": 2, "healthy": len(DRIFTS) - 2 + len(WELL)}, reasons(record)

    fleet.repair()
    await_ready(fleet)
    before = fleet.writes()
    record = fleet.reconcile()
    assert record["actions"] == []
    assert record["counts"] == {"drifted": 1, "healthy": len(DRIFTS) - 1 + len(WELL)}, reasons(record)
    assert kinds(fleet.row("m-other")) == {"other-cluster"}
    assert fleet.row("m-other")["waits"] == "It takes a person."
    assert fleet.writes() == before
    untouched = (*WELL, "m-other", "stranger")
    assert [name for name in untouched if before[name]] == []
    assert [line for line in before["host"] if line.endswith(untouched)] == []
    assert fleet.host.object("clusters", "m-type")["spec"]["connection"]["type"] == "proxy"


def await_ready(fleet):
    """Wait until the host calls each of its Clusters Ready: it has twelve of them to look at anew."""
    evidence.wait_for(lambda: all(map(evidence.is_ready, fleet.host.objects("clusters"))), seconds=120)


def kinds(row):
    return {drift["kind"] for drift in row["drift"]}


def stop(cluster, deployment):
    """Have none of its pods, and wait until Kubernetes says so."""
    cluster.scale(deployment, 0)
    evidence.wait_for(lambda: not cluster.object("deployments", deployment, SYSTEM)["status"].get("availableReplicas"))


def sent(fleet, name):
    """What the product has asked a cluster for."""
    return [entry for entry in fleet.simulation.clusters[name].audit() if entry.agent.startswith("join-member-cluster")]


def test_a_healthy_fleet_costs_at_most_three_requests_a_member_and_ten_a_host(make_fleet):
    fleet = make_fleet([*members("m1", "m2"), *members("p1", "p2", connection="proxy")])
    assert fleet.reconcile()["counts"] == {"healthy": 4}, reasons(fleet.records[-1])
    counts = {name: len(sent(fleet, name)) for name in fleet.simulation.clusters}
    assert counts.pop("host") <= 10
    assert all(0 < count <= 3 for count in counts.values()), counts


def test_tower_down_with_eight_proxy_members_is_one_finding_and_its_recovery_is_noticed(make_fleet):
    fleet = make_fleet(
        members(*(f"p{number}" for number in range(8)), connection="proxy"), timing={**TIMING, "resync": 2}
    )
    stop(fleet.host, "tower")
    for _ in range(3):
        record = fleet.reconcile()
        assert [finding["kind"] for finding in record["findings"]] == ["tower-down"]
        assert record["actions"] == []
    fleet.host.scale("tower", 1)

    def recovered():
        record = fleet.reconcile()
        assert record["actions"] == []
        return record["counts"] == {"healthy": 8} and not record["findings"]

    evidence.wait_for(recovered, seconds=90)
    assert not any(fleet.writes().values())


def test_two_members_on_one_port_of_tower_are_named_and_taken_out_to_be_joined_again(make_fleet):
    fleet = make_fleet(
        members("p1", "p2", "p3", connection="proxy"), host={"tower_ports": [6500, 6500, 6600]}, settled=False
    )
    record = fleet.reconcile()
    assert all("tower-port" in kinds(fleet.row(name)) for name in ("p1", "p2"))
    assert "tower-port" not in kinds(fleet.row("p3"))
    assert "share tower's port 6500" in str(fleet.row("p1")["drift"])
    assert {action["dag_id"] for action in record["actions"] if action["cluster"] in ("p1", "p2")} == {
        "leave_member_cluster"
    }


def test_another_cluster_behind_a_name_is_named_with_both_identities_and_left_alone(make_fleet):
    fleet = make_fleet([*members("m1", "m2"), {"name": "m3", "joined": None, "role": "none", "secret": "own"}])
    fleet.declared["hosts"][0]["members"] = [
        {**fleet.member("m1"), "member_conn_id": "m3"},
        fleet.member("m2"),
    ]
    record = fleet.reconcile()
    assert kinds(fleet.row("m1")) == {"other-cluster"}
    for name in ("m1", "m3"):
        identity = fleet.simulation.clusters[name].object("namespaces", "kube-system")["metadata"]["uid"]
        assert identity in fleet.row("m1")["sentence"]
    assert record["actions"] == []


def test_a_member_that_airflow_does_not_reach_keeps_nobody_else_from_being_looked_at(make_fleet, monkeypatch):
    fleet = make_fleet(members("m1", "m2"))
    document = copy.deepcopy(fleet.simulation.connections["m1"]["extra"]["kube_config"])
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    monkeypatch.setenv(
        "AIRFLOW_CONN_M1", json.dumps({"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(document)}})
    )
    record = fleet.reconcile()
    assert (fleet.row("m1")["state"], fleet.row("m2")["state"]) == ("unreachable", "healthy")
    assert kinds(fleet.row("m1")) == {"unreachable"}
    assert record["actions"] == []


def test_another_declared_connection_type_takes_the_member_out_first(make_fleet):
    fleet = make_fleet(members("m1"))
    declare_proxy(fleet.member("m1"))
    (action,) = fleet.reconcile()["actions"]
    assert kinds(fleet.row("m1")) == {"connection-type"}
    assert action["dag_id"] == "leave_member_cluster"


def test_what_the_host_says_and_does_not_refresh_is_named_as_old(make_fleet):
    fleet = make_fleet(members("m1"))
    fleet.now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=10)
    record = fleet.reconcile()
    assert kinds(fleet.row("m1")) == {"stale-conditions"}
    assert record["actions"] == []


def test_a_controller_that_does_not_run_is_one_finding_and_nothing_is_started(make_fleet):
    fleet = make_fleet(members("m1", "m2"))
    stop(fleet.host, "ks-controller-manager")
    evidence.delete(fleet.host, "m1")
    record = fleet.reconcile()
    assert [finding["kind"] for finding in record["findings"]] == ["controller-down"]
    assert record["actions"] == []
    assert "ks-controller-manager" in fleet.row("m1")["waits"]


def test_a_host_whose_role_was_edited_is_made_a_host_again_by_one_join(make_fleet):
    fleet = make_fleet(members("m1", "m2"))
    fleet.host.edit(
        "clusterconfigurations", "ks-installer", {"spec": {"multicluster": {"clusterRole": "none"}}}, SYSTEM
    )
    evidence.wait_for(lambda: evidence.role_of(fleet.host) == "none")
    fleet.reconcile()
    assert "role" in kinds(fleet.row("m1"))
    fleet.repair()
    assert evidence.role_of(fleet.host) == "host"


def test_what_the_inventory_does_not_have_is_told_and_left_alone(make_fleet):
    fleet = make_fleet(members("m1", "m2"))
    fleet.declared["hosts"][0]["members"] = [fleet.member("m1")]
    record = fleet.reconcile()
    assert fleet.row("m2")["state"] == "undeclared"
    assert "adopt" in fleet.row("m2")["next"]
    assert record["actions"] == []


def test_a_look_at_one_member_leaves_what_is_known_of_the_others(make_fleet):
    fleet = make_fleet(members("m1", "m2"))
    fleet.reconcile()
    before = fleet.row("m2")
    assert fleet.reconcile(members=["m1"])["counts"] == {"healthy": 2}, reasons(fleet.records[-1])
    assert fleet.row("m2") == before


def test_on_3_0_a_fleet_that_is_as_declared_is_healthy_and_one_that_is_not_is_repaired(make_fleet):
    fleet = make_fleet([*members("m1"), *members("p1", connection="proxy")], kubesphere="v3.0.0")
    assert fleet.reconcile()["counts"] == {"healthy": 2}, reasons(fleet.records[-1])
    change_agent(fleet.simulation.clusters["p1"], flag("token", "of-another-import"))
    fleet.reconcile()
    assert "agent-token" in kinds(fleet.row("p1"))
    fleet.repair()
    assert fleet.reconcile()["counts"] == {"healthy": 2}, reasons(fleet.records[-1])


def test_no_secret_is_in_what_was_observed_or_recorded(make_fleet):
    fleet = make_fleet([*members("m1"), *members("p1", connection="proxy")])
    change_agent(fleet.simulation.clusters["p1"], flag("token", "of-another-import"))
    fleet.simulation.clusters["m1"].edit(
        "clusterconfigurations", "ks-installer", {"spec": {"authentication": {"jwtSecret": "anotherS3cret"}}}, SYSTEM
    )
    evidence.wait_for(lambda: evidence.secret_of(fleet.simulation.clusters["m1"]) == "anotherS3cret")
    text = json.dumps([fleet.reconcile(), fleet.observation])
    secrets = [secret for cluster in fleet.simulation.clusters.values() for secret in cluster.secrets()]
    token = fleet.host.object("clusters", "p1")["spec"]["connection"]["token"]
    assert {"jwt-secret", "agent-token"} <= {*kinds(fleet.row("m1")), *kinds(fleet.row("p1"))}
    assert not [each[:5] for each in (*secrets, token, "of-another-import", "anotherS3cret") if each in text]
