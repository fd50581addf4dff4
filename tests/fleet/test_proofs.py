"""Which cluster a name leads to, told by who goes there; on clusters whose own word stays the same."""

import asyncio
import base64
import json
import time

import pytest
import yaml

from include.fleet import clusters, errors, journal, kubesphere, membership, proofs, settings, tunnel
from include.simulator.simulation import Simulation
from tests.joins import evidence

LIMITS = settings.Settings(connect_timeout=2, request_timeout=5, quiet=0, failed_after=0)
TIMING = {"queue": 0.05, "run": 0.3, "reload": 0.1, "sync": 0.05, "resync": 60, "kubelet": 0.05}
JOINED = {"role": "member", "secret": "host"}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a host with two members that are joined as m1 and m2; returns their clusters."""
    running = []

    def begin(*, connection="proxy", kubesphere="v3.4.1", forbid=()):
        scenario = {
            "kubesphere": kubesphere,
            "timing": TIMING,
            "host": {"role": "host", "forbid": [{"verb": "get", "resource": resource} for resource in forbid]},
            "members": [{"name": name, "joined": name, "connection": connection, **JOINED} for name in ("m1", "m2")],
        }
        simulation = Simulation(scenario, directory=tmp_path)
        simulation.__enter__()
        running.append(simulation)
        for conn_id, content in simulation.connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(content))
        found = tuple(simulation.clusters.values())
        # The host's controller has looked at all, and does not again for a minute.
        evidence.wait_for(lambda: all(item["status"].get("configz") for item in found[0].objects("clusters")))
        time.sleep(0.5)
        return found

    yield begin
    for simulation in running:
        simulation.__exit__(None, None, None)


def uid(cluster):
    return cluster.object("namespaces", "kube-system")["metadata"]["uid"]


def cross(host, *, name, other):
    """Let the Service of a member lead where that of another one leads; its Cluster does not notice."""
    ports = host.object("services", f"mc-{other}", "kubesphere-system")["spec"]["ports"]
    host.edit("services", f"mc-{name}", {"spec": {"ports": ports}}, "kubesphere-system")


def behind(name="m1"):
    async def run():
        async with clusters.connect("host", role="host", limits=LIMITS) as host:
            return await proofs.behind(host, name)

    return asyncio.run(run())


def look(member, *, release="3.4"):
    """Look once for the proofs of m1; returns the look, and what was pending."""

    async def run():
        async with (
            clusters.connect("host", role="host", limits=LIMITS) as host,
            clusters.connect("m1", role="member", limits=LIMITS) as reached,
        ):
            who = membership.Membership(
                host=host,
                member=reached,
                name="m1",
                uid=uid(member),
                resync=60,
                release=kubesphere.RELEASES[release],
                limits=LIMITS,
            )
            looking = proofs.ProofLook(who)
            pending = await looking.look()
            return looking, pending

    return asyncio.run(run())


def refusal(member, *, release):
    """Look until what was crossed is in force, and return why the proof is refused then."""
    for _ in range(50):
        try:
            look(member, release=release)
        except errors.VerificationError as error:
            return str(error)
    raise AssertionError("it was not refused")


def wait_for_answers(name="m1"):
    for _ in range(100):
        found = behind(name)
        if "forwarded returned it" in found.evidence:
            return found
    raise AssertionError(found)


@pytest.mark.parametrize("kubesphere", ["v3.4.1", "v3.0.0"])
def test_a_name_leads_to_who_answers_a_forwarded_request(start, kubesphere):
    host, m1, m2 = start(kubesphere=kubesphere)
    assert wait_for_answers().uid == uid(m1)
    cross(host, name="m1", other="m2")
    assert any(behind().uid == uid(m2) for _ in range(50))
    forwarded = "a request that the host's ks-apiserver forwarded returned it"
    assert behind() == proofs.Behind(uid(m2), forwarded, answers=True)


def test_where_nothing_can_be_forwarded_the_hosts_own_word_is_told_with_its_time(start):
    host, m1, _ = start(forbid=["services/proxy"])
    found = behind()
    assert found.uid == uid(m1)
    conditions = host.object("clusters", "m1")["status"]["conditions"]
    (updated,) = (item["lastUpdateTime"] for item in conditions if item["type"] == "Ready")
    assert updated in found.evidence
    assert "may not get services/proxy" in found.evidence


def test_of_a_name_that_nobody_tells_anything_about_nothing_is_said(start):
    start(forbid=["services/proxy"], kubesphere="v3.0.0")
    assert behind().uid == ""
    assert "may not get services/proxy" in behind().evidence
    assert behind("other") == proofs.Behind("", behind("other").evidence)
    assert behind("other").evidence.startswith("there is no Cluster other")


@pytest.mark.parametrize("release", ["3.4", "3.0"])
def test_the_proof_refuses_a_member_whose_requests_reach_another(start, release):
    host, m1, m2 = start(kubesphere={"3.4": "v3.4.1", "3.0": "v3.0.0"}[release])
    wait_for_answers()
    cross(host, name="m1", other="m2")
    said = refusal(m1, release=release)
    assert uid(m2) in said
    assert "kubernetesAPIServerPort" in said


def test_the_service_that_stands_for_another_member_is_refused(start):
    host, m1, m2 = start(kubesphere="v3.0.0", forbid=["secrets"])
    looking, pending = look(m1, release="3.0")
    assert (pending, looking.identity) == (None, proofs.Identity.SERVICE)
    cross(host, name="m1", other="m2")
    said = refusal(m1, release="3.0")
    assert said.startswith("Service mc-m1 of the host leads to another cluster")
    assert uid(m2) in said


def import_kubeconfig(host, cluster):
    """Put a kubeconfig that Airflow can use into Cluster m1; on 3.0 its conditions stay."""
    text = yaml.safe_dump(cluster.kubeconfig("admin"))
    encoded = base64.b64encode(text.encode()).decode()
    host.edit("clusters", "m1", {"spec": {"connection": {"kubeconfig": encoded}}})


def test_the_kubeconfig_that_the_host_has_is_followed(start):
    host, m1, m2 = start(kubesphere="v3.0.0", connection="direct", forbid=["services/proxy"])
    import_kubeconfig(host, m1)
    looking, pending = look(m1, release="3.0")
    assert (pending, looking.identity) == (None, proofs.Identity.KUBECONFIG)
    import_kubeconfig(host, m2)
    with pytest.raises(errors.VerificationError, match=f"kubeconfig in Cluster m1 leads to another .*{uid(m2)}"):
        look(m1, release="3.0")


def test_a_token_that_is_not_the_members_proves_nothing(start):
    host, m1, _ = start(kubesphere="v3.0.0", connection="direct", forbid=["services/proxy"])
    looking, pending = look(m1, release="3.0")
    assert (pending, looking.identity) == (None, proofs.Identity.TOKENS)
    other = host.object("secrets", "m2-secret", "kube-federation-system")["data"]
    host.edit("secrets", "m1-secret", {"data": other}, "kube-federation-system")
    looking, pending = look(m1, release="3.0")
    assert looking.identity is None
    assert "is not that of serviceaccounts/m1-kubesphere in kube-federation-system of the member" in pending.seen


def test_a_port_that_is_shared_by_a_connected_member_is_told_and_left(start):
    host, *_ = start()
    connection = host.object("clusters", "m2")["spec"]["connection"]
    port = connection["kubernetesAPIServerPort"]
    host.edit("clusters", "m1", {"spec": {"connection": {"kubernetesAPIServerPort": port}}})

    async def run():
        async with clusters.connect("host", role="host", limits=LIMITS) as reached:
            return await tunnel.part_ports(reached, "m1", changes=journal.Journal(), last=False)

    again, told = asyncio.run(run())
    assert not again
    assert told[0].startswith(f"Clusters m1 and m2 share tower's port {port}")
