"""Plays one scene: a join of which it is known beforehand how it has to end, and what it must not have done.

A run is right if it ends as expected, and if it is the expected check or cause that says why, the cause as the first.
Whatever its end, nothing of what was there is lost, nothing is there twice, and no secret is in what was said; a run
that preflight ends has written nothing at all.
"""

import base64
import collections
import contextlib
import dataclasses
import json
import time
import traceback

from include.fleet import acceptance, errors, join
from include.simulator import resources
from tests.chaos import cases, steps
from tests.faults import scenes
from tests.joins import evidence, rolling

TIMING = {**cases.TIMING, "resync": 1.0}
"""Seconds: the host's controller waits a part of this for a member's token, on a machine that has much to do."""
SETTINGS = {
    **cases.SETTINGS,
    "REQUEST_TIMEOUT": 10.0,
    "CONNECT_TIMEOUT": 5.0,
    "RESYNC": 4.0,
    "ACCEPTANCE": 20.0,
    "INLINE_WAIT": 2.0,
    "TURN_DURATION": 10.0,
}
HASTE = 1000
"""How much sooner a step is tried again: what goes wrong here does not pass by itself."""
PATIENT = {
    "ready_timeout": 120,
    "verify_timeout": 120,
    "tower_timeout": 120,
    "host_installer_timeout": 120,
    "member_installer_timeout": 120,
}
HASTY = {**PATIENT, "ready_timeout": 12, "verify_timeout": 6, "tower_timeout": 2}
"""Seconds: a run that cannot end well waits no longer than it takes one that does."""
_KEPT = ("namespaces", "workspaces", "clusters")
"""What nobody may make anew under the same name."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one scene ended, of one connection type and version; `problem` is "" if it is as expected."""

    scene: int
    """Its place among all scenes."""
    way: str
    kubesphere: str
    ended: str
    """stopped by preflight, survived, or failed."""
    told: tuple
    """The checks that stopped it or warned, or the cause that was named."""
    named: bool
    """Whether what was told first is right; of a run that fails."""
    problem: str
    said: str
    """The error, for whoever has to find out why."""
    seconds: float


@dataclasses.dataclass
class Run:
    """One run and what it leaves behind."""

    reports: dict = dataclasses.field(default_factory=dict)
    error: errors.FleetError | None = None
    failed: str = ""
    """The step that gave up."""


def play(number, way, kubesphere):
    """Play a scene once and judge it."""
    scene, began = scenes.ALL_SCENES[number], time.monotonic()
    with stage_of(scene, way=way, kubesphere=kubesphere) as stage:
        kept = Kept(stage.simulation)
        run = run_scene(scene, stage, kept)
        ended, told, named = _end_of(scene, run)
        problems = [*_wrong_end(scene, stage, ended, told, named), *kept.problems(), *_wrong_writes(stage, run)]
        if _leaks(stage, run):
            problems.append("a secret is in what was said")
        said = "\n".join([str(run.error or ""), *_warned(run)])
        seconds = time.monotonic() - began
    return Outcome(number, way, kubesphere, ended, told, named, "; ".join(problems), said, seconds)


def stage_of(scene, *, way, kubesphere):
    """Return the clusters of a scene, and the conf of its run."""
    more = {"members": scene.others, "connections": scene.connections, "aliases": scene.aliases}
    failing = bool(set(scene.by) & set(acceptance.CHECKS))
    stage = cases.Stage(
        way,
        kubesphere=kubesphere,
        timing=TIMING,
        settings={**SETTINGS, "ACCEPTANCE": 4.0} if failing else SETTINGS,
        host=scene.host,
        member=scene.member,
        **{key: value for key, value in more.items() if value},
    )

    class Prepared(contextlib.ExitStack):
        def __enter__(self):
            super().__enter__()
            self.enter_context(stage)
            stage.conf |= PATIENT if scene.end is scenes.End.SURVIVED else HASTY
            if "verify_join" in scene.before:
                stage.conf["ready_timeout"] = PATIENT["ready_timeout"]
            for key, value in scene.conf.items():
                given = value(stage.simulation) if callable(value) else value
                stage.conf[key] = given
                if given is None:
                    del stage.conf[key]
            return stage

    return Prepared()


def run_scene(scene, stage, kept):
    """Play the steps, with what somebody does meanwhile; roll back at the end where the conf says so."""
    run, run_id = Run(), f"faults-{time.time_ns()}"
    with _in_haste():
        try:
            for step in steps.order(stage.conf):
                run.failed = step
                if step in scene.before:
                    kept.let(lambda act=scene.before[step]: act(stage.simulation))
                run.reports[step] = steps.with_retries(step, stage.conf, run_id=run_id, reports=run.reports)
                if step == "take_turn" and stage.conf.get("on_failure") == "rollback":
                    run.reports["record"] = steps.with_retries("record", stage.conf, run_id=run_id, reports=run.reports)
            run.failed = ""
        except errors.FleetError as error:
            run.error = error
        if run.error is not None and "record" in run.reports:
            try:
                steps.with_retries("roll_back", stage.conf, run_id=run_id, reports=run.reports)
            except errors.FleetError as error:
                run.error, run.failed = error, "roll_back"
        if steps.held(run.reports) is not None:
            # It rolls back as well, which may fail once more; the turn is given back all the same.
            with contextlib.suppress(errors.FleetError) if run.failed == "roll_back" else contextlib.nullcontext():
                steps.with_retries("end_turn", stage.conf, run_id=run_id, reports=run.reports)
    return run


@contextlib.contextmanager
def _in_haste():
    haste, known = steps.HASTE, dict(join.STEPS)
    steps.HASTE = HASTE
    join.STEPS.update(rolling.STEPS)
    try:
        yield
    finally:
        steps.HASTE = haste
        join.STEPS.clear()
        join.STEPS.update(known)


# How it ended


def _end_of(scene, run):
    """Return how a run ended, what was told, and whether the first of that is right."""
    if run.error is None:
        found = [*run.reports["preflight"]["findings"], *run.reports["verify_join"]["acceptance"]]
        return "survived", tuple(item["check"] for item in found if item["answer"] in ("warning", "error")), True
    if isinstance(run.error, errors.PreflightError | errors.ConfError):
        texts = getattr(run.error, "found", None) or run.error.problems
        told = tuple(dict.fromkeys(text.partition(":")[0] for text in texts))
        return "stopped by preflight", told, bool(set(told) & set(scene.by))
    cause = (run.error.diagnosis or {}).get("cause", "none")
    return "failed", (cause,), cause in scene.by


def _warned(run):
    """Return what the checks before and after the join have told."""
    found = run.reports.get("preflight", {}).get("findings", [])
    found = [*found, *run.reports.get("verify_join", {}).get("acceptance", [])]
    return [f"{item['check']}, {item['answer']}: {item['evidence']}" for item in found if item["answer"] != "ok"]


def _wrong_end(scene, stage, ended, told, named):
    expected = {scenes.End.STOPPED: "stopped by preflight", scenes.End.SURVIVED: "survived"}.get(scene.end, "failed")
    if ended != expected:
        return [f"{ended}, told {', '.join(told) or 'nothing'}, instead of {scene.end.value}"]
    if scene.end is scenes.End.STOPPED and set(told) - set(scene.perhaps) != set(scene.by):
        return [f"stopped by {', '.join(told)} instead of {', '.join(scene.by)}"]
    if scene.end is scenes.End.NAMED and not named:
        return [f"named {told[0]} instead of {' or '.join(scene.by)}"]
    return _wrong_joins(scene, stage, told) if scene.end is scenes.End.SURVIVED else []


def _wrong_joins(scene, stage, told):
    """Return what is wrong with a member that is joined, as the clusters show it, or as acceptance tells."""
    silent = sorted(set(scene.by) - set(told))
    surprising = sorted((set(told) & set(acceptance.CHECKS)) - set(scene.by))
    found = [f"{check} has not told" for check in silent] + [f"{check} fails" for check in surprising]
    try:
        evidence.assert_joined(
            stage.simulation, identity=stage.kubesphere == "v3.4.1" and not scene.member.get("kubesphere")
        )
    except (AssertionError, KeyError) as error:
        conditions = stage.simulation.clusters["host"].object("clusters", "m1")["status"]["conditions"]
        told = "; ".join(f"{each['type']}={each['status']} {each.get('message', '')}" for each in conditions)
        at = traceback.extract_tb(error.__traceback__)[-1].line
        found.append(f"not joined: {at} {error!r}, while the host says {told}")
    return found


# What it did


class Kept:
    """What was there before a run; what others take away meanwhile does not count."""

    def __init__(self, simulation):
        self._simulation = simulation
        self._before = {name: _inventory(cluster) for name, cluster in simulation.clusters.items()}
        bystanders = list(simulation.clusters)[2:]
        self._others = {name: rolling.photograph(simulation.clusters[name]) for name in bystanders}
        self._clusters = _clusters_of_member(simulation)

    def let(self, act):
        """Let somebody change something."""
        former = {name: _inventory(cluster) for name, cluster in self._simulation.clusters.items()}
        act()
        for name, cluster in self._simulation.clusters.items():
            latter = _inventory(cluster)
            for key in former[name]:
                if latter.get(key) != former[name][key]:
                    self._before[name].pop(key, None)
        self._clusters = max(self._clusters, _clusters_of_member(self._simulation))

    def problems(self):
        """Return what is lost, or there twice."""
        found = []
        for name, cluster in self._simulation.clusters.items():
            now = _inventory(cluster)
            lost = ["/".join(key) for key, mark in self._before[name].items() if now.get(key) != mark]
            if lost:
                found.append(f"lost on {name}: {', '.join(sorted(lost))}")
        for name, former in self._others.items():
            changed = rolling.differences(former, rolling.photograph(self._simulation.clusters[name]))
            if changed:
                found.append(f"changed on {name}: {', '.join(changed)}")
        twice = _clusters_of_member(self._simulation)
        if twice > max(1, self._clusters):
            found.append(f"{twice} Clusters stand for the member")
        return found


def _inventory(cluster):
    """Return every object that stays by itself; of some kinds with the mark that tells one from its successor."""
    found = {}
    for resource in resources.ALL:
        if resource.plural in rolling._PASSING:
            continue
        for item in cluster.objects(resource.plural):
            metadata = item["metadata"]
            key = (resource.plural, metadata.get("namespace", ""), metadata["name"])
            mark = (metadata["uid"], "deletionTimestamp" in metadata) if resource.plural in _KEPT else None
            found[key] = mark
    return found


def _clusters_of_member(simulation):
    """Return how many Clusters lead to the member: by what the host saw, or by the authority in their kubeconfig."""
    host, member = simulation.clusters["host"], simulation.clusters["m1"]
    uid = member.object("namespaces", "kube-system")["metadata"]["uid"]
    authority = member.kubeconfig()["clusters"][0]["cluster"]["certificate-authority-data"]
    count = 0
    for item in host.objects("clusters"):
        kubeconfig = item["spec"].get("connection", {}).get("kubeconfig") or ""
        own = authority in base64.b64decode(kubeconfig).decode()
        count += own or item.get("status", {}).get("uid") == uid
    return count


def _wrong_writes(stage, run):
    """Return what was written by a run that preflight has ended, what was made twice, and Leases that are left."""
    writes = [
        (name, entry)
        for name, cluster in stage.simulation.clusters.items()
        for entry in cluster.audit()
        if entry.is_write and entry.agent.startswith("join-member-cluster")
    ]
    found = []
    if run.failed == "preflight" and writes:
        found.append(
            "written: " + ", ".join(f"{name}: {entry.verb} {entry.resource} {entry.name}" for name, entry in writes)
        )
    made = collections.Counter(
        (name, entry.resource, entry.namespace, entry.name)
        for name, entry in writes
        if entry.verb == "create" and entry.resource != "leases"
    )
    found += [f"made {count} times: {' '.join(key)}" for key, count in made.items() if count > 1]
    leases = stage.simulation.clusters["host"].objects("leases")
    left = [item["metadata"]["name"] for item in leases if item["metadata"]["name"].startswith("join-member-cluster")]
    return [*found, *(f"Lease {name} is left" for name in left)]


def _leaks(stage, run):
    said = "\n".join(
        [
            *stage.said,
            str(run.error),
            repr(run.error),
            json.dumps([run.reports, getattr(run.error, "diagnosis", None)], default=str),
        ]
    )
    return any(secret in said for cluster in stage.simulation.clusters.values() for secret in cluster.secrets())
