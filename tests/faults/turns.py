"""One at a time: many runs for few members at once, from two Airflow installations, whose holders are killed at random.

What counts is what the host's API server has in its audit log: who held which Lease when, and who wrote what when. A
request says by its user agent which run has sent it.
"""

import contextlib
import dataclasses
import random
import re
import time

import psutil

from include.demo.airflow import WORKER, LocalAirflow
from include.simulator.simulation import Simulation
from tests.chaos import live
from tests.joins import evidence

DAG = "join_member_cluster"
MEMBERS = tuple(f"m{number}" for number in range(1, 6))
RUNS_EACH = 2
"""For each member, in each of two installations: twenty runs in all."""
DURATION = 20.0
"""Seconds that a Lease lasts here: a killed holder is tried again after 5 s and more, or loses its turn."""
KILLS = 8
WITHIN = 1200.0
TIMING = {"queue": 0.1, "run": 3, "reload": 0.5, "sync": 0.1, "resync": 1, "kubelet": 0.05}
SETTINGS = {
    **live.SETTINGS,
    "AIRFLOW__FLEET__INLINE_WAIT": "2",
    "AIRFLOW__FLEET__TURN_DURATION": str(DURATION),
    "AIRFLOW__CORE__PARALLELISM": "4",
}
_AGENT = re.compile(r"join-member-cluster \((.*)\)")


@dataclasses.dataclass(frozen=True)
class Held:
    """One run's time with one Lease; `until` is infinite while it has not been given back or taken over."""

    lease: str
    run: str
    since: float
    until: float = float("inf")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How it went: the states of all runs, how often a turn changed hands by force, and what is wrong."""

    states: dict
    turns: int
    taken_over: int
    kills: int
    writes: int
    problems: list
    seconds: float


def run_of(entry):
    """The run that has sent a request, or None."""
    match = _AGENT.match(entry.agent)
    return match.group(1) if match else None


def held(entries):
    """Who held which Lease when, from a host's audit log: made, or patched by another run, until deleted or patched."""
    found, now = [], {}
    for entry in sorted(entries, key=lambda entry: entry.time):
        run, at = run_of(entry), entry.time.timestamp()
        if entry.resource != "leases" or entry.code >= 300 or run is None:
            continue
        name = entry.name or "join-member-cluster"
        current = now.get(name)
        if entry.verb == "delete":
            found.append(dataclasses.replace(now.pop(name), until=at))
        elif entry.verb in ("create", "patch") and (current is None or current.run != run):
            if current is not None:
                found.append(dataclasses.replace(current, until=at))
            now[name] = Held(name, run, at)
    return found + list(now.values())


def outside(simulation, member, turns):
    """What was written for a member by a run that did not hold its turn at that moment."""
    uid = simulation.clusters[member].object("namespaces", "kube-system")["metadata"]["uid"]
    mine = [turn for turn in turns if turn.lease.endswith(uid)]
    found = []
    for entry in writes(simulation, member):
        at = entry.time.timestamp()
        if not any(turn.run == run_of(entry) and turn.since <= at <= turn.until for turn in mine):
            found.append(f"{member}: {run_of(entry)} wrote {entry.verb} {entry.resource} {entry.name} at {at:.3f}")
    return found


def writes(simulation, member):
    """What runs have written for a member, on it and on the host, without dry runs, reviews and Leases."""
    host = [entry for entry in simulation.clusters["host"].writes() if entry.name == member]
    sent = [*simulation.clusters[member].writes(), *host]
    passing = ("leases", "selfsubjectaccessreviews")
    return [entry for entry in sent if run_of(entry) and "dryRun" not in entry.path and entry.resource not in passing]


def overlapping(turns):
    """Pairs of turns of one Lease that were held at the same time."""
    found = []
    for number, one in enumerate(turns):
        for other in turns[number + 1 :]:
            if one.lease == other.lease and one.since < other.until and other.since < one.until:
                found.append(f"{one.lease}: {one.run} and {other.run}")
    return found


def judge(simulation, members):
    """What is wrong: two inside at once, a write from outside, a member that is not joined or joined twice."""
    turns = held(simulation.clusters["host"].audit())
    problems = overlapping(turns)
    for member in members:
        problems += outside(simulation, member, turns)
        try:
            evidence.assert_joined(simulation, name=member, member=member)
        except (AssertionError, KeyError) as error:
            problems.append(f"{member} is not joined: {error!r}")
        made = [entry for entry in writes(simulation, member) if entry.verb == "create"]
        names = [(entry.resource, entry.name) for entry in made]
        problems += [f"{member}: made twice: {name}" for name in set(names) if names.count(name) > 1]
    return turns, problems


def play(directory, *, members=MEMBERS, runs_each=RUNS_EACH, kills=KILLS, seed=7):
    """Play it with two live Airflows; returns the Outcome."""
    began, chance = time.monotonic(), random.Random(seed)
    scenario = {"timing": TIMING, "members": [{"name": name} for name in members]}
    with (
        Simulation(scenario, directory=directory / "clusters") as simulation,
        _airflow(directory / "one", simulation) as one,
        _airflow(directory / "two", simulation) as two,
    ):
        started = []
        for number in range(runs_each):
            for member in members:
                conf = {"cluster": member, "host_conn_id": "host", "member_conn_id": member}
                conf["member_server"] = simulation.clusters[member].pod_server
                # The same id in both: a run is not known by its id alone.
                run_id = f"{member}-{number}"
                started += [(airflow, airflow.trigger(DAG, conf=conf, run_id=run_id)) for airflow in (one, two)]
        done, ends = 0, time.monotonic() + WITHIN
        while time.monotonic() < ends and not all(_ended(airflow, run_id) for airflow, run_id in started):
            time.sleep(chance.uniform(4, 12))
            if done < kills and simulation.clusters["host"].objects("leases"):
                _kill(chance.choice((one, two)), chance)
                done += 1
        names = {id(one): "one", id(two): "two"}
        states = {
            f"{names[id(airflow)]}/{run_id}": airflow.run(DAG, run_id=run_id)["state"] for airflow, run_id in started
        }
        turns, problems = judge(simulation, members)
        problems += [f"run {run} ended as {state}" for run, state in states.items() if state != "success"]
        return Outcome(
            states=states,
            turns=len(turns),
            taken_over=sum(1 for turn in turns if _taken_over(turn, turns)),
            kills=done,
            writes=sum(len(writes(simulation, member)) for member in members),
            problems=problems,
            seconds=time.monotonic() - began,
        )


def _taken_over(turn, turns):
    return any(other is not turn and other.lease == turn.lease and other.since == turn.until for other in turns)


def _airflow(home, simulation):
    home.mkdir(parents=True)
    return LocalAirflow(home, port=0, connections=simulation.connections, environment=SETTINGS)


def _ended(airflow, run_id):
    return airflow.run(DAG, run_id=run_id)["state"] in ("success", "failed")


def _kill(airflow, chance):
    """Kill what holds turns: all tasks that run, or the scheduler with them, or the triggerer, which start anew."""
    component = chance.choice(("tasks", "tasks", "triggerer", "scheduler"))
    if component == "tasks":
        for pid in airflow.pids("scheduler"):
            with contextlib.suppress(psutil.NoSuchProcess):
                worker = psutil.Process(pid)
                for task in worker.children() if " ".join(worker.cmdline()).startswith(WORKER) else ():
                    task.kill()
        return
    airflow.kill(component)
    airflow.start(component)
