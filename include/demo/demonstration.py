"""Join a simulated member to a simulated host in a local Airflow, and check that it is joined."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from include.demo import airflow, interruption, processes, progress, proof, rest, settings, simulator

DAG_ID = "join_member_cluster"
HOST = "host"
MEMBER = "m1"
SCENARIO = Path(__file__).with_name("scenario.yaml")
HOME = settings.ROOT / ".demo"


class CannotBeginError(Exception):
    """Something about this machine keeps the demonstration from beginning."""


def main() -> int:
    """Run the demonstration as DEMO_PORT and ONESHOT say, and return the exit code."""
    try:
        port = chosen_port(os.environ.get("DEMO_PORT") or "8080")
        return _demonstrate(port, oneshot=bool(os.environ.get("ONESHOT")))
    except CannotBeginError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except (processes.ProcessDiedError, processes.NotReadyError, rest.RefusedError, LookupError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def chosen_port(text: str) -> int:
    """Return the port to use; CannotBeginError if it is none, or not to be had."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise CannotBeginError(f"DEMO_PORT must be a number from 1 to 65535, not {text!r}.")
    port = int(text)
    with socket.socket() as probe:
        # As the API server will: a port that was closed a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise CannotBeginError(f"port {port} needs more rights. Take another: make demo DEMO_PORT=8081") from error
        except OSError as error:
            message = f"port {port} is in use. End what uses it, or take another: make demo DEMO_PORT={port + 1}"
            raise CannotBeginError(message) from error
    return port


def conf(member_server: str) -> dict[str, str]:
    """Build the conf of the run.

    The simulated kubeconfigs name an address on our loopback, which is another place for the host's pods: so
    the run is told the member's address as they see it.
    """
    return {
        "cluster": MEMBER,
        "host_conn_id": HOST,
        "member_conn_id": MEMBER,
        "connection": "direct",
        "member_server": member_server,
    }


def _demonstrate(port: int, *, oneshot: bool) -> int:
    shutil.rmtree(HOME, ignore_errors=True)
    clusters = HOME / "clusters"
    with contextlib.ExitStack() as stack:
        print(f"Starting two simulated KubeSphere clusters, {HOST} and {MEMBER} ...")
        addresses = stack.enter_context(
            simulator.simulated(SCENARIO, directory=clusters, log=HOME / "logs" / "simulator.log")
        )
        print("Starting Airflow on PostgreSQL ...")
        local = stack.enter_context(airflow.LocalAirflow(HOME, port=port, connections=simulator.connections(clusters)))
        print(f"  {local.url}  user {local.username}  password {local.password}\n")
        joined = _join(local, member_server=addresses[MEMBER]["pod_server"], clusters=clusters)
        if not oneshot:
            _stay(local)
    print("Stopped; nothing is left running.")
    return 0 if joined else 1


def _join(local: airflow.LocalAirflow, *, member_server: str, clusters: Path) -> bool:
    """Trigger the run, show how it goes, and return whether the clusters show the member joined."""
    local.await_dag(DAG_ID)
    settings_of_run = conf(member_server)
    print(f"POST /api/v2/dags/{DAG_ID}/dagRuns with conf")
    for key, value in settings_of_run.items():
        print(f"  {key}: {value}")
    run_id = local.trigger(DAG_ID, conf=settings_of_run)
    print(f"  -> {local.url}/dags/{DAG_ID}/runs/{run_id}\n")
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    tasks = _follow(local, run_id=run_id, progress_=progress.Progress(colour=colour), show=print)
    for task in tasks:
        if task["state"] == "failed":
            _explain(local, run_id=run_id, task=task)
    claims = proof.claims(
        MEMBER, host=clusters / f"{HOST}.admin.kubeconfig", member=clusters / f"{MEMBER}.admin.kubeconfig"
    )
    joined = all(claim.holds for claim in claims)
    print("\nSeconds per task")
    print("\n".join(progress.durations(tasks)))
    verdict = "is joined" if joined else "is NOT joined"
    print(f"\n{MEMBER} {verdict} to {HOST}, as the clusters themselves show:")
    print("\n".join(progress.evidence(claims, colour=colour)), end="\n\n")
    return joined


def _follow(
    local: airflow.LocalAirflow,
    *,
    run_id: str,
    progress_: progress.Progress,
    show: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Show what the tasks do until the run has finished, and return them."""
    began = time.monotonic()
    while True:
        # The run's state first: its last changes are in what is read after it.
        finished = local.run(DAG_ID, run_id=run_id)["state"] in rest.FINISHED
        tasks = local.task_instances(DAG_ID, run_id=run_id)
        for line in progress_.lines(tasks, seconds=time.monotonic() - began):
            show(line)
        if finished:
            return tasks
        time.sleep(0.5)


def _explain(local: airflow.LocalAirflow, *, run_id: str, task: dict[str, Any]) -> None:
    """Print why a task failed and where its log is."""
    task_id, attempt = task["task_id"], task["try_number"]
    log = local.logs(DAG_ID, run_id=run_id, task_id=task_id, attempt=attempt)
    folder = local.home / "logs" / f"dag_id={DAG_ID}" / f"run_id={run_id}" / f"task_id={task_id}"
    print(f"\n{task_id} failed: {progress.error_text(log)}")
    print(f"  Its log: {folder / f'attempt={attempt}.log'}")


def _stay(local: airflow.LocalAirflow) -> None:
    """Keep everything running until somebody asks us to stop."""
    print(f"Look around: {local.url}  user {local.username}  password {local.password}")
    print("Ctrl-C stops everything.")
    with contextlib.suppress(interruption.Interrupted):
        while True:
            local.check()
            time.sleep(1)
