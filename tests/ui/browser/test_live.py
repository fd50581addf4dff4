"""From the login to a joined member, in a browser, on a live Airflow with simulated clusters."""

import json

import pytest
import yaml

from include.demo.airflow import LocalAirflow
from include.simulator.simulation import Simulation
from tests.joins import evidence

JOINED = {"role": "member", "secret": "host"}
SCENARIO = {
    "timing": {"queue": 0.1, "run": 2, "reload": 0.3, "sync": 0.1, "resync": 1, "kubelet": 0.05},
    "host": {"role": "host", "load_balancer": "139.198.110.23", "proxy_address": "http://139.198.110.23:8080"},
    "members": [
        {"name": "m1", "joined": "m1", **JOINED},
        {"name": "m2"},
        {"name": "p1", "joined": "p1", "connection": "proxy", **JOINED},
    ],
}
SETTINGS = {
    "POLL": 0.5,
    "SLOW_POLL": 1,
    "FAILED_AFTER": 2,
    "QUIET": 3,
    "INLINE_WAIT": 20,
    "ACCEPTANCE": 6,
    "RECONCILE_SCHEDULE": "0 0 1 1 *",
}


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    with Simulation(SCENARIO, directory=tmp_path_factory.mktemp("clusters")) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(simulation, tmp_path_factory):
    """Airflow with an inventory of all three; m2 is paused there, so that nobody but us joins it."""
    declared = tmp_path_factory.mktemp("inventory") / "fleet.yaml"
    members = [
        {"cluster": name, "member_conn_id": name, "member_server": simulation.clusters[name].pod_server}
        for name in ("m1", "m2")
    ]
    members[1]["paused"] = True
    members.append({"cluster": "p1", "member_conn_id": "p1", "connection": "proxy"})
    hosts = [{"name": "europe", "host_conn_id": "host", "members": members}]
    declared.write_text(yaml.safe_dump({"version": 1, "hosts": hosts}))
    environment = {f"AIRFLOW__FLEET__{name}": str(value) for name, value in SETTINGS.items()}
    environment["AIRFLOW__FLEET__INVENTORY"] = str(declared)
    home = tmp_path_factory.mktemp("airflow")
    with LocalAirflow(home, port=0, connections=simulation.connections, environment=environment) as running:
        running.await_dag("reconcile_fleet")
        running.await_dag("join_member_cluster")
        yield running


def test_somebody_signs_in_sees_what_is_missing_joins_it_and_sees_it_healthy(airflow, simulation, visit, picture):
    seen = visit(airflow.url)
    page = seen.page
    page.goto(airflow.url)
    page.locator("input[name=username]").fill(airflow.username)
    page.locator("input[name=password]").fill(airflow.password)
    page.locator("button[type=submit]").click()
    page.get_by_text("Fleet", exact=True).click()
    frame = seen.frame()
    if frame.locator(".empty").count():
        frame.locator(".empty").get_by_role("button", name="Reconcile now").click()
        frame.locator("dialog").get_by_role("button", name="Reconcile").click()
        frame.locator("dialog").get_by_role("button", name="Close").click()
    row = frame.locator("tr.row", has=frame.get_by_role("button", name="m2", exact=True))
    row.locator(".badge.paused").wait_for(timeout=90_000)
    assert "Paused in the inventory. The host has no Cluster m2." in row.inner_text()
    picture(page, "live-before")
    row.click()
    frame.locator(".detail").get_by_role("button", name="Join", exact=True).click()
    form = frame.locator("dialog")
    assert form.locator("#field-member_server").input_value() == simulation.clusters["m2"].pod_server
    form.get_by_role("button", name="Join", exact=True).click()
    form.get_by_role("button", name="Close").click()
    row.locator(".badge.joining").wait_for()
    frame.locator(".timeline li", has_text="wait_installer").wait_for(timeout=60_000)
    picture(page, "live-joining")
    row.locator(".badge.healthy").wait_for(timeout=180_000)
    picture(page, "live-after")
    evidence.assert_joined(simulation, name="m2", member="m2")


def test_no_secret_of_a_cluster_is_sent_to_the_page(airflow, simulation):
    sent = airflow.client.get("/fleet/data").raise_for_status().text
    for name in ("m1", "m2", "p1"):
        asked = {"host": "europe", "cluster": name}
        sent += airflow.client.get("/fleet/member", params=asked).raise_for_status().text
    secrets = [secret for cluster in simulation.clusters.values() for secret in cluster.secrets()]
    assert len(secrets) > 10
    assert not [secret[:6] for secret in secrets if secret in sent or json.dumps(secret)[1:-1] in sent]
