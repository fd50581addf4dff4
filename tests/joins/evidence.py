"""What the clusters themselves show after a run; what the DAG says does not count."""

import base64
import time

import yaml
from kubernetes import client, config

from include.simulator import resources


def wait_for(happened, *, seconds=30):
    """Wait until something holds; it never takes as long as this."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def config_of(cluster):
    return yaml.safe_load(
        cluster.object("configmaps", "kubesphere-config", "kubesphere-system")["data"]["kubesphere.yaml"]
    )


def secret_of(cluster):
    return config_of(cluster)["authentication"]["jwtSecret"]


def is_ready(cluster):
    conditions = cluster.get("status", {}).get("conditions", [])
    return {item["type"]: item["status"] for item in conditions}.get("Ready") == "True"


def writes(cluster):
    """What the run wrote, but for dry runs and the Leases that it holds meanwhile.

    Its user is not enough: the host's controller uses the credential that it was given.
    """
    sent = [entry for entry in cluster.writes(user="airflow") if entry.agent.startswith("join-member-cluster")]
    entries = [entry for entry in sent if entry.resource != "leases" and "dryRun=All" not in entry.path]
    return [f"{entry.verb} {entry.resource} {entry.name}" for entry in entries]


def everything(cluster):
    """All objects of a simulated cluster, by kind, namespace and name."""
    return {
        (kind.plural, item["metadata"].get("namespace"), item["metadata"]["name"]): item
        for kind in resources.ALL
        for item in cluster.objects(kind.plural)
    }


def before_join(cluster):
    return decoded(cluster, "before-join")


def decoded(cluster, secret):
    data = cluster.object("secrets", secret, "kubesphere-system")["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def role_of(cluster):
    """The role in force; up to 3.2 it is not named."""
    config = config_of(cluster)
    multicluster = config.get("multicluster", {})
    if "clusterRole" in multicluster:
        return multicluster["clusterRole"]
    if multicluster.get("enable"):
        return "host"
    return "member" if config["authentication"].get("oauthOptions", {}).get("accessTokenMaxAge") == 0 else "none"


def delete(cluster, name):
    """Delete a Cluster as a person in the dashboard does."""
    with config.new_client_from_config_dict(cluster.kubeconfig("admin")) as api:
        client.CustomObjectsApi(api).delete_cluster_custom_object("cluster.kubesphere.io", "v1alpha1", "clusters", name)


def assert_joined(simulation, *, name="m1", member="m1", identity=True):
    """Compare both clusters as a person with kubectl would; up to 3.2 the host tells no *identity*."""
    host, joined = simulation.clusters["host"], simulation.clusters[member]
    cluster = host.object("clusters", name)
    assert is_ready(cluster), cluster["status"]["conditions"]
    if identity:
        assert cluster["status"]["uid"] == joined.object("namespaces", "kube-system")["metadata"]["uid"]
    assert secret_of(host) == secret_of(joined)
    assert role_of(host) == "host"
    assert role_of(joined) == "member"


def assert_no_secret(run, simulation):
    for cluster in simulation.clusters.values():
        for secret in cluster.secrets():
            assert secret not in run.output
            assert secret not in str(run.reports)
