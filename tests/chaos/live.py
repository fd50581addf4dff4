"""Parts of a live Airflow die while a join waits in its triggerer, and runs are ended and taken up again.

A function plays one case, raises if it does not hold, and says how it ended. Each case has a member of its own, so
one Airflow serves all of them, one after the other; its settings differ from the defaults only as SETTINGS says.
"""

import contextlib
import dataclasses
import datetime
import functools
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil

from include.demo import airflow
from include.simulator import cluster, disturbances, simulation
from tests.joins import evidence

DAG = "join_member_cluster"
AGENT = "join-member-cluster"
CONFIGURED = "patch clusterconfigurations ks-installer"
AGENT_DEPLOYED = "create deployments cluster-agent"
INSTALLER_PATIENCE = 25.0
"""Seconds that a request of ks-installer may be held up; it gives up after 30."""
INSTALLER_HOLDS = 8
DEADLINE = 20.0
TIMEOUT = 30.0
"""Seconds of a run: its wait has begun by then, even where cores are short."""
RUN_ENDS_WITHIN = 240.0
STOPS_WITHIN = 10.0

SETTINGS = {
    # The simulated clusters are faster than real ones, and the waits move to the triggerer soon.
    "AIRFLOW__FLEET__POLL": "0.5",
    "AIRFLOW__FLEET__SLOW_POLL": "1",
    "AIRFLOW__FLEET__FAILED_AFTER": "5",
    "AIRFLOW__FLEET__QUIET": "3",
    "AIRFLOW__FLEET__RESYNC": "2",
    "AIRFLOW__FLEET__INLINE_WAIT": "1",
    # A new triggerer takes over the triggers of the dead one after 30 s: here the wait would be over by then.
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    # A new scheduler looks every 300 s for tasks that the dead one had queued, and calls it dead after 30 s.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "8",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    # A task whose worker is dead is noticed after 300 s without a heartbeat; a worker sends one every 5 s.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "16",
}


@dataclasses.dataclass(frozen=True)
class Result:
    """How a case ended, and how long it took."""

    name: str
    way: str
    outcome: str
    seconds: float
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Stage:
    """The clusters and the Airflow on which cases are played."""

    simulation: simulation.Simulation
    airflow: airflow.LocalAirflow
    held: dict[str, threading.Event] = dataclasses.field(default_factory=dict)

    def member(self, name: str) -> cluster.Cluster:
        return self.simulation.clusters[name]

    def trigger(self, case: "Case") -> str:
        """Start a run and return its id."""
        conf = {
            "cluster": case.name,
            "host_conn_id": "host",
            "member_conn_id": case.name,
            "connection": case.connection,
        }
        if case.connection == "direct":
            conf["member_server"] = self.member(case.name).pod_server
        return self.airflow.trigger(DAG, conf=conf)

    def join(self, case: "Case") -> str:
        """Start a run and return its id as soon as its triggerer watches ks-installer on the member, which is held."""
        self.hold_installer(case.name)
        run_id = self.trigger(case)
        eventually(lambda: self.connections(case.name), what=f"the triggerer watches {case.name}", within=60)
        assert self.state(run_id) == "deferred"
        assert not self.is_installed(case.name)
        return run_id

    def state(self, run_id: str, task_id: str = "wait_installer") -> str | None:
        states = {task["task_id"]: task["state"] for task in self.airflow.task_instances(DAG, run_id=run_id)}
        return states[task_id]

    def tries(self, run_id: str, task_id: str = "wait_installer") -> int:
        tries = {task["task_id"]: task["try_number"] for task in self.airflow.task_instances(DAG, run_id=run_id)}
        return tries[task_id]

    def is_installed(self, member: str) -> bool:
        """Tell whether ks-installer on a member has done what was asked for."""
        host = self.simulation.clusters["host"]
        return evidence.secret_of(self.member(member)) == evidence.secret_of(host)

    def hold_installer(self, member: str) -> None:
        """Hold ks-installer on a member up in its run until `finish_installer`, however slow this machine is."""
        released = self.held[member] = threading.Event()
        held = disturbances.Act(
            function=lambda _call: released.wait(INSTALLER_PATIENCE), moment=disturbances.Moment.ARRIVED
        )
        for _ in range(INSTALLER_HOLDS):
            hold = disturbances.Disturbance(
                matches=lambda call: call.user.endswith(":ks-installer") and not call.streams, kind=held
            )
            self.member(member).disturb(hold)

    def finish_installer(self, member: str) -> None:
        """Let ks-installer on a member go on, and wait until it is through."""
        self.held[member].set()
        eventually(lambda: self.is_installed(member), what=f"ks-installer on {member} is through", within=90)

    def connections(self, member: str) -> int:
        """Count the triggerer's connections to a member: its watches are open connections."""
        port = urllib.parse.urlsplit(self.member(member).server).port
        found = 0
        for pid in self.airflow.pids("triggerer"):
            with contextlib.suppress(psutil.NoSuchProcess):
                found += sum(
                    connection.raddr.port == port
                    for connection in psutil.Process(pid).net_connections("tcp")
                    if connection.raddr and connection.status == psutil.CONN_ESTABLISHED
                )
        return found

    def clear(self, run_id: str, *, newest_dag: bool = False) -> None:
        """Clear wait_installer and what follows it, as a person does in the UI."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": ["wait_installer"],
            "include_downstream": True,
            "only_failed": False,
            "reset_dag_runs": True,
            "run_on_latest_version": newest_dag,
        }
        self.airflow.post(f"dags/{DAG}/clearTaskInstances", body=body)

    def assert_joined(self, case: "Case", *, run_id: str) -> None:
        """Wait for the end of a run; the member is joined, and nothing was written twice."""
        state = self.airflow.wait(DAG, run_id=run_id, seconds=RUN_ENDS_WITHIN)
        tasks = {task["task_id"]: task["state"] for task in self.airflow.task_instances(DAG, run_id=run_id)}
        assert state == "success", tasks
        evidence.assert_joined(self.simulation, name=case.name, member=case.name)
        for written in (evidence.writes(self.member(case.name)), evidence.writes(self.simulation.clusters["host"])):
            assert written.count(CONFIGURED) == 1
            assert written.count("patch deployments ks-installer") == 0
            assert len(set(written)) == len(written)

    def assert_stopped(self, case: "Case") -> float:
        """Wait until the triggerer has let go of a member, and return how long that took.

        The installer's end is something that a wait would look at: nobody does.
        """
        began = time.monotonic()
        eventually(lambda: not self.connections(case.name), what="the watches are closed", within=STOPS_WITHIN)
        seconds = time.monotonic() - began
        stopped = datetime.datetime.now(datetime.UTC)
        self.finish_installer(case.name)
        later = [entry for entry in self.member(case.name).audit() if entry.agent == AGENT and entry.time > stopped]
        assert not later
        return seconds


@dataclasses.dataclass(frozen=True)
class Case:
    """One case: its name is the name of the member, too."""

    name: str
    connection: str
    play: Callable[[Stage, "Case"], str]


def survive(stage: Stage, case: Case, *, component: str, through: bool = False) -> str:
    """Kill a component and start it again: at once, or with *through* only when the installer is through."""
    run_id = stage.join(case)
    stage.airflow.kill(component)
    if through:
        stage.finish_installer(case.name)
    stage.airflow.start(component)
    if not through:
        eventually(lambda: stage.connections(case.name), what=f"{case.name} is watched again", within=60)
        stage.finish_installer(case.name)
    stage.assert_joined(case, run_id=run_id)
    return "joined"


def survive_workers(stage: Stage, case: Case) -> str:
    """Kill the executor's workers; they come back with the scheduler, whose children they are."""
    run_id = stage.join(case)
    stage.airflow.kill_workers()
    stage.finish_installer(case.name)
    eventually(lambda: stage.state(run_id) == "queued", what="the wait is over", within=90)
    stage.airflow.kill("scheduler")
    stage.airflow.start("scheduler")
    stage.assert_joined(case, run_id=run_id)
    return "joined after a restart of the scheduler"


def survive_task_death(stage: Stage, case: Case, *, write: str, worker: bool = False) -> str:
    """Kill a task's process, or its worker too, when a write is in force and before it has heard so.

    The process is the one that holds the client's end of the connection.
    """
    killed = []

    def kill(call: disturbances.Call) -> None:
        process = owner(call, among=stage.airflow.pids("scheduler"))
        for each in [process.parent(), process] if worker else [process]:
            killed.append(each.pid)
            each.kill()

    after = disturbances.Act(function=kill, moment=disturbances.Moment.COMMITTED)
    death = disturbances.Disturbance(
        matches=lambda call: call.agent == AGENT and f"{call.verb} {call.resource} {call.name}" == write, kind=after
    )
    stage.member(case.name).disturb(death)
    run_id = stage.trigger(case)
    eventually(lambda: death.met, what=f"{write} is sent", within=90)
    assert len(killed) == (2 if worker else 1)
    stage.assert_joined(case, run_id=run_id)
    tries = {task["task_id"]: task["try_number"] for task in stage.airflow.task_instances(DAG, run_id=run_id)}
    assert sorted(tries.values())[-2:] == [1, 2], tries
    # The second try finds the write done; the run has to answer for it all the same.
    changed = stage.airflow.xcom(DAG, run_id=run_id, task_id="verify_join")["changed"]
    assert any(write.split()[1] in line and "member" in line for line in changed), changed
    return "joined by the second try"


def cancel(stage: Stage, case: Case) -> str:
    """Mark a run as failed: its triggers stop. Clear its task: it goes on from what is there."""
    run_id = stage.join(case)
    path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}"
    stage.airflow.client.patch(path, json={"state": "failed"}).raise_for_status()
    seconds = stage.assert_stopped(case)
    assert stage.state(run_id) == "failed"
    stage.clear(run_id)
    stage.assert_joined(case, run_id=run_id)
    return f"stopped after {seconds:.1f} s; cleared: joined"


def clear(stage: Stage, case: Case) -> str:
    """Clear a task that waits: it waits again, and once only."""
    run_id = stage.join(case)
    stage.clear(run_id)
    eventually(lambda: stage.tries(run_id) == 2, what="the task has begun again", within=60)
    eventually(lambda: stage.state(run_id) == "deferred", what="the task waits again", within=60)
    stage.finish_installer(case.name)
    stage.assert_joined(case, run_id=run_id)
    assert not stage.connections(case.name)
    return "joined"


def time_out(stage: Stage, case: Case) -> str:
    """Let a run pass its deadline and its time-out: the one is told, the other stops its triggers."""
    before = stage.airflow.get(f"dags/{DAG}/details")["dag_run_timeout"]
    with dag_processor(stage, RUN_TIMEOUT=TIMEOUT, RUN_DEADLINE=DEADLINE):
        eventually(
            lambda: stage.airflow.get(f"dags/{DAG}/details")["dag_run_timeout"] != before,
            what="the DAG has another time-out",
            within=60,
        )
        run_id = stage.join(case)
        ended = stage.airflow.wait(DAG, run_id=run_id, seconds=RUN_ENDS_WITHIN)
        assert ended == "failed"
        seconds = stage.assert_stopped(case)
    assert stage.state(run_id) == "skipped"
    said = (stage.airflow.home / "logs" / "triggerer.log").read_text(errors="replace")
    assert f"Run {run_id} for member {case.name} has missed its deadline" in said
    assert "wait_installer (deferred)" in said
    eventually(
        lambda: stage.airflow.get(f"dags/{DAG}/details")["dag_run_timeout"] == before,
        what="the DAG has its time-out again",
        within=60,
    )
    stage.clear(run_id, newest_dag=True)
    stage.assert_joined(case, run_id=run_id)
    return f"told and stopped after {seconds:.1f} s; cleared: joined"


@contextlib.contextmanager
def dag_processor(stage: Stage, **limits: float) -> Iterator[None]:
    """Parse the DAG with other settings of section [fleet] for as long as the context lasts."""
    stage.airflow.kill("dag-processor")
    environment = {f"AIRFLOW__FLEET__{name}": str(seconds) for name, seconds in limits.items()}
    stage.airflow.start("dag-processor", environment=environment)
    try:
        yield
    finally:
        stage.airflow.kill("dag-processor")
        stage.airflow.start("dag-processor")


CASES = {
    case.name: case
    for case in (
        Case("scheduler", "direct", functools.partial(survive, component="scheduler")),
        Case("scheduler-through", "proxy", functools.partial(survive, component="scheduler", through=True)),
        Case("triggerer", "proxy", functools.partial(survive, component="triggerer")),
        Case("triggerer-through", "direct", functools.partial(survive, component="triggerer", through=True)),
        Case("api-server", "direct", functools.partial(survive, component="api-server")),
        Case("api-server-through", "proxy", functools.partial(survive, component="api-server", through=True)),
        Case("workers", "direct", survive_workers),
        Case("task", "direct", functools.partial(survive_task_death, write=CONFIGURED)),
        Case("task-of-agent", "proxy", functools.partial(survive_task_death, write=AGENT_DEPLOYED)),
        Case("worker", "direct", functools.partial(survive_task_death, write=CONFIGURED, worker=True)),
        Case("cancel", "proxy", cancel),
        Case("clear", "direct", clear),
        Case("time-out", "proxy", time_out),
    )
}


@contextlib.contextmanager
def stage(directory: Path, *, names: Iterable[str] = tuple(CASES)) -> Iterator[Stage]:
    """Start the clusters of some cases and an Airflow that knows them; stop all of it in the end."""
    scenario = {
        "timing": {"queue": 0.1, "run": 3, "reload": 0.5, "sync": 0.1, "resync": 1, "kubelet": 0.05},
        "host": {"load_balancer": "139.198.110.23"},
        "members": [{"name": name} for name in names],
    }
    with simulation.Simulation(scenario, directory=directory / "clusters") as clusters:
        home = directory / "airflow"
        connections = clusters.connections
        with airflow.LocalAirflow(home, port=0, connections=connections, environment=SETTINGS) as running:
            running.await_dag(DAG)
            yield Stage(clusters, running)


def play(on: Stage, name: str) -> Result:
    """Play a case to its end; raises if it does not hold."""
    case = CASES[name]
    began = time.monotonic()
    outcome = case.play(on, case)
    return Result(name, case.connection, outcome, round(time.monotonic() - began, 1))


def eventually(condition: Callable[[], Any], *, what: str, within: float) -> None:
    """Return as soon as the condition holds; raises TimeoutError if it never does."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within:.0f} s: {what}")
        time.sleep(0.1)


def owner(call: disturbances.Call, *, among: Iterable[int]) -> psutil.Process:
    """Return the process that has the client's end of a request's connection."""
    ends = (call.peer[1], call.server[1])
    for pid in among:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            for connection in process.net_connections("tcp"):
                if connection.raddr and (connection.laddr.port, connection.raddr.port) == ends:
                    return process
    raise LookupError(f"no process has the connection {ends}")
