"""Join two simulated members to a simulated host in a local Airflow, one each way, and check that they are joined."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from include.demo import airflow, interruption, processes, progress, proof, rest, settings, simulator

DAG_ID = "join_member_cluster"
HOST = "host"
MEMBERS = {"m1": "direct", "m2": "proxy"}
"""Connection type by member."""
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


def conf(member: str, *, pod_server: str) -> dict[str, str]:
    """Build the conf of a member's run.

    The simulated kubeconfigs name an address on our loopback, which is another place for the host's pods: so
    the run of a direct member is told its address as they see it, *pod_server*.
    """
    direct = {"member_server": pod_server} if MEMBERS[member] == "direct" else {}
    return {
        "cluster": member,
        "host_conn_id": HOST,
        "member_conn_id": member,
        "connection": MEMBERS[member],
        **direct,
    }


def commands(kubeconfig: Path) -> list[str]:
    """Return commands for a shell in the repository's folder that show the host and a member."""
    kubectl = shlex.quote(_from_here(Path(sys.executable).with_name("kubectl")))
    return [
        f"export KUBECONFIG={shlex.quote(str(kubeconfig))}",
        f"{kubectl} get clusters",
        f"{kubectl} --context {next(iter(MEMBERS))} get pods -A",
    ]


def _from_here(path: Path) -> str:
    """Return a path as it is short to type in the repository's folder."""
    return str(path.relative_to(settings.ROOT) if path.is_relative_to(settings.ROOT) else path)


def _demonstrate(port: int, *, oneshot: bool) -> int:
    shutil.rmtree(HOME, ignore_errors=True)
    clusters = HOME / "clusters"
    with contextlib.ExitStack() as stack:
        print(f"Starting simulated KubeSphere clusters: {', '.join([HOST, *MEMBERS])} ...")
        addresses = stack.enter_context(
            simulator.simulated(SCENARIO, directory=clusters, log=HOME / "logs" / "simulator.log")
        )
        print("Starting Airflow on PostgreSQL ...")
        local = stack.enter_context(airflow.LocalAirflow(HOME, port=port, connections=simulator.connections(clusters)))
        print(f"  {local.url}  user {local.username}  password {local.password}\n")
        confs = {member: conf(member, pod_server=addresses[member]["pod_server"]) for member in MEMBERS}
        joined = _join(local, confs=confs, clusters=clusters)
        if not oneshot:
            _stay(local, kubeconfig=clusters / "kubeconfig")
    print("Stopped; nothing is left running.")
    return 0 if joined else 1


def _join(local: airflow.LocalAirflow, *, confs: Mapping[str, Mapping[str, str]], clusters: Path) -> bool:
    """Trigger a run for each member at once, show how they go, and return whether the clusters show all joined."""
    local.await_dag(DAG_ID)
    runs = {}
    for member, settings_of_run in confs.items():
        print(f"POST /api/v2/dags/{DAG_ID}/dagRuns with conf")
        for key, value in settings_of_run.items():
            print(f"  {key}: {value}")
        # Airflow would name it after the time alone, and its pages show runs by their names.
        runs[member] = local.trigger(
            DAG_ID, conf=settings_of_run, run_id=f"join_{member}__{time.strftime('%Y-%m-%dT%H-%M-%S')}"
        )
        print(f"  -> {local.url}/dags/{DAG_ID}/runs/{runs[member]}\n")
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    tasks = _follow(local, runs=runs, colour=colour, show=print)
    for member, run_id in runs.items():
        for task in tasks[member]:
            if task["state"] == "failed":
                _explain(local, run_id=run_id, task=task)
        print(f"\nSeconds per task, {member} ({MEMBERS[member]})")
        print("\n".join(progress.durations(tasks[member])))
    proven = [_proven(member, clusters=clusters, colour=colour) for member in runs]
    return all(proven)


def _proven(member: str, *, clusters: Path, colour: bool) -> bool:
    """Show what the clusters themselves say of a member, and return whether it is joined."""
    claims = proof.claims(
        member, host=clusters / f"{HOST}.admin.kubeconfig", member=clusters / f"{member}.admin.kubeconfig"
    )
    joined = all(claim.holds for claim in claims)
    verdict = "is joined" if joined else "is NOT joined"
    print(f"\n{member} {verdict} to {HOST} ({MEMBERS[member]}), as the clusters themselves show:")
    print("\n".join(progress.evidence(claims, colour=colour)), end="\n\n")
    return joined


def _follow(
    local: airflow.LocalAirflow, *, runs: Mapping[str, str], colour: bool, show: Callable[[str], None]
) -> dict[str, list[dict[str, Any]]]:
    """Show what the tasks do until all runs have finished, and return them by member."""
    began = time.monotonic()
    shown = {member: progress.Progress(label=member, colour=colour) for member in runs}
    tasks: dict[str, list[dict[str, Any]]] = {}
    while True:
        # The runs' states first: their last changes are in what is read after them.
        states = [local.run(DAG_ID, run_id=run_id)["state"] for run_id in runs.values()]
        for member, run_id in runs.items():
            tasks[member] = local.task_instances(DAG_ID, run_id=run_id)
            for line in shown[member].lines(tasks[member], seconds=time.monotonic() - began):
                show(line)
        if all(state in rest.FINISHED for state in states):
            return tasks
        time.sleep(0.5)


def _explain(local: airflow.LocalAirflow, *, run_id: str, task: dict[str, Any]) -> None:
    """Print why a task failed and where its log is."""
    task_id, attempt = task["task_id"], task["try_number"]
    log = local.logs(DAG_ID, run_id=run_id, task_id=task_id, attempt=attempt)
    folder = local.home / "logs" / f"dag_id={DAG_ID}" / f"run_id={run_id}" / f"task_id={task_id}"
    print(f"\n{task_id} failed: {progress.error_text(log)}")
    print(f"  Its log: {folder / f'attempt={attempt}.log'}")


def _stay(local: airflow.LocalAirflow, *, kubeconfig: Path) -> None:
    """Keep everything running until somebody asks us to stop."""
    print(f"Look around: {local.url}  user {local.username}  password {local.password}")
    print("And inside the clusters, from another terminal in this folder:")
    print("\n".join(f"  {command}" for command in commands(kubeconfig)))
    print("Ctrl-C stops everything.")
    with contextlib.suppress(interruption.Interrupted):
        while True:
            local.check()
            time.sleep(1)
