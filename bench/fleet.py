"""What it costs to look at a fleet in which there is nothing to do.

The members are Clusters of one host that lead to a few simulated clusters, in turn: the requests, the connections with
their certificates, and the comparisons are those of as many members, and the clusters are fewer than the machine would
bear. `python -m bench.fleet INVENTORY AT_ONCE` looks once, in a process of its own, and prints what that took.
"""

from __future__ import annotations

import asyncio
import collections
import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from bench import audit
from include.demo import settings as demo
from include.fleet import inventory, settings, surveying
from include.simulator.simulation import Simulation

MEMBERS = (20, 200)
"""So many in turn; the last is the one that counts."""
CLUSTERS = 4
"""Simulated, behind the members."""
HOST_REQUESTS, MEMBER_REQUESTS = 10, 3
"""At most so many requests for each host, and for each member."""
_READY_WITHIN = 300.0


def measure() -> dict[str, Any]:
    """Look at fleets of MEMBERS, with all that may be done at once and, for the largest, one after the other."""
    found = {}
    for number in MEMBERS:
        with tempfile.TemporaryDirectory(prefix="bench-fleet-") as name:
            found[number] = _of(number, Path(name), one_at_a_time=number == MEMBERS[-1])
    few, many = (found[number] for number in MEMBERS)
    return {
        "reconcile": {f"{number} members": cost for number, cost in found.items()},
        "ratio_to_one_at_a_time": round(many["one_at_a_time"]["seconds"] / many["at_once"]["seconds"], 2),
        "ratio_to_few": round(many["at_once"]["seconds"] / few["at_once"]["seconds"], 2),
        "members_ratio": MEMBERS[-1] / MEMBERS[0],
        "holds": many["most_requests_of_a_member"] <= MEMBER_REQUESTS and many["requests_of_the_host"] <= HOST_REQUESTS,
    }


def _of(number: int, directory: Path, *, one_at_a_time: bool) -> dict[str, Any]:
    names = [f"m{index}" for index in range(number)]
    behind = {name: f"c{index % CLUSTERS}" for index, name in enumerate(names)}
    scenario = {
        "timing": {"sync": 0.01, "reload": 0.2, "kubelet": 0.05},
        "host": {"role": "host", "webhook": False, "clusters": {name: {"of": of} for name, of in behind.items()}},
        "members": [{"name": f"c{index}", "role": "member", "secret": "host"} for index in range(CLUSTERS)],
    }
    with Simulation(scenario, directory=directory) as simulation:
        host = simulation.clusters["host"]
        _await(lambda: sum(map(_is_ready, host.objects("clusters"))) > number)
        environment = _environment(simulation.connections, behind, directory)
        path = directory / "fleet.yaml"
        members = [{"cluster": name, "member_conn_id": name} for name in names]
        path.write_text(
            yaml.safe_dump({"version": 1, "hosts": [{"name": "h", "host_conn_id": "host", "members": members}]})
        )
        _look(path, 16, environment)
        before = _requests(simulation)
        at_once = _look(path, 16, environment)
        sent = _requests(simulation) - before
        each = (sent.total() - sent["host"]) / number
        return {
            "at_once": at_once,
            **({"one_at_a_time": _look(path, 1, environment)} if one_at_a_time else {}),
            "requests_of_the_host": sent["host"],
            "most_requests_of_a_member": each,
        }


def _environment(connections: dict[str, Any], behind: dict[str, str], directory: Path) -> dict[str, str]:
    """Return the environment in which each member has a connection."""
    files = {name: str(directory / f"{name}.kubeconfig") for name in connections}
    used = {"host": "host", **behind}
    made = {
        f"AIRFLOW_CONN_{name.upper()}": json.dumps(
            {"conn_type": "kubernetes", "extra": {"kube_config_path": files[of]}}
        )
        for name, of in used.items()
    }
    return {**os.environ, **made, "PYTHONPATH": str(demo.ROOT), "AIRFLOW_HOME": str(directory)}


def _requests(simulation: Simulation) -> collections.Counter[str]:
    logs = {name: cluster.audit() for name, cluster in simulation.clusters.items()}
    return collections.Counter(name for name, _ in audit.sent_by(audit.PRODUCT, logs))


def _look(path: Path, at_once: int, environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.fleet", str(path), str(at_once)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=demo.ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _is_ready(cluster: dict[str, Any]) -> bool:
    conditions = cluster.get("status", {}).get("conditions", [])
    return {item["type"]: item["status"] for item in conditions}.get("Ready") == "True"


def _await(happened: Any) -> None:
    end = time.monotonic() + _READY_WITHIN
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError(f"the members are not Ready within {_READY_WITHIN:.0f} s")
        time.sleep(0.2)


def main() -> int:
    """Look once, and print seconds, the most memory in MiB, and how the members are."""
    path, at_once = Path(sys.argv[1]), int(sys.argv[2])
    fleet = inventory.load(path.read_text())
    limits = settings.Settings(survey_at_once=at_once)
    began, cpu = time.monotonic(), time.process_time()
    seen = asyncio.run(surveying.survey(fleet, path=str(path), limits=limits, now=datetime.datetime.now(datetime.UTC)))
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    (host,) = seen["hosts"]
    drifted = [member["drift"] for member in host["members"] if member["drift"]]
    if host["error"] or drifted:
        print(f"bench: not healthy: {host['error']} {drifted[:1]}", file=sys.stderr)
        return 1
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    size = len(json.dumps(seen))
    print(
        json.dumps(
            {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "max_rss_mib": rss, "observation_bytes": size}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
