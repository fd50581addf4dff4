"""What the fleet page costs, for a few members and for many. `python -m bench.page` prints it.

Records and runs are put into the database of a live Airflow as its components would have; then the page's data is asked
for as its script asks, by a user that is signed in, and the page is opened in the system's chromium, on its own: in a
frame, Airflow's own page takes its time before.
"""

from __future__ import annotations

import datetime
import json
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import sqlalchemy
from playwright.sync_api import sync_playwright

from include.demo import airflow
from include.fleet import deciding, records

MEMBERS = (30, 1000)
"""So many in turn; the last is the one that counts."""
RATIO_BAR = 15
"""The data of the last costs at most so many times that of the first."""
APPEARS_BAR = 3.0
"""Seconds in which all rows of the last are on the page."""
_ROUNDS = 15
_OPENINGS = 5
_HOSTS = 3
_RECONCILE, _DECIDE = "reconcile_fleet", "decide"


def measure(on: airflow.LocalAirflow) -> dict[str, Any]:
    """Return by number of members the seconds of one answer, its bytes, sent and unpacked, and until all rows appear.

    Seconds are medians. Raises LookupError where there is no chromium, or not all members are shown.
    """
    found = {number: _of(number, on) for number in MEMBERS}
    few, many = (found[number]["seconds"] for number in MEMBERS)
    return {
        "page": {f"{number} members": cost for number, cost in found.items()},
        "members_ratio": round(MEMBERS[-1] / MEMBERS[0], 1),
        "ratio_to_few": round(many / few, 1),
        "appears": found[MEMBERS[-1]]["appears"],
        "holds": many / few <= RATIO_BAR and found[MEMBERS[-1]]["appears"] <= APPEARS_BAR,
    }


def _of(number: int, on: airflow.LocalAirflow) -> dict[str, Any]:
    _remember(number, sqlalchemy.create_engine(on.database_url))
    response = on.client.get("/fleet/data").raise_for_status()
    seconds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        response = on.client.get("/fleet/data").raise_for_status()
        seconds.append(time.perf_counter() - began)
    shown = sum(len(host["members"]) for host in response.json()["hosts"])
    if shown != number:
        raise LookupError(f"the page's data has {shown} members, and not {number}")
    return {
        "seconds": round(statistics.median(seconds), 4),
        "bytes": len(response.content),
        "bytes_sent": response.num_bytes_downloaded,
        "appears": _appears(number, on),
    }


def _appears(number: int, on: airflow.LocalAirflow) -> float:
    """Return the seconds from opening the page until it has a row for each member."""
    path = shutil.which("chromium")
    if path is None:
        raise LookupError("there is no chromium on the PATH; `make test-ui` installs it")
    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(extra_http_headers={"Authorization": on.client.headers["Authorization"]})
        for _ in range(_OPENINGS):
            page = context.new_page()
            began = time.perf_counter()
            page.goto(f"{on.url}/fleet/page")
            page.locator(".row").nth(number - 1).wait_for(state="attached")
            seconds.append(time.perf_counter() - began)
            page.close()
        browser.close()
    return round(statistics.median(seconds), 2)


def _remember(number: int, engine: sqlalchemy.Engine) -> None:
    """Put a record of so many members, and a join of each, where Airflow keeps them."""
    now = datetime.datetime.now(datetime.UTC)
    record = deciding.decide(_observation(number, now), None, deciding.Known(), run_id=f"reconcile-{number}", now=now)
    names = [(host["conn_id"], row["cluster"]) for host in record["hosts"] for row in host["members"]]
    runs = [
        _run(deciding.JOIN_DAG, f"join-{number}-{index}", now, {"cluster": cluster, "host_conn_id": conn_id})
        for index, (conn_id, cluster) in enumerate(names)
    ]
    kept = sqlalchemy.MetaData()
    kept.reflect(engine, only=["dag_run", "task_instance", "xcom"])
    dag_run, task_instance, xcom = (kept.tables[name] for name in ("dag_run", "task_instance", "xcom"))
    of_it = {"dag_id": _RECONCILE, "run_id": record["run_id"], "task_id": _DECIDE}
    with engine.begin() as connection:
        connection.execute(dag_run.insert(), runs)
        reconcile = dag_run.insert().values(_run(_RECONCILE, record["run_id"], now, {})).returning(dag_run.c.id)
        dag_run_id = connection.execute(reconcile).scalar_one()
        task = {
            "id": uuid.uuid4(),
            "state": "success",
            "pool": "default_pool",
            "pool_slots": 1,
            "map_index": -1,
            "try_number": 1,
        }
        connection.execute(task_instance.insert().values(**of_it, **task))
        value = {"key": records.KEY, "value": json.dumps(record), "timestamp": now, "map_index": -1}
        connection.execute(xcom.insert().values(dag_run_id=dag_run_id, **of_it, **value))


def _run(dag_id: str, run_id: str, now: datetime.datetime, conf: dict[str, str]) -> dict[str, Any]:
    times = dict.fromkeys(("queued_at", "start_date", "end_date", "run_after"), now)
    return {"dag_id": dag_id, "run_id": run_id, "state": "success", "run_type": "manual", "conf": conf, **times}


def _observation(number: int, now: datetime.datetime) -> dict[str, Any]:
    """Return what a survey would tell of so many healthy members."""
    hosts = [
        {
            "name": f"host-{at}",
            "conn_id": f"ks_{at}",
            "console": None,
            "error": "",
            "max_joins": 4,
            "prune": False,
            "paused": False,
            "open": True,
            "seconds": 1.0,
            "findings": [],
            "turns": [],
            "undeclared": [],
            "members": [_member(index, f"ks_{at}", now) for index in range(at, number, _HOSTS)],
        }
        for at in range(_HOSTS)
    ]
    told = {"observed_at": records.moment(now), "inventory": "fleet.yaml", "partial": False, "seconds": 1.0}
    return {**told, "hosts": hosts}


def _member(index: int, host: str, now: datetime.datetime) -> dict[str, Any]:
    name = f"member-{index:04}"
    condition = {"status": "True", "reason": "as it is", "since": records.moment(now)}
    return {
        "cluster": name,
        "conf": {"cluster": name, "host_conn_id": host, "member_conn_id": name, "connection": "proxy", "group": "line"},
        "paused": False,
        "drift": [],
        "uid": str(uuid.UUID(int=index)),
        "connection": "proxy",
        "server": "https://10.0.0.1:6443",
        "kubernetes": "v1.26.12",
        "kubesphere": "v3.4.1",
        "nodes": 3,
        "labels": {"cluster.kubesphere.io/group": "line", "site": f"site-{index % 40}"},
        "created": records.moment(now),
        "conditions": [{"type": kind, **condition} for kind in ("Initialized", "AgentAvailable", "Federated", "Ready")],
        "credential_expires": records.moment(now + datetime.timedelta(days=90 + index % 200)),
        "role": "member",
        "jwt_secret": "sha256:0123456789ab",
    }


def main() -> int:
    """Measure on an Airflow of our own, print one JSON object, and return 1 if the bar is not held."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-page-") as home,
        airflow.LocalAirflow(Path(home), port=0, connections={}) as on,
    ):
        found = measure(on)
    print(json.dumps(found, indent=1))
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
