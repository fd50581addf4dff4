"""Joins during which a cluster goes away for a while: its server, its history, its credentials, its configuration.

Played in this process without Airflow, as the chaos sweep does. Every join here has to end as if nothing had happened.
"""

import asyncio
import json
import os
import time

import pytest
from kubernetes import client, config

from include.fleet import errors, join, kubesphere, settings
from include.simulator.disturbances import Act, Disturbance, Moment, Stall
from tests.chaos import cases
from tests.joins import evidence

SYSTEM = "kubesphere-system"
CONFIGURATION = ("clusterconfigurations", "ks-installer")
FORCED = "patch deployments ks-installer"
CLUSTERS = ("host", "m1")


@pytest.fixture
def stage():
    with cases.Stage("direct") as running:
        yield running


def at_installer(stage, name, *, verb, resource, kind):
    """Have something happen to the next such request of the installer of a cluster."""
    disturbance = Disturbance(
        matches=lambda call: call.user.endswith(":ks-installer") and (call.verb, call.resource) == (verb, resource),
        kind=kind,
    )
    stage.simulation.clusters[name].disturb(disturbance)
    return disturbance


def during_run(stage, name, function, *, moment=Moment.ANSWERED):
    """Call a function in the middle of the installer's run: when it writes its first status."""
    return at_installer(
        stage, name, verb="patch", resource=CONFIGURATION[0], kind=Act(function=lambda _: function(), moment=moment)
    )


def mark_older(cluster):
    """Have the next run of the installer delete the ClusterConfiguration and make it anew (kubesphere-facts 2.3)."""
    cluster.edit(*CONFIGURATION, {"status": {"core": {"version": None}}}, SYSTEM)


def identity_of(cluster):
    return cluster.object(*CONFIGURATION, SYSTEM)["metadata"]["uid"]


def is_away(cluster):
    return not cluster.objects(CONFIGURATION[0], SYSTEM)


def missed(cluster):
    """The requests of the join for a ClusterConfiguration that was not there."""
    return [
        entry
        for entry in cluster.audit()
        if cases.mine(entry) and entry.resource == CONFIGURATION[0] and entry.verb == "get" and entry.code == 404
    ]


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_run_that_dies_silently_with_its_api_server_is_forced_once(stage, name):
    """The hook takes kubectl's failure for its end and exits with 0 (kubesphere-facts 2.3)."""
    cluster = stage.simulation.clusters[name]
    restart = during_run(stage, name, lambda: cluster.restart_server(1.5), moment=Moment.ARRIVED)
    stage.play()
    assert restart.met
    evidence.assert_joined(stage.simulation)
    assert evidence.writes(cluster).count(FORCED) == 1


def test_a_join_goes_on_when_the_history_of_both_clusters_is_compacted_during_the_wait(stage):
    compacted = [during_run(stage, name, stage.simulation.clusters[name].compact) for name in CLUSTERS]
    stage.play()
    assert all(each.met for each in compacted)
    evidence.assert_joined(stage.simulation)
    for cluster in stage.simulation.clusters.values():
        assert FORCED not in evidence.writes(cluster)


def test_credentials_that_are_renewed_during_the_wait_are_read_again(stage):
    """The host's from a file, the member's from the connection itself, as a secrets backend returns it."""

    def renew():
        for name in CLUSTERS:
            stage.simulation.renew_credential(name)
        os.environ["AIRFLOW_CONN_M1"] = json.dumps(stage.simulation.connections["m1"])

    renewal = during_run(stage, "m1", renew)
    stage.play()
    assert renewal.met
    evidence.assert_joined(stage.simulation)
    for role in ("host", "member"):
        assert any(f"The {role} cluster" in said and "refuses the credential" in said for said in stage.said)
    for cluster in stage.simulation.clusters.values():
        assert FORCED not in evidence.writes(cluster)


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_join_goes_on_when_its_own_patch_has_the_configuration_made_anew(stage, name):
    cluster = stage.simulation.clusters[name]
    mark_older(cluster)
    before = identity_of(cluster)
    held = at_installer(
        stage, name, verb="create", resource=CONFIGURATION[0], kind=Stall(seconds=1, moment=Moment.ARRIVED)
    )
    stage.play()
    assert held.met
    assert identity_of(cluster) != before
    evidence.assert_joined(stage.simulation)
    assert FORCED not in evidence.writes(cluster)


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_join_that_begins_while_the_configuration_is_made_anew_waits_for_it(stage, name):
    """Another join of the same host has begun just before: what it has patched is what the installer works on."""
    cluster = stage.simulation.clusters[name]
    mark_older(cluster)
    seen = Act(function=lambda _: evidence.wait_for(lambda: missed(cluster)), moment=Moment.ARRIVED)
    held = at_installer(stage, name, verb="create", resource=CONFIGURATION[0], kind=seen)
    role = kubesphere.HOST if name == "host" else kubesphere.MEMBER
    cluster.edit(*CONFIGURATION, {"spec": {"multicluster": {"clusterRole": role}}}, SYSTEM)
    evidence.wait_for(lambda: is_away(cluster))
    stage.play()
    assert held.met
    evidence.assert_joined(stage.simulation)


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_is_asked_for_is_asked_again_when_the_installer_makes_the_configuration_anew_without_it(stage, name):
    """The installer has read the object before the patch, and deletes it afterwards."""
    cluster = stage.simulation.clusters[name]
    mark_older(cluster)
    patched = f"patch {' '.join(CONFIGURATION)}"
    asked = Act(
        function=lambda _: evidence.wait_for(lambda: patched in evidence.writes(cluster)), moment=Moment.ARRIVED
    )
    held = at_installer(stage, name, verb="delete", resource=CONFIGURATION[0], kind=asked)
    cluster.edit(*CONFIGURATION, {"spec": {"monitoring": {"storageClass": "other"}}}, SYSTEM)
    stage.play()
    assert held.met
    evidence.assert_joined(stage.simulation)
    assert evidence.writes(cluster).count(patched) == 2


@pytest.fixture(scope="module")
def away():
    """Clusters whose installer is there, and whose ClusterConfiguration is not."""
    with cases.Stage("direct") as running:
        for name in CLUSTERS:
            cluster = running.simulation.clusters[name]
            with config.new_client_from_config_dict(cluster.kubeconfig("admin")) as api:
                client.CustomObjectsApi(api).delete_namespaced_custom_object(
                    "installer.kubesphere.io", "v1alpha1", SYSTEM, *CONFIGURATION
                )
        yield running


def run_step(stage, step):
    return asyncio.run(join.run(step, stage.conf, limits=settings.Settings(), attempt="r/1", started=time.time()))


@pytest.mark.parametrize(
    "step", ["preflight", "fetch_jwt", "configure_host", "configure_member", "wait_agent_ready", "verify_join"]
)
def test_a_step_that_needs_a_configuration_which_is_made_anew_is_tried_again(away, step):
    with pytest.raises(errors.UnavailableError, match="made anew"):
        run_step(away, step)


def test_without_an_installer_a_missing_configuration_means_that_kubesphere_is_not_installed(stage):
    host = stage.simulation.clusters["host"]
    with config.new_client_from_config_dict(host.kubeconfig("admin")) as api:
        client.AppsV1Api(api).delete_namespaced_deployment("ks-installer", SYSTEM)
        client.CustomObjectsApi(api).delete_namespaced_custom_object(
            "installer.kubesphere.io", "v1alpha1", SYSTEM, *CONFIGURATION
        )
    with pytest.raises(errors.PreflightError, match="not installed"):
        run_step(stage, "preflight")
