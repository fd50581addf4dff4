"""From the login to a joined member and the report of its join, in a browser, on a live Airflow with 30 members."""

import copy
import datetime
import json

import pytest
import yaml

from include.demo.airflow import LocalAirflow
from include.simulator.simulation import Simulation
from tests.joins import evidence
from tests.reconcile.test_live import JOINED, SETTINGS

# Airflow's own answers on a run have a field that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

HEALTHY = [
    "amsterdam",
    "athens",
    "barcelona",
    "berlin",
    "bern",
    "bratislava",
    "brussels",
    "budapest",
    "copenhagen",
    "dublin",
    "frankfurt",
    "geneva",
    "hamburg",
    "helsinki",
    "lisbon",
    "ljubljana",
    "london",
    "lyon",
    "madrid",
    "milan",
    "munich",
    "oslo",
    "prague",
    "riga",
    "rome",
]
ODD = {
    "sofia": {},  # nobody has joined it, and it is paused: we do
    "stockholm": {"joined": "stockholm", **JOINED},  # Airflow does not reach it
    "tallinn": {"joined": "tallinn", **JOINED},  # its connection leads to another cluster
    "vienna": {"kubesphere": "v3.0.0"},  # cannot be joined to a host of 3.4
    "vilnius": {"joined": "vilnius", "role": "none"},  # is joined, has lost its role, and is paused
    "warsaw": {"joined": "warsaw", **JOINED},  # nobody has declared it
}
COUNTS = {"failed": 1, "unreachable": 1, "drifted": 1, "paused": 2, "undeclared": 1, "healthy": 25}
PROVIDER = "Own data centre"
TOWER = {"load_balancer": "139.198.110.23", "proxy_address": "http://139.198.110.23:8080"}


def proxied(name):
    return len(name) > 6 and name in HEALTHY


def members():
    healthy = {name: {"joined": name, **JOINED} for name in HEALTHY}
    proxy = {name: {"connection": "proxy"} for name in HEALTHY if proxied(name)}
    return [{"name": name, **given, **proxy.get(name, {})} for name, given in (healthy | ODD).items()]


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    timing = {"queue": 0.1, "run": 2, "reload": 0.3, "sync": 0.5, "resync": 20, "kubelet": 0.1}
    scenario = {"timing": timing, "host": {"role": "host", **TOWER}, "members": members()}
    with Simulation(scenario, directory=tmp_path_factory.mktemp("clusters")) as running:
        for cluster in running.clusters["host"].objects("clusters"):
            name = cluster["metadata"]["name"]
            if name != "host":
                running.clusters["host"].edit("clusters", name, as_declared(name))
        yield running


def description(name):
    return f"Stores of line {len(name) % 5 + 1}"


def as_declared(name):
    """What the console would have written of what the inventory says of a member."""
    labels = {"cluster.kubesphere.io/group": "production"}
    annotations = {"kubesphere.io/description": description(name)}
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": {"provider": PROVIDER}}


def declared(simulation):
    """The inventory: 30 members, each with what a person would write."""
    found = []
    for name in sorted([*HEALTHY, *ODD]):
        if name == "warsaw":
            continue
        given = {"cluster": name, "member_conn_id": name}
        if name != "sofia":
            given["description"] = description(name)
        if proxied(name):
            given["connection"] = "proxy"
        else:
            given["member_server"] = simulation.clusters[name].pod_server
        found.append(given | ({"paused": True} if name in ("sofia", "vilnius") else {}))
    defaults = {"group": "production", "provider": PROVIDER}
    host = {"name": "europe", "host_conn_id": "host", "console": "https://console.example.com"}
    return {"version": 1, "defaults": defaults, "hosts": [{**host, "members": found}]}


def connections(simulation):
    found = copy.deepcopy(dict(simulation.connections))
    (cluster,) = found["stockholm"]["extra"]["kube_config"]["clusters"]
    cluster["cluster"]["server"] = "https://127.0.0.1:9"
    found["tallinn"] = found["warsaw"]
    return found


@pytest.fixture(scope="module")
def airflow(simulation, tmp_path_factory):
    path = tmp_path_factory.mktemp("inventory") / "fleet.yaml"
    path.write_text(yaml.safe_dump(declared(simulation)))
    environment = {f"AIRFLOW__FLEET__{name}": str(value) for name, value in SETTINGS.items()}
    environment["AIRFLOW__FLEET__INVENTORY"] = str(path)
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=12)
    environment["AIRFLOW__FLEET__RECONCILE_SCHEDULE"] = f"{later.minute} {later.hour} * * *"
    home = tmp_path_factory.mktemp("airflow")
    with LocalAirflow(home, port=0, connections=connections(simulation), environment=environment) as running:
        running.await_dag("reconcile_fleet")
        running.await_dag("join_member_cluster")
        yield running


@pytest.fixture
def seen(visit, airflow):
    """Somebody who has signed in by Airflow's own form."""
    made = visit(airflow.url)
    page = made.page
    page.goto(airflow.url)
    page.locator("input[name=username]").fill(airflow.username)
    page.locator("input[name=password]").fill(airflow.password)
    page.locator("button[type=submit]").click()
    page.get_by_test_id("nav-sidebar").get_by_role("link", name="Fleet").wait_for()
    return made


def counted(frame):
    """How many members are in which state, as the buttons say."""
    texts = [text.split("\n") for text in frame.locator("#states button").all_inner_texts()]
    return {state: int(count) for count, state in texts}


def reconcile(airflow):
    assert airflow.wait("reconcile_fleet", run_id=airflow.trigger("reconcile_fleet", conf={})) == "success"


def test_thirty_members_are_seen_one_is_found_joined_followed_and_reported(airflow, simulation, seen, picture):
    reconcile(airflow)
    (failing,) = [
        run["dag_run_id"]
        for run in airflow.get("dags/join_member_cluster/dagRuns")["dag_runs"]
        if "vienna" in run["dag_run_id"]
    ]
    assert airflow.wait("join_member_cluster", run_id=failing) == "failed"
    reconcile(airflow)

    seen.page.goto(airflow.url)
    card = seen.page.locator("#fleet-card")
    assert card.locator("[data-state=healthy]").inner_text().split("\n")[0] == "25"
    picture.everywhere(seen.page, "home")
    frame = seen.navigate()
    frame.locator("#only-failed").wait_for()
    assert counted(frame) == COUNTS
    assert frame.locator("#shown").inner_text() == "31 members"
    why = frame.locator("tr.row", has_text="vienna").locator(".of-why").inner_text()
    assert why.startswith("Preflight stopped the join of vienna, nothing was written: member-version: The host runs")
    picture.everywhere(seen.page, "fleet")

    frame.locator("#only-paused").click()
    assert frame.locator(".opener").all_inner_texts() == ["sofia", "vilnius"]
    frame.locator("#search").fill("sofia")
    assert frame.locator(".opener").all_inner_texts() == ["sofia"]
    frame.locator("#only-paused").click()
    row = frame.locator("tr.row", has=frame.get_by_role("button", name="sofia", exact=True))
    assert "Paused in the inventory. The host has no Cluster sofia." in row.inner_text()

    row.click()
    frame.locator(".detail").get_by_role("button", name="Join", exact=True).click()
    form = frame.locator("dialog")
    assert form.locator("#field-member_server").input_value() == simulation.clusters["sofia"].pod_server
    form.get_by_text("Shown in the KubeSphere console", exact=True).click()
    form.locator("#field-description").fill("Stores of line 9")
    picture.everywhere(seen.page, "form")
    form.get_by_role("button", name="Join", exact=True).click()
    form.get_by_role("button", name="Close").click()

    row.locator(".badge.joining").wait_for()
    frame.locator(".timeline li", has_text="wait_installer").wait_for(timeout=90_000)
    row.locator(".badge.healthy").wait_for(timeout=240_000)
    picture.everywhere(seen.page, "row")
    evidence.assert_joined(simulation, name="sofia", member="sofia")
    cluster = simulation.clusters["host"].object("clusters", "sofia")
    assert cluster["metadata"]["annotations"]["kubesphere.io/description"] == "Stores of line 9"

    frame.locator(".detail").get_by_role("link", name="Report").click()
    report = seen.page.frame_locator("iframe[title=Report]")
    report.locator(".outcome").wait_for()
    assert report.locator("h1").inner_text() == "Join of sofia, host europe"
    assert (
        "sofia is joined to its host, and that is proven: joined by this run."
        in report.locator(".outcome").inner_text()
    )
    assert "role none → member" in report.locator("#report").inner_text()
    assert f"started by {airflow.username}" in report.locator("#about").inner_text()
    picture.everywhere(seen.page, "report")
    # In a narrow window Airflow's own page leaves no room for a tab, but the report can be opened on its own.
    seen.page.goto(next(each.url for each in seen.page.frames if "/fleet/run" in each.url))
    seen.page.locator(".outcome").wait_for()
    picture.everywhere(seen.page, "report-alone")


def test_the_report_of_the_join_that_failed_says_why(airflow, seen, picture):
    (failing,) = [
        run["dag_run_id"]
        for run in airflow.get("dags/join_member_cluster/dagRuns")["dag_runs"]
        if "vienna" in run["dag_run_id"]
    ]
    report = seen.report("join_member_cluster", failing)
    assert "preflight has failed." in report.locator(".outcome").inner_text()
    assert "v3.0.0" in report.locator("#report").inner_text()
    assert report.get_by_role("link", name="The log of preflight", exact=True).count() == 1
    picture.everywhere(seen.page, "report-failed")


def test_no_secret_of_a_cluster_is_sent_to_a_page(airflow, simulation):
    sent = airflow.client.get("/fleet/data").raise_for_status().text
    for name in [*HEALTHY, *ODD]:
        sent += airflow.client.get("/fleet/member", params={"host": "europe", "cluster": name}).raise_for_status().text
    for dag_id in ("join_member_cluster", "reconcile_fleet"):
        for run in airflow.get(f"dags/{dag_id}/dagRuns")["dag_runs"]:
            asked = {"dag_id": dag_id, "run_id": run["dag_run_id"]}
            sent += airflow.client.get("/fleet/report", params=asked).raise_for_status().text
    secrets = [secret for cluster in simulation.clusters.values() for secret in cluster.secrets()]
    assert len(secrets) > 100
    assert not [secret[:6] for secret in secrets if secret in sent or json.dumps(secret)[1:-1] in sent]
