"""What an earlier membership has left on a member, and what comes of it when the member is joined."""

import kubernetes
import pytest

FEDERATION = "kube-federation-system"


def test_an_earlier_membership_has_left_its_accounts_with_a_token_that_works(simulate, wait_for):
    member = simulate(members=[{"name": "m1", "left": {"accounts": ["old"], "cluster_name": "old"}}]).clusters["m1"]
    account = member.object("serviceaccounts", "old-kubesphere", FEDERATION)
    secret = member.object("secrets", account["secrets"][0]["name"], FEDERATION)
    assert secret["type"] == "kubernetes.io/service-account-token"
    assert member.object("clusterroles", "kubefed-controller-manager:old-kubesphere")
    assert member.object("clusterrolebindings", "kubefed-controller-manager:old-kubesphere")
    config = member.object("configmaps", "kubesphere-config", "kubesphere-system")["data"]["kubesphere.yaml"]
    assert "clusterName: old" in config


def test_accounts_that_are_left_do_not_hinder_a_join(simulate, create, wait_for, conditions):
    simulation = simulate(host={"role": "host"}, members=[{"name": "m1", "left": {"accounts": ["m1", "old"]}}])
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")


@pytest.mark.parametrize("installed", [True, False])
def test_a_namespace_that_never_goes_hinders_it(simulate, create, reason, connect, installed):
    simulation = simulate(
        host={"role": "host"},
        members=[
            {
                "name": "m1",
                "installed": installed,
                "left": {"accounts": ["old"], "namespace_terminating": True},
            }
        ],
    )
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    assert "unable to create new content in namespace kube-federation-system because it is being termi" in (
        reason(host, "m1")
    )
    found = kubernetes.client.CoreV1Api(connect(member)).read_namespace(FEDERATION)
    assert found.status.phase == "Terminating"
    assert found.status.conditions[0].type == "NamespaceFinalizersRemaining"


def test_a_workspace_that_the_host_has_placed_elsewhere_hinders_it(simulate, create, reason):
    simulation = simulate(
        host={"role": "host", "workspaces": {"dev": ["m2"], "ops": ["m1"]}},
        members=[{"name": "m1", "left": {"workspaces": ["dev", "ops"]}}],
    )
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    assert reason(host, "m1") == (
        "The workspace dev is found in the target member cluster m1, which is conflict with the workspace on host"
    )


def test_a_workspace_of_which_the_host_knows_nothing_does_not(simulate, create, wait_for, conditions):
    simulation = simulate(
        host={"role": "host", "workspaces": {"ops": ["m1"]}},
        members=[{"name": "m1", "left": {"workspaces": ["dev", "ops"]}}],
    )
    host, member = simulation.clusters.values()
    create(host, "m1", member.kubeconfig("admin", server=member.pod_server))
    wait_for(lambda: conditions(host.object("clusters", "m1")).get("Ready") == "True")
