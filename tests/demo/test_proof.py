import pytest

from include.demo import proof
from include.simulator.simulation import Simulation

SCENARIO = {
    "kubesphere": "v3.4.1",
    "timing": {"queue": 0, "run": 0, "reload": 0.1, "sync": 0.05, "kubelet": 0.05},
    "host": {"role": "host"},
    "members": [{"name": "m1", "role": "member", "secret": "host", "joined": "m1"}, {"name": "m2"}],
}


@pytest.fixture(scope="module")
def clusters(tmp_path_factory):
    directory = tmp_path_factory.mktemp("clusters")
    with Simulation(SCENARIO, directory=directory):
        yield directory


def claims(clusters, *, cluster):
    return proof.claims(
        cluster, host=clusters / "host.admin.kubeconfig", member=clusters / f"{cluster}.admin.kubeconfig"
    )


def test_of_a_joined_member_all_claims_hold(clusters):
    assert [claim.holds for claim in claims(clusters, cluster="m1")] == [True] * 4


def test_of_a_cluster_that_knows_nothing_of_the_host_no_claim_holds(clusters):
    found = claims(clusters, cluster="m2")
    assert [claim.holds for claim in found] == [False] * 4
    assert found[0].evidence == "cannot be read: 404 Not Found"


def test_the_evidence_shows_no_secret(clusters):
    """People paste what the demo prints; a fingerprint compares as well."""
    with proof.config.new_client_from_config(str(clusters / "m1.admin.kubeconfig")) as member:
        secret = str(proof._configuration(member)["authentication"]["jwtSecret"])
    assert not any(secret in claim.evidence for claim in claims(clusters, cluster="m1"))
