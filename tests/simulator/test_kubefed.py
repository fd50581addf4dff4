"""kubefed's word on the members, a second one beside the Cluster's conditions (kubesphere-facts 6.4)."""

import pytest

FEDERATION = "kube-federation-system"
JOINED = {"role": "member", "secret": "host", "joined": "m1"}


def conditions_of(host, name):
    """Each condition's type, with its status, reason and message."""
    listed = (host.object("kubefedclusters", name, FEDERATION).get("status") or {}).get("conditions") or []
    return {item["type"]: (item["status"], item["reason"], item["message"]) for item in listed}


READY = {"Ready": ("True", "ClusterReady", "/healthz responded with ok")}
OFFLINE = {"Offline": ("True", "ClusterNotReachable", "cluster is not reachable")}


def without_the_controller(host, wait_for):
    """Stop what stores again, with each look, what the join has stored."""
    host.scale("ks-controller-manager", 0)
    pods = [item["metadata"]["name"] for item in host.objects("pods", "kubesphere-system")]
    (name,) = (pod for pod in pods if pod.startswith("ks-controller-manager"))
    wait_for(lambda: name not in [item["metadata"]["name"] for item in host.objects("pods", "kubesphere-system")])


@pytest.fixture
def start(simulate):
    """Start a host with a member that is joined as m1, and kubefed that looks four times a second."""

    def begin(**member):
        members = [{"name": "m1", **JOINED, **member}]
        return tuple(simulate(timing={"resync": 1}, host={"role": "host"}, members=members).clusters.values())

    return begin


@pytest.mark.parametrize("connection", ["direct", "proxy"])
def test_members_that_answer_are_ready(start, wait_for, connection):
    host, _ = start(connection=connection)
    wait_for(lambda: conditions_of(host, "host") == conditions_of(host, "m1") == READY)


def test_a_member_out_of_reach_is_offline(start, wait_for):
    host, _ = start(reachable=False)
    wait_for(lambda: conditions_of(host, "m1") == OFFLINE)
    assert conditions_of(host, "host") == READY


def test_a_member_that_was_ready_is_given_up_after_some_failures_and_comes_back(start, wait_for):
    host, m1 = start(connection="proxy")
    wait_for(lambda: conditions_of(host, "m1") == READY)
    m1.cut_tunnel(3)
    wait_for(lambda: conditions_of(host, "m1") == OFFLINE)
    wait_for(lambda: conditions_of(host, "m1") == READY)


def test_the_token_of_the_join_is_used_and_not_the_kubeconfig(start, wait_for):
    host, _ = start()
    wait_for(lambda: conditions_of(host, "m1") == READY)
    without_the_controller(host, wait_for)
    host.edit("secrets", "m1-secret", {"data": {"token": "bm90IGEgdG9rZW4="}}, FEDERATION)
    wait_for(lambda: conditions_of(host, "m1") == OFFLINE)


def test_what_the_join_has_stored_may_be_gone(start, wait_for):
    host, _ = start()
    without_the_controller(host, wait_for)
    host.edit("kubefedclusters", "m1", {"spec": {"secretRef": {"name": "gone"}}}, FEDERATION)
    malformed = ("True", "ClusterConfigMalformed", "cluster's configuration may be malformed")
    wait_for(lambda: conditions_of(host, "m1") == {"ConfigMalformed": malformed})


@pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])
def test_a_run_as_a_host_has_users_and_workspaces_federated(simulate, wait_for, kubesphere):
    host = simulate(kubesphere=kubesphere).clusters["host"]
    patch = {"spec": {"multicluster": {"clusterRole": "host"}}}
    host.edit("clusterconfigurations", "ks-installer", patch, "kubesphere-system")

    def states():
        found = host.objects("federatedtypeconfigs", FEDERATION)
        return {item["metadata"]["name"]: item.get("status", {}).get("propagationController") for item in found}

    wait_for(lambda: states() == {"users.iam.kubesphere.io": "Running", "workspaces.tenant.kubesphere.io": "Running"})
    federated = host.object("federatedtypeconfigs", "users.iam.kubesphere.io", FEDERATION)["spec"]
    assert (federated["propagation"], federated["federatedType"]["kind"]) == ("Enabled", "FederatedUser")
