"""What a reconcile finds on a simulated fleet, and what it starts."""

import base64

import yaml
from kubernetes import client, config

from tests.joins import evidence


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


ALIKE = {
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
}
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
    """Give each member named in ALIKE the drift that it is named for."""
    clusters, host = fleet.simulation.clusters, fleet.host
    evidence.delete(host, "m-missing")
    for name, spec in (
        ("m-secret", {"authentication": {"jwtSecret": "somebodys0wnSecret1"}}),
        ("m-role", {"multicluster": {"clusterRole": "none"}}),
    ):
        clusters[name].edit("clusterconfigurations", "ks-installer", {"spec": spec}, SYSTEM)
    change_server(host, "m-server", "https://10.99.0.1:6443")
    fleet.member("m-shown").update(description="The shop", labels={"team": "shop"})
    change_agent(clusters["p-address"], flag("proxy-server", "http://203.0.113.9:8080"))
    with config.new_client_from_config_dict(clusters["p-gone"].kubeconfig("admin")) as api:
        client.AppsV1Api(api).delete_namespaced_deployment("cluster-agent", SYSTEM)
    change_agent(clusters["p-token"], flag("token", "of-another-import"))
    change_agent(clusters["p-image"], lambda container: container.update(image="kubesphere/tower:old"))
    change_agent(clusters["p-words"], flag("keepalive", "99s"))
    evidence.wait_for(lambda: evidence.secret_of(clusters["m-secret"]) == "somebodys0wnSecret1")
    evidence.wait_for(lambda: evidence.role_of(clusters["m-role"]) == "none")


def test_one_drift_of_each_kind_is_named_repaired_and_gone_and_no_healthy_member_is_touched(make_fleet):
    fleet = make_fleet(
        [
            *(
                {"name": name, **({"kubeconfig_days": 3} if name == "m-expires" else {})}
                for name in ALIKE
                if name.startswith("m-")
            ),
            *members(*(name for name in ALIKE if name.startswith("p-")), "p-well", connection="proxy"),
            *members("m-well"),
        ],
        # The webhook would refuse what happens to m-server.
        host={"webhook": False},
        declared={"max_joins": 12},
    )
    let_all_drift(fleet)
    record = fleet.reconcile()
    found = {row["cluster"]: {drift["kind"] for drift in row["drift"]} for row in record["hosts"][0]["members"]}
    assert fleet.row("p-well")["drift"] == fleet.row("m-well")["drift"] == []
    assert {name for name, kinds in found.items() if kinds} == set(ALIKE)
    assert [name for name, kind in ALIKE.items() if kind not in found[name]] == []
    assert {action["cluster"] for action in record["actions"]} == set(ALIKE)
    fleet.repair()
    assert {"m-well": [], "p-well": []}.items() <= fleet.writes().items()
    before = fleet.writes()
    record = fleet.reconcile()
    assert record["counts"] == {"healthy": len(ALIKE) + 2}, reasons(record)
    assert record["actions"] == []
    assert fleet.writes() == before
