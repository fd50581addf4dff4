"""One case: a join during which one thing goes wrong, and what must hold afterwards.

Each case has clusters of its own. It ends as it must if the member is joined, as the clusters themselves show, and if
exactly what an undisturbed join writes has been written: nothing is missing and nothing was written twice.
"""

import collections
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import audit
from include.simulator import disturbances
from include.simulator.disturbances import Moment
from include.simulator.simulation import Simulation
from tests.chaos import steps
from tests.joins import evidence

ROOT = Path(__file__).parents[2]
WAYS = ("direct", "proxy")
KUBESPHERES = ("v3.4.1", "v3.0.0")
TIMING = {"queue": 0.05, "run": 0.4, "reload": 0.2, "sync": 0.05, "resync": 0.5, "kubelet": 0.05}
SETTINGS = {
    "CONNECT_TIMEOUT": 1.5,
    "REQUEST_TIMEOUT": 1.5,
    "WATCH_TIMEOUT": 20,
    "POLL": 0.3,
    "SLOW_POLL": 0.5,
    "FAILED_AFTER": 3.0,
    "QUIET": 1.5,
    "RESYNC": 5.0,
    "INLINE_WAIT": 5.0,
    "ACCEPTANCE": 6.0,
    "WATCH_HELD": 0.2,
    "TURN_DURATION": 3.0,
}
"""Seconds, in the proportions of the real thing; `failed_after` and `resync` leave room for a loaded machine."""
WAITS = {
    "ready_timeout": 60,
    "verify_timeout": 60,
    "tower_timeout": 60,
    "host_installer_timeout": 60,
    "member_installer_timeout": 60,
}
"""Seconds: parts of a conf."""
REVIEWS = "selfsubjectaccessreviews"
"""What asks which rights there are; nothing is stored."""
STALL = 2.5
"""Seconds: longer than the client's time-outs."""

FAULTS = {
    "429": disturbances.Refusal(code=429, retry_after=1),
    "500": disturbances.Refusal(code=500),
    "503": disturbances.Refusal(code=503),
    "reset": disturbances.Reset(moment=Moment.ARRIVED),
    "stall": disturbances.Stall(seconds=STALL, moment=Moment.ARRIVED),
}
WRITE_FAULTS = {
    "reset after commit": disturbances.Reset(moment=Moment.COMMITTED),
    "stall after commit": disturbances.Stall(seconds=STALL, moment=Moment.COMMITTED),
}
STREAM_FAULTS = {"cut": disturbances.Cut(seconds=0.05)}
WATCH_FAULTS = {"410": disturbances.Expiry()}
MOMENTS = {"before the answer": Moment.COMMITTED, "after the answer": Moment.ANSWERED}


@dataclasses.dataclass(frozen=True, order=True)
class Request:
    """What is asked for, the same in every run; `occurrence` counts those that are alike, from 0."""

    cluster: str
    verb: str
    what: str
    occurrence: int = 0

    def __str__(self):
        number = f" #{self.occurrence + 1}" if self.occurrence else ""
        return f"{self.cluster}: {self.verb} {self.what}{number}"

    @property
    def writes(self):
        return self.verb in ("create", "patch", "delete") and self.what != REVIEWS

    @property
    def faults(self):
        """The faults that this request can meet, by name."""
        found = dict(FAULTS)
        if self.writes:
            found |= WRITE_FAULTS
        if self.verb in ("watch", "follow"):
            found |= STREAM_FAULTS
        if self.verb == "watch":
            found |= WATCH_FAULTS
        return found


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one case ended; `problem` is "" if it ended as it must, `met` whether the thing did go wrong."""

    way: str
    kubesphere: str
    request: Request
    fault: str
    met: bool
    problem: str
    seconds: float


def mine(call):
    """Tell whether the product sent it; the host's controller uses the same credential."""
    return call.agent.startswith(audit.PRODUCT) and call.user == "airflow"


def requests_of(simulation):
    """The requests of the product so far, each with its count."""
    found = []
    for name, cluster in simulation.clusters.items():
        counts = collections.Counter()
        for entry in cluster.audit():
            if mine(entry):
                key = audit.describe(entry)
                # One review of a right is like the other: of some dozens the first is enough.
                if key[1] != REVIEWS or not counts[key]:
                    found.append(Request(name, *key, counts[key]))
                counts[key] += 1
    return found


def writes_of(simulation):
    """What the product has written, in no order."""
    return sorted(line for cluster in simulation.clusters.values() for line in evidence.writes(cluster))


class Stage:
    """Fresh clusters, the environment that leads to them, and what the product logs about them."""

    def __init__(self, way, *, kubesphere="v3.4.1", timing=TIMING, settings=SETTINGS, host=None, member=None, **more):
        self.way = way
        self.more = more
        """Whatever else the scenario has; of members those beside the one that is joined."""
        self.host = {"load_balancer": "139.198.110.23", **(host or {})}
        self.member = {"name": "m1", **(member or {})}
        self.kubesphere = kubesphere
        self.timing = timing
        self.settings = settings
        self.said = []
        """What the product has logged."""

    def __enter__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="chaos-")
        scenario = {
            "kubesphere": self.kubesphere,
            "timing": self.timing,
            "host": self.host,
            **self.more,
            "members": [self.member, *self.more.get("members", ())],
        }
        self.simulation = Simulation(scenario, directory=self._directory.name)
        self.simulation.__enter__()
        self.environment = {f"AIRFLOW__FLEET__{name}": str(value) for name, value in self.settings.items()}
        for conn_id, connection in self.simulation.connections.items():
            self.environment[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
        self._before = dict(os.environ)
        os.environ.update(self.environment)
        self.conf = {"cluster": "m1", "host_conn_id": "host", "member_conn_id": "m1", "connection": self.way}
        if self.way == "direct":
            self.conf["member_server"] = self.simulation.clusters["m1"].pod_server
        self.conf |= WAITS
        self._handler = logging.Handler()
        self._handler.emit = lambda record: self.said.append(record.getMessage())
        logger = logging.getLogger("include.fleet")
        logger.addHandler(self._handler)
        self._level = logger.level
        logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_):
        logger = logging.getLogger("include.fleet")
        logger.removeHandler(self._handler)
        logger.setLevel(self._level)
        os.environ.clear()
        os.environ.update(self._before)
        self.simulation.__exit__(None, None, None)
        self._directory.cleanup()

    def play(self):
        """Run the join in this process."""
        return steps.play(self.conf, run_id=f"chaos-{time.time_ns()}")

    def play_in_a_process(self):
        """Run the join in a process of its own, which may be killed; return its exit code and what it said."""
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.steps"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        given = json.dumps({"conf": self.conf, "run_id": f"chaos-{time.time_ns()}"})
        output = self.child.communicate(given, timeout=180)[0]
        return self.child.returncode, output

    def disturb(self, request, kind):
        """Have one request of the product meet something."""
        verb, what = request.verb, request.what
        disturbance = disturbances.Disturbance(
            matches=lambda call: mine(call) and audit.describe(call) == (verb, what), skip=request.occurrence, kind=kind
        )
        self.simulation.clusters[request.cluster].disturb(disturbance)
        return disturbance

    def judge(self, expected):
        """Return what is not as it must be after a join, or ""."""
        try:
            evidence.assert_joined(self.simulation, identity=self.kubesphere == "v3.4.1")
        except (AssertionError, KeyError) as error:
            return f"not joined: {error!r}"
        written = writes_of(self.simulation)
        if written != expected:
            return f"written: {written} instead of {expected}"
        said = "\n".join(self.said)
        leaks = [secret for cluster in self.simulation.clusters.values() for secret in cluster.secrets()]
        return "a secret is in the log" if any(secret in said for secret in leaks) else ""


def undisturbed(way, *, times=2, kubesphere="v3.4.1"):
    """Return the requests that every join sends, and what it writes: what the cases are made from."""
    always, written = None, []
    for _ in range(times):
        with Stage(way, kubesphere=kubesphere) as stage:
            stage.play()
            written = writes_of(stage.simulation)
            problem = stage.judge(written)
            if problem:
                raise AssertionError(f"a join with nothing going wrong fails: {problem}")
            sent = set(requests_of(stage.simulation))
        always = sent if always is None else always & sent
    return sorted(always), written


def api_fails(way, request, fault, *, expected, kubesphere="v3.4.1"):
    """Play a join during which one request of the product meets a fault."""
    began = time.monotonic()
    with Stage(way, kubesphere=kubesphere) as stage:
        disturbance = stage.disturb(request, request.faults[fault])
        try:
            stage.play()
            problem = stage.judge(expected)
        except Exception as error:  # noqa: BLE001 - whatever ends a join is what the table has to tell
            problem = f"{type(error).__name__}: {error}"
        return Outcome(way, kubesphere, request, fault, disturbance.met, problem, time.monotonic() - began)


def killed(way, request, moment, *, expected, kubesphere="v3.4.1"):
    """Play a join whose process is killed by one of its own writes, and then the same join again."""
    began = time.monotonic()
    with Stage(way, kubesphere=kubesphere) as stage:
        act = disturbances.Act(function=lambda _call: stage.child.kill(), moment=MOMENTS[moment])
        disturbance = stage.disturb(request, act)
        code, output = stage.play_in_a_process()
        if code != -signal.SIGKILL:
            problem = f"the process ended with {code} instead of being killed: {output[-500:]}"
        else:
            try:
                stage.play()
                problem = stage.judge(expected)
            except Exception as error:  # noqa: BLE001 - whatever ends a join is what the table has to tell
                problem = f"{type(error).__name__}: {error}"
        fault = f"killed {moment}"
        return Outcome(way, kubesphere, request, fault, disturbance.met, problem, time.monotonic() - began)
